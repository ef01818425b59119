"""The state of a training run: all that the next step needs, as one pytree."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ddspx._typing import Array, Int, Key


class TrainState(NamedTuple):
    """The input and output of a training step; nothing else is kept between steps.

    `rest` holds the variables of a model that have no gradient: statistics of batches, which every
    step updates, and constants. It is empty for a model without such variables. `key` is constant
    over a run: step s draws from ``jax.random.fold_in(key, s)``.
    """

    params: Any
    opt_state: optax.OptState
    step: Int[Array, ""]
    key: Key
    rest: Any


def initial_state(
    params: Any, optimizer: optax.GradientTransformation, *, seed: int, rest: Any = ()
) -> TrainState:
    """Returns the state before the first step, with a key made from `seed`."""
    return TrainState(
        params=params,
        opt_state=optimizer.init(params),
        step=jnp.zeros((), jnp.int32),
        key=jax.random.key(seed),
        rest=rest,
    )


def to_arrays(state: TrainState) -> TrainState:
    """Returns the state with its key as plain integers, which a checkpoint can store."""
    return state._replace(key=jax.random.key_data(state.key))


def from_arrays(arrays: TrainState) -> TrainState:
    """Returns the state of `to_arrays` with its key restored."""
    return arrays._replace(key=jax.random.wrap_key_data(arrays.key))
