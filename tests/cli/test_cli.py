"""The command as its users meet it: one clear line for each thing that can be wrong."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from toy_instrument import SAMPLE_RATE, save_toy_instrument, tone

import ddspx
from ddspx import io
from ddspx.cli import main


@pytest.fixture(scope="module")
def instrument(tmp_path_factory):
    return save_toy_instrument(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "tone.wav"
    io.write_audio(path, tone(1.0), sample_rate=SAMPLE_RATE)
    return path


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


def write_text(path):
    path.write_text("this is not a recording\n" * 100)


def write_cut_short(path):
    soundfile.write(path, np.sin(np.arange(20_000) / 5), SAMPLE_RATE, format="FLAC")
    path.write_bytes(path.read_bytes()[:2_000])


def write_samples(samples, subtype="FLOAT"):
    return lambda path: soundfile.write(path, samples, SAMPLE_RATE, subtype, format="WAV")


SPOILT = tone(0.5)
SPOILT[4_000] = np.nan
BURST = np.where(np.arange(8_000) == 5_000, np.inf, tone(0.5))


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
    assert "% of the sounding frames" in said.out
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
    assert "`octave`" in refuse(recording, instrument, "--octave", "9")


def test_a_loudness_that_is_no_number_is_refused(refuse, recording, instrument):
    assert "finite" in refuse(recording, instrument, "--loudness-db", "nan")


def test_the_result_has_the_inputs_length_and_the_options_are_heard(
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
    lower = play("lower.flac", "--octave", "-1")
    softer = play("softer.wav", "--loudness-db", "-60")
    assert np.abs(plain - lower).max() > 0.1 * np.abs(plain).max()
    assert np.abs(softer).max() < 0.1 * np.abs(plain).max()


def test_a_picture_is_drawn_beside_the_result(recording, instrument, tmp_path):
    pytest.importorskip("matplotlib")
    arguments = ["transfer", recording, "--to", instrument, "-o", tmp_path / "out.wav"]
    with warnings.catch_warnings():
        # matplotlib's own imports warn on some Python versions.
        warnings.simplefilter("ignore")
        status = main([*map(str, arguments), "--plot", str(tmp_path / "out.png")])
    assert status == 0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


# The command itself


def test_usage_names_every_command_and_each_has_help(capsys):
    assert main(["--help"]) == 0
    usage = capsys.readouterr().out
    for name in ("prepare", "train", "evaluate", "transfer", "instruments"):
        assert name in usage
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0
        assert f"usage: ddspx {name}" in capsys.readouterr().out


def test_nothing_or_nonsense_is_answered_with_status_2(capsys):
    assert main([]) == 2
    assert "usage: ddspx" in capsys.readouterr().out
    assert main(["resynthesise"]) == 2
    assert "no command 'resynthesise'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["transfer"])
    assert stop.value.code == 2


def test_the_version_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ddspx {ddspx.__version__}\n"


def test_an_interruption_ends_with_status_130(monkeypatch, capsys):
    from ddspx.cli import _instruments

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_instruments, "instruments", interrupted)
    assert main(["instruments"]) == 130
    assert capsys.readouterr().err == "ddspx instruments: interrupted.\n"


def test_instruments_are_listed(capsys):
    assert main(["instruments"]) == 0
    from ddspx.models.autoencoder import instrument_names

    assert capsys.readouterr().out.split() == list(instrument_names())


def test_it_runs_as_a_module_and_imports_only_what_the_command_needs(tmp_path):
    """In a process of its own: a refusal, and what was imported on the way to it."""
    program = """
import json, sys
from ddspx.cli import main
status = main(["transfer", "absent.wav", "--to", "kazoo", "-o", "out.wav"])
print(json.dumps({"status": status, "modules": sorted(sys.modules)}))
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(ddspx.__file__).parents[1])},
        check=True,
    )
    result = json.loads(run.stdout)
    assert result["status"] == 2
    assert run.stderr.count("\n") == 1 and "kazoo" in run.stderr
    assert "ddspx.cli._transfer" in result["modules"]
    for name in ("ddspx.training", "ddspx.cli._train", "matplotlib", "orbax", "grain"):
        assert name not in result["modules"]
