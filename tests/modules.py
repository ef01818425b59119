"""Flax modules for tests: with weights of NumPy's, and with methods that are compiled whole.

As it stands a module compiles a program for every array that it draws, and one for every operation
of a call.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from helpers import quick_jit

Module = TypeVar("Module", bound=nnx.Module)


def drawn(make: Callable[[], Module], draw: Callable[[str, tuple[int, ...]], Any]) -> Module:
    """The module that `make` makes, its arrays by their name and shape; none of its own is made."""
    graph, state = nnx.split(nnx.eval_shape(make))
    arrays = jax.tree.map_with_path(
        lambda keys, x: jnp.asarray(draw(keys[-1].key, x.shape), x.dtype), nnx.to_pure_dict(state)
    )
    nnx.replace_by_pure_dict(state, arrays)
    return nnx.merge(graph, state)


# Modules in parts: those are what jax.jit takes in every version of flax.
def of_parts(method: Callable, *, static: tuple[str, ...] = ()) -> Callable:
    """A function of modules as one program; keyword arguments that are `static` are no arrays."""

    def call(graph, weights, *args, **options):
        return method(nnx.merge(graph, weights), *args, **options)

    compiled = quick_jit(call, static_argnums=0, static_argnames=static)
    return lambda model, *args, **options: compiled(*nnx.split(model), *args, **options)
