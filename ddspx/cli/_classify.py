"""`ddspx classify`: train, evaluate, predict."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

import ddspx
from ddspx import io, training
from ddspx.cli._batch import Skipped, writable_place
from ddspx.cli._errors import say
from ddspx.cli._progress import print_ending, progress
from ddspx.models import spectnet
from ddspx.models.spectnet import FrontEnd, Preset
from ddspx.training import ClassifierTrainConfig, EvaluationPart

_DEFAULTS = ClassifierTrainConfig()


def train(
    data: Annotated[Positional[Path], arg(metavar="DATA")],
    *,
    output: Annotated[Path, arg(aliases=["-o"], metavar="MODEL")],
    front_end: Annotated[FrontEnd | None, arg(help_behavior_hint="")] = None,
    preset: Annotated[Preset | None, arg(help_behavior_hint="")] = None,
    bands: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None,
    blocks: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None,
    channels: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None,
    dropout: float = 0.2,
    sample_rate: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None,
    hop_ms: float = 10.0,
    fmin: Annotated[float | None, arg(metavar="HZ", help_behavior_hint="")] = None,
    segment_s: Annotated[float | None, arg(metavar="S", help_behavior_hint="")] = None,
    fold: Annotated[str | None, arg(metavar="FOLD", help_behavior_hint="")] = None,
    config: Annotated[ClassifierTrainConfig, arg(name="")] = _DEFAULTS,
) -> None:
    """Trains a classifier on labelled recordings.

    DATA is a folder with a sub-folder for each class, or a CSV file with the columns file and
    label, and perhaps split (train, valid, test), fold and group: a group, such as a speaker, is
    never divided. Without split and fold a fifth of the recordings, drawn by the seed, is held
    out for evaluate, and of the rest 15 % choose the weights. A recording that cannot be used is
    reported and left out, and then the exit status is 1.

    The best model so far is always in MODEL. What the run itself needs is in MODEL.run:
    the same command goes on from there after an interruption.

    Args:
      data: the labelled recordings.
      output: the model folder to make.
      front_end: what it listens with; by default gammatone-pcen, filters that keep their order and
        learn, and PCEN that does, but spectnet in a preset.
      preset: published sizes: as many bands, at 1000 Hz; at another --sample-rate wide enough to
        leave no gaps.
      bands: of the front-end; 40 without a preset.
      blocks: residual blocks, 1 to 4; 3 without a preset.
      channels: before the first block, which every block doubles; 8 without a preset.
      dropout: share of the channels that training switches off.
      sample_rate: that the model hears at; by default that of the recordings, at most 16000.
      hop_ms: milliseconds from one frame to the next; a frame is two and a half as long.
      fmin: lower end of the bands, in Hz; by default 60, and 0 of spectnet.
      segment_s: seconds that are classified at once; by default the length of nine in ten
        recordings, at most 2.5.
      fold: the fold of the CSV file that is the test split.
      config: how to train.
    """
    writable_place(output.parent)
    recordings = io.labelled_recordings(data, seed=config.seed, fold=fold)
    model = spectnet.SpectNetConfig.for_recordings(
        recordings,
        front_end=front_end,
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
    skipped = Skipped("ddspx classify train")
    result = training.train_classifier(
        recordings,
        output,
        model=model,
        config=config,
        provenance={"source": {"data": str(data), "fold": fold, "seed": config.seed}},
        report=skipped.report,
    )
    print_ending(result, output)
    skipped.raise_if_any(sum(recording.split != "test" for recording in recordings))


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
    """Measures a classifier on recordings that it has not heard.

    DATA is as for train. Prints accuracy, macro F1, MACC (the mean of sensitivity and
    specificity), sensitivity, specificity and precision in percent with their 95 % intervals, of
    segments and of recordings, then of each class, how often which of up to 12 labels was called
    which, and, where the CSV file names groups, of each group. A recording that cannot be used is
    reported and left out, and then the exit status is 1.

    Args:
      model: a model folder that classify train wrote.
      data: the labelled recordings.
      output: a folder to write to: scores.json, predictions.csv and confusion.png (needs the
        extra plot).
      part: of the recordings; unheard are those that neither trained the model nor chose its
        weights, nor others of their group did, whatever the splits of a CSV file say.
      fold: the fold of the CSV file that is the test split, as it was in training.
      positive: the label that sensitivity, specificity and precision are those of; by default
        they are means over the labels.
      seed: of the intervals.
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
    """Prints what recordings are: file, label and probability, separated by tabs.

    The probability is the mean over the segments of a recording. A recording that cannot be used
    is reported and left out, and then the exit status is 1.

    Args:
      model: a model folder that classify train wrote.
      recordings: audio files of any rate and length.
      all_labels: print every label with its probability, the likeliest first.
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
        found = spectnet.classify_files(network, recordings, report=left_out, progress=bar)
        for path, prediction in found:
            shown = list(prediction.probabilities.items())[: None if all_labels else 1]
            cells = [cell for label, share in shown for cell in (label, f"{share:.4f}")]
            say(path, *cells)
    skipped.raise_if_any(len(recordings))
