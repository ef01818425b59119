"""What a classifier should listen to, as far as the recordings tell."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ddspx.io import Recording, declared_duration_s, declared_sample_rate

# Speech and most machines, animals and hearts say what they are below 8 kHz.
_HIGHEST_RATE = 16_000
_LONGEST_S = 2.5


def suggested_sample_rate(recordings: Sequence[Recording]) -> int:
    """The rate that most recordings have, at most 16 kHz.

    Args:
      recordings: as `io.labelled_recordings` gives them; only what their files declare is read.

    Returns:
      Samples per second; 16 kHz where no file declares a rate.
    """
    declared = (declared_sample_rate(recording.path) for recording in recordings)
    rates = Counter(rate for rate in declared if rate)
    # Of equally frequent ones the highest, whatever the order of the files.
    common = max(rates, key=lambda rate: (rates[rate], rate), default=_HIGHEST_RATE)
    return min(common, _HIGHEST_RATE)


def suggested_segment_s(recordings: Sequence[Recording]) -> float:
    """How long nine of ten recordings are at most, in steps of 10 ms, but no more than 2.5 s.

    Args:
      recordings: as `io.labelled_recordings` gives them; only what their files declare is read.

    Returns:
      Seconds; 2.5 where no file declares its length.
    """
    durations = [declared_duration_s(recording.path) for recording in recordings]
    known = [duration for duration in durations if duration]
    longest = float(np.quantile(known, 0.9)) if known else _LONGEST_S
    return min(max(round(longest, 2), 0.1), _LONGEST_S)
