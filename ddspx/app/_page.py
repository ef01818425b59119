"""The page itself: what is on it, how it looks, and what happens on a click."""

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.themes import Default, Font

from ddspx.app._controls import GROUPS, Choice, Control, Slider, default_of
from ddspx.app._desk import Desk
from ddspx.app._files import Files
from ddspx.app._play import LARGEST_MB, LONGEST_S, instrument_story
from ddspx.models.autoencoder import instrument_names

if TYPE_CHECKING:
    from fastapi import FastAPI

_TITLE = "ddspx: play a sound on an instrument"
_INTRODUCTION = (
    "<h1>Play a sound on an instrument</h1>"
    "<p>Sing, hum, or play one note at a time, and hear it on another instrument. Everything stays "
    "on this machine.</p>"
)
_CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def mount(app: "FastAPI", files: Files, models: Sequence[str]) -> "FastAPI":
    """Puts the page at the root of an application."""
    page = _build(files, models)
    options: dict[str, Any] = {
        "path": "/",
        "root_path": "",
        "allowed_paths": [],
        "show_error": False,
        "max_file_size": f"{LARGEST_MB}mb",
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "enable_monitoring": False,
    }
    newer = _look() | {"footer_links": [], "run_history": False}
    options |= _known(gr.mount_gradio_app, **newer)
    mounted = gr.mount_gradio_app(app, page, **options)
    # gradio checks the names of files for what it has launched itself; this was launched too.
    page.has_launched = True
    return mounted


def _known(function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Those of the options that this version of gradio has.

    From gradio 5 to 6 the look of a page moved from `Blocks` to where it is launched, and the
    buttons of a sound became a list.
    """
    names = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in names}


def _look() -> dict[str, Any]:
    # The system's fonts: gradio's own would come from elsewhere.
    theme = Default(
        primary_hue="teal",
        neutral_hue="slate",
        font=[Font("system-ui"), Font("sans-serif")],
        font_mono=[Font("ui-monospace"), Font("monospace")],
    )
    return {"theme": theme, "css": _CSS}


def _build(files: Files, models: Sequence[str]) -> gr.Blocks:
    names = [*instrument_names(), *models]
    if not names:
        raise ValueError("There is no instrument to play on; name the folder of a model.")
    for name in models:
        # What cannot be used is found before anybody chooses it.
        instrument_story(name)
    look = _known(gr.Blocks.__init__, **_look())
    with gr.Blocks(title=_TITLE, analytics_enabled=False, **look) as page:
        gr.HTML(_INTRODUCTION, elem_id="introduction", padding=False)
        with gr.Row(elem_id="columns"):
            with gr.Column(min_width=340):
                recording, example = _recording()
                instrument, story = _instrument(names)
                controls = _controls()
            with gr.Column(min_width=340):
                button = gr.Button("Play it", variant="primary", size="lg", elem_id="play")
                message = gr.HTML(elem_id="message", padding=False)
                result = _sound("Result", "result", interactive=False)
                report = gr.HTML(elem_id="report", padding=False)
        instrument.change(_describe, instrument, story, show_progress="hidden")
        desk = Desk(files)
        receive, play, close = _handlers(desk)
        recording.change(receive, recording, message, show_progress="hidden")
        example.click(desk.example, None, recording)
        asked = [recording, instrument, *controls]
        button.click(play, asked, [message, result, report], show_progress_on=[result])
        page.unload(close)
    page.queue(max_size=16, default_concurrency_limit=1, api_open=False)
    return page


def _recording() -> tuple[gr.Audio, gr.Button]:
    recording = _sound("Your recording", "recording", sources=["upload", "microphone"])
    with gr.Row(elem_id="below-recording"):
        gr.HTML(
            f"WAV, FLAC, Ogg or MP3, up to {LONGEST_S / 60:g} minutes and {LARGEST_MB} MB.",
            elem_id="limits",
            padding=False,
        )
        example = gr.Button("Use an example", size="sm", elem_id="example", min_width=140)
    return recording, example


def _instrument(names: Sequence[str]) -> tuple[gr.Dropdown, gr.HTML]:
    choices = [(Path(name).name.replace("_", " ").capitalize(), name) for name in names]
    instrument = gr.Dropdown(
        choices, value=names[0], label="Instrument", filterable=False, elem_id="instrument"
    )
    story = gr.HTML(_describe(names[0]), elem_id="story", padding=False)
    return instrument, story


@cache
def _describe(instrument: str) -> str:
    try:
        return escape(instrument_story(instrument))
    except (OSError, ValueError) as error:
        # An instrument of the user's that is damaged is no reason not to play the others.
        return escape(str(error))


def _sound(label: str, elem_id: str, **options: Any) -> gr.Audio:
    """A waveform to listen to and to keep, without the button that publishes it."""
    buttons = _known(
        gr.Audio.__init__,
        buttons=["download"],
        show_download_button=True,
        show_share_button=False,
    )
    return gr.Audio(label=label, elem_id=elem_id, type="filepath", **buttons, **options)


def _controls() -> list[Any]:
    made = []
    for group in GROUPS:
        with gr.Accordion(group.title, open=True, elem_classes="group"):
            with gr.Row(elem_classes="controls"):
                made += [_control(control) for control in group.controls]
    return made


def _control(control: Control) -> Any:
    common: dict[str, Any] = {
        "value": default_of(control),
        "label": control.label,
        "info": control.info,
        "elem_id": f"control-{control.field}",
        "min_width": 200,
    }
    if isinstance(control, Slider):
        return gr.Slider(control.low, control.high, step=control.step, **common)
    if isinstance(control, Choice):
        return gr.Radio(control.options, **common)
    return gr.Checkbox(**common)


def _handlers(desk: Desk) -> tuple[Callable[..., Any], ...]:
    """What gradio calls: it finds the page's session and the progress by their annotations."""

    def receive(recording: str | None, request: gr.Request) -> str:
        return desk.receive(recording, session=request.session_hash or "")

    def play(
        recording: str | None,
        instrument: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        *values: Any,
    ) -> tuple[str, str | None, str]:
        return desk.play(
            recording,
            instrument,
            values,
            session=request.session_hash or "",
            tell=lambda share, what: progress(share, desc=what),
        )

    def close(request: gr.Request) -> None:
        desk.close(session=request.session_hash or "")

    return receive, play, close
