"""The work behind the page's buttons: from files to files and sentences, independent of pages."""

import base64
import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ddspx._progress import Progress, no_progress
from ddspx._text import printable
from ddspx.app._report import Row, minutes, report_rows
from ddspx.app._tune import tune_hint
from ddspx.instruments import describe_instrument, load_instrument
from ddspx.instruments._library import (
    check_one_instrument,
    named_instrument,
    unknown_instrument,
)
from ddspx.io import AudioError, declared_sample_rate, stream_audio
from ddspx.models.autoencoder import save_autoencoder
from ddspx.transfer import (
    TransferConfig,
    TransferReport,
    evaluate_transfer,
    plot_transfer,
    transfer,
)

LONGEST_S = 300.0
LARGEST_MB = 100
# The shortest recording that `transfer` accepts.
_SHORTEST_S = 0.064
_BLOCK_LENGTH = 1 << 16

IsStopped = Callable[[], bool]
"""Returns whether the work is to be stopped; called before each block."""


class StoppedError(Exception):
    """The work was stopped, because no page waits for its result any more."""


class Played(NamedTuple):
    """The result of a transfer.

    Attributes:
      recording: the recording that was played.
      audio: the file with the result.
      remarks: warnings about the result, as sentences for the listener.
      report: the report of `transfer`.
    """

    recording: Path
    audio: Path
    remarks: tuple[str, ...]
    report: TransferReport


class Judged(NamedTuple):
    """The evaluation of a result.

    Attributes:
      rows: the rows of the report.
      picture: a plot of both sounds, as a PNG in base64.
    """

    rows: tuple[Row, ...]
    picture: str


def check_recording(recording: Path) -> float:
    """Checks that a recording can be played, and returns its length in seconds.

    All of it is decoded, because the length in a file's header may be wrong. This takes a second
    for five minutes of sound.

    Raises:
      AudioError: the file is missing, not audio, empty, silent, too short or too long.
    """
    sample_rate = declared_sample_rate(recording) or 1
    n_samples = 0
    for block in stream_audio(
        recording,
        sample_rate=sample_rate,
        block_length=_BLOCK_LENGTH,
        min_samples=max(1, round(_SHORTEST_S * sample_rate)),
    ):
        n_samples += block.size
        if n_samples > LONGEST_S * sample_rate:
            raise AudioError(
                f"{recording} is longer than {LONGEST_S / 60:g} minutes, the limit of this page; "
                "shorten it, or use the command `ddspx transfer`, which has no limit."
            )
    return n_samples / sample_rate


def play(
    recording: Path,
    output: Path,
    *,
    to: str,
    config: TransferConfig,
    progress: Progress = no_progress,
    is_stopped: IsStopped = lambda: False,
) -> Played:
    """Plays a recording on an instrument.

    Args:
      recording: any sound that :func:`check_recording` accepts.
      output: the .wav file to write.
      to: an instrument's name or a model folder.
      config: the settings of the controls.
      progress: called with a description of the stage, and the progress of all, from 0 to 1.
      is_stopped: called before each block; True stops the work.

    Raises:
      AudioError, ValueError, OSError: as `transfer`.
      StoppedError: `is_stopped` returned True.
    """
    _raise_if_stopped(is_stopped)
    progress("Listening to the recording", 0.0, 1.0)
    duration_s = check_recording(recording)

    def on_progress(stage: str, done_s: float, total_s: float | None) -> None:
        _raise_if_stopped(is_stopped)
        done = min(1.0, done_s / (total_s or duration_s))
        if stage == "playing":
            progress("Playing", 0.7 + 0.3 * done, 1.0)
        elif stage == "rehearsing":
            progress("Rehearsing", 0.4 + 0.3 * done, 1.0)
        elif done < 1:
            progress("Listening to the recording", 0.4 * done, 1.0)
        else:
            # The instrument is compiled next, if it has not been played before. That takes about
            # ten seconds, during which there is no progress to report.
            progress("Preparing the instrument (about ten seconds, only once)", 0.4, 1.0)

    with _remarks_on(recording, output) as remarks:
        report = transfer(recording, output, to=to, config=config, progress=on_progress)
    hint = tune_hint(report.heard, frame_rate=report.sample_rate / report.hop_length)
    if hint is not None:
        remarks.append(hint)
    return Played(recording, output, tuple(remarks), report)


