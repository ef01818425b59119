"""The numbers of a front-end, from one model to another."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx.nn._frontend import SpectralFrontend


def copy_frontend(source: SpectralFrontend, target: SpectralFrontend) -> SpectralFrontend:
    """A front-end as `target` is, with the numbers of `source`.

    What the two train may differ: filters that one model has learned can stay fixed in another.

    Args:
      source: the front-end that has learned, for example ``spectnet.frontend``.
      target: the front-end of the other model, whose config says what learns from now on.

    Returns:
      A new front-end, to be put in the place of `target`. It shares no array with `source`, and
      both arguments stay as they are.

    Raises:
      ValueError: the configs differ in anything but `trainable`.

    Example:
      >>> from flax import nnx
      >>> from ddspx.nn import FrontendConfig, SpectralFrontend, copy_frontend
      >>> learned = SpectralFrontend(FrontendConfig(), rngs=nnx.Rngs(0))
      >>> fixed = SpectralFrontend(FrontendConfig(trainable=()), rngs=nnx.Rngs(0))
      >>> fixed = copy_frontend(learned, fixed)
    """
    theirs, ours = dataclasses.asdict(source.config), dataclasses.asdict(target.config)
    differing = [name for name in ours if name != "trainable" and theirs[name] != ours[name]]
    if differing:
        name = differing[0]
        raise ValueError(
            "`source` and `target` must have the same config but for `trainable`, got "
            f"`{name}` {theirs[name]!r} and {ours[name]!r}; the numbers mean something else "
            "there, so make the target with the config of the source."
        )
    graph, state = nnx.split(target)
    # Copies, because a training step donates the arrays that it is given.
    numbers = jax.tree.map(jnp.copy, nnx.to_pure_dict(nnx.state(source)))
    nnx.replace_by_pure_dict(state, numbers)
    return nnx.merge(graph, state)
