"""`ddspx classify`: train, evaluate, predict."""

from pathlib import Path
from typing import Annotated, get_args

from tyro.conf import Positional, arg

import ddspx
from ddspx import io, training
from ddspx.cli._batch import Skipped, writable_place
from ddspx.cli._errors import meant, say
from ddspx.cli._progress import print_ending, progress
from ddspx.instruments import instrument_names
from ddspx.instruments._library import ANY_INSTRUMENT
from ddspx.io._pool import available_cores
from ddspx.models import spectnet
from ddspx.models.spectnet import FrontEnd, Preset
from ddspx.training import ClassifierTrainConfig, EvaluationPart, ProcessConfig

_DEFAULTS, _ALONE = ClassifierTrainConfig(), ProcessConfig()


def train(
    data: Annotated[Positional[Path], arg(metavar="DATA")],
    *,
    output: Annotated[Path, arg(aliases=["-o"], metavar="MODEL")],
    front_end: Annotated[
        FrontEnd | Path | None, arg(metavar="NAME-OR-MODEL", help_behavior_hint="")
    ] = None,
    preset: Annotated[Preset | None, arg(help_behavior_hint="")] = None,
    bands: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None,
    blocks: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None,
    channels: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None,
    dropout: float = 0.2,
    sample_rate: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None,
    hop_ms: Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="")] = None,
    fmin: Annotated[float | None, arg(metavar="HZ", help_behavior_hint="")] = None,
    segment_s: Annotated[float | None, arg(metavar="S", help_behavior_hint="")] = None,
    fold: Annotated[str | None, arg(metavar="FOLD", help_behavior_hint="")] = None,
    workers: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None,
    config: Annotated[ClassifierTrainConfig, arg(name="")] = _DEFAULTS,
    others: Annotated[ProcessConfig, arg(name="")] = _ALONE,
) -> None:
    """Trains a classifier on labelled recordings.

    DATA is a folder with a sub-folder for each class, or a CSV file with the columns file and
    label, and optionally split (train, valid, test), fold and group. A group, such as a speaker,
    is never divided between splits. Without split and fold, a fifth of the recordings, drawn with
    the seed, is held out for evaluate, and 15 % of the rest select the weights. A recording that
    cannot be used is reported and left out, and the exit status is then 1.

    MODEL always holds the best model so far. The files of the run itself are in MODEL.run, and the
    same command resumes it after an interruption.

    Args:
      data: the labelled recordings.
      output: the model folder to make.
      front_end: the front-end: gammatone, gammatone-pcen, log-mel, mel-pcen, mfcc, sincnet, leaf,
        spectnet, or spectnet-static; by default gammatone-pcen, whose filters and PCEN are trained,
        and spectnet with a preset. Or a model, a classifier or one that ddspx train made with the
        preset any_instrument or nsynth, whose front-end the training starts with, in its sizes;
        --frontend-rate 0 keeps it as it is.
      preset: published sizes; the number is that of the bands. They are for 1000 Hz; at another
        --sample-rate the bands are wide enough to leave no gaps.
      bands: number of bands of the front-end; 40 without a preset.
      blocks: number of residual blocks, 1 to 4; 3 without a preset.
      channels: channels before the first block, doubled by each block; 8 without a preset.
      dropout: share of the channels that are dropped in training.
      sample_rate: sample rate of the model in Hz; by default that of the recordings, at most
        16000.
      hop_ms: milliseconds from one frame to the next, 10 by default; a frame is 2.5 times as long.
      fmin: lower end of the bands, in Hz; by default 60, with spectnet 0.
      segment_s: seconds of a segment, which is classified as a whole; by default the length that
        nine in ten recordings have, at most 2.5.
      fold: the fold of the CSV file that is the test split.
      workers: processes that decode the recordings, by default one for each core.
      config: settings of the training.
      others: how to train in several processes, on one machine or many.
    """
    writable_place(output.parent)
    choice, heard = front_end, None
    if isinstance(choice, Path):
        _check_exists(choice)
    with training.start_processes(others):
        if isinstance(choice, Path):
            heard = training.load_frontend(choice)
            choice = heard.config
        recordings = io.labelled_recordings(data, seed=config.seed, fold=fold)
        model = spectnet.SpectNetConfig.for_recordings(
            recordings,
            front_end=choice,
            preset=preset,
            n_bands=bands,
            n_blocks=blocks,
            channels=channels,
            dropout=dropout,
            sample_rate=sample_rate,
            hop_ms=hop_ms,
            fmin=fmin,
            segment_s=segment_s,
        )
        skipped = Skipped("ddspx classify train", is_silent=not training.is_writer())
        result = training.train_classifier(
            recordings,
            output,
            model=model,
            config=config,
            front_end=heard,
            provenance={"source": {"data": str(data), "fold": fold, "seed": config.seed}},
            workers=available_cores() if workers is None else workers,
            report=skipped.report,
        )
    print_ending(result, output)
    skipped.raise_if_any(sum(recording.split != "test" for recording in recordings))


