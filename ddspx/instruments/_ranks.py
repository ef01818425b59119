"""Exact quantiles of more numbers than memory holds."""

from collections.abc import Callable, Sequence

import numpy as np

from ddspx._typing import Float

# The bits by which numbers are counted first, and how many are left.
_COARSE, _FINE = 20, 12


class RankedFloats:
    """Quantiles of float32 numbers that are read twice, in parts.

    Read as whole numbers, with the sign turned round, the bits of float32 have the order of the
    numbers. First the numbers are counted by their upper bits, which tells in which of these groups
    each quantile lies. Then those in these groups are counted by their lower bits. So the quantiles
    are exact, and memory holds 8 MB, however many numbers there are.

    Attributes:
      size: how many numbers were counted.
    """

    def __init__(self) -> None:
        self._coarse = np.zeros(1 << _COARSE, np.int64)
        self._shares = self._groups = np.zeros(0)
        self._fine = np.zeros((0, 1 << _FINE), np.int64)

    @property
    def size(self) -> int:
        """How many numbers were counted."""
        return int(self._coarse.sum())

    def count(self, values: Float[np.ndarray, "..."]) -> None:
        """Counts a part of the numbers, which must be finite."""
        np.add.at(self._coarse, _ordered_bits(values) >> _FINE, 1)

    def look_for(self, shares: Sequence[float] | Float[np.ndarray, " quantiles"]) -> None:
        """Sets the quantiles, from 0 to 1, after all parts were counted."""
        self._shares = np.asarray(shares, np.float64)
        self._groups = np.unique(self._group_of(self._ranks().ravel()))
        self._fine = np.zeros((self._groups.size, 1 << _FINE), np.int64)

    def look_at(self, values: Float[np.ndarray, "..."]) -> None:
        """Counts a part of the numbers for the second time."""
        bits = _ordered_bits(values)
        group = bits >> _FINE
        at = np.searchsorted(self._groups, group)
        at[at == self._groups.size] = 0
        found = self._groups[at] == group
        np.add.at(self._fine, (at[found], bits[found] & ((1 << _FINE) - 1)), 1)

    def quantiles(
        self, convert: Callable[[np.ndarray], np.ndarray] = lambda values: values
    ) -> list[float]:
        """Returns the quantiles of ``convert(numbers)``, for a function that rises everywhere.

        They are interpolated linearly between the numbers of the two nearest ranks.
        """
        below, above = convert(self._values(self._ranks()).astype(np.float64))
        weight = (self.size - 1) * self._shares % 1
        # Of the two equal forms, the one that is exact at the nearer number.
        step = above - below
        forms = below + step * weight, above - step * (1 - weight)
        return np.where(weight < 0.5, *forms).tolist()

    def _ranks(self) -> np.ndarray:
        """The two nearest ranks of each quantile, as (2, quantiles)."""
        position = (self.size - 1) * self._shares
        below = np.floor(position).astype(np.int64)
        return np.stack([below, np.minimum(below + 1, self.size - 1)])

    def _group_of(self, ranks: np.ndarray) -> np.ndarray:
        return np.searchsorted(np.cumsum(self._coarse), ranks, side="right")

    def _values(self, ranks: np.ndarray) -> np.ndarray:
        """The numbers of some ranks."""
        group = self._group_of(ranks)
        row = np.searchsorted(self._groups, group)
        before = np.concatenate([[0], np.cumsum(self._coarse)])[group]
        fine = np.cumsum(self._fine, axis=1)[row]
        low = (fine <= (ranks - before)[..., None]).sum(axis=-1)
        bits = (group << _FINE | low).astype(np.uint32)
        # The inverse of `_ordered_bits`.
        is_positive = bits >> 31 == 1
        return np.where(is_positive, bits ^ np.uint32(1 << 31), ~bits).view(np.float32)


def _ordered_bits(values: np.ndarray) -> np.ndarray:
    """The bits of float32 numbers as whole numbers in the order of the numbers."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.where(bits >> 31 == 1, ~bits, bits ^ np.uint32(1 << 31)).astype(np.int64)
