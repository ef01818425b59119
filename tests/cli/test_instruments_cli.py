"""`ddspx instruments`: the list, and adding, packing and removing instruments."""

import json
import shutil
from pathlib import Path

import pytest
import soundfile

from ddspx.cli import main
from ddspx.instruments import instrument_names

SCORES = {"spectral_loss": 6.5, "loudness_l1_db": 1.75, "f0_l1_semitones": None}


@pytest.fixture
def library(tmp_path, monkeypatch):
    """The user's folder, and a terminal of 80 columns."""
    monkeypatch.setenv("DDSPX_INSTRUMENTS", str(tmp_path / "library"))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path / "library"


@pytest.fixture
def run(capsys):
    """Runs a command line, and returns its status, its stdout and its stderr."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def model(instrument, tmp_path):
    """A model folder with everything that a list can say of it."""
    model = Path(shutil.copytree(instrument, tmp_path / "model"))
    data = {"licence": "CC0 [1.0]", "attribution": "Who \x1b[2Jplayed", "sources": [{}, {}, {}]}
    (model / "provenance.json").write_text(json.dumps({"data": data, "scores": SCORES}))
    return model


def row(text, name):
    # Attributions come below and may begin with a name too.
    return next(line for line in text.splitlines() if line.strip().startswith(f"{name} "))


def test_shipped_instruments_are_listed_with_their_cards(run, library):
    status, text, said = run("instruments")
    assert (status, said) == (0, "")
    assert "Your own" not in text
    for name in instrument_names():
        line = row(text, name)
        assert "kHz" in line and "files" in line and "CC" in line
        assert f"\n{name}: " in text


def test_installed_instruments_are_listed_in_80_columns(run, library, model, monkeypatch):
    long = "a-name-of-the-most-letters-that-are-many"
    assert len(long) == 40
    for name in ("kalimba", long):
        status, text, said = run("instruments", "add", model, "--name", name)
        assert (status, said) == (0, "")
        assert text == f"{library / name}: play it with --to {name}\n"
    monkeypatch.chdir(library.parent)
    _, text, _ = run("instruments")
    ships, own = text.split("Your own, in")
    assert "violin" in ships and "violin" not in own
    expected = ["kalimba", "C4-G#5", "16", "kHz", "3", "files,", "10", "s"]
    assert row(own, "kalimba").split()[:8] == expected
    assert "CC0 [1.0]" in own and row(own, "kalimba").endswith("6.50 / 1.75 / - ")
    assert "kalimba: Who ?[2Jplayed" in own and "\x1b" not in text
    assert all(len(line) <= 80 for line in text.splitlines() if "/" not in line)
    # It goes on in the lines below its first.
    width = row(own, "kalimba").index("C4-G#5")
    names = "".join(
        line[:width].strip() for line in own.partition(f"\n{long}: ")[0].splitlines()[1:]
    )
    assert names.endswith(f"{long}kalimba")


def test_a_damaged_instrument_is_left_out_with_status_1(run, library, model):
    run("instruments", "add", model, "--name", "kalimba")
    (library / "kalimba" / "statistics.json").write_text(
        '{"\x1b[2J": 1}'.replace("\x1b", "\\u001b")
    )
    (library / "oboe").mkdir()
    status, text, said = run("instruments")
    assert status == 1 and "violin" in text and "kalimba" not in text
    first, second, last = said.splitlines()
    assert "statistics.json is not usable" in first and r"`\x1b[2J`" in first
    assert "oboe lacks config.json" in second
    assert last.startswith("ddspx instruments: left out 2 of ")


def test_a_packed_instrument_is_added_played_and_removed(run, library, model, recording, tmp_path):
    status, text, _ = run("instruments", "pack", model, "-o", tmp_path / "kalimba.zip")
    assert status == 0 and text.startswith(f"{tmp_path / 'kalimba.zip'}: ")
    assert run("instruments", "add", tmp_path / "kalimba.zip")[0] == 0
    for to in ("kalimba", model):
        output = tmp_path / f"{Path(to).name}.wav"
        assert run("transfer", recording, "--to", to, "-o", output)[0] == 0
    played = [soundfile.read(tmp_path / f"{name}.wav")[0] for name in ("kalimba", "model")]
    assert abs(played[0]).max() > 1e-4 and (played[0] == played[1]).all()
    assert run("instruments", "remove", "kalimba") == (0, "kalimba is removed\n", "")
    assert not list(library.iterdir())
    status, _, said = run("transfer", recording, "--to", "kalimba", "-o", tmp_path / "no.wav")
    assert status == 2 and "no model folder or instrument 'kalimba'" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["add", "absent"], "no folder or zip archive absent"),
        (["add", "MODEL", "--name", "violin"], "ships with ddspx"),
        (["add", "MODEL", "--name", "../x"], "cannot be the name of an instrument"),
        (["add", "MODEL", "--name", "kalimba"], "'kalimba' already"),
        (["add", "MODEL/config.json", "--name", "oboe"], "not a readable zip archive"),
        (["pack", "absent", "-o", "x.zip"], "no model folder or instrument 'absent'"),
        (["pack", "MODEL", "-o", "x.tar"], "must end in .zip"),
        (["pack", "MODEL"], "-o"),
        (["remove", "violin"], "cannot be removed; only your own instruments can"),
        (["remove", "oboe"], "no instrument 'oboe'"),
        (["add"], "FOLDER-OR-ZIP"),
    ],
)
def test_errors_are_one_line(arguments, sentence, run, library, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("instruments", "add", model, "--name", "kalimba")
    before = sorted(tmp_path.rglob("*"))
    arguments = [argument.replace("MODEL", str(model)) for argument in arguments]
    status, text, said = run("instruments", *arguments)
    assert (status, text) == (2, "")
    (line,) = said.splitlines()
    assert line.startswith(f"ddspx instruments {arguments[0]}: ") and sentence in line
    assert sorted(tmp_path.rglob("*")) == before


def test_the_word_instruments_is_a_command_and_begins_others(run, library):
    assert run("instruments")[0] == 0
    status, usage, _ = run("instruments", "--help")
    assert status == 0
    for call in ("instruments ", "instruments add FOLDER-OR-ZIP", "instruments remove NAME"):
        assert f"\n  {call}" in usage
    assert "transfer" not in usage
    for word in ("all", "--all"):
        status, text, said = run("instruments", word)
        assert (status, text) == (2, "")
        assert said.startswith(
            f"ddspx: there is no command 'instruments {word}'; use instruments, "
        )
        assert "instruments add" in said and "classify" not in said
    for word in ("add", "import", "pack", "room", "remove"):
        status, usage, _ = run("instruments", word, "--help")
        assert status == 0 and usage.startswith(f"usage: ddspx instruments {word} ")


def test_the_first_word_of_commands_alone_gives_their_usage(run):
    status, usage, said = run("classify")
    assert (status, said) == (2, "") and "classify train" in usage and "instruments" not in usage
    assert run("classify", "-h")[0] == 0
    assert run("classify", "nonsense")[0] == 2


def test_the_room_of_an_instrument_is_a_sound_file_and_its_times_are_printed(run, tmp_path):
    status, text, said = run("instruments", "room", "violin", "-o", tmp_path / "room.wav")
    assert (status, said) == (0, "")
    assert text.startswith(f"{tmp_path / 'room.wav'}: level ") and "1000 Hz" in text
    assert (tmp_path / "room.wav").is_file()
