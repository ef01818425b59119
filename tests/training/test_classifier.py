"""A classifier learns, goes on bit for bit where it stopped, and never sees the test split."""

import dataclasses
import json
import sys
from io import StringIO

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import quick_jit
from labelled_data import LABELS, RATE, sound, toy_model, write_sounds
from rich.console import Console
from test_loop import assert_same_state, ctrl_c, log, weights  # noqa: F401

from ddspx import io
from ddspx.models.spectnet import (
    SpectNet,
    load_spectnet,
    normalize_level,
    segment_logits,
    vote_mean_probability,
)
from ddspx.training import (
    ClassifierTrainConfig,
    initial_state,
    train_classifier,
)
from ddspx.training._classifier import classifier_loss
from ddspx.training._logging import RunLog
from ddspx.training._step import adam_with_frontend

MODEL = toy_model()


def numbers(**changes):
    defaults = {"steps": 6, "batch_size": 12, "evaluate_every": 3, "learning_rate": 3e-3}
    return ClassifierTrainConfig(**defaults | changes)


def run(recordings, output, *, model=MODEL, report=None, **changes):
    return train_classifier(
        recordings,
        output,
        model=model,
        config=numbers(**changes),
        report=report,
        console=Console(quiet=True),
    )


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return io.labelled_recordings(write_sounds(tmp_path_factory.mktemp("data") / "sounds"))


@pytest.fixture(scope="module")
def straight(recordings, tmp_path_factory):
    """Twelve steps at a stretch, evaluated every six."""
    output = tmp_path_factory.mktemp("runs") / "straight"
    return output, run(recordings, output, steps=12, evaluate_every=6)


# training


def test_a_classifier_needs_no_extra(recordings, tmp_path, monkeypatch):
    for module in ("grain", "tensorboardX", "matplotlib"):
        monkeypatch.setitem(sys.modules, module, None)
    said = Console(record=True, quiet=False, file=StringIO())
    settings = numbers(max_minutes=1e-9)
    train_classifier(recordings, tmp_path / "out", model=MODEL, config=settings, console=said)
    assert "logging to metrics.jsonl only; to log for TensorBoard: pip" in said.export_text()
    logs = tmp_path / "out.run" / "logs"
    with RunLog(logs) as log:
        log.scalars(1, {"train/loss": 0.5})
        log.audio(1, "valid/0", np.zeros(8), sample_rate=RATE)
    assert sorted(path.name for path in logs.iterdir()) == ["audio", "metrics.jsonl"]
    assert json.loads((logs / "metrics.jsonl").read_text())["train/loss"] == 0.5


def test_three_classes_are_learned_in_seconds(recordings, tmp_path):
    output = tmp_path / "model"
    run(recordings, output, steps=40, evaluate_every=20)
    valid = [line["valid/loss"] for line in log(output) if "valid/loss" in line]
    assert valid[-1] < 0.5 < np.log(3)
    model, provenance = load_spectnet(output)
    assert provenance["selected"]["valid_loss"] == min(valid)
    test = [recording for recording in recordings if recording.split == "test"]
    assert {recording.label for recording in test} == set(LABELS)
    sounds = [io.read_audio(recording.path, sample_rate=RATE) for recording in test]
    for recording, logits in zip(test, segment_logits(model, sounds), strict=True):
        assert LABELS[vote_mean_probability(logits).index] == recording.label
    # Its batch statistics are those of training, not the initial ones.
    means = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))["classifier"]["first_norm"]["mean"]
    assert np.abs(means).max() > 0.01


@pytest.mark.parametrize("stopped_by", ["steps", "ctrl-c"])
def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(
    recordings,
    straight,
    tmp_path,
    ctrl_c,  # noqa: F811
    stopped_by,
):
    output, expected = straight
    resumed = tmp_path / "out"
    for stop in (2, 4, 11):
        if stopped_by == "steps":
            assert run(recordings, resumed, steps=stop, evaluate_every=6).finished
        else:
            ctrl_c(stop)
            result = run(recordings, resumed, steps=12, evaluate_every=6)
            assert result.step == stop and not result.finished
    ctrl_c(0)
    assert run(recordings, resumed, steps=12, evaluate_every=6) == expected
    assert_same_state(output, resumed, 12)
    assert weights(output) == weights(resumed)
    assert (output / "provenance.json").read_bytes() == (resumed / "provenance.json").read_bytes()


