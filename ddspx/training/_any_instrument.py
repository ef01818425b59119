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

from ddspx import __version__, core
from ddspx._typing import Array, ArrayLike, Float, Key
from ddspx.instruments._library import is_name
from ddspx.features import LOUDNESS_FFT
from ddspx.io import (
    Batch,
    Manifest,
    MixedBatch,
    evaluation_batches,
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
from ddspx.training._autoencoder import padded_to
from ddspx.training._config import AnyInstrumentTrainConfig
from ddspx.training._data import check_dataset, dataset_statistics, stretches_to_hear
from ddspx.training._frontends import begin_with
from ddspx.training._logging import RunLog
from ddspx.training._loop import Measured, Task, TrainResult, placements, run_task
from ddspx.training._state import TrainState, initial_state
from ddspx.training._step import (
    Loss,
    StepReport,
    adam_with_frontend,
    network_precision,
    spectral_distance,
    train_step,
)

_LOWEST_OCTAVE_HZ = 62.5
_TEMPERATURE = 0.1


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
      ValueError: there is no dataset, a name or a dataset does not fit the model or the others, the
        model has a reverb or another encoder, `front_end` has another config than the model's, or
        as `train_autoencoder`.
      FileExistsError: `output` exists and does not belong to a training run.
      FloatingPointError: the loss or its gradient is not finite any more.
      ModuleNotFoundError: a package that training needs is not installed.
    """
    config = config or AnyInstrumentTrainConfig()
    names = tuple(datasets)
    if wrong := [name for name in names if not is_name(name)]:
        raise ValueError(
            f"{wrong[0]!r} cannot be the name of an instrument: use at most 40 letters, digits, _ "
            "and -, and begin with a letter or digit."
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
    batches = mixed_batches(folders, batch_size=config.batch_size, seed=config.seed, weights=shares)
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
    sounds = _Sounds(names, folders, [m.splits["valid"].n_examples > 0 for m in manifests])
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
        measure=measured if any(sounds.has_valid) else None,
        save=partial(_save, sounds, programs, statistics, facts),
    )


class _Sounds(NamedTuple):
    """The datasets, by number."""

    names: tuple[str, ...]
    folders: tuple[Path, ...]
    has_valid: list[bool]


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
        dry = _dry(model, key, batch, jnp.broadcast_to(z, (n_examples, z.size)))
        one = jax.tree.map(lambda x: x[source], (params["rooms"], rest["rooms"]))
        wet = nnx.merge(room_graph, *one)(dry)
        each = jax.vmap(lambda a, b: spectral_distance(model.config, a, b, config.loudness_weight))
        return each(jnp.asarray(batch.audio), wet)

    step = train_step(loss, optimizer, microbatches=config.microbatches, placement=placement)
    return _Programs(graphdef, room_graph, optimizer, step, embedding, evaluation)


def any_instrument_loss(
    graphdef: nnx.GraphDef,
    room: nnx.GraphDef,
    *,
    loudness_weight: float,
    embedding_noise: float,
    contrast_weight: float,
    equalization_db: float,
    bfloat16: bool = False,
) -> Loss:
    """Makes the loss: the mean spectral distance of each example and its rendering.

    The timbre of an example is the embedding of its reference, which is another stretch of the
    same recordings, so it cannot hold the notes of the example. Noise is added to the embedding:
    so what lies between two instruments is trained too, and the embedding holds few numbers beside
    the timbre. An equalizer of random gains, the same for an example and its reference, makes new
    timbres of a dozen: only who hears the reference knows how the example sounds.

    Args:
      graphdef: of an `Autoencoder` with a `nn.TimbreEncoder`, from ``nnx.split(model, nnx.Param,
        ...)``.
      room: of a reverb, likewise.
      loudness_weight: as in `core.multi_scale_spectral_loss`.
      embedding_noise: standard deviation of the noise; the embedding has a mean square of 1.
      contrast_weight: weight of `contrast`, of the embeddings of the examples and their references.
      equalization_db: as in `AnyInstrumentTrainConfig`.
      bfloat16: as in `AutoencoderTrainConfig`.

    Returns:
      The loss as a function of (params, rest, key, batch); params and rest are dicts with those of
      the ``model`` and of the ``rooms``, whose first axis is that of the datasets.
    """

    def loss(
        params: dict[str, Any], rest: dict[str, Any], key: Key, batch: MixedBatch
    ) -> tuple[Float[Array, ""], Any]:
        model = nnx.merge(graphdef, params["model"], rest["model"])
        noise_key, equalizer_key, key = jax.random.split(key, 3)
        batch = equalized(equalizer_key, batch, equalization_db, model.config)
        with network_precision(bfloat16=bfloat16):
            heard = jnp.concatenate([batch.reference, batch.examples.audio])
            z, other = jnp.split(timbre_encoder(model).embed(heard), 2)
            noise = embedding_noise * jax.random.normal(noise_key, z.shape, z.dtype)
            dry = _dry(model, key, batch.examples, z + noise)
        taps = jax.vmap(lambda *states: nnx.merge(room, *states).impulse_response)(
            params["rooms"], rest["rooms"]
        )
        wet = core.convolution_reverb(
            dry, taps[jnp.asarray(batch.source), : dry.shape[-1]], add_dry=True
        )
        distance = spectral_distance(model.config, batch.examples.audio, wet, loudness_weight)
        return distance + contrast_weight * contrast(z, other), rest

    return loss


def contrast(z: Float[Array, "batch z"], other: Float[Array, "batch z"]) -> Float[Array, ""]:
    r"""How badly embeddings tell which two stretches of a batch belong together (InfoNCE).

    .. math:: -\frac1{2B} \sum_i \ln \frac{e^{s_{ii}}}{\sum_j e^{s_{ij}}}
        + \ln \frac{e^{s_{ii}}}{\sum_j e^{s_{ji}}}, \qquad s_{ij} = \frac{z_i \cdot z'_j}{\tau Z}

    Args:
      z: embeddings of mean square 1.
      other: those of other stretches of the same sounds, in the same order.

    References:
      van den Oord et al., `Representation Learning with Contrastive Predictive Coding
      <https://arxiv.org/abs/1807.03748>`_, 2018.
    """
    similarity = z @ other.T / (_TEMPERATURE * z.shape[-1])
    both = jax.nn.log_softmax(similarity, axis=0) + jax.nn.log_softmax(similarity, axis=1)
    return -jnp.mean(jnp.diagonal(both)) / 2


def equalized(
    key: Key, batch: MixedBatch, deviation_db: float, config: AutoencoderConfig
) -> MixedBatch:
    """Changes the timbre of each example and of its reference by one random equalizer.

    The gains of the octaves are drawn independently, and go from one to the next in a straight line
    over the logarithm of the frequency. The power of the example is kept; its loudness is computed
    again.

    Args:
      key: draws the gains.
      batch: the batch.
      deviation_db: largest standard deviation of the gains. That of an example is drawn between 0
        and this, so that some examples keep their timbre. At 0 the batch stays as it is.
      config: of the model whose loudness is meant.
    """
    if not deviation_db:
        return batch
    audio, reference = jnp.asarray(batch.examples.audio), jnp.asarray(batch.reference)
    octaves = 1 + int(np.log2(config.sample_rate / 2 / _LOWEST_OCTAVE_HZ))
    gains_key, deviation_key = jax.random.split(key)
    shape = (audio.shape[0], 1)
    deviations = deviation_db * jax.random.uniform(deviation_key, shape, audio.dtype)
    gains = deviations * jax.random.normal(gains_key, (audio.shape[0], octaves), audio.dtype)

    def filtered(x: Array) -> Array:
        frequencies = np.fft.rfftfreq(x.shape[-1], 1 / config.sample_rate)
        octave = np.log2(np.maximum(frequencies, _LOWEST_OCTAVE_HZ) / _LOWEST_OCTAVE_HZ)
        distance = np.abs(octave - np.arange(octaves)[:, None])
        weights = jnp.asarray(np.maximum(1 - distance, 0), x.dtype)
        response = 10 ** (gains @ weights / 20)
        return jnp.fft.irfft(jnp.fft.rfft(x) * response, x.shape[-1])

    def power(x: Array) -> Array:
        return jnp.mean(jnp.square(x), axis=-1, keepdims=True)

    changed = filtered(audio)
    scale = jnp.sqrt(power(audio) / (power(changed) + 1e-12))
    loudness = core.loudness_db(
        scale * changed,
        sample_rate=config.sample_rate,
        hop_length=config.hop_length,
        n_fft=LOUDNESS_FFT,
    )
    examples = batch.examples._replace(audio=scale * changed, loudness_db=loudness)
    return batch._replace(examples=examples, reference=scale * filtered(reference))


def _dry(model: Autoencoder, key: Key, batch: Batch, z: Array) -> Float[Array, "batch samples"]:
    """The examples as the model plays them, each with its embedding."""
    frames = batch.f0_hz.shape[-1]
    held = jnp.broadcast_to(z[:, None], (z.shape[0], frames, z.shape[-1]))
    n_samples = batch.audio.shape[-1]
    return model(key, batch.f0_hz, batch.loudness_db, z=held, n_samples=n_samples)


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
        if not sounds.has_valid[source]:
            continue
        z = programs.embedding(state.params, state.rest, stretches_to_hear(sounds.folders[source]))
        found = []
        batches = evaluation_batches(sounds.folders[source], split="valid", batch_size=size)
        for index, batch in enumerate(batches):
            key = jax.random.fold_in(jax.random.key(0), index)
            padded = jax.device_put(padded_to(batch, size), each)
            loss = programs.evaluation(state.params, state.rest, key, padded, z, source)
            found.append(np.asarray(loss)[: len(batch.audio)])
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
