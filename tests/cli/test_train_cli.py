"""Training and evaluation from the command line."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from flax import nnx
from labelled_data import write_sounds
from modules import drawn
from toy_instrument import save_toy_instrument
from training_data import HOP as TRAINED_HOP, SAMPLE_RATE as TRAINED_RATE, write_dataset

from ddspx import training
from ddspx.cli import main
from ddspx.instruments import describe_instrument
from ddspx.models.autoencoder import AutoencoderConfig
from ddspx.models.spectnet import SpectNet, SpectNetConfig, save_spectnet
from ddspx.nn import FrontendConfig, SinusoidalNoiseConfig, WavetableNoiseConfig
from ddspx.training import AnyInstrumentTrainConfig, AutoencoderTrainConfig


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets") / "glide"
    return write_dataset(folder, {"train": 4, "valid": 1, "test": 2})


@pytest.fixture(scope="module")
def trained_rates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "toy"
    return save_toy_instrument(folder, sample_rate=TRAINED_RATE, hop_length=TRAINED_HOP)


@pytest.fixture
def evaluated(tmp_path, capsys, monkeypatch):
    """The table that is printed, and the numbers written, which are the same."""
    monkeypatch.setenv("COLUMNS", "80")
    path = tmp_path / "numbers.json"

    def evaluate(*arguments):
        assert main([str(argument) for argument in ["evaluate", *arguments, "--json", path]]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        assert max(map(len, said.out.splitlines())) <= 80
        measured = json.loads(path.read_text())
        for row in measured:
            (line,) = (
                line for line in said.out.splitlines() if line.strip("│ ").startswith(row["name"])
            )
            means = [float(mean) for mean in re.findall(r"(\S+) ±", line)]
            names = ("spectral_loss", "loudness_l1_db", "f0_l1_semitones", "f0_outlier_share")
            for mean, name in zip(means, names, strict=True):
                value = row[name]
                np.testing.assert_allclose(mean, value["value"], atol=0.0051)
                assert not value["low"] > value["value"] and not value["value"] > value["high"]
        return said.out, measured

    return evaluate


def read_provenance(folder):
    return json.loads((folder / "provenance.json").read_text())


def test_evaluation_prints_a_table_and_writes_the_same_numbers(
    dataset, trained_rates, evaluated, monkeypatch
):
    from ddspx.metrics import Interval
    from ddspx.training import AutoencoderEvaluation

    nothing = Interval(float("nan"), float("nan"), float("nan"))
    rows = [
        AutoencoderEvaluation(
            "model", 12, *(Interval(x, x - 0.2, x + 0.1) for x in (3.2, 1.456, 0.1, 0.3))
        ),
        AutoencoderEvaluation(
            "additive", 12, Interval(10.0, 9.0, 11.0), Interval(0, 0, 0), nothing, nothing
        ),
    ]
    asked = []
    monkeypatch.setattr(
        "ddspx.training.evaluate_autoencoder",
        lambda *args, **options: asked.append((args, options)) or rows,
    )
    words = "--baselines", "--split", "valid", "--seed", "3"
    printed, measured = evaluated(trained_rates, dataset, *words)
    assert "12 examples" in printed and "on the valid split of" in " ".join(printed.split())
    assert [row["name"] for row in measured] == ["model", "additive"]
    assert measured[0]["loudness_l1_db"] == {"value": 1.456, "low": 1.256, "high": 1.556}
    [((model, path), options)] = asked
    assert model.config.sample_rate == TRAINED_RATE and path == dataset
    assert options.pop("statistics").sample_rate == TRAINED_RATE
    assert options == {"split": "valid", "baselines": True, "seed": 3}
    # Only the results of the test split are stored as the model's scores.
    assert describe_instrument(trained_rates).scores is None
    before = read_provenance(trained_rates)
    evaluated(trained_rates, dataset)
    scores = describe_instrument(trained_rates).scores
    assert scores == ("test", 12, 3.2, 1.456, 0.1, 0.3)
    assert read_provenance(trained_rates) == before | {"scores": scores._asdict()}


@pytest.mark.slow
def test_an_instrument_is_evaluated_beside_the_baselines(dataset, trained_rates, evaluated):
    printed, measured = evaluated(trained_rates, dataset, "--baselines")
    assert [row["name"] for row in measured] == ["model", "untrained", "additive"]
    assert {row["examples"] for row in measured} == {4}
    assert "4 examples" in printed


def test_evaluation_at_other_rates_is_refused(dataset, instrument, tmp_path, capsys):
    path = tmp_path / "numbers.json"
    arguments = ["evaluate", instrument, dataset, "--json", path]
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert "`sample_rate` 8000 and the model has 16000" in said.err
    assert not path.exists()


def test_training_options_are_passed_on_and_the_last_step_is_printed(
    dataset, tmp_path, capsys, monkeypatch
):
    from ddspx.training import TrainResult

    called = {}

    def train(dataset, output, **options):
        called.update(options, dataset=dataset, output=output)
        return TrainResult(3, Best(2, 1.0), called["config"].steps == 3)

    from ddspx.training._run import Best

    monkeypatch.setattr("ddspx.training.train_autoencoder", train)
    output = tmp_path / "model"
    arguments = ["train", dataset, "-o", output, "--preset", "tiny", "--batch-size", "2"]
    arguments += ["--learning-rate", "0.01", "--seed", "5", "--synthesizer", "wavetable"]
    arguments += ["--skip-nonfinite"]
    assert main([*map(str, arguments), "--steps", "3"]) == 0
    ended, log = capsys.readouterr().out.splitlines()
    assert ended == f"Ended at step 3: {output} holds the weights of step 2."
    assert log.endswith(f"; to view it: tensorboard --logdir {output}.run/logs")
    assert called["dataset"] == dataset and called["output"] == output
    config = called["config"]
    assert type(config) is AutoencoderTrainConfig
    assert (config.steps, config.batch_size, config.learning_rate, config.seed) == (3, 2, 0.01, 5)
    assert config.skip_nonfinite
    assert called["start"] is None and called["front_end"] is None
    # The rates are the dataset's unless they are given.
    model = called["model"]
    assert (model.sample_rate, model.hop_length) == (TRAINED_RATE, TRAINED_HOP)
    tiny = AutoencoderConfig.tiny(sample_rate=TRAINED_RATE, hop_length=TRAINED_HOP)
    tables = WavetableNoiseConfig(
        n_harmonics=tiny.synthesizer.n_harmonics, n_magnitudes=tiny.synthesizer.n_magnitudes
    )
    assert model == dataclasses.replace(tiny, synthesizer=tables)
    assert main([*map(str, arguments), "--steps", "9", "--sample-rate", "16000"]) == 0
    assert "step 2; the same command resumes the training." in capsys.readouterr().out
    assert called["model"].sample_rate == 16_000


@pytest.fixture
def asked(monkeypatch):
    """Replaces both trainings, and returns what they are called with."""
    from ddspx.training import TrainResult
    from ddspx.training._run import Best

    called = {}

    def train(datasets, output, **options):
        called.clear()
        called.update(options, datasets=datasets)
        return TrainResult(3, Best(2, 1.0), True)

    monkeypatch.setattr("ddspx.training.train_autoencoder", train)
    monkeypatch.setattr("ddspx.training.train_any_instrument", train)
    return called


@pytest.fixture(scope="module")
def datasets(tmp_path_factory, dataset):
    """The dataset under three names, one of which looks like a name and a weight."""
    folder = tmp_path_factory.mktemp("many")
    for name in ("violin", "flute", "a=b:2"):
        shutil.copytree(dataset, folder / name)
    return folder


def test_several_datasets_are_one_model(datasets, tmp_path, asked, monkeypatch):
    monkeypatch.chdir(datasets)
    words = "train violin high=flute:2.5 third=a=b:2 -o out --frontend-rate 0.5 --steps 3"
    assert main(words.split()) == 0
    assert asked["datasets"] == {
        "violin": Path("violin"), "high": Path("flute"), "third": Path("a=b:2")
    }  # fmt: skip
    assert asked["weights"] == {"violin": 1, "high": 2.5, "third": 1}
    model, config = asked["model"], asked["config"]
    rates = {"sample_rate": TRAINED_RATE, "hop_length": TRAINED_HOP}
    assert model == AutoencoderConfig.any_instrument(**rates)
    assert asked["room"] == AutoencoderConfig.small(**rates).reverb
    assert type(config) is AnyInstrumentTrainConfig
    assert (config.steps, config.frontend_rate) == (3, 0.5)
    assert asked["front_end"] is None
    # One dataset too, if it is asked for.
    assert main("train violin -o out --preset any_instrument --synthesizer sinusoidal".split()) == 0
    assert list(asked["datasets"]) == ["violin"]
    assert isinstance(asked["model"].synthesizer, SinusoidalNoiseConfig)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "name at least one DATASET"),
        ("violin flute --preset small", "--preset small takes one DATASET"),
        ("high=violin --preset tiny", "takes one DATASET without a name"),
        ("violin:2 --preset tiny", "without a name and a weight"),
        ("violin violin/../violin", "2 of the datasets have the name 'violin'; name each"),
        ("violin flute:0", "the weight in 'flute:0' must be a number above 0, got '0'"),
        ("violin flute:nan", "must be a number above 0, got 'nan'"),
        ("violin flute:much", "must be a number above 0, got 'much'"),
        ("violin flute=", "'flute=' names no dataset"),
        ("violin flute=:2", "'flute=:2' names no dataset"),
        ("none:2 violin", "none:2 is not a folder; make a dataset with `ddspx prepare`"),
        ("violin flute --start cello", "--start cello is the start of one instrument"),
        ("violin --frontend-rate 0", "--frontend-rate 0.0 is a setting of --preset any_instrument"),
        ("violin --embedding-noise 1 --preset nsynth", "--preset nsynth has no such"),
        ("violin --front-end flute --preset tiny", "needs an encoder, which --preset tiny has not"),
        ("violin --front-end cello", "cello has no front-end: it must be a classifier, or"),
        ("violin --front-end none", "There is no model folder or instrument 'none'"),
    ],
)
def test_what_makes_no_model_is_refused(
    datasets, tmp_path, capsys, monkeypatch, asked, words, complaint
):
    monkeypatch.chdir(datasets)
    assert main(["train", *words.split(), "-o", str(tmp_path / "model")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert complaint in said.err and not asked and not any(tmp_path.iterdir())


def test_a_classifiers_front_end_is_the_encoders(datasets, tmp_path, capsys, monkeypatch, asked):
    monkeypatch.chdir(datasets)
    sizes = {"sample_rate": TRAINED_RATE, "n_bands": 8}
    config = SpectNetConfig(FrontendConfig.learnable(**sizes), ("a", "b"), channels=2, hidden=2)
    classifier = drawn(lambda: SpectNet(config, rngs=nnx.Rngs(0)), lambda _, shape: np.ones(shape))
    ears = tmp_path / "ears"
    save_spectnet(ears, classifier, provenance={})
    assert main(["train", "violin", "-o", "out", "--front-end", str(ears)]) == 0
    heard, encoder = asked["front_end"], asked["model"].encoder
    assert list(asked["datasets"]) == ["violin"] and encoder.frontend == config.frontend
    np.testing.assert_array_equal(
        heard.bank.log_bandwidths[...], classifier.frontend.bank.log_bandwidths[...]
    )
    # The frames of a ZEncoder are the model's, and those of this dataset are its front-end's.
    words = ["train", "violin", "-o", "out", "--front-end", str(ears), "--preset", "nsynth"]
    assert main(words) == 0
    assert asked["model"].encoder.frontend == config.frontend and asked["start"] is None
    for option, complaint in (("hop-length", "and the model 40"), ("sample-rate", "8000 and the")):
        assert main([*words, f"--{option}", "40" if option == "hop-length" else "16000"]) == 2
        said = capsys.readouterr().err
        assert f"The front-end has the `{option.replace('-', '_')}` " in said and complaint in said


@pytest.mark.slow
def test_a_front_end_moves_from_a_classifier_to_an_instrument_and_back(
    datasets, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_sounds(tmp_path / "sounds")
    sizes = f"--bands 8 --blocks 1 --channels 2 --sample-rate {TRAINED_RATE} --segment-s 0.2"
    steps = "--steps 2 --batch-size 3"
    train = f"train violin={datasets / 'violin'} flute={datasets / 'flute'} {steps}"
    classify = f"classify train sounds {steps} --blocks 1 --channels 2 --segment-s 0.2"
    assert main(f"classify train sounds -o ears {sizes} {steps}".split()) == 0
    assert main(f"{train} -o any --front-end ears --frontend-rate 0".split()) == 0
    assert main(f"{classify} -o again --front-end any --frontend-rate 0".split()) == 0
    for name in ("any", "again"):
        moved = training.load_frontend(name)
        for ours, theirs in zip(
            *(jax.tree.leaves(nnx.state(x)) for x in (moved, training.load_frontend("ears"))),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)
    # Another front-end is another run.
    assert main(f"{classify} -o again".split()) == 2


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
