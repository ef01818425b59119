"""The page's events: they take the values of its components and return new ones, text as HTML."""

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
    hear,
    instrument_story,
    judge,
    plain,
    play,
)
from ddspx.app._session_files import Files, Slot
from ddspx.instruments import import_instrument

# File names have at most 255 bytes; this leaves room for the text that is added to the stem.
_LONGEST_STEM = 120
_AWAITED = '<p class="waiting">The report will appear in a moment.</p>'
_STALE = (
    '<p class="remark" role="status">This was made before your last change. Press “Play it” to '
    "hear it with the current settings.</p>"
)


State = Literal["idle", "playing", "reporting"]


class _Job:
    """The work that a page waits for: first a result, then its report."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.played: Played | None = None


class Outcome(NamedTuple):
    """New values of the page's components; None leaves a component unchanged.

    Attributes:
      message: the message above the result.
      result: the path of the sound.
      report: the report below the result.
    """

    message: str | None = None
    result: str | None = None
    report: str | None = None


class Sessions:
    """Handles the events of all open pages; each page is identified by its session.

    Every error becomes a sentence on the page.

    Args:
      files: the files of the pages.
      instruments: the instruments that every page offers, by name or folder.
    """

    def __init__(self, files: Files, instruments: Collection[str]) -> None:
        self._files, self._instruments = files, instruments
        self._jobs: dict[str, _Job] = {}
        self._made_from: dict[str, tuple[Any, ...]] = {}
        self._lock = threading.Lock()
        # Only one sound is processed at a time, because it keeps the whole machine busy.
        self._turn = threading.Lock()

    def receive(self, recording: str | None, *, session: str) -> str:
        """Stores a page's recording, or removes it if None; returns a message if it is unusable."""
        path = None if recording is None else Path(recording)
        self._files.hold(session, "recording", path)
        if path is not None:
            try:
                check_recording(path)
            except Exception as error:
                return _complaint(error, path)
        return ""

    def example(self) -> str:
        """Writes the example recording and returns its path."""
        path = self._files.place("example.wav")
        write_example(path)
        return str(path)

    def add(self, archive: str | None, *, session: str) -> tuple[str, Path | None]:
        """Unpacks an instrument for a page, in place of the one that it uploaded before.

        The archive may also hold a model that `import_instrument` takes.

        Returns:
          A message, and the model's folder, which is named after the archive; None for the folder
          if the archive is unusable.
        """
        if archive is None:
            return "", None
        path = Path(archive)
        self._files.hold(session, "archive", path)
        place = self._files.place(_folder_name(path))
        try:
            folder = import_instrument(path, name=place.name, folder=place.parent)
        except Exception as error:
            self._files.discard(place)
            return _complaint(error, path), None
        finally:
            self._files.hold(session, "archive", None)
        self._files.hold(session, "instrument", folder)
        return "", folder

    def hear(
        self, sound: str | None, *, session: str, progress: Progress
    ) -> tuple[str, Path | None]:
        """Makes an instrument of a page's sound, in place of the one that it made before.

        Returns:
          A message, and the model's folder, which is named after the sound; None for the folder if
          there is no sound or it is unusable.
        """
        path = None if sound is None else Path(sound)
        self._files.hold(session, "sound", path)
        self._files.hold(session, "timbre", None)
        if path is None:
            return "", None
        folder = self._files.place(_folder_name(path))
        try:
            with self._turn:
                remarks = hear(path, folder, progress=progress)
        except Exception as error:
            self._files.discard(folder)
            return _complaint(error, path), None
        with self._lock:
            # The page may have been closed, or have another sound by now.
            if self._files.held(session, "sound") != path:
                self._files.discard(folder)
                return "", None
            self._files.hold(session, "timbre", folder)
        return _remarks(remarks), folder

    def own(self, *, session: str) -> list[tuple[Path, str]]:
        """Returns the instruments of a page alone, each with a word on where it comes from."""
        words: tuple[tuple[Slot, str], ...] = (("instrument", "yours"), ("timbre", "your sound"))
        held = [(self._files.held(session, slot), word) for slot, word in words]
        return [(folder, word) for folder, word in held if folder is not None]

    def describe(self, instrument: str, *, session: str) -> str:
        """Returns a line about an instrument that a page offers."""
        sound, timbre = (self._files.held(session, slot) for slot in ("sound", "timbre"))
        name = sound.name if sound is not None and instrument == str(timbre) else None
        try:
            return escape(instrument_story(self._offered(instrument, session), sound=name))
        except (OSError, ValueError) as error:
            # A damaged instrument must not keep the page from offering the others.
            return escape(plain(error))

    def begin(self, *, session: str) -> None:
        """Starts a page's new job, and stops the one before it."""
        with self._lock:
            if (previous := self._jobs.get(session)) is not None:
                previous.stopped.set()
            self._jobs[session] = _Job()

    def stop(self, *, session: str) -> Outcome:
        """Stops a page's job: the page is free at once, the work ends at its next block."""
        job = self._end(session)
        if job is None:
            return Outcome()
        message = '<p class="remark" role="status">Stopped.</p>'
        return Outcome(message, report=None if job.played is None else "")

    def state(self, *, session: str) -> State:
        """Returns the state of a page's job."""
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
        """Plays a recording with the values of the controls; the report is a separate event."""
        if (job := self._jobs.get(session)) is None:
            return Outcome()
        path = Path(recording or "")
        output = self._files.place(_result_name(path, instrument))
        try:
            if recording is None:
                raise ValueError("Record or upload something first.")
            # The recording is held a second time, because the page may replace its own meanwhile.
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
            # A page that has stopped this job, or begun another one, is not changed.
            if not self._end(session, job):
                return Outcome()
            self._made_from.pop(session, None)
            self._files.hold(session, "result", None)
            return Outcome(_complaint(error, path, output), "", "")
        job.played = played
        self._made_from[session] = (recording, instrument, *values)
        return Outcome(_remarks(played.remarks), str(output), _AWAITED)

    def report(self, *, session: str, progress: Progress) -> Outcome:
        """Evaluates the result that a page already has."""
        job = self._jobs.get(session)
        if job is None or (played := job.played) is None:
            return Outcome()
        try:
            with self._turn:
                html = _report(judge(played, progress=progress, is_stopped=job.stopped.is_set))
        except Exception as error:
            if not self._end(session, job):
                return Outcome()
            return Outcome(_complaint(error, played.recording, played.audio), report="")
        return Outcome(report=html) if self._end(session, job) else Outcome()

    def mark(
        self, recording: str | None, instrument: str, values: Sequence[Any], *, session: str
    ) -> str:
        """Returns a remark if the result was made with other settings than the page has now."""
        made_from = self._made_from.get(session)
        is_old = made_from is not None and made_from != (recording, instrument, *values)
        return _STALE if is_old else ""

    def close(self, *, session: str) -> None:
        """Stops a page's job and deletes its files."""
        self._end(session)
        self._made_from.pop(session, None)
        self._files.close(session)

    def _offered(self, instrument: str, session: str) -> str:
        """Returns an instrument if the page offers it; otherwise no folder is accessed."""
        own = [str(folder) for folder, _ in self.own(session=session)]
        if instrument in self._instruments or instrument in own:
            return instrument
        raise ValueError(f"There is no instrument {instrument[:99]!r} on this page.")

    def _keep(self, job: _Job, session: str, slot: Slot, path: Path) -> None:
        """Holds a file for a page, unless its job has been stopped."""
        with self._lock:
            if job.stopped.is_set():
                raise StoppedError
            self._files.hold(session, slot, path)

    def _end(self, session: str, job: _Job | None = None) -> _Job | None:
        """Ends a job of a page (None: any); returns it, or None if it had ended before."""
        with self._lock:
            current = self._jobs.get(session)
            if current is None or job not in (None, current):
                return None
            current.stopped.set()
            self._files.hold(session, "source", None)
            return self._jobs.pop(session)


