"""What the page's buttons do: files in, files and sentences out; it knows nothing of pages."""

import base64
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ddspx._progress import Progress, no_progress
from ddspx._text import printable
from ddspx.app._report import Row, minutes, report_rows
from ddspx.app._tune import tune_hint
from ddspx.instruments import describe_instrument
from ddspx.io import AudioError, declared_sample_rate, stream_audio
from ddspx.transfer import (
    TransferConfig,
    TransferReport,
    evaluate_transfer,
    plot_transfer,
    transfer,
)

LONGEST_S = 300.0
LARGEST_MB = 100
# As in transfer: in less there is nothing to play.
_SHORTEST_S = 0.064
_BLOCK_LENGTH = 1 << 16

IsStopped = Callable[[], bool]
"""Asked now and then whether to give up."""


class StoppedError(Exception):
    """Nobody waits for the result any more."""


class Played(NamedTuple):
    """A result, as it can be heard.

    Attributes:
      recording: what was played.
      audio: the file.
      remarks: sentences that whoever listens should know of.
      report: what the transfer heard and did.
    """

    recording: Path
    audio: Path
    remarks: tuple[str, ...]
    report: TransferReport


class Judged(NamedTuple):
    """What there is to say of a result.

    Attributes:
      rows: the report.
      picture: both sounds, as a PNG in base64.
    """

    rows: tuple[Row, ...]
    picture: str


def check_recording(recording: Path) -> float:
    """The length of a recording in seconds, if it can be played.

    Everything is decoded, because what a file says of its length need not be so; that takes a
    second for five minutes.

    Raises:
      AudioError: it is gone, not audio, empty, silent, too short or too long.
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
                f"{recording} is longer than {LONGEST_S / 60:g} minutes, the most that this page "
                "takes; cut it, or use the command `ddspx transfer`, which takes any length."
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
      recording: any sound that :func:`check_recording` takes.
      output: the .wav file to write.
      to: an instrument's name or a model folder.
      config: what the controls say.
      progress: told what is being done, and how far all of it is, from 0 to 1.
      is_stopped: asked before each block whether to give up.

    Raises:
      AudioError, ValueError, OSError: as `transfer`.
      StoppedError: `is_stopped` said so.
    """
    _go_on(is_stopped)
    progress("Listening to the recording", 0.0, 1.0)
    duration_s = check_recording(recording)

    def on_progress(what: str, done_s: float, total_s: float | None) -> None:
        _go_on(is_stopped)
        done = min(1.0, done_s / (total_s or duration_s))
        if what == "playing":
            progress("Playing", 0.7 + 0.3 * done, 1.0)
        elif what == "rehearsing":
            progress("Rehearsing", 0.4 + 0.3 * done, 1.0)
        elif done < 1:
            progress("Listening to the recording", 0.4 * done, 1.0)
        else:
            # What comes now says nothing: the first time, the instrument is compiled.
            progress("Tuning the instrument (about ten seconds, the first time only)", 0.4, 1.0)

    with _remarks_on(recording, output) as remarks:
        report = transfer(recording, output, to=to, config=config, progress=on_progress)
    hint = tune_hint(report.heard, frame_rate=report.sample_rate / report.hop_length)
    if hint is not None:
        remarks.append(hint)
    return Played(recording, output, tuple(remarks), report)


def judge(
    played: Played,
    *,
    progress: Progress = no_progress,
    is_stopped: IsStopped = lambda: False,
) -> Judged:
    """Listens to a result and draws it beside the recording.

    Args:
      played: from :func:`play`, its files still there.
      progress: told what is being done, and how far all of it is, from 0 to 1.
      is_stopped: asked before each block, and before it is drawn, whether to give up.

    Raises:
      AudioError: a file is gone.
      StoppedError: `is_stopped` said so.
    """

    def on_progress(what: str, done_s: float, total_s: float | None) -> None:
        _go_on(is_stopped)
        progress("Listening to the result", 0.6 * done_s / (total_s or 1.0), 1.0)

    quality = evaluate_transfer(played.audio, played.report, progress=on_progress)
    _go_on(is_stopped)
    progress("Drawing", 0.6, 1.0)
    figure = plot_transfer(played.recording, played.audio, played.report)
    # Smaller than it draws itself: half a page is where it has to be read.
    figure.set_size_inches(8.0, 4.8)
    drawn = io.BytesIO()
    with warnings.catch_warnings():
        # Of a name in a script that the font lacks, which is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(drawn, format="png", dpi=180)
    rows = report_rows(played.report, quality)
    return Judged(rows, base64.b64encode(drawn.getvalue()).decode())


def _go_on(is_stopped: IsStopped) -> None:
    if is_stopped():
        raise StoppedError


def plain(message: object, *paths: Path) -> str:
    """A sentence with names in place of the paths of temporary files."""
    text = str(message)
    for path in filter(lambda path: path.name, paths):
        text = text.replace(str(path), path.name)
    return printable(text)


def instrument_story(name: str) -> str:
    """A line about an instrument: its range, what it was made of and whose that is."""
    card = describe_instrument(name)
    lowest, highest = card.notes
    story = f"Plays from {lowest} to {highest}; learnt from {minutes(card.duration_s)}"
    if card.attribution is not None:
        story += f" of {card.attribution}" + (f" ({card.licence})" if card.licence else "")
    return f"{story}."


@contextmanager
def _remarks_on(*paths: Path) -> Iterator[list[str]]:
    """Collects what is warned of about these files; other warnings go their way."""
    remarks: list[str] = []
    # One recording is played at a time, so the process's list of warnings can be borrowed.
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
