"""The page: its components, its look, and the connection of its events to their handlers."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.themes import Default, Font

from ddspx._progress import Progress
from ddspx.app._controls import GROUPS, Choice, Control, Slider, default_of
from ddspx.app._handlers import Outcome, Sessions
from ddspx.app._job import LARGEST_MB, LONGEST_S, check_model
from ddspx.app._requests import Events
from ddspx.app._session_files import Files
from ddspx.instruments import instrument_names, timbre_names

if TYPE_CHECKING:
    from fastapi import FastAPI

_Sent = dict[str, Any] | None
"""A file as the page sends it, or None."""

_TITLE = "ddspx: play a sound on an instrument"
_INTRODUCTION = (
    "<h1>Play a sound on an instrument</h1>"
    "<p>Sing, hum, or play one note at a time, and hear it on another instrument. Everything stays "
    "on this machine.</p>"
)
# gradio does not preprocess values, because it raises an exception for a value out of range.
_AS_IT_IS: dict[str, Any] = {"preprocess": False}
_AT_ONCE: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", **_AS_IT_IS}
_IN_TURN: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "turn", **_AS_IT_IS}
_CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def mount(app: "FastAPI", files: Files, models: Sequence[str]) -> tuple["FastAPI", Events]:
    """Mounts the page at the root of an application; returns the application and the events."""
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
    # gradio checks the names of files only in apps that count as launched.
    page.has_launched = True
    takes_file = (gr.Audio, gr.UploadButton)
    events = {
        number: [isinstance(part, takes_file) for part in function.inputs]
        for number, function in page.fns.items()
        # Functions without Python code run in the browser.
        if function.fn is not None
    }
    return mounted, events


def _known(function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Returns the options that the function has in the installed version of gradio.

    In gradio 6 the look of a page is an argument of its launch, and in gradio 5 of `Blocks`; the
    buttons of a sound became a list.
    """
    names = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in names}


def _look() -> dict[str, Any]:
    # Fonts of the system, because gradio's own would be loaded from another host.
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
        # Raises an error now, rather than when the model is chosen on the page.
        check_model(name)
    sessions = Sessions(files, names)
    look = _known(gr.Blocks.__init__, **_look())
    with gr.Blocks(title=_TITLE, analytics_enabled=False, **look) as page:
        gr.HTML(_INTRODUCTION, elem_id="introduction", padding=False)
        with gr.Row(elem_id="columns"):
            with gr.Column(min_width=340):
                parts = _left(sessions, names)
            with gr.Column(min_width=340):
                parts |= _right()
        _connect(page, sessions, names, parts)
    page.queue(max_size=64, default_concurrency_limit=1, api_open=False)
    return page


def _left(sessions: Sessions, names: Sequence[str]) -> dict[str, Any]:
    """Makes the components of the inputs.

    The controls are folded, so that a phone shows the button Play without scrolling.
    """
    recording, example = _recording()
    instrument = gr.Dropdown(
        _choices(names), value=names[0], label="Instrument", filterable=False, elem_id="instrument"
    )
    with gr.Row(elem_id="buttons"):
        start = gr.Button("Play it", variant="primary", size="lg", elem_id="play", scale=3)
        stop = gr.Button(
            "Stop", variant="stop", size="lg", elem_id="stop", scale=1, interactive=False
        )
    story = gr.HTML(sessions.describe(names[0], session=""), elem_id="story", padding=False)
    sound = _own_sound() if timbre_names() else None
    with gr.Accordion("Controls", open=False, elem_id="controls"):
        controls = _controls()
    own = gr.UploadButton(
        f"Bring your own instrument (zip, up to {LARGEST_MB} MB)",
        file_types=[".zip"],
        size="sm",
        elem_id="own",
    )
    return {
        "recording": recording,
        "example": example,
        "instrument": instrument,
        "play": start,
        "stop": stop,
        "story": story,
        "controls": controls,
        "own": own,
        "sound": sound,
    }


def _right() -> dict[str, Any]:
    """Makes the components of the outputs."""
    return {
        "message": gr.HTML(elem_id="message", padding=False),
        "mark": gr.HTML(elem_id="mark", padding=False),
        "result": _sound("Result", "result", interactive=False),
        "report": gr.HTML(elem_id="report", padding=False),
    }


def _connect(
    page: gr.Blocks, sessions: Sessions, names: Sequence[str], parts: dict[str, Any]
) -> None:
    """Connects the events of the components to their handlers.

    A click on Play starts a chain: the job begins, then the sound appears, then the report. The
    long steps, of all pages, run one after the other; all other handlers run at once.
    """
    do = _Handlers(sessions, names)
    recording, instrument, own = parts["recording"], parts["instrument"], parts["own"]
    message, result, report = outcome = [parts[name] for name in ("message", "result", "report")]
    inputs, buttons = [recording, instrument, *parts["controls"]], [parts["play"], parts["stop"]]
    recording.change(do.receive, recording, message, **_AT_ONCE)
    parts["example"].click(sessions.example, None, recording, concurrency_limit=None)
    instrument.change(do.describe, instrument, parts["story"], **_AT_ONCE)
    chosen: dict[str, Any] = {
        "outputs": [message, instrument],
        "show_progress_on": [instrument],
    }
    own.upload(do.add, own, **chosen, **_AS_IT_IS)
    if (sound := parts["sound"]) is not None:
        sound.change(do.hear, [sound, instrument], **chosen, **_IN_TURN)
    for part in inputs:
        part.change(do.mark, inputs, parts["mark"], trigger_mode="always_last", **_AT_ONCE)
    begun = parts["play"].click(do.begin, None, buttons, **_AT_ONCE)
    played = begun.then(do.play, inputs, outcome, show_progress_on=[result], **_IN_TURN)
    marked = played.then(do.mark, inputs, parts["mark"], **_AT_ONCE)
    ready = marked.then(do.buttons, None, buttons, **_AT_ONCE)
    reported = ready.then(do.report, None, outcome, show_progress_on=[report], **_IN_TURN)
    reported.then(do.buttons, None, buttons, **_AT_ONCE)
    stopped = parts["stop"].click(do.stop, None, outcome, cancels=[played, reported], **_AT_ONCE)
    stopped.then(do.buttons, None, buttons, **_AT_ONCE)
    page.unload(do.close)


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


