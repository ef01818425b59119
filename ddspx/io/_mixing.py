"""Mixing several channels to one without losing sound to cancellation."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

# Power ratios. A second of sound counts as lost if the mix is 12 dB below its loudest channel, and
# 6 dB below the power that uncorrelated channels would have in the mix.
_LOST, _CANCELLED = 10**-1.2, 10**-0.6
# A second counts as silence if its power is below this share of the loudest second's, or below
# -80 dB.
_SOUNDING, _SILENCE_POWER = 1e-4, 0.5e-8


class Mix(NamedTuple):
    """Weights by which channels are mixed to one.

    Attributes:
      name: description for warnings, as a clause.
      weights: weight of each channel; None is the average, in the precision of the samples.
      is_one: whether the mix is a single channel.
    """

    name: str
    weights: np.ndarray | None = None
    is_one: bool = False

    def of(self, block: np.ndarray) -> np.ndarray:
        """Mixes a block (samples, channels) to one channel."""
        return block.mean(axis=1) if self.weights is None else block @ self.weights

    def lost(self, covariance: np.ndarray) -> bool:
        """Whether this mix loses the sound of channels with this covariance."""
        n_channels = len(covariance)
        weights = np.full(n_channels, 1 / n_channels) if self.weights is None else self.weights
        power, powers = weights @ covariance @ weights, np.diag(covariance)
        is_cancelled = self.is_one or power < _CANCELLED * (weights**2 @ powers)
        return bool(is_cancelled and power < _LOST * powers.max())


AVERAGE = Mix("it is averaged")


def choose_mix(blocks: Callable[[], Iterator[np.ndarray]]) -> tuple[Mix, float, float]:
    """Chooses the average, unless channels cancel in it; then the mix that loses the least sound.

    The candidates are the average, the average after the channels that correlate negatively with
    the loudest are inverted, and each channel alone. The mix that loses the fewest of the blocks
    that are not silent is chosen. The second candidate never has less amplitude than the loudest
    channel divided by the number of channels, because all its terms correlate positively with that
    channel.

    Args:
      blocks: function that returns an iterator over the sound (samples, channels) in blocks of one
        second; it is called once for each pass.

    Returns:
      The mix, and the shares of the sounding blocks that are lost with the average and with the
      mix.
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
    """The covariance of the channels in each block, without their constant offsets."""
    for block in blocks:
        # Contiguous channels make the product three times as fast.
        channels = np.ascontiguousarray(block.T, np.float64)
        channels -= channels.mean(axis=1, keepdims=True)
        yield channels @ channels.T / len(block)


def _candidates(covariance: np.ndarray) -> list[Mix]:
    """The mixes to choose from, given the covariance of the channels over the whole file."""
    n_channels = len(covariance)
    against = covariance[np.argmax(np.diag(covariance))] < 0
    numbers = [str(i + 1) for i in np.flatnonzero(against)]
    inverted = f"channel{'s'[: len(numbers) - 1]} {', '.join(numbers)} inverted"
    signs = np.where(against, -1.0, 1.0) / n_channels
    aligned = Mix(f"it is averaged with {inverted}", signs.astype(np.float32))
    ones = np.eye(n_channels, dtype=np.float32)
    alone = [Mix(f"channel {i + 1} alone is taken", one, is_one=True) for i, one in enumerate(ones)]
    return [AVERAGE, aligned, *alone]