def test_the_test_split_is_never_read(recordings, tmp_path, monkeypatch):
    read = []
    original = io.stream_audio

    def reading(path, **options):
        read.append(path)
        return original(path, **options)

    monkeypatch.setattr("ddspx.io._sounds.stream_audio", reading)
    run(recordings, tmp_path / "out", steps=1)
    splits = {recording.path: recording.split for recording in recordings}
    assert {splits[path] for path in read} == {"train", "valid"}
    assert len(read) == sum(recording.split != "test" for recording in recordings)


def test_the_model_folder_has_the_hashes_of_the_training_recordings(recordings, straight):
    output, result = straight
    model, provenance = load_spectnet(output)
    assert model.config == MODEL
    for split in ("train", "valid"):
        heard = [r.sha256 for r in recordings if r.split == split]
        assert provenance["data"]["sha256"][split] == heard
    # Each recording is its own group here, and its name may be another's elsewhere.
    assert provenance["data"]["groups"] == []
    assert provenance["training"] == numbers(steps=12, evaluate_every=6).to_json()
    assert provenance["selected"]["step"] == result.best.step
    accuracies = [line["valid/accuracy"] for line in log(output) if "valid/loss" in line]
    assert all(0 <= accuracy <= 1 for accuracy in accuracies)


def test_the_model_folder_has_the_groups_of_the_training_recordings(recordings, tmp_path):
    spoken = [r._replace(group=f"voice of the {r.split}") for r in recordings]
    run(spoken, tmp_path / "out", steps=1, evaluate_every=6)
    _, provenance = load_spectnet(tmp_path / "out")
    assert provenance["data"]["groups"] == ["voice of the train", "voice of the valid"]


def test_the_valid_loss_is_a_mean_over_classes_of_recordings(recordings, straight):
    output, _ = straight
    valid = [recording for recording in recordings if recording.split == "valid"][:-1]
    # Uneven classes, so that the means differ.
    few = [r for r in recordings if r.split == "train"] + valid
    again = output.with_name("uneven")
    measured = run(few, again, steps=6, evaluate_every=6).best
    model, _ = load_spectnet(again)
    by_class = {}
    for recording in valid:
        audio = io.read_audio(recording.path, sample_rate=RATE)
        (logits,) = segment_logits(model, [audio])
        probabilities = np.asarray(jax.nn.softmax(logits.astype(np.float64)))
        loss = -np.log(probabilities[:, LABELS.index(recording.label)]).mean()
        by_class.setdefault(recording.label, []).append(loss)
    expected = np.mean([np.mean(losses) for losses in by_class.values()])
    np.testing.assert_allclose(measured.loss, expected, rtol=1e-4)


# the step


@pytest.fixture(scope="module")
def split():
    """The model in parts: its graph, its parameters, and the rest."""
    graphdef, *states = nnx.split(SpectNet(MODEL, rngs=nnx.Rngs(0)), nnx.Param, nnx.BatchStat, ...)
    params, *rest = map(nnx.to_pure_dict, states)
    return graphdef, params, tuple(rest)


@pytest.fixture(scope="module")
def batch():
    sounds = [normalize_level(sound(label, 0).astype(np.float32)) for label in LABELS]
    return next(
        io.BalancedBatches(sounds, [0, 1, 2], batch_size=6, crop_length=MODEL.segment_length)
    )


@pytest.mark.parametrize("factor", [0.0, 0.1])
def test_the_front_end_has_its_own_learning_rate(split, batch, factor):
    _, params, rest = split
    optimizer = adam_with_frontend(numbers(learning_rate=1e-3), frontend_rate=factor)
    state = initial_state(jax.tree.map(jnp.copy, params), optimizer, seed=0, rest=rest)

    def update(state, gradient):
        updates, _ = optimizer.update(gradient, state.opt_state, state.params)
        return updates

    gradient = jax.tree.map(jnp.ones_like, params)
    updates = quick_jit(update)(state, gradient)
    # The first step of Adam is as long as the rate.
    for part, rate in (("frontend", factor * 1e-3), ("classifier", 1e-3)):
        for update in jax.tree.leaves(updates[part]):
            np.testing.assert_allclose(update, -rate, rtol=1e-3)


def test_every_parameter_gets_a_gradient(split, batch):
    graphdef, params, rest = split
    loss = classifier_loss(graphdef, numbers())
    slope = quick_jit(jax.value_and_grad(loss, has_aux=True))
    (_, (statistics, others)), gradient = slope(params, rest, jax.random.key(0), batch)
    for leaf in jax.tree.leaves(gradient["frontend"]):
        assert np.isfinite(leaf).all() and (np.asarray(leaf) != 0).any()
    before = jax.tree.leaves(rest[0])
    for old, new in zip(before, jax.tree.leaves(statistics), strict=True):
        assert (np.asarray(old) != new).any()
    jax.tree.map(np.testing.assert_array_equal, others, rest[1])


