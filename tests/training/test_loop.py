"""A run learns, goes on bit for bit where it stopped, and says what it cannot do."""

import json
import shutil
import signal

import jax
import numpy as np
import pytest
from rich.console import Console
from training_data import HOP, MODEL, SAMPLE_RATE, write_dataset

from ddspx.models.autoencoder import AutoencoderConfig, load_autoencoder
from ddspx.training import TrainConfig, train
from ddspx.training._logging import RunLog

pytest.importorskip("array_record", reason="the train extra is not installed")
pytest.importorskip("grain", reason="the train extra is not installed")

AT_ONCE = 1e-9
"""Minutes after which a run ends before its first step, and so before anything compiles."""


def numbers(**changes):
    defaults = {"steps": 6, "batch_size": 2, "learning_rate": 3e-3, "evaluate_every": 3}
    return TrainConfig(**defaults | changes)


def run(dataset, output, model=MODEL, **changes):
    return train(
        dataset, output, model=model, config=numbers(**changes), console=Console(quiet=True)
    )


def log(output):
    path = output.with_name(f"{output.name}.run") / "logs" / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(
        tmp_path_factory.mktemp("data") / "dataset", {"train": 8, "valid": 1, "test": 1}
    )


@pytest.fixture(scope="module")
def runs(dataset, tmp_path_factory):
    """The same six steps twice: at a stretch, and three by three."""
    folder = tmp_path_factory.mktemp("runs")
    results = [
        run(dataset, folder / "straight"),
        run(dataset, folder / "resumed", steps=3),
        run(dataset, folder / "resumed"),
    ]
    return folder / "straight", folder / "resumed", results


# training