def _check_exists(front_end: Path) -> None:
    """Raises a ValueError for what is neither a front-end's name nor a model."""
    if not front_end.exists() and str(front_end) not in (ANY_INSTRUMENT.name, *instrument_names()):
        names = get_args(FrontEnd)
        raise ValueError(
            f"--front-end must be {', '.join(names)}, or a model with a trained one, got "
            f"'{front_end}', which is no model." + meant(str(front_end), names)
        )


def evaluate(
    model: Annotated[Positional[Path], arg(metavar="MODEL")],
    data: Annotated[Positional[Path], arg(metavar="DATA")],
    *,
    output: Annotated[
        Path | None, arg(aliases=["-o"], metavar="DIR", help_behavior_hint="")
    ] = None,
    part: EvaluationPart = "unheard",
    fold: Annotated[str | None, arg(metavar="FOLD", help_behavior_hint="")] = None,
    positive: Annotated[str | None, arg(metavar="LABEL", help_behavior_hint="")] = None,
    seed: int = 0,
) -> None:
    """Measures a classifier on recordings that it was not trained on.

    DATA is as for train. Prints accuracy, macro F1, MACC (the mean of sensitivity and
    specificity), sensitivity, specificity and precision of segments and of recordings, in percent
    with 95 % intervals. Prints the scores of each class, the confusion matrix of up to 12 labels,
    and the scores of each group if the CSV file names groups. A recording that cannot be used is
    reported and left out, and the exit status is then 1.

    Args:
      model: a model folder that classify train wrote.
      data: the labelled recordings.
      output: a folder to write scores.json, predictions.csv and confusion.png to (needs the extra
        plot).
      part: the recordings to measure on; unheard are those that were used neither to train the
        model nor to select its weights, nor any other of their group, whatever the splits of a CSV
        file are.
      fold: the fold of the CSV file that is the test split, as it was in training.
      positive: the label whose sensitivity, specificity and precision are printed; by default they
        are means over the labels.
      seed: seed of the intervals' bootstrap.
    """
    from ddspx.cli._classify_report import print_scores, write_scores

    if output is not None:
        ddspx.plot.require_plotting()
        writable_place(output)
    network, provenance = spectnet.load_spectnet(model)
    recordings = training.recordings_to_test(
        io.labelled_recordings(data, draw=False, fold=fold), provenance, part=part
    )
    skipped = Skipped("ddspx classify evaluate")
    with progress() as bar:
        evaluation = training.evaluate_classifier(
            network,
            recordings,
            positive=positive,
            report=skipped.report,
            progress=bar,
            seed=seed,
        )
    labels = network.config.labels
    print_scores(evaluation, labels, f"{model} on {data} ({part})")
    if output is not None:
        write_scores(evaluation, labels, output)
    skipped.raise_if_any(len(recordings))


def predict(
    model: Annotated[Positional[Path], arg(metavar="MODEL")],
    recordings: Annotated[
        Positional[tuple[Path, ...]], arg(metavar="FILE", help_behavior_hint="(required)")
    ],
    *,
    all_labels: Annotated[bool, arg(name="all", help_behavior_hint="")] = False,
) -> None:
    """Prints the label of each recording: file, label and probability, separated by tabs.

    The probability is the mean over the segments of a recording. A recording that cannot be used
    is reported and left out, and the exit status is then 1.

    Args:
      model: a model folder that classify train wrote.
      recordings: audio files of any rate and length.
      all_labels: print every label with its probability, the most probable first.
    """
    if not recordings:
        raise ValueError("name at least one FILE; see ddspx classify predict --help.")
    network, _ = spectnet.load_spectnet(model)
    skipped = Skipped("ddspx classify predict")

    def left_out(path: str | Path, error: Exception) -> None:
        if isinstance(error, io.AudioError):
            skipped.report(error)
        else:
            skipped.leave_out(Path(path), error)

    with progress() as bar:
        predictions = spectnet.classify_files(network, recordings, report=left_out, progress=bar)
        for path, prediction in predictions:
            shown = list(prediction.probabilities.items())[: None if all_labels else 1]
            cells = [cell for label, share in shown for cell in (label, f"{share:.4f}")]
            say(path, *cells)
    skipped.raise_if_any(len(recordings))
