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
_SYNTHESIZERS = {"sinusoidal": SinusoidalNoiseConfig, "wavetable": WavetableNoiseConfig}


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

    The best model so far is always in MODEL. What the run itself needs is in MODEL.run:
    the same command goes on from there after an interruption.

    Args:
      dataset: the prepared dataset.
      output: the model folder to make.
      preset: the sizes of the model; nsynth has an encoder, for many instruments in one.
      synthesizer: what plays beside the noise: harmonics of the pitch; free partials around them,
        for bells and stiff strings; or a few wavetables that are learned.
      sample_rate: of the model, in samples per second; by default the dataset's.
      hop_length: of the model, in samples; by default the dataset's.
      start: a model folder or an instrument's name to begin with the weights of, which must
        have the same sizes; its room is learnt anew.
      config: how to train.
    """
    writable_place(output.parent)
    manifest = io.read_manifest(dataset)
    model = getattr(AutoencoderConfig, preset)(
        sample_rate=manifest.sample_rate if sample_rate is None else sample_rate,
        hop_length=manifest.hop_length if hop_length is None else hop_length,
    )
    harmonic = model.synthesizer
    if synthesizer != "harmonic" and isinstance(harmonic, HarmonicNoiseConfig):
        own = _SYNTHESIZERS[synthesizer](n_magnitudes=harmonic.n_magnitudes)
        model = dataclasses.replace(model, synthesizer=own)
    result = training.train_autoencoder(dataset, output, model=model, config=config, start=start)
    print_ending(result, output)