def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(runs):
    straight, resumed, results = runs
    assert [(result.step, result.finished) for result in results] == [
        (6, True),
        (3, True),
        (6, True),
    ]
    assert results[0].best == results[2].best
    arrays = []
    for output in (straight, resumed):
        import orbax.checkpoint as ocp

        with ocp.CheckpointManager(output.with_name(f"{output.name}.run") / "checkpoints") as m:
            saved = m.restore(
                6,
                args=ocp.args.Composite(
                    arrays=ocp.args.StandardRestore(), facts=ocp.args.JsonRestore()
                ),
            )
        arrays.append((jax.tree.leaves(saved.arrays), saved.facts))
    (ours, our_facts), (theirs, their_facts) = arrays
    assert our_facts == their_facts
    for one, other in zip(ours, theirs, strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    files = ("weights.safetensors", "config.json", "statistics.json", "provenance.json")
    for name in files:
        assert (straight / name).read_bytes() == (resumed / name).read_bytes(), name
    losses = [
        [{k: v for k, v in line.items() if k != "time"} for line in log(output)]
        for output in (straight, resumed)
    ]
    assert losses[0] == losses[1]


def test_the_loss_falls_and_the_lowest_on_the_valid_split_is_kept(runs):
    straight, _, results = runs
    train_loss = [line["train/loss"] for line in log(straight) if "train/loss" in line]
    valid = {line["step"]: line["valid/loss"] for line in log(straight) if "valid/loss" in line}
    assert len(train_loss) == 6 and train_loss[-1] < train_loss[0]
    assert list(valid) == [3, 6]
    best = min(valid, key=valid.get)
    assert results[0].best == (best, valid[best])
    provenance = json.loads((straight / "provenance.json").read_text())
    assert provenance["selected"]["step"] == best
    assert provenance["selected"]["valid_loss"] == valid[best]


def test_the_model_folder_is_whole_and_says_where_it_comes_from(runs):
    straight, _, _ = runs
    model, statistics, provenance = load_autoencoder(straight)
    assert model.config == MODEL
    assert statistics.duration_s == 8.0
    assert provenance["data"]["licence"] == "CC0-1.0"
    assert provenance["data"]["attribution"] == "a sine"
    assert provenance["data"]["sources"][0]["name"] == "glide.wav"
    assert provenance["training"] == numbers().to_json()


def test_taking_no_further_step_changes_nothing(runs, dataset):
    straight, _, _ = runs
    before = (straight / "weights.safetensors").read_bytes(), len(log(straight))
    assert run(dataset, straight).step == 6
    assert ((straight / "weights.safetensors").read_bytes(), len(log(straight))) == before


def test_ctrl_c_ends_after_the_step_with_a_checkpoint(tmp_path, monkeypatch):
    dataset = write_dataset(tmp_path / "dataset", {"train": 1})
    scalars = RunLog.scalars

    def interrupt(self, step, values):
        scalars(self, step, values)
        if step == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RunLog, "scalars", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    result = run(dataset, tmp_path / "out", steps=10**6, evaluate_every=1)
    assert not result.finished and 2 <= result.step <= 3
    assert signal.getsignal(signal.SIGINT) is handler
    assert (tmp_path / "out.run" / "checkpoints" / str(result.step)).is_dir()
    # Without a valid split there is nothing to choose by: the newest evaluated weights stay.
    assert result.best.loss is None and result.best.step == 2
    assert "valid/loss" not in log(tmp_path / "out")[-1]


def test_the_clock_ends_a_run(dataset, tmp_path):
    result = run(dataset, tmp_path / "out", max_minutes=AT_ONCE)
    assert result == (0, (0, None), False)
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_finite_ends_the_run_in_a_sentence(tmp_path):
    dataset = write_dataset(tmp_path / "dataset", {"train": 1}, damage=True)
    with pytest.raises(FloatingPointError, match=r"stopped at step 1: .*lower learning rate"):
        run(dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# boundary errors, all before anything compiles


@pytest.mark.parametrize(
    "rates",
    [{"sample_rate": 16000, "hop_length": HOP}, {"sample_rate": SAMPLE_RATE, "hop_length": 40}],
)
def test_other_rates_than_the_datasets(dataset, tmp_path, rates):
    with pytest.raises(ValueError, match=r"dataset was prepared with `(sample_rate|hop_length)`"):
        run(dataset, tmp_path / "out", model=AutoencoderConfig.tiny(**rates))
    assert list(tmp_path.iterdir()) == []


def test_features_of_another_version(tmp_path):
    dataset = write_dataset(tmp_path / "old", {"train": 1}, feature_version="old-1")
    with pytest.raises(ValueError, match=r"features of version 'old-1'.*prepare the recordings"):
        run(dataset, tmp_path / "out")


def test_a_run_goes_on_only_with_its_own_settings(dataset, tmp_path):
    run(dataset, tmp_path / "out", max_minutes=AT_ONCE)
    run(dataset, tmp_path / "out", max_minutes=AT_ONCE, steps=7, evaluate_every=2)
    for change in ({"seed": 1}, {"batch_size": 4}, {"learning_rate": 1.0}, {"decay_steps": 5}):
        (name,) = change
        with pytest.raises(ValueError, match=f"other settings .`{name}` is"):
            run(dataset, tmp_path / "out", max_minutes=AT_ONCE, **change)
    with pytest.raises(ValueError, match="the sizes of the model differ"):
        tiny = AutoencoderConfig.tiny(sample_rate=SAMPLE_RATE, hop_length=HOP)
        run(dataset, tmp_path / "out", model=tiny, max_minutes=AT_ONCE)
    other = write_dataset(tmp_path / "other", {"train": 2})
    with pytest.raises(ValueError, match="the dataset is another one"):
        run(other, tmp_path / "out", max_minutes=AT_ONCE)
    (tmp_path / "out.run" / "run.json").write_text("{}")
    with pytest.raises(ValueError, match=r"run.json is damaged; delete"):
        run(dataset, tmp_path / "out", max_minutes=AT_ONCE)


def test_a_folder_that_is_there_already_is_left_alone(dataset, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="choose another output"):
        run(dataset, tmp_path / "out", max_minutes=AT_ONCE)


def test_a_damaged_checkpoint(dataset, runs, tmp_path):
    straight, _, _ = runs
    shutil.copytree(straight.with_name("straight.run"), tmp_path / "out.run")
    (tmp_path / "out.run" / "checkpoints" / "6" / "facts" / "metadata").write_text("{")
    with pytest.raises(ValueError, match=r"checkpoints/6 cannot be restored; delete that folder"):
        run(dataset, tmp_path / "out")


def test_a_batch_that_does_not_divide_among_the_devices(dataset, tmp_path, monkeypatch):
    devices = jax.local_devices() * 3
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    with pytest.raises(ValueError, match="multiple of the 3 devices, got 2"):
        run(dataset, tmp_path / "out")
