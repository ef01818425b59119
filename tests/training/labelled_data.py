"""Three classes of synthetic sounds and a classifier that learns them in seconds."""

from pathlib import Path

import numpy as np

from ddspx import io
from ddspx.models.spectnet import SpectNetConfig
from ddspx.nn import FrontendConfig, LogCompression

LABELS = ("high", "low", "noise")
RATE = 2000


def sound(label: str, seed: int) -> np.ndarray:
    """A tone of any phase and level, high or low, or noise; between 0.2 and 0.5 s."""
    rng = np.random.default_rng((LABELS.index(label), seed))
    time_s = np.arange(rng.integers(RATE // 5, RATE // 2)) / RATE
    frequency_hz = {"low": 150, "high": 600}.get(label, 0) * rng.uniform(0.9, 1.1)
    tone = np.sin(2 * np.pi * (frequency_hz * time_s + rng.random()))
    audio = rng.standard_normal(time_s.size) / 3 if label == "noise" else tone
    return rng.uniform(0.1, 0.9) * audio / np.abs(audio).max()


def write_sounds(folder: Path, *, each: int = 10, labels=LABELS, seed: int = 0) -> Path:
    """A folder with so many sounds of each class."""
    for label in labels:
        for i in range(each):
            path = folder / label / f"{i}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            io.write_audio(path, sound(label, 1000 * seed + i), sample_rate=RATE)
    return folder


def toy_model(**changes) -> SpectNetConfig:
    """Eight log-mel bands and one block of two channels, on segments of 0.2 s."""
    sizes = {"sample_rate": RATE, "n_bands": 8, "hop_length": 20, "n_fft": 64, "win_length": 50}
    frontend = FrontendConfig(**sizes, compression=LogCompression(1e-6))
    fields = {"segment_frames": 21, "n_blocks": 1, "channels": 4, "hidden": 32, "dropout": 0.2}
    return SpectNetConfig(frontend, LABELS, **fields | changes)
