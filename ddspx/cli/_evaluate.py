"""`ddspx evaluate`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ddspx import instruments, io, training
from ddspx._text import printable
from ddspx.cli._progress import progress

# Imported only for annotations, so that an error in the options is reported without loading NumPy.
if TYPE_CHECKING:
    from ddspx.metrics import Interval

_COLUMNS = {
    "spectral_loss": "spectral loss",
    "loudness_l1_db": "loudness L1\n(dB)",
    "f0_l1_semitones": "f0 L1\n(semitones)",
    "f0_outlier_share": "f0 outliers\n(share)",
}


def evaluate(
    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")],
    dataset: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATASET")],
    *,
    split: Literal["train", "valid", "test"] = "test",
    baselines: bool = False,
    seed: int = 0,
    json_output: Annotated[
        Path | None, tyro.conf.arg(name="json", metavar="FILE", help_behavior_hint="")
    ] = None,
) -> None:
    """Measures an instrument on the held-out part of a dataset.

    The results of the test split are stored in the model folder; ddspx instruments shows them.

    Args:
      model: a model folder, or an instrument's name (ddspx instruments).
      dataset: the prepared dataset.
      split: the split to measure on.
      baselines: also measure the untrained model and harmonics of fixed amplitudes 1/k.
      seed: seed of the noise and the bootstrap.
      json_output: a file to write the numbers to, as JSON.
    """
    with progress() as bar:
        bar("measuring", 0.0, None)
        network, statistics, _ = instruments.load_instrument(model)
        evaluations = training.evaluate_autoencoder(
            network,
            dataset,
            split=split,
            statistics=statistics,
            baselines=baselines,
            seed=seed,
        )
    Console().print(_table(evaluations, f"{model} on the {split} split of {dataset}"))
    if json_output is not None:
        with io.replacing_file(json_output) as temporary:
            temporary.write_text(json.dumps(_plain(evaluations), indent=2) + "\n")
    if split == "test":
        own = evaluations[0]
        measures = {name: getattr(own, name).value for name in _COLUMNS}
        instruments.store_scores(
            model, instruments.InstrumentScores(split, own.n_examples, **measures)
        )


def _table(evaluations: "list[training.AutoencoderEvaluation]", title: str) -> Table:
    examples = f"{evaluations[0].n_examples} examples"
    caption = f"{examples}; mean ± half of its 95 % interval; lower is better"
    table = Table(title=escape(printable(title)), caption=caption)
    table.add_column("")
    for heading in _COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for row in evaluations:
        table.add_row(row.name, *(_cell(getattr(row, name)) for name in _COLUMNS))
    return table


def _cell(value: "Interval") -> str:
    return f"{value.value:.2f} ± {(value.high - value.low) / 2:.2f}"


def _plain(evaluations: "list[training.AutoencoderEvaluation]") -> list[dict]:
    return [
        {"name": row.name, "examples": row.n_examples}
        | {name: getattr(row, name)._asdict() for name in _COLUMNS}
        for row in evaluations
    ]
