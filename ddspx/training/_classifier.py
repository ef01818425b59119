"""Training of a classifier on labelled recordings."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding
from rich.console import Console

from ddspx import __version__, core
from ddspx._checks import size
from ddspx._progress import Progress
from ddspx._text import printable
from ddspx._typing import Array, Float, Key
from ddspx.io import (
    AudioError,
    BalancedBatches,
    LabelledAudio,
    LabelledBatch,
    Recording,
    recordings_digest,
    training_labels,
)
from ddspx.models.spectnet import (
    SpectNet,
    SpectNetConfig,
    classification_loss,
    save_spectnet,
    vote_mean_probability,
)
from ddspx.models.spectnet.inference import batched_logits
from ddspx.models.spectnet.recordings import level_gain
from ddspx.nn import SpectralFrontend
from ddspx.training._augmentation import augmented, changes_sound
from ddspx.training._config import ClassifierTrainConfig
from ddspx.training._devices import gathered, is_writer, placements, put_batch, this_process
from ddspx.training._frontends import begin_with
from ddspx.training._logging import RunLog, console_here, reading_bar
from ddspx.training._loop import TrainResult, run_task
from ddspx.training._run import run_path
from ddspx.training._state import TrainState, initial_state
from ddspx.training._step import Loss, StepReport, adam_with_frontend, train_step
from ddspx.training._stopping import raise_if_stopped
from ddspx.training._task import Measured, Task

_DEFAULTS = ClassifierTrainConfig()


def train_classifier(
    recordings: Sequence[Recording],
    output: str | Path,
    *,
    model: SpectNetConfig,
    config: ClassifierTrainConfig | None = None,
    front_end: SpectralFrontend | None = None,
    provenance: Mapping[str, Any] | None = None,
    workers: int = 1,
    report: Callable[[AudioError], object] | None = None,
    console: Console | None = None,
) -> TrainResult:
    """Trains a classifier on labelled recordings and writes it as a model folder.

    The recordings are decoded once, into the folder of the run, where a resumed run finds them; an
    hour at 16 kHz needs 230 MB there. Of several processes (`start_processes`) the first one
    decodes, and the others read. The files of the run, and how it stops and is resumed bit for bit,
    are those of `train_autoencoder`. Batches are random crops, in which all classes are equally
    frequent. The weights with the lowest loss on the valid split are kept. This loss is the cross
    entropy of the label, as a mean over the segments of a recording, then over the recordings of a
    class, then over the classes. The test split is never read. If there is no valid split, the
    newest weights are kept.

    Args:
      recordings: as `io.labelled_recordings` gives them.
      output: the model folder to make.
      model: the sizes of the model; its labels must be those of the recordings.
      config: the settings of the training.
      front_end: a trained front-end, such as `load_frontend` gives, which the training starts with;
        `config.frontend_rate` is its learning rate.
      provenance: further facts about the data, stored with the weights.
      workers: number of processes that decode. With more than one, a script needs the guard
        ``if __name__ == "__main__":``.
      report: called with the error of every recording that cannot be read, which is then left
        out; by default the error is printed to the console.
      console: where the progress bar and a line per evaluation are printed; by default the
        terminal.

    Returns:
      The step at which the run ended, and the weights that are in `output`.

    Raises:
      DatasetError: there is only one class, or a class has no recording to train on.
      ValueError: the labels differ, `front_end` has another config than the model's, the settings
        are not those of the run that `output` belongs to, or the batch cannot be divided among the
        devices.
      FileExistsError: `output` exists and does not belong to a training run.
      OwnedError: another process is training to `output`.
      OSError: a file cannot be written.
      FloatingPointError: the loss, its gradient or the weights are not finite any more.
      ModuleNotFoundError: a package that training needs is not installed.
    """
    config, console = config or ClassifierTrainConfig(), console_here(console)
    output = Path(output)
    size("workers", workers)

    def begin() -> Task:
        skipped = report or (
            lambda error: console.print(f"skipped: {printable(error)}", markup=False)
        )
        folder = run_path(output) / "sounds"
        with _removed_if_refused(folder):
            with reading_bar(console) as progress:
                sounds = _sounds(recordings, folder, model, workers, skipped, progress)
            splits = [recording.split for recording in sounds.recordings]
            console.print(
                f"{len(model.labels)} classes; train {splits.count('train')}, valid "
                f"{splits.count('valid')} recordings, {_duration(sounds, model)}",
                soft_wrap=True,
            )
            digest = recordings_digest(_training_recordings(recordings))
            return _task(sounds, digest, model, config, provenance or {}, front_end)

    return run_task(begin, output, config=config, console=console)


@contextmanager
def _removed_if_refused(folder: Path) -> Iterator[None]:
    """Removes a new folder if the recordings or the settings are refused.

    After all else, such as Ctrl-C or a full disk, the next call goes on with what was decoded.
    """
    is_new = is_writer() and not folder.exists()
    try:
        yield
    except ValueError:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # because the folder of the run holds something else
                folder.parent.rmdir()
        raise


def _training_recordings(recordings: Sequence[Recording]) -> list[Recording]:
    return [recording for recording in recordings if recording.split in ("train", "valid")]


def _sounds(
    recordings: Sequence[Recording],
    folder: Path,
    model: SpectNetConfig,
    workers: int,
    report: Callable[[AudioError], object],
    progress: Progress,
) -> LabelledAudio:
    """Reads the recordings of the train and valid splits, at the model's rate and level."""
    labels = training_labels(recordings)
    if sorted(model.labels) != list(labels):
        raise ValueError(
            f"`model` has the labels {', '.join(model.labels)} and the recordings "
            f"{', '.join(labels)}; they must be the same."
        )
    sounds = LabelledAudio(
        _training_recordings(recordings),
        folder,
        sample_rate=model.frontend.sample_rate,
        report=report,
        gain=level_gain if model.normalize_level else None,
        progress=progress,
        workers=workers,
        decode=is_writer(),
    )
    training_labels(recordings, usable=sounds.recordings)
    return sounds


