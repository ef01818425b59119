"""The progress bar appears on terminals only, and shows the stage and the time."""

import io

import pytest
from rich.console import Console

from ddspx.cli import _progress


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_progress_bar_appears_only_on_terminals_and_is_cleared(
    is_terminal, monkeypatch, capsys
):
    file = io.StringIO()

    def console(*, stderr):
        assert stderr
        return Console(file=file, force_terminal=is_terminal, width=80)

    monkeypatch.setattr("rich.console.Console", console)
    with _progress.progress() as bar:
        bar("listening", 3.0, None)
        bar("playing", 12.0, 24.0)
        bar("playing", 24.0, 24.0)
    shown = file.getvalue()
    assert ("playing" in shown and "0:00:00" in shown) is is_terminal
    if not is_terminal:
        assert shown == ""
    assert capsys.readouterr().out == ""
