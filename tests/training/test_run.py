"""What a run says, and what its folders hold: after damage, divergence, and with two owners."""

import itertools
import json
import math
import os
import shutil
import signal
import time

import jax
import numpy as np
import pytest
from toy_run import VALID, ToyBatches, newest, outcome, programs, start_of, toy_run

from ddspx.io import OwnedError, latest_checkpoint, owned
from ddspx.training import RunConfig, _loop
from ddspx.training._loop import _Run
from ddspx.training._run import run_path


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The model folder of a run that nothing has interrupted."""
    output = tmp_path_factory.mktemp("straight") / "model"
    result, said = toy_run(output)
    assert result == (12, (12, result.best.loss), True) and "damaged" not in said
    return output


@pytest.fixture(scope="module")
def sixth(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sixth")
    toy_run(folder / "model", steps=6)
    return folder


@pytest.fixture
def half(sixth, tmp_path):
    """A run that has come to step 6, whose best is step 3, in a folder of its own."""
    shutil.copytree(sixth, tmp_path, dirs_exist_ok=True)
    return tmp_path / "model"


def selected(output):
    return json.loads((output / "provenance.json").read_text())["selected"]


def logged(output, name):
    lines = (run_path(output) / "logs" / "metrics.jsonl").read_text().splitlines()
    records = map(json.loads, lines)
    return {record["step"]: record[name] for record in records if name in record}


def last_state(output):
    """The arrays of the newest checkpoint, and where in the data it is."""
    step, arrays, facts = newest(output)
    return jax.tree.leaves(arrays), (step, facts["batches"])


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


# what the folder holds


@pytest.mark.parametrize("damage", ["gone", "flip", "older", "no config", "no record"])
def test_a_model_folder_that_is_not_as_it_was_written_is_written_again(half, damage):
    before = {path.name: path.read_bytes() for path in half.iterdir()}
    weights = half / "weights.safetensors"
    if damage == "gone":
        shutil.rmtree(half)
    elif damage == "flip":
        weights.write_bytes(before[weights.name][:-1] + bytes([before[weights.name][-1] ^ 64]))
    elif damage == "older":
        fields = {"selected": selected(half) | {"step": 2}}
        (half / "provenance.json").write_text(json.dumps(fields))
    elif damage == "no config":
        (half / "config.json").unlink()
        (half / "provenance.json").write_text("{")
    else:
        (run_path(half) / "model.json").unlink()
    result, said = toy_run(half, steps=6)
    assert result.finished and result.best.step == selected(half)["step"] == 3
    assert f"{half} holds the weights of step 3 again" in said
    assert {path.name: path.read_bytes() for path in half.iterdir()} == before


def test_what_was_added_to_a_finished_model_stays(half):
    fields = json.loads((half / "provenance.json").read_text())
    (half / "provenance.json").write_text(json.dumps(fields | {"scores": 1}))
    for notes in ("a good one", "not so good"):
        (half / "notes.txt").write_text(notes)
        _, said = toy_run(half, steps=6)
        assert "again" not in said and (half / "notes.txt").read_text() == notes
    assert json.loads((half / "provenance.json").read_text())["scores"] == 1
    toy_run(half)
    assert (half / "notes.txt").read_text() == notes


def test_what_ended_processes_have_left_on_any_machine_goes(half):
    mark = "00000000-1-1-0123abcd.partial"
    run, others = run_path(half), [half / f".scores.json.{mark}", half / ".sub" / "x"]
    left = [half.with_name(f".{name}.{mark}") for name in ("model", "model.run")]
    left += [run / f".run.json.{mark}", run / "checkpoints" / f".9.{mark}" / "arrays"]
    (half / ".cache.owner").touch()
    for path in (*left, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    toy_run(half, steps=6)
    assert not any(path.exists() for path in left) and all(path.exists() for path in others)
    # Another process may be writing it in the model folder, which is now another one.
    toy_run(half)
    assert [path.name for path in half.iterdir() if path.name.startswith(".")] == [".sub"]


def test_a_second_owner_is_refused_and_changes_nothing(half, tmp_path):
    with owned(run_path(half), what="training"):
        before = files(tmp_path)
        with pytest.raises(OwnedError, match=r"model.run belongs to process .* training since"):
            toy_run(half)
        assert files(tmp_path) == before
    assert toy_run(half)[0].finished


# checkpoints


def test_the_last_good_checkpoint_is_taken_and_said(half, straight):
    checkpoints = run_path(half) / "checkpoints"
    (checkpoints / "6" / "facts" / "metadata").write_text("{")
    (run_path(half) / "run.json").write_text("[")
    result, said = toy_run(half)
    assert "the checkpoint of step 6 is damaged (facts/metadata is not as it was written)" in said
    assert "resuming from step 3" in said and (checkpoints / "6.damaged").is_dir()
    assert result.step == 12 and outcome(half) == outcome(straight)


def test_without_a_good_checkpoint_the_run_is_refused_and_nothing_changes(half):
    for step in (3, 6):
        (run_path(half) / "checkpoints" / str(step) / "sha256.json").unlink()
    before = files(half.parent)
    with pytest.raises(
        ValueError, match=r"6: sha256.json is missing.*; delete .*run to .* elsewhere"
    ):
        toy_run(half)
    assert files(half.parent) == before
    half.rename(half.with_name("elsewhere"))
    shutil.rmtree(run_path(half))
    assert toy_run(half)[0].finished


def test_a_run_of_other_settings_is_refused_whatever_run_json_says(half):
    path = run_path(half) / "run.json"
    for text in (path.read_text().replace('"seed": 0', '"seed": 1'), "", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"other settings .`seed` is 1, .* it is 0"):
            toy_run(half, seed=1)
    path.unlink()
    assert toy_run(half, steps=6)[0].finished


def test_without_checkpoints_a_model_is_only_replaced_by_its_own_run(half, straight):
    shutil.rmtree(run_path(half) / "checkpoints")
    with pytest.raises(ValueError, match=r"other settings .`seed` is 1, .* it is 0"):
        toy_run(half, seed=1)
    settings = (run_path(half) / "run.json").read_text()
    for damaged in ("{", "{}", "[]", "[" * 100_000, '{"model": {"size": 40}, "data": "toy"}'):
        (run_path(half) / "run.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"run.json is damaged; delete"):
            toy_run(half)
    (run_path(half) / "run.json").write_text(settings)
    toy_run(half)
    assert outcome(half) == outcome(straight)


def test_the_weights_that_are_kept_have_a_checkpoint(half):
    """Of the newest two, and of the best of each of them."""
    toy_run(half)
    steps = {int(path.name) for path in (run_path(half) / "checkpoints").iterdir()}
    assert steps == {3, 9, 12}


# steps that are not finite


def test_a_step_that_is_not_finite_ends_the_run_and_keeps_the_last_good_state(tmp_path, straight):
    output = tmp_path / "model"
    with pytest.raises(FloatingPointError) as stopped:
        toy_run(output, task={"faults": {8: math.nan}})
    said = str(stopped.value)
    assert "Training stopped at step 8: the loss is nan and the norm of its gradient nan" in said
    assert "8-0.wav, 8-1.wav, 8-2.wav, 8-3.wav" in said and "checkpoint is that of step 6" in said
    assert "--skip-nonfinite" in said and latest_checkpoint(run_path(output) / "checkpoints") == 6
    # What was wrong was not in the recordings.
    toy_run(output)
    assert outcome(output) == outcome(straight)


def test_steps_that_are_not_finite_are_skipped_and_counted(tmp_path, straight):
    faults = {2: math.inf, 8: math.nan}
    for name, dispatch in (("single", 1), ("several", 3)):
        output, changes = tmp_path / name, {"steps_per_dispatch": dispatch, "skip_nonfinite": True}
        toy_run(output, task={"faults": faults}, steps=7, **changes)
        _, said = toy_run(output, task={"faults": faults}, **changes)
        assert "step 12: train" in said and "2 steps skipped" in said and " 2 skipped" in said
        assert logged(output, "train/skipped_steps") == {2: 1, 8: 2}
        assert list(logged(output, "train/loss")) == [1, 3, 4, 5, 6, 7, 9, 10, 11, 12]
        assert selected(output)["skipped_steps"] == (1 if selected(output)["step"] < 8 else 2)
    (one, place), (two, same_place) = map(last_state, (tmp_path / "single", tmp_path / "several"))
    assert place == same_place
    # Several steps are another program, whose sums may be rounded otherwise.
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    others, _ = last_state(straight)
    assert not all(np.allclose(a, b, atol=1e-2) for a, b in zip(one, others, strict=True))
    # A run without such a step is the same to the bit.
    toy_run(tmp_path / "finite", skip_nonfinite=True)
    assert outcome(tmp_path / "finite") == outcome(straight)


def test_too_many_skipped_steps_in_a_row_end_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(_loop, "_MOST_SKIPPED", 3)

    def skipping(name, *steps):
        faults = dict.fromkeys(steps, math.nan)
        return toy_run(tmp_path / name, task={"faults": faults}, skip_nonfinite=True)[0]

    assert skipping("goes_on", 2, 3, 5, 6, 8).finished
    with pytest.raises(
        FloatingPointError, match=r"at step 7: 3 steps in a row .* 7-0\.wav"
    ) as ended:
        skipping("ends", 1, 5, 6, 7)
    assert "--skip-nonfinite" not in str(ended.value)


def test_a_skipped_step_changes_nothing_but_the_number_of_steps():
    _, start, optimizer, step, _ = programs(1.0)
    batches = ToyBatches({2: math.nan})
    state, _ = step(start_of(start, optimizer), next(batches))
    before = jax.tree.map(np.array, (state.params, state.opt_state, state.rest))
    after, report = step(state, next(batches))
    assert math.isnan(report.loss) and int(after.step) == 2
    after = (after.params, after.opt_state, after.rest)
    for one, two in zip(*map(jax.tree.leaves, (before, after)), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("valid", ["without a valid split", "with a valid split"])
def test_a_diverged_state_never_becomes_a_checkpoint(tmp_path, monkeypatch, valid):
    """The loss and the gradient of step 2 are finite, and the state after it is not."""
    if valid == "without a valid split":
        monkeypatch.setattr(_Run, "_measured", lambda self, log: None)
    for _ in range(2):
        with pytest.raises(FloatingPointError, match="at step 2: the weights are not finite; the"):
            toy_run(tmp_path / "model", task={"growth": 1e30}, evaluate_every=1)
        assert latest_checkpoint(run_path(tmp_path / "model") / "checkpoints") == 1
        assert selected(tmp_path / "model")["step"] == 1


def test_a_loss_on_the_valid_split_that_is_not_finite_is_never_the_best(tmp_path, monkeypatch):
    monkeypatch.setattr("toy_run.VALID", np.full_like(VALID, math.nan))
    with pytest.raises(FloatingPointError, match="step 3: the loss on the valid split is nan"):
        toy_run(tmp_path / "model")
    result, _ = toy_run(tmp_path / "model", skip_nonfinite=True)
    assert result == (12, (0, None), True) and not (tmp_path / "model").exists()


# ending


def test_an_evaluation_is_left_at_once_and_made_up_for(tmp_path, straight, monkeypatch):
    output, seen = tmp_path / "model", []

    def interrupted(batches):
        for batch in batches:
            seen.append(batch)
            if len(seen) in (2, 18):  # in the evaluations of the third and the last step
                signal.raise_signal(signal.SIGTERM)
            yield batch

    monkeypatch.setattr("toy_run.VALID", _Interrupted(VALID, interrupted))
    for step, ended in ((3, False), (12, False), (12, True)):
        result, _ = toy_run(output)
        assert (result.step, result.finished) == (step, ended)
        assert result.best.step == (0 if step == 3 else 12 if ended else 3)
    assert outcome(output) == outcome(straight)
    assert logged(output, "valid/loss") == logged(straight, "valid/loss")


class _Interrupted:
    def __init__(self, batches, through):
        self._batches, self._through = batches, through

    def __iter__(self):
        return self._through(self._batches)


def test_a_second_signal_ends_the_process(tmp_path, monkeypatch):
    """The handlers after the first one are those that end it at once."""
    found, step = [], _Run.step

    def signalled(self, log):
        step(self, log)
        if self.taken == 4:
            signal.raise_signal(signal.SIGTERM)
            found.extend(map(signal.getsignal, (signal.SIGTERM, signal.SIGINT)))

    before = list(map(signal.getsignal, (signal.SIGTERM, signal.SIGINT)))
    monkeypatch.setattr(_Run, "step", signalled)
    assert toy_run(tmp_path / "model")[0].step == 4
    assert found == [signal.SIG_DFL, before[1]]
    assert list(map(signal.getsignal, (signal.SIGTERM, signal.SIGINT))) == before


def test_steps_of_the_wall_clock_change_nothing(tmp_path, straight, monkeypatch):
    hours = itertools.cycle([0, 5, -7, 100])
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600 * next(hours))
    toy_run(tmp_path / "model", max_minutes=30.0)
    assert outcome(tmp_path / "model") == outcome(straight)


def test_the_choice_to_skip_is_checked_and_may_change():
    for wrong in (1, "yes", None):
        config = RunConfig()
        object.__setattr__(config, "skip_nonfinite", wrong)
        with pytest.raises(TypeError, match="`skip_nonfinite` must be True or False, got"):
            config.__post_init__()
    assert RunConfig(skip_nonfinite=True).difference(RunConfig().to_json()) is None