def _duration(sounds: LabelledAudio, model: SpectNetConfig) -> str:
    seconds = sum(sounds.n_samples) / model.frontend.sample_rate
    return f"{seconds:.0f} s" if seconds < 300 else f"{seconds / 60:.0f} min"


def _task(
    sounds: LabelledAudio,
    digest: str,
    model: SpectNetConfig,
    config: ClassifierTrainConfig,
    provenance: Mapping[str, Any],
    front_end: SpectralFrontend | None,
) -> Task:
    """Makes the task of a classifier."""
    every, each = placements(config.batch_size)
    programs = _programs(model, _compiled_in(config), every)
    labels = [model.labels.index(recording.label) for recording in sounds.recordings]
    split = {
        name: [i for i, r in enumerate(sounds.recordings) if r.split == name]
        for name in ("train", "valid")
    }
    batches = BalancedBatches(
        sounds.chosen(split["train"]),
        [labels[i] for i in split["train"]],
        batch_size=config.batch_size,
        crop_length=model.segment_length,
        shift=config.shift,
        speed=config.speed,
        seed=config.seed,
        **this_process(),
    )
    valid = sounds.chosen(split["valid"]), np.array([labels[i] for i in split["valid"]])
    network = SpectNet(model, rngs=nnx.Rngs(config.seed))
    if origin := begin_with(front_end, network):
        digest = hashlib.sha256(json.dumps([digest, origin]).encode()).hexdigest()
    params, *rest = map(nnx.to_pure_dict, nnx.state(network, nnx.Param, nnx.BatchStat, ...))
    return Task(
        model=model.to_json(),
        data=digest,
        batches=batches,
        state=initial_state(params, programs.optimizer, seed=config.seed, rest=tuple(rest)),
        step=programs.step,
        measure=partial(_measure, programs, model, config, each, *valid) if len(valid[0]) else None,
        save=partial(_save, programs, _provenance(sounds, config) | origin | dict(provenance)),
    )


def _measure(
    programs: "_Programs",
    model: SpectNetConfig,
    config: ClassifierTrainConfig,
    each: NamedSharding,
    sounds: Sequence[np.ndarray],
    labels: np.ndarray,
    state: TrainState,
    log: RunLog,
) -> Measured:
    """Computes loss and accuracy on the valid split, with the same weight for every class."""

    def logits(audio: np.ndarray) -> np.ndarray:
        raise_if_stopped()
        return gathered(programs.logits(state.params, state.rest, put_batch(audio, each)))

    losses, hits = [], []
    recordings = batched_logits(logits, sounds, model, config.batch_size)
    for label, scores in zip(labels, recordings, strict=True):
        scores = scores.astype(np.float64)
        losses.append(np.mean(np.logaddexp.reduce(scores, axis=-1) - scores[:, label]))
        # Logits that are not finite count as a wrong answer, because `vote_mean_probability` would
        # refuse them. The loss is not finite then either, which shows in the log.
        hits.append(np.isfinite(scores).all() and vote_mean_probability(scores).index == label)
    classes = [labels == label for label in np.unique(labels)]
    loss, accuracy = (
        float(np.mean([np.mean(np.asarray(values, float)[which]) for which in classes]))
        for values in (losses, hits)
    )
    return Measured(loss, {"accuracy": accuracy})


