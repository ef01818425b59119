"""`ddspx classify`: train, evaluate, predict."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

import ddspx
from ddspx import io, training
from ddspx.cli._batch import Skipped, hop_length_of, writable_place
from ddspx.cli._errors import say
from ddspx.cli._progress import print_ending, progress
from ddspx.models import spectnet
from ddspx.nn import FrontendConfig, Log1pCompression, LogCompression, PcenCompression
from ddspx.training import ClassifierTrainConfig, Part

# Imported where it is used, so that wrong options are answered without it.
if TYPE_CHECKING:
    import numpy as np

_DEFAULTS = ClassifierTrainConfig()
_LONGEST_SEGMENT_S = 600
_FrontEnd = Literal[
    "gammatone",
    "gammatone-pcen",
    "log-mel",
    "mel-pcen",
    "mfcc",
    "sincnet",
    "leaf",
    "spectnet",
    "spectnet-static",
]
_PUBLISHED = {"channels": 16, "sample_rate": 1000}
_SIZES: dict[str | None, dict[str, int]] = {
    None: {"bands": 40, "blocks": 3, "channels": 8},
    **{f"spectnet-{n}": {"bands": n, "blocks": 3} | _PUBLISHED for n in (4, 8, 16, 32, 46)},
    **{f"spectnet-{n}": {"bands": n, "blocks": 4} | _PUBLISHED for n in (64, 128, 149)},
}
# Of a recording at an RMS of 0.1, what lies 40 dB below counts as silence.
_FLOOR = 1e-6
_LOG = {"compression": Log1pCompression(_FLOOR)}
_LEARNED_LOG = {"compression": Log1pCompression(_FLOOR, trainable=True)}
_LEARNED_PCEN = {"compression": PcenCompression(_FLOOR, trainable=True)}
_N_MFCC = 13


def _static_spectnet(**changes: Any) -> FrontendConfig:
    """SpectNet's front-end, of which nothing learns."""
    return FrontendConfig.spectnet(**changes).fixed()


# How each is made, and what is not its default there.
_FRONT_ENDS: dict[str | None, tuple[Callable[..., FrontendConfig], dict[str, Any]]] = {
    "gammatone": (FrontendConfig.learnable, _LEARNED_LOG),
    "gammatone-pcen": (FrontendConfig.learnable, _LEARNED_PCEN),
    "log-mel": (FrontendConfig.log_mel, _LOG),
    "mel-pcen": (FrontendConfig.pcen_mel, _LEARNED_PCEN),
    "mfcc": (FrontendConfig.mfcc, {"compression": LogCompression(_FLOOR), "n_mfcc": _N_MFCC}),
    "sincnet": (FrontendConfig.sincnet, _LOG),
    "leaf": (FrontendConfig.leaf, {}),
    "spectnet": (FrontendConfig.spectnet, {}),
    "spectnet-static": (_static_spectnet, {}),
    # That of a preset, at any rate.
    None: (FrontendConfig.spectnet_scaled, {}),
}
_Preset = Literal[
    "spectnet-4",
    "spectnet-8",
    "spectnet-16",
    "spectnet-32",
    "spectnet-46",
    "spectnet-64",
    "spectnet-128",
    "spectnet-149",
]


def train(
    data: Annotated[Positional[Path], arg(metavar="DATA")],
    *,
    output: Annotated[Path, arg(aliases=["-o"], metavar="MODEL")],
    front_end: Annotated[_FrontEnd | None, arg(help_behavior_hint="")] = None,
    preset: Annotated[_Preset | None, arg(help_behavior_hint="")] = None,
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
    heard = [recording for recording in recordings if recording.split != "test"]
    sizes: dict[str, Any] = dict(_SIZES[preset])
    given = {"bands": bands, "blocks": blocks, "channels": channels, "sample_rate": sample_rate}
    sizes |= {name: size for name, size in given.items() if size is not None}
    rate = sizes["sample_rate"] if "sample_rate" in sizes else training.suggested_sample_rate(heard)
    frontend = _frontend(
        front_end or (None if preset else "gammatone-pcen"),
        rate,
        hop_length_of(hop_ms, rate),
        {"n_bands": sizes["bands"]} | ({} if fmin is None else {"fmin": fmin}),
    )
    seconds = training.suggested_segment_s(heard) if segment_s is None else _seconds(segment_s)
    model = spectnet.SpectNetConfig(
        frontend,
        io.training_labels(recordings),
        segment_frames=1 + max(1, round(seconds * rate / frontend.hop_length)),
        n_blocks=sizes["blocks"],
        channels=sizes["channels"],
        dropout=dropout,
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
    skipped.raise_if_any(len(heard))


def evaluate(
    model: Annotated[Positional[Path], arg(metavar="MODEL")],
    data: Annotated[Positional[Path], arg(metavar="DATA")],
    *,
    output: Annotated[
        Path | None, arg(aliases=["-o"], metavar="DIR", help_behavior_hint="")
    ] = None,
    part: Part = "unheard",
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
            watch=lambda done, total: bar("listening", float(done), float(total)),
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
    rate, heard = network.config.frontend.sample_rate, []
    skipped = Skipped("ddspx classify predict")

    def sounds() -> "Iterator[np.ndarray]":
        for i, path in enumerate(recordings):
            bar("listening", float(i), float(len(recordings)))
            try:
                audio = io.read_audio(path, sample_rate=rate)
            except io.AudioError as error:
                skipped.report(error)
                continue
            except Exception as error:
                skipped.leave_out(path, error)
                continue
            heard.append(path)
            yield audio

    labels = network.config.labels
    with progress() as bar:
        for i, logits in enumerate(spectnet.segment_logits(network, sounds())):
            shares = spectnet.vote_mean_probability(logits).shares
            order = (-shares).argsort(kind="stable")[: None if all_labels else 1]
            cells = [cell for k in order for cell in (labels[k], f"{shares[k]:.4f}")]
            say(heard[i], *cells)
    skipped.raise_if_any(len(recordings))


def _seconds(segment_s: float) -> float:
    if not (math.isfinite(segment_s) and segment_s > 0):
        raise ValueError(f"`segment_s` must be finite and greater than 0, got {segment_s}.")
    if segment_s > _LONGEST_SEGMENT_S:
        raise ValueError(f"`segment_s` must be at most {_LONGEST_SEGMENT_S}, got {segment_s}.")
    return segment_s


def _frontend(
    name: str | None, sample_rate: int, hop_length: int, changes: dict[str, Any]
) -> FrontendConfig:
    """The front-end of a name; a window is two and a half hops, as in all presets."""
    make, fixed = _FRONT_ENDS[name]
    if name == "mfcc" and changes["n_bands"] < _N_MFCC:
        raise ValueError(f"`bands` must be at least {_N_MFCC} with mfcc, got {changes['n_bands']}.")
    win_length = round(2.5 * hop_length)
    sizes = {"sample_rate": sample_rate, "hop_length": hop_length, "win_length": win_length}
    return make(**sizes, **fixed, **changes)
