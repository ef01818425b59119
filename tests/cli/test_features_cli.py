"""Features from the command line: the files, the messages, and the files that must not change."""

import importlib
import io as text
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import PEAK_KB, sine
from rich.console import Console

import ddspx
from ddspx import io
from ddspx.cli import main
from ddspx.features import SpectralConfig, spectral_features

# The module; in the package its name is the function's.
command = importlib.import_module("ddspx.cli._features")

RATE = 16_000
NAMES = {
    "spectrogram": "spectrogram",
    "log-mel": "log_mel_db",
    "mfcc": "mfcc",
    "loudness": "loudness_db",
    "centroid": "centroid_hz",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder, and one of recordings beside it: a tone, another rate, no sound."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    tone = sine(1000, RATE // 2 + 5, sample_rate=RATE, amplitude=0.3)
    io.write_audio(folder / "tone.wav", tone, sample_rate=RATE)
    io.write_audio(folder / "high.flac", sine(880, 22_050, sample_rate=44_100), sample_rate=44_100)
    (folder / "text.wav").write_text("not a recording")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def read(path):
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def run(*arguments):
    return main(["features", *map(str, arguments)])


def refused(arguments, capsys):
    """The one line of a command that is refused with status 2."""
    assert run(*arguments) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert said.out == "" and line.startswith("ddspx features: ")
    return line


@pytest.mark.parametrize("kind", NAMES)
def test_the_archive_holds_the_feature_and_its_axes(kind, here, capsys):
    assert run(here / "tone.wav", "--kind", kind) == 0
    file = Path(f"tone.{kind}.npz")
    arrays = read(file)
    config = SpectralConfig(kind, sample_rate=RATE, hop_length=160, n_fft=1024)
    audio = io.read_audio(here / "tone.wav", sample_rate=RATE)
    np.testing.assert_array_equal(arrays[NAMES[kind]], spectral_features(audio, config))
    np.testing.assert_allclose(arrays["times_s"], np.arange(51) / 100)
    assert (arrays["sample_rate"], arrays["hop_length"]) == (RATE, 160)
    shape = " x ".join(map(str, arrays[NAMES[kind]].shape))
    assert capsys.readouterr().out == f"{file}: 0.50 s, {NAMES[kind]} {shape}\n"
    assert ("frequencies_hz" in arrays) == (kind in ("spectrogram", "log-mel"))
    if "frequencies_hz" in arrays:
        loudest_hz = arrays["frequencies_hz"][np.argmax(arrays[NAMES[kind]][25])]
        assert abs(loudest_hz - 1000) < 30
    if kind == "centroid":
        assert abs(arrays["centroid_hz"][25] - 1000) < 10


@pytest.mark.parametrize(("sample_rate", "hop_length"), [(22_050, 220), (11_025, 110)])
def test_a_hop_is_to_the_nearest_sample_at_any_rate(sample_rate, hop_length, here):
    assert run(here / "tone.wav", "--kind", "rms", "--sample-rate", sample_rate) == 0
    arrays = read(Path("tone.rms.npz"))
    assert arrays["hop_length"] == hop_length
    np.testing.assert_allclose(arrays["times_s"][1], hop_length / sample_rate)


def test_the_options_reach_the_feature(here, tmp_path):
    options = "--kind mfcc --sample-rate 8000 --hop-ms 5 --n-fft 256 --n-bands 30 --n-mfcc 4"
    options += f" --fmin 100 --fmax 3000 -o {tmp_path / 'made' / 'out'}"
    assert run(here / "high.flac", *options.split()) == 0
    arrays = read(tmp_path / "made" / "out" / "high.mfcc.npz")
    sizes = {"n_fft": 256, "n_bands": 30, "n_mfcc": 4, "fmin": 100.0, "fmax": 3000.0}
    config = SpectralConfig("mfcc", sample_rate=8000, hop_length=40, **sizes)
    audio = io.read_audio(here / "high.flac", sample_rate=8000)
    np.testing.assert_array_equal(arrays["mfcc"], spectral_features(audio, config))
    assert arrays["times_s"][1] == 0.005


def test_the_size_of_the_read_blocks_does_not_change_the_result(here, tmp_path, monkeypatch):
    assert run(here / "tone.wav", "--kind", "pcen", "-o", tmp_path / "whole") == 0
    monkeypatch.setattr(command, "_BLOCK_LENGTH", 777)
    assert run(here / "tone.wav", "--kind", "pcen", "-o", tmp_path / "blocks") == 0
    whole, blocks = (read(tmp_path / name / "tone.pcen.npz") for name in ("whole", "blocks"))
    np.testing.assert_array_equal(whole["pcen"], blocks["pcen"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning:matplotlib.*")
@pytest.mark.parametrize("kind", ["mel", "rms"])
def test_a_picture_is_drawn_beside_the_archive(kind, here, tmp_path):
    pytest.importorskip("matplotlib")
    assert run(here / "tone.wav", "--kind", kind, "--plot") == 0
    assert names(tmp_path / "here") == [f"tone.{kind}.npz", f"tone.{kind}.png"]
    assert (tmp_path / "here" / f"tone.{kind}.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_bad_files_are_reported_and_the_others_processed(here, tmp_path, capsys):
    arguments = [here / "gone.wav", here / "tone.wav", here / "text.wav", here / "high.flac"]
    assert run(*arguments, "--kind", "rms") == 1
    said = capsys.readouterr()
    complaints = ("gone.wav does not exist", "text.wav cannot be read", "left out 2 of 4 record")
    for line, complaint in zip(said.err.splitlines(), complaints, strict=True):
        assert line.startswith("ddspx features: ") and complaint in line
    assert names(tmp_path / "here") == ["high.rms.npz", "tone.rms.npz"]


def test_no_folder_is_made_if_nothing_is_written(here, tmp_path):
    assert run(here / "text.wav", "--kind", "rms", "-o", tmp_path / "new" / "folder") == 1
    assert not (tmp_path / "new").exists()


def test_a_failure_keeps_earlier_files(here, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "here"
    for name in ("tone.mel.npz", "tone.mel.png"):
        (folder / name).write_text("earlier")

    def full(*args, **kwargs):
        raise OSError("The disk is full.")

    monkeypatch.setattr("ddspx.plot.require_plotting", lambda: None)
    monkeypatch.setattr("ddspx.plot.plot_features", full)
    line = refused([here / "tone.wav", "--kind", "mel", "--plot"], capsys)
    assert line.endswith("The disk is full.")
    assert [(folder / name).read_text() for name in names(folder)] == ["earlier", "earlier"]


def test_a_recording_is_never_replaced(here, tmp_path, capsys):
    sound = tmp_path / "here" / "tone.rms.npz"
    sound.write_bytes((here / "tone.wav").read_bytes())
    before = sound.read_bytes()
    line = refused([here / "tone.wav", sound, "--kind", "rms"], capsys)
    assert "tone.rms.npz is one of the recordings" in line
    assert sound.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("", "--kind"),
        ("--kind chroma", "chroma"),
        ("--kind mel --hop-ms 0.01", "`hop_ms` must be at least one sample, 0.0625 ms"),
        ("--kind mel --fmax 9000", "`fmax` must be at most half of `sample_rate`, 8000.0 Hz"),
        ("--kind mel --n-mfcc 3", "`n_mfcc` must not be given, because mel does not depend on it"),
        ("--kind loudness --n-fft 256", "`n_fft` must not be given, because loudness does not"),
        ("--kind mfcc --n-mfcc 129", "`n_mfcc` must be at most `n_bands`, 128, got 129"),
        ("--kind mel --sample-rate 0", "`sample_rate` must be at least 1, got 0"),
        ("--kind mel -o {recordings}/tone.wav", "`output` must be a folder"),
    ],
)
def test_unusable_options_are_one_line_with_status_2(options, complaint, here, tmp_path, capsys):
    arguments = [here / "tone.wav", *options.format(recordings=here).split()]
    assert complaint in refused(arguments, capsys)
    assert not names(tmp_path / "here")


def test_a_recording_must_be_named(here, capsys):
    assert "name at least one RECORDING" in refused(["--kind", "mel"], capsys)


def test_the_progress_bar_counts_recordings(here, monkeypatch, capsys):
    shown = text.StringIO()
    monkeypatch.setattr(
        "rich.console.Console", lambda stderr: Console(file=shown, force_terminal=True, width=80)
    )
    assert run(here / "tone.wav", here / "high.flac", "--kind", "rms") == 0
    assert "1 of 2" in shown.getvalue() and "2 of 2" in shown.getvalue()
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["features", "--kind", "rms"], ["pitch", "--method", "yin"]])
def test_workers_write_and_say_the_same(arguments, here, tmp_path, capsys):
    names_of = [str(here / name) for name in ("tone.wav", "gone.wav", "high.flac", "text.wav")]
    said = []
    for workers in ("1", "2"):
        folder = tmp_path / workers
        options = ["-o", str(folder), "--workers", workers]
        assert main([arguments[0], *names_of, *arguments[1:], *options]) == 1
        output = capsys.readouterr()
        said.append((output.out.replace(str(folder), ""), output.err))
    assert said[0] == said[1] and said[0][0].count("\n") == 2
    assert names(tmp_path / "1") == names(tmp_path / "2")
    if arguments[0] == "features":
        one, two = (read(tmp_path / workers / "tone.rms.npz") for workers in ("1", "2"))
        np.testing.assert_allclose(one["rms"], two["rms"], rtol=1e-5)
    assert main([arguments[0], *names_of, *arguments[1:], "--workers", "0"]) == 2


def test_the_help_describes_the_archive(capsys):
    assert main(["features", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("usage: ddspx features RECORDING... --kind KIND [-o DIR] [OPTIONS]")
    assert "NAME.wav becomes NAME.KIND.npz, for np.load" in said


PEAK_MEMORY = f"""
import sys
from ddspx.cli import main
assert main(["features", sys.argv[1], "--kind", "rms", "-o", sys.argv[2]]) == 0
print({PEAK_KB})
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_half_an_hour_takes_the_memory_of_half_a_minute(here, tmp_path):
    def peak_megabytes(seconds):
        source, rng = here / f"{seconds}.wav", np.random.default_rng(0)
        with io.AudioWriter(source, sample_rate=RATE) as writer:
            for _ in range(seconds // 10):
                writer.write(0.1 * rng.standard_normal(10 * RATE))
        run = subprocess.run(
            [sys.executable, "-c", PEAK_MEMORY, str(source), str(tmp_path)],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(ddspx.__file__).parents[1])},
            check=True,
        )
        return int(run.stdout.split()[-1]) / 1024

    # The audio alone would be 115 MB as float32.
    assert peak_megabytes(1800) - peak_megabytes(30) < 40