def _own_sound() -> gr.Audio:
    """Makes the component for a sound that is to be an instrument."""
    with gr.Accordion("Your own sound as the instrument", open=False, elem_id="own-sound"):
        gr.HTML(
            "About 20 seconds of one instrument or voice, one note at a time, soft and loud, low "
            "and high. The page listens to it, and then offers it with the instruments.",
            elem_id="own-sound-hint",
            padding=False,
        )
        return _sound("Your sound", "sound", sources=["upload", "microphone"])


def _choices(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(Path(name).name.replace("_", " ").capitalize(), name) for name in names]


def _sound(label: str, elem_id: str, **options: Any) -> gr.Audio:
    """Makes a component for a sound, with a button to download it but none to publish it."""
    buttons = _known(
        gr.Audio.__init__,
        buttons=["download"],
        show_download_button=True,
        show_share_button=False,
    )
    return gr.Audio(label=label, elem_id=elem_id, type="filepath", **buttons, **options)


def _controls() -> list[Any]:
    controls = []
    for group in GROUPS:
        with gr.Accordion(group.title, open=True, elem_classes="group"):
            with gr.Row(elem_classes="controls"):
                controls += [_control(control) for control in group.controls]
    return controls


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


class _Handlers:
    """The functions that gradio calls with the values of components.

    gradio passes the request and the progress bar to arguments with these annotations.
    """

    def __init__(self, sessions: Sessions, names: Sequence[str]) -> None:
        self._sessions, self._names = sessions, names

    def receive(self, recording: _Sent, request: gr.Request) -> str:
        return self._sessions.receive(_path(recording), session=_session(request))

    def add(self, archive: _Sent, request: gr.Request) -> tuple[str, Any]:
        session = _session(request)
        message, folder = self._sessions.add(_path(archive), session=session)
        if folder is None:
            return message, gr.skip()
        return message, gr.update(choices=self._offered(session), value=str(folder))

    def hear(
        self,
        sound: _Sent,
        instrument: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[str, Any]:
        session = _session(request)
        message, folder = self._sessions.hear(
            _path(sound), session=session, progress=_progress_of(progress)
        )
        choices = self._offered(session)
        # The instrument of the sound before this one is there no more.
        left = instrument if instrument in [value for _, value in choices] else self._names[0]
        return message, gr.update(choices=choices, value=left if folder is None else str(folder))

    def _offered(self, session: str) -> list[tuple[str, str]]:
        """The choices of a page; its own instruments may have the names of others."""
        choices = _choices(self._names)
        for folder, word in self._sessions.own(session=session):
            ((label, value),) = _choices([str(folder)])
            choices.append((f"{label} ({word})", value))
        return choices

    def describe(self, instrument: str, request: gr.Request) -> str:
        return self._sessions.describe(str(instrument), session=_session(request))

    def mark(self, recording: _Sent, instrument: str, request: gr.Request, *values: Any) -> str:
        session = _session(request)
        return self._sessions.mark(_path(recording), str(instrument), values, session=session)

    def buttons(self, request: gr.Request) -> tuple[Any, Any]:
        state = self._sessions.state(session=_session(request))
        return gr.update(interactive=state != "playing"), gr.update(interactive=state != "idle")

    def begin(self, request: gr.Request) -> tuple[Any, Any]:
        self._sessions.begin(session=_session(request))
        return self.buttons(request)

    def play(
        self,
        recording: _Sent,
        instrument: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        *values: Any,
    ) -> list[Any]:
        session, report_progress = _session(request), _progress_of(progress)
        return _shown(
            self._sessions.play(
                _path(recording), str(instrument), values, session=session, progress=report_progress
            )
        )

    def report(
        self,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[Any]:
        session, report_progress = _session(request), _progress_of(progress)
        return _shown(self._sessions.report(session=session, progress=report_progress))

    def stop(self, request: gr.Request) -> list[Any]:
        return _shown(self._sessions.stop(session=_session(request)))

    def close(self, request: gr.Request) -> None:
        self._sessions.close(session=_session(request))


def _progress_of(bar: gr.Progress) -> Progress:
    return lambda what, done, total: bar(done / (total or 1.0), desc=what)


def _path(sent: _Sent) -> str | None:
    return None if sent is None else sent["path"]


def _session(request: gr.Request) -> str:
    return request.session_hash or ""


def _shown(outcome: Outcome) -> list[Any]:
    """Converts an outcome for gradio: an empty text clears a component, None leaves it."""
    return [gr.skip() if value is None else value or None for value in outcome]
