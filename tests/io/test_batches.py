import json
import sys
from itertools import islice

import numpy as np
import pytest
from scipy.stats import chisquare

from ddspx import io
from ddspx.io._draws import uniforms

pytest.importorskip("grain", reason="the train extra is not installed")

HOP, RATE, EXAMPLE = 4, 80, 40
STRETCHES = [("train", 0, 500), ("train", 1000, 30), ("train", 2000, 10), ("test", 3000, 39)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Samples are their own positions, so that a crop says where it came from."""
    folder = tmp_path_factory.mktemp("batches")
    with io.DatasetWriter(
        folder, sample_rate=RATE, hop_length=HOP, example_length=EXAMPLE
    ) as writer:
        for number, (split, first_hop, n_hops) in enumerate(STRETCHES):
            audio = np.arange(first_hop * HOP, (first_hop + n_hops) * HOP, dtype=np.float32)
            frames = np.arange(first_hop, first_hop + n_hops + 1, dtype=np.float32) * HOP
            segment = io.Segment(audio, frames, frames + 0.25, frames + 0.5)
            writer.add(split, segment, source=number)
        sources = [
            io.Source(f"{split}-{first}.wav", "0", 1.0, 1.0) for split, first, _ in STRETCHES
        ]
        facts = {"feature_version": "1", "licence": "", "attribution": "", "statistics": {}}
        writer.finish(**facts, sources=sources)
    return folder


def drawn(dataset, n_batches, *, batch_size=8, seed=0, state=None):
    batches = io.training_batches(dataset, batch_size=batch_size, seed=seed)
    if state is not None:
        batches.set_state(state)
    return list(islice(batches, n_batches))


def equal(left, right):
    arrays, others = (np.concatenate([np.concatenate(b, axis=1) for b in x]) for x in (left, right))
    return np.array_equal(arrays, others)


# --- values


def test_examples_are_aligned_to_the_sample_and_the_hop(dataset):
    for batch in drawn(dataset, 20):
        assert batch.audio.shape == (8, EXAMPLE)
        assert batch.f0_hz.shape == (8, 1 + EXAMPLE // HOP)
        assert all(array.dtype == np.float32 for array in batch)
        np.testing.assert_array_equal(batch.f0_hz[:, :-1], batch.audio[:, ::HOP])
        np.testing.assert_array_equal(batch.f0_confidence, batch.f0_hz + 0.25)
        np.testing.assert_array_equal(batch.loudness_db, batch.f0_hz + 0.5)
        np.testing.assert_array_equal(np.diff(batch.audio, axis=1), 1.0)


def test_evaluation_covers_every_example_once_in_order(dataset):
    for batch_size in (1, 3, 100):
        batches = list(io.evaluation_batches(dataset, split="train", batch_size=batch_size))
        firsts = np.concatenate([batch.audio[:, 0] for batch in batches])
        expected = [
            hop * HOP
            for split, first, n_hops in STRETCHES
            if split == "train"
            for hop in range(first, first + n_hops - 9, 10)
        ]
        np.testing.assert_array_equal(firsts, expected)
        assert all(len(batch.audio) == batch_size for batch in batches[:-1])


@pytest.mark.parametrize("most", [1, 2, 7, 10_000])
def test_evaluation_of_some_examples_spreads_them_evenly(dataset, most):
    """Of n examples in m equal parts, each chosen one holds the middle of its part."""
    (whole,) = io.evaluation_batches(dataset, split="train", batch_size=1000)
    n, n_chosen = len(whole.audio), min(most, len(whole.audio))
    batches = io.evaluation_batches(dataset, split="train", batch_size=3, most=most)
    assert len(batches) == -(-n_chosen // 3)
    for _ in range(2):  # once more from the beginning
        firsts = np.concatenate([batch.audio[:, 0] for batch in batches])
        middles = [int((i + 0.5) * n / n_chosen) for i in range(n_chosen)]
        np.testing.assert_array_equal(firsts, whole.audio[middles, 0])


def test_no_example_crosses_a_split(dataset):
    train = np.concatenate([batch.audio for batch in drawn(dataset, 30)])
    (test,) = io.evaluation_batches(dataset, split="test", batch_size=100)
    assert test.audio.shape[0] == 3
    assert not np.intersect1d(train, test.audio).size


# --- what is drawn


def test_examples_are_drawn_in_proportion_to_sound(dataset):
    firsts = np.concatenate([batch.audio[:, 0] for batch in drawn(dataset, 270, batch_size=20)])
    counts = np.array([np.sum(firsts < 4000), np.sum((firsts >= 4000) & (firsts < 8000))])
    # 5400 draws over 500 + 30 + 10 hops: 5000, 300, 100; an epoch is stratified.
    np.testing.assert_allclose([*counts, 5400 - counts.sum()], [5000, 300, 100], atol=40)
    starts = firsts[firsts < 4000] / HOP
    histogram = np.histogram(starts, bins=10, range=(0, 491))[0]
    np.testing.assert_allclose(histogram / len(starts), 0.1, atol=0.02)
    assert np.unique(starts).size > 480


def test_an_epoch_visits_all_parts(dataset):
    # 54 examples: one epoch; the long stretch's parts of 10 hops each give one crop.
    firsts = np.concatenate([b.audio[:, 0] for b in drawn(dataset, 12, batch_size=9)])
    epochs = firsts.reshape(2, 54)
    for epoch in np.sort(epochs):
        in_long = epoch[epoch < 4000] / HOP
        assert len(in_long) == 50 and np.diff(in_long).max() <= 20
    # The order is random, and differs from epoch to epoch.
    for epoch in epochs:
        assert 0.3 < np.mean(np.diff(epoch) > 0) < 0.7
    assert np.mean(np.argsort(epochs[0]) == np.argsort(epochs[1])) < 0.2


# --- transformations: place and seed


def test_draws_depend_on_seed_and_place_alone(dataset):
    assert equal(drawn(dataset, 10, seed=3), drawn(dataset, 10, seed=3))
    assert not equal(drawn(dataset, 10, seed=3), drawn(dataset, 10, seed=4))
    # The order of examples does not depend on how they are batched.
    small = np.concatenate([batch.audio for batch in drawn(dataset, 12, batch_size=2)])
    large = np.concatenate([batch.audio for batch in drawn(dataset, 4, batch_size=6)])
    np.testing.assert_array_equal(small, large)


@pytest.mark.parametrize("n_taken", [0, 1, 7, 50])
def test_resumes_exactly_from_json(dataset, n_taken):
    batches = io.training_batches(dataset, batch_size=8, seed=5)
    for _ in range(n_taken):
        next(batches)
    state = json.loads(json.dumps(batches.get_state()))
    ahead = list(islice(batches, 9))
    assert equal(drawn(dataset, 9, seed=5, state=state), ahead)
    # The same iterator can be set back, although it has prefetched later batches.
    batches.set_state(state)
    assert equal(list(islice(batches, 9)), ahead)


# --- processes, and names


@pytest.mark.parametrize("process_count", [1, 2, 4])
def test_processes_read_parts_of_the_same_batches(dataset, process_count):
    whole = io.training_batches(dataset, batch_size=8, seed=1)
    parts = [
        io.training_batches(
            dataset, batch_size=8, seed=1, process_index=index, process_count=process_count
        )
        for index in range(process_count)
    ]
    for _ in range(10):
        read = [next(part) for part in parts]
        assert all(len(batch.audio) == 8 // process_count for batch in read)
        joined = io.Batch(*map(np.concatenate, zip(*read, strict=True)))
        assert equal([joined], [next(whole)])
    assert all(part.get_state() == whole.get_state() for part in parts)
    # What one process saved, another number of processes goes on from.
    again = io.training_batches(dataset, batch_size=8, seed=1)
    again.set_state(json.loads(json.dumps(parts[-1].get_state())))
    assert equal([next(again)], [next(whole)])


def test_a_step_names_the_recordings_of_its_batch(dataset):
    batches = io.training_batches(dataset, batch_size=4, seed=2)
    some = io.training_batches(dataset, batch_size=4, seed=2, process_index=1, process_count=2)
    names = {0: "train-0.wav", 1: "train-1000.wav", 2: "train-2000.wav"}
    for step in range(1, 30):
        firsts = next(batches).audio[:, 0]
        expected = tuple(dict.fromkeys(names[int(first) // 4000] for first in firsts))
        assert batches.recordings(step) == some.recordings(step) == expected
    with pytest.raises(ValueError, match="`step` must be at least 1"):
        batches.recordings(0)


def test_numbers_are_counted_and_uniform():
    numbers = uniforms(7, 1, range(2**40, 2**40 + 10_000))
    assert numbers.shape == (10_000, 4) and 0 <= numbers.min() and numbers.max() < 1
    for at in (0, 1, 9_999):
        one = uniforms(7, 1, range(2**40 + at, 2**40 + at + 1))
        np.testing.assert_array_equal(one, numbers[at : at + 1])
    counts = [np.histogram(column, 20, (0, 1))[0] for column in numbers.T]
    assert chisquare(counts, axis=1).pvalue.min() > 1e-3
    assert np.abs(np.corrcoef(numbers.T) - np.eye(4)).max() < 0.04
    for seed, stream in ((8, 1), (7, 2)):
        other = uniforms(seed, stream, range(2**40, 2**40 + 10_000))
        assert abs(np.corrcoef(other[:, 0], numbers[:, 0])[0, 1]) < 0.04


# --- boundary errors


def test_bad_arguments_are_reported(dataset, tmp_path):
    with pytest.raises(ValueError, match="`batch_size` must be at least 1"):
        io.training_batches(dataset, batch_size=0, seed=0)
    with pytest.raises(ValueError, match="`seed` must be at least 0, got -1"):
        io.training_batches(dataset, batch_size=1, seed=-1)
    with pytest.raises(ValueError, match="`seed` must be from 0"):
        io.training_batches(dataset, batch_size=1, seed=2**32)
    with pytest.raises(ValueError, match="`batch_size` must be a multiple of `process_count`, 3"):
        io.training_batches(dataset, batch_size=8, seed=0, process_count=3)
    with pytest.raises(ValueError, match="`process_index` must be below `process_count`, 2, got 2"):
        io.training_batches(dataset, batch_size=8, seed=0, process_index=2, process_count=2)
    with pytest.raises(ValueError, match="`split` must be one of 'train'"):
        io.evaluation_batches(dataset, split="dev", batch_size=1)
    with pytest.raises(ValueError, match="`most` must be at least 1, got 0"):
        io.evaluation_batches(dataset, split="test", batch_size=1, most=0)
    with pytest.raises(io.DatasetError, match="no examples in its valid split"):
        io.evaluation_batches(dataset, split="valid", batch_size=1)
    with pytest.raises(io.DatasetError, match="is not a folder"):
        io.training_batches(tmp_path / "no", batch_size=1, seed=0)


@pytest.mark.parametrize("change", [{"seed": 1}, {"batch_size": 9}])
def test_state_of_other_batches_is_refused(dataset, change):
    settings = {"seed": 0, "batch_size": 8}
    state = io.training_batches(dataset, **settings).get_state()
    other = io.training_batches(dataset, **{**settings, **change})
    with pytest.raises(ValueError, match=f"saved with {next(iter(change))}"):
        other.set_state(state)


def test_a_missing_package_is_named(dataset, monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "ddspx\[train\]"'):
        io.training_batches(dataset, batch_size=1, seed=0)
    assert next(iter(io.evaluation_batches(dataset, split="test", batch_size=1)))
