"""`ddspx train`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ddspx import io, training
from ddspx.cli._batch import writable_place
from ddspx.cli._progress import print_ending
from ddspx.models.autoencoder import AutoencoderConfig
from ddspx.nn import HarmonicNoiseConfig, SinusoidalNoiseConfig, WavetableNoiseConfig
from ddspx.training import AutoencoderTrainConfig

_DEFAULTS = AutoencoderTrainConfig()


def train(
    dataset: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATASET")],
    *,
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="MODEL")],
    preset: Literal["solo_instrument", "small", "tiny", "nsynth"] = "small",
    synthesizer: Literal["harmonic", "sinusoidal", "wavetable"] = "harmonic",
    sample_rate: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None,
    hop_length: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None,
    start: Annotated[str | None, tyro.conf.arg(metavar="MODEL", help_behavior_hint="")] = None,
    config: Annotated[AutoencoderTrainConfig, tyro.conf.arg(name="")] = _DEFAULTS,
) -> None:
    """Trains an instrument on a dataset made by ddspx prepare.

    MODEL always holds the best model so far. The files of the run itself are in MODEL.run, and the
    same command resumes it after an interruption.

    Args:
      dataset: the prepared dataset.
      output: the model folder to make.
      preset: the sizes of the model; nsynth has an encoder, for many instruments in one model.
      synthesizer: the synthesizer of the pitched part of the sound: harmonics of the pitch; free
        partials around them, for bells and stiff strings; or a few trained wavetables.
      sample_rate: sample rate of the model in Hz; by default the dataset's.
      hop_length: samples between frames of the model; by default the dataset's.
      start: a model folder or an instrument's name, whose weights the training starts from. It
        must have the same sizes; its reverb is trained anew.
      config: settings of the training.
    """
    writable_place(output.parent)
    manifest = io.read_manifest(dataset)
    model = getattr(AutoencoderConfig, preset)(
        sample_rate=manifest.sample_rate if sample_rate is None else sample_rate,
        hop_length=manifest.hop_length if hop_length is None else hop_length,
    )
    harmonic = model.synthesizer
    if synthesizer != "harmonic" and isinstance(harmonic, HarmonicNoiseConfig):
        count, n_magnitudes = harmonic.n_harmonics, harmonic.n_magnitudes
        chosen = (
            SinusoidalNoiseConfig(count, n_magnitudes)
            if synthesizer == "sinusoidal"
            else WavetableNoiseConfig(n_harmonics=count, n_magnitudes=n_magnitudes)
        )
        model = dataclasses.replace(model, synthesizer=chosen)
    result = training.train_autoencoder(dataset, output, model=model, config=config, start=start)
    print_ending(result, output)
