"""Six ways to make a recording worse, by degrees, and the table of what each measure says.

``python tests/degradations.py DATA`` prints the table of `docs/howto/compare.md` for the recordings
of DATA/sources, mean values at each degree.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile
import soxr

RATE = 16000
SOUNDS = (
    "sms_cello-phrase",
    "librosa_solo-trumpet-06",
    "sms_flute-A4",
    "mtg_tenor_sax_d_minor",
    "sms_singing-female",
    "sms_sax-phrase",
    "sms_oboe-A4",
    "sms_violin-B3",
)


def recordings(data: Path, names=SOUNDS, seconds: float = 4.0) -> dict[str, np.ndarray]:
    """The first seconds of each, from where it sounds."""
    found = {}
    for name in names:
        audio, rate = soundfile.read(data / "sources" / f"{name}.flac", dtype="float32")
        assert rate == RATE
        first = np.flatnonzero(np.abs(audio) > 0.05 * np.abs(audio).max())[0]
        found[name] = audio[max(0, first - 800) :][: round(seconds * RATE)]
    return found


def noise(audio, snr_db, rng):
    white = rng.normal(size=audio.size)
    return audio + white * np.sqrt(np.mean(audio**2) / np.mean(white**2)) * 10 ** (-snr_db / 20)


def low_pass(audio, cutoff_hz, rng):
    return scipy.signal.sosfiltfilt(scipy.signal.butter(4, cutoff_hz, fs=RATE, output="sos"), audio)


def detune(audio, cents, rng):
    """Played slower: the end is cut off, so that the length is the same."""
    return soxr.resample(audio, 1.0, 2 ** (cents / 1200))[: audio.size]


def clicks(audio, per_second, rng):
    out, peak = np.array(audio), np.abs(audio).max()
    at = rng.permutation(audio.size)[: round(per_second * audio.size / RATE)]
    out[at] += 0.5 * peak * rng.choice([-1, 1], size=audio.size)[: at.size]
    return out


def reverb(audio, wet_db, rng):
    """A tail of noise that falls by 60 dB in 0.8 s, of the energy of the sound at 0 dB."""
    tail = rng.normal(size=RATE) * 10 ** (-3 * np.arange(RATE) / RATE / 0.8)
    wet = scipy.signal.fftconvolve(audio, tail)[: audio.size]
    gain = np.sqrt(np.mean(audio**2) / np.mean(wet**2)) * 10 ** (wet_db / 20)
    return audio + gain * wet


def dropouts(audio, per_second, rng):
    out = np.array(audio)
    at = rng.permutation(max(1, audio.size - 640))
    for start in at[: round(per_second * audio.size / RATE)]:
        out[start : start + 640] = 0
    return out


DEGRADATIONS: dict[str, tuple[Callable, tuple[float, ...], str]] = {
    "noise": (noise, (40, 30, 20, 10), "dB"),
    "low-pass": (low_pass, (6000, 4000, 2000, 1000), "Hz"),
    "detune": (detune, (5, 10, 20, 40), "cents"),
    "clicks": (clicks, (1, 4, 16, 64), "a second"),
    "reverb": (reverb, (-24, -16, -8, 0), "dB"),
    "dropouts": (dropouts, (0.5, 2, 6, 16), "a second"),
}


def degraded(audio, name, degree, seed=0):
    """The same random numbers at every degree, so that each contains the one before."""
    make = DEGRADATIONS[name][0]
    return make(audio, degree, np.random.default_rng(seed)).astype(np.float32)


def grows(values) -> bool:
    """Whether each value exceeds the one before."""
    return bool(np.all(np.diff(values) > 0))


def main(data: Path) -> None:
    from ddspx import metrics, training

    sounds = recordings(data)
    clean = [metrics.mfcc_embedding(audio, sample_rate=RATE) for audio in sounds.values()]
    table: dict[str, list[str]] = {}
    for name, (_, degrees, _) in DEGRADATIONS.items():
        rows = []
        for degree in degrees:
            worse = {key: degraded(audio, name, degree) for key, audio in sounds.items()}
            pairs = [
                training.compare_sounds(sounds[key], worse[key], sample_rate=RATE) for key in sounds
            ]
            rows.append(dict(zip(pairs[0]._fields, np.nanmean(pairs, axis=0), strict=True)))
            points = [metrics.mfcc_embedding(audio, sample_rate=RATE) for audio in worse.values()]
            for distance in (metrics.frechet_distance, metrics.kernel_distance):
                value = distance(np.concatenate(clean), np.concatenate(points))
                rows[-1][distance.__name__] = value * (
                    1000 if distance is metrics.kernel_distance else 1
                )
        for measure in rows[0]:
            values = " ".join(f"{row[measure]:.3g}" for row in rows)
            table.setdefault(measure, []).append(values)
    headings = (
        f"{name}: {' '.join(map(str, of))} {unit}" for name, (_, of, unit) in DEGRADATIONS.items()
    )
    print("| |", " | ".join(headings), "|")
    print("| --- |" + " --- |" * len(DEGRADATIONS))
    for measure, cells in table.items():
        print(f"| {measure} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
