"""Transfer from the command line: one clear line for each thing that can be wrong."""

import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from bad_recordings import (
    BURST,
    ENVIRONMENT,
    HEARD_AT_ONCE,
    SPOILT,
    write_cut_short,
    write_samples,
    write_text,
)
from toy_instrument import SAMPLE_RATE, tone

from ddspx.cli import main


@pytest.fixture
def refuse(tmp_path, capsys):
    """Runs a transfer that must fail, and returns the one line that it says."""

    def run(recording, instrument, *options, output="out/result.wav"):
        (tmp_path / "out").mkdir()
        arguments = ["transfer", recording, "--to", instrument, "-o", tmp_path / output]
        status = main([str(argument) for argument in (*arguments, *options)])
        said = capsys.readouterr()
        assert status == 2
        assert said.out == ""
        lines = said.err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("ddspx transfer: ")
        assert not any((tmp_path / "out").iterdir()), "something was left behind"
        return lines[0]

    return run


# The recording


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: None, "does not exist"),
        (Path.mkdir, "is a folder"),
        (write_text, "cannot be read as audio"),
        (Path.touch, "cannot be read as audio"),
        (write_cut_short, "cannot be read as audio"),
        (write_samples(np.zeros(0)), "holds no samples"),
        (write_samples(tone(0.05)), "too short"),
        (write_samples(SPOILT), "NaN or infinite"),
        (write_samples(BURST), "NaN or infinite"),
        (write_samples(np.zeros(20_000)), "silent from end to end"),
        (write_samples(1e-6 * tone(1.0), "PCM_16"), "silent from end to end"),
    ],
    ids=[
        *("missing", "folder", "text", "empty-file", "cut-short", "no-samples"),
        *("too-short", "nan", "inf", "zeros", "silence"),
    ],
)
def test_an_unusable_recording_is_refused_in_one_line(
    make, complaint, refuse, instrument, tmp_path
):
    path = tmp_path / "input.wav"
    make(path)
    line = refuse(path, instrument)
    assert complaint in line and str(path) in line


def test_unpitched_noise_is_played_with_a_warning(instrument, tmp_path, capsys, rng):
    path, output = tmp_path / "noise.wav", tmp_path / "result.wav"
    soundfile.write(path, 0.1 * rng.standard_normal(16_000), SAMPLE_RATE)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        status = main(["transfer", str(path), "--to", str(instrument), "-o", str(output)])
    said = capsys.readouterr()
    assert status == 0
    assert said.err.startswith(f"ddspx transfer: warning: {path} is mostly unpitched")
    assert len(said.err.splitlines()) == 1
    assert "% of the audible frames" in said.out
    assert soundfile.info(output).frames == 16_000


# The model


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "config.json", "statistics.json", "provenance.json"]
)
@pytest.mark.parametrize("damage", ["missing", "corrupt"])
def test_a_damaged_model_is_refused_in_one_line(
    name, damage, refuse, recording, instrument, tmp_path
):
    folder = tmp_path / "model"
    folder.mkdir()
    for file in instrument.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    if damage == "missing":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes((folder / name).read_bytes()[:15])
    line = refuse(recording, folder)
    assert name in line and str(folder) in line


def test_an_unknown_instrument_is_refused_in_one_line(refuse, recording):
    assert "'kazoo'" in refuse(recording, "kazoo")


# The options


def test_an_output_of_unknown_format_is_refused(refuse, recording, instrument):
    assert "'.mp3'" in refuse(recording, instrument, output="out/result.mp3")


def test_an_output_below_a_file_is_refused(refuse, recording, instrument, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "file" in refuse(recording, instrument, output="file/result.wav")


def test_options_out_of_range_are_refused(refuse, recording, instrument):
    assert "`pitch_shift`" in refuse(recording, instrument, "--pitch-shift", "9")


@pytest.mark.parametrize("shift", ["nan", "1000", "-1e9"])
def test_a_loudness_out_of_range_is_refused(shift, refuse, recording, instrument):
    assert "-20 to 20" in refuse(recording, instrument, "--loudness-shift-db", shift)


def test_the_recording_is_not_overwritten(recording, instrument, tmp_path, capsys):
    path = tmp_path / "in.wav"
    path.write_bytes(recording.read_bytes())
    assert main(["transfer", str(path), "--to", str(instrument), "-o", str(path)]) == 2
    assert "is the recording itself" in capsys.readouterr().err
    assert path.read_bytes() == recording.read_bytes()


@pytest.mark.parametrize(
    ("plot", "complaint"),
    [
        ("out/picture.jpg", "must be a .png file"),
        ("folder.png", "is a folder"),
        ("{recording}", "must be a file of its own"),
        ("file/picture.png", "file"),
        ("/proc/picture.png", "/proc"),
    ],
)
def test_an_impossible_picture_is_refused_before_the_work(
    plot, complaint, refuse, recording, instrument, tmp_path
):
    pytest.importorskip("matplotlib")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("in the way")
    named_like_a_picture = tmp_path / "tone.png"
    named_like_a_picture.write_bytes(recording.read_bytes())
    path = tmp_path / plot.format(recording=named_like_a_picture)
    assert complaint in refuse(named_like_a_picture, instrument, "--report", path)
    assert named_like_a_picture.read_bytes() == recording.read_bytes()


def test_the_result_has_the_length_of_the_input_and_options_change_it(
    recording, instrument, tmp_path, capsys
):
    def play(name, *options):
        arguments = ["transfer", recording, "--to", instrument, "-o", tmp_path / name, *options]
        assert main([str(argument) for argument in arguments]) == 0
        assert str(tmp_path / name) in capsys.readouterr().out
        audio, rate = soundfile.read(tmp_path / name)
        assert (audio.size, rate) == (SAMPLE_RATE, SAMPLE_RATE)
        return audio

    plain = play("plain.wav")
    lower = play("lower.flac", "--pitch-shift", "-1")
    dry = play("dry.wav", "--wet", "0")
    assert np.abs(plain - lower).max() > 0.1 * np.abs(plain).max()
    np.testing.assert_allclose(dry, soundfile.read(recording)[0], atol=1e-4)


def test_a_report_is_printed_and_drawn_beside_the_result(recording, instrument, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    arguments = ["transfer", recording, "--to", instrument, "-o", tmp_path / "out.wav"]
    with warnings.catch_warnings():
        # matplotlib's own imports warn on some Python versions.
        warnings.simplefilter("ignore")
        status = main([*map(str, arguments), "--report", str(tmp_path / "out.png")])
    assert status == 0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    for line in ("cents (median)", "octave errors", "correlation", "clicks: 0", "squeaks: 0"):
        assert line in said


# The process


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to be handled")
def test_termination_leaves_no_partial_file(recording, instrument, tmp_path):
    program = f"""{HEARD_AT_ONCE}
import sys, time
from ddspx.cli import main
def play_forever(*_, **__):
    yield np.zeros(64, np.float32)
    print("playing", flush=True)
    time.sleep(60)
_transfer.render = play_forever
sys.exit(main(sys.argv[1:]))
"""
    folder = tmp_path / "out"
    arguments = ["transfer", recording, "--to", instrument, "-o", folder / "out.wav", "--follow", 0]
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "playing\n"
        assert len(list(folder.iterdir())) == 1
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert time.monotonic() - start < 20
    assert process.returncode == 143
    assert said == ""
    assert not any(folder.iterdir())
