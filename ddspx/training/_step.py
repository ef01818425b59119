"""Makes one compiled training step from a loss and an optimizer; the autoencoder's losses."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from ddspx import core
from ddspx._typing import Array, Float, Key
from ddspx.io import Batch
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


def train_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    placement: jax.sharding.Sharding | None = None,
) -> Callable[[TrainState, Any], tuple[TrainState, StepReport]]:
    """Makes a compiled function of (state, batch) that takes one optimizer step.

    The state is donated: the new state reuses its buffers, and the old state cannot be used any
    more. If the batch is sharded over devices and the state is replicated, the gradient is the
    mean over all devices.

    Args:
      loss: pure function of (params, rest, key, batch) that returns a mean over the batch, and the
        `rest` for the next step.
      optimizer: turns gradients into updates.
      placement: the sharding of the new state; by default XLA chooses it.

    Returns:
      ``step(state, batch) -> (state, report)``, compiled once per shape of the batch.

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

    def step(state: TrainState, batch: Any) -> tuple[TrainState, StepReport]:
        key = jax.random.fold_in(state.key, state.step)
        slope = jax.value_and_grad(loss, has_aux=True)
        (value, rest), gradient = slope(state.params, state.rest, key, batch)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        report = StepReport(value, optax.tree.norm(gradient))
        return TrainState(params, opt_state, state.step + 1, state.key, rest), report

    return jax.jit(step, donate_argnums=0, out_shardings=placement)


def autoencoder_loss(graphdef: nnx.GraphDef, *, loudness_weight: float = 0.0) -> Loss:
    """Makes the loss: the mean multi-scale spectral distance of a batch and its rendering.

    Args:
      graphdef: of an `Autoencoder`, from ``nnx.split(model, nnx.Param, ...)``.
      loudness_weight: as in `core.multi_scale_spectral_loss`.

    Returns:
      The loss as a function of (params, rest, key, batch), which returns `rest` unchanged.
    """

    def loss(params: Any, rest: Any, key: Key, batch: Batch) -> tuple[Float[Array, ""], Any]:
        model = nnx.merge(graphdef, params, rest)
        predicted = _render(model, key, batch)
        return _distance(model.config, batch.audio, predicted, loudness_weight), rest

    return loss


def autoencoder_evaluation(
    graphdef: nnx.GraphDef, *, loudness_weight: float = 0.0
) -> Callable[[Any, Any, Key, Batch], tuple[Float[Array, " batch"], Float[Array, "batch samples"]]]:
    """Like `autoencoder_loss`, but compiled; returns one loss per example and the rendering."""

    def evaluation(params: Any, rest: Any, key: Key, batch: Batch):
        model = nnx.merge(graphdef, params, rest)
        predicted = _render(model, key, batch)

        def loss(target: jax.Array, rendering: jax.Array) -> jax.Array:
            return _distance(model.config, target, rendering, loudness_weight)

        return jax.vmap(loss)(jnp.asarray(batch.audio), predicted), predicted

    return jax.jit(evaluation)


def _distance(config: Any, target: Any, predicted: Any, loudness_weight: float) -> Array:
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
