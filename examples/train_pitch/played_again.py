"""Recordings that are synthesized again from their measured pitch, and saxophone notes, in noise.

There are three kinds of reference pitch: recordings that are synthesized again from their measured
pitch, which is then exact ("replayed"); the recordings themselves, in frames where at least three
of the four other trackers agree on the clean sound ("agreed"); and single notes of saxophones with
their labels ("labelled").
"""

import csv
import itertools
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import soundfile
from scores import interval
from sounds import SAMPLE_RATE, measure, perform
from train_pitch import read
from truth import first_seconds, is_sounding, labelled_notes, midi_to_hz, write

from ddspx import metrics

HOP = 160
SNRS_DB = (None, 20, 10, 0)
RIVALS = ("swift_f0", "crepe_tiny", "crepe_full", "pyin")
# The confidence at which each tracker finds a pitch: the published value, or 0.5.
VOICED = {"swift_f0": 0.9}
# Each recording, and the range in which its pitch is measured for "replayed".
PHRASES = {
    "singing": [
        ("sources/vocadito_1.flac", 80, 400),
        ("sources/sms_singing-female.flac", 180, 700),
        ("sources/sms_vignesh.flac", 100, 500),
    ],
    "violin": [("violin_bach/john-garner_bwv1002_mov8.flac", 180, 1500)],
    "saxophones": [
        ("sources/sms_sax-phrase.flac", 180, 1000),
        ("sources/mtg_tenor_sax_e_major.flac", 100, 600),
        ("sources/mtg_tenor_sax_d_minor.flac", 100, 600),
    ],
    "cello": [("sources/sms_cello-phrase.flac", 150, 700)],
    "flute": [("sources/sms_flute-A4.flac", 300, 700)],
}
VIOLIN_S = slice(20, 50)
NOTES_OF = ("flute", "cello")


class Truth(NamedTuple):
    """For every frame: the pitch, whether there is one, and whether each of the two is scored."""

    f0_hz: np.ndarray
    is_voiced: np.ndarray
    scores_pitch: np.ndarray
    scores_voicing: np.ndarray


def make_sounds(data: Path, folder: Path) -> None:
    """Writes every sound at every noise level, and its reference pitch."""
    with open(data / "solo_notes" / "metadata.csv") as file:
        rows = list(csv.DictReader(file))
    jobs = [
        (group, Path(file).stem, read(data / file), fmin, fmax)
        for group, files in PHRASES.items()
        for file, fmin, fmax in files
    ]
    jobs = [
        (g, name, audio[VIOLIN_S.start * SAMPLE_RATE : VIOLIN_S.stop * SAMPLE_RATE], *rest)
        if g == "violin"
        else (g, name, audio, *rest)
        for g, name, audio, *rest in jobs
    ]
    for instrument in NOTES_OF:
        notes = [r for r in rows if r["instrument"] == instrument and r["split"] == "test"]
        for row in notes[:7]:
            # Less than an octave, so that an octave error cannot become the reference.
            hz, (audio, _) = midi_to_hz(float(row["midi"])), first_seconds(data, row)
            jobs.append((instrument, Path(row["file"]).stem, audio, hz / 1.3, hz * 1.3))
    for group, name, audio, fmin, fmax in jobs:
        again, labels = perform(
            jax.random.key(0), measure(audio, fmin=fmin, fmax=fmax), hop_length=HOP
        )
        labels = [np.asarray(x) for x in labels]
        truth = Truth(labels[0], labels[1], labels[2] > 0, labels[3] > 0)
        save(folder, f"replayed.{group}.{name}", np.asarray(again), truth)
        save(folder, f"agreed.{group}.{name}", audio, None)
    for row in labelled_notes(data):
        audio, _ = first_seconds(data, row)
        sounds = is_sounding(audio, HOP)
        f0_hz = np.full(len(sounds), midi_to_hz(float(row["midi"])))
        truth = Truth(f0_hz, sounds, sounds, np.zeros_like(sounds))
        save(folder, f"labelled.saxophones.{Path(row['file']).stem}", audio, truth)


def save(folder: Path, name: str, audio: np.ndarray, truth: Truth | None) -> None:
    """Writes one recording, clean and in white noise."""
    if truth is not None:
        np.savez(folder / f"{name}.truth.npz", **truth._asdict())
    rng = np.random.default_rng(len(audio))
    for snr_db in SNRS_DB:
        sound = audio
        if snr_db is not None:
            sigma = np.sqrt(np.mean(audio**2) / 10 ** (snr_db / 10))
            sound = audio + sigma * rng.standard_normal(len(audio))
        write(folder, f"{name}.{snr_db}", sound, SAMPLE_RATE)