def _folder_name(path: Path) -> str:
    """Returns the name of an instrument that is made of an uploaded file."""
    return re.sub(r"[^A-Za-z0-9]+", "_", path.stem).strip("_")[:40] or "instrument"


def _result_name(recording: Path, instrument: str) -> str:
    """Returns the file name of a result: printable, and short enough for a file system."""
    stem = "".join(c if c.isprintable() else "_" for c in recording.stem)
    stem = stem.encode(errors="replace")[:_LONGEST_STEM].decode(errors="ignore")
    return f"{stem} on {Path(instrument).name[:40]}.wav"


def _complaint(error: Exception, *paths: Path) -> str:
    """Returns an error as HTML; an error that no input explains is printed to the terminal too."""
    if isinstance(error, OSError) and error.strerror is not None:
        sentence = printable(f"{Path(error.filename or '').name}: {error.strerror}.")
    elif isinstance(error, (OSError, ValueError, ImportError)):
        sentence = plain(error, *paths)
    else:
        traceback.print_exception(error, file=sys.stderr)
        sentence = f"Something went wrong ({type(error).__name__}); see the terminal for details."
    return f'<p class="complaint" role="alert">{escape(sentence)}</p>'


def _remarks(sentences: Sequence[str]) -> str:
    return "".join(f'<p class="remark" role="status">{escape(text)}</p>' for text in sentences)


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
