"""The command as its users meet it: one clear line for each thing that can be wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from toy_instrument import SAMPLE_RATE, save_toy_instrument, tone
from training_data import HOP as TRAINED_HOP, SAMPLE_RATE as TRAINED_RATE, write_dataset

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


@pytest.mark.parametrize("shift", ["nan", "1000", "-1e9"])
def test_a_loudness_out_of_range_is_refused(shift, refuse, recording, instrument):
    assert "-100 to 100" in refuse(recording, instrument, "--loudness-db", shift)


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
def test_a_picture_that_cannot_be_is_refused_before_the_work(
    plot, complaint, refuse, recording, instrument, tmp_path
):
    pytest.importorskip("matplotlib")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("in the way")
    named_like_a_picture = tmp_path / "tone.png"
    named_like_a_picture.write_bytes(recording.read_bytes())
    path = tmp_path / plot.format(recording=named_like_a_picture)
    assert complaint in refuse(named_like_a_picture, instrument, "--plot", path)
    assert named_like_a_picture.read_bytes() == recording.read_bytes()


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
        assert main([name, "--help"]) == 0
        text = capsys.readouterr().out
        assert f"usage: ddspx {name}" in text
        assert not re.search(r"`|None\}|\[\[", text)


def test_usage_holds_what_is_required(capsys):
    main(["prepare", "--help"])
    assert capsys.readouterr().out.startswith("usage: ddspx prepare RECORDING... -o DATASET [OPT")
    main(["transfer", "--help"])
    usage = "usage: ddspx transfer RECORDING --to MODEL -o FILE [OPTIONS]\n\nPlays a"
    assert capsys.readouterr().out.startswith(usage)


def test_nothing_or_nonsense_is_answered_with_status_2(capsys):
    assert main([]) == 2
    assert "usage: ddspx" in capsys.readouterr().out
    assert main(["resynthesise"]) == 2
    assert "no command 'resynthesise'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["transfer"], "missing: RECORDING --to MODEL -o FILE"),
        (["transfer", "a.wav", "-o", "b.wav", "--to"], "--to"),
        (["transfer", "a.wav", "--to", "violin", "-o", "b.wav", "--octve", "1"], "--octve"),
        (["transfer", "a.wav", "--to", "violin", "-o", "b.wav", "--octave", "up"], "--octave"),
        (["transfer", "a.wav", "b.wav", "--to", "violin", "-o", "c.wav"], "b.wav"),
        (["train", "dataset", "-o", "model", "--preset", "large"], "large"),
        (["instruments", "all"], "all"),
    ],
)
def test_wrong_arguments_are_answered_in_one_line(arguments, complaint, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    name = arguments[0]
    assert line.startswith(f"ddspx {name}: ") and line.endswith(f"; see ddspx {name} --help.")
    assert complaint in line and "│" not in line


def test_the_version_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ddspx {ddspx.__version__}\n"


@pytest.fixture
def fail(monkeypatch, capsys):
    """Runs a command that raises an exception, and returns its status and what it says."""

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
def test_the_unexpected_is_one_line_with_status_1(error, fail, monkeypatch):
    monkeypatch.delenv("DDSPX_TRACEBACK", raising=False)
    status, said = fail(error)
    assert status == 1
    assert said.startswith(f"ddspx instruments: stopped by {type(error).__name__}")
    assert said.endswith("DDSPX_TRACEBACK=1 in the environment shows where.\n")
    assert said.count("\n") == 1
    monkeypatch.setenv("DDSPX_TRACEBACK", "1")
    with pytest.raises(type(error)):
        fail(error)


def test_training_that_diverges_is_no_bad_input(fail):
    assert fail(FloatingPointError("the loss is nan.")) == (
        1,
        "ddspx instruments: the loss is nan.\n",
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to be handled")
def test_termination_leaves_no_part_of_a_file(recording, instrument, tmp_path):
    program = """
import sys, time
import numpy as np
from ddspx.cli import main
from ddspx.transfer import _transfer
def play_forever(*_, **__):
    yield np.zeros(64, np.float32)
    print("playing", flush=True)
    time.sleep(60)
_transfer.synthesise = play_forever
sys.exit(main(sys.argv[1:]))
"""
    folder = tmp_path / "out"
    arguments = ["transfer", recording, "--to", instrument, "-o", folder / "out.wav"]
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


def test_instruments_are_listed(capsys):
    assert main(["instruments"]) == 0
    from ddspx.models.autoencoder import instrument_names

    assert capsys.readouterr().out.split() == list(instrument_names())


ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(ddspx.__file__).parents[1])}


def run_program(program, *arguments, folder):
    """What a Python program prints, and says on stderr, in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=ENVIRONMENT,
        check=True,
    )
    return run.stdout, run.stderr


def test_a_refusal_imports_only_what_the_command_needs(tmp_path):
    program = """
import json, sys
from ddspx.cli import main
status = main(["transfer", "absent.wav", "--to", "kazoo", "-o", "out.wav"])
print(json.dumps({"status": status, "modules": sorted(sys.modules)}))
"""
    printed, said = run_program(program, folder=tmp_path)
    result = json.loads(printed)
    assert result["status"] == 2
    assert said.count("\n") == 1 and "kazoo" in said
    assert "ddspx.cli._transfer" in result["modules"]
    for name in ("ddspx.training", "ddspx.cli._train", "matplotlib", "orbax", "grain"):
        assert name not in result["modules"]


