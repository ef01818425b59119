"""A run reduces the loss, is resumed bit for bit, and reports errors in its input."""

import dataclasses
import json
import shutil
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rich.console import Console
from toy_instrument import toy_model
from training_data import EXAMPLE_HOPS, FMAX, FMIN, HOP, MODEL, SAMPLE_RATE, write_dataset

from ddspx.features import feature_version
from ddspx.io import read_manifest
from ddspx.io._manifest import digest_of
from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig, load_autoencoder
from ddspx.nn import RnnFcDecoderConfig
from ddspx.training import AutoencoderTrainConfig, evaluate_autoencoder, train_autoencoder
from ddspx.training._autoencoder import Programs, valid_batches, valid_loss
from ddspx.training._devices import placements
from ddspx.training._logging import RunLog
from ddspx.training._loop import Measured, _Run
from ddspx.training._state import TrainState
from ddspx.training._step import StepReport

pytest.importorskip("grain", reason="the train extra is not installed")

AT_ONCE = 1e-9
"""Minutes after which a run ends before its first step, and so before anything compiles."""


def numbers(**changes):
    defaults = {"steps": 6, "batch_size": 2, "learning_rate": 3e-3, "evaluate_every": 3}
    return AutoencoderTrainConfig(**defaults | changes)


def run(dataset, output, model=MODEL, start=None, **changes):
    quiet = Console(quiet=True)
    return train_autoencoder(
        dataset, output, model=model, config=numbers(**changes), start=start, console=quiet
    )


def log(output):
    path = output.with_name(f"{output.name}.run") / "logs" / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def saved_state(output, step):
    """The arrays and the facts of a checkpoint of a run."""
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(output.with_name(f"{output.name}.run") / "checkpoints") as manager:
        saved = manager.restore(
            step,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardRestore(), facts=ocp.args.JsonRestore()
            ),
        )
    return jax.tree.leaves(saved.arrays), saved.facts


def assert_same_state(output, other, step):
    """The checkpoints of two runs are equal in every bit of the arrays and every fact."""
    (ours, our_facts), (theirs, their_facts) = saved_state(output, step), saved_state(other, step)
    assert our_facts == their_facts
    for one, two in zip(ours, theirs, strict=True):
        assert np.asarray(one).tobytes() == np.asarray(two).tobytes()


def weights(output):
    return (output / "weights.safetensors").read_bytes()


@pytest.fixture
def ctrl_c(monkeypatch):
    """A function that makes the run end after a step, as Ctrl-C does."""
    scalars, at = RunLog.scalars, [0]

    def interrupt(self, step, values):
        scalars(self, step, values)
        # The log holds the step before the one that is running.
        if "train/loss" in values and step == at[0] - 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RunLog, "scalars", interrupt)

    def end_after(step):
        at[0] = step

    return end_after


@pytest.fixture
def valid_losses(monkeypatch):
    """The losses on the valid split by step, in place of the measured ones."""
    losses = {}
    monkeypatch.setattr(_Run, "_measured", lambda self, log: Measured(losses[self.taken]))
    return losses


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


def is_same(line):
    """Whether a line of the log does not depend on how busy the machine is."""
    return "train/input_wait" not in line


def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(runs):
    straight, resumed, results = runs
    assert [(result.step, result.finished) for result in results] == [
        (6, True),
        (3, True),
        (6, True),
    ]
    assert results[0].best == results[2].best
    assert_same_state(straight, resumed, 6)
    files = ("weights.safetensors", "config.json", "statistics.json", "provenance.json")
    for name in files:
        assert (straight / name).read_bytes() == (resumed / name).read_bytes(), name
    losses = [
        [{k: v for k, v in line.items() if k != "time"} for line in log(output) if is_same(line)]
        for output in (straight, resumed)
    ]
    assert losses[0] == losses[1]


def test_several_steps_at_once_are_the_single_steps(runs, dataset, tmp_path):
    """Two steps, and the one that is left before the evaluation; and again.

    Not in every bit: XLA compiles another program, whose sums it may round otherwise. A step moves
    a weight by about the learning rate, which is 30 times the tolerance.
    """
    straight, several = runs[0], tmp_path / "several"
    run(dataset, several, steps_per_dispatch=2)
    ours, our_facts = saved_state(straight, 6)
    theirs, their_facts = saved_state(several, 6)
    assert our_facts["batches"] == their_facts["batches"]
    for one, two in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(two), rtol=1e-4, atol=1e-4)
    lines = [[line for line in log(output) if is_same(line)] for output in (straight, several)]
    for one, two in zip(*lines, strict=True):
        assert {**one, "time": 0} == pytest.approx({**two, "time": 0}, rel=1e-4)


