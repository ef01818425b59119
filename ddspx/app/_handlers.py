"""What happens on the page: from what is on it to what is put on it, as HTML where it is text."""

import re
import sys
import threading
import traceback
from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ddspx._progress import Progress
from ddspx._text import printable
from ddspx.app._controls import config_of
from ddspx.app._example import write_example
from ddspx.app._job import (
    Judged,
    Played,
    StoppedError,
    check_recording,
    instrument_story,
    judge,
    plain,
    play,
)
from ddspx.app._session_files import Files, Slot
from ddspx.instruments import install_instrument

# A name that is longer leaves no room for what is added to it, in a name of 255 bytes.
_LONGEST_STEM = 120
_AWAITED = '<p class="waiting">The report comes in a moment.</p>'
_STALE = (
    '<p class="remark" role="status">This was made before your last change. Press “Play it” to '
    "hear it as it is set now.</p>"
)


State = Literal["idle", "playing", "reporting"]


class _Job:
    """What a page waits for: a result, and then its report."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.played: Played | None = None


class Outcome(NamedTuple):
    """What is put on the page; None leaves what is there.

    Attributes:
      message: above the result.
      result: the sound.
      report: under it.
    """

    message: str | None = None
    result: str | None = None
    report: str | None = None


class Desk:
    """The work behind all open pages; each is named by its session.

    Whatever goes wrong is a sentence on the page.

    Args:
      files: where recordings and results are.
      instruments: what every page offers, by name or folder.
    """

    def __init__(self, files: Files, instruments: Collection[str]) -> None:
        self._files, self._instruments = files, instruments
        self._jobs: dict[str, _Job] = {}
        self._made_from: dict[str, tuple[Any, ...]] = {}
        self._lock = threading.Lock()
        # One sound is worked at, whoever waits for it: it takes the whole machine.
        self._turn = threading.Lock()

    def receive(self, recording: str | None, *, session: str) -> str:
        """Holds a recording for a page, or none; a message if it is of no use."""
        path = None if recording is None else Path(recording)
        self._files.hold(session, "recording", path)
        if path is not None:
            try:
                check_recording(path)
            except Exception as error:
                return _complaint(error, path)
        return ""

    def example(self) -> str:
        """A recording for whoever has none."""
        path = self._files.place("example.wav")
        write_example(path)
        return str(path)

    def add(self, archive: str | None, *, session: str) -> tuple[str, Path | None]:
        """Unpacks an instrument for a page, in place of the one that it brought before.

        Returns:
          A message, and the model's folder, named as the archive; None if it is of no use.
        """
        if archive is None:
            return "", None
        path = Path(archive)
        self._files.hold(session, "archive", path)
        place = self._files.place("instrument")
        try:
            name = re.sub(r"[^A-Za-z0-9]+", "_", path.stem).strip("_")[:40] or "instrument"
            folder = install_instrument(path, name=name, folder=place.parent)
        except Exception as error:
            self._files.discard(place)
            return _complaint(error, path), None
        finally:
            self._files.hold(session, "archive", None)
        self._files.hold(session, "instrument", folder)
        return "", folder

    def describe(self, instrument: str, *, session: str) -> str:
        """A line about an instrument that a page offers."""
        try:
            return escape(instrument_story(self._offered(instrument, session)))
        except (OSError, ValueError) as error:
            # An instrument of the user's that is damaged is no reason not to play the others.
            return escape(plain(error))

    def begin(self, *, session: str) -> None:
        """A page waits for a result from now on, and no more for what it waited for before."""
        with self._lock:
            if (before := self._jobs.get(session)) is not None:
                before.stopped.set()
            self._jobs[session] = _Job()

    def stop(self, *, session: str) -> Outcome:
        """Ends what a page waits for: at once for the page, and at the next block for the host."""
        job = self._end(session)
        if job is None:
            return Outcome()
        message = '<p class="remark" role="status">Stopped.</p>'
        return Outcome(message, report=None if job.played is None else "")

    def state(self, *, session: str) -> State:
        """What a page waits for."""
        if (job := self._jobs.get(session)) is None:
            return "idle"
        return "playing" if job.played is None else "reporting"

    def play(
        self,
        recording: str | None,
        instrument: str,
        values: Sequence[Any],
        *,
        session: str,
        progress: Progress,
    ) -> Outcome:
        """Plays a recording as the controls say; the report is another matter."""
        if (job := self._jobs.get(session)) is None:
            return Outcome()
        path = Path(recording or "")
        output = self._files.place(_result_name(path, instrument))
        try:
            if recording is None:
                raise ValueError("Record or upload something first.")
            # Another recording may come while this one is played.
            self._keep(job, session, "source", path)
            with self._turn:
                played = play(
                    path,
                    output,
                    to=self._offered(instrument, session),
                    config=config_of(values),
                    progress=progress,
                    is_stopped=job.stopped.is_set,
                )
            self._keep(job, session, "result", output)
        except Exception as error:
            self._files.discard(output)
            # A page that waits no more is told nothing.
            if not self._end(session, job):
                return Outcome()
            self._made_from.pop(session, None)
            self._files.hold(session, "result", None)
            return Outcome(_complaint(error, path, output), "", "")
        job.played = played
        self._made_from[session] = (recording, instrument, *values)
        return Outcome(_remarks(played), str(output), _AWAITED)

    def report(self, *, session: str, progress: Progress) -> Outcome:
        """Says how the result of a page is, which it has by now."""
        job = self._jobs.get(session)
        if job is None or (played := job.played) is None:
            return Outcome()
        try:
            with self._turn:
                said = _report(judge(played, progress=progress, is_stopped=job.stopped.is_set))
        except Exception as error:
            if not self._end(session, job):
                return Outcome()
            return Outcome(_complaint(error, played.recording, played.audio), report="")
        return Outcome(report=said) if self._end(session, job) else Outcome()

    def mark(
        self, recording: str | None, instrument: str, values: Sequence[Any], *, session: str
    ) -> str:
        """What to say of a result that was not made from what is on the page now."""
        made_from = self._made_from.get(session)
        is_old = made_from is not None and made_from != (recording, instrument, *values)
        return _STALE if is_old else ""

    def close(self, *, session: str) -> None:
        """Ends what a page waits for, and deletes what it had."""
        self._end(session)
        self._made_from.pop(session, None)
        self._files.close(session)

    def _offered(self, instrument: str, session: str) -> str:
        """An instrument, if the page has it to choose from: no other folder is looked into."""
        own = self._files.held(session, "instrument")
        if instrument in self._instruments or (own is not None and instrument == str(own)):
            return instrument
        raise ValueError(f"There is no instrument {instrument[:99]!r} on this page.")

    def _keep(self, job: _Job, session: str, slot: Slot, path: Path) -> None:
        """Holds a file for a page that still waits for it."""
        with self._lock:
            if job.stopped.is_set():
                raise StoppedError
            self._files.hold(session, slot, path)

    def _end(self, session: str, job: _Job | None = None) -> _Job | None:
        """Ends a job of a page (None: whichever it has), if it is still waited for."""
        with self._lock:
            current = self._jobs.get(session)
            if current is None or job not in (None, current):
                return None
            current.stopped.set()
            self._files.hold(session, "source", None)
            return self._jobs.pop(session)


def _result_name(recording: Path, instrument: str) -> str:
    """What the result is called when it is kept: no longer than a name may be, and printable."""
    stem = "".join(c if c.isprintable() else "_" for c in recording.stem)
    stem = stem.encode(errors="replace")[:_LONGEST_STEM].decode(errors="ignore")
    return f"{stem} on {Path(instrument).name[:40]}.wav"


def _complaint(error: Exception, *paths: Path) -> str:
    """An error as a sentence of the page; what is nobody's input is shown in the terminal too."""
    if isinstance(error, OSError) and error.strerror is not None:
        sentence = printable(f"{Path(error.filename or '').name}: {error.strerror}.")
    elif isinstance(error, (OSError, ValueError, ImportError)):
        sentence = plain(error, *paths)
    else:
        traceback.print_exception(error, file=sys.stderr)
        sentence = f"Something went wrong ({type(error).__name__}); the terminal says where."
    return f'<p class="complaint" role="alert">{escape(sentence)}</p>'


def _remarks(played: Played) -> str:
    return "".join(f'<p class="remark" role="status">{escape(text)}</p>' for text in played.remarks)


def _report(judged: Judged) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(row.what)}</th><td>{escape(row.value)}</td>'
        f"<td>{escape(row.meaning)}</td></tr>"
        for row in judged.rows
    )
    return (
        f"<h2>Report</h2><table>{rows}</table>"
        '<label title="Click to enlarge"><input type="checkbox" aria-label="Enlarge the picture">'
        f'<img src="data:image/png;base64,{judged.picture}" alt="Spectrograms, pitch and loudness '
        'of the recording and of the result, side by side"></label>'
    )
