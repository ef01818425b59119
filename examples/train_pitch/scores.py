"""Scores of pitch tracks against references, by mir_eval."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mir_eval import melody
from scipy import stats

MEASURES = ("pitch", "recall", "false_alarms", "overall")
# A lag is searched for in these, in seconds.
LAGS_S = np.arange(-20, 21) / 1000
Series = tuple[np.ndarray, np.ndarray]


class Track(NamedTuple):
    """What a tracker found."""

    time_s: np.ndarray
    f0_hz: np.ndarray
    confidence: np.ndarray


def read_track(path: Path, lag_s: float = 0.0) -> Track:
    """A stored track, moved to later by `lag_s`."""
    stored = np.load(path)
    return Track(stored["time_s"] + lag_s, stored["f0_hz"], stored["confidence"])


def score(truth: Series, track: Track, voiced: float) -> dict[str, float]:
    """Scores of a track: within 50 cents, voiced where the confidence is at least `voiced`.

    An unvoiced frame keeps its pitch, which counts in the accuracy of the pitch but not in the
    overall accuracy. A measure without frames to count is NaN.
    """
    f0_hz = np.nan_to_num(track.f0_hz.astype(float))
    series = _series(truth, track.time_s, np.where(track.confidence >= voiced, f0_hz, -f0_hz))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* has no voiced frames")
        recall, false_alarms = melody.voicing_measures(series[0], series[2])
        pitch, overall = melody.raw_pitch_accuracy(*series), melody.overall_accuracy(*series)
    scores = dict(zip(MEASURES, map(float, (pitch, recall, false_alarms, overall)), strict=True))
    if not np.any(truth[1] > 0):
        scores |= {"pitch": np.nan, "recall": np.nan}
    if np.all(truth[1] > 0):
        scores["false_alarms"] = np.nan
    return scores


def _series(truth: Series, time_s: np.ndarray, *found: np.ndarray, kind="linear"):
    """Voicing and cents of the reference and of the track, at the times of the reference."""
    series = melody.to_cent_voicing(*truth, time_s.astype(float), *found, kind=kind)
    # mir_eval adds a frame at 0 s to a reference that begins later.
    return tuple(x[int(truth[0][0] > 0) :] for x in series)


def best_lag(truths: list[Series], paths: list[Path]) -> float:
    """The seconds by which tracks are to be moved so that most of their pitches are right."""
    pairs = list(zip(truths, paths, strict=True))
    right = [
        np.mean([score(truth, read_track(path, lag), 0.5)["pitch"] for truth, path in pairs])
        for lag in LAGS_S
    ]
    # The middle of a plateau.
    return float(np.mean(LAGS_S[np.isclose(right, max(right))]))


def confidences(truth: Series, track: Track) -> tuple[np.ndarray, np.ndarray]:
    """Whether each frame of the reference has a pitch, and the tracker's confidence there.

    The confidence of a frame holds until the next, as its voicing does in mir_eval.
    """
    found = np.nan_to_num(track.f0_hz.astype(float)), track.confidence.astype(float)
    is_voiced, _, confidence, _ = _series(truth, track.time_s, *found, kind="zero")
    return is_voiced > 0, confidence


def interval(values: Iterable[float]) -> tuple[float, float]:
    """The 95 % interval of a mean over recordings, by bootstrap."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if len(values) < 2 or np.ptp(values) == 0:
        return (float(np.mean(values)),) * 2 if len(values) else (np.nan, np.nan)
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    )
    return tuple(map(float, found.confidence_interval))


def cell(rows: list[dict[str, float]]) -> str:
    """The means over the recordings of a set, with the intervals of the first and the last."""
    return " / ".join(
        number([row[name] for row in rows], with_interval=name in ("pitch", "overall"))
        for name in MEASURES
    )


def number(values: list[float], *, with_interval: bool) -> str:
    """A mean of shares, as `.987` or `.987 [.981, .992]`; `-` where nothing counts."""
    finite = [x for x in values if np.isfinite(x)]
    if not finite:
        return "-"
    text = share(np.mean(finite))
    if with_interval and len(finite) > 1:
        text += " [{}, {}]".format(*map(share, interval(finite)))
    return text


def share(x: float) -> str:
    """A share in three digits, without the zero before the point."""
    return f"{x:.3f}".removeprefix("0")


def table(results: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """A line for each set: the results of all trackers beside each other."""
    trackers = list(dict.fromkeys(t for by_tracker in results.values() for t in by_tracker))
    lines = ["| set | files | " + " | ".join(trackers) + " |", "|" + "---|" * (2 + len(trackers))]
    for name, by_tracker in results.items():
        files = max(len(rows) for rows in by_tracker.values())
        cells = [cell(by_tracker[t]) if t in by_tracker else "" for t in trackers]
        lines.append(f"| {name} | {files} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