def hear(
    sound: Path,
    folder: Path,
    *,
    progress: Progress = no_progress,
) -> tuple[str, ...]:
    """Makes an instrument of a sound, by the model of any instrument.

    Args:
      sound: any sound that :func:`check_recording` accepts.
      folder: the model folder to make.
      progress: called with a description, once.

    Returns:
      Warnings about the sound, as sentences for the listener.

    Raises:
      AudioError, ValueError, OSError: as `load_instrument`.
    """
    # The first time, what listens is compiled.
    progress("Listening to your sound (the first time, about ten seconds)", 0.0, 1.0)
    check_recording(sound)
    with _remarks_on(sound) as remarks:
        model, statistics, provenance = load_instrument(sound)
    save_autoencoder(folder, model, statistics=statistics, provenance=provenance)
    return tuple(remarks)


def judge(
    played: Played,
    *,
    progress: Progress = no_progress,
    is_stopped: IsStopped = lambda: False,
) -> Judged:
    """Evaluates a result and plots it next to the recording.

    Args:
      played: from :func:`play`; its files must still exist.
      progress: called with a description of the stage, and the progress of all, from 0 to 1.
      is_stopped: called before each block and before the plot; True stops the work.

    Raises:
      AudioError: a file is missing.
      StoppedError: `is_stopped` returned True.
    """

    def on_progress(_: str, done_s: float, total_s: float | None) -> None:
        _raise_if_stopped(is_stopped)
        progress("Listening to the result", 0.6 * done_s / (total_s or 1.0), 1.0)

    quality = evaluate_transfer(played.audio, played.report, progress=on_progress)
    _raise_if_stopped(is_stopped)
    progress("Drawing", 0.6, 1.0)
    figure = plot_transfer(played.recording, played.audio, played.report)
    # The picture is shown in half the width of the page. In a smaller figure its text is relatively
    # larger, and can be read there.
    figure.set_size_inches(8.0, 4.8)
    png = io.BytesIO()
    with warnings.catch_warnings():
        # A file name may have letters that the font lacks. They are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(png, format="png", dpi=180)
    rows = report_rows(played.report, quality)
    return Judged(rows, base64.b64encode(png.getvalue()).decode())


def _raise_if_stopped(is_stopped: IsStopped) -> None:
    if is_stopped():
        raise StoppedError


def plain(message: object, *paths: Path) -> str:
    """Returns a sentence with the paths of temporary files replaced by their names."""
    text = str(message)
    for path in filter(lambda path: path.name, paths):
        text = text.replace(str(path), path.name)
    return printable(text)


def check_model(name: str) -> None:
    """Raises an error unless the page can offer a model: it shows the card of its folder."""
    if os.path.isdir(name):
        check_one_instrument(name)
    elif named_instrument(name) is None:
        or_else = "; a sound of your own is chosen on the page, and `ddspx transfer` plays mixtures"
        raise unknown_instrument(name, or_else=or_else)
    instrument_story(name)


def instrument_story(name: str, *, sound: str | None = None) -> str:
    """Returns a line about an instrument: its range, its recordings and their authors.

    Args:
      name: an instrument's name or a model folder.
      sound: the name of the sound that :func:`hear` made the instrument of.
    """
    card = describe_instrument(name)
    lowest, highest = card.notes
    story = f"Plays from {lowest} to {highest}"
    if sound is not None:
        return f"{story}, as heard in {minutes(card.duration_s)} of {printable(sound)}."
    # Of a model that others have published, the recordings need not be known.
    if card.duration_s > 0:
        story += f"; trained on {minutes(card.duration_s)}"
    if card.attribution is not None:
        story += f" of {card.attribution}" if card.duration_s > 0 else f"; {card.attribution}"
        story += f" ({card.licence})" if card.licence else ""
    return f"{story}."


@contextmanager
def _remarks_on(*paths: Path) -> Iterator[list[str]]:
    """Collects the warnings about these files, and issues all other warnings as usual."""
    remarks: list[str] = []
    # Warnings are recorded for the whole process. That is safe, as only one sound is processed at a
    # time.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield remarks
    for warning in caught:
        if str(warning.message).startswith(tuple(map(str, paths))):
            remarks.append(plain(warning.message, *paths))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
