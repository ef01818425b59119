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
from ddspx.instruments._room import room_facts
from ddspx.io import (
    Batch,
    EvaluationBatches,
    Manifest,
    evaluation_batches,
    read_manifest,
    training_batches,
)
from ddspx.models._config import HISTORY
from ddspx.models.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    InstrumentStatistics,
    save_autoencoder,
)
from ddspx.models.autoencoder.serialization import check_loads_back
from ddspx.nn import SpectralFrontend
from ddspx.training._config import AutoencoderTrainConfig
from ddspx.training._data import check_dataset, dataset_statistics, same_features
from ddspx.training._devices import gathered, placements, put_batch, this_process
from ddspx.training._frontends import begin_with
from ddspx.training._logging import RunLog
from ddspx.training._loop import TrainResult, run_task
from ddspx.training._state import TrainState, initial_state
from ddspx.training._step import (
    StepReport,
    adam,
    autoencoder_evaluation,
    autoencoder_loss,
    train_step,
)
from ddspx.training._stopping import until_stopped
from ddspx.training._task import Measured, Task

# Examples of the valid split that are logged as sound.
_LOGGED_EXAMPLES = 3


def train_autoencoder(
    dataset: str | Path,
    output: str | Path,
    *,
    model: AutoencoderConfig,
    config: AutoencoderTrainConfig | None = None,
    start: str | Path | Instrument | None = None,
    front_end: SpectralFrontend | None = None,
    console: Console | None = None,
) -> TrainResult:
    """Trains an autoencoder on a prepared dataset and writes it as a model folder.

    Every `config.evaluate_every` steps, and after the last one, the loss on the valid split is
    measured, or on `config.valid_examples` examples of a large one. If it is the lowest so far, the
    weights are written to `output`. That folder therefore holds the best model of the run, and can
    be used while training continues. The test split is never read. If the dataset has no valid
    split, the newest weights are kept.

    The files of the run itself are next to it, in ``<output>.run``::

        run.json              the settings and a hash of the data
        checkpoints/<step>/   the last few states, and those of the weights that are kept, with the
                              settings and the position in the data
        model.json            the digests of `output` as it was written
        logs/metrics.jsonl    a line for each step and each evaluation
        logs/events.*         the same for TensorBoard, with the sound of a few examples

    Called again with the same arguments, an interrupted run is resumed from its newest
    checkpoint. It ends in the same weights, bit for bit, as a run without interruption. Ctrl-C,
    SIGTERM and `config.max_minutes` end a run after the current step, with a checkpoint but
    without an evaluation. If the last step lies between two regular evaluations, its weights stay
    in `output` only until the run is resumed with more steps. Each of several devices takes its
    part of every batch. Nothing is written before the data, the model and the installed packages
    have been checked. A run without a checkpoint can be started again with other settings.

    The run belongs to one process at a time (`io.owned`). A checkpoint is a checkpoint when all of
    it is on the disk; one that was damaged later is put aside, and the one before it is taken. If
    `output` is gone or damaged, it is written again. After a killed process, a full disk or a step
    that is not finite, the same call goes on (`docs/howto/interruptions.md`).

    Args:
      dataset: folder that `prepare` wrote.
      output: the model folder to make.
      model: the sizes of the model. Its rates must be the dataset's.
      config: the settings of the training; by default DDSP's.
      start: the instrument whose weights the training starts from: a model folder, the name of an
        instrument, or the result of `load_instrument`. Starting from a similar instrument needs
        far fewer steps. It must have the sizes of `model`. Its reverb may differ, because the
        reverb is always trained anew: it belongs to the room of the recordings.
      front_end: a trained front-end, such as `load_frontend` gives, which the encoder starts with.
        Give either it or `start`.
      console: where the progress bar and a line per evaluation are printed; by default the
        terminal.

    Returns:
      The step at which the run ended, and the weights that are in `output`.

    Raises:
      FileNotFoundError: there is no model `start`.
      ValueError: the rates differ, the dataset's features are of another version, its contents are
        damaged, `start` has other sizes, `front_end` has another config than the encoder's, both
        are given, the settings are not those of the run that `output` belongs to, or the batch
        cannot be divided among the devices.
      FileExistsError: `output` exists and does not belong to a training run.
      OwnedError: another process is training to `output`.
      OSError: a file cannot be written.
      FloatingPointError: the loss, its gradient or the weights are not finite any more.
      ModuleNotFoundError: a package that training needs is not installed.

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
    if start is not None and front_end is not None:
        raise ValueError(
            "Give `start` or `front_end`: the weights of `start` have a front-end too."
        )
    begin = partial(_task, Path(dataset), model, config, start, front_end)
    return run_task(begin, output, config=config, console=console)


def _task(
    dataset: Path,
    model: AutoencoderConfig,
    config: AutoencoderTrainConfig,
    start: str | Path | Instrument | None,
    front_end: SpectralFrontend | None,
) -> Task:
    """Makes the task of an autoencoder; raises a ValueError if its data does not fit it."""
    manifest = read_manifest(dataset)
    check_dataset(manifest, model)
    statistics = dataset_statistics(dataset, manifest)
    every, each = placements(config.batch_size)
    batches = training_batches(
        dataset, batch_size=config.batch_size, seed=config.seed, **this_process()
    )
    rate = config.learning_rate, config.decay_rate, config.decay_steps, config.clip_norm
    loss = config.loudness_weight, config.gain_db, config.bfloat16
    programs = _programs(model, *rate, *loss, config.microbatches, every, config.shard_optimizer)
    valid = valid_batches(dataset, manifest, config)
    module = Autoencoder(model, rngs=nnx.Rngs(config.seed))
    origin = begin_with(front_end, module.encoder)
    if start is not None:
        module, origin = _started(module, start, manifest)
    # A model that could not be saved is found before it is trained.
    check_loads_back(module)
    params, rest = map(nnx.to_pure_dict, nnx.state(module, nnx.Param, ...))
    return Task(
        model=model.to_json(),
        data=dataset_digest(manifest, origin),
        batches=batches,
        state=initial_state(params, programs.optimizer, seed=config.seed, rest=rest),
        step=programs.step,
        measure=None
        if valid is None
        else partial(valid_loss, valid, manifest, config, programs, each),
        save=partial(
            _save,
            programs.graphdef,
            statistics,
            provenance_of(manifest, statistics, config) | origin,
        ),
    )


def _started(
    fresh: Autoencoder, start: str | Path | Instrument, manifest: Manifest
) -> tuple[Autoencoder, dict[str, Any]]:
    """Copies the weights of `start`, except the reverb's, to a new model.

    Returns:
      The model, and the entry of its provenance that describes `start`.
    """
    module, statistics, provenance = as_instrument(start, parts=fresh.config.part_classes)
    name = "the given model" if isinstance(start, Instrument) else start
    if not same_features(statistics.feature_version, manifest.feature_version):
        raise ValueError(
            f"`start` must use the dataset's version of features, {manifest.feature_version!r}, "
            f"but {name} uses {statistics.feature_version!r}; prepare the recordings with its "
            "pitch tracker, or train without `start`."
        )
    for field in dataclasses.fields(fresh.config):
        value, expected = getattr(module.config, field.name), getattr(fresh.config, field.name)
        if value != expected and field.name not in ("reverb", "loss_n_ffts"):
            raise ValueError(
                f"`start` must have the sizes of the model, whose `{field.name}` is {expected}; "
                f"{name} has {value}."
            )
    # The reverb is that of the room of other recordings, so it is not copied.
    weights = nnx.to_flat_state(nnx.state(module))
    kept = [(path, leaf) for path, leaf in weights if path[0] != "reverb"]
    nnx.update(fresh, nnx.from_flat_state(kept))
    digest = hashlib.sha256(b"".join(np.asarray(leaf[...]).tobytes() for _, leaf in kept))
    history = {name: provenance[name] for name in HISTORY if name in provenance}
    return fresh, {"started_from": {"weights_sha256": digest.hexdigest(), **history}}


def _save(
    graphdef: nnx.GraphDef,
    statistics: InstrumentStatistics,
    provenance: dict[str, Any],
    folder: Path,
    state: TrainState,
    selected: dict[str, Any],
) -> None:
    model = nnx.merge(graphdef, state.params, state.rest)
    save_trained(model, statistics, provenance, folder, selected)


def save_trained(
    model: Autoencoder,
    statistics: InstrumentStatistics,
    provenance: dict[str, Any],
    folder: Path,
    selected: dict[str, Any],
) -> None:
    """Writes a trained model with the facts of its selection and of its room."""
    save_autoencoder(
        folder,
        model,
        statistics=statistics,
        provenance=provenance | {"selected": selected} | room_facts(model),
    )


def valid_batches(
    dataset: Path, manifest: Manifest, config: AutoencoderTrainConfig
) -> EvaluationBatches | None:
    """The examples of the valid split that an evaluation measures; None if it is empty."""
    if not manifest.splits["valid"].n_examples:
        return None
    return evaluation_batches(
        dataset, split="valid", batch_size=config.batch_size, most=config.valid_examples
    )


def valid_loss(
    batches: EvaluationBatches,
    manifest: Manifest,
    config: AutoencoderTrainConfig,
    programs: "Programs",
    each: NamedSharding,
    state: TrainState,
    log: RunLog,
) -> Measured:
    """Computes the mean loss over examples of the valid split, and logs the first few as sound."""
    taken, size, losses = int(state.step), config.batch_size, []
    for index, batch in enumerate(until_stopped(batches)):
        n_examples = len(batch.audio)
        # The noise is always the same, so that two evaluations differ by the weights alone.
        key = jax.random.fold_in(jax.random.key(0), index)
        padded = put_batch(padded_to(batch, size), each)
        loss, audio = programs.evaluation(state.params, state.rest, key, padded)
        losses.append(gathered(loss)[:n_examples])
        if index > 0:
            continue
        renderings = gathered(audio)
        for example in range(min(_LOGGED_EXAMPLES, n_examples)):
            name, rate = f"valid/{example}", {"sample_rate": manifest.sample_rate}
            log.audio(taken, f"{name}/target", batch.audio[example], **rate)
            log.audio(taken, f"{name}/model", renderings[example], **rate)
    return Measured(float(np.mean(np.concatenate(losses))))


class Programs(NamedTuple):
    """The compiled functions of a run."""

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
    loudness_weight: float,
    gain_db: float,
    bfloat16: bool,
    microbatches: int,
    placement: NamedSharding,
    shard_optimizer: bool,
) -> Programs:
    """Makes the compiled functions; cached, so that a resumed run does not compile them again."""
    shape = nnx.eval_shape(lambda: Autoencoder(model, rngs=nnx.Rngs(0)))
    graphdef, *_ = nnx.split(shape, nnx.Param, ...)
    optimizer = adam(
        learning_rate=learning_rate,
        decay_rate=decay_rate,
        decay_steps=decay_steps,
        clip_norm=clip_norm,
    )
    return Programs(
        graphdef,
        optimizer,
        train_step(
            autoencoder_loss(
                graphdef, loudness_weight=loudness_weight, gain_db=gain_db, bfloat16=bfloat16
            ),
            optimizer,
            microbatches=microbatches,
            placement=placement,
            shard_optimizer=shard_optimizer,
        ),
        autoencoder_evaluation(graphdef, loudness_weight=loudness_weight),
    )


def padded_to(batch: Batch, size: int) -> Batch:
    """Fills a batch up to `size` with copies of its first example, so that one program fits all."""
    missing = size - len(batch.audio)
    return Batch(*(np.concatenate([a, np.repeat(a[:1], missing, axis=0)]) for a in batch))


def dataset_digest(manifest: Manifest, origin: dict[str, Any]) -> str:
    """Hashes the data and the start, which decide the weights together with the settings."""
    fields = json.dumps(dataclasses.asdict(manifest) | origin, sort_keys=True)
    return hashlib.sha256(fields.encode()).hexdigest()


def provenance_of(
    data: Manifest, statistics: InstrumentStatistics, config: AutoencoderTrainConfig
) -> dict[str, Any]:
    """Describes where a model comes from, as far as it is known before training."""
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
