"""Losses between spectra, and their gradients, with transforms as products of matrices."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp

from ddspx._typing import Array
from ddspx.core._fourier import rfft_by_products
from ddspx.core._framing import hann_window, n_frames
from ddspx.core._numerics import varying_alike

# The spectra of so much audio at a time, of every example, stay in the memory of a TPU's core.
_SAMPLES_AT_ONCE = 4096


def loss_by_products(
    pair: tuple[Array, Array],
    *,
    n_ffts: Sequence[int],
    distance: Callable[[Array, Array], Array],
    argnums: tuple[int, ...],
    in_parts: bool = True,
) -> tuple[Array, list[Array]]:
    """The sum over `n_ffts` of a mean over frames, and its gradients.

    Args:
      pair: audio, ``(batch, samples)``.
      n_ffts: lengths of the transforms, multiples of 4; the hop is a quarter.
      distance: takes two sets of spectra, ``(batch, frames, bins)``, and returns a mean over their
        frames in which a frame that is 0 in both sets adds 0.
      argnums: of which of the two sounds the gradients are.
      in_parts: `distance` may get some of the frames at a time; else it gets all of them.
    """
    total, gradients = jnp.zeros((), pair[0].dtype), [jnp.zeros_like(pair[i]) for i in argnums]
    for n_fft in n_ffts:
        term, more = _of_one_size(pair, n_fft, distance, argnums, in_parts)
        total += term
        gradients = [a + b for a, b in zip(gradients, more, strict=True)]
    return total, gradients


def _of_one_size(pair, n_fft, distance, argnums, in_parts):
    """Computes :func:`loss_by_products` for one size, in a loop over time."""
    samples, hop = pair[0].shape[-1], n_fft // 4
    count = n_frames(samples, hop_length=hop)
    at_once = min(count, max(1, _SAMPLES_AT_ONCE // hop)) if in_parts else count
    rounds = -(-count // at_once)
    length = (at_once + 3) * hop
    edges = (n_fft // 2, rounds * at_once * hop + n_fft // 4 - samples)
    sounds = [jnp.pad(audio, ((0, 0), edges)) for audio in pair]
    window = hann_window(n_fft, dtype=sounds[0].dtype)
    share = at_once / count
    part = partial(_of_a_part, window=window, distance=lambda *both: share * distance(*both))

    def add(sums, first):
        total, gradients = sums
        start = first * hop
        first_part, second_part = (
            jax.lax.dynamic_slice_in_dim(sound, start, length, axis=1) for sound in sounds
        )
        is_frame = first + jnp.arange(at_once, dtype=jnp.int32) < count
        if not argnums:
            return (total + part(first_part, second_part, is_frame), gradients), None
        value, slopes = jax.value_and_grad(part, argnums)(first_part, second_part, is_frame)
        moved = []
        for gradient, slope in zip(gradients, slopes, strict=True):
            before = jax.lax.dynamic_slice_in_dim(gradient, start, length, axis=1)
            moved.append(
                jax.lax.dynamic_update_slice_in_dim(gradient, before + slope, start, axis=1)
            )
        return (total + value, moved), None

    zeros = jnp.zeros((), sounds[0].dtype), [jnp.zeros_like(sounds[i]) for i in argnums]
    zeros, _ = varying_alike(zeros, sounds)
    firsts = at_once * jnp.arange(rounds, dtype=jnp.int32)
    (total, gradients), _ = jax.lax.scan(add, zeros, firsts)
    return total, [x[:, n_fft // 2 : n_fft // 2 + samples] for x in gradients]


def _of_a_part(target, predicted, is_frame, *, window, distance):
    """The mean over the frames of a part of the audio, of which some may be left out."""

    def spectra(audio):
        n_fft, count = len(window), len(is_frame)
        hops = audio.reshape(audio.shape[0], count + 3, n_fft // 4)
        frames = jnp.concatenate([hops[:, i : i + count] for i in range(4)], axis=-1)
        frames = jnp.where(is_frame[None, :, None], frames * window[None, None], 0)
        return rfft_by_products(frames, n=n_fft)

    return distance(spectra(target), spectra(predicted))
