"""Makes one compiled training step from a loss and an optimizer; the autoencoder's losses."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import NamedSharding

from ddspx import core
from ddspx._checks import positive_int
from ddspx._typing import Array, Float, Key
from ddspx.io import Batch
from ddspx.training._augmentation import amplified
from ddspx.training._config import RunConfig
from ddspx.training._devices import part_of_each
from ddspx.training._state import TrainState

Loss = Callable[[Any, Any, Key, Any], tuple[Float[Array, ""], Any]]
"""`loss(params, rest, key, batch) -> (loss, rest)`: pure, and a mean over the batch."""


class StepReport(NamedTuple):
    """The loss of a step, and the norm of its gradient before clipping."""

    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]


def adam(
    *,
    learning_rate: float = 3e-4,
    decay_rate: float = 0.98,
    decay_steps: int = 10_000,
    clip_norm: float = 3.0,
) -> optax.GradientTransformation:
    """Returns Adam with a clipped gradient and a continuously, exponentially decaying rate.

    The defaults are DDSP's, and so are the betas 0.9 and 0.999 and the epsilon 1e-7. DDSP clips
    the gradient of each replica and sums the gradients over the replicas, so that its effective
    rate grows with their number. Here the gradient is the mean over the whole batch, clipped once.

    Args:
      learning_rate: at step 0; at step s it is
        ``learning_rate * decay_rate ** (s / decay_steps)``.
      decay_rate: factor of the learning rate over `decay_steps` steps.
      decay_steps: steps over which the learning rate falls by `decay_rate`.
      clip_norm: a gradient with a larger norm (over all parameters) is scaled to this norm.

    Returns:
      The optimizer.
    """
    schedule = optax.exponential_decay(learning_rate, decay_steps, decay_rate)
    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.adam(schedule, b1=0.9, b2=0.999, eps=1e-7),
    )


def adam_with_frontend(config: RunConfig, *, frontend_rate: float) -> optax.GradientTransformation:
    """Returns `adam` for a model with a front-end, whose learning rate is its own.

    The gradient of the front-end and that of all other parameters are clipped separately.

    Args:
      config: the settings of the run.
      frontend_rate: learning rate of the parameters below a ``frontend``, as a factor of that of
        all others; at 0 they stay as they are.
    """

    def rate(factor: float) -> optax.GradientTransformation:
        if not factor:
            return optax.set_to_zero()
        return adam(
            learning_rate=factor * config.learning_rate,
            decay_rate=config.decay_rate,
            decay_steps=config.decay_steps,
            clip_norm=config.clip_norm,
        )

    def owner(path: Any, _: Any) -> str:
        is_frontend = any(getattr(key, "key", None) == "frontend" for key in path)
        return "frontend" if is_frontend else "all"

    return optax.multi_transform(
        {"frontend": rate(frontend_rate), "all": rate(1.0)}, partial(jax.tree.map_with_path, owner)
    )


def train_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    microbatches: int = 1,
    placement: NamedSharding | None = None,
    shard_optimizer: bool = False,
) -> Callable[[TrainState, Any], tuple[TrainState, StepReport]]:
    """Makes a compiled function of (state, batch) that takes one optimizer step.

    If the loss or its gradient is not finite, nothing but the number of steps changes. The state is
    donated: the new state reuses its buffers, and the old state cannot be used any more. If the
    batch is sharded over devices and the state is replicated, the gradient is the mean over all
    devices. With `shard_optimizer` a device gets only its part of that mean and of the optimizer's
    state, computes its part of the updates, and then all devices give each other their parts.

    Args:
      loss: pure function of (params, rest, key, batch) that returns a mean over the batch, and the
        `rest` for the next step.
      optimizer: turns gradients into updates.
      microbatches: equal parts of a batch whose gradients are computed one after the other, and
        averaged; so only one of them needs memory for its intermediate results. Each part has a
        key of its own, and `rest` goes from one to the next. Static.
      placement: the sharding of the new state; by default XLA chooses it.
      shard_optimizer: whether the optimizer's state is split over the devices of `placement`, each
        leaf along its largest axis that their number divides. Static.

    Returns:
      ``step(state, batch) -> (state, report)``, compiled once per shape of the batch. It raises a
      ValueError if `microbatches` does not divide the batch.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from ddspx.training import initial_state, train_step
      >>> descent = optax.sgd(0.25)
      >>> step = train_step(lambda w, rest, key, x: (jnp.mean((w - x) ** 2), rest), descent)
      >>> state = initial_state(jnp.float32(0.0), descent, seed=0)
      >>> state, report = step(state, jnp.full(2, 4.0, jnp.float32))
      >>> float(state.params), float(report.loss), int(state.step)
      (2.0, 16.0, 1)
    """
    slope = jax.value_and_grad(loss, has_aux=True)
    if positive_int("microbatches", microbatches) > 1:
        slope = _accumulated(slope, microbatches)

    def step(state: TrainState, batch: Any) -> tuple[TrainState, StepReport]:
        key = jax.random.fold_in(state.key, state.step)
        (value, rest), gradient = slope(state.params, state.rest, key, batch)
        gradient = shared(gradient)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        report = StepReport(value, optax.tree.norm(gradient))
        # Always, and not by option, so that the option of the loop to go on cannot change a bit.
        is_finite = jnp.isfinite(report.loss) & jnp.isfinite(report.gradient_norm)
        params, opt_state, rest = jax.tree.map(
            partial(jnp.where, is_finite),
            (params, opt_state, rest),
            (state.params, state.opt_state, state.rest),
        )
        return TrainState(params, shared(opt_state), state.step + 1, state.key, rest), report

    def shared(tree: Any) -> Any:
        if placement is None or not shard_optimizer:
            return tree
        return jax.lax.with_sharding_constraint(tree, part_of_each(tree, placement.mesh))

    places = _places(placement, shard_optimizer=shard_optimizer)
    return jax.jit(step, donate_argnums=0, out_shardings=places)


def _places(placement: NamedSharding | None, *, shard_optimizer: bool) -> Any:
    """The shardings of a step's results; those of a sharded optimizer the step itself gives."""
    if placement is None or not shard_optimizer:
        return placement
    fields: dict[str, Any] = {**dict.fromkeys(TrainState._fields, placement), "opt_state": None}
    return TrainState(**fields), placement