@pytest.fixture(scope="module")
def twelve(dataset, tmp_path_factory):
    """Twelve steps at a stretch, evaluated every six, and the result."""
    output = tmp_path_factory.mktemp("twelve") / "straight"
    return output, run(dataset, output, steps=12, evaluate_every=6)


@pytest.mark.parametrize("stopped_by", ["steps", "ctrl-c"])
def test_stops_between_evaluations_change_nothing(dataset, twelve, tmp_path, ctrl_c, stopped_by):
    straight, expected = twelve
    output = tmp_path / "out"
    for stop in (2, 4, 11):
        if stopped_by == "steps":
            result = run(dataset, output, steps=stop, evaluate_every=6)
            # The last step is evaluated, and its weights are a model if they are the best.
            assert result.finished and result.best.step in (6, stop)
            selected = json.loads((output / "provenance.json").read_text())["selected"]
            assert selected["step"] == result.best.step
            assert selected["valid_loss"] == result.best.loss
        else:
            ctrl_c(stop)
            result = run(dataset, output, steps=12, evaluate_every=6)
            assert result.best.step == stop // 6 * 6 and not result.finished
            assert output.exists() == (stop > 6)
        assert result.step == stop
    ctrl_c(0)
    assert run(dataset, output, steps=12, evaluate_every=6) == expected
    assert_same_state(straight, output, 12)
    assert weights(output) == weights(straight)


def test_a_stop_by_time_between_evaluations_does_not_change_the_best_step(
    dataset, tmp_path, monkeypatch
):
    # The clock says an hour from the fourth step on.
    step = _Run.step

    def slow(self, log):
        step(self, log)
        if self.taken == 4:
            monkeypatch.setattr("ddspx.training._loop.time.monotonic", lambda: 1e12)

    monkeypatch.setattr(_Run, "step", slow)
    result = run(dataset, tmp_path / "out", max_minutes=60.0)
    assert (result.step, result.best.step, result.finished) == (4, 3, False)


def test_the_model_folder_has_the_last_step_until_the_run_is_resumed(
    dataset, tmp_path, valid_losses
):
    output = tmp_path / "out"
    valid_losses.update({3: 5.0, 4: 4.0, 5: 6.0, 6: 5.5, 7: 9.0, 8: 5.2, 9: 4.5})
    assert run(dataset, output, steps=3).best == (3, 5.0)
    third = weights(output)
    # Step 4 is the best so far, but a run that goes on would not have looked there.
    assert run(dataset, output, steps=4).best == (4, 4.0)
    assert weights(output) != third
    # A run of five steps would have compared the third with the fifth; one of six as well.
    assert run(dataset, output, steps=5).best == (3, 5.0)
    assert weights(output) == third
    valid_losses[5] = 0.0
    for steps, best in [(6, (3, 5.0)), (7, (3, 5.0)), (8, (3, 5.0)), (9, (9, 4.5))]:
        assert run(dataset, output, steps=steps).best == best
        assert (weights(output) == third) == (best[0] == 3)


def test_two_last_steps_are_replaced_by_the_best_one(dataset, tmp_path, valid_losses):
    output = tmp_path / "out"
    valid_losses.update({3: 5.0, 4: 4.0, 5: 3.0, 6: 6.0})
    run(dataset, output, steps=3)
    third = weights(output)
    for steps in (4, 5):
        assert run(dataset, output, steps=steps).best.step == steps
    assert run(dataset, output, steps=6).best == (3, 5.0)
    assert weights(output) == third


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


def test_padding_of_the_last_valid_batch_does_not_count(dataset, tmp_path):
    def evaluation(params, rest, key, batch):
        return jnp.arange(3.0), jnp.asarray(batch.audio)

    programs, (_, each) = Programs(None, None, None, evaluation), placements(1)
    state = TrainState(None, None, np.int32(9), None, None)
    with RunLog(tmp_path / "logs", step=9) as log:
        # Two examples in a batch of three.
        config, manifest = numbers(batch_size=3), read_manifest(dataset)
        batches = valid_batches(dataset, manifest, config)
        measured = valid_loss(batches, manifest, config, programs, each, state, log)
    assert measured.loss == 0.5


def test_the_model_folder_is_complete_and_has_its_provenance(runs):
    straight, _, _ = runs
    model, statistics, provenance = load_autoencoder(straight)
    assert model.config == MODEL
    assert statistics.duration_s == 8.0
    assert provenance["data"]["licence"] == "CC0-1.0"
    assert provenance["data"]["attribution"] == "a sine"
    assert provenance["data"]["sources"][0]["name"] == "glide.wav"
    assert provenance["data"]["prepared"] == {
        "sample_rate": SAMPLE_RATE,
        "hop_length": HOP,
        "example_length": EXAMPLE_HOPS * HOP,
        "fmin": FMIN,
        "fmax": FMAX,
        "feature_version": feature_version("ddspx"),
    }
    assert provenance["data"]["splits"]["valid"] == {"n_examples": 2, "duration_s": 1.0}
    assert provenance["training"] == numbers().to_json()
    assert statistics.pitch_range_hz == {"fmin": FMIN, "fmax": FMAX}


