"""Training of the autoencoder on a prepared dataset."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding
from rich.console import Console

from ddspx import __version__
from ddspx._typing import Array, Key
from ddspx.instruments import Instrument, as_instrument
from ddspx.io import Batch, Manifest, evaluation_batches, read_manifest, training_batches
from ddspx.models.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    InstrumentStatistics,
    save_autoencoder,
)
from ddspx.training._config import AutoencoderTrainConfig
from ddspx.training._data import check_dataset, dataset_statistics
from ddspx.training._logging import RunLog
from ddspx.training._loop import Measured, Task, TrainResult, placements, run_task
from ddspx.training._state import TrainState, initial_state
from ddspx.training._step import (
    StepReport,
    adam,
    autoencoder_evaluation,
    autoencoder_loss,
    train_step,
)

_HEARD_EXAMPLES = 3


def train_autoencoder(
    dataset: str | Path,
    output: str | Path,
    *,
    model: AutoencoderConfig,
    config: AutoencoderTrainConfig | None = None,
    start: str | Path | Instrument | None = None,
    console: Console | None = None,
) -> TrainResult:
    """Trains an autoencoder on a prepared dataset and writes it as a model folder.

    Every `config.evaluate_every` steps, and after the last one, the loss on the valid split is
    measured. Whenever it is the lowest so far the weights are written to `output`, so that
    folder holds the best model of the run and can be played while training goes on. The test
    split is never read. Without a valid split the newest weights are kept.

    What only the run needs is beside it, in ``<output>.run``::

        run.json              the settings and the data; a run goes on only with the same
        checkpoints/<step>/   the last few states, with the place in the data
        best/                 while `output` holds the last step of a run between two regular
                              evaluations: the model that is compared with if the run goes on
        logs/metrics.jsonl    a line per step and per evaluation
        logs/events.*         the same for TensorBoard, with a few examples to listen to

    Called again with the same arguments, a run that was cut short goes on from its newest
    checkpoint and ends in the same weights, bit for bit, as one that was not, wherever it was
    cut: Ctrl-C (or SIGTERM) and the clock end it after the current step, with a checkpoint and
    without an evaluation, and a last step between two evaluations decides what is in `output`
    only until the run goes on with more steps. Where there are several devices, each takes its
    part of every batch. Nothing is written before the data, the model and what training needs
    have been found usable, and a run that never came to a checkpoint can be begun anew with
    other settings.

    Args:
      dataset: folder that `prepare` wrote.
      output: the model folder to make.
      model: the sizes of the model. Its rates must be the dataset's.
      config: how to train; by default DDSP's numbers.
      start: a model folder, an instrument's name, or one that `load_instrument` returned, whose
        weights the training begins with: an instrument that is near needs far fewer steps. It
        must have the sizes of `model`, up to the reverb, which begins anew: the room is the
        recordings', not the instrument's.
      console: where the progress bar and a line per evaluation go; by default the screen.

    Returns:
      Where the run ended.

    Raises:
      FileNotFoundError: there is no model `start`.
      ValueError: the rates differ, the dataset's features are of another version, its contents
        or a checkpoint are damaged, `start` has other sizes, the settings are not those of the
        run that `output` belongs to, or the batch does not divide among the devices.
      FileExistsError: `output` exists and does not belong to a training run.
      FloatingPointError: the loss or its gradient is no longer finite.
      ModuleNotFoundError: what training needs is not installed.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from rich.console import Console
      >>> from ddspx import io, training
      >>> from ddspx.models.autoencoder import AutoencoderConfig, load_autoencoder
      >>> folder = tempfile.TemporaryDirectory()
      >>> recording, dataset, instrument = (
      ...     Path(folder.name, name) for name in ("tone.wav", "dataset", "instrument")
      ... )
      >>> tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(80000) / 16000)
      >>> io.write_audio(recording, tone, sample_rate=16000)
      >>> model = AutoencoderConfig.tiny(hop_length=160)
      >>> _ = training.prepare(
      ...     [recording], dataset, hop_length=160, example_s=0.5, report=lambda line: None
      ... )
      >>> result = training.train_autoencoder(
      ...     dataset,
      ...     instrument,
      ...     model=model,
      ...     config=training.AutoencoderTrainConfig(steps=2, batch_size=1, evaluate_every=2),
      ...     console=Console(quiet=True),
      ... )
      >>> result.step, load_autoencoder(instrument)[0].config == model
      (2, True)
      >>> folder.cleanup()
    """
    config = config or AutoencoderTrainConfig()
    begin = partial(_task, Path(dataset), model, config, start)
    return run_task(begin, Path(output), config=config, console=console or Console())


def _task(
    dataset: Path,
    model: AutoencoderConfig,
    config: AutoencoderTrainConfig,
    start: str | Path | Instrument | None,
) -> Task:
    """The run of an autoencoder; a ValueError where its data does not fit it."""
    manifest = read_manifest(dataset)
    check_dataset(manifest, model)
    statistics = dataset_statistics(dataset, manifest)
    every, each = placements(config.batch_size)
    batches = training_batches(dataset, batch_size=config.batch_size, seed=config.seed)
    rate = config.learning_rate, config.decay_rate, config.decay_steps
    programs = _programs(model, *rate, config.clip_norm, every)
    measure = None
    if manifest.splits["valid"].n_examples:
        evaluation_batches(dataset, split="valid", batch_size=1)
        measure = partial(_valid_loss, dataset, manifest, config, programs, each)
    module, begun = Autoencoder(model, rngs=nnx.Rngs(config.seed)), {}
    if start is not None:
        module, begun = _started(module, start, manifest)
    params, rest = map(nnx.to_pure_dict, nnx.state(module, nnx.Param, ...))
    return Task(
        model=model.to_json(),
        data=_digest(manifest, begun),
        batches=batches,
        state=initial_state(params, programs.optimizer, seed=config.seed, rest=rest),
        step=programs.step,
        measure=measure,
        save=partial(
            _save,
            programs.graphdef,
            statistics,
            _provenance(manifest, statistics, config) | begun,
        ),
    )


def _started(
    fresh: Autoencoder, start: str | Path | Instrument, manifest: Manifest
) -> tuple[Autoencoder, dict[str, Any]]:
    """The weights of `start` with the room of `fresh`, and what to say of where they are from."""
    module, statistics, provenance = as_instrument(start)
    name = "the given model" if isinstance(start, Instrument) else start
    if statistics.feature_version != manifest.feature_version:
        raise ValueError(
            f"`start` must listen to the dataset's features, {manifest.feature_version!r}, and "
            f"{name} listens to {statistics.feature_version!r}; prepare the recordings with its "
            "tracker, or train without `start`."
        )
    for field in dataclasses.fields(fresh.config):
        theirs, ours = getattr(module.config, field.name), getattr(fresh.config, field.name)
        if theirs != ours and field.name not in ("reverb_length", "loss_n_ffts"):
            raise ValueError(
                f"`start` must have the sizes of the model, whose `{field.name}` is {ours}; "
                f"{name} has {theirs}."
            )
    # Whatever learns but the room, which is the recordings' and not the instrument's.
    weights = nnx.to_flat_state(nnx.state(module))
    kept = [(path, leaf) for path, leaf in weights if path[0] != "reverb"]
    nnx.update(fresh, nnx.from_flat_state(kept))
    digest = hashlib.sha256(b"".join(np.asarray(leaf[...]).tobytes() for _, leaf in kept))
    said = {name: provenance[name] for name in ("data", "started_from") if name in provenance}
    return fresh, {"started_from": {"weights_sha256": digest.hexdigest(), **said}}


def _save(
    graphdef: nnx.GraphDef,
    statistics: InstrumentStatistics,
    provenance: dict[str, Any],
    folder: Path,
    state: TrainState,
    selected: dict[str, Any],
) -> None:
    save_autoencoder(
        folder,
        nnx.merge(graphdef, state.params, state.rest),
        statistics=statistics,
        provenance=provenance | {"selected": selected},
    )


def _valid_loss(
    dataset: Path,
    manifest: Manifest,
    config: AutoencoderTrainConfig,
    programs: "_Programs",
    each: NamedSharding,
    state: TrainState,
    log: RunLog,
) -> Measured:
    """Mean loss over the valid split; the first few examples are logged as sound."""
    taken, size, losses = int(state.step), config.batch_size, []
    batches = evaluation_batches(dataset, split="valid", batch_size=size)
    for index, batch in enumerate(batches):
        n_examples = len(batch.audio)
        # Always the same noise, so that two evaluations differ by the weights alone.
        key = jax.random.fold_in(jax.random.key(0), index)
        padded = jax.device_put(_padded(batch, size), each)
        loss, audio = programs.evaluation(state.params, state.rest, key, padded)
        losses.append(np.asarray(loss)[:n_examples])
        if index > 0:
            continue
        for heard in range(min(_HEARD_EXAMPLES, n_examples)):
            name, rate = f"valid/{heard}", {"sample_rate": manifest.sample_rate}
            log.audio(taken, f"{name}/target", batch.audio[heard], **rate)
            log.audio(taken, f"{name}/model", np.asarray(audio)[heard], **rate)
    return Measured(float(np.mean(np.concatenate(losses))))


class _Programs(NamedTuple):
    """What is compiled for a run."""

    graphdef: nnx.GraphDef
    optimizer: optax.GradientTransformation
    step: Callable[[TrainState, Batch], tuple[TrainState, StepReport]]
    evaluation: Callable[[Any, Any, Key, Batch], tuple[Array, Array]]


@lru_cache(maxsize=2)
def _programs(
    model: AutoencoderConfig,
    learning_rate: float,
    decay_rate: float,
    decay_steps: int,
    clip_norm: float,
    placement: NamedSharding,
) -> _Programs:
    """Kept between calls, so that going on with a run in one process does not compile again."""
    shape = nnx.eval_shape(lambda: Autoencoder(model, rngs=nnx.Rngs(0)))
    graphdef, *_ = nnx.split(shape, nnx.Param, ...)
    optimizer = adam(
        learning_rate=learning_rate,
        decay_rate=decay_rate,
        decay_steps=decay_steps,
        clip_norm=clip_norm,
    )
    return _Programs(
        graphdef,
        optimizer,
        train_step(autoencoder_loss(graphdef), optimizer, placement=placement),
        autoencoder_evaluation(graphdef),
    )


def _padded(batch: Batch, size: int) -> Batch:
    """The batch filled up to `size` with copies of its first example, for one compilation."""
    missing = size - len(batch.audio)
    return Batch(*(np.concatenate([a, np.repeat(a[:1], missing, axis=0)]) for a in batch))


def _digest(manifest: Manifest, begun: dict[str, Any]) -> str:
    """What the weights depend on beside the settings."""
    fields = json.dumps(dataclasses.asdict(manifest) | begun, sort_keys=True)
    return hashlib.sha256(fields.encode()).hexdigest()


def _provenance(
    data: Manifest, statistics: InstrumentStatistics, config: AutoencoderTrainConfig
) -> dict[str, Any]:
    """Where a model comes from, as far as it is known before training."""
    return {
        "ddspx": __version__,
        "jax": jax.__version__,
        "data": {
            "licence": data.licence,
            "attribution": data.attribution,
            "sources": [dataclasses.asdict(source) for source in data.sources],
            "prepared": {
                "sample_rate": data.sample_rate,
                "hop_length": data.hop_length,
                "example_length": data.example_length,
                **statistics.pitch_range_hz,
                "feature_version": data.feature_version,
            },
            "splits": {
                name: {"n_examples": split.n_examples, "duration_s": split.duration_s}
                for name, split in data.splits.items()
            },
        },
        "training": config.to_json(),
    }
