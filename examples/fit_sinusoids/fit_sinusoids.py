"""Find the frequencies of partials in noise by gradient descent from random starts.

The loss is the share of a recording's energy that is left after the best mixture of some sinusoids
is subtracted. As a function of the frequencies it has many local minima. As a function of complex
poles, whose angles are the frequencies, it has none. The script fits both to the same recordings,
with the same number of random starts and of steps, and prints how often all partials are found to
within 5 cents.
"""

import argparse
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ddspx import core

SAMPLE_RATE = 16000
N_SAMPLES = 4096
FRAME_LENGTH, HOP_LENGTH, MARGIN = 256, 128, 128
N_STARTS, N_STEPS = 4, 200


def partials_in_noise(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A quarter of a second of sinusoids in white noise 20 dB below, and their frequencies.

    Frequencies are uniform from 100 Hz to 7.5 kHz, at least 40 Hz apart; levels are uniform over
    20 dB, phases over the circle.
    """
    rng = np.random.default_rng(seed)
    f_hz = np.sort(rng.uniform(100, 7500, count))
    while np.diff(f_hz).min() < 40:
        f_hz = np.sort(rng.uniform(100, 7500, count))
    amplitudes = 10 ** (rng.uniform(-20, 0, count) / 20)
    phases = rng.uniform(0, 2 * np.pi, count)
    time_s = np.arange(N_SAMPLES) / SAMPLE_RATE
    tones = amplitudes[:, None] * np.sin(2 * np.pi * f_hz[:, None] * time_s + phases[:, None])
    sigma = np.sqrt(0.01 * np.sum(amplitudes**2) / 2)
    return tones.sum(0) + sigma * rng.standard_normal(N_SAMPLES), f_hz


def analytic_frames(audio: np.ndarray) -> np.ndarray:
    """Frames, one in each column, of the audio without its negative frequencies.

    Every frame has its own complex gains, so the fit depends on power spectra, not on phases.
    """
    spectrum = np.fft.fft(audio)
    spectrum[len(audio) // 2 :] = 0
    analytic = np.fft.ifft(spectrum)[MARGIN:-MARGIN]
    frames = np.lib.stride_tricks.sliding_window_view(analytic, FRAME_LENGTH)[::HOP_LENGTH]
    return frames.T.astype(np.complex64)


def energy_left(poles: jax.Array, in_use: jax.Array, frames: jax.Array) -> jax.Array:
    """Share of the frames' energy outside the span of the current sinusoids."""
    basis = core.exponential_basis(poles, n_samples=FRAME_LENGTH)
    lengths = jnp.sqrt(jnp.sum(jnp.abs(basis) ** 2, axis=0, keepdims=True))
    basis = in_use[None] * basis / lengths
    # Gram and Schmidt, with a little under the root: two poles in one place have one direction
    # between them.
    directions = []
    for column in basis.T:
        for direction in directions:
            column = column - jnp.vdot(direction, column) * direction
        directions.append(column / jnp.sqrt(jnp.sum(jnp.abs(column) ** 2) + 1e-4))
    captured = jnp.sum(jnp.abs(jnp.stack(directions).conj() @ frames) ** 2)
    return 1 - captured / jnp.sum(jnp.abs(frames) ** 2)


# The two methods: their initial values, the poles of their parameters, and their step sizes.


def random_pole(key: jax.Array) -> jax.Array:
    """Uniform over the upper half of a disc, clear of the unit circle."""
    angle, radius = jax.random.uniform(key, (2,))
    return 0.8 * jnp.sqrt(radius) * jnp.exp(1j * jnp.pi * angle)


def pole_step(poles: jax.Array, progress: jax.Array) -> jax.Array:
    """In proportion to the distance from the unit circle, which is the width of the spectrum."""
    radius = jnp.minimum(jnp.abs(poles), 1 / jnp.maximum(jnp.abs(poles), 1e-6))
    return 0.2 * (1 - radius**2 + 1e-3) * 1e-2**progress


def random_angle(key: jax.Array) -> jax.Array:
    """Uniform from 0 Hz to Nyquist."""
    return jax.random.uniform(key, maxval=jnp.pi)


def angle_step(angles: jax.Array, progress: jax.Array) -> jax.Array:
    """From a fifth of a radian per sample down to a millionth."""
    return 0.2 * 1e-5**progress


RIVALS = {
    "complex poles": (random_pole, lambda poles: poles, pole_step),
    "plain angles": (random_angle, lambda angles: jnp.exp(1j * angles), angle_step),
}


def descend(
    start: jax.Array, in_use: jax.Array, frames: jax.Array, to_poles: Callable, step_size: Callable
) -> tuple[jax.Array, jax.Array]:
    """Adam on the parameters in use; returns them and the loss."""
    adam = optax.scale_by_adam(b1=0.7, b2=0.9)

    def loss(parameters: jax.Array) -> jax.Array:
        return energy_left(to_poles(parameters), in_use, frames)

    def step(carry, progress):
        parameters, state = carry
        # The conjugate: JAX's gradient in a complex number is that of the direction of ascent.
        ascent, state = adam.update(jax.grad(loss)(parameters).conj(), state)
        moved = parameters - step_size(parameters, progress) * ascent
        return (jnp.where(in_use > 0, moved, parameters), state), None

    progress = jnp.arange(N_STEPS) / N_STEPS
    (parameters, _), _ = jax.lax.scan(step, (start, adam.init(start)), progress)
    return parameters, loss(parameters)


@partial(jax.jit, static_argnames=("count", "rival"))
def fit(key: jax.Array, frames: jax.Array, *, count: int, rival: str) -> jax.Array:
    """Frequencies in Hz, found one after the other.

    Each new one gets several random starts, from which it and those before it descend together;
    the start with the lowest loss is kept.
    """
    draw, to_poles, step_size = RIVALS[rival]

    def add_one(parameters: jax.Array, index: jax.Array) -> tuple[jax.Array, None]:
        keys = jax.random.split(jax.random.fold_in(key, index), N_STARTS)
        starts = jax.vmap(lambda k: parameters.at[index].set(draw(k)))(keys)
        in_use = (jnp.arange(count) <= index).astype(frames.real.dtype)
        ends, losses = jax.vmap(lambda s: descend(s, in_use, frames, to_poles, step_size))(starts)
        return ends[jnp.argmin(losses)], None

    unused = jnp.zeros(count, draw(key).dtype)
    parameters, _ = jax.lax.scan(add_one, unused, jnp.arange(count))
    return core.poles_to_hz(to_poles(parameters), sample_rate=SAMPLE_RATE)


def share_found(count: int, rival: str, seeds: int) -> float:
    """Share of recordings of which every partial was found to within 5 cents."""
    recordings = [partials_in_noise(seed, count) for seed in range(seeds)]
    frames = jnp.stack([analytic_frames(audio) for audio, _ in recordings])
    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    found_hz = jax.vmap(partial(fit, count=count, rival=rival))(keys, frames)
    # Sorted, because that pairs them with the smallest largest distance.
    found_hz = np.maximum(np.sort(np.asarray(found_hz)), 1e-3)
    cents = 1200 * np.log2(found_hz / np.stack([f_hz for _, f_hz in recordings]))
    return float(np.mean(np.abs(cents).max(axis=1) < 5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--partials", type=int, nargs="+", default=[2, 4, 6, 8])
    parser.add_argument("--seeds", type=int, default=100)
    arguments = parser.parse_args()
    for count in arguments.partials:
        for rival in RIVALS:
            share = share_found(count, rival, arguments.seeds)
            print(f"{count} partials, {rival}: {share:.0%} of {arguments.seeds}", flush=True)


if __name__ == "__main__":
    main()
