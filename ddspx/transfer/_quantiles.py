"""Maps loudness so that it gets a given distribution."""

from typing import NamedTuple

import numpy as np

from ddspx._checks import number, same_size
from ddspx._typing import Bool, Float

# How much the dynamics may be widened: a tone that is steady within 0.1 dB stays within 0.3 dB.
_MAX_SLOPE = 3.0


class QuantileTransform(NamedTuple):
    """A monotone, piecewise linear map of loudness, continued with slope 1 at both ends.

    Attributes:
      source_db: levels before the map, increasing.
      target_db: the same levels after it, not decreasing. Both are empty for the identity.
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
    """Fits a map of loudness after which the masked frames have a given distribution.

    The map takes the frames' own quantiles to the given ones. Its slope is at most 3, as an exact
    match would enlarge the slight unevenness of a steady tone to the instrument's full dynamics.
    Where the slope is limited, the median is still matched. The softest and the loudest tenth of
    the frames, mostly attacks and releases, are not fitted; the slope is 1 there.

    Args:
      loudness_db: of all frames; frames that are not finite are ignored.
      mask: the frames to fit, usually the notes. If there is none, the map is the identity.
      quantiles_db: the levels to reach, at equally spaced quantiles from 0 to 1, not decreasing,
        for example `InstrumentStatistics.loudness_quantiles`.
      tails: the share of frames at either end that is not fitted, below a half.

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
      DDSP's ``fit_quantile_transform`` always maps to the whole distribution, so that even a
      steady tone gets the full dynamics. It does not map the frames between notes, which makes the
      loudness jump at both ends of every note.
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
    target = np.interp(levels, np.linspace(0, 1, len(quantiles_db)), quantiles_db)
    rises = np.minimum(np.diff(target), _MAX_SLOPE * np.diff(own))
    matched = np.concatenate([[0.0], np.cumsum(rises)])
    matched += np.median(target) - np.median(matched)
    # `np.interp` needs increasing points, so one of several equal quantiles is used.
    own, first = np.unique(own, return_index=True)
    return QuantileTransform(own, matched[first])


def apply_quantile_transform(
    transform: QuantileTransform, loudness_db: Float[np.ndarray, " frames"]
) -> Float[np.ndarray, " frames"]:
    """Applies a map of :func:`fit_quantile_transform` to loudness.

    Beyond both ends of the map the slope is 1. Values that are not finite are not changed.
    """
    source_db, target_db = transform
    if not source_db.size:
        return loudness_db
    inside = np.clip(loudness_db, source_db[0], source_db[-1])
    return np.interp(inside, source_db, target_db) + (loudness_db - inside)
