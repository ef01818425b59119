"""Prints a comparison of recordings as tables, and makes it plain for JSON."""

import math
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ddspx._text import printable

# Imported only for annotations, so that an error in the options is reported without loading NumPy.
if TYPE_CHECKING:
    from ddspx.metrics import Interval
    from ddspx.training import Comparison

_ROWS = {
    "mel_cepstral_distortion_db": "mel-cepstral distortion (dB)",
    "aligned_distortion_db": "the same, aligned (dB)",
    "log_spectral_distance_db": "log-spectral distance (dB)",
    "stft_distance": "multi-resolution STFT",
    "loudness_l1_db": "loudness L1 (dB)",
    "f0_error_cents": "f0, median (cents)",
    "raw_pitch_accuracy": "raw pitch accuracy *",
    "vibrato_rate_error_hz": "vibrato rate (Hz)",
    "vibrato_extent_error_cents": "vibrato extent (cents)",
    "onset_f1": "onset F1 *",
}


def print_comparison(comparison: "Comparison", title: str) -> None:
    """Prints the means over the pairs, and the distances of the sets."""
    console = Console()
    console.print(escape(printable(title)), highlight=False)
    if comparison.pairs:
        count = len(comparison.pairs)
        pairs = Table(
            title=f"{count} pair{'s' * (count > 1)}: mean \\[95 % interval]",
            caption="lower is better; of those with * higher is",
            box=box.SIMPLE,
        )
        pairs.add_column("")
        pairs.add_column("", justify="right", no_wrap=True)
        pairs.add_column("defined for", justify="right")
        for name, heading in _ROWS.items():
            defined = sum(math.isfinite(getattr(pair, name)) for pair in comparison.pairs.values())
            pairs.add_row(heading, _cell(comparison.measures[name]), str(defined))
        console.print(pairs)
    else:
        console.print("No two recordings have the same name, so only the sets are compared.")
    counts = f"{comparison.n_predicted} against {comparison.n_target} recordings"
    sets = Table(
        title=f"sets of {counts}: distance \\[95 % interval]",
        caption="with few points a Frechet distance is too large, and lies above its interval",
        box=box.SIMPLE,
    )
    sets.add_column("embedding", overflow="fold")
    for heading in ("points", "Frechet", "kernel"):
        sets.add_column(heading, justify="right", no_wrap=True)
    for row in comparison.sets:
        points = f"{row.n_predicted}, {row.n_target}"
        name = f"{row.embedding} ({row.n_features})"
        sets.add_row(escape(name), points, _cell(row.frechet), _cell(row.kernel))
    console.print(sets)


def plain_comparison(comparison: "Comparison") -> dict[str, Any]:
    """A comparison as plain objects; what is not defined becomes null."""
    return {
        "recordings": {"target": comparison.n_target, "predicted": comparison.n_predicted},
        "measures": {name: _plain(interval) for name, interval in comparison.measures.items()},
        "pairs": {
            name: {key: _number(value) for key, value in measures._asdict().items()}
            for name, measures in comparison.pairs.items()
        },
        "sets": [
            row._asdict() | {"frechet": _plain(row.frechet), "kernel": _plain(row.kernel)}
            for row in comparison.sets
        ],
    }


def _plain(interval: "Interval") -> dict[str, float | None]:
    return {name: _number(value) for name, value in interval._asdict().items()}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _cell(interval: "Interval") -> str:
    value, low, high = interval
    if math.isnan(value):
        return "-"
    ends = "" if math.isnan(low) else f" [{low:.3g}, {high:.3g}]"
    return escape(f"{value:.3g}{ends}")
