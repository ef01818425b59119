"""Pitch by other trackers; `evaluate_pitch.py` runs this script in a separate environment.

    python rivals.py NAME FOLDER

Reads every FOLDER/*.npy (float32 samples at 16 kHz) and writes FOLDER/NAME/*.npz with times in
seconds, pitch in Hz and confidence, and the computing time in seconds. It needs swift-f0 0.3,
torchcrepe 0.0.24 (torch, tqdm, resampy) or librosa.
"""

import sys
import time
import types
from pathlib import Path

import numpy as np

SAMPLE_RATE = 16000


def swift_f0(audio):
    """swift-f0; voiced above 0.9."""
    global _detector
    if "_detector" not in globals():
        from swift_f0 import SwiftF0

        _detector = SwiftF0()
    found = _detector.detect(audio, SAMPLE_RATE)
    return found.timestamps, found.pitch_hz, found.confidence


def _torchcrepe(audio, capacity):
    sys.modules.setdefault("torchaudio", types.ModuleType("torchaudio"))
    import torch
    import torchcrepe

    with torch.no_grad():
        f0_hz, confidence = torchcrepe.predict(
            torch.from_numpy(audio)[None],
            SAMPLE_RATE,
            hop_length=160,
            fmin=32.7,
            fmax=1975.5,
            model=capacity,
            decoder=torchcrepe.decode.viterbi,
            return_periodicity=True,
            batch_size=512,
        )
    return np.arange(f0_hz.shape[1]) * 0.01, f0_hz[0].numpy(), confidence[0].numpy()


def crepe_tiny(audio):
    """The tiny CREPE in PyTorch, with Viterbi."""
    return _torchcrepe(audio, "tiny")


def crepe_full(audio):
    """The full CREPE in PyTorch, with Viterbi."""
    return _torchcrepe(audio, "full")


def pyin(audio):
    """librosa's pYIN."""
    import librosa

    f0_hz, voiced, probability = librosa.pyin(
        audio, fmin=32.7, fmax=2093, sr=SAMPLE_RATE, frame_length=2048, hop_length=160, fill_na=None
    )
    # pYIN decides itself which frames have a pitch: its confidence is on either side of 0.5.
    confidence = np.where(voiced, 0.5 + probability / 2, probability / 2)
    return np.arange(len(f0_hz)) * 0.01, f0_hz, confidence


def main(name, folder):
    """Tracks every file of a folder."""
    out = Path(folder) / name
    out.mkdir(exist_ok=True)
    track = {f.__name__: f for f in (swift_f0, crepe_tiny, crepe_full, pyin)}[name]
    for path in sorted(Path(folder).glob("*.npy")):
        if (out / f"{path.stem}.npz").exists():
            continue
        audio = np.load(path)
        started = time.perf_counter()
        time_s, f0_hz, confidence = track(audio)
        np.savez(
            out / f"{path.stem}.npz",
            time_s=time_s,
            f0_hz=f0_hz,
            confidence=confidence,
            seconds=time.perf_counter() - started,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
