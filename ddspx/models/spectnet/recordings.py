"""Cutting a recording into segments, and combining their logits to one decision."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ddspx._typing import Float
from ddspx.models.spectnet.config import SpectNetConfig

# -20 dB of full scale, which leaves headroom for the peaks of heart beats and plucked strings.
_LEVEL = 0.1
# Below this RMS there are only rounding errors, which are not amplified.
_SILENCE = 1e-6
# Samples whose energy is added at a time, which bounds the memory. `io.LabelledAudio` reads as many
# at a time: the rounding of a sum depends on it.
_BLOCK = 2**20


class Vote(NamedTuple):
    """The label of a recording, decided from all its segments.

    Attributes:
      index: index of the label.
      shares: share of every label; they sum to 1.
    """

    index: int
    shares: Float[np.ndarray, " classes"]


def normalize_level(audio: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " samples"]:
    """Scales a recording to an RMS of 0.1, so that its class does not depend on its gain.

    Args:
      audio: the whole recording, in linear amplitude. Silence is not changed.

    Returns:
      The scaled recording, in the same dtype.
    """
    gain = level_gain(audio[at : at + _BLOCK] for at in range(0, len(audio), _BLOCK))
    return audio if gain == 1 else (audio * np.float64(gain)).astype(audio.dtype)


def level_gain(blocks: Iterable[Float[np.ndarray, " samples"]]) -> float:
    """The factor by which `normalize_level` scales the recording that the blocks make up."""
    energy, n_samples = 0.0, 0
    for block in blocks:
        energy += np.sum(np.square(block, dtype=np.float64))
        n_samples += len(block)
    level = np.sqrt(energy / max(1, n_samples))
    return 1.0 if level < _SILENCE else float(_LEVEL / level)


def segments(
    audio: Float[np.ndarray, " samples"], config: SpectNetConfig
) -> Float[np.ndarray, "segments length"]:
    """Cuts a recording into the smallest number of segments that cover it, with equal overlaps.

    The first segment begins with the recording, the last one ends with it, and the others are
    equally spaced between them. A recording that is shorter than a segment is padded with the same
    amount of silence before and after it. The network can then learn the length of a recording. If
    the length depends on the source of a recording, and not on its class, first cut all recordings
    to the same length.

    Args:
      audio: linear amplitude at the rate of `config.frontend`; any length.
      config: the config, with the length of a segment and whether to normalize the level first.

    Returns:
      ``ceil(samples / config.segment_length)`` segments.

    Raises:
      ValueError: `audio` is empty.

    Example:
      >>> import numpy as np
      >>> from ddspx.models.spectnet import SpectNetConfig, segments
      >>> config = SpectNetConfig.spectnet_16(("normal", "abnormal"))
      >>> segments(np.ones(6000, np.float32), config).shape
      (3, 2390)
    """
    if not audio.size:
        raise ValueError("`audio` must hold at least one sample, got none.")
    length = config.segment_length
    if config.normalize_level:
        audio = normalize_level(audio)
    if audio.size < length:
        silence = length - audio.size
        audio = np.pad(audio, (silence // 2, silence - silence // 2))
    count = -(-audio.size // length)
    starts = np.linspace(0, audio.size - length, count).round().astype(int)
    return np.stack([audio[start : start + length] for start in starts])


def vote_majority(logits: Float[np.ndarray, "segments classes"]) -> Vote:
    """The label of the most segments.

    Args:
      logits: logits of the segments of one recording.

    Returns:
      The vote; its shares are the shares of the segments with each label. If several labels have
      the same number of segments, the one with the greatest mean probability wins, and of equal
      ones the first.

    Raises:
      ValueError: there are no segments, or a logit is not finite.

    Example:
      >>> import numpy as np
      >>> from ddspx.models.spectnet import vote_majority
      >>> vote = vote_majority(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 9.0]]))
      >>> vote.index, vote.shares.round(2).tolist()
      (0, [0.67, 0.33])
    """
    probabilities = _probabilities(logits)
    counts = np.bincount(probabilities.argmax(-1), minlength=probabilities.shape[-1])
    tied = np.where(counts == counts.max(), probabilities.mean(0), -1.0)
    return Vote(int(tied.argmax()), counts / counts.sum())


def vote_mean_probability(logits: Float[np.ndarray, "segments classes"]) -> Vote:
    """The label with the greatest mean probability.

    Args:
      logits: logits of the segments of one recording.

    Returns:
      The vote; its shares are the mean probabilities. If several are equal, the first label wins.

    Raises:
      ValueError: there are no segments, or a logit is not finite.

    Example:
      >>> import numpy as np
      >>> from ddspx.models.spectnet import vote_mean_probability
      >>> vote = vote_mean_probability(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 9.0]]))
      >>> vote.index, vote.shares.round(2).tolist()
      (1, [0.49, 0.51])
    """
    mean = _probabilities(logits).mean(0)
    return Vote(int(mean.argmax()), mean)


def _probabilities(logits: Float[np.ndarray, "segments classes"]) -> np.ndarray:
    """Softmax in float64."""
    if not len(logits):
        raise ValueError("`logits` must hold at least one segment, got none.")
    if not np.isfinite(logits).all():
        raise ValueError(
            "`logits` must be finite; check that the audio and the weights of the model are finite."
        )
    logits = np.asarray(logits, np.float64)
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
