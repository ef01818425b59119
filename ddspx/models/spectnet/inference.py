"""What a classifier says of whole recordings: the logits of all their segments."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import jax
import numpy as np
from flax import nnx

from ddspx._checks import positive_int
from ddspx._typing import Float
from ddspx.models.spectnet import SpectNet, SpectNetConfig, segments


def segment_logits(
    model: SpectNet, sounds: Iterable[np.ndarray], *, batch_size: int = 32
) -> Iterator[Float[np.ndarray, "segments classes"]]:
    """Logits of the segments of each recording, to be voted on.

    Segments of several recordings share a batch, so that one compilation serves all lengths, and
    a recording is asked for when it is needed.

    Args:
      model: the classifier.
      sounds: audio (samples,) at the model's rate, of any length.
      batch_size: segments that are computed at once.

    Returns:
      The logits of the first recording, then of the next; as `models.spectnet.segments` cuts it.

    Raises:
      TypeError: `batch_size` is not an int.
      ValueError: `batch_size` is below 1, or a recording is empty.

    Example:
      >>> import numpy as np
      >>> from flax import nnx
      >>> from ddspx.models.spectnet import SpectNet, SpectNetConfig
      >>> from ddspx.models.spectnet import segment_logits
      >>> model = SpectNet(SpectNetConfig.spectnet_4(("quiet", "loud")), rngs=nnx.Rngs(0))
      >>> sounds = (np.ones(n, np.float32) for n in (2000, 5000))
      >>> [logits.shape for logits in segment_logits(model, sounds, batch_size=4)]
      [(1, 2), (3, 2)]
    """
    graphdef, state = nnx.split(model)

    @jax.jit
    def logits(state, audio):
        return nnx.merge(graphdef, state)(audio)

    return batched_logits(partial(logits, state), sounds, model.config, batch_size)


def batched_logits(
    logits: Callable[[np.ndarray], jax.Array],
    sounds: Iterable[np.ndarray],
    config: SpectNetConfig,
    batch_size: int,
) -> Iterator[Float[np.ndarray, "segments classes"]]:
    """`segment_logits`, of any function of a batch of segments."""
    positive_int("batch_size", batch_size)
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
