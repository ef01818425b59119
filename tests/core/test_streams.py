"""Chains of streams."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from helpers import DTYPES, assert_close, noise, quick_jit
from scipy.signal import lfilter

from ddspx import core

RATE = 1000
LIMITS = {"threshold_db": -6.0, "release_s": 0.02, "sample_rate": RATE, "lookahead_s": 0.004}
POLE = float(np.exp(-1 / (0.003 * RATE)))


class Mix(NamedTuple):
    """Controls that the parts of a chain share: a gain for each sample of a block."""

    gain: jax.Array


def smoothed_and_limited(dtype=DTYPES[-1], batch_shape=()) -> core.Stream:
    section = core.one_pole(jnp.asarray(0.003, dtype), sample_rate=RATE)[None]
    sizes = {"sample_rate": RATE, "lookahead_s": LIMITS["lookahead_s"]}

    def smooth(state, audio, mix):
        return core.sos_filter_step(state, audio, section)

    def limit(state, audio, mix):
        return core.limiter_step(state, audio, **LIMITS)

    return core.chain(
        core.Stream(partial(core.sos_filter_init, section, batch_shape=batch_shape), smooth),
        lambda audio, mix: mix.gain * audio,
        core.Stream(
            partial(core.limiter_init, **sizes, batch_shape=batch_shape, dtype=dtype), limit
        ),
    )


def offline(audio: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """The same for the whole sound, by SciPy and `core.limiter`, delayed by the look-ahead."""
    smooth = lfilter([1 - POLE], [1, -POLE], audio)
    limited = core.limiter(jnp.asarray(gain * smooth), **LIMITS)
    return np.concatenate([np.zeros((*audio.shape[:-1], 4)), limited], axis=-1)[..., :-4]


AUDIO, GAIN = 3 * noise(2, 60), 1 + noise(2, 60, seed=1) ** 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_of_a_chain_are_the_whole_of_its_parts(dtype):
    stream = smoothed_and_limited(dtype, batch_shape=(2,))
    audio, gain = (jnp.asarray(x, dtype) for x in (AUDIO, GAIN))

    @quick_jit
    def in_blocks(audio, gain):
        state, blocks = stream.init(), []
        for start, stop in ((0, 7), (7, 8), (8, 60)):
            part = slice(start, stop)
            state, block = stream.step(state, audio[:, part], Mix(gain[:, part]))
            blocks.append(block)
        return jnp.concatenate(blocks, axis=-1)

    out = in_blocks(audio, gain)
    assert out.dtype == dtype
    assert np.abs(out).max() > 0.5  # what is limited, is
    assert_close(out, offline(AUDIO, GAIN), scale=4)


def test_a_chain_works_under_scan_vmap_and_grad_and_its_state_can_be_donated():
    stream = smoothed_and_limited()
    blocks = [jnp.asarray(x, DTYPES[-1]).reshape(2, 6, 10) for x in (AUDIO, GAIN)]

    def one(audio, gain):
        return jax.lax.scan(
            lambda s, x: stream.step(s, x[0], Mix(x[1])), stream.init(), (audio, gain)
        )

    @quick_jit
    def everything(audio, gain):
        slope = jax.grad(lambda gain: jnp.sum(jax.vmap(one)(audio, gain)[1]))(gain)
        return jax.vmap(one)(audio, gain)[1], slope

    out, slope = everything(*blocks)
    assert_close(out.reshape(2, 60), offline(AUDIO, GAIN), scale=4)
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0

    donate = jax.jit(stream.step, donate_argnums=0)
    state = stream.init()
    for block in range(2):
        state, first = donate(state, blocks[0][0, block], Mix(blocks[1][0, block]))
    np.testing.assert_allclose(first, out[0, 1], rtol=1e-5, atol=1e-5)


def test_a_chain_is_a_part_of_a_chain():
    def counting(step):
        return core.Stream(lambda: jnp.zeros(()), lambda count, x: (count + 1, step(x, count)))

    parts = counting(jnp.add), lambda x: 2 * x, counting(jnp.multiply)
    flat = core.chain(*parts)
    for nested in (core.chain(core.chain(*parts[:2]), parts[2]), core.chain(core.chain(flat))):
        states = flat.init(), nested.init()
        for x in (3.0, 5.0):
            after, y = flat.step(states[0], x)
            nested_after, same = nested.step(states[1], x)
            states = after, nested_after
            assert y == same
    assert y == 2 * (5 + 1) * 1
    assert jax.tree.leaves(states[0]) == jax.tree.leaves(states[1]) == [2, 2]
    assert states[0] == (2, (), 2)


def test_objects_that_are_not_streams_are_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # which would answer first
    with pytest.raises(ValueError, match=r"`streams` must be one part or more, got none"):
        core.chain()
    with pytest.raises(TypeError, match=r"`streams\[1\]` must be a core.Stream or a function, got"):
        core.chain(jnp.sin, (tuple, lambda state, x: (state, x)))
