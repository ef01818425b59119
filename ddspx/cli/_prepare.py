"""`ddspx prepare`."""

from typing import Annotated

from tyro.conf import Positional, Suppress, arg

from ddspx import training
from ddspx.cli._errors import say
from ddspx.cli._progress import progress
from ddspx.features import StreamingMethod
from ddspx.io._pool import available_cores


def prepare(
    recordings: Annotated[
        Positional[tuple[str, ...]], arg(metavar="RECORDING", help_behavior_hint="(required)")
    ],
    output: Annotated[str, arg(aliases=["-o"], metavar="DATASET")],
    *,
    valid: Annotated[tuple[str, ...], arg(metavar="[FILE ...]", help_behavior_hint="")] = (),
    test: Annotated[tuple[str, ...], arg(metavar="[FILE ...]", help_behavior_hint="")] = (),
    valid_share: float = 0.12,
    test_share: float = 0.08,
    sample_rate: int = 16_000,
    hop_length: int = 64,
    example_s: float = 4.0,
    fmin: Annotated[float | None, arg(metavar="HZ", help_behavior_hint="")] = None,
    fmax: Annotated[float | None, arg(metavar="HZ", help_behavior_hint="")] = None,
    method: StreamingMethod = "ddspx",
    licence: str = "not stated",
    attribution: str = "not stated",
    overwrite: bool = False,
    workers: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None,
    runner: Annotated[str | None, arg(metavar="RUNNER", help_behavior_hint="")] = None,
    pipeline_options: Suppress[tuple[str, ...]] = (),
) -> None:
    """Turns recordings of one instrument into a dataset to train on.

    A preparation that was interrupted is continued by the same command. The dataset has the same
    bytes then, and with any number of workers.

    Args:
      recordings: audio files, and folders to search for them.
      output: the dataset folder to make.
      valid: files and folders of the valid split, which selects the weights in training; with
        --valid or --test, no part of the RECORDINGs is held out.
      test: files and folders of the test split, which only evaluates the trained model.
      valid_share: share of the valid split, if neither --valid nor --test is given; 0 for none.
      test_share: share of the test split, likewise.
      sample_rate: samples per second of the dataset.
      hop_length: samples from one frame of pitch and loudness to the next.
      example_s: seconds of one training example.
      fmin: the lowest pitch to search for, in Hz; the instrument's lowest note is best. 32.7 if not
        given.
      fmax: the highest pitch to search for, in Hz. If not given, 4186 with a network and 2093
        with yin, or half the sample rate if that is lower.
      method: the pitch tracker: ddspx's network, its live twin, or yin.
      licence: the licence of the recordings; it is stored with the models trained on them.
      attribution: the authors of the recordings to credit.
      overwrite: replace the dataset if there is one already.
      workers: processes that compute, by default one for each core.
      runner: compute on a runner of Apache Beam instead, such as DirectRunner, FlinkRunner or
        DataflowRunner (needs the extra beam); its options follow after --, and recordings and
        output may be URLs.
      pipeline_options: what follows after --.
    """
    with progress() as bar:
        manifest = training.prepare(
            recordings,
            output,
            valid=valid,
            test=test,
            valid_share=valid_share,
            test_share=test_share,
            sample_rate=sample_rate,
            hop_length=hop_length,
            example_s=example_s,
            fmin=fmin,
            fmax=fmax,
            method=method,
            licence=licence,
            attribution=attribution,
            overwrite=overwrite,
            workers=available_cores() if workers is None else workers,
            runner=runner,
            pipeline_options=pipeline_options,
            report=say,
            progress=bar,
        )
    splits = ", ".join(f"{name} {part.duration_s:.0f} s" for name, part in manifest.splits.items())
    say(f"{output}: {splits}")
