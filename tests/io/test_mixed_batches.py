"""Batches from several datasets: shares, references that share no sample, exact resumption."""

import json
from itertools import islice

import numpy as np
import pytest

from ddspx import io

pytest.importorskip("grain", reason="the train extra is not installed")

HOP, RATE, EXAMPLE = 4, 80, 40
# Hops of each stretch of the train split. Records own 32 examples, so the first has several.
LONG, SHORT = (700, 12, 30), (10, 30)


def dataset(folder, stretches, **changes):
    """Samples are their own positions; stretches lie 10,000 apart."""
    options = {"sample_rate": RATE, "hop_length": HOP, "example_length": EXAMPLE} | changes
    with io.DatasetWriter(folder, **options) as writer:
        for number, n_hops in enumerate(stretches):
            audio = np.arange(n_hops * HOP, dtype=np.float32) + 10_000 * number
            frames = np.arange(n_hops + 1, dtype=np.float32)
            writer.add("train", io.Segment(audio, frames, frames, frames), source=number)
        sources = [io.Source(f"{i}.wav", "0", 1.0, 1.0) for i in range(len(stretches))]
        facts = {"feature_version": "1", "licence": "", "attribution": "", "statistics": {}}
        writer.finish(**facts, sources=sources)
    return folder


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    folders = [tmp_path_factory.mktemp(name) for name in ("long", "short")]
    return [dataset(*each) for each in zip(folders, (LONG, SHORT), strict=True)]


def drawn(datasets, n_batches, *, state=None, **options):
    batches = io.mixed_batches(datasets, **{"batch_size": 8, "seed": 0} | options)
    if state is not None:
        batches.set_state(state)
    return list(islice(batches, n_batches)), batches.get_state()


def test_a_reference_shares_no_sample_with_its_example(datasets):
    batches, _ = drawn(datasets, 150)
    far = 0
    for batch in batches:
        assert batch.examples.audio.shape == batch.reference.shape == (8, EXAMPLE)
        np.testing.assert_array_equal(np.diff(batch.reference, axis=1), 1.0)
        distance = np.abs(batch.examples.audio[:, 0] - batch.reference[:, 0])
        assert (distance >= EXAMPLE).all()
        far += np.sum(distance > 9_000)
    # References come from every stretch, also from others than the example's.
    assert far > 100


def test_both_come_from_the_dataset_that_the_source_names(datasets):
    limits = np.array([10_000 * len(LONG), 10_000 * len(SHORT)])
    for batch in drawn(datasets, 20)[0]:
        assert (batch.examples.audio[:, -1] < limits[batch.source]).all()
        short = batch.source == 1
        assert (batch.reference[short, -1] % 10_000 < 30 * HOP).all()


@pytest.mark.parametrize("weights, expected", [(None, (4, 4)), ((3.0, 1.0), (6, 2))])
def test_each_batch_holds_the_shares_of_the_weights(datasets, weights, expected):
    for batch in drawn(datasets, 10, weights=weights)[0]:
        np.testing.assert_array_equal(np.bincount(batch.source, minlength=2), expected)


def test_examples_begin_anywhere_with_equal_probability(datasets):
    batches, _ = drawn(datasets[:1], 400)
    starts = np.concatenate([batch.examples.audio[:, 0] for batch in batches])
    first = starts[starts < 10_000] / ((LONG[0] - 10) * HOP)
    quarters = np.histogram(first, bins=4, range=(0, 1))[0] / first.size
    np.testing.assert_allclose(quarters, 0.25, atol=0.04)
    shares = np.bincount((starts // 10_000).astype(int)) / starts.size
    np.testing.assert_allclose(shares, np.array(LONG) / sum(LONG), atol=0.02)


def test_a_saved_place_gives_the_batches_that_followed(datasets):
    _, state = drawn(datasets, 3)
    (fourth,) = drawn(datasets, 1, state=json.loads(json.dumps(state)))[0]
    again = drawn(datasets, 4)[0][3]
    for left, right in zip([*fourth[0], *fourth[1:]], [*again[0], *again[1:]], strict=True):
        np.testing.assert_array_equal(left, right)
    with pytest.raises(ValueError, match="saved with shares"):
        drawn(datasets, 1, state=state, weights=(2.0, 1.0))


def test_processes_read_parts_of_the_same_batches_and_name_their_recordings(datasets):
    whole = io.mixed_batches(datasets, batch_size=8, seed=3)
    parts = [
        io.mixed_batches(datasets, batch_size=8, seed=3, process_index=index, process_count=4)
        for index in range(4)
    ]
    for step in range(1, 6):
        batch, read = next(whole), [next(part) for part in parts]
        for name in ("reference", "source"):
            joined = np.concatenate([getattr(part, name) for part in read])
            np.testing.assert_array_equal(joined, getattr(batch, name))
        joined = np.concatenate([part.examples.audio for part in read])
        np.testing.assert_array_equal(joined, batch.examples.audio)
        expected = {
            f"{datasets[source]}: {int(first) // 10_000}.wav"
            for sounds in (batch.examples.audio, batch.reference)
            for source, first in zip(batch.source, sounds[:, 0], strict=True)
        }
        assert set(whole.recordings(step)) == set(parts[1].recordings(step)) == expected
    assert parts[3].get_state() == whole.get_state()


def test_bad_arguments_are_named(datasets, tmp_path):
    with pytest.raises(ValueError, match="`datasets` must hold at least one"):
        drawn([], 1)
    for weights in ((1.0,), (1.0, 0.0), (1.0, float("nan"))):
        with pytest.raises(ValueError, match="`weights` must be 2 numbers above 0"):
            drawn(datasets, 1, weights=weights)
    (tmp_path / "brief").mkdir()
    with pytest.raises(io.DatasetError, match="too little for an example beside its reference"):
        drawn([dataset(tmp_path / "brief", (15,))], 1)
    (tmp_path / "other").mkdir()
    other = dataset(tmp_path / "other", LONG, sample_rate=2 * RATE)
    with pytest.raises(ValueError, match="must have the same `sample_rate`"):
        drawn([datasets[0], other], 1)
