"""What `bench_accelerators.py` compiles and `device.py` runs: 16 sounds of 4 s at 16 kHz, hop 64.

Each is ours beside the textbook: the definition in a few lines of jax.numpy, and the derivative
that JAX makes of it.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

# What the tests compile too.
sys.path.append(str(Path(__file__).parents[1] / "accelerators"))

from steps import PRESETS as PRESETS, any_instrument_step, autoencoder_step

from ddspx import core, nn
from ddspx.models.autoencoder import AutoencoderConfig

BATCH, RATE, HOP = 16, 16000, 64
SAMPLES = 4 * RATE
FRAMES = 1 + SAMPLES // HOP
ROOM, FEATURES, TABLE, MAX_DELAY = 48000, 256, 2048, 400
N_FFTS = (2048, 1024, 512, 256, 128, 64)


class Workload(NamedTuple):
    """A function of arrays, the textbook's, and the arrays."""

    ours: Callable
    textbook: Callable
    arguments: tuple[np.ndarray, ...]


def workloads() -> dict[str, Workload]:
    """The operations by name."""
    rng = np.random.default_rng(0)

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return rng.uniform(low, high, shape).astype(np.float32)

    audio = uniform(-1, 1, BATCH, SAMPLES), uniform(-1, 1, BATCH, SAMPLES)
    f0_hz, amplitudes = uniform(100, 1000, BATCH, FRAMES), uniform(0, 1, BATCH, FRAMES)
    partials, bands = uniform(0, 0.02, BATCH, FRAMES, 100), uniform(0, 1, BATCH, FRAMES, 65)
    room = uniform(-1, 1, ROOM) * np.exp(-np.arange(ROOM, dtype=np.float32) / 8000)
    cutoffs = jnp.asarray(uniform(200, 3000, BATCH, 4))
    sections = np.asarray(core.biquad(cutoffs, kind="peak", sample_rate=RATE, gain_db=6.0))
    rates = {"hop_length": HOP, "sample_rate": RATE}
    graph, state = nnx.split(nn.Gru(FEATURES, FEATURES, rngs=nnx.Rngs(0)))
    weights, tree = jax.tree.flatten(nnx.to_pure_dict(state))
    frames = uniform(-1, 1, BATCH, FRAMES, FEATURES)

    def gru(frames: jax.Array, *weights: jax.Array) -> jax.Array:
        return nnx.merge(graph, jax.tree.unflatten(tree, weights))(frames)[0]

    key = jax.random.key(0)
    return {
        "harmonic_synthesis, 100": Workload(
            partial(core.harmonic_synthesis, **rates),
            textbook_harmonics,
            (f0_hz, amplitudes, partials),
        ),
        "filtered_noise, 65": Workload(
            partial(core.filtered_noise, key, hop_length=HOP), textbook_noise, (bands,)
        ),
        "convolution_reverb, 48,000": Workload(
            core.convolution_reverb, textbook_reverb, (audio[0], room)
        ),
        "sos_filter, 4": Workload(core.sos_filter, textbook_sections, (audio[0], sections)),
        "multi_scale_spectral_loss, 6 sizes": Workload(
            partial(core.multi_scale_spectral_loss, n_ffts=N_FFTS), textbook_loss, audio
        ),
        "mel_spectral_loss, 6 sizes": Workload(
            partial(core.mel_spectral_loss, sample_rate=RATE, n_ffts=N_FFTS), textbook_mel, audio
        ),
        "loudness_db": Workload(partial(core.loudness_db, **rates), textbook_loudness, (audio[0],)),
        "Gru, 256": Workload(gru, textbook_gru, (frames, *map(np.asarray, weights))),
        "wavetable_synthesis, 2,048": Workload(
            partial(core.wavetable_synthesis, **rates),
            textbook_wavetable,
            (f0_hz, amplitudes, uniform(-1, 1, BATCH, TABLE)),
        ),
        **_delays(audio[0], uniform(0, MAX_DELAY, BATCH, SAMPLES)),
    }


