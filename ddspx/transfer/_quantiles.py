"""Loudness that takes another distribution."""

from typing import NamedTuple

import numpy as np

from ddspx._checks import number, same_size
from ddspx._typing import Bool, Float

# How much dynamics may be widened: a tone held steady within 0.1 dB stays within 0.3 dB.
_MAX_SLOPE = 3.0


class QuantileTransform(NamedTuple):
    """A monotone, piecewise linear map of loudness, continued with slope 1 at both ends.

    Attributes:
      source_db: levels that are mapped, increasing.
      target_db: what they become, not decreasing. Both are empty where nothing is changed.
    """

    source_db: Float[np.ndarray, " levels"]
    target_db: Float[np.ndarray, " levels"]


def fit_quantile_transform(
    loudness_db: Float[np.ndarray, " frames"],
    mask: Bool[np.ndarray, " frames"],
    quantiles_db: Float[np.ndarray, " quantiles"],
    *,
    tails: float = 0.1,
) -> QuantileTransform:
    """The map after which the masked frames have a given distribution.

    Their own quantiles go to the given ones. The map is nowhere steeper than 3, built up from
    the median where that holds it: matching would make the unevenness of a steady tone into
    dynamics. The softest and loudest tenth, attacks and releases above all, are not fitted: a
    decibel stays a decibel there.

    Args:
      loudness_db: of all frames; one that is not finite does not count.
      mask: the frames whose distribution counts: notes. Without any, nothing is changed.
      quantiles_db: what to reach, at equally spaced quantiles from 0 to 1, not decreasing, for
        example `InstrumentStatistics.loudness_quantiles`.
      tails: the share at either end that is not fitted, below a half.

    Returns:
      A map for :func:`apply_quantile_transform`.

    Raises:
      ValueError: `tails` is not from 0 to below 0.5, `loudness_db` and `mask` differ in length, or
        `quantiles_db` is empty or not finite.

    Example:
      >>> import numpy as np
      >>> from ddspx.transfer import apply_quantile_transform, fit_quantile_transform
      >>> sung = np.array([-50.0, -40.0, -30.0, -20.0])
      >>> notes = np.array([False, True, True, True])
      >>> played = np.array([-20.0, -10.0, -5.0])
      >>> transform = fit_quantile_transform(sung, notes, played, tails=0.0)
      >>> apply_quantile_transform(transform, sung).tolist()
      [-30.0, -20.0, -10.0, -5.0]

    References:
      DDSP's ``fit_quantile_transform`` maps to all of the other distribution, a steady tone to all
      its dynamics too, and leaves frames that are no notes where they were, with a step at
      the edge of every note.
    """
    number("tails", tails, least=0, below=0.5)
    same_size("`loudness_db` and `mask`", len(loudness_db), len(mask), "frames")
    if len(quantiles_db) == 0 or not np.isfinite(quantiles_db).all():
        raise ValueError(
            f"`quantiles_db` must be finite levels in dB, at least one, got {list(quantiles_db)}; "
            "take an instrument's `loudness_quantiles`."
        )
    counted = mask & np.isfinite(loudness_db)
    if not counted.any():
        return QuantileTransform(np.zeros(0), np.zeros(0))
    levels = np.linspace(tails, 1 - tails, len(quantiles_db))
    own = np.quantile(loudness_db[counted].astype(np.float64), levels)
    wanted = np.interp(levels, np.linspace(0, 1, len(quantiles_db)), quantiles_db)
    rises = np.minimum(np.diff(wanted), _MAX_SLOPE * np.diff(own))
    matched = np.concatenate([[0.0], np.cumsum(rises)])
    matched += np.median(wanted) - np.median(matched)
    # interp wants its points increasing; where the sound's quantiles coincide one will do.
    own, first = np.unique(own, return_index=True)
    return QuantileTransform(own, matched[first])


def apply_quantile_transform(
    transform: QuantileTransform, loudness_db: Float[np.ndarray, " frames"]
) -> Float[np.ndarray, " frames"]:
    """Loudness after a map of :func:`fit_quantile_transform`; a dB stays a dB beyond its ends.

    What is not finite stays what it is.
    """
    source_db, target_db = transform
    if not source_db.size:
        return loudness_db
    inside = np.clip(loudness_db, source_db[0], source_db[-1])
    return np.interp(inside, source_db, target_db) + (loudness_db - inside)
