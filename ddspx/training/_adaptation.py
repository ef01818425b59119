"""Adaptation of a model of any instrument to recordings: embedding, room, low-rank weights."""

import math
import shutil
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding
from rich.console import Console

from ddspx._text import printable
from ddspx._typing import Array, Float, Key
from ddspx.instruments._hearing import check_heard, hear, heard_together
from ddspx.instruments._timbres import TimbreListener
from ddspx.io import (
    AudioError,
    Batch,
    DatasetError,
    Manifest,
    is_dataset,
    read_manifest,
    stream_audio,
    training_batches,
    verify_dataset,
)
from ddspx.models._weights import weights_sha256
from ddspx.models.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    InstrumentStatistics,
    with_timbre,
)
from ddspx.models.autoencoder.timbres import timbre_encoder
from ddspx.nn import DecayingReverbConfig, TapReverbConfig
from ddspx.training._autoencoder import (
    Programs,
    dataset_digest,
    provenance_of,
    save_trained,
    valid_batches,
    valid_loss,
)
from ddspx.training._config import AdaptationConfig
from ddspx.training._data import check_dataset, dataset_statistics
from ddspx.training._devices import placements, this_process
from ddspx.training._loop import TrainResult, run_task
from ddspx.training._prepare import prepare
from ddspx.training._recordings import (
    Usable,
    check_found,
    decoded_length,
    listed_recordings,
    usable_recordings,
)
from ddspx.training._state import TrainState, initial_state
from ddspx.training._step import autoencoder_evaluation, autoencoder_loss, train_step
from ddspx.training._task import Task

_EXAMPLE_S = 2.0
# There is no test split: nothing would read it. Of 20 s, the valid split has two examples.
_VALID_SHARE = 0.2