def _delays(*arrays: np.ndarray) -> dict[str, Workload]:
    ours = partial(core.variable_delay, max_delay=MAX_DELAY)
    return {"variable_delay, 400": Workload(ours, textbook_delay, arrays)}


def gradient(f: Callable, n_arrays: int) -> Callable:
    """The gradient of the sum of squares, in all arrays."""

    def total(*arrays: Any) -> jax.Array:
        return sum(jnp.sum(jnp.abs(x) ** 2) for x in jax.tree.leaves(f(*arrays)))

    return jax.grad(total, argnums=tuple(range(n_arrays)))


def training(preset: str) -> tuple[Callable, Any, Any]:
    """The training step of an autoencoder, and the shapes of its state and its batch."""
    config = getattr(AutoencoderConfig, preset)(sample_rate=RATE, hop_length=HOP)
    make = any_instrument_step if preset == "any_instrument" else autoencoder_step
    return make(config, batch_size=BATCH, n_hops=FRAMES - 1)


def _between(frames: jax.Array) -> jax.Array:
    """The values of each hop's samples, linear, on an axis after that of the hops."""
    w = (np.arange(HOP, dtype=np.float32) / HOP).reshape(-1, *(1,) * (frames.ndim - 2))
    return (1 - w) * frames[:, :-1, None] + w * frames[:, 1:, None]


def textbook_harmonics(f0_hz: Any, amplitudes: Any, distribution: Any) -> jax.Array:
    """A sine for each harmonic; everything is linear between frames."""
    hz = _between(f0_hz)
    phase = jnp.cumsum(hz.reshape(BATCH, -1) * (2 * np.pi / RATE), axis=-1).reshape(hz.shape)
    k = np.arange(1, distribution.shape[-1] + 1, dtype=np.float32)
    gains = _between(amplitudes[..., None] * distribution)
    audible = jnp.where(hz[..., None] * k < RATE / 2, gains, 0)
    return jnp.sum(audible * jnp.sin(phase[..., None] * k), axis=-1).reshape(BATCH, -1)


