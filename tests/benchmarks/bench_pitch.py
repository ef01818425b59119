"""Pitch of 10 s at 16 kHz, every 10 ms, from 65 Hz to 2.1 kHz, beside librosa in the same process.

Run: ``python tests/benchmarks/bench_pitch.py``. The sound is a voice of six harmonics that glides
and pauses, in noise. The error is the share of its pitched frames that are off by 50 cents or
more, and beside pYIN then that of all frames whose voicing is wrong. The networks are called as
users call them, from arrays of NumPy.
"""

import time
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import librosa
import numpy as np
from harness import Case, compiled, report

from ddspx import core, features, metrics
from ddspx.metrics import VOICED

RATE, HOP, SECONDS = 16000, 160, 10
LIMITS = {"fmin": 65.0, "fmax": 2093.0}
RANGE = {"hop_length": HOP, "frame_length": 2048, **LIMITS}


def voice() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Audio, and the frequency and the voicing of its frames."""
    time_s = np.arange(RATE * SECONDS) / RATE
    f0_hz = 220 * 2 ** (np.sin(0.9 * time_s) + 0.03 * np.sin(2 * np.pi * 5.5 * time_s))
    phase_rad = 2 * np.pi * np.cumsum(f0_hz) / RATE
    is_voiced = time_s % 1 < 0.75
    tone = sum(np.sin(k * phase_rad + k * k) / k for k in range(1, 7))
    noise = np.random.default_rng(0).standard_normal(time_s.size)
    audio = (0.2 * is_voiced * tone + 0.02 * noise).astype(np.float32)
    at = np.minimum(np.arange(1 + time_s.size // HOP) * HOP, time_s.size - 1)
    return audio, f0_hz[at], is_voiced[at].astype(float)


def timed(f: Callable[[], object], error: str) -> Case:
    """A function of NumPy as a row."""

    def run() -> float:
        start = time.perf_counter()
        f()
        return 1e3 * (time.perf_counter() - start)

    return Case(run, None, error)


def main() -> None:
    audio, truth_hz, voicing = voice()
    device_audio = jnp.asarray(audio)

    def off(f0_hz, is_voiced=None):
        share = 1 - metrics.raw_pitch_accuracy(truth_hz, np.asarray(f0_hz), voicing)
        if is_voiced is None:
            return f"{100 * share:.1f} %"
        return f"{100 * share:.1f} %, {100 * np.mean(np.asarray(is_voiced) != (voicing > 0)):.1f} %"

    ours = {
        name: partial(getattr(core, name), sample_rate=RATE, **RANGE) for name in ("yin", "pyin")
    }
    f0_hz, _ = jax.jit(ours["yin"])(device_audio)
    theirs = partial(librosa.yin, audio, sr=RATE, **RANGE)
    cases = {
        "ddspx": compiled(ours["yin"], device_audio, error=off(f0_hz)),
        "librosa.yin": timed(theirs, off(theirs())),
    }
    report("YIN, 10 s", cases, repeats=7, baseline="librosa.yin")
    networks = {
        name: partial(
            features.track_pitch, audio, sample_rate=RATE, hop_length=HOP, method=name, **LIMITS
        )
        for name in ("ddspx", "ddspx-live")
    }
    tracks = {name: track() for name, track in networks.items()}
    track = jax.jit(ours["pyin"])(device_audio)
    theirs = partial(librosa.pyin, audio, sr=RATE, fill_na=None, **RANGE)
    cases = {
        "ddspx": compiled(ours["pyin"], device_audio, error=off(track.f0_hz, track.is_voiced)),
        "librosa.pyin": timed(theirs, off(*theirs()[:2])),
        **{
            f"the network {name}": timed(track, off(tracks[name][0], tracks[name][1] >= VOICED))
            for name, track in networks.items()
        },
    }
    report("pYIN, 10 s", cases, repeats=3, baseline="librosa.pyin")


if __name__ == "__main__":
    main()
