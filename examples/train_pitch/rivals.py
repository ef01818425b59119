"""Pitch by other trackers; `evaluate_pitch.py` runs this script in a separate environment.

    python rivals.py NAME FOLDER
    python rivals.py NAME --time FILE.wav

The first reads every FOLDER/*.wav (mono, of any rate) and writes FOLDER/NAME/*.npz with times in
seconds, pitch in Hz and confidence. The second tracks one file
for each line of its input, and prints the seconds of processor time. It needs swift-f0 0.3,
torchcrepe 0.0.24 (torch, tqdm, resampy) or librosa, and soundfile.
"""

import sys
import time
import types
from pathlib import Path

import numpy as np
import soundfile


def swift_f0(audio, sample_rate):
    """swift-f0; voiced above 0.9."""
    global _detector
    if "_detector" not in globals():
        from swift_f0 import SwiftF0

        _detector = SwiftF0()
    found = _detector.detect(audio, sample_rate)
    return found.timestamps, found.pitch_hz, found.confidence


def _torchcrepe(audio, sample_rate, capacity, decoder="viterbi"):
    sys.modules.setdefault("torchaudio", types.ModuleType("torchaudio"))
    import torch
    import torchcrepe

    with torch.no_grad():
        f0_hz, confidence = torchcrepe.predict(
            torch.from_numpy(audio)[None],
            sample_rate,
            hop_length=sample_rate // 100,
            fmin=32.7,
            fmax=1975.5,
            model=capacity,
            decoder=getattr(torchcrepe.decode, decoder),
            return_periodicity=True,
            batch_size=512,
        )
    return np.arange(f0_hz.shape[1]) * 0.01, f0_hz[0].numpy(), confidence[0].numpy()


def crepe_tiny(audio, sample_rate):
    """The tiny CREPE in PyTorch, with Viterbi."""
    return _torchcrepe(audio, sample_rate, "tiny")


def crepe_full(audio, sample_rate):
    """The full CREPE in PyTorch, with Viterbi."""
    return _torchcrepe(audio, sample_rate, "full")


def crepe_tiny_argmax(audio, sample_rate):
    """The tiny CREPE in PyTorch, frame by frame.

    In short sounds and over the whole range, torchcrepe's Viterbi often stays at the end of the
    range: with it, the pitch is right in 6 % of the frames of the speech.
    """
    return _torchcrepe(audio, sample_rate, "tiny", "weighted_argmax")


def pyin(audio, sample_rate):
    """librosa's pYIN, with the range and the frame of its manual."""
    import librosa

    f0_hz, voiced, probability = librosa.pyin(
        audio,
        fmin=65.41,
        fmax=2093,
        sr=sample_rate,
        frame_length=2048,
        hop_length=sample_rate // 100,
        fill_na=None,
    )
    # pYIN decides itself which frames have a pitch: its confidence is on either side of 0.5.
    confidence = np.where(voiced, 0.5 + probability / 2, probability / 2)
    return np.arange(len(f0_hz)) * 0.01, f0_hz, confidence


TRACKERS = {f.__name__: f for f in (swift_f0, crepe_tiny, crepe_tiny_argmax, crepe_full, pyin)}


def track_all(name, folder):
    """Tracks every file of a folder that has no track yet."""
    out = Path(folder) / name
    out.mkdir(exist_ok=True)
    for path in sorted(Path(folder).glob("*.wav")):
        if (out / f"{path.stem}.npz").exists():
            continue
        audio, sample_rate = soundfile.read(path, dtype="float32")
        time_s, f0_hz, confidence = TRACKERS[name](audio, sample_rate)
        np.savez(out / f"{path.stem}.npz", time_s=time_s, f0_hz=f0_hz, confidence=confidence)


def time_one(name, path):
    """Tracks one file as often as it is asked to."""
    audio, sample_rate = soundfile.read(path, dtype="float32")
    for _ in sys.stdin:
        started = time.process_time()
        TRACKERS[name](audio, sample_rate)
        print(time.process_time() - started, flush=True)


if __name__ == "__main__":
    _, name, *rest = sys.argv
    time_one(name, rest[1]) if rest[0] == "--time" else track_all(name, rest[0])
