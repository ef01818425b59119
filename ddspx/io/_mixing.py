"""From several channels to one, without losing the sound."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

# Power ratios: a stretch of sound is lost where it is 12 dB under its loudest channel, and 6 dB
# under what channels that have nothing in common would come to.
_LOST, _CANCELLED = 10**-1.2, 10**-0.6
# Stretches further under the loudest are silence, and so is what is under -80 dB.
_SOUNDING, _SILENCE_POWER = 1e-4, 0.5e-8


class Mix(NamedTuple):
    """How channels become one.

    Attributes:
      name: what is done, as a clause.
      weights: of each channel; None is the average, in the precision of the samples.
      is_one: whether one channel is taken alone.
    """

    name: str
    weights: np.ndarray | None = None
    is_one: bool = False

    def of(self, block: np.ndarray) -> np.ndarray:
        """One channel of a block (samples, channels)."""
        return block.mean(axis=1) if self.weights is None else block @ self.weights

    def lost(self, covariance: np.ndarray) -> bool:
        """Whether what channels with these covariances hold is lost."""
        n_channels = len(covariance)
        weights = np.full(n_channels, 1 / n_channels) if self.weights is None else self.weights
        power, powers = weights @ covariance @ weights, np.diag(covariance)
        is_cancelled = self.is_one or power < _CANCELLED * (weights**2 @ powers)
        return bool(is_cancelled and power < _LOST * powers.max())


AVERAGE = Mix("it is averaged")


def choose_mix(blocks: Callable[[], Iterator[np.ndarray]]) -> tuple[Mix, float, float]:
    """The average, unless channels would cancel in it; then the mix that loses least.

    Of what is heard in pieces of one second, the candidates are the average, the average with
    channels inverted that are against the loudest, and each channel alone. The second is never
    weaker than the loudest channel divided by their number: all its products with that channel
    are positive.

    Args:
      blocks: gives the sound (samples, channels) in blocks of one second, each time it is called.

    Returns:
      The mix, and the shares of what sounds that are lost with the average and with the mix.
    """
    total, loudest, powers = 0.0, 0.0, []
    average = []
    for covariance in _covariances(blocks()):
        total = total + covariance
        powers.append(np.diag(covariance).max())
        average.append(AVERAGE.lost(covariance))
    loudest = max(powers, default=0.0)
    sounds = np.array(powers) > max(_SOUNDING * loudest, _SILENCE_POWER)
    lost = float(np.mean(np.array(average)[sounds])) if sounds.any() else 0.0
    if not lost:
        return AVERAGE, 0.0, 0.0
    mixes = _candidates(np.asarray(total))
    losses = np.zeros(len(mixes))
    for covariance, is_sound in zip(_covariances(blocks()), sounds, strict=True):
        losses += is_sound * np.array([mix.lost(covariance) for mix in mixes])
    best = int(np.argmin(losses))
    return mixes[best], lost, float(losses[best] / sounds.sum())


def _covariances(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Of the channels of each block; what is constant in them is no sound."""
    for block in blocks:
        # A channel after the other, which is three times as fast.
        channels = np.ascontiguousarray(block.T, np.float64)
        channels -= channels.mean(axis=1, keepdims=True)
        yield channels @ channels.T / len(block)


def _candidates(covariance: np.ndarray) -> list[Mix]:
    """What to choose among, by the covariances of the whole."""
    n_channels = len(covariance)
    against = covariance[np.argmax(np.diag(covariance))] < 0
    numbers = [str(i + 1) for i in np.flatnonzero(against)]
    inverted = f"channel{'s'[: len(numbers) - 1]} {', '.join(numbers)} inverted"
    signs = np.where(against, -1.0, 1.0) / n_channels
    aligned = Mix(f"it is averaged with {inverted}", signs.astype(np.float32))
    ones = np.eye(n_channels, dtype=np.float32)
    alone = [Mix(f"channel {i + 1} alone is taken", one, is_one=True) for i, one in enumerate(ones)]
    return [AVERAGE, aligned, *alone]
