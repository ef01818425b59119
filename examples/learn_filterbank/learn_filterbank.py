"""Find the filters of a teacher by gradient descent, from a mel filterbank.

A teacher computes the energies of noises and tones in a bank of filters, whose centres and
bandwidths were moved at random from those of the mel scale. A student starts on the mel scale and
learns to predict the logarithms of the teacher's energies. The script compares three
parametrizations of the student: that of `ddspx.nn.SpectralFrontend`, SpectNet's and LEAF's. Each
has a teacher with the same shape of filter, the same sounds and the same number of steps. The
script prints the distances of their centres from those of the teacher.
"""

import argparse
import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ddspx import core
from ddspx.nn import (
    FrontendConfig,
    GaborFilters,
    LeafFilters,
    SpectNetFilters,
    SpectralFrontend,
    StftPath,
    displacement_erb,
)

SAMPLE_RATE, N_FFT, N_BANDS = 16000, 1024, 40
FMIN, FMAX = 60.0, 7800.0
BINS = jnp.asarray(np.fft.rfftfreq(N_FFT, 1 / SAMPLE_RATE), jnp.float32)
FLOOR = 1e-6
SPECTNET_TAPS = 801


class Student(NamedTuple):
    """A parametrization: its initial parameters, its filters, and the filters of its teacher."""

    start: nnx.State
    weights: Callable[[nnx.State], jax.Array]
    centers_hz: Callable[[nnx.State], jax.Array]
    bank: Callable[[jax.Array, jax.Array], jax.Array]
    optimizer: optax.GradientTransformation


def sounds(rng: np.random.Generator, n_clips: int = 64) -> jax.Array:
    """Power spectra of noises with a few broad peaks, plus harmonic tones."""
    hz = np.linspace(0, SAMPLE_RATE / 2, 129)
    time_s = np.arange(SAMPLE_RATE // 4) / SAMPLE_RATE
    clips = []
    for i in range(n_clips):
        level_db = rng.uniform(-6, 2) * np.log2((hz + 100) / 1000)
        for _ in range(4):
            octaves = np.log2((hz + 1) / np.exp(rng.uniform(np.log(80), np.log(7000))))
            level_db += rng.uniform(-20, 20) * np.exp(-((octaves / rng.uniform(0.1, 1)) ** 2))
        spectrum = np.fft.rfft(rng.standard_normal(len(time_s)))
        bins_hz = np.fft.rfftfreq(len(time_s), 1 / SAMPLE_RATE)
        noise = np.fft.irfft(spectrum * np.interp(bins_hz, hz, 10 ** (level_db / 20)))
        f0_hz = np.exp(rng.uniform(np.log(80), np.log(800)))
        k = np.arange(1, int(7900 / f0_hz) + 1)
        tone = (np.sin(2 * np.pi * f0_hz * np.outer(time_s, k)) / k).sum(-1)
        clips.append(noise + (i % 2) * 10 ** rng.uniform(-1, 0.5) * noise.std() * tone)
    audio = jnp.asarray(np.stack(clips), jnp.float32)
    power = core.spectrogram(audio, n_fft=N_FFT, win_length=800, hop_length=400, power=2)
    power = power.reshape(-1, power.shape[-1])
    return power / jnp.mean(power)


def teacher(rng: np.random.Generator) -> tuple[jax.Array, jax.Array]:
    """Centres up to 0.7 ERB from those of the mel scale, bandwidths typically 35 % off; in Hz."""
    grid = core.frequency_grid(N_BANDS + 2, fmin=FMIN, fmax=FMAX, scale="mel")[1:-1]
    shifts = rng.uniform(-0.7, 0.7, N_BANDS) * np.asarray(core.hz_to_erb(jnp.asarray(grid)))
    centers_hz = jnp.asarray(np.sort(grid + shifts).clip(FMIN + 5, FMAX - 50), jnp.float32)
    widths = jnp.asarray(np.exp(0.3 * rng.standard_normal(N_BANDS)), jnp.float32)
    return centers_hz, core.hz_to_erb(centers_hz) * widths


def gammatone_bank(centers_hz: jax.Array, bandwidths_hz: jax.Array) -> jax.Array:
    """Weights on a power spectrum; positive and negative frequencies added."""

    def power(bins: jax.Array) -> jax.Array:
        bands = centers_hz, bandwidths_hz
        response = core.gammatone_response(bins, *bands, sample_rate=SAMPLE_RATE)
        return jnp.square(response.real) + jnp.square(response.imag)

    return power(BINS) + power(-BINS)


def gabor_bank(centers_hz: jax.Array, bandwidths_hz: jax.Array) -> jax.Array:
    """Weights on a power spectrum; positive and negative frequencies added."""
    responses = (core.gabor_response(f, centers_hz, bandwidths_hz) for f in (BINS, -BINS))
    return sum(jnp.square(response) for response in responses)


def spectnet_bank(f: jax.Array, bandwidths_hz: jax.Array) -> jax.Array:
    """Weights of SpectNet's filters on a power spectrum, with a gain of about 1."""
    beta = bandwidths_hz * 1.0186
    sizes = {"sample_rate": SAMPLE_RATE, "n_taps": SPECTNET_TAPS}
    taps = core.spectnet_impulse_response(f, beta, unit_amplitude(beta), **sizes)
    spectrum = jnp.fft.rfft(taps, N_FFT)
    return 2 * (jnp.square(spectrum.real) + jnp.square(spectrum.imag))


def unit_amplitude(beta: jax.Array) -> jax.Array:
    """SpectNet's amplitude for a gain of about 1; its authors use 1e4 at every sample rate."""
    return 2 * (2 * math.pi * beta) ** 4 / (6 * SAMPLE_RATE)


def student_of(
    config: FrontendConfig,
    bank: Callable[[jax.Array, jax.Array], jax.Array],
    optimizer: optax.GradientTransformation,
) -> Student:
    """The parametrization of a front-end of ddspx, with a teacher of the same filter shape."""
    model = SpectralFrontend(config, rngs=nnx.Rngs(0))
    if bank is spectnet_bank:
        model.bank.amplitudes[...] = unit_amplitude(model.bank.betas_hz[...])
    graph, start, rest = nnx.split(model, nnx.Param, ...)
    return Student(
        start,
        lambda params: nnx.merge(graph, params, rest).power_response(),
        lambda params: nnx.merge(graph, params, rest).centers_hz(),
        bank,
        optimizer,
    )


def errors_erb(student: Student, power: jax.Array, seed: int, steps: int) -> np.ndarray:
    """Distances of the sorted centres from the teacher's, before and after training."""
    truth_hz, bandwidths_hz = teacher(np.random.default_rng(10_000 + seed))
    target = jnp.log(power @ student.bank(truth_hz, bandwidths_hz).T + FLOOR)

    def loss(params):
        return jnp.mean((jnp.log(power @ student.weights(params).T + FLOOR) - target) ** 2)

    @jax.jit
    def descend(params):
        def step(carry, _):
            params, state = carry
            updates, state = student.optimizer.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, updates), state), None

        start = params, student.optimizer.init(params)
        return jax.lax.scan(step, start, None, length=steps)[0][0]

    def distance(params):
        found = jnp.sort(jnp.clip(student.centers_hz(params), 0, SAMPLE_RATE / 2))
        return np.asarray(displacement_erb(truth_hz, found))

    return np.stack([distance(student.start), distance(descend(student.start))])