def test_in_a_process_of_its_own_each_refusal_is_exactly_one_line(recording, instrument, tmp_path):
    """What libraries write to the process's stderr themselves would be seen here alone."""
    program = """
import json, sys
from ddspx.cli import main
for arguments in json.loads(sys.argv[1]):
    print("==", main(arguments), file=sys.stderr, flush=True)
"""
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
        make(tmp_path / name)
    to = ["--to", str(instrument)]
    calls = [["transfer", name, *to, "-o", "out.wav"] for name in makers]
    calls += [
        ["transfer", str(recording), "--to", "kazoo", "-o", "out.wav"],
        ["transfer", str(recording), *to, "-o", "out.mp3"],
        ["transfer", str(recording), *to, "-o", "/proc/out.wav"],
        ["transfer", str(recording), *to, "-o", "out.wav", "--octave", "9"],
        ["transfer", str(recording), *to],
        ["evaluate", str(instrument), "absent"],
        ["train", "absent", "-o", "model"],
        ["prepare", "absent.wav", "-o", "dataset"],
        ["prepare", "-o", "dataset"],
        ["nonsense"],
    ]
    before = sorted(path.name for path in tmp_path.iterdir())
    printed, said = run_program(program, json.dumps(calls), folder=tmp_path)
    assert printed == ""
    lines = said.splitlines()
    assert lines[1::2] == ["== 2"] * len(calls)
    assert all(line.startswith("ddspx") for line in lines[::2])
    assert sorted(path.name for path in tmp_path.iterdir()) == before


# Training and evaluation


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets") / "glide"
    return write_dataset(folder, {"train": 4, "valid": 1, "test": 2})


@pytest.fixture(scope="module")
def trained_rates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "toy"
    return save_toy_instrument(folder, sample_rate=TRAINED_RATE, hop_length=TRAINED_HOP)


def test_evaluation_prints_a_table_and_writes_the_same_numbers(
    dataset, trained_rates, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    path = tmp_path / "numbers.json"
    arguments = ["evaluate", trained_rates, dataset, "--baselines", "--json", path]
    assert main([str(argument) for argument in arguments]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    measured = json.loads(path.read_text())
    assert [row["name"] for row in measured] == ["model", "untrained", "additive"]
    for row in measured:
        assert row["examples"] == 4
        (line,) = (
            line for line in said.out.splitlines() if line.strip("│ ").startswith(row["name"])
        )
        means = [float(mean) for mean in re.findall(r"(\S+) ±", line)]
        names = ("spectral_loss", "loudness_l1_db", "f0_l1_semitones", "f0_outlier_share")
        for mean, name in zip(means, names, strict=True):
            value = row[name]
            np.testing.assert_allclose(mean, value["mean"], atol=0.0051)
            assert not value["low"] > value["mean"] and not value["mean"] > value["high"]
    assert "4 examples" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_evaluation_at_other_rates_is_refused(dataset, instrument, tmp_path, capsys):
    path = tmp_path / "numbers.json"
    arguments = ["evaluate", instrument, dataset, "--json", path]
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert "`sample_rate` 8000 and the model has 16000" in said.err
    assert not path.exists()


def test_training_passes_its_options_on_and_says_where_it_ended(
    dataset, tmp_path, capsys, monkeypatch
):
    from ddspx.cli import _train
    from ddspx.training import TrainResult

    called = {}

    def train(dataset, output, *, model, config):
        called.update(dataset=dataset, output=output, model=model, config=config)
        return TrainResult(3, Best(2, 1.0), called["config"].steps == 3)

    from ddspx.training._loop import Best

    monkeypatch.setattr(_train, "train_autoencoder", train)
    output = tmp_path / "model"
    arguments = ["train", dataset, "-o", output, "--preset", "tiny", "--batch-size", "2"]
    arguments += ["--learning-rate", "0.01", "--seed", "5"]
    assert main([*map(str, arguments), "--steps", "3"]) == 0
    assert capsys.readouterr().out == f"Ended at step 3: {output} holds the weights of step 2.\n"
    assert called["dataset"] == dataset and called["output"] == output
    config = called["config"]
    assert (config.steps, config.batch_size, config.learning_rate, config.seed) == (3, 2, 0.01, 5)
    # The rates are the dataset's where none are asked for.
    model = called["model"]
    assert (model.sample_rate, model.hop_length) == (TRAINED_RATE, TRAINED_HOP)
    assert main([*map(str, arguments), "--steps", "9", "--sample-rate", "16000"]) == 0
    assert "step 2; the same command goes on from here." in capsys.readouterr().out
    assert called["model"].sample_rate == 16_000


def test_training_at_other_rates_is_refused(dataset, tmp_path, capsys):
    arguments = ["train", dataset, "-o", tmp_path / "model", "--preset", "tiny"]
    assert main([*map(str, arguments), "--hop-length", "40"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert "`hop_length` 80 and the model has 40" in said.err
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_training_writes_a_model_that_plays(dataset, recording, tmp_path, capsys):
    model = tmp_path / "model"
    arguments = ["train", dataset, "-o", model, "--preset", "tiny", "--steps", "2"]
    assert main([*map(str, arguments), "--batch-size", "2"]) == 0
    assert f"Ended at step 2: {model} holds the weights of step 2.\n" in capsys.readouterr().out
    arguments = ["transfer", recording, "--to", model, "-o", tmp_path / "out.wav"]
    assert main([str(argument) for argument in arguments]) == 0
    assert soundfile.info(tmp_path / "out.wav").samplerate == TRAINED_RATE
