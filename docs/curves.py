"""The picture of `howto/compare.md`, drawn from the table on the page."""

import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parent / "howto" / "compare.md"


def read(page: Path = PAGE) -> dict[str, dict[str, list[float]]]:
    """The four values of each measure, by degradation and measure."""
    text = page.read_text(encoding="utf-8").partition("## What they hear")[2]
    lines = [line for line in text.partition("```")[0].splitlines() if line.startswith("|")]
    heading, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {
        degradation: {row[0]: [float(value) for value in row[column].split()] for row in rows}
        for column, degradation in enumerate(heading)
        if column
    }


def draw(picture: Path) -> None:
    """Draws each measure relative to its largest value, at the four degrees.

    Of shares the distance from 1 is drawn, and what is negative, which kernel distances of about 0
    may be, as 0.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots(2, 3, sharey=True).ravel()
    for place, (degradation, measures) in zip(axes, read().items(), strict=True):
        for name, values in measures.items():
            shown = np.maximum(0, 1 - np.array(values) if name.endswith("*") else values)
            label = re.sub(r" \(.*\)|, times.*| \*", "", name)
            place.plot(shown / max(shown.max(), 1e-12), marker=".", label=label)
        title, _, degrees = degradation.partition(": ")
        *ticks, unit = degrees.split(" ", 4)
        place.set_title(title)
        place.set_xticks(range(4), ticks)
        place.set_xlabel(unit)
        place.set_ylim(0, 1.05)
    figure.supylabel("share of the largest value")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)
