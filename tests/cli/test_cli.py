"""The command for its users: usage, wrong arguments, and one line for each error."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bad_recordings import (
    ENVIRONMENT,
    HEARD_AT_ONCE,
    SPOILT,
    write_cut_short,
    write_samples,
    write_text,
)
from toy_instrument import tone

import ddspx
from ddspx.cli import main


def test_usage_names_every_command_and_each_has_help(capsys):
    assert main(["--help"]) == 0
    usage = capsys.readouterr().out
    for name in ("prepare", "train", "evaluate", "transfer", "instruments add"):
        assert name in usage
        assert main([*name.split(), "--help"]) == 0
        text = capsys.readouterr().out
        assert f"usage: ddspx {name}" in text
        assert not re.search(r"`|None\}|\[\[", text)


def test_the_usage_line_has_the_required_arguments(capsys):
    main(["prepare", "--help"])
    assert capsys.readouterr().out.startswith("usage: ddspx prepare RECORDING... -o DATASET [OPT")
    main(["transfer", "--help"])
    usage = "usage: ddspx transfer RECORDING --to INSTRUMENT -o FILE [OPTIONS]\n\nPlays a"
    assert capsys.readouterr().out.startswith(usage)


def test_no_command_and_unknown_commands_end_with_status_2(capsys):
    assert main([]) == 2
    assert "usage: ddspx" in capsys.readouterr().out
    assert main(["resynthesize"]) == 2
    assert "no command 'resynthesize'" in capsys.readouterr().err
    assert main(["tranfer"]) == 2 and capsys.readouterr().err.endswith(" Did you mean transfer?\n")
    assert main(["--verison"]) == 2 and capsys.readouterr().err.endswith("mean --version?\n")
    assert main(["classify", "trian"]) == 2
    assert capsys.readouterr().err.endswith(" Did you mean classify train?\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["transfer"], "missing: RECORDING --to INSTRUMENT -o FILE"),
        (["transfer", "a.wav", "-o", "b.wav", "--to"], "--to"),
        (
            ["transfer", "a.wav", "--to", "violin", "-o", "b.wav", "--pitch-shft", "1"],
            "--pitch-shft",
        ),
        (
            ["transfer", "a.wav", "--to", "violin", "-o", "b.wav", "--pitch-shift", "up"],
            "--pitch-shift",
        ),
        (["transfer", "a.wav", "b.wav", "--to", "violin", "-o", "c.wav"], "b.wav"),
        (["train", "dataset", "-o", "model", "--preset", "large"], "large"),
        (["crepe", "convert", "a.h5", "b", "c"], "c"),
    ],
)
def test_wrong_arguments_give_one_line(arguments, complaint, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    name = arguments[0]
    line, question, word = line.partition(" Did you mean ")
    assert line.startswith(f"ddspx {name}: ") and line.endswith(f"; see ddspx {name} --help.")
    assert (question + word == " Did you mean --pitch-shift?") == ("--pitch-shft" in line)
    assert complaint in line and "│" not in line


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ddspx {ddspx.__version__}\n"


@pytest.fixture
def fail(monkeypatch, capsys):
    """Runs a command that raises an exception, and returns its status and its message."""

    def run(error):
        def instruments() -> None:
            raise error

        from ddspx.cli import _instruments

        monkeypatch.setattr(_instruments, "instruments", instruments)
        status = main(["instruments"])
        return status, capsys.readouterr().err

    return run


def test_an_interruption_ends_with_status_130(fail):
    assert fail(KeyboardInterrupt()) == (130, "ddspx instruments: interrupted.\n")


@pytest.mark.parametrize(
    "error",
    [TypeError("2 + 'a'.\nmore"), RecursionError("deep"), MemoryError(), ZeroDivisionError()],
)
def test_an_unexpected_error_is_one_line_with_status_1(error, fail, monkeypatch):
    monkeypatch.delenv("DDSPX_TRACEBACK", raising=False)
    status, said = fail(error)
    assert status == 1
    assert said.startswith(f"ddspx instruments: stopped by {type(error).__name__}")
    assert said.endswith("DDSPX_TRACEBACK=1 in the environment shows where.\n")
    assert said.count("\n") == 1
    monkeypatch.setenv("DDSPX_TRACEBACK", "1")
    with pytest.raises(type(error)):
        fail(error)


def test_training_that_diverges_ends_with_status_1(fail):
    assert fail(FloatingPointError("the loss is nan.")) == (
        1,
        "ddspx instruments: the loss is nan.\n",
    )


REFUSALS = f"""
import json, sys
from ddspx.cli import main
first, *others = json.loads(sys.argv[1])
print("==", main(first), file=sys.stderr, flush=True)
print(json.dumps(sorted(sys.modules)))
{HEARD_AT_ONCE}
for arguments in others:
    print("==", main(arguments), file=sys.stderr, flush=True)
"""


@pytest.fixture(scope="module")
def refusals(recording, instrument, tmp_path_factory):
    """In a process of its own: what it says, the modules after the first call, and what is left.

    What libraries write to the process's stderr themselves would be seen here alone.
    """
    folder = tmp_path_factory.mktemp("refusals")
    makers = {
        "absent.wav": lambda path: None,
        "text.wav": write_text,
        "empty.wav": Path.touch,
        "cut.wav": write_cut_short,
        "nan.wav": write_samples(SPOILT),
        "zeros.wav": write_samples(np.zeros(20_000)),
        "short.wav": write_samples(tone(0.05)),
        "loud.wav": write_samples(1e30 * tone(0.5)),
    }
    for name, make in makers.items():
        make(folder / name)
    to = ["--to", str(instrument)]
    calls = [["transfer", str(recording), "--to", "kazoo", "-o", "out.wav"]]
    calls += [["transfer", name, *to, "-o", "out.wav"] for name in makers]
    calls += [
        ["transfer", str(recording), *to, "-o", "out.mp3"],
        ["transfer", str(recording), *to, "-o", "/proc/out.wav", "--follow", "0"],
        ["transfer", str(recording), *to, "-o", "out.wav", "--octave", "9"],
        ["transfer", str(recording), *to],
        ["evaluate", str(instrument), "absent"],
        ["train", "absent", "-o", "model"],
        ["prepare", "absent.wav", "-o", "dataset"],
        ["prepare", "-o", "dataset"],
        ["nonsense"],
    ]
    before = sorted(path.name for path in folder.iterdir())
    run = subprocess.run(
        [sys.executable, "-c", REFUSALS, json.dumps(calls)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=ENVIRONMENT,
        check=True,
    )
    after = sorted(path.name for path in folder.iterdir())
    return len(calls), run.stderr.splitlines(), run.stdout, (before, after)


def test_an_error_imports_only_what_the_command_needs(refusals):
    _, said, printed, _ = refusals
    modules = json.loads(printed)
    assert "kazoo" in said[0] and said[1] == "== 2"
    assert "ddspx.cli._transfer" in modules
    for name in ("ddspx.training", "ddspx.cli._train", "matplotlib", "orbax", "grain"):
        assert name not in modules


def test_each_error_is_exactly_one_line_in_a_new_process(refusals):
    n_calls, lines, printed, (before, after) = refusals
    assert printed.count("\n") == 1
    assert lines[1::2] == ["== 2"] * n_calls
    assert all(line.startswith("ddspx") for line in lines[::2])
    assert after == before