def test_mixtures_masks_and_smoothing_change_the_loss(split, batch):
    graphdef, params, rest = split

    masks = {"time_mask": 0.5, "frequency_mask": 0.9}
    changes = ({}, {"mixup": 1.0}, masks, {"smoothing": 0.0})
    losses = [classifier_loss(graphdef, numbers(**change)) for change in changes]

    @quick_jit
    def values(*arguments):
        return [loss(*arguments)[0] for loss in losses]

    plain, *changed = map(float, values(params, rest, jax.random.key(0), batch))
    assert np.isfinite(changed).all() and plain not in changed


# logits of recordings


def test_the_logits_of_a_recording_do_not_depend_on_its_neighbours():
    model = SpectNet(MODEL, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    sounds = [rng.standard_normal(n).astype(np.float32) for n in (100, 2000, 410, 3000, 50)]
    together = list(segment_logits(model, sounds, batch_size=4))
    assert [len(logits) for logits in together] == [1, 5, 2, 8, 1]
    for one, logits in zip(sounds, together, strict=True):
        (alone,) = segment_logits(model, [one], batch_size=4)
        np.testing.assert_allclose(logits, alone, rtol=1e-5, atol=1e-5)
    assert list(segment_logits(model, [])) == []


# errors, before any file is written


def test_labels_that_differ_from_the_recordings_are_refused(recordings, tmp_path):
    with pytest.raises(ValueError, match=r"`model` has the labels a, b and the recordings high, "):
        run(recordings, tmp_path / "out", model=dataclasses.replace(MODEL, labels=("a", "b")))
    with pytest.raises(io.DatasetError, match="only one class, 'low'"):
        run([r for r in recordings if r.label == "low"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_file_is_left_out_and_reported(tmp_path):
    folder = write_sounds(tmp_path / "sounds", each=3)
    for label in LABELS:
        (folder / label / "bad.wav").write_text("no sound")
    recordings = io.labelled_recordings(folder)
    said = []
    run(recordings, tmp_path / "out", steps=1, report=said.append)
    bad = [r for r in recordings if r.name.endswith("bad.wav") and r.split != "test"]
    assert len(said) == len(bad) and all("bad.wav" in str(error) for error in said)
    for path in (folder / "low").glob("*.flac"):
        path.write_text("no sound")
    with pytest.raises(io.DatasetError, match="No recording of the class 'low' in the train split"):
        run(io.labelled_recordings(folder), tmp_path / "other", report=said.append)
    assert not (tmp_path / "other.run").exists()


def test_a_run_resumes_only_with_its_own_recordings_and_settings(recordings, straight):
    output, _ = straight
    with pytest.raises(ValueError, match="the dataset is another one"):
        run(recordings[1:], output, steps=12, evaluate_every=6)
    with pytest.raises(ValueError, match=r"`smoothing` is 0\.2, in the saved run it is 0\.1"):
        run(recordings, output, steps=12, evaluate_every=6, smoothing=0.2)
    sounds = {p: p.read_bytes() for p in (output.with_name("straight.run") / "sounds").iterdir()}
    louder = dataclasses.replace(MODEL, normalize_level=False)
    with pytest.raises(ValueError, match="with other settings"):
        run(recordings, output, model=louder, steps=12, evaluate_every=6)
    assert sounds == {path: path.read_bytes() for path in sounds}
    saved = json.loads((output.with_name("straight.run") / "run.json").read_text())
    assert saved["training"]["seed"] == 0


@pytest.mark.parametrize("error", [OSError("no space left"), ChildProcessError("was killed")])
def test_what_was_decoded_is_kept_if_the_disk_is_full(recordings, tmp_path, monkeypatch, error):
    class Full(io.LabelledAudio):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            raise error

    monkeypatch.setattr("ddspx.training._classifier.LabelledAudio", Full)
    with pytest.raises(OSError, match=str(error)):
        run(recordings, tmp_path / "out", steps=1)
    assert list((tmp_path / "out.run" / "sounds").glob("*.f32"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frontend_rate": -1.0}, "`frontend_rate` must be finite and at least 0"),
        ({"mixup": float("nan")}, "`mixup` must be finite and at least 0"),
        ({"smoothing": 1.0}, "`smoothing` must be from 0 to below 1, got 1.0"),
        ({"time_mask": -0.1}, "`time_mask` must be from 0 to below 1"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ClassifierTrainConfig(**change)