def adapt(
    recordings: Sequence[str | Path],
    output: str | Path,
    *,
    model: Autoencoder,
    room: DecayingReverbConfig | TapReverbConfig | None = None,
    config: AdaptationConfig | None = None,
    licence: str = "not stated",
    attribution: str = "not stated",
    origin: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> TrainResult:
    r"""Adapts a model of any instrument to recordings of one, and writes it as a model folder.

    The embedding that the encoder hears in the recordings, as `instruments.recorded_timbre` does,
    and a new room are trained on them first. Then so is a change of low rank of each matrix of the
    decoder,

    .. math:: W' = W + D\,U, \qquad D \in R^{m \times r},\; U \in R^{r \times n}

    with U zero at first. Seconds of sound are too few for the million weights of a decoder, but
    enough for the few that tell one instrument from others like it. The result is a model as of
    `train_autoencoder`, with the embedding stored in place of the encoder; it is resumed, stopped
    and evaluated likewise. The features of the recordings are in ``<output>.run/dataset``;
    a fifth of it is the valid split, and there is no test split.

    Args:
      recordings: audio files and folders of one instrument, as in `prepare`; 10 s are enough.
      output: the model folder to make.
      model: the model of any instrument.
      room: the config of the reverb; None for none.
      config: the settings.
      licence: the licence of the recordings; it is stored with the model.
      attribution: the authors to credit; it is stored likewise.
      origin: what the provenance says about `model`, such as the `origin` of an
        `instruments.AnyInstrument`: its name, and whose recordings it was trained on.
      console: as in `train_autoencoder`.

    Returns:
      The step at which the run ended, and the weights that are in `output`.

    Raises:
      AudioError: the recordings cannot be used, or less than 3 s of them have a pitch.
      ValueError: the model has no `nn.TimbreEncoder`, or as `train_autoencoder`.
      FileExistsError: `output` exists and does not belong to a training run.
      OwnedError: another process is training to `output`.
      OSError: a file cannot be written.
      FloatingPointError: the loss, its gradient or the weights are not finite any more.
      ModuleNotFoundError: a package that training needs is not installed.

    Warns:
      UserWarning: most of the recordings have no pitch, or they have more than one voice.
    """
    config = config or AdaptationConfig()
    console = console or Console()
    timbre_encoder(model)
    dataset = Path(output).with_name(f"{Path(output).name}.run") / "dataset"
    origin = {"weights_sha256": weights_sha256(model), **(origin or {})}
    begin = partial(
        _task, recordings, dataset, model, room, config, (licence, attribution), origin, console
    )
    return run_task(begin, output, config=config, console=console)


def _task(
    recordings: Sequence[str | Path],
    dataset: Path,
    model: Autoencoder,
    room: DecayingReverbConfig | TapReverbConfig | None,
    config: AdaptationConfig,
    credit: tuple[str, str],
    origin: dict[str, Any],
    console: Console,
) -> Task:
    """Makes the task; the recordings are prepared if they have not been."""
    c = model.config
    usable = _usable(recordings, c)
    say = partial(console.print, markup=False, soft_wrap=True)
    is_whole = dataset.exists() and _is_whole(dataset, usable, say)
    embedding = _heard(recordings, usable, model)
    if not is_whole:
        _prepare(recordings, dataset, c, credit, say)
    manifest = read_manifest(dataset)
    check_dataset(manifest, c)
    statistics = dataset_statistics(dataset, manifest)
    every, each = placements(config.batch_size)
    reverb = room and room.build(sample_rate=c.sample_rate, rngs=nnx.Rngs(config.seed))
    single = with_timbre(model, embedding, reverb=reverb)
    programs = _programs(single.config, config, every)
    weights, fixed = map(nnx.to_pure_dict, nnx.state(single, nnx.Param, ...))
    params = {
        "changes": _no_changes(weights["decoder"], config),
        **{name: weights.pop(name) for name in ("encoder", "reverb") if name in weights},
    }
    facts = provenance_of(manifest, statistics, config) | {"started_from": origin}
    valid = valid_batches(dataset, manifest, config)
    return Task(
        model=single.config.to_json(),
        data=dataset_digest(manifest, {"model": weights_sha256(model)}),
        batches=training_batches(
            dataset, batch_size=config.batch_size, seed=config.seed, **this_process()
        ),
        state=initial_state(
            params, programs.optimizer, seed=config.seed, rest={"frozen": weights, "fixed": fixed}
        ),
        step=programs.step,
        measure=None
        if valid is None
        else partial(valid_loss, valid, manifest, config, programs, each),
        save=partial(_save, programs, statistics, facts),
    )


def _prepare(
    recordings: Sequence[str | Path],
    dataset: Path,
    model: AutoencoderConfig,
    credit: tuple[str, str],
    say: Callable[[str], object],
) -> None:
    """Makes the dataset that the recordings are adapted by."""
    licence, attribution = credit
    prepare(
        recordings,
        dataset,
        sample_rate=model.sample_rate,
        hop_length=model.hop_length,
        example_s=_EXAMPLE_S,
        valid_share=_VALID_SHARE,
        test_share=0.0,
        licence=licence,
        attribution=attribution,
        overwrite=True,
        report=say,
    )


def _programs(
    model: AutoencoderConfig, config: AdaptationConfig, placement: NamedSharding
) -> Programs:
    """Compiled functions of the few numbers that are trained, and of the frozen weights."""
    shape = nnx.eval_shape(lambda: Autoencoder(model, rngs=nnx.Rngs(0)))
    graphdef, *_ = nnx.split(shape, nnx.Param, ...)
    weight = config.loudness_weight
    whole_loss = autoencoder_loss(
        graphdef, loudness_weight=weight, gain_db=config.gain_db, bfloat16=config.bfloat16
    )
    whole_evaluation = autoencoder_evaluation(graphdef, loudness_weight=weight)

    def loss(params: Any, rest: Any, key: Key, batch: Batch) -> tuple[Float[Array, ""], Any]:
        value, _ = whole_loss(_changed(params, rest), rest["fixed"], key, batch)
        return value, rest

    @jax.jit
    def evaluation(
        params: Any, rest: Any, key: Key, batch: Batch
    ) -> tuple[Float[Array, " batch"], Float[Array, "batch samples"]]:
        return whole_evaluation(_changed(params, rest), rest["fixed"], key, batch)

    optimizer = _optimizer(config)
    step = train_step(
        loss,
        optimizer,
        microbatches=config.microbatches,
        placement=placement,
        shard_optimizer=config.shard_optimizer,
    )
    return Programs(graphdef, optimizer, step, evaluation)


def _optimizer(config: AdaptationConfig) -> optax.GradientTransformation:
    """Adam; the changes of the decoder begin later than the rest."""
    rate = optax.exponential_decay(config.learning_rate, config.decay_steps, config.decay_rate)
    late = optax.join_schedules([optax.constant_schedule(0.0), rate], [config.decoder_after])
    adam = partial(optax.adam, b1=0.9, b2=0.999, eps=1e-7)
    parts: dict[Hashable, optax.GradientTransformation]
    parts = {"first": adam(rate), "later": adam(late)}

    def owners(params: dict[str, Any]) -> dict[str, Any]:
        return {
            name: jax.tree.map(lambda _, n=name: "later" if n == "changes" else "first", part)
            for name, part in params.items()
        }

    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm), optax.multi_transform(parts, owners)
    )


