"""What every stream keeps: its state can be donated, from the first step on."""

import dataclasses
import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import DTYPES, noise, quick_jit
from toy_tracker import toy_tracker

from ddspx import core
from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig
from ddspx.nn import FrontendConfig, SinusoidalNoiseConfig, WavetableNoiseConfig, ZEncoderConfig

RATES = {"hop_length": 16, "sample_rate": 16000}
AUDIO = jnp.asarray(noise(2, 48), jnp.float32)
TAPS = jnp.asarray(noise(5), jnp.float32)
F0, ONES = jnp.full((2, 4), 440.0, jnp.float32), jnp.ones((2, 4), jnp.float32)
BANDS = jnp.ones((2, 4, 5), jnp.float32)
HZ = jnp.asarray([300.0, 900.0], jnp.float32)
SOS = jnp.asarray([[1.0, 0.5, 0.2, 1.0, -0.3, 0.1]], jnp.float32)
BATCH = {"batch_shape": (2,)}
DYNAMICS = {"threshold_db": -20.0, "release_s": 0.01, "sample_rate": 16000}
STREAMS = {
    # Its start, what it was made of, a step, and what the step is given.
    "allpole": (core.allpole_init, (TAPS[:2],), core.allpole_step, (AUDIO, TAPS[:2] / 9), BATCH),
    "compressor": (
        core.compressor_init,
        (),
        partial(core.compressor_step, **DYNAMICS, ratio=4.0, attack_s=0.001),
        (AUDIO,),
        BATCH,
    ),
    "fft_convolve": (core.fft_convolve_init, (TAPS,), core.fft_convolve_step, (AUDIO, TAPS), BATCH),
    "filtered_noise": (
        core.filtered_noise_init,
        (jax.random.key(0),),
        partial(core.filtered_noise_step, hop_length=16),
        (BANDS,),
        {},
    ),
    "gammatone_filter": (
        core.gammatone_filter_init,
        (HZ,),
        partial(core.gammatone_filter_step, sample_rate=16000),
        (AUDIO, HZ, HZ / 9),
        BATCH,
    ),
    "harmonic_synthesis": (
        core.harmonic_synthesis_init,
        (),
        partial(core.harmonic_synthesis_step, **RATES),
        (F0, ONES, BANDS),
        BATCH,
    ),
    "limiter": (
        partial(core.limiter_init, sample_rate=16000),
        (),
        partial(core.limiter_step, **DYNAMICS),
        (AUDIO,),
        BATCH,
    ),
    "pcen": (partial(core.pcen_init, initial="first"), (BANDS,), core.pcen_step, (BANDS, 0.5), {}),
    "convolution_reverb": (
        core.convolution_reverb_init,
        (TAPS,),
        core.convolution_reverb_step,
        (AUDIO, TAPS),
        BATCH,
    ),
    "sinusoidal_synthesis": (
        partial(core.sinusoidal_synthesis_init, n_sinusoids=5),
        (),
        partial(core.sinusoidal_synthesis_step, **RATES),
        (440 * BANDS, BANDS),
        BATCH,
    ),
    "sos_filter": (core.sos_filter_init, (SOS,), core.sos_filter_step, (AUDIO, SOS), BATCH),
    "variable_delay": (
        partial(core.variable_delay_init, max_delay=5),
        (),
        partial(core.variable_delay_step, max_delay=5),
        (AUDIO, jnp.full((2, 48), 2.5, jnp.float32)),
        BATCH,
    ),
    "wavetable_synthesis": (
        core.wavetable_synthesis_init,
        (),
        partial(core.wavetable_synthesis_step, **RATES),
        (F0, ONES, BANDS),
        BATCH,
    ),
}


def chain():
    parts = (STREAMS[name] for name in ("compressor", "variable_delay", "compressor"))
    compress, delay, again = (
        core.Stream(
            partial(init, **options), lambda s, x, step=step, more=more[1:]: step(s, x, *more)
        )
        for init, _, step, more, options in parts
    )
    stream = core.chain(compress, delay, jnp.tanh, again)
    return stream.init, (), stream.step, (AUDIO,), {}


