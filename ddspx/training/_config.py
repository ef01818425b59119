"""Settings of a training run: plain numbers, saved as JSON in the run's folder."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from ddspx._checks import checked_seed, non_negative_int, number, positive_int, size

EvaluationPart = Literal["unheard", "train", "valid", "test", "all"]

# The settings that may change when a run is resumed, because none of them changes the weights at
# a given step. `evaluate_every` only decides at which steps weights can be selected, and
# `skip_nonfinite` whether a run ends or goes on; `shard_optimizer`, like the number of devices,
# changes the rounding of the weights alone.
_CHANGEABLE = (
    "steps", "evaluate_every", "keep_checkpoints", "max_minutes", "steps_per_dispatch",
    "skip_nonfinite", "shard_optimizer",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The settings of a training run. With the data and the model's sizes they fix its weights.

    Args:
      steps: optimizer steps of the whole run, including those before it was resumed.
      batch_size: examples in a step, over all devices together.
      learning_rate: of Adam at step 0. At step s it is
        ``learning_rate * decay_rate ** (s / decay_steps)``.
      decay_rate: factor of the learning rate over `decay_steps` steps, at most 1.
      decay_steps: steps over which the learning rate falls by `decay_rate`.
      clip_norm: a gradient with a larger norm (over all parameters) is scaled to this norm.
      evaluate_every: steps between two evaluations on the valid split, each followed by a
        checkpoint. Weights are written as a model only at these steps and after the last step.
      keep_checkpoints: how many checkpoints stay on disk.
      max_minutes: after this many minutes the run stops, and can be resumed; None for no limit.
      seed: seed of the initial weights, the order of the data and the noise, from 0 to 2**32 - 1.
      steps_per_dispatch: steps that the device takes without a word from the host between them, at
        most `evaluate_every`. The weights are the same. More than 1 is faster where a step takes
        only a few milliseconds, as that of a small model on a GPU. Ctrl-C and `max_minutes` then
        wait for all of them, and what is left before an evaluation is taken step by step.
      skip_nonfinite: whether a step whose loss or gradient is not finite leaves the weights as they
        are, and is counted; otherwise it ends the run. The weights of a run without such a step are
        the same.
      shard_optimizer: whether each of several devices keeps only its part of the optimizer's state,
        which is two numbers for each weight, rather than all of it. The steps are the same, up to
        rounding, and a checkpoint holds the whole state.

    Raises:
      TypeError: a count is not an int, a choice is not True or False, or another field is not a
        number.
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
    steps_per_dispatch: int = 1
    skip_nonfinite: bool = False
    shard_optimizer: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "decay_steps", "steps_per_dispatch"):
            size(name, getattr(self, name))
        for name in ("evaluate_every", "keep_checkpoints"):
            positive_int(name, getattr(self, name))
        if self.steps_per_dispatch > self.evaluate_every:
            raise ValueError(
                "`steps_per_dispatch` must be at most `evaluate_every`, "
                f"{self.evaluate_every}, got {self.steps_per_dispatch}."
            )
        for name in ("learning_rate", "decay_rate", "clip_norm", "max_minutes"):
            if name != "max_minutes" or self.max_minutes is not None:
                number(name, getattr(self, name), above=0)
        if self.decay_rate > 1:
            raise ValueError(
                f"`decay_rate` must be at most 1, got {self.decay_rate}; 1 keeps the learning rate "
                "constant."
            )
        checked_seed(self.seed)
        _true_or_false("skip_nonfinite", self.skip_nonfinite)
        _true_or_false("shard_optimizer", self.shard_optimizer)

    def deciding(self) -> dict[str, Any]:
        """Returns the fields that decide the weights at a given step, as `to_json` does."""
        fields = self.to_json()
        return {name: fields[name] for name in fields if name not in _CHANGEABLE}

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a dict that `json.dumps` accepts."""
        return dataclasses.asdict(self)

    def difference(self, saved: Mapping[str, Any]) -> str | None:
        """Describes the first setting that affects the weights and differs from a saved run's.

        Returns:
          The description, or None if no such setting differs.

        Example:
          >>> from ddspx.training import RunConfig
          >>> RunConfig(seed=1, steps=5).difference(RunConfig(seed=2).to_json())
          '`seed` is 1, in the saved run it is 2'
        """
        # A version without a setting worked as its default does.
        saved = {field.name: field.default for field in dataclasses.fields(self)} | dict(saved)
        for name, value in self.deciding().items():
            if saved[name] != value:
                return f"`{name}` is {value!r}, in the saved run it is {saved[name]!r}"
        return None