def _save(
    programs: "_Programs",
    provenance: Mapping[str, Any],
    folder: Path,
    state: TrainState,
    selected: dict[str, Any],
) -> None:
    network = nnx.merge(programs.graphdef, state.params, *state.rest)
    save_spectnet(folder, network, provenance={**provenance, "selected": selected})


class _Programs(NamedTuple):
    """The compiled functions of a run."""

    graphdef: nnx.GraphDef
    optimizer: optax.GradientTransformation
    step: Callable[[TrainState, LabelledBatch], tuple[TrainState, StepReport]]
    logits: Callable[[Any, Any, Array], Array]


def _compiled_in(config: ClassifierTrainConfig) -> ClassifierTrainConfig:
    """Resets the settings that no program depends on, so that more runs share one program."""
    names = (
        "steps", "batch_size", "evaluate_every", "keep_checkpoints", "max_minutes", "seed",
        "steps_per_dispatch", "skip_nonfinite",
    )  # fmt: skip
    return dataclasses.replace(config, **{name: getattr(_DEFAULTS, name) for name in names})


@lru_cache(maxsize=2)
def _programs(
    model: SpectNetConfig, config: ClassifierTrainConfig, placement: NamedSharding
) -> _Programs:
    """Makes the compiled functions; cached, so that a resumed run does not compile them again."""
    shape = nnx.eval_shape(lambda: SpectNet(model, rngs=nnx.Rngs(0)))
    graphdef, *_ = nnx.split(shape, nnx.Param, nnx.BatchStat, ...)
    optimizer = adam_with_frontend(config, frontend_rate=config.frontend_rate)

    @jax.jit
    def logits(params: Any, rest: Any, audio: Array) -> Array:
        return nnx.merge(graphdef, params, *rest)(audio)

    loss = classifier_loss(graphdef, config)
    step = train_step(loss, optimizer, placement=placement, shard_optimizer=config.shard_optimizer)
    return _Programs(graphdef, optimizer, step, logits)


def classifier_loss(graphdef: nnx.GraphDef, config: ClassifierTrainConfig) -> Loss:
    """Makes the loss: the mean cross entropy of a batch of crops, with augmentation.

    Args:
      graphdef: of a `SpectNet`, from ``nnx.split(model, nnx.Param, nnx.BatchStat, ...)``.
      config: the settings; smoothing, mixup, masks and changes of the sound are used.

    Returns:
      The loss as a function of (params, (statistics, others), key, batch).
    """

    def loss(
        params: Any, rest: tuple[Any, Any], key: Key, batch: LabelledBatch
    ) -> tuple[Float[Array, ""], tuple[Any, Any]]:
        model, (_, others) = nnx.merge(graphdef, params, *rest), rest
        audio = jnp.asarray(batch.audio)
        labels = jax.nn.one_hot(batch.label, model.config.n_classes, dtype=audio.dtype)
        mixup_key, key = jax.random.split(key)
        if changes_sound(config):
            sound_key, key = jax.random.split(key)
            rate = model.config.frontend.sample_rate
            audio = augmented(sound_key, audio, config, sample_rate=rate)
        if config.mixup:
            audio, labels = core.mixup(mixup_key, audio, labels, alpha=config.mixup)
        logits, statistics = model.training_logits(key, audio, augment=_masks(model.config, config))
        value = classification_loss(logits, labels, smoothing=config.smoothing)
        return value, (nnx.to_pure_dict(statistics), others)

    return loss


def _masks(
    model: SpectNetConfig, config: ClassifierTrainConfig
) -> Callable[[Key, Array], Array] | None:
    """Returns the function that masks features in time and frequency; None without masks."""
    if not config.time_mask and not config.frequency_mask:
        return None
    return partial(
        core.spec_augment,
        n_time_masks=1,
        time_width=round(config.time_mask * model.segment_frames),
        n_frequency_masks=1,
        frequency_width=round(config.frequency_mask * model.frontend.n_features),
        mask_value="mean",
    )


def _provenance(sounds: LabelledAudio, config: ClassifierTrainConfig) -> dict[str, Any]:
    """Describes where a model comes from.

    The hashes tell an evaluation later which recordings the model was trained with.
    """
    digests = {
        split: [r.sha256 for r in sounds.recordings if r.split == split]
        for split in ("train", "valid")
    }
    # A recording without a named group is its own group, under its file name. That is left out,
    # because a different recording in another folder may have the same name.
    groups = sorted({r.named_group for r in sounds.recordings} - {""})
    return {
        "ddspx": __version__,
        "jax": jax.__version__,
        "data": {"sha256": digests, "groups": groups},
        "training": config.to_json(),
    }
