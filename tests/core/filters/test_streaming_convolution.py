import re
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, check_grads, noise

from ddspx import core
from ddspx.core.filters import _streaming_convolution


@pytest.fixture
def short_partitions(monkeypatch):
    """Of 8 taps, and blocks from 24 samples on count as long."""
    monkeypatch.setattr(_streaming_convolution, "_LARGEST_PARTITION", 8)
    monkeypatch.setattr(_streaming_convolution, "_LONG_BLOCK", 3)


def streamed(audio, taps, cuts, **options):
    step = jax.jit(core.fft_convolve_step)
    state, out = core.fft_convolve_init(taps, **options), []
    for start, end in pairwise(cuts):
        state, block = step(state, audio[..., start:end], taps)
        out.append(block)
    return jnp.concatenate(out, axis=-1)


# One partition, exactly one and two, and several.
@pytest.mark.parametrize("taps", [1, 5, 8, 16, 17, 61])
def test_blocks_of_any_size_equal_the_convolution(taps, short_partitions):
    sizes = [1, 3, 4, 8, 5, 8, 17, 24, 2, 31, 6, 1, 8, 25]
    cuts = np.cumsum([0, *sizes])
    audio, responses = noise(2, cuts[-1]), noise(3, 1, taps, seed=1)
    whole = [[np.convolve(x, h)[: cuts[-1]] for x in audio] for h in responses[:, 0]]
    for batch_shape in ((2,), ()):
        out = streamed(
            jnp.asarray(audio), jnp.asarray(responses), cuts.tolist(), batch_shape=batch_shape
        )
        assert_close(out, whole, scale=30)


def test_derivatives_pass_through_the_state(short_partitions):
    def run(audio, taps):
        return streamed(audio, taps, [0, 5, 13, 40])

    check_grads(run, noise(40), noise(19, seed=1), order=1)


@pytest.mark.parametrize("samples", [64, 1024, 5000])
def test_a_step_transforms_its_block_and_partitions_only(samples):
    """No FFT over the whole response, which has 48,000 taps."""
    taps = jax.ShapeDtypeStruct((48_000,), jnp.float32)
    state = jax.eval_shape(core.fft_convolve_init, taps)
    block = jax.ShapeDtypeStruct((samples,), jnp.float32)
    text = jax.jit(core.fft_convolve_step).lower(state, block, taps).as_text()
    sizes = [int(n) for n in re.findall(r"length = (?:array<i64: |\[)(\d+)", text)]
    assert sizes and max(sizes) <= 2048


@pytest.mark.parametrize(("first", "then"), [(2048, 5120), (5120, 2048), (1000, 1024), (4, 5000)])
def test_a_state_of_a_filter_of_another_length_is_refused(first, then):
    state = core.fft_convolve_init(jnp.zeros(first))
    with pytest.raises(ValueError, match=f"`state` must be that of a filter of {then} taps"):
        core.fft_convolve_step(state, jnp.zeros(400), jnp.zeros(then))
