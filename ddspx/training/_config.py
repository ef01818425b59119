"""How a model is trained: numbers only, saved as JSON beside the run."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from ddspx._checks import checked_seed, number, positive_int, size

EvaluationPart = Literal["unheard", "train", "valid", "test", "all"]

# What may change when a run goes on: nothing that decides the weights of a given step. Of these
# `evaluate_every` decides at which steps weights can be chosen, the others not even that.
_FREE = ("steps", "evaluate_every", "keep_checkpoints", "max_minutes")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The numbers of a training run; with the data and the model's sizes they fix its weights.

    Args:
      steps: optimizer steps of the whole run, those before a resume counted in.
      batch_size: examples in a step, over all devices together.
      learning_rate: of Adam at step 0. At step s it is
        ``learning_rate * decay_rate ** (s / decay_steps)``.
      decay_rate: factor of the learning rate over `decay_steps` steps, at most 1.
      decay_steps: steps over which the learning rate falls by `decay_rate`.
      clip_norm: a gradient longer than this (norm over all parameters) is shortened to it.
      evaluate_every: steps between two evaluations on the valid split, each followed by a
        checkpoint; only at these, and after the last step, are weights written as a model.
      keep_checkpoints: how many checkpoints stay on disk.
      max_minutes: stop, to be resumed, after so long on the clock; None for never.
      seed: of the initial weights, the order of the data and the noise, from 0 to 2**32 - 1.

    Raises:
      TypeError: a count is not an int, or another field is not a number.
      ValueError: a number is out of range.
    """

    steps: int = 30_000
    batch_size: int = 16
    learning_rate: float = 3e-4
    decay_rate: float = 0.98
    decay_steps: int = 10_000
    clip_norm: float = 3.0
    evaluate_every: int = 500
    keep_checkpoints: int = 3
    max_minutes: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "decay_steps"):
            size(name, getattr(self, name))
        for name in ("evaluate_every", "keep_checkpoints"):
            positive_int(name, getattr(self, name))
        for name in ("learning_rate", "decay_rate", "clip_norm", "max_minutes"):
            if name != "max_minutes" or self.max_minutes is not None:
                number(name, getattr(self, name), above=0)
        if self.decay_rate > 1:
            raise ValueError(
                f"`decay_rate` must be at most 1, which keeps the rate, got {self.decay_rate}."
            )
        checked_seed(self.seed)

    def to_json(self) -> dict[str, Any]:
        """The fields as a dict that `json.dumps` takes."""
        return dataclasses.asdict(self)

    def difference(self, saved: Mapping[str, Any]) -> str | None:
        """The first number that decides the weights and differs from a saved run's, in words.

        Example:
          >>> from ddspx.training import RunConfig
          >>> RunConfig(seed=1, steps=5).difference(RunConfig(seed=2).to_json())
          '`seed` is 1, there it is 2'
        """
        for name, value in self.to_json().items():
            if name not in _FREE and saved.get(name) != value:
                return f"`{name}` is {value!r}, there it is {saved.get(name)!r}"
        return None


@dataclasses.dataclass(frozen=True)
class AutoencoderTrainConfig(RunConfig):
    """The numbers of the training of an autoencoder: those of `RunConfig`, with DDSP's defaults."""


@dataclasses.dataclass(frozen=True)
class ClassifierTrainConfig(RunConfig):
    """The numbers of the training of a classifier, those of `RunConfig` among them.

    Args:
      steps: optimizer steps of the whole run, those before a resume counted in.
      batch_size: examples in a step, over all devices together; every class is as frequent.
      learning_rate: of Adam at step 0, for all but the front-end.
      decay_rate: factor of the learning rate over `decay_steps` steps, at most 1.
      decay_steps: steps over which the learning rate falls by `decay_rate`.
      clip_norm: a gradient longer than this is shortened to it, the front-end's and the other's
        apart.
      evaluate_every: steps between two evaluations on the valid split, each followed by a
        checkpoint.
      keep_checkpoints: how many checkpoints stay on disk.
      max_minutes: stop, to be resumed, after so long on the clock; None for never.
      seed: of the initial weights, the order of the data and whatever is drawn in a step.
      frontend_rate: learning rate of the front-end, as a factor of the other; 0 keeps its filters
        where they are.
      smoothing: probability that the labels spread over all classes, below 1.
      shift: how far a crop may reach over the ends of its recording, as a part of itself.
      speed: how much faster or slower a crop may be played, as a part of it: 0.2 is by up to a
        factor of 1.2 either way.
      mixup: how evenly pairs of crops are mixed (alpha of `core.mixup`); 0 mixes nothing.
      time_mask: longest stretch of frames that is hidden, as a part of a crop.
      frequency_mask: most neighbouring bands that are hidden, as a part of all.

    Raises:
      TypeError: a count is not an int, or another field is not a number.
      ValueError: a number is out of range.
    """

    steps: int = 2000
    batch_size: int = 32
    learning_rate: float = 1e-3
    decay_rate: float = 0.5
    decay_steps: int = 500
    evaluate_every: int = 100
    frontend_rate: float = 1.0
    smoothing: float = 0.1
    shift: float = 0.1
    speed: float = 0.0
    mixup: float = 0.0
    time_mask: float = 0.0
    frequency_mask: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("frontend_rate", "mixup"):
            number(name, getattr(self, name), least=0)
        for name in ("smoothing", "shift", "speed", "time_mask", "frequency_mask"):
            number(name, getattr(self, name), least=0, below=1)
