"""Signals and definitions that the tests of the pitch trackers share."""

import numpy as np
from helpers import noise, sine

SMALL = {"sample_rate": 8000, "hop_length": 100, "fmin": 200.0, "fmax": 1000.0}


def harmonics(f0_hz, n_samples, *, sample_rate, orders=range(1, 7)):
    parts = (
        sine(k * f0_hz, n_samples, sample_rate=sample_rate, phase_rad=k * k) / k
        for k in orders
        if k * f0_hz < 0.45 * sample_rate
    )
    return sum(parts)


def small_audio(seed=0):
    """A tone in noise whose pitch and periodicity differ from frame to frame."""
    n = 600
    glide = np.cumsum(np.linspace(230, 420, n)) / SMALL["sample_rate"]
    tone = np.sin(2 * np.pi * glide) + 0.5 * np.sin(4 * np.pi * glide)
    return tone + np.linspace(0, 1.5, n) * noise(n, seed=seed)


def centred_frames(audio, frame_length, hop_length):
    left = frame_length // 2
    padded = np.pad(audio, (left, frame_length))
    return [padded[i : i + frame_length] for i in range(0, len(audio) + 1, hop_length)]


def normalized(difference):
    return [1.0] + [k * d / sum(difference[1 : k + 1]) for k, d in enumerate(difference) if k]


def vertex(left, middle, right):
    bend, slope = left + right - 2 * middle, (right - left) / 2
    return -slope / bend if abs(slope) < bend else 0.0


def value_at(left, middle, right, shift):
    return middle + shift * (right - left) / 2 + shift**2 * (left + right - 2 * middle) / 2
