"""Compensates the difference between the requested loudness and an instrument's own."""

from collections.abc import Iterator

import numpy as np

from ddspx._progress import Progress, no_progress
from ddspx._typing import Float
from ddspx.features import stream_loudness
from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig
from ddspx.transfer._adjust import AdjustedControls
from ddspx.transfer._quantiles import apply_quantile_transform, fit_quantile_transform
from ddspx.transfer._rendering import render

# A ceiling that no music reaches: the level is measured without the effect of the limiter.
_NO_CEILING_DB = 80.0
# A larger difference than this is not fully compensated: the instrument cannot play that loudness
# at that pitch.
_MOST_DB = 12.0
# The noise of an instrument by itself is 20 to 50 dB softer than the notes to which it belongs, and
# that of an untrained one 70 dB. Loudness has a floor, so it is measured on a louder noise.
_MOST_BREATH_DB, _LOUDER = 100.0, 1000.0
_SMOOTHING_S = 0.06
_QUANTILES = 101


def match_loudness(
    model: Autoencoder,
    played: AdjustedControls,
    *,
    n_samples: int,
    z: Float[np.ndarray, "frames z"] | None = None,
    reverb: float = 1.0,
    amount: float = 1.0,
    heard_db: Float[np.ndarray, " frames"] | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> AdjustedControls:
    """Changes the gain so that the instrument's notes are as loud as `played` requests.

    A decoder does not play the requested loudness exactly. It is off by a few dB, by more at a
    pitch or a dynamic that its recordings lack, and the reverb adds the sound of earlier notes.
    The instrument is therefore rendered once, and its loudness is measured on the notes. The gain
    compensates the difference by at most 12 dB, smoothed over 60 ms and interpolated linearly
    between notes. Breath is rendered by itself, without the notes, and its gain compensates all of
    its difference, up to 100 dB.

    Args:
      model: the instrument.
      played: the controls, from :func:`adjust`.
      n_samples: as in :func:`render`.
      z: as in :func:`render`.
      reverb: as in :func:`render`.
      amount: the share of the difference that is compensated for the notes, from 0 to 1; with 0
        they are not rendered.
      heard_db: loudness of the recording, for an instrument that takes loudness on another scale
        than `core.loudness_db`. What `played` requests cannot be measured then. Instead, the
        loudness of the notes is to follow that of the recording, with the distribution that the
        instrument plays by itself; and breath is not compensated.
      seed: seed of the noise.
      progress: called with "rehearsing", the seconds that have been rendered, and all seconds.

    Returns:
      `played` with new gains.

    Raises:
      ValueError: as :func:`render`.
    """
    notes, breath = played._replace(breath=None), played.breath
    has_notes = amount > 0 and notes.notes.any()
    has_breath = breath is not None and breath.notes.any() and heard_db is None
    config, done = model.config, 0

    def rehearsal(controls: AdjustedControls) -> Iterator[np.ndarray]:
        nonlocal done
        options = {"z": z, "reverb": reverb, "ceiling_db": _NO_CEILING_DB, "seed": seed}
        for block in render(model, controls, n_samples=n_samples, **options):
            yield block
            done += block.size
            all_samples = (has_notes + has_breath) * n_samples
            progress("rehearsing", done / config.sample_rate, all_samples / config.sample_rate)

    if has_notes:
        notes = _matched(notes, rehearsal(notes), amount, _MOST_DB, config, heard_db)
    if breath is not None and has_breath:
        louder = breath._replace(gain=_LOUDER * breath.gain)
        alone = played._replace(gain=np.zeros_like(played.gain), breath=louder)
        louder = _matched(louder, rehearsal(alone), 1.0, _MOST_BREATH_DB, config)
        breath = louder._replace(gain=louder.gain / _LOUDER)
    return notes._replace(breath=breath)


def _matched(
    played: AdjustedControls,
    blocks: Iterator[np.ndarray],
    amount: float,
    most_db: float,
    config: AutoencoderConfig,
    heard_db: np.ndarray | None = None,
) -> AdjustedControls:
    """Changes the gain by the difference between the requested loudness and that of a rendering."""
    sample_rate, hop_length = config.sample_rate, config.hop_length
    loudness = stream_loudness(blocks, sample_rate=sample_rate, hop_length=hop_length)
    measured_db = np.concatenate(list(loudness))
    notes = np.flatnonzero(played.notes)
    asked_db = played.asked_db
    if heard_db is not None:
        own_db = np.quantile(measured_db[notes], np.linspace(0, 1, _QUANTILES))
        transform = fit_quantile_transform(heard_db, played.notes, own_db)
        asked_db = apply_quantile_transform(transform, heard_db)
    difference_db = np.clip((asked_db - measured_db)[notes], -most_db, most_db)
    everywhere_db = np.interp(np.arange(played.notes.size), notes, difference_db)
    reach = round(_SMOOTHING_S / 2 * sample_rate / hop_length)
    window = np.hanning(2 * reach + 3)[1:-1]
    padded_db = np.pad(everywhere_db, reach, mode="edge")
    smooth_db = np.convolve(padded_db, window / window.sum(), mode="valid")
    gain = played.gain * 10 ** (amount * smooth_db / 20)
    return played._replace(gain=gain.astype(played.gain.dtype))