def test_a_run_starts_with_all_weights_of_another_model_but_the_reverb(
    dataset, runs, tmp_path, monkeypatch, valid_losses
):
    straight, _, _ = runs

    def still(state, batch):
        return state._replace(step=state.step + 1), StepReport(jnp.zeros(()), jnp.zeros(()))

    # One step, which moves nothing; it is made anew for every set of numbers.
    monkeypatch.setattr("ddspx.training._autoencoder.train_step", lambda *_, **__: still)
    valid_losses[1] = 1.0

    def heard_by(version):
        """The model, as if it had been trained on features of that version."""
        folder = shutil.copytree(straight, tmp_path / version.replace("/", "-"))
        fields = json.loads((folder / "statistics.json").read_text())
        (folder / "statistics.json").write_text(json.dumps(fields | {"feature_version": version}))
        (folder / "sha256.json").unlink()
        return folder

    older = heard_by("ddspx-pitch-2/loudness-a-512-1")
    run(dataset, tmp_path / "out", start=older, steps=1, learning_rate=1.0)
    for version, complaint in (
        (feature_version("yin"), "`start` must use the dataset's version of features"),
        ("unknown", "version 'unknown' cannot be computed by this release"),
    ):
        with pytest.raises(ValueError, match=complaint):
            run(dataset, tmp_path / "other", start=heard_by(version))
    ours, _, provenance = load_autoencoder(tmp_path / "out")
    theirs, _, from_there = load_autoencoder(straight)
    fresh = Autoencoder(MODEL, rngs=nnx.Rngs(0))
    for begun, expected in ((ours.decoder, theirs.decoder), (ours.reverb, fresh.reverb)):
        pairs = zip(*(jax.tree.leaves(nnx.state(m)) for m in (begun, expected)), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs)
    assert provenance["started_from"]["data"] == from_there["data"]
    with pytest.raises(ValueError, match="or the model that it starts from"):
        run(dataset, tmp_path / "out")
    with pytest.raises(
        ValueError,
        match=r"`start` must have .* whose `decoder` is .*=12, .* has .*=8, ",
    ):
        larger = dataclasses.replace(MODEL, decoder=RnnFcDecoderConfig(12, 8, 1))
        run(dataset, tmp_path / "other", model=larger, start=straight)
    assert not (tmp_path / "other.run").exists()


def test_resuming_a_finished_run_changes_nothing(runs, dataset):
    straight, _, _ = runs
    before = (straight / "weights.safetensors").read_bytes(), len(log(straight))
    assert run(dataset, straight).step == 6
    assert ((straight / "weights.safetensors").read_bytes(), len(log(straight))) == before


def test_ctrl_c_ends_after_the_step_with_a_checkpoint(tmp_path, ctrl_c):
    dataset = write_dataset(tmp_path / "dataset", {"train": 1})
    ctrl_c(5)
    handler = signal.getsignal(signal.SIGINT)
    result = run(dataset, tmp_path / "out", steps=10**6, evaluate_every=3)
    assert not result.finished and result.step == 5
    assert signal.getsignal(signal.SIGINT) is handler
    assert (tmp_path / "out.run" / "checkpoints" / str(result.step)).is_dir()
    # Without a valid split there is nothing to choose by: the newest evaluated weights stay.
    assert result.best.loss is None and result.best.step == 3
    assert "valid/loss" not in log(tmp_path / "out")[-1]


