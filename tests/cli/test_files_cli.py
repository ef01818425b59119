"""Files with unusual names, and paths that are not files, in commands that take many files."""

import importlib
import io
import os
import shutil
import sys

import pytest
from helpers import sine

from ddspx.cli import main
from ddspx.cli._errors import escape_what_has_no_letter, say
from ddspx.io import write_audio

RATE = 16_000
ODD = os.fsdecode(b"caf\xe9\x1b[31m.wav")
SHOWN = r"caf\xe9\x1b[31m"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="names are text there")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder with two usable recordings, one of them of an odd name, and a pipe."""
    for name in ("a.wav", ODD):
        write_audio(tmp_path / name, sine(220, RATE // 2, sample_rate=RATE), sample_rate=RATE)
    os.mkfifo(tmp_path / "pipe.wav")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_bad_file_does_not_stop_a_batch_and_odd_names_are_escaped(here, capsys):
    os.symlink("loop.wav", "loop.wav")
    names = ["pipe.wav", ODD, "/dev/zero", "loop.wav", "a.wav"]
    folder = os.fsdecode(b"out\xe9")
    assert main(["features", *names, "--kind", "rms", "-o", folder, "--plot"]) == 1
    out, err = capsys.readouterr()
    assert rf"out\xe9/{SHOWN}.rms.npz: 0.50 s" in out and "out\\xe9/a.rms.npz" in out
    assert "pipe.wav is a pipe, not a regular file" in err
    assert "/dev/zero is a device, not a regular file" in err
    assert "loop.wav cannot be read (" in err
    assert "left out 3 of 5 recordings" in err
    assert "\x1b" not in out + err and len(os.listdir(folder)) == 4


def test_any_error_is_reported_for_its_recording(here, capsys, monkeypatch):
    calls = iter((None, RuntimeError("of one file"), None))

    def arrays(values, config):
        if error := next(calls):
            raise error
        return {"rms": values}

    monkeypatch.setattr(importlib.import_module("ddspx.cli._features"), "_arrays", arrays)
    shutil.copy("a.wav", "b.wav")
    shutil.copy("a.wav", "c.wav")
    assert main(["features", "a.wav", "b.wav", "c.wav", "--kind", "rms", "-o", "out"]) == 1
    assert "b.wav is left out (stopped by RuntimeError (of one file)" in capsys.readouterr().err
    assert sorted(os.listdir("out")) == ["a.rms.npz", "c.rms.npz"]


def test_a_long_name_is_cut_to_the_longest_possible_one(here):
    long = "日" * 83 + ".wav"
    shutil.copy("a.wav", long)
    assert main(["features", long, "--kind", "log-mel", "-o", "out"]) == 0
    assert os.listdir("out") == ["日" * 81 + ".log-mel.npz"]


def test_names_outside_the_terminals_encoding_are_printed_escaped(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    escape_what_has_no_letter()
    say("日.wav", "é\x1b[2J")
    assert written.getvalue().split() == [rb"\u65e5.wav", rb"\xe9\x1b[2J"]


@pytest.mark.parametrize(
    "call",
    [
        ["prepare", "", "-o", "d"],
        ["pitch", "a.wav", "-o", ""],
        ["features", "a.wav", "", "--kind", "rms"],
        ["classify", "train", "", "-o", "m"],
    ],
    ids=" ".join,
)
def test_an_empty_argument_is_not_taken_for_the_current_folder(here, call, capsys):
    assert main(call) == 2
    assert "one of the arguments is empty" in capsys.readouterr().err
    assert len(os.listdir()) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            "features a.wav --kind mel --sample-rate 1000000000",
            "`sample_rate` must be at most 1000000",
        ),
        ("features a.wav --kind mel --n-bands 100000", "`n_bands` must be at most 1024"),
        ("features a.wav --kind mel --n-fft 100000000", "`n_fft` must be at most 65536"),
        ("features a.wav --kind mel --hop-ms 1e9", "`hop_ms` must be at most 1000, a second"),
        ("pitch a.wav --hop-ms 1e9", "`hop_ms` must be at most 1000, a second"),
        ("pitch a.wav --method yin --fmin 1e-9", "`fmin` must be at least 0.244 Hz at 16000"),
        (
            "transfer a.wav --to violin -o b.wav --seed 99999999999",
            "`seed` must be from 0 to 2**32",
        ),
        ("transfer a.wav --to violin -o b.wav --seed -1", "`seed` must be at least 0"),
        ("classify train t.csv -o m --steps 99999999999", "`steps` must be at most 1000000000"),
        ("prepare a.wav -o d --sample-rate 1000000000", "`sample_rate` must be at most 1000000"),
        ("prepare a.wav -o d --hop-length 1000000000", "`hop_length` must be at most 1000000"),
        ("prepare a.wav -o d --example-s 1e9", "`example_s` must be at least one hop long, and at"),
        ("prepare a.wav -o d --example-s nan", "`example_s` must be at least one hop long, and at"),
        ("classify train t.csv -o m --sample-rate 1000000000", "`sample_rate` must be at most"),
        ("classify train t.csv -o m --bands 100000", "`n_bands` must be at most 1024"),
        (
            "classify train t.csv -o m --segment-s 1e9",
            "`segment_s` must be above 0 and at most 600",
        ),
        ("classify train t.csv -o m --hop-ms 1e9", "`hop_ms` must be at most 1000"),
        ("classify train t.csv -o m --channels 100000000", "`channels` must be at most 4096"),
        ("classify train t.csv -o m --batch-size 1000000000", "`batch_size` must be at most 65536"),
    ],
)
def test_huge_sizes_are_refused(here, call, message, capsys):
    (here / "t.csv").write_text("file,label,split\na.wav,x,train\nb.wav,y,train\nc.wav,y,valid\n")
    assert main(call.split()) == 2
    out, err = capsys.readouterr()
    assert message in err and not out and len(err.splitlines()) == 1
