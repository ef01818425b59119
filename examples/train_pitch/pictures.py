"""Pictures of the trackers' errors, drawn from the results of `evaluate_pitch.py`.

    python pictures.py RESULTS

Writes `roc.png` (recall over false alarms at all thresholds), `reliability.png` (how often a frame
of a given confidence has a pitch), and three excerpts with what the trackers found.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile
from evaluate_pitch import COLUMNS, lag_of, references
from scipy import signal
from scores import confidences, read_track
from truth import HELD_OUT

COLORS = {
    "ddspx": "tab:blue",
    "ddspx-live": "tab:cyan",
    "ddspx yin": "tab:purple",
    "CREPE tiny": "tab:green",
    "swift-f0 (0.9)": "tab:red",
    "pYIN": "tab:brown",
}
# Sets with frames of both kinds, and the part to which they belong.
CURVES = {
    "singing": "real",
    HELD_OUT: "real",
    "room, 20 ms after notes": "stress",
    "room, later": "stress",
    "breath and consonants": "stress",
    "hum": "stress",
    "bleed": "stress",
    "telephone, notes": "stress",
}
CALIBRATED = ("ddspx", "ddspx-live", "swift-f0 (0.9)", "CREPE tiny")
BINS = 10
# The quantiles of the confidence at which the curves are computed, and their ticks.
PERCENT = np.concatenate([np.linspace(0, 1, 201), 1 - np.geomspace(1e-4, 5e-3, 20)])
FALSE_ALARMS = (0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.7, 1)
MARKERS = {"CREPE tiny": "+", "swift-f0 (0.9)": "x", "ddspx-live": "2", "ddspx": "."}
# The window of a spectrogram.
WINDOW_S = 0.04
# The file of each excerpt, with its start and end in seconds, and the range of frequency.
EXCERPTS = {
    "singing": ("singing.vocadito_1", 8.2, 11.2, (80, 900)),
    "speech": (f"{HELD_OUT}.rl026", 0.0, 10.0, (50, 900)),
    "consonant": ("singing.vocadito_1", 5.9, 7.1, (80, 4000)),
}


def pooled(results: Path, part: str, set_names: list[str], column: str):
    """Whether each frame of some sets has a pitch, and a tracker's confidence in it."""
    folder, tracks = results / part, COLUMNS[column][0]
    found = []
    for set_name in set_names:
        for name, reference in references(folder).get(set_name, {}).items():
            path = folder / tracks / f"{name}.npz"
            if path.exists():
                found.append(
                    confidences(reference, read_track(path, lag_of(folder, set_name, tracks)))
                )
    return tuple(map(np.concatenate, zip(*found, strict=True))) if found else None


def draw_roc(results: Path) -> plt.Figure:
    """Recall over false alarms, a panel for each set; a dot is at the default threshold."""
    figure, panels = plt.subplots(
        2, len(CURVES) // 2, figsize=(14, 7), layout="constrained", sharex=True, sharey=True
    )
    for axes, (set_name, part) in zip(panels.flat, CURVES.items(), strict=True):
        for column, color in COLORS.items():
            frames = pooled(results, part, [set_name], column)
            if frames is None:
                continue
            is_voiced, confidence = frames
            levels = np.unique(np.concatenate([[-1, 2], np.quantile(confidence, PERCENT)]))
            shares = [_shares(is_voiced, confidence, level) for level in levels]
            axes.plot(*np.transpose(shares), color=color, linewidth=1.2, label=column)
            axes.plot(*_shares(is_voiced, confidence, COLUMNS[column][1]), "o", color=color)
        axes.set_title(set_name, fontsize=10)
        axes.grid(alpha=0.3)
    # Wider where there are few false alarms.
    axes.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    axes.set_xticks(FALSE_ALARMS, [f"{x:g}" for x in FALSE_ALARMS])
    axes.set_xlim(0, 1)
    axes.set_ylim(0.5, 1.01)
    figure.supxlabel("false alarms")
    figure.supylabel("recall")
    handles = {h.get_label(): h for p in panels.flat for h in p.lines if h.get_label()[0] != "_"}
    figure.legend(handles=list(handles.values()), loc="outside upper center", ncols=len(handles))
    return figure


def _shares(is_voiced, confidence, level):
    """False alarms and recall at a threshold."""
    found = confidence >= level
    return found[~is_voiced].mean(), found[is_voiced].mean()