def track_at_frames(path: Path, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """A tracker's pitch and confidence at the frames of ddspx, by linear interpolation.

    Leaps of pitch are not interpolated: the nearer frame decides.
    """
    track = np.load(path)
    now = np.arange(n_frames) * HOP / SAMPLE_RATE
    times = track["time_s"]
    octave = np.log2(np.maximum(track["f0_hz"], 1.0))
    after = np.clip(np.searchsorted(times, now), 1, len(times) - 1)
    weight = np.clip((now - times[after - 1]) / (times[after] - times[after - 1]), 0, 1)
    leap = np.abs(octave[after] - octave[after - 1]) > 1 / 12
    step = np.where(leap, np.round(weight), weight)
    f0_hz = 2 ** (octave[after - 1] * (1 - step) + octave[after] * step)
    return f0_hz, np.interp(now, times, track["confidence"])


def truth_of(folder: Path, name: str, rivals: list[str]) -> Truth:
    """The reference pitch of a recording: stored with it, or that on which most trackers agree."""
    stored = folder / f"{name}.truth.npz"
    if stored.exists():
        return Truth(**np.load(stored))
    n_frames = 1 + soundfile.info(folder / f"{name}.None.wav").frames // HOP
    tracks = [track_at_frames(folder / rival / f"{name}.None.npz", n_frames) for rival in rivals]
    f0_hz = np.stack([track[0] for track in tracks])
    finds_pitch = np.stack(
        [t[1] >= VOICED.get(r, 0.5) for t, r in zip(tracks, rivals, strict=True)]
    )
    median = np.exp(np.ma.median(np.ma.array(np.log(f0_hz), mask=~finds_pitch), axis=0).filled(0))
    near = finds_pitch & (np.abs(1200 * np.log2(f0_hz / median)) < 50)
    voiced, unvoiced = near.sum(0) >= 3, (~finds_pitch).sum(0) >= 3
    return Truth(np.where(voiced, median, 100.0), voiced, voiced, voiced | unvoiced)


def measures(track: tuple[np.ndarray, np.ndarray], truth: Truth, limit: float) -> list[float]:
    """Accuracy, octave errors, recall, false alarms, in per cent, and cents."""
    f0_hz, confidence = track
    pitched = (truth.is_voiced & truth.scores_pitch).astype(float)
    estimated = (confidence >= limit).astype(float)[truth.scores_voicing]
    voiced = truth.is_voiced.astype(float)[truth.scores_voicing]
    return [
        100 * metrics.raw_pitch_accuracy(truth.f0_hz, f0_hz, pitched),
        100 * metrics.octave_error_share(truth.f0_hz, f0_hz, pitched),
        100 * metrics.voicing_recall(voiced, estimated),
        100 * metrics.voicing_false_alarm(voiced, estimated),
        metrics.median_cents_error(truth.f0_hz, f0_hz, pitched),
    ]


def report(folder: Path, trackers: list[str]) -> str:
    """A table for each kind of reference: means over recordings; 95 % intervals of the accuracy."""
    rivals = [name for name in trackers if name in RIVALS]
    kinds: dict[str, dict[str, list[str]]] = {}
    for path in sorted(folder.glob("*.None.wav")):
        kind, group, _ = path.stem.split(".", 2)
        kinds.setdefault(kind, {}).setdefault(group, []).append(path.stem.removesuffix(".None"))
    lines = []
    for kind, groups in kinds.items():
        if kind == "agreed" and len(rivals) < 3:
            continue
        lines += [f"\n### {kind}\n", "| recordings | noise | " + " | ".join(trackers) + " |"]
        lines += ["|" + "---|" * (2 + len(trackers))]
        groups = (
            groups | {"all": list(itertools.chain(*groups.values()))} if len(groups) > 1 else groups
        )
        for group, names in groups.items():
            truths = {name: truth_of(folder, name, rivals) for name in names}
            for snr_db in SNRS_DB:
                cells = []
                for tracker in trackers:
                    rows = []
                    for name, truth in truths.items():
                        found = folder / tracker / f"{name}.{snr_db}.npz"
                        track = track_at_frames(found, len(truth.f0_hz))
                        rows.append(measures(track, truth, VOICED.get(tracker, 0.5)))
                    cells.append(cell(np.array(rows)))
                noise = "clean" if snr_db is None else f"{snr_db} dB"
                lines.append(f"| {group} ({len(names)}) | {noise} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(rows: np.ndarray) -> str:
    """Means over the recordings, and the 95 % interval of the first one."""
    means = [np.nanmean(c) if np.isfinite(c).any() else np.nan for c in rows.T]
    low, high = interval(rows[:, 0])
    accuracy, *shares, cents = means
    return f"{accuracy:.1f} [{low:.1f}, {high:.1f}] / " + " / ".join(
        "-" if np.isnan(x) else f"{x:.1f}" for x in (*shares, cents)
    )
