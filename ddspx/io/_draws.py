"""Random numbers of the examples of a training, and which examples a process of several reads.

Numbers are counted, not drawn one after the other: those of an example depend on the seed and the
number of the example alone. So it does not matter which process reads an example, in which batch
it stands, and where a training was interrupted.
"""

import numpy as np

from ddspx._checks import non_negative_int, positive_int, size
from ddspx._typing import Float


def uniforms(seed: int, stream: int, examples: range) -> Float[np.ndarray, "examples 4"]:
    """Four random numbers from 0 to below 1 for each example.

    Args:
      seed: from 0.
      stream: what the numbers are for; other streams have other numbers.
      examples: numbers of the examples, in steps of 1.

    References:
      Philox-4x64, which makes four numbers of 64 bits from a key and a counter: Salmon et al.,
      "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    key = np.array([seed, stream], np.uint64)
    bits = np.random.Philox(key=key, counter=examples.start).random_raw(4 * len(examples))
    return (bits >> np.uint64(11)).reshape(-1, 4) * 2.0**-53


def rows_of(batch_size: int, process_index: int, process_count: int) -> range:
    """The examples of a batch that a process reads.

    Raises:
      TypeError: an argument is not an int.
      ValueError: there is no such process, or the examples cannot be divided evenly.
    """
    size("batch_size", batch_size)
    positive_int("process_count", process_count)
    if non_negative_int("process_index", process_index) >= process_count:
        raise ValueError(
            f"`process_index` must be below `process_count`, {process_count}, got {process_index}."
        )
    if batch_size % process_count:
        raise ValueError(
            f"`batch_size` must be a multiple of `process_count`, {process_count}, got "
            f"{batch_size}; it is that of all processes together."
        )
    share = batch_size // process_count
    return range(process_index * share, (process_index + 1) * share)