def autoencoder():
    model = Autoencoder(AutoencoderConfig.tiny(), rngs=nnx.Rngs(0))
    return model.init, (jax.random.key(0),), model.step, (F0, -30 * ONES), BATCH


def pitch_model():
    model = toy_tracker()
    audio = jnp.zeros((2, 2 * model.config.hop_length), jnp.float32)
    return model.init, (), model.step, (audio,), BATCH


def buffers(tree):
    """Where each array of a tree lies."""
    arrays = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
    raw = [
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        for x in arrays
    ]
    return [x.unsafe_buffer_pointer() for x in raw if x.size]


def test_every_stream_of_the_core_is_tested():
    starts = {name for name in dir(core) if name.endswith("_init")}
    assert {f"{name}_init" for name in STREAMS} == starts
    assert all(inspect.isfunction(getattr(core, name)) for name in starts)


@pytest.mark.parametrize("name", [*STREAMS, "chain", "autoencoder", "pitch_model"])
def test_a_state_can_be_donated_from_the_first_step_on(name):
    makers = {"chain": chain, "autoencoder": autoencoder, "pitch_model": pitch_model}
    init, made_of, step, given, options = makers[name]() if name in makers else STREAMS[name]
    state = init(*made_of, **options)
    where = buffers(state)
    assert len(set(where)) == len(where)
    assert set(where).isdisjoint(buffers(made_of))
    donate = quick_jit(step, donate_argnums=0)

    def stream(state):
        for _ in range(2):
            state, out = donate(state, *given)
            yield jax.tree.map(np.asarray, out)

    # A second stream hears what the first did: nothing that both are made of was given away.
    for out, again in zip(stream(state), list(stream(init(*made_of, **options))), strict=True):
        jax.tree.map(np.testing.assert_array_equal, out, again)
    assert not any(x.is_deleted() for x in jax.tree.leaves(made_of) if isinstance(x, jax.Array))


def autoencoder_of(synthesizer):
    config = dataclasses.replace(AutoencoderConfig.tiny(), synthesizer=synthesizer)
    model = Autoencoder(config, rngs=nnx.Rngs(0))
    return model.init, (jax.random.key(0),), model.step, (F0, -30 * ONES), BATCH


def encoder():
    config = ZEncoderConfig(FrontendConfig.mfcc(), rnn_channels=8, z_size=4)
    model = config.build(rngs=nnx.Rngs(0))
    frames = 1 + 2 * (model.margin_frames() or 0)
    window = jnp.zeros((2, frames * config.hop_length), jnp.float32)
    return model.init, (), model.step, (window,), BATCH


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "make",
    [
        *(pytest.param(lambda stream=stream: stream, id=name) for name, stream in STREAMS.items()),
        autoencoder,
        partial(autoencoder_of, SinusoidalNoiseConfig()),
        partial(autoencoder_of, WavetableNoiseConfig()),
        encoder,
        pitch_model,
    ],
)
def test_a_step_keeps_the_shapes_and_dtypes_of_its_state(make, dtype):
    """So a scan can carry the state, in every dtype. Traced only."""

    def before_and_after():
        init, made_of, step, given, options = make()
        made_of, given = (
            jax.tree.map(
                lambda x: x.astype(dtype) if getattr(x, "dtype", None) == jnp.float32 else x, arrays
            )
            for arrays in (made_of, given)
        )
        if "dtype" in inspect.signature(init).parameters:
            options = {**options, "dtype": dtype}
        state = init(*made_of, **options)
        return state, *step(state, *given)

    before, after, out = jax.eval_shape(before_and_after)
    assert before == after
    assert all(x.dtype == jnp.result_type(dtype, x) for x in jax.tree.leaves(out))


@pytest.mark.parametrize("name", STREAMS)
def test_steps_accept_numpy_arrays(name):
    """Traced only."""
    init, made_of, step, given, options = STREAMS[name]
    arrays = [np.asarray(x) if isinstance(x, jax.Array) else x for x in given]

    def first(*blocks):
        return step(init(*made_of, **options), *blocks)

    assert jax.eval_shape(partial(first, *arrays)) == jax.eval_shape(partial(first, *given))
