"""`ddspx evaluate`."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ddspx import instruments, io, training
from ddspx._text import printable
from ddspx.cli._batch import Skipped
from ddspx.cli._comparison_report import plain_comparison, print_comparison
from ddspx.cli._progress import progress
from ddspx.instruments._library import is_any_instrument, named_instrument
from ddspx.models import spectnet

# Imported only for annotations, so that an error in the options is reported without loading NumPy.
if TYPE_CHECKING:
    from ddspx.metrics import Interval
    from ddspx.models.autoencoder import Autoencoder, InstrumentStatistics

_COLUMNS = {
    "spectral_loss": "spectral loss",
    "loudness_l1_db": "loudness L1\n(dB)",
    "f0_l1_semitones": "f0 L1\n(semitones)",
    "f0_outlier_share": "f0 outliers\n(share)",
}


def evaluate(
    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")],
    dataset: Annotated[
        tyro.conf.Positional[Path | None],
        tyro.conf.arg(metavar="DATASET", help_behavior_hint=""),
    ] = None,
    *,
    against: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None,
    split: Annotated[
        Literal["train", "valid", "test"] | None, tyro.conf.arg(help_behavior_hint="")
    ] = None,
    baselines: bool = False,
    classifier: Annotated[
        Path | None, tyro.conf.arg(metavar="MODEL", help_behavior_hint="")
    ] = None,
    sample_rate: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None,
    seed: int = 0,
    json_output: Annotated[
        Path | None, tyro.conf.arg(name="json", metavar="FILE", help_behavior_hint="")
    ] = None,
) -> None:
    """Measures an instrument on the held-out part of a dataset, or recordings against others.

    The results of the test split are stored in the model folder; ddspx instruments shows them.

    With --against, the recordings of MODEL, which is then a folder, are compared with those of
    FOLDER: pair by pair where names are the same, and all as sets. If there is a DATASET too, MODEL
    is an instrument: its renderings of the split are compared with the split pair by pair, and with
    the recordings of FOLDER as sets. A recording that cannot be used is reported and left out, and
    the exit status is then 1.

    Args:
      model: a model folder, or an instrument's name (ddspx instruments); without DATASET, a folder
        of recordings.
      dataset: the prepared dataset.
      against: a folder of recordings to compare with.
      split: the split to measure on, test if not given.
      baselines: also measure the untrained model and harmonics of fixed amplitudes 1/k.
      classifier: a model folder of ddspx classify train, whose embedding gives set distances too.
      sample_rate: the rate at which folders of recordings are compared, 16000 if not given.
      seed: seed of the noise and the bootstrap.
      json_output: a file to write the numbers to, as JSON.
    """
    if against is not None:
        if baselines:
            raise ValueError("`baselines` are not compared with recordings; leave out --against.")
        skipped = Skipped("ddspx evaluate")
        options = {"classifier": classifier, "seed": seed, "report": skipped.leave_out}
        if dataset is None:
            _only_with("split", split, "a DATASET")
            rate = 16_000 if sample_rate is None else sample_rate
            comparison = _of_recordings(model, against, rate, options)
        else:
            _only_with("sample_rate", sample_rate, "two folders of recordings")
            comparison = _of_renderings(model, dataset, against, split or "test", options)
        print_comparison(comparison, f"{model} against {against}")
        _write(json_output, plain_comparison(comparison))
        skipped.raise_if_any(comparison.n_target + comparison.n_predicted + skipped.count)
        return
    for name, value in (("classifier", classifier), ("sample_rate", sample_rate)):
        _only_with(name, value, "--against")
    if dataset is None:
        raise ValueError(
            "name the DATASET to measure the instrument on, or a folder of recordings to compare "
            "with, by --against."
        )
    _scores(model, dataset, split or "test", baselines, seed, json_output)


def _scores(
    model: str, dataset: Path, split: str, baselines: bool, seed: int, json_output: Path | None
) -> None:
    """Measures the instrument on a split; prints, writes and stores the results."""
    with progress() as bar:
        bar("measuring", 0.0, None)
        network, statistics = _loaded(model)
        evaluations = training.evaluate_autoencoder(
            network,
            dataset,
            split=split,
            statistics=statistics,
            baselines=baselines,
            seed=seed,
        )
    Console().print(_table(evaluations, f"{model} on the {split} split of {dataset}"))
    _write(json_output, _plain(evaluations))
    # Archives, recordings and mixtures have no folder to keep scores in.
    has_folder = os.path.isdir(model) or named_instrument(model) is not None
    if split == "test" and has_folder:
        own = evaluations[0]
        measures = {name: getattr(own, name).value for name in _COLUMNS}
        instruments.store_scores(
            model, instruments.InstrumentScores(split, own.n_examples, **measures)
        )


def _loaded(model: str) -> "tuple[Autoencoder, InstrumentStatistics]":
    """An instrument; or a model of any instrument, which hears each example that it plays."""
    if is_any_instrument(model):
        base = instruments.load_any_instrument(folder=model)
        return base.model, base.statistics
    network, statistics, _ = instruments.load_instrument(model)
    return network, statistics


def _of_recordings(
    predicted: str, target: Path, sample_rate: int, options: dict[str, Any]
) -> "training.Comparison":
    if not Path(predicted).exists():
        raise ValueError(
            f"{predicted} is not there; name a folder of recordings to compare with {target}, or "
            "a DATASET after the instrument."
        )
    options = _with_embeddings(options)
    with progress() as bar:
        return training.compare_recordings(
            target, predicted, sample_rate=sample_rate, progress=bar, **options
        )


def _of_renderings(
    model: str, dataset: Path, target: Path, split: str, options: dict[str, Any]
) -> "training.Comparison":
    options = _with_embeddings(options)
    with progress() as bar:
        network, statistics = _loaded(model)
        return training.compare_renderings(
            network, dataset, target, split=split, statistics=statistics, progress=bar, **options
        )


def _with_embeddings(options: dict[str, Any]) -> dict[str, Any]:
    """The options with the embeddings in place of the classifier's folder."""
    folder = options["classifier"]
    embeddings = dict(training.EMBEDDINGS)
    if folder is not None:
        network, _ = spectnet.load_spectnet(folder)
        embeddings[printable(folder.resolve().name)] = spectnet.spectnet_embedding(network)
    rest = {name: value for name, value in options.items() if name != "classifier"}
    return rest | {"embeddings": embeddings}


def _only_with(name: str, value: object, what: str) -> None:
    if value is not None:
        raise ValueError(f"`{name}` has a meaning with {what} only, got {value}; leave it out.")


def _write(file: Path | None, numbers: Any) -> None:
    if file is not None:
        with io.replacing_file(file) as temporary:
            temporary.write_text(json.dumps(numbers, indent=2) + "\n")


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
