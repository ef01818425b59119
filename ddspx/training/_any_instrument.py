"""Training of one model of many instruments, on a dataset of each."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
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

from ddspx import __version__
from ddspx._typing import Array, ArrayLike, Key
from ddspx.instruments._library import is_name
from ddspx.io import (
    Batch,
    EvaluationBatches,
    Manifest,
    MixedBatch,
    mixed_batches,
    read_manifest,
)
from ddspx.models.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    InstrumentStatistics,
    Timbre,
    save_any_instrument,
)
from ddspx.models.autoencoder.serialization import check_loads_back
from ddspx.models.autoencoder.timbres import mean_embedding, timbre_encoder
from ddspx.nn import DecayingReverbConfig, SpectralFrontend, TapReverbConfig
from ddspx.training._any_instrument_loss import any_instrument_loss, rendered_dry
from ddspx.training._autoencoder import padded_to, valid_batches
from ddspx.training._config import AnyInstrumentTrainConfig
from ddspx.training._data import check_dataset, dataset_statistics, stretches_to_hear
from ddspx.training._devices import gathered, placements, put_batch, this_process
from ddspx.training._frontends import begin_with
from ddspx.training._logging import RunLog
from ddspx.training._loop import TrainResult, run_task
from ddspx.training._state import TrainState, initial_state
from ddspx.training._step import (
    StepReport,
    adam_with_frontend,
    spectral_distance,
    train_step,
)
from ddspx.training._stopping import until_stopped
from ddspx.training._task import Measured, Task


def train_any_instrument(
    datasets: Mapping[str, str | Path],
    output: str | Path,
    *,
    model: AutoencoderConfig,
    room: DecayingReverbConfig | TapReverbConfig,
    config: AnyInstrumentTrainConfig | None = None,
    weights: Mapping[str, float] | None = None,
    front_end: SpectralFrontend | None = None,
    console: Console | None = None,
) -> TrainResult:
    """Trains one model on the datasets of many instruments and writes it as a model folder.

    In each example the encoder hears another stretch of the same recordings, and the decoder plays
    the example with the embedding of what was heard. Each dataset has its own room, so that the
    embedding need not describe it. The folder is that of an autoencoder, with a file of the
    instruments' embeddings, rooms and statistics beside it. A run is resumed, stopped and evaluated
    as by `train_autoencoder`; the loss on the valid split is the mean over the instruments.

    Args:
      datasets: the folder that `prepare` wrote of each instrument, by its name.
      output: the model folder to make.
      model: the sizes of the model, such as ``AutoencoderConfig.any_instrument()``: with a
        `nn.TimbreEncoderConfig`, and without a reverb.
      room: the config of the reverb of each dataset.
      config: the settings of the training.
      weights: how often each dataset is drawn from, relative to the others; by default all alike.
      front_end: a trained front-end, such as `load_frontend` gives, which the encoder starts with.
      console: as in `train_autoencoder`.

    Returns:
      The step at which the run ended, and the weights that are in `output`.

    Raises:
      ValueError: there is no dataset, a name or a dataset does not fit the model or the others,
        `weights` has a name that `datasets` has not, the model has a reverb or another encoder,
        `front_end` has another config than the model's, or as `train_autoencoder`.
      FileExistsError: `output` exists and does not belong to a training run.
      OwnedError: another process is training to `output`.
      OSError: a file cannot be written.
      FloatingPointError: the loss, its gradient or the weights are not finite any more.
      ModuleNotFoundError: a package that training needs is not installed.
    """
    config = config or AnyInstrumentTrainConfig()
    names = tuple(datasets)
    if wrong := [name for name in names if not is_name(name)]:
        raise ValueError(
            f"{wrong[0]!r} cannot be the name of an instrument: use at most 40 letters, digits, _ "
            "and -, and begin with a letter or digit."
        )
    if unknown := sorted(set(weights or ()) - set(names)):
        raise ValueError(
            f"`weights` names {unknown[0]!r}, which is none of the datasets ({', '.join(names)})."
        )
    shares = None if weights is None else tuple(weights.get(name, 1.0) for name in names)
    folders = tuple(Path(datasets[name]) for name in names)
    begin = partial(_task, names, folders, shares, model, room, config, front_end)
    return run_task(begin, output, config=config, console=console)


def _task(
    names: tuple[str, ...],
    folders: tuple[Path, ...],
    shares: tuple[float, ...] | None,
    model: AutoencoderConfig,
    room: DecayingReverbConfig | TapReverbConfig,
    config: AnyInstrumentTrainConfig,
    front_end: SpectralFrontend | None,
) -> Task:
    """Makes the task; raises a ValueError if the data and the model do not fit each other."""
    if model.reverb is not None:
        raise ValueError("`model` must have no reverb: each dataset gets a `room` of its own.")
    manifests = [read_manifest(folder) for folder in folders]
    for name, manifest in zip(names, manifests, strict=True):
        check_dataset(manifest, model, named=f"The dataset of {name}")
    every, each = placements(config.batch_size)
    batches = mixed_batches(
        folders, batch_size=config.batch_size, seed=config.seed, weights=shares, **this_process()
    )
    module = Autoencoder(model, rngs=nnx.Rngs(config.seed))
    origin = begin_with(front_end, timbre_encoder(module))
    check_loads_back(module)
    programs = _programs(model, room, config, every)
    params, rest = map(nnx.to_pure_dict, nnx.state(module, nnx.Param, ...))
    rooms, fixed = _initial_rooms(room, len(folders), model.sample_rate, config.seed)
    statistics = [dataset_statistics(*each) for each in zip(folders, manifests, strict=True)]
    facts = {
        "ddspx": __version__,
        "jax": jax.__version__,
        "instruments": {
            name: {"licence": m.licence, "attribution": m.attribution}
            for name, m in zip(names, manifests, strict=True)
        },
        "training": config.to_json(),
    } | origin
    valid = [
        valid_batches(folder, manifest, config)
        for folder, manifest in zip(folders, manifests, strict=True)
    ]
    sounds = _Sounds(names, folders, valid)
    measured = partial(_measure, sounds, config, programs, each)
    return Task(
        model={"model": model.to_json(), "room": repr(room)},
        data=_digest(names, manifests, origin),
        batches=batches,
        state=initial_state(
            {"model": params, "rooms": rooms},
            programs.optimizer,
            seed=config.seed,
            rest={"model": rest, "rooms": fixed},
        ),
        step=programs.step,
        measure=measured if any(valid) else None,
        save=partial(_save, sounds, programs, statistics, facts),
    )


class _Sounds(NamedTuple):
    """The datasets, by number."""

    names: tuple[str, ...]
    folders: tuple[Path, ...]
    valid: list[EvaluationBatches | None]


class _Programs(NamedTuple):
    """The compiled functions of a run, and the structures of the model and of a room."""

    graphdef: nnx.GraphDef
    room: nnx.GraphDef
    optimizer: optax.GradientTransformation
    step: Callable[[TrainState, MixedBatch], tuple[TrainState, StepReport]]
    embedding: Callable[[Any, Any, ArrayLike], Array]
    evaluation: Callable[[Any, Any, Key, Batch, Array, Any], Array]


@lru_cache(maxsize=2)
def _programs(
    model: AutoencoderConfig,
    room: DecayingReverbConfig | TapReverbConfig,
    config: AnyInstrumentTrainConfig,
    placement: NamedSharding,
) -> _Programs:
    """Makes the compiled functions; cached, so that a resumed run does not compile them again."""
    shape = nnx.eval_shape(lambda: Autoencoder(model, rngs=nnx.Rngs(0)))
    graphdef, *_ = nnx.split(shape, nnx.Param, ...)
    room_graph = _room_graph(room, model.sample_rate)
    optimizer = adam_with_frontend(config, frontend_rate=config.frontend_rate)
    loss = any_instrument_loss(
        graphdef,
        room_graph,
        loudness_weight=config.loudness_weight,
        embedding_noise=config.embedding_noise,
        contrast_weight=config.contrast_weight,
        equalization_db=config.equalization_db,
        gain_db=config.gain_db,
        bfloat16=config.bfloat16,
    )

    @jax.jit
    def embedding(params: Any, rest: Any, audio: ArrayLike) -> Array:
        encoder = timbre_encoder(nnx.merge(graphdef, params["model"], rest["model"]))
        return mean_embedding(encoder, audio)

    @jax.jit
    def evaluation(params: Any, rest: Any, key: Key, batch: Batch, z: Array, source: Any) -> Array:
        model = nnx.merge(graphdef, params["model"], rest["model"])
        n_examples = batch.audio.shape[0]
        dry = rendered_dry(model, key, batch, jnp.broadcast_to(z, (n_examples, z.size)))
        one = jax.tree.map(lambda x: x[source], (params["rooms"], rest["rooms"]))
        wet = nnx.merge(room_graph, *one)(dry)
        each = jax.vmap(lambda a, b: spectral_distance(model.config, a, b, config.loudness_weight))
        return each(jnp.asarray(batch.audio), wet)

    step = train_step(
        loss,
        optimizer,
        microbatches=config.microbatches,
        placement=placement,
        shard_optimizer=config.shard_optimizer,
    )
    return _Programs(graphdef, room_graph, optimizer, step, embedding, evaluation)


def _room_graph(config: DecayingReverbConfig | TapReverbConfig, sample_rate: int) -> nnx.GraphDef:
    shape = nnx.eval_shape(lambda: config.build(sample_rate=sample_rate, rngs=nnx.Rngs(0)))
    return nnx.split(shape, nnx.Param, ...)[0]


def _initial_rooms(
    config: DecayingReverbConfig | TapReverbConfig, n_rooms: int, sample_rate: int, seed: int
) -> tuple[Any, Any]:
    """Parameters and other variables of the rooms, each drawn from its own seed."""
    rooms = [config.build(sample_rate=sample_rate, rngs=nnx.Rngs(seed + i)) for i in range(n_rooms)]
    states = zip(*(nnx.state(room, nnx.Param, ...) for room in rooms), strict=True)
    params, rest = (
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(nnx.to_pure_dict, each))
        for each in states
    )
    return params, rest


def _measure(
    sounds: _Sounds,
    config: AnyInstrumentTrainConfig,
    programs: _Programs,
    each: NamedSharding,
    state: TrainState,
    log: RunLog,
) -> Measured:
    """The mean loss on the valid split of each dataset, with the timbre of its train split."""
    losses, size = {}, config.batch_size
    for source, name in enumerate(sounds.names):
        batches = sounds.valid[source]
        if batches is None:
            continue
        z = programs.embedding(state.params, state.rest, stretches_to_hear(sounds.folders[source]))
        found = []
        for index, batch in enumerate(until_stopped(batches)):
            key = jax.random.fold_in(jax.random.key(0), index)
            padded = put_batch(padded_to(batch, size), each)
            loss = programs.evaluation(state.params, state.rest, key, padded, z, source)
            found.append(gathered(loss)[: len(batch.audio)])
        losses[name] = float(np.mean(np.concatenate(found)))
    return Measured(float(np.mean(list(losses.values()))), losses)


def _save(
    sounds: _Sounds,
    programs: _Programs,
    statistics: list[InstrumentStatistics],
    facts: dict[str, Any],
    folder: Path,
    state: TrainState,
    selected: dict[str, Any],
) -> None:
    model = nnx.merge(programs.graphdef, state.params["model"], state.rest["model"])
    timbres = {}
    for source, name in enumerate(sounds.names):
        z = programs.embedding(state.params, state.rest, stretches_to_hear(sounds.folders[source]))
        one = jax.tree.map(lambda x, i=source: x[i], (state.params["rooms"], state.rest["rooms"]))
        room = nnx.merge(programs.room, *one)
        timbres[name] = Timbre(np.asarray(z), room, statistics[source])
    save_any_instrument(folder, model, timbres, provenance=facts | {"selected": selected})


def _digest(names: tuple[str, ...], manifests: list[Manifest], origin: dict[str, Any]) -> str:
    """Hashes what decides the weights together with the settings."""
    fields = {name: asdict(manifest) for name, manifest in zip(names, manifests, strict=True)}
    return hashlib.sha256(json.dumps(fields | origin, sort_keys=True).encode()).hexdigest()
