"""Pitch from the command line: the files, the messages, and the files that must not change."""

import importlib
import io as text
import re

import numpy as np
import pytest
from helpers import sine
from rich.console import Console

from ddspx import features, io
from ddspx.cli import main

# The module; in the package its name is the function's.
command = importlib.import_module("ddspx.cli._pitch")

RATE = 16_000


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder, and one of recordings beside it: a tone, another rate, no sound."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    tone = sum(sine(220 * k, RATE // 2, sample_rate=RATE) / (4 * k) for k in range(1, 6))
    io.write_audio(folder / "tone.wav", tone, sample_rate=RATE)
    io.write_audio(folder / "high.flac", sine(880, 22_050, sample_rate=44_100), sample_rate=44_100)
    (folder / "text.wav").write_text("not a recording")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def read(path):
    header, *lines = path.read_text().splitlines()
    assert header == "time,f0_hz,confidence"
    return np.array([[float(cell) for cell in line.split(",")] for line in lines]).T


def refused(arguments, capsys):
    """The one line of a command that is refused with status 2."""
    assert main(["pitch", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert said.out == "" and line.startswith("ddspx pitch: ")
    return line


def test_the_csv_has_the_pitch_of_tones(here, tmp_path, capsys):
    assert main(["pitch", str(here / "tone.wav"), str(here / "high.flac")]) == 0
    said = capsys.readouterr()
    # Where a tone begins, its first frame may hear no pitch yet.
    summary = r"tone.csv: 0.50 s, (9.|100)% voiced\nhigh.csv: 0.50 s, (9.|100)% voiced\n"
    assert re.fullmatch(summary, said.out)
    assert said.err == ""
    assert names(tmp_path / "here") == ["high.csv", "tone.csv"]
    for name, pitch_hz in (("tone.csv", 220), ("high.csv", 880)):
        time_s, f0_hz, confidence = read(tmp_path / "here" / name)
        np.testing.assert_array_equal(time_s, np.arange(51) / 100)
        cents = 1200 * np.log2(f0_hz[5:-5] / pitch_hz)
        assert np.abs(cents).max() < 10
        assert (confidence[5:-5] > 0.8).all() and (confidence <= 1).all()


@pytest.fixture
def tracker_calls(monkeypatch):
    """Replaces the tracker by one that finds 100 Hz in every frame, voiced in every second frame.

    Returns the list of its calls: the number of samples and the options.
    """
    calls = []

    def track(blocks, **options):
        audio = np.concatenate(list(blocks))
        calls.append((audio.size, options))
        frames = 1 + audio.size // options["hop_length"]
        confidence = np.where(np.arange(frames) % 2, 0.5, 0.49999).astype(np.float32)
        return np.full(frames, 100, np.float32), confidence

    monkeypatch.setattr("ddspx.features.blockwise_pitch", track)
    return calls


@pytest.mark.parametrize("method", ["ddspx", "yin", "pyin", "crepe", "crepe-tiny"])
def test_the_options_reach_the_tracker(method, here, tmp_path, tracker_calls):
    options = f"--method {method} --hop-ms 5 --fmin 50 --fmax 400 -o {tmp_path / 'made' / 'out'}"
    assert main(["pitch", str(here / "tone.wav"), *options.split()]) == 0
    (given,) = tracker_calls
    rates = {"sample_rate": RATE, "hop_length": 80, "fmin": 50.0, "fmax": 400.0}
    assert given == (RATE // 2, {**rates, "method": method})
    assert names(tmp_path / "made" / "out") == ["tone.csv"]


@pytest.mark.parametrize(
    ("hop_ms", "second"),
    [("10", "0.010"), ("0.5", "0.0005"), ("0.0625", "0.0000625"), ("5.8", "0.0058125")],
)
def test_times_are_exact_and_rounding_does_not_change_voicing(
    hop_ms, second, here, tracker_calls, tmp_path
):
    assert main(["pitch", str(here / "tone.wav"), "--hop-ms", hop_ms]) == 0
    lines = (tmp_path / "here" / "tone.csv").read_text().splitlines()
    zero = "0." + "0" * len(second.partition(".")[2])
    assert lines[1:3] == [f"{zero},100.000,0.499", f"{second},100.000,0.500"]


def test_the_size_of_the_read_blocks_does_not_change_the_result(here, tmp_path, monkeypatch):
    assert main(["pitch", str(here / "tone.wav"), "-o", str(tmp_path / "whole")]) == 0
    monkeypatch.setattr(command, "_BLOCK_LENGTH", 777)
    assert main(["pitch", str(here / "tone.wav"), "-o", str(tmp_path / "blocks")]) == 0
    whole, blocks = ((tmp_path / name / "tone.csv").read_text() for name in ("whole", "blocks"))
    assert whole == blocks


@pytest.mark.filterwarnings("ignore::DeprecationWarning:matplotlib.*")
def test_a_picture_is_drawn_beside_the_table(here, tracker_calls, tmp_path):
    pytest.importorskip("matplotlib")
    assert main(["pitch", str(here / "tone.wav"), "--plot"]) == 0
    assert names(tmp_path / "here") == ["tone.csv", "tone.png"]
    assert (tmp_path / "here" / "tone.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_bad_files_are_reported_and_the_others_tracked(here, tracker_calls, tmp_path, capsys):
    arguments = [here / "gone.wav", here / "tone.wav", here / "text.wav", here, here / "high.flac"]
    assert main(["pitch", *map(str, arguments)]) == 1
    said = capsys.readouterr()
    lines = said.err.splitlines()
    complaints = (
        "gone.wav does not exist",
        "text.wav cannot be read as audio",
        "recordings is a folder",
        "left out 3 of 5 recordings.",
    )
    for line, complaint in zip(lines, complaints, strict=True):
        assert line.startswith("ddspx pitch: ") and complaint in line
    assert [line.partition(":")[0] for line in said.out.splitlines()] == ["tone.csv", "high.csv"]
    assert names(tmp_path / "here") == ["high.csv", "tone.csv"]


def test_bad_files_alone_make_no_folder(here, tracker_calls, tmp_path, capsys):
    cut = (here / "high.flac").read_bytes()
    (here / "cut.flac").write_bytes(cut[: len(cut) // 2])
    arguments = [here / "text.wav", here / "gone.wav", here / "cut.flac"]
    assert main(["pitch", *map(str, arguments), "-o", str(tmp_path / "made" / "out")]) == 1
    assert "left out 3 of 3 recordings." in capsys.readouterr().err
    assert names(tmp_path) == ["here", "recordings"]


def test_a_folder_that_cannot_be_made_is_found_before_the_work(
    here, tracker_calls, tmp_path, capsys
):
    (tmp_path / "file").write_text("")
    line = refused([here / "tone.wav", "-o", tmp_path / "file" / "out"], capsys)
    assert "`output` must be a folder that can be written to" in line and "out (" in line
    assert not tracker_calls and names(tmp_path / "here") == []


def test_a_failure_keeps_earlier_files(here, tracker_calls, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "here"
    for name in ("tone.csv", "tone.png"):
        (folder / name).write_text("earlier")

    def full(*args, **kwargs):
        raise OSError("The disk is full.")

    monkeypatch.setattr("ddspx.plot.require_plotting", lambda: None)
    monkeypatch.setattr("ddspx.plot.plot_pitch", full)
    assert refused([here / "tone.wav", "--plot"], capsys).endswith("The disk is full.")
    assert [(folder / name).read_text() for name in names(folder)] == ["earlier", "earlier"]


def test_two_recordings_are_never_written_to_one_file(here, tracker_calls, tmp_path, capsys):
    other = here / "tone.flac"
    line = refused([here / "tone.wav", other], capsys)
    assert f"{here / 'tone.wav'} and {other} would both become tone.csv" in line
    assert "would both become" in refused([here / "tone.wav", here / "tone.wav"], capsys)
    assert not tracker_calls and not names(tmp_path / "here")


def test_a_recording_is_never_replaced(here, tracker_calls, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ddspx.plot.require_plotting", lambda: None)
    # Sound under the name of a table, reached by a link.
    sound = tmp_path / "here" / "tone.csv"
    sound.write_bytes((here / "tone.wav").read_bytes())
    (here / "link.wav").symlink_to(sound)
    before = sound.read_bytes()
    for arguments in (
        ["tone.csv"],
        [here / "tone.wav", "tone.csv"],
        [here / "tone.wav", here / "link.wav"],
        [sound, "--plot", "-o", here / ".." / "here"],
    ):
        assert "tone.csv is one of the recordings" in refused(arguments, capsys)
    sound.rename(sound.with_suffix(".png"))
    assert "tone.png is one of" in refused([here / "tone.wav", "tone.png", "--plot"], capsys)
    assert sound.with_suffix(".png").read_bytes() == before and not tracker_calls


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--hop-ms 0", "`hop_ms` must be at least one sample, 0.0625 ms at 16000 Hz, got 0.0"),
        ("--hop-ms 60000", "`hop_ms` must be at most 1000, a second, got 60000.0"),
        ("--hop-ms -10", "`hop_ms` must be"),
        ("--hop-ms nan", "`hop_ms` must be"),
        ("--hop-ms inf", "`hop_ms` must be"),
        ("--method swipe", "swipe"),
        (
            "--method yin --fmax 9000",
            "at most half of `sample_rate`, 8000.0 Hz, got 32.703 and 9000",
        ),
        ("--fmin 500 --fmax 400", "`fmin` must be above 0 and below `fmax`"),
        ("--fmin 20", "use the method 'yin'"),
        ("-o {recordings}/tone.wav", "`output` must be a folder"),
    ],
)
def test_unusable_options_are_one_line_with_status_2(options, complaint, here, tmp_path, capsys):
    assert complaint in refused(
        [here / "tone.wav", *options.format(recordings=here).split()], capsys
    )
    assert not names(tmp_path / "here")


def test_a_recording_must_be_named(here, capsys):
    assert "name at least one RECORDING" in refused([], capsys)


def test_missing_weights_are_reported_before_the_work(here, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DDSPX_CREPE_WEIGHTS", str(tmp_path / "nowhere"))
    arguments = [here / "tone.wav", here / "high.flac", "--method", "crepe-tiny"]
    assert "DDSPX_CREPE_WEIGHTS" in refused(arguments, capsys)
    assert not names(tmp_path / "here")


def test_a_missing_matplotlib_is_reported_before_the_work(here, tracker_calls, monkeypatch, capsys):
    monkeypatch.setattr("ddspx.plot.find_spec", lambda name: None)
    assert "pip install 'ddspx[plot]'" in refused([here / "tone.wav", "--plot"], capsys)
    assert not tracker_calls


def test_the_progress_bar_counts_recordings_and_seconds(here, tracker_calls, monkeypatch, capsys):
    shown = text.StringIO()
    monkeypatch.setattr(
        "rich.console.Console", lambda stderr: Console(file=shown, force_terminal=True, width=80)
    )
    assert main(["pitch", str(here / "tone.wav"), str(here / "high.flac")]) == 0
    assert "1 of 2" in shown.getvalue() and "2 of 2" in shown.getvalue()
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2 and said.err == ""


def test_the_help_describes_the_columns(capsys):
    assert main(["pitch", "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: ddspx pitch RECORDING... [-o DIR] [OPTIONS]\n\nWrites the pitch")
    words = " ".join(said.split())
    assert "A frame is voiced if its confidence is at least 0.5" in words
    low, high = (words[words.index(f"the {end} pitch") :][:200] for end in ("lowest", "highest"))
    for fmin, fmax in features.DEFAULT_RANGES_HZ.values():
        assert f"{fmin:.1f}" in low and f"{fmax:.6g}".removesuffix(".01") in high