def main(seeds: int, steps: int) -> None:
    """Prints a row for each student."""

    def adam(rate: float) -> optax.GradientTransformation:
        return optax.adam(optax.schedules.cosine_decay_schedule(rate, steps, 0.01))

    gammatone = FrontendConfig(
        sample_rate=SAMPLE_RATE, n_fft=N_FFT, n_bands=N_BANDS, fmin=FMIN, fmax=FMAX, scale="mel"
    )
    gabor = dataclasses.replace(gammatone, filters=GaborFilters())
    leaf = dataclasses.replace(gammatone, filters=LeafFilters(path=StftPath()))
    spectnet_filters = SpectNetFilters(n_taps=SPECTNET_TAPS, path=StftPath())
    spectnet = dataclasses.replace(gammatone, fmin=0.0, fmax=None, filters=spectnet_filters)
    # The learning rates of Adam are the best of three or four, by factors of three, on other seeds.
    students = {
        "ours, gammatone": student_of(gammatone, gammatone_bank, adam(0.03)),
        "ours, Gabor": student_of(gabor, gabor_bank, adam(0.03)),
        "SpectNet, SGD 0.1 as published": student_of(spectnet, spectnet_bank, optax.sgd(0.1)),
        "SpectNet, Adam": student_of(spectnet, spectnet_bank, adam(3.0)),
        "LEAF, Adam 1e-4 as published": student_of(leaf, gabor_bank, optax.adam(1e-4)),
        "LEAF, Adam": student_of(leaf, gabor_bank, adam(0.03)),
    }
    print("| student | median error at first | after | within 0.1 ERB | worst seed's median |")
    print("|---|---|---|---|---|")
    for name, student in students.items():
        found = []
        for seed in range(seeds):
            power = sounds(np.random.default_rng(seed))
            found.append(errors_erb(student, power, seed, steps))
        before, after = np.stack(found, axis=1)
        print(
            f"| {name} | {np.median(before):.3f} | {np.median(after):.3f} | "
            f"{100 * np.mean(after < 0.1):.0f} % | {np.median(after, axis=1).max():.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=1500)
    arguments = parser.parse_args()
    main(arguments.seeds, arguments.steps)