@dataclasses.dataclass(frozen=True)
class AutoencoderTrainConfig(RunConfig):
    """The settings of an autoencoder's training: those of `RunConfig`, with DDSP's defaults.

    Args:
      loudness_weight: weight of the loudness in dB in the loss, see
        `core.multi_scale_spectral_loss`; DDSP's is 0.
      gain_db: how much louder or softer an example may be made, in dB, and its loudness with it.
      valid_examples: how many examples of the valid split of a dataset an evaluation measures at
        most. Of a larger one it takes examples that are spread evenly, the same ones each time.
      microbatches: equal parts of a batch whose gradients are computed one after the other, and
        averaged: less memory for the same step.
      bfloat16: whether a GPU rounds the factors of the networks' matrix products to bfloat16; sums,
        weights, synthesis and loss stay in float32. A TPU always rounds them, a CPU never.

    Raises:
      TypeError: a count is not an int, `bfloat16` is not True or False, or another field is not a
        number.
      ValueError: a number is out of range, or `microbatches` does not divide `batch_size`.
    """

    loudness_weight: float = 0.0
    gain_db: float = 0.0
    valid_examples: int = 500
    microbatches: int = 1
    bfloat16: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _true_or_false("bfloat16", self.bfloat16)
        positive_int("valid_examples", self.valid_examples)
        if self.batch_size % positive_int("microbatches", self.microbatches):
            raise ValueError(
                f"`microbatches` must divide `batch_size`, {self.batch_size}, got "
                f"{self.microbatches}."
            )
        number("loudness_weight", self.loudness_weight, least=0)
        number("gain_db", self.gain_db, least=0, most=60)


@dataclasses.dataclass(frozen=True)
class AnyInstrumentTrainConfig(AutoencoderTrainConfig):
    """The settings of `train_any_instrument`: those of `AutoencoderTrainConfig`, and four.

    Args:
      embedding_noise: standard deviation of the noise on the embedding, whose mean square is 1.
      contrast_weight: weight of a second loss, which makes the embeddings of two stretches of one
        sound alike, and those of two sounds different.
      equalization_db: the examples and their references are changed by random equalizers, so that
        the model hears more timbres than there are instruments; the largest standard deviation of
        the gain of an octave, in dB. 0 changes nothing.
      frontend_rate: learning rate of the encoder's front-end, as a factor of `learning_rate`; 0
        keeps it as it is.

    Raises:
      TypeError: a count is not an int, or another field is not a number.
      ValueError: a number is out of range.
    """

    embedding_noise: float = 0.1
    contrast_weight: float = 0.3
    equalization_db: float = 6.0
    frontend_rate: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("embedding_noise", "contrast_weight", "equalization_db", "frontend_rate"):
            number(name, getattr(self, name), least=0)


@dataclasses.dataclass(frozen=True)
class AdaptationConfig(AutoencoderTrainConfig):
    """The settings of `adapt`: those of `AutoencoderTrainConfig`, and of what is trained.

    The defaults are for seconds of sound.

    Args:
      rank: rank of the change of each matrix of the decoder.
      decoder_after: step after which the decoder is changed; until then, the embedding and the room
        are trained alone.

    Raises:
      TypeError: a count is not an int, or another field is not a number.
      ValueError: a number is out of range.
    """

    steps: int = 300
    batch_size: int = 8
    learning_rate: float = 3e-3
    evaluate_every: int = 50
    loudness_weight: float = 0.2
    rank: int = 4
    decoder_after: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        size("rank", self.rank)
        non_negative_int("decoder_after", self.decoder_after)


