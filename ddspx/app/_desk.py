"""What happens on the page: from what is on it to what is put on it, as HTML where it is text."""

import sys
import traceback
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from ddspx.app._controls import config_of
from ddspx.app._example import write_example
from ddspx.app._files import Files
from ddspx.app._play import Played, StoppedError, Tell, check_recording, plain, play


class Desk:
    """The work behind all open pages; each is named by its session.

    Whatever goes wrong is a sentence on the page.

    Args:
      files: where recordings and results are.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

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

    def play(
        self,
        recording: str | None,
        instrument: str,
        values: Sequence[Any],
        *,
        session: str,
        tell: Tell,
    ) -> tuple[str, str | None, str]:
        """Plays a recording as the controls say: a message, the result and the report."""
        if recording is None:
            return _complaint(ValueError("Record or upload something first.")), None, ""
        path = Path(recording)
        self._files.hold(session, "recording", path)
        output = self._files.place(f"{path.stem} on {Path(instrument).name}.wav")
        try:
            played = play(
                path,
                output,
                to=instrument,
                config=config_of(values),
                tell=tell,
                is_stopped=lambda: self._files.is_closed(session),
            )
        except Exception as error:
            self._files.discard(output)
            self._files.hold(session, "result", None)
            return _complaint(error, path, output), None, ""
        self._files.hold(session, "result", output)
        return _remarks(played), str(output), _report(played)

    def close(self, *, session: str) -> None:
        """Deletes what a page had."""
        self._files.close(session)


def _complaint(error: Exception, *paths: Path) -> str:
    """An error as a sentence of the page; what is nobody's input is shown in the terminal too."""
    if isinstance(error, StoppedError):
        return ""
    if isinstance(error, OSError) and error.strerror is not None:
        sentence = f"{Path(error.filename or '').name}: {error.strerror}."
    elif isinstance(error, (OSError, ValueError, ImportError)):
        sentence = plain(error, *paths)
    else:
        traceback.print_exception(error, file=sys.stderr)
        sentence = f"Something went wrong ({type(error).__name__}); the terminal says where."
    return f'<p class="complaint" role="alert">{escape(sentence)}</p>'


def _remarks(played: Played) -> str:
    return "".join(f'<p class="remark" role="status">{escape(text)}</p>' for text in played.remarks)


def _report(played: Played) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(row.what)}</th><td>{escape(row.value)}</td>'
        f"<td>{escape(row.meaning)}</td></tr>"
        for row in played.rows
    )
    return (
        f"<h2>Report</h2><table>{rows}</table>"
        '<label title="Click to enlarge"><input type="checkbox" aria-label="Enlarge the picture">'
        f'<img src="data:image/png;base64,{played.picture}" alt="Spectrograms, pitch and loudness '
        'of the recording and of the result, side by side"></label>'
    )