def _no_changes(decoder: Any, config: AdaptationConfig) -> dict[str, dict[str, Array]]:
    """For each matrix of the decoder, by its path: D, drawn small, and U, zero."""
    key, changes = jax.random.key(config.seed), {}
    for index, (path, kernel) in enumerate(jax.tree.leaves_with_path(decoder)):
        if kernel.ndim != 2 or min(kernel.shape) <= config.rank:
            continue
        rows, columns = kernel.shape
        drawn = jax.random.normal(jax.random.fold_in(key, index), (rows, config.rank), jnp.float32)
        changes[jax.tree_util.keystr(path)] = {
            "down": drawn / math.sqrt(rows),
            "up": jnp.zeros((config.rank, columns), jnp.float32),
        }
    return changes


def _changed(params: Any, rest: Any) -> Any:
    """The weights of the whole model: what is trained, and the frozen ones with their changes."""
    changes = params["changes"]

    def weight(path: Any, kernel: Array) -> Array:
        change = changes.get(jax.tree_util.keystr(path))
        return kernel if change is None else kernel + change["down"] @ change["up"]

    decoder = jax.tree.map_with_path(weight, rest["frozen"]["decoder"])
    trained = {name: part for name, part in params.items() if name != "changes"}
    return {**rest["frozen"], **trained, "decoder": decoder}


def _save(
    programs: Programs,
    statistics: InstrumentStatistics,
    facts: dict[str, Any],
    folder: Path,
    state: TrainState,
    selected: dict[str, Any],
) -> None:
    model = nnx.merge(programs.graphdef, _changed(state.params, state.rest), state.rest["fixed"])
    save_trained(model, statistics, facts, folder, selected)


def _usable(recordings: Sequence[str | Path], model: AutoencoderConfig) -> list[Usable]:
    """The recordings that `prepare` uses; it reports the others."""
    if not recordings:
        raise AudioError(
            "no recording is given; name audio files of one instrument, or folders with some in "
            "them."
        )
    length = round(_EXAMPLE_S * model.sample_rate / model.hop_length) * model.hop_length
    rate = model.sample_rate
    by_split: dict[str | None, Sequence[str | Path]] = {None: recordings}
    listed = listed_recordings(by_split)
    outcomes = (decoded_length(Path(f.path), sample_rate=rate, min_samples=length) for f in listed)
    usable = usable_recordings(listed, outcomes, leave_out=lambda sentence: None)
    check_found(by_split, usable, length / rate)
    return usable


def _heard(
    recordings: Sequence[str | Path], usable: Sequence[Usable], model: Autoencoder
) -> Float[np.ndarray, " z"]:
    """Listens before anything is written; silent files of a folder do not count.

    Returns:
      The embedding of all recordings together.
    """
    listener, c, each = TimbreListener(model), model.config, []
    named, all_named = set(map(Path, recordings)), ", ".join(map(str, recordings))
    for file in (recording.file.path for recording in usable):
        read = partial(stream_audio, file, sample_rate=c.sample_rate, block_length=1 << 16)
        try:
            heard, *_ = hear(
                read, sample_rate=c.sample_rate, hop_length=c.hop_length, each=listener.add
            )
            each.append(heard)
        except AudioError:
            if file in named:
                raise
    if not each:
        raise AudioError(f"{all_named}: all recordings are silent; name some that sound.")
    check_heard(heard_together(each), all_named)
    return listener.embedding


def _is_whole(dataset: Path, usable: Sequence[Usable], say: Callable[[str], object]) -> bool:
    """Whether a dataset of these recordings can be used; says why, if not.

    Raises:
      ValueError: it is one of other recordings.
    """
    try:
        _check_same(read_manifest(dataset), usable, dataset)
        verify_dataset(dataset)
    except DatasetError as error:
        say(f"preparing the recordings again: {printable(str(error))}")
        if not is_dataset(dataset):  # which `prepare` would not replace
            shutil.rmtree(dataset)
        return False
    return True


def _check_same(manifest: Manifest, usable: Sequence[Usable], dataset: Path) -> None:
    """Raises a ValueError if an interrupted run was one of other recordings."""
    before = {source.sha256: source.name for source in manifest.sources}
    now = {outcome.sha256: file.name for file, outcome in usable}
    if differing := sorted((before | now)[digest] for digest in before.keys() ^ now.keys()):
        raise ValueError(
            f"{dataset} was made from other recordings ({', '.join(map(printable, differing))}); "
            "give those of the first run to resume it, or choose another output."
        )
