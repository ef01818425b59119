"""Inference on whole recordings: the logits of their segments, and the labels of files."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from ddspx import io
from ddspx._checks import size
from ddspx._progress import Progress, no_progress
from ddspx._typing import Array, Float
from ddspx.metrics._sounds import one_sound
from ddspx.models.spectnet.config import SpectNetConfig
from ddspx.models.spectnet.model import SpectNet
from ddspx.models.spectnet.recordings import segments, vote_mean_probability


class Prediction(NamedTuple):
    """The prediction of a classifier for a recording.

    Attributes:
      label: the most probable label.
      probability: its probability, the mean over the segments of the recording.
      probabilities: the probability of every label, the most probable first.
    """

    label: str
    probability: float
    probabilities: dict[str, float]


def classify_file(model: SpectNet, path: str | Path) -> Prediction:
    """The most probable label of an audio file, with its probability.

    Args:
      model: the classifier.
      path: an audio file of any rate and length.

    Returns:
      The label, its probability, and the probabilities of all labels.

    Raises:
      AudioError: the file cannot be read as audio.

    Example:
      >>> import tempfile
      >>> import numpy as np
      >>> from flax import nnx
      >>> from ddspx import io
      >>> from ddspx.models.spectnet import SpectNet, SpectNetConfig, classify_file
      >>> model = SpectNet(SpectNetConfig.spectnet_4(("song", "speech")), rngs=nnx.Rngs(0))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     io.write_audio(f"{folder}/hum.wav", np.sin(np.arange(8000) / 9), sample_rate=4000)
      ...     label, probability, probabilities = classify_file(model, f"{folder}/hum.wav")
      >>> label in ("song", "speech"), probability == probabilities[label] >= 0.5
      (True, True)
    """
    ((_, prediction),) = classify_files(model, [path])
    return prediction


def classify_files(
    model: SpectNet,
    paths: Sequence[str | Path],
    *,
    report: Callable[[str | Path, Exception], object] | None = None,
    progress: Progress = no_progress,
    batch_size: int = 32,
) -> Iterator[tuple[str | Path, Prediction]]:
    """`classify_file` for many files; segments of several files share a batch.

    Args:
      model: the classifier.
      paths: audio files of any rate and length.
      report: called with each file that cannot be read and its error; the file is then skipped. By
        default the error is raised.
      progress: called with the number of files that have been read, and the number of all files.
      batch_size: number of segments that are computed at once.

    Yields:
      Each file and its prediction, in the order of `paths`.

    Raises:
      AudioError: a file cannot be read, and `report` is None.
      ValueError: `batch_size` is below 1.
    """
    labels, rate = model.config.labels, model.config.frontend.sample_rate
    read: deque[str | Path] = deque()

    def sounds() -> Iterator[np.ndarray]:
        for done, path in enumerate(paths):
            progress("listening", float(done), float(len(paths)))
            try:
                audio = io.read_audio(path, sample_rate=rate)
            except Exception as error:
                if report is None:
                    raise
                report(path, error)
                continue
            read.append(path)
            yield audio

    for logits in segment_logits(model, sounds(), batch_size=batch_size):
        shares = vote_mean_probability(logits).shares
        order = (-shares).argsort(kind="stable")
        probabilities = {labels[i]: float(shares[i]) for i in order}
        yield read.popleft(), Prediction(labels[order[0]], float(shares[order[0]]), probabilities)


def segment_logits(
    model: SpectNet, sounds: Iterable[np.ndarray], *, batch_size: int = 32
) -> Iterator[Float[np.ndarray, "segments classes"]]:
    """Logits of the segments of each recording, for `vote_majority` or `vote_mean_probability`.

    Segments of several recordings share a batch, so the model is compiled only once, whatever the
    lengths of the recordings. Recordings are read from `sounds` only when they are needed.

    Args:
      model: the classifier.
      sounds: audio (samples,) at the model's rate, of any length.
      batch_size: number of segments that are computed at once.

    Returns:
      The logits of each recording in turn; `models.spectnet.segments` cuts it into segments.

    Raises:
      TypeError: `batch_size` is not an int.
      ValueError: `batch_size` is below 1, or a recording is empty.

    Example:
      >>> import numpy as np
      >>> from flax import nnx
      >>> from ddspx.models.spectnet import SpectNet, SpectNetConfig, segment_logits
      >>> model = SpectNet(SpectNetConfig.spectnet_4(("quiet", "loud")), rngs=nnx.Rngs(0))
      >>> sounds = (np.ones(n, np.float32) for n in (2000, 5000))
      >>> [logits.shape for logits in segment_logits(model, sounds, batch_size=4)]
      [(1, 2), (3, 2)]
    """
    return batched_logits(partial(_logits, *nnx.split(model)), sounds, model.config, batch_size)


def spectnet_embedding(
    model: SpectNet, *, batch_size: int = 32
) -> Callable[..., Float[np.ndarray, "segments hidden"]]:
    """The embedding of a classifier, for the distances of two sets of recordings.

    Args:
      model: the classifier; what it was trained to tell apart is what its embedding sees.
      batch_size: number of segments that are computed at once.

    Returns:
      ``embedding(audio, sample_rate=...)``: from a recording of any rate and length to the hidden
      layer of each of its segments (`SpectNet.embed`), for `metrics.frechet_distance` and
      `training.compare_recordings`.

    Raises:
      TypeError: a number is not an int; from the embedding, a recording is not of floating point.
      ValueError: a number is below 1; from the embedding, a recording is empty, not finite or has
        several axes.

    Example:
      >>> import numpy as np
      >>> from flax import nnx
      >>> from ddspx.models.spectnet import SpectNet, SpectNetConfig, spectnet_embedding
      >>> model = SpectNet(SpectNetConfig.spectnet_4(("song", "speech")), rngs=nnx.Rngs(0))
      >>> embedding = spectnet_embedding(model, batch_size=4)
      >>> embedding(np.ones(20_000, np.float32), sample_rate=8000).shape
      (2, 100)
    """
    size("batch_size", batch_size)
    rate = model.config.frontend.sample_rate
    hidden = partial(_hidden, *nnx.split(model))

    def embedding(
        audio: Float[np.ndarray, " samples"], *, sample_rate: int
    ) -> Float[np.ndarray, "segments hidden"]:
        import soxr

        sound = one_sound("audio", audio).astype(np.float32)
        # Of less than one sample at the model's rate, nothing would be left.
        least = -(-size("sample_rate", sample_rate) // rate)
        sound = np.pad(sound, (0, max(0, least - sound.size)))
        sound = soxr.resample(sound, sample_rate, rate, quality="HQ")
        (points,) = batched_logits(hidden, [sound], model.config, batch_size)
        return points

    return embedding


@partial(jax.jit, static_argnums=0)
def _hidden(graphdef: Any, state: Any, audio: Array) -> Array:
    """The embedding of a batch of segments; compiled once for all models with the same config."""
    return nnx.merge(graphdef, state).embed(audio)


@partial(jax.jit, static_argnums=0)
def _logits(graphdef: Any, state: Any, audio: Array) -> Array:
    """The logits of a batch of segments; compiled once for all models with the same config."""
    return nnx.merge(graphdef, state)(audio)


def batched_logits(
    logits: Callable[[np.ndarray], jax.Array | np.ndarray],
    sounds: Iterable[np.ndarray],
    config: SpectNetConfig,
    batch_size: int,
) -> Iterator[Float[np.ndarray, "segments classes"]]:
    """`segment_logits` with any function from a batch of segments to rows of numbers."""
    size("batch_size", batch_size)
    counts: deque[int] = deque()
    waiting: list[np.ndarray] = []
    done: list[np.ndarray] = []

    def finished() -> Iterator[np.ndarray]:
        while counts and len(done) >= counts[0]:
            count = counts.popleft()
            yield np.stack(done[:count])
            del done[:count]

    for sound in sounds:
        cut = segments(sound, config)
        counts.append(len(cut))
        waiting.extend(cut)
        while len(waiting) >= batch_size:
            done.extend(np.asarray(logits(np.stack(waiting[:batch_size]))))
            del waiting[:batch_size]
        yield from finished()
    if waiting:
        padding = [waiting[0]] * (batch_size - len(waiting))
        done.extend(np.asarray(logits(np.stack(waiting + padding)))[: len(waiting)])
    yield from finished()
