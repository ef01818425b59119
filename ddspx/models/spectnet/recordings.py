"""A recording as segments, and their logits as one decision."""

from typing import NamedTuple

import numpy as np

from ddspx._typing import Float
from ddspx.models.spectnet.config import SpectNetConfig

# -20 dB of full scale: room above it for the peaks of hearts and of plucked strings.
_LEVEL = 0.1
# Below it there is nothing but rounding to make louder.
_SILENCE = 1e-6


class Vote(NamedTuple):
    """What the segments of a recording decide together.

    Attributes:
      index: of the label.
      shares: of every label; they sum to 1.
    """

    index: int
    shares: Float[np.ndarray, " classes"]


def normalize_level(audio: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " samples"]:
    """A recording with an RMS of 0.1, so that its gain says nothing about its class.

    Args:
      audio: linear amplitude; the whole recording. Silence stays as it is.

    Returns:
      The recording, louder or quieter, in its dtype.
    """
    level = np.sqrt(np.mean(np.square(audio, dtype=np.float64)))
    return audio if level < _SILENCE else (audio * (_LEVEL / level)).astype(audio.dtype)


def segments(
    audio: Float[np.ndarray, " samples"], config: SpectNetConfig
) -> Float[np.ndarray, "segments length"]:
    """All of a recording as the fewest segments that hold it, which overlap if they must.

    The first begins with the recording, the last ends with it, and those between are at equal
    distances. A recording that is shorter than a segment has as much silence before it as after
    it. That tells how long it is: where length gives away where a recording comes from, and not
    what it is, cut all to one length first.

    Args:
      audio: linear amplitude at the rate of `config.frontend`; any length.
      config: says how long a segment is, and whether the level is normalized first.

    Returns:
      ``ceil(samples / config.segment_length)`` segments.

    Raises:
      ValueError: there is no sample.

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
    """The label that most segments have.

    Args:
      logits: of the segments of one recording.

    Returns:
      The vote; its shares are those of the segments. Of labels with as many segments, the
      one with the greatest mean probability wins; of those, the first.

    Raises:
      ValueError: there is no segment, or a logit is not finite.

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
      logits: of the segments of one recording.

    Returns:
      The vote; its shares are the mean probabilities. Of equal ones the first label wins.

    Raises:
      ValueError: there is no segment, or a logit is not finite.

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
        raise ValueError("`logits` must be finite; the model or the audio is not.")
    logits = np.asarray(logits, np.float64)
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
