"""`ddspx prepare`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ddspx import training
from ddspx.cli._errors import say
from ddspx.features import FMIN, StreamingMethod


def prepare(
    recordings: Annotated[
        Positional[tuple[Path, ...]], arg(metavar="RECORDING", help_behavior_hint="(required)")
    ],
    output: Annotated[Path, arg(aliases=["-o"], metavar="DATASET")],
    *,
    valid: Annotated[tuple[Path, ...], arg(metavar="[FILE ...]", help_behavior_hint="")] = (),
    test: Annotated[tuple[Path, ...], arg(metavar="[FILE ...]", help_behavior_hint="")] = (),
    sample_rate: int = 16_000,
    hop_length: int = 64,
    example_s: float = 4.0,
    fmin: float = FMIN,
    fmax: Annotated[float | None, arg(metavar="HZ", help_behavior_hint="")] = None,
    method: StreamingMethod = "ddspx",
    licence: str = "not stated",
    attribution: str = "not stated",
    overwrite: bool = False,
) -> None:
    """Turns recordings of one instrument into a dataset to train on.

    Args:
      recordings: audio files, and folders to search for them.
      output: the dataset folder to make.
      valid: files and folders that choose among the states of the training; with these or
        --test, no part of the RECORDINGs is held out.
      test: files and folders that only measure what was trained.
      sample_rate: samples per second of the dataset.
      hop_length: samples from one frame of pitch and loudness to the next.
      example_s: seconds of one training example.
      fmin: the lowest pitch to look for, in Hz; the instrument's lowest note is best.
      fmax: the highest pitch to look for, in Hz; 2093, or half the sample rate if that is lower.
      method: the pitch tracker: ddspx's network, or yin.
      licence: what the recordings may be used for; travels with what is trained on them.
      attribution: whom to credit for the recordings.
      overwrite: replace the dataset if there is one already.
    """
    manifest = training.prepare(
        recordings,
        output,
        valid=valid,
        test=test,
        sample_rate=sample_rate,
        hop_length=hop_length,
        example_s=example_s,
        fmin=fmin,
        fmax=fmax,
        method=method,
        licence=licence,
        attribution=attribution,
        overwrite=overwrite,
        report=say,
    )
    held = ", ".join(f"{name} {part.duration_s:.0f} s" for name, part in manifest.splits.items())
    say(f"{output}: {held}")
