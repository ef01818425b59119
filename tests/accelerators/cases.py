"""Every public operation of `core` and `nn`, to compile.

They are small: whether a program compiles hardly depends on the sizes. Real sizes are those of the
benchmark `accelerators`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import test_contracts as contracts
import test_streams as streams
from flax import nnx

from ddspx import core, nn


class Case(NamedTuple):
    """A function, and the arrays or shapes to compile it for."""

    function: Callable
    arguments: tuple[Any, ...]


def with_gradient(function: Callable) -> Callable:
    """The results of a function, and the gradient of their sum of squares in all its arguments."""

    def both(*arguments):
        def total(arguments):
            leaves = jax.tree.leaves(results := function(*arguments))
            floats = [x for x in leaves if jnp.issubdtype(x.dtype, jnp.inexact)]
            return sum(jnp.sum(jnp.abs(x) ** 2) for x in floats), results

        return jax.grad(total, has_aux=True)(arguments)

    return both


def shapes(tree: Any) -> Any:
    """Float32 in place of every float, as users have them."""

    def shape(x):
        x = jnp.asarray(x)
        is_real = jnp.issubdtype(x.dtype, jnp.floating)
        return jax.ShapeDtypeStruct(x.shape, jnp.float32 if is_real else x.dtype)

    return jax.tree.map(shape, tree)


def _core() -> dict[str, Case]:
    """The functions of arrays, those that draw from a key, and the steps of streams."""
    found = {
        name: Case(with_gradient(function) if differentiable else function, arguments)
        for name, (function, arguments, differentiable, _) in contracts.CASES.items()
    }
    audio, frames, key = contracts.AUDIO, np.ones((2, 4, 5)), jax.random.key(0)
    masks = {"n_time_masks": 1, "time_width": 2, "n_frequency_masks": 1, "frequency_width": 2}
    room = {"n_samples": 40, "sample_rate": 8000}
    drawn = {
        "exponential_reverb_ir": (partial(core.exponential_reverb_ir, **room), (np.ones(2),)),
        "filtered_noise": (partial(core.filtered_noise, hop_length=8), (frames,)),
        "filtered_noise_reverb_ir": (
            partial(core.filtered_noise_reverb_ir, hop_length=8),
            (frames,),
        ),
        "mixup": (core.mixup, (audio, frames[:, 0])),
        "spec_augment": (partial(core.spec_augment, **masks), (frames,)),
        "time_shift": (partial(core.time_shift, max_shift=4), (audio,)),
    }
    for name, (function, arguments) in drawn.items():
        found[name] = Case(with_gradient(partial(function, key)), arguments)
    found["white_noise"] = Case(lambda: core.white_noise(key, (2, 40)), ())
    for name, (init, made_of, step, given, options) in streams.STREAMS.items():
        found[f"{name}_step"] = Case(step, (init(*made_of, **options), *given))
    return found


def _module(make: Callable[[], nnx.Module], *inputs: Any) -> Case:
    """The call of a module, and its gradient in the weights and the inputs."""
    graph, state = nnx.split(make())

    def call(state, *inputs):
        return nnx.merge(graph, state)(*inputs)

    return Case(with_gradient(call), (nnx.to_pure_dict(state), *inputs))


def _nn() -> dict[str, Case]:
    rngs, audio = nnx.Rngs(0), np.zeros((2, 800), np.float32)
    frames = tuple(np.zeros((2, 6, n), np.float32) for n in (1, 1, 3))
    rates = {"sample_rate": 8000, "hop_length": 40}
    room, bands = {"sample_rate": 8000, "rngs": rngs}, {"n_bands": 4, "n_fft": 512, **rates}
    found = {
        "Fc": _module(lambda: nn.Fc(3, 4, rngs=rngs), frames[2]),
        "FcStack": _module(lambda: nn.FcStack(3, 4, 2, rngs=rngs), frames[2]),
        "Gru": _module(lambda: nn.Gru(3, 4, rngs=rngs), frames[2]),
        "MinGru": _module(lambda: nn.MinGru(3, 4, rngs=rngs), frames[2]),
        "TapReverb": _module(lambda: nn.TapReverbConfig(90).build(**room), audio),
        "DecayingReverb": _module(
            lambda: nn.DecayingReverbConfig(300, early_length=50, n_bands=3).build(**room), audio
        ),
    }
    decoders = {
        "RnnFcDecoder": nn.RnnFcDecoderConfig(4, 4, 1),
        "DilatedConvDecoder": nn.DilatedConvDecoderConfig(4, stacks=1, layers_per_stack=2),
    }
    for name, config in decoders.items():
        found[name] = _module(partial(config.build, (1, 1, 3), 5, rngs=rngs), frames)
    synthesizers = {
        "HarmonicNoise": nn.HarmonicNoiseConfig(5, 4),
        "SinusoidalNoise": nn.SinusoidalNoiseConfig(5, 4),
        "WavetableNoise": nn.WavetableNoiseConfig(3, 5, 4),
    }
    for name, config in synthesizers.items():
        outputs = np.zeros((2, 6, config.n_outputs), np.float32)
        synthesizer = config.build(**rates, rngs=rngs)
        found[name] = _module(partial(_Heard, synthesizer), outputs, np.full((2, 6), 300.0))
    encoder = nn.ZEncoderConfig(nn.FrontendConfig.mfcc(**bands, n_mfcc=3), rnn_channels=3, z_size=2)
    found["ZEncoder"] = _module(partial(encoder.build, rngs=rngs), audio)
    pooled = nn.TimbreEncoderConfig(nn.FrontendConfig.learnable(**bands), 40, channels=3, z_size=2)
    found["TimbreEncoder"] = _module(partial(pooled.build, rngs=rngs), audio)
    stored = nn.StoredTimbreConfig(8000, 40, z_size=2)
    found["StoredTimbre"] = _module(partial(stored.build, rngs=rngs), audio)
    frontends = {
        name: getattr(nn.FrontendConfig, name)(**bands)
        for name in ("log_mel", "pcen_mel", "learnable", "leaf", "spectnet", "sincnet")
    }
    for filters in (nn.GaborFilters(), nn.SincFilters(n_taps=41), nn.FreeFilters()):
        frontends[type(filters).__name__] = nn.FrontendConfig(**bands, filters=filters)
    recurrent = nn.GammatoneFilters(path=nn.RecurrentPath())
    frontends["RecurrentPath"] = nn.FrontendConfig(**bands, filters=recurrent)
    for name, config in frontends.items():
        found[f"SpectralFrontend.{name}"] = _module(
            partial(nn.SpectralFrontend, config, rngs=rngs), audio
        )
    return found


class _Heard(nnx.Module):
    """A synthesizer as a function of the decoder's outputs and the pitch."""

    def __init__(self, synthesizer: Any):
        self.synthesizer = synthesizer

    def __call__(self, outputs: Any, f0_hz: Any) -> Any:
        controls = self.synthesizer.controls(outputs, f0_hz)
        return self.synthesizer(jax.random.key(0), controls)


CORE, NN = _core(), _nn()
