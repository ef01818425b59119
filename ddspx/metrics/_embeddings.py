"""Embeddings: from a recording to points, whose distribution describes how it sounds."""

import numpy as np

from ddspx._checks import number, positive_int
from ddspx._typing import Float
from ddspx.metrics._sounds import HOP_S, cepstra, mel_levels, one_sound


def mfcc_embedding(
    audio: Float[np.ndarray, " samples"],
    *,
    sample_rate: int,
    piece_s: float | None = 1.0,
    n_mfcc: int = 13,
    depth_db: float | None = None,
) -> Float[np.ndarray, "pieces features"]:
    r"""MFCC statistics of pieces of a recording: points for :func:`frechet_distance`.

    .. math:: e_p = (\mu_{p,1}, \dots, \mu_{p,C-1},\ \sigma_{p,1}, \dots, \sigma_{p,C-1})

    with the mean and the standard deviation, over the frames of piece p, of the coefficients 1 to
    C - 1 of `core.mfcc` of 80 mel bands every 10 ms. The zeroth coefficient is the level, which is
    no timbre, and is left out: the embedding does not depend on the gain of the recording.

    Args:
      audio: one recording, linear amplitude.
      sample_rate: samples per second; recordings that are compared need the same.
      piece_s: duration of a piece, in seconds. Pieces overlap by half, and a shorter recording is
        one piece. With None every frame is a point, its C - 1 coefficients.
      n_mfcc: C, how many coefficients are computed, 2 to 80.
      depth_db: frames that are softer than the loudest by more than this are left out before the
        pieces are cut: rests, and the ends of notes in libraries. By default none is.

    Returns:
      One row of 2 (C - 1) numbers for each piece, or of C - 1 for each frame, in dB.

    Raises:
      TypeError: a size is not an int, or `audio` is not of floating point.
      ValueError: `audio` is empty, not finite or not one recording, or a number is out of range.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> tone = np.sin(0.2 * np.arange(48000))
      >>> metrics.mfcc_embedding(tone, sample_rate=16000).shape
      (5, 24)
      >>> metrics.mfcc_embedding(tone, sample_rate=16000, piece_s=None).shape
      (301, 12)

    References:
      Frames are 64 ms long at 16 kHz, levels are limited to 80 dB under the loudest band.
    """
    audio = one_sound("audio", audio)
    n_mfcc = positive_int("n_mfcc", n_mfcc)
    number("n_mfcc", n_mfcc, least=2, most=80)
    levels = mel_levels(audio, sample_rate)
    coefficients = cepstra(levels)[:, 1:n_mfcc]
    if depth_db is not None:
        number("depth_db", depth_db, least=0)
        loudness = np.logaddexp.reduce(levels * (np.log(10) / 10), axis=1) * (10 / np.log(10))
        coefficients = coefficients[loudness >= loudness.max() - depth_db]
    if piece_s is None:
        return coefficients
    size = max(1, round(number("piece_s", piece_s, above=0) / HOP_S))
    size = min(size, len(coefficients))
    count = max(1, round(2 * len(coefficients) / size) - 1)
    starts = np.linspace(0, len(coefficients) - size, count).round().astype(int)
    pieces = coefficients[starts[:, None] + np.arange(size)]
    return np.concatenate([pieces.mean(axis=1), pieces.std(axis=1)], axis=1)
