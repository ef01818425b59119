"""Print the results of `train_spectnet.py` as Markdown tables, with 95 % intervals.

A cell has the accuracy over all test recordings of the seeds with results for all divisions, and in
parentheses the number of runs. In the second table the seeds of a division vote, and count as one
run. Intervals are over recordings, or over speakers where speakers were held out
(`ddspx.metrics.classification_scores`).
"""

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from ddspx import metrics

COLUMNS = {
    "fsdd, official": ("fsdd", "official", ""),
    "fsdd, new speaker": ("fsdd", "without", ""),
    "heart, at random": ("heart", "at random", ""),
    "heart, given": ("heart", "given", ""),
    "physionet": ("physionet", "given", ""),
    "esc10": ("esc10", "without", ""),
    "instruments": ("instruments", "given", "same libraries"),
    "alto sax, other library": ("instruments", "given", "other library"),
}


def cell(runs: list[dict], group: str) -> str:
    """Accuracy in percent, its interval, and the number of runs."""
    targets, predictions, units = [], [], []
    for run in runs:
        for i, (target, called, of) in enumerate(
            zip(run["target"], run["predicted"], run["group"], strict=True)
        ):
            if group in ("", of):
                targets.append(target)
                predictions.append(called)
                by_speaker = run["task"] == "fsdd" and run["division"] != "official"
                units.append(run["division"] if by_speaker else f"{run['division']} {i}")
    if not targets:
        return "-"
    if len(set(units)) == 1:
        return f"{100 * np.mean(np.equal(targets, predictions)):.1f} ({len(runs)})"
    scores = metrics.classification_scores(
        np.array(targets), np.array(predictions), n_classes=len(runs[0]["labels"]), groups=units
    )
    value, low, high = (100 * x for x in scores.accuracy)
    return f"{value:.1f} [{low:.0f}, {high:.0f}] ({len(runs)})"


def whole_seeds(runs: list[dict], task: str, division: str) -> list[dict]:
    """The runs of a task whose seed has all divisions, so that all divisions count equally."""
    of = [run for run in runs if run["task"] == task and run["division"].startswith(division)]
    done = defaultdict(set)
    for run in of:
        done[run["seed"]].add(run["division"])
    divisions = set().union(*done.values())
    return [run for run in of if done[run["seed"]] == divisions]


def voted(runs: list[dict]) -> list[dict]:
    """One run per division, with the label of most seeds, or of the first if they are tied."""
    by_division = defaultdict(list)
    for run in sorted(runs, key=lambda run: run["seed"]):
        by_division[run["division"]].append(run)
    return [
        # Of equally frequent labels, `Counter` returns the first.
        of[0]
        | {
            "predicted": [
                Counter(calls).most_common(1)[0][0]
                for calls in zip(*(run["predicted"] for run in of), strict=True)
            ]
        }
        for of in by_division.values()
    ]


def print_table(header: list[str], rows: list[list[str]]) -> None:
    for row in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(row) + " |")
    print()


def main(results: Path) -> None:
    runs = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    kinds = list(dict.fromkeys(run["front_end"] for run in runs))
    chosen = {
        (k, column): whole_seeds([run for run in runs if run["front_end"] == k], task, division)
        for k in kinds
        for column, (task, division, _) in COLUMNS.items()
    }
    for name, count in (("front-end", list), ("seeds voting", voted)):
        rows = [
            [k, *(cell(count(chosen[k, c]), group) for c, (_, _, group) in COLUMNS.items())]
            for k in kinds
        ]
        print_table([name, *COLUMNS], rows)
    moved = {
        k: np.median([run["moved_erb"] for run in runs if run["front_end"] == k]) for k in kinds
    }
    print_table(["front-end", "centres moved, ERB"], [[k, f"{moved[k]:.3f}"] for k in kinds])
    databases = sorted({of for run in runs if run["task"] == "physionet" for of in run["group"]})
    if databases:
        rows = [[k, *(cell(chosen[k, "physionet"], of) for of in databases)] for k in kinds]
        print_table(["physionet, by database", *databases], rows)
    new = "fsdd, new speaker"
    left_out = sorted({run["division"] for k in kinds for run in chosen[k, new]})
    if left_out:
        rows = [
            [k, *(cell([r for r in chosen[k, new] if r["division"] == of], "") for of in left_out)]
            for k in kinds
        ]
        print_table([new, *(of.removeprefix("without ") for of in left_out)], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path, nargs="?", default=Path("results.jsonl"))
    main(parser.parse_args().results)
