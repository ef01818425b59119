"""Reading tables by products of matrices, which a TPU does, computed here too."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import noise, quick_jit

from ddspx import core
from ddspx.core import _lookup

# Entries, blocks, places of each, weights, and whether all blocks read one table: a single entry;
# rows that are not full, and several rounds, of which the last is; more rows than products have.
CASES = [(1, 3, 2, 2, True), (37, 5, 4, 2, False), (260, 7, 3, 4, False), (17000, 2, 9, 4, True)]


@pytest.mark.parametrize(("entries", "blocks", "places", "width", "shared"), CASES)
def test_sums_and_their_derivatives_are_those_of_a_loop(
    entries, blocks, places, width, shared, monkeypatch
):
    monkeypatch.setattr(_lookup, "PLACES_AT_ONCE", 2 * places)
    tables = noise(2, 1 if shared else blocks, entries)
    first = np.random.default_rng(0).integers(0, entries, (2, blocks, places))
    first[:, -1, -1] = entries - 1
    weights, slopes = noise(width, *first.shape, seed=1), noise(*first.shape, seed=2)
    index = (first + np.arange(width).reshape(-1, 1, 1, 1)) % entries
    batch, block = np.arange(2)[:, None, None], np.zeros_like(first)
    block = block if shared else block + np.arange(blocks)[:, None]
    taken = tables[batch, block, index]
    d_tables = np.zeros_like(tables)
    np.add.at(d_tables, (batch, block, index), weights * slopes)
    expected = [(weights * taken).sum(0), d_tables, *(taken * slopes)]

    @quick_jit
    def run(tables, first, weights, slopes):
        out, transpose = jax.vjp(lambda t, w: _lookup.weighted_sums(t, first, w), tables, weights)
        return jax.tree.leaves((out, transpose(slopes)))

    actual = run(tables, first.astype(np.int32), list(weights), slopes)
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13 * width, rtol=1e-13)


@pytest.mark.parametrize("name", ["wavetable", "wavetables", "band-limited", "delay", "cubic"])
def test_a_tpu_gathers_nothing(name):
    rates = {"hop_length": 8, "sample_rate": 8000}
    wavetable = partial(core.wavetable_synthesis, **rates)
    delay = partial(core.variable_delay, max_delay=20)
    frames, audio, table = np.ones((2, 4)), np.ones((2, 50)), np.ones((2, 16))
    function, arrays = {
        "wavetable": (wavetable, (frames, frames, table)),
        "wavetables": (wavetable, (frames, frames, np.ones((2, 4, 16)))),
        "band-limited": (partial(wavetable, band_limited=True), (frames, frames, table)),
        "delay": (delay, (audio, audio)),
        "cubic": (partial(delay, interpolation="cubic"), (audio, audio)),
    }[name]

    def slope(*arrays):
        return jax.grad(lambda *xs: jnp.sum(function(*xs) ** 2), tuple(range(len(arrays))))(*arrays)

    traced = jax.jit(slope).trace(*arrays)
    cpu, tpu = (traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "tpu"))
    assert "stablehlo.gather" in cpu and "stablehlo.dot_general" not in cpu
    assert "gather" not in tpu and "scatter" not in tpu and "stablehlo.dot_general" in tpu