def draw_reliability(results: Path) -> plt.Figure:
    """The share of voiced frames by confidence; below, how many frames have that confidence."""
    groups = {
        "singing": ("real", ["singing"]),
        "speech, held out": ("real", [HELD_OUT]),
        "stress": ("stress", [name for name, part in CURVES.items() if part == "stress"]),
    }
    figure, panels = plt.subplots(
        2, len(groups), figsize=(13, 6), layout="constrained", sharex=True, sharey="row",
        height_ratios=(3, 1),
    )  # fmt: skip
    edges = np.linspace(0, 1, BINS + 1)
    shown = [c for c in CALIBRATED if (results / "real" / COLUMNS[c][0]).exists()]
    for (above, below), (title, (part, set_names)) in zip(panels.T, groups.items(), strict=True):
        for i, column in enumerate(shown):
            frames = pooled(results, part, set_names, column)
            if frames is None:
                continue
            is_voiced, confidence = frames
            at = np.clip(np.digitize(confidence, edges) - 1, 0, BINS - 1)
            counts = np.bincount(at, minlength=BINS)
            means = np.bincount(at, confidence, BINS) / np.maximum(counts, 1)
            shares = np.bincount(at, is_voiced, BINS) / np.maximum(counts, 1)
            error = np.sum(counts * np.abs(means - shares)) / counts.sum()
            some, color = counts >= 10, COLORS[column]
            name = column.removesuffix(" (0.9)")
            above.plot(
                means[some], shares[some], "o-", color=color, label=f"{name}: off by {error:.3f}"
            )
            width = 0.09 / len(shown)
            below.bar(edges[:-1] + 0.005 + (i + 0.5) * width, counts, width, color=color)
        above.plot([0, 1], [0, 1], color="gray", linestyle="--", linewidth=0.8)
        above.set_title(title, fontsize=10)
        above.legend(loc="upper left", fontsize=8)
        below.set_yscale("log")
        below.set_xlabel("confidence")
    panels[0, 0].set_ylabel("share of voiced frames")
    panels[1, 0].set_ylabel("frames")
    return figure


def draw_excerpt(results: Path, title: str) -> plt.Figure:
    """An excerpt's spectrogram with the reference and the trackers, and their confidences."""
    name, start, stop, (low, high) = EXCERPTS[title]
    folder, set_name = results / "real", name.split(".")[0]
    audio, sample_rate = soundfile.read(folder / f"{name}.wav")
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(12, 7), layout="constrained", sharex=True, height_ratios=(3, 1)
    )
    size = round(WINDOW_S * sample_rate)
    # Padded, so that the rows of low frequencies are no blocks.
    grid = {"nperseg": size, "noverlap": size * 9 // 10, "nfft": 8 * size}
    hz, time_s, power = signal.spectrogram(audio, sample_rate, "hann", **grid)
    columns, rows = (time_s >= start) & (time_s <= stop), (hz > 0) & (hz <= 1.2 * high)
    level_db = 10 * np.log10(power[np.ix_(rows, columns)] + 1e-20)
    shades = {"cmap": "gray_r", "vmin": level_db.max() - 70, "vmax": level_db.max() + 30}
    above.pcolormesh(time_s[columns], hz[rows], level_db, rasterized=True, **shades)
    truth_s, truth_hz = references(folder)[set_name][name]
    truth_s = truth_s - lag_of(folder, set_name, "ddspx")
    truth_hz = np.where(truth_hz > 0, truth_hz, np.nan)
    above.plot(truth_s, truth_hz, color="gold", linewidth=10, alpha=0.6, label="reference")
    for column, marker in MARKERS.items():
        tracks, voiced = COLUMNS[column]
        path = folder / tracks / f"{name}.npz"
        if not path.exists():
            continue
        track, color = read_track(path), COLORS[column]
        found_hz = np.where(track.confidence >= voiced, track.f0_hz, np.nan)
        above.plot(track.time_s, found_hz, marker, color=color, markersize=6, label=column)
        below.plot(track.time_s, track.confidence, color=color, linewidth=1.2)
    below.axhline(0.5, color="gray", linestyle="--", linewidth=0.8)
    above.set_yscale("log", base=2)
    ticks = [x for x in (50, 100, 200, 400, 800, 1600, 3200) if low <= x <= high]
    above.set_yticks(ticks, [str(x) for x in ticks])
    above.set(ylim=(low, high), ylabel="pitch (Hz)", title=f"{title}: {name}")
    above.legend(loc="upper right", fontsize=9, ncols=5)
    below.set(xlim=(start, min(stop, len(audio) / sample_rate)), ylim=(-0.03, 1.03))
    below.set(xlabel="time (s)", ylabel="confidence")
    return figure


def main(arguments: argparse.Namespace) -> None:
    """Writes the pictures beside the results."""
    results = arguments.results
    draw_roc(results).savefig(results / "roc.png", dpi=120)
    draw_reliability(results).savefig(results / "reliability.png", dpi=120)
    for title in EXCERPTS:
        draw_excerpt(results, title).savefig(results / f"{title}.png", dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path)
    main(parser.parse_args())