def _accumulated(slope: Callable, n_parts: int) -> Callable:
    """The mean of the values and gradients of a batch's parts, computed one after the other."""

    def split(x: Any) -> Array:
        if x.shape[0] % n_parts:
            raise ValueError(
                f"`microbatches` must divide the batch of {x.shape[0]} examples, got {n_parts}."
            )
        # Every n-th example, so that each of several devices has its share of every part.
        return jnp.moveaxis(x.reshape(x.shape[0] // n_parts, n_parts, *x.shape[1:]), 1, 0)

    def accumulated(params: Any, rest: Any, key: Key, batch: Any) -> tuple[tuple[Array, Any], Any]:
        def add(carry: Any, part: Any) -> tuple[Any, None]:
            total, rest = carry
            index, examples = part
            (value, rest), gradient = slope(params, rest, jax.random.fold_in(key, index), examples)
            return (jax.tree.map(jnp.add, total, (value, gradient)), rest), None

        parts = jnp.arange(n_parts), jax.tree.map(split, batch)
        first = jax.tree.map(lambda x: x[0], parts)
        (value, _), gradient = jax.eval_shape(slope, params, rest, key, first[1])
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (value, gradient))
        (total, rest), _ = jax.lax.scan(add, (nothing, rest), parts)
        value, gradient = jax.tree.map(lambda x: x / n_parts, total)
        return (value, rest), gradient

    return accumulated


@lru_cache(maxsize=2)
def several_steps(
    step: Callable[[TrainState, Any], tuple[TrainState, StepReport]],
    placement: NamedSharding | None,
    *,
    shard_optimizer: bool = False,
) -> Callable[[TrainState, Any], tuple[TrainState, StepReport]]:
    """Makes a compiled function that takes a step for each of several batches, without the host.

    Args:
      step: from `train_step`.
      placement: as in `train_step`.
      shard_optimizer: as in `train_step`.

    Returns:
      ``steps(state, batches) -> (state, reports)``: batches and reports have a first axis of steps.
    """

    def steps(state: TrainState, batches: Any) -> tuple[TrainState, StepReport]:
        return jax.lax.scan(step, state, batches)

    places = _places(placement, shard_optimizer=shard_optimizer)
    return jax.jit(steps, donate_argnums=0, out_shardings=places)


def autoencoder_loss(
    graphdef: nnx.GraphDef,
    *,
    loudness_weight: float = 0.0,
    gain_db: float = 0.0,
    bfloat16: bool = False,
) -> Loss:
    """Makes the loss: the mean multi-scale spectral distance of a batch and its rendering.

    Args:
      graphdef: of an `Autoencoder`, from ``nnx.split(model, nnx.Param, ...)``.
      loudness_weight: as in `core.multi_scale_spectral_loss`.
      gain_db: as in `AutoencoderTrainConfig`.
      bfloat16: as in `AutoencoderTrainConfig`.

    Returns:
      The loss as a function of (params, rest, key, batch), which returns `rest` unchanged.
    """

    def loss(params: Any, rest: Any, key: Key, batch: Batch) -> tuple[Float[Array, ""], Any]:
        model = nnx.merge(graphdef, params, rest)
        if gain_db:
            gain_key, key = jax.random.split(key)
            batch = amplified(gain_key, batch, gain_db)
        with network_precision(bfloat16=bfloat16):
            predicted = _render(model, key, batch)
        return spectral_distance(model.config, batch.audio, predicted, loudness_weight), rest

    return loss


def autoencoder_evaluation(
    graphdef: nnx.GraphDef, *, loudness_weight: float = 0.0
) -> Callable[[Any, Any, Key, Batch], tuple[Float[Array, " batch"], Float[Array, "batch samples"]]]:
    """Like `autoencoder_loss`, but compiled; returns one loss per example and the rendering."""

    def evaluation(params: Any, rest: Any, key: Key, batch: Batch):
        model = nnx.merge(graphdef, params, rest)
        predicted = _render(model, key, batch)

        def loss(target: jax.Array, rendering: jax.Array) -> jax.Array:
            return spectral_distance(model.config, target, rendering, loudness_weight)

        return jax.vmap(loss)(jnp.asarray(batch.audio), predicted), predicted

    return jax.jit(evaluation)


def network_precision(*, bfloat16: bool) -> AbstractContextManager[Any]:
    """The precision of the networks' products; those in `core` ask for the highest themselves."""
    return jax.default_matmul_precision("BF16_BF16_F32") if bfloat16 else nullcontext()


def spectral_distance(config: Any, target: Any, predicted: Any, loudness_weight: float) -> Array:
    return core.multi_scale_spectral_loss(
        jnp.asarray(target),
        predicted,
        n_ffts=config.loss_n_ffts,
        loudness_weight=loudness_weight,
        sample_rate=config.sample_rate,
    )


def _render(model: Any, key: Key, batch: Batch) -> Float[Array, "batch samples"]:
    audio = jnp.asarray(batch.audio)
    z, n_samples = model.encode(audio), audio.shape[-1]
    return model(key, batch.f0_hz, batch.loudness_db, z=z, n_samples=n_samples)