def textbook_noise(magnitudes: Any) -> jax.Array:
    """DDSP's: white noise in frames, filtered by FFT, added where they overlap."""
    n_taps = 2 * (magnitudes.shape[-1] - 1)
    window = np.hanning(n_taps + 1)[:-1].astype(np.float32)
    taps = jnp.roll(jnp.fft.irfft(magnitudes), n_taps // 2, axis=-1) * window
    noise = jax.random.uniform(jax.random.key(0), (BATCH, FRAMES, HOP), minval=-1, maxval=1)
    n_fft = 256
    rows = jnp.fft.irfft(jnp.fft.rfft(noise, n_fft) * jnp.fft.rfft(taps, n_fft))
    parts = rows.reshape(BATCH, FRAMES, n_fft // HOP, HOP)
    total = jnp.zeros((BATCH, FRAMES + n_fft // HOP, HOP))
    for i in range(n_fft // HOP):
        total = total.at[:, i : i + FRAMES].add(parts[:, :, i])
    return total.reshape(BATCH, -1)[:, n_taps // 2 :][:, :SAMPLES]


def textbook_reverb(audio: Any, room: Any) -> jax.Array:
    """One FFT of the next power of two over all."""
    n_fft = 2 ** (SAMPLES + ROOM - 2).bit_length()
    spectrum = jnp.fft.rfft(audio, n_fft) * jnp.fft.rfft(room, n_fft)[None]
    return audio + jnp.fft.irfft(spectrum, n_fft)[:, :SAMPLES]


def textbook_sections(audio: Any, sections: Any) -> jax.Array:
    """Sample by sample, in the transposed direct form II."""
    b0, b1, b2, a0, a1, a2 = jnp.moveaxis(sections, -1, 0)

    def step(state: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        after = []
        for i, (s, t) in enumerate(state):
            y = (b0[:, i] * x + s) / a0[:, i]
            after.append((b1[:, i] * x - a1[:, i] * y + t, b2[:, i] * x - a2[:, i] * y))
            x = y
        return after, x

    rest = [(jnp.zeros(BATCH), jnp.zeros(BATCH))] * sections.shape[1]
    return jax.lax.scan(step, rest, audio.T)[1].T


def _magnitudes(audio: Any, n_fft: int, hop_length: int) -> jax.Array:
    starts = np.arange(0, SAMPLES, hop_length)[:, None] + np.arange(n_fft)
    padded = jnp.pad(audio, [(0, 0), (n_fft // 2, n_fft)])
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    return jnp.abs(jnp.fft.rfft(padded[:, starts] * window))


def textbook_loss(target: Any, predicted: Any) -> jax.Array:
    """DDSP's: the distances of magnitudes and of their logarithms."""
    total = 0.0
    for n_fft in N_FFTS:
        a, b = (_magnitudes(x, n_fft, n_fft // 4) for x in (target, predicted))
        total += jnp.mean(jnp.abs(a - b)) + jnp.mean(jnp.abs(jnp.log(a + 1e-5) - jnp.log(b + 1e-5)))
    return total


def textbook_mel(target: Any, predicted: Any) -> jax.Array:
    """The mean distance of logarithms."""
    total = 0.0
    for n_fft in N_FFTS:
        sizes = {"n_mels": 5 * n_fft // 32, "n_fft": n_fft, "sample_rate": RATE}
        filters = core.mel_filterbank(**sizes, norm=None, dtype=np.float32).T
        a, b = (_magnitudes(x, n_fft, n_fft // 4) @ filters for x in (target, predicted))
        total += jnp.mean(jnp.abs(jnp.log(a + 1e-5) - jnp.log(b + 1e-5)))
    return total / len(N_FFTS)


def textbook_wavetable(f0_hz: Any, amplitudes: Any, tables: Any) -> jax.Array:
    """Two entries of each example's table for each sample."""
    hz = _between(f0_hz).reshape(BATCH, -1)
    position = (jnp.cumsum(hz, axis=-1) - hz) / RATE % 1 * TABLE
    return _between(amplitudes).reshape(hz.shape) * _linear(tables, position)


def textbook_delay(audio: Any, delay: Any) -> jax.Array:
    """Two samples of the past for each sample."""
    past = jnp.pad(audio, [(0, 0), (MAX_DELAY + 1, 0)])
    return _linear(past, np.arange(MAX_DELAY + 1, MAX_DELAY + 1 + SAMPLES) - delay)


def _linear(tables: Any, position: jax.Array) -> jax.Array:
    entry = jnp.floor(position).astype(jnp.int32)
    before, after = (
        jnp.take_along_axis(tables, (entry + i) % tables.shape[-1], axis=-1) for i in (0, 1)
    )
    return before + (position - entry) * (after - before)


def textbook_loudness(audio: Any) -> jax.Array:
    """The mean power of weighted bins, in dB."""
    n_fft = 512
    weights = np.ones(n_fft // 2 + 1, np.float32)
    power = jnp.mean(_magnitudes(audio, n_fft, HOP) ** 2 * weights, axis=-1)
    return 10 * jnp.log10(jnp.maximum(power, 1e-10))


def textbook_gru(frames: Any, bias: Any, kernel: Any, recurrent_kernel: Any) -> jax.Array:
    """A scan over frames, and the derivative that JAX makes of it."""

    def step(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        xz, xr, xn = jnp.split(x @ kernel + bias[0], 3, axis=-1)
        qz, qr, qn = jnp.split(h @ recurrent_kernel + bias[1], 3, axis=-1)
        z, r = jax.nn.sigmoid(xz + qz), jax.nn.sigmoid(xr + qr)
        h = (1 - z) * jnp.tanh(xn + r * qn) + z * h
        return h, h

    start = jnp.zeros((BATCH, FEATURES))
    return jnp.moveaxis(jax.lax.scan(step, start, jnp.moveaxis(frames, 1, 0))[1], 0, 1)