@dataclasses.dataclass(frozen=True)
class ClassifierTrainConfig(RunConfig):
    """The settings of a classifier's training: those of `RunConfig`, and its augmentation.

    Args:
      steps: optimizer steps of the whole run, including those before it was resumed.
      batch_size: examples in a step, over all devices together; all classes are equally frequent.
      learning_rate: of Adam at step 0, for all parameters but the front-end's.
      decay_rate: factor of the learning rate over `decay_steps` steps, at most 1.
      decay_steps: steps over which the learning rate falls by `decay_rate`.
      clip_norm: a gradient with a larger norm is scaled to this norm; the gradient of the
        front-end and that of all other parameters are clipped separately.
      evaluate_every: steps between two evaluations on the valid split, each followed by a
        checkpoint.
      keep_checkpoints: how many checkpoints stay on disk.
      max_minutes: after this many minutes the run stops, and can be resumed; None for no limit.
      seed: seed of the initial weights, the order of the data and the random numbers in a step.
      steps_per_dispatch: steps that the device takes without a word from the host between them.
      skip_nonfinite: whether a step whose loss or gradient is not finite leaves the weights as they
        are, and is counted; otherwise it ends the run.
      shard_optimizer: whether each of several devices keeps only its part of the optimizer's state.
      frontend_rate: learning rate of the front-end, as a factor of `learning_rate`; 0 keeps its
        filters fixed.
      smoothing: label smoothing: the probability that is spread evenly over all classes, below 1.
      shift: how far a crop may reach beyond the ends of its recording, as a fraction of its length.
      speed: how much faster or slower a crop may be played: 0.2 allows factors from 1 / 1.2 to
        1.2.
      reverb_s: a crop is heard in a random room, whose reverberation time is at most so many
        seconds; 0 for none.
      noise_snr_db: white noise is added to a crop, with a ratio of signal to noise between this and
        30 dB above it; None for none.
      gain_db: how much louder or softer a crop may be made, in dB.
      mixup: how evenly pairs of crops are mixed (alpha of `core.mixup`); 0 mixes none.
      time_mask: longest run of frames that is masked, as a fraction of a crop.
      frequency_mask: largest number of neighbouring bands that are masked, as a fraction of all.

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
    reverb_s: float = 0.0
    noise_snr_db: float | None = None
    gain_db: float = 0.0
    mixup: float = 0.0
    time_mask: float = 0.0
    frequency_mask: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("frontend_rate", "mixup"):
            number(name, getattr(self, name), least=0)
        number("reverb_s", self.reverb_s, least=0, most=10)
        number("gain_db", self.gain_db, least=0, most=60)
        if self.noise_snr_db is not None:
            number("noise_snr_db", self.noise_snr_db, least=-60, most=120)
        for name in ("smoothing", "shift", "speed", "time_mask", "frequency_mask"):
            number(name, getattr(self, name), least=0, below=1)


@dataclasses.dataclass(frozen=True)
class ProcessConfig:
    """How a process finds the others that train the same model, one for each host or each GPU.

    Without a field the process trains alone, on all the devices that it sees.

    Args:
      coordinator: address of process 0 as the others reach it, HOST:PORT, with a free port; the
        same for all. `process_id` and `processes` go with it.
      process_id: number of this process, from 0.
      processes: number of processes.
      distributed: whether JAX finds out these three, where Slurm, Open MPI, Kubernetes or a Cloud
        TPU has started the processes.
      start_timeout_s: seconds that the processes wait for each other at the start.

    Raises:
      TypeError: a number is not an int, or another field is of another type.
      ValueError: a number is out of range, one of the first three fields is missing, or they are
        given beside `distributed`.

    Example:
      >>> from ddspx.training import ProcessConfig
      >>> ProcessConfig("node1:1234", process_id=0, processes=2).is_alone
      False
    """

    coordinator: str | None = None
    process_id: int | None = None
    processes: int | None = None
    distributed: bool = False
    start_timeout_s: int = 300

    def __post_init__(self) -> None:
        _true_or_false("distributed", self.distributed)
        positive_int("start_timeout_s", self.start_timeout_s)
        named = {name: getattr(self, name) for name in ("coordinator", "process_id", "processes")}
        given = [name for name, value in named.items() if value is not None]
        if given and self.distributed:
            raise ValueError(
                f"`distributed` lets JAX find `{given[0]}`, got {named[given[0]]!r} beside it; "
                "leave one of them out."
            )
        if given and len(given) < len(named):
            missing = next(name for name in named if name not in given)
            raise ValueError(
                f"`{missing}` must go with `{given[0]}`; give `coordinator`, `process_id` and "
                "`processes`, or none of them."
            )
        if given:
            self._check_named()

    def _check_named(self) -> None:
        """Checks the address and the numbers of the processes."""
        if not isinstance(self.coordinator, str):
            raise TypeError(f"`coordinator` must be a str, got {self.coordinator!r}.")
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
            raise ValueError(
                f"`coordinator` must be HOST:PORT, such as node1:1234, got {self.coordinator!r}."
            )
        count = positive_int("processes", self.processes)
        if non_negative_int("process_id", self.process_id) >= count:
            raise ValueError(
                f"`process_id` must be below `processes`, {count}, got {self.process_id}; the "
                "first process is 0."
            )

    @property
    def is_alone(self) -> bool:
        """Whether there are no other processes."""
        return self.coordinator is None and not self.distributed


def _true_or_false(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False, got {value!r}.")