def test_a_time_limit_ends_a_run(dataset, tmp_path):
    result = run(dataset, tmp_path / "out", max_minutes=AT_ONCE)
    assert result == (0, (0, None), False)
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_finite_ends_the_run_in_a_sentence(tmp_path):
    dataset = write_dataset(tmp_path / "dataset", {"train": 1}, damage=True)
    with pytest.raises(FloatingPointError, match=r"at step 1: .* glide.wav;.*lower learning rate"):
        run(dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # Nothing was saved, so the same command with a lower rate is not refused.
    assert run(dataset, tmp_path / "out", learning_rate=1e-4, max_minutes=AT_ONCE).step == 0


# boundary errors, all before anything compiles


@pytest.mark.parametrize(
    "rates",
    [{"sample_rate": 16000, "hop_length": HOP}, {"sample_rate": SAMPLE_RATE, "hop_length": 40}],
)
def test_a_model_of_other_rates_is_refused(dataset, tmp_path, rates):
    with pytest.raises(ValueError, match=r"dataset was prepared with `(sample_rate|hop_length)`"):
        run(dataset, tmp_path / "out", model=AutoencoderConfig.tiny(**rates))
    assert list(tmp_path.iterdir()) == []


def test_features_of_another_version_are_refused(tmp_path):
    dataset = write_dataset(tmp_path / "old", {"train": 1}, feature_version="old-1")
    with pytest.raises(ValueError, match=r"features of version 'old-1'.*prepare the recordings"):
        run(dataset, tmp_path / "out")


def test_a_run_resumes_only_with_its_own_settings(dataset, runs, tmp_path):
    straight, _, _ = runs
    shutil.copytree(straight.with_name("straight.run"), tmp_path / "out.run")
    for change in ({"seed": 1}, {"batch_size": 4}, {"learning_rate": 1.0}, {"decay_steps": 5}):
        (name,) = change
        with pytest.raises(ValueError, match=f"other settings .`{name}` is"):
            run(dataset, tmp_path / "out", **change)
    settings = numbers().to_json()
    del settings["microbatches"]  # as a version without it saved them
    assert numbers().difference(settings) is None
    assert numbers(microbatches=2).difference(settings).endswith("in the saved run it is 1")
    with pytest.raises(ValueError, match="the sizes of the model differ"):
        tiny = AutoencoderConfig.tiny(sample_rate=SAMPLE_RATE, hop_length=HOP)
        run(dataset, tmp_path / "out", model=tiny)
    other = write_dataset(tmp_path / "other", {"train": 2})
    with pytest.raises(ValueError, match="the dataset is another one"):
        run(other, tmp_path / "out")


def test_a_run_without_a_checkpoint_starts_again_with_any_settings(dataset, tmp_path):
    run(dataset, tmp_path / "out", max_minutes=AT_ONCE)
    run(dataset, tmp_path / "out", max_minutes=AT_ONCE, learning_rate=1.0, seed=3)
    settings = json.loads((tmp_path / "out.run" / "run.json").read_text())
    assert settings["training"]["seed"] == 3
    (tmp_path / "out.run" / "run.json").write_text("{")
    run(dataset, tmp_path / "out", max_minutes=AT_ONCE)


def test_a_missing_package_is_named_before_any_file_is_made(dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(ModuleNotFoundError, match=r"grain.*pip install .ddspx\[train\]"):
        run(dataset, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"pitch_midi_min": "low"},
        {"loudness_quantiles": 5},
        {"loudness_quantiles": [0.0, -1.0]},
        {"duration_s": None},
        {"fmin": 100.0, "fmax": 50.0},
    ],
)
def test_damaged_statistics_are_reported_before_any_file_is_made(tmp_path, change):
    dataset = write_dataset(tmp_path / "dataset", {"train": 1})
    manifest = json.loads((dataset / "manifest.json").read_text())
    manifest["statistics"] |= change
    del manifest["sha256"]
    manifest["sha256"] = digest_of(manifest)
    (dataset / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"(?s)damaged statistics \(.*prepare the dataset again"):
        run(dataset, tmp_path / "out")
    with pytest.raises(ValueError, match=r"damaged statistics"):
        evaluate_autoencoder(toy_model(MODEL), dataset)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_missing_shard_is_reported_before_any_file_is_made(tmp_path, split):
    dataset = write_dataset(tmp_path / "dataset", {"train": 1, "valid": 1})
    next(dataset.glob(f"{split}-*")).unlink()
    with pytest.raises(ValueError, match=rf"{split}-00000.* is missing"):
        run(dataset, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_an_existing_folder_is_not_changed(dataset, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="choose another output"):
        run(dataset, tmp_path / "out", max_minutes=AT_ONCE)


def test_a_damaged_checkpoint_is_put_aside_for_the_one_before(dataset, runs, tmp_path):
    straight, _, _ = runs
    shutil.copytree(straight.with_name("straight.run"), tmp_path / "out.run")
    checkpoints = tmp_path / "out.run" / "checkpoints"
    (checkpoints / "6" / "facts" / "metadata").write_text("{")
    result = run(dataset, tmp_path / "out", max_minutes=AT_ONCE)
    # What the result says, the folder holds.
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert (result.step, result.best.step, provenance["selected"]["step"]) == (3, 3, 3)
    assert sorted(path.name for path in checkpoints.iterdir()) == ["3", "6.damaged"]


def test_a_batch_size_that_the_devices_do_not_divide_is_refused(dataset, tmp_path, monkeypatch):
    devices = jax.devices() * 3
    monkeypatch.setattr(jax, "devices", lambda: devices)
    with pytest.raises(ValueError, match="multiple of the 3 devices, got 2"):
        run(dataset, tmp_path / "out")
