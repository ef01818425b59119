"""`ddspx train`."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, cast

from tyro.conf import Positional, arg

from ddspx import io, training
from ddspx._checks import number
from ddspx.cli._batch import writable_place
from ddspx.cli._progress import print_ending
from ddspx.models.autoencoder import AutoencoderConfig
from ddspx.nn import (
    DecayingReverbConfig,
    HarmonicNoiseConfig,
    SinusoidalNoiseConfig,
    WavetableNoiseConfig,
)
from ddspx.training import AnyInstrumentTrainConfig, AutoencoderTrainConfig, ProcessConfig

if TYPE_CHECKING:
    from ddspx.nn import SpectralFrontend
    from ddspx.training import TrainResult

_DEFAULTS, _ALONE = AnyInstrumentTrainConfig(), ProcessConfig()
_ANY = "any_instrument"


def train(
    datasets: Annotated[
        Positional[tuple[str, ...]],
        arg(metavar="[NAME=]DATASET[:WEIGHT]", help_behavior_hint="(required)"),
    ],
    *,
    output: Annotated[Path, arg(aliases=["-o"], metavar="MODEL")],
    preset: Annotated[
        Literal["solo_instrument", "small", "tiny", "nsynth", "any_instrument"] | None,
        arg(help_behavior_hint=""),
    ] = None,
    synthesizer: Literal["harmonic", "sinusoidal", "wavetable"] = "harmonic",
    sample_rate: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None,
    hop_length: Annotated[int | None, arg(metavar="INT", help_behavior_hint="")] = None,
    start: Annotated[str | None, arg(metavar="MODEL", help_behavior_hint="")] = None,
    front_end: Annotated[str | None, arg(metavar="MODEL", help_behavior_hint="")] = None,
    config: Annotated[AnyInstrumentTrainConfig, arg(name="")] = _DEFAULTS,
    others: Annotated[ProcessConfig, arg(name="")] = _ALONE,
) -> None:
    """Trains an instrument on a dataset made by ddspx prepare, or one model on many of them.

    MODEL always holds the best model so far. The files of the run itself are in MODEL.run, and the
    same command resumes it after an interruption.

    Args:
      datasets: the prepared dataset. For one model of many instruments a dataset of each, such as
        violin=DATASET flute=DATASET:2, with its name, by default the folder's, and how often it is
        drawn from, relative to the others, by default 1.
      output: the model folder to make.
      preset: the sizes of the model; by default small, or any_instrument with several datasets or
        --front-end. any_instrument is one model of many instruments, which plays an instrument
        after hearing some seconds of it; nsynth has an encoder, for many instruments in a dataset.
      synthesizer: the synthesizer of the pitched part of the sound: harmonics of the pitch; free
        partials around them, for bells and stiff strings; or a few trained wavetables.
      sample_rate: sample rate of the model in Hz; by default the dataset's.
      hop_length: samples between frames of the model; by default the dataset's.
      start: a model folder or an instrument's name, whose weights the training starts from. It
        must have the same sizes; its reverb is trained anew.
      front_end: a model of classify train, or an instrument of any_instrument or nsynth, whose
        front-end the encoder starts with, in its sizes; --frontend-rate 0 keeps it as it is.
      config: settings of the training; --embedding-noise, --contrast-weight, --equalization-db and
        --frontend-rate are of any_instrument.
      others: how to train in several processes, on one machine or many.
    """
    writable_place(output.parent)
    each = _each(datasets)
    if preset is None:
        preset = _ANY if len(each) > 1 or front_end is not None else "small"
    if preset != _ANY:
        dataset, single = _only(each, preset), _of_one_instrument(config, preset)
    elif start is not None:
        raise ValueError(
            f"--start {start} is the start of one instrument, and --preset any_instrument has "
            "many; leave one of them out, or give --front-end."
        )
    with training.start_processes(others):
        manifest = io.read_manifest(each[0].folder)
        model = getattr(AutoencoderConfig, preset)(
            sample_rate=manifest.sample_rate if sample_rate is None else sample_rate,
            hop_length=manifest.hop_length if hop_length is None else hop_length,
        )
        model, heard = _with_synthesizer(model, synthesizer), None
        if front_end is not None:
            if model.encoder is None:
                raise ValueError(
                    f"--front-end needs an encoder, which --preset {preset} has not; take "
                    "any_instrument or nsynth."
                )
            heard = training.load_frontend(front_end)
            model = model.with_frontend(heard.config)
        if preset == _ANY:
            result = _train_any(each, output, model, config, heard)
        else:
            result = training.train_autoencoder(
                dataset, output, model=model, config=single, start=start, front_end=heard
            )
    print_ending(result, output)


def _train_any(
    each: "Sequence[_Dataset]",
    output: Path,
    model: AutoencoderConfig,
    config: AnyInstrumentTrainConfig,
    front_end: "SpectralFrontend | None",
) -> "TrainResult":
    names = _names(each)
    # The room of the preset small, which is that of the instruments that ship.
    room = AutoencoderConfig.small(sample_rate=model.sample_rate).reverb
    return training.train_any_instrument(
        {name: one.folder for name, one in zip(names, each, strict=True)},
        output,
        model=model,
        room=cast(DecayingReverbConfig, room),
        config=config,
        weights={name: one.weight for name, one in zip(names, each, strict=True)},
        front_end=front_end,
    )


class _Dataset(NamedTuple):
    """A dataset as the command names it, [NAME=]DATASET[:WEIGHT]; the name is None without one."""

    folder: Path
    name: str | None = None
    weight: float = 1.0


def _each(words: Sequence[str]) -> list[_Dataset]:
    if not words:
        raise ValueError("name at least one DATASET; see ddspx train --help.")
    return [_dataset(word) for word in words]


def _dataset(word: str) -> _Dataset:
    # The name of an existing folder may have = and : in it.
    if Path(word).is_dir():
        return _Dataset(Path(word))
    before, equals, after = word.partition("=")
    name, rest = (before, after) if equals else (None, word)
    folder, colon, end = rest.rpartition(":")
    weight = 1.0
    if colon and Path(folder).is_dir() and not Path(rest).is_dir():
        rest = folder
        try:
            weight = number("weight", float(end), above=0)
        except ValueError:
            raise ValueError(
                f"the weight in {word!r} must be a number above 0, got {end!r}."
            ) from None
    if not rest:
        raise ValueError(f"{word!r} names no dataset; write NAME=DATASET or NAME=DATASET:WEIGHT.")
    return _Dataset(Path(rest), name, weight)


def _names(each: Sequence[_Dataset]) -> list[str]:
    """The name of each dataset, by default that of its folder."""
    names = [one.folder.resolve().name if one.name is None else one.name for one in each]
    (name, count), *_ = Counter(names).most_common(1)
    if count > 1:
        raise ValueError(
            f"{count} of the datasets have the name {name!r}; name each: violin=DATASET "
            "flute=DATASET."
        )
    return names


def _only(each: Sequence[_Dataset], preset: str) -> Path:
    """The folder of the only dataset; a preset of one instrument takes no names and weights."""
    if len(each) > 1 or each[0] != _Dataset(each[0].folder):
        raise ValueError(
            f"--preset {preset} takes one DATASET without a name and a weight; several are one "
            "model by --preset any_instrument."
        )
    return each[0].folder


def _of_one_instrument(config: AnyInstrumentTrainConfig, preset: str) -> AutoencoderTrainConfig:
    """The settings without those of a model of many instruments, which must not be given."""
    kept = {field.name for field in dataclasses.fields(AutoencoderTrainConfig)}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name not in kept and value != field.default:
            raise ValueError(
                f"--{field.name.replace('_', '-')} {value} is a setting of --preset "
                f"any_instrument, and --preset {preset} has no such; leave one of them out."
            )
    return AutoencoderTrainConfig(**{name: getattr(config, name) for name in kept})


def _with_synthesizer(model: AutoencoderConfig, synthesizer: str) -> AutoencoderConfig:
    harmonic = model.synthesizer
    if synthesizer == "harmonic" or not isinstance(harmonic, HarmonicNoiseConfig):
        return model
    count, n_magnitudes = harmonic.n_harmonics, harmonic.n_magnitudes
    chosen = (
        SinusoidalNoiseConfig(count, n_magnitudes)
        if synthesizer == "sinusoidal"
        else WavetableNoiseConfig(n_harmonics=count, n_magnitudes=n_magnitudes)
    )
    return dataclasses.replace(model, synthesizer=chosen)
