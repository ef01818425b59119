"""The state of a training run: everything the next step needs, as one pytree."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ddspx._typing import Array, Int, Key


class TrainState(NamedTuple):
    """What a step takes and gives back; nothing else is remembered between steps.

    `rest` is what of a model no gradient reaches: statistics of batches, which every step brings
    up to date, and numbers that stay; empty where there is none. `key` is constant over a run:
    step s draws from ``jax.random.fold_in(key, s)``.
    """

    params: Any
    opt_state: optax.OptState
    step: Int[Array, ""]
    key: Key
    rest: Any


def initial_state(
    params: Any, optimizer: optax.GradientTransformation, *, seed: int, rest: Any = ()
) -> TrainState:
    """The state before the first step, its key made of `seed`."""
    return TrainState(
        params=params,
        opt_state=optimizer.init(params),
        step=jnp.zeros((), jnp.int32),
        key=jax.random.key(seed),
        rest=rest,
    )


def to_arrays(state: TrainState) -> TrainState:
    """The state with its key as plain integers: what a checkpoint can hold."""
    return state._replace(key=jax.random.key_data(state.key))


def from_arrays(arrays: TrainState) -> TrainState:
    """The inverse of `to_arrays`."""
    return arrays._replace(key=jax.random.wrap_key_data(arrays.key))
