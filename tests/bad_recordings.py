"""Files that are not usable as recordings, and the environment of a command in its own process."""

import os
from pathlib import Path

import numpy as np
import soundfile
from toy_instrument import SAMPLE_RATE, tone

import ddspx

# For a program: every recording is read to its end and heard as one note, by nothing that compiles.
HEARD_AT_ONCE = """
import numpy as np
from ddspx.features import Features
from ddspx.transfer import _transfer
def hear(blocks, *, hop_length, **_):
    frames = 1 + sum(map(len, blocks)) // hop_length
    return Features(*(np.full(frames, x, np.float32) for x in (220.0, 1.0, -20.0)))
_transfer.blockwise_features = hear
"""

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(ddspx.__file__).parents[1])}


def write_text(path):
    path.write_text("this is not a recording\n" * 100)


def write_cut_short(path):
    soundfile.write(path, np.sin(np.arange(20_000) / 5), SAMPLE_RATE, format="FLAC")
    path.write_bytes(path.read_bytes()[:2_000])


def write_samples(samples, subtype="FLOAT"):
    return lambda path: soundfile.write(path, samples, SAMPLE_RATE, subtype, format="WAV")


SPOILT = tone(0.5)
SPOILT[4_000] = np.nan
BURST = np.where(np.arange(8_000) == 5_000, np.inf, tone(0.5))
