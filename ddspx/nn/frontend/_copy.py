"""The numbers of a front-end, from one model to another."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx.nn.frontend._compressions import PcenCompression
from ddspx.nn.frontend._config import FrontendConfig
from ddspx.nn.frontend._filters import FreeFilters
from ddspx.nn.frontend._frontend import SpectralFrontend
from ddspx.nn.frontend._paths import StftPath


def copy_frontend(source: SpectralFrontend, target: SpectralFrontend) -> SpectralFrontend:
    """A front-end as `target` is, with the numbers of `source`.

    What the numbers do not depend on may differ: what trains, cepstra and normalization; on a
    `StftPath` also the hop, but for PCEN, which counts frames, and the sizes of a frame, but for
    free weights, which are on its bins.

    Args:
      source: the front-end that has learned, for example ``spectnet.frontend``.
      target: the front-end of the other model, whose config says what learns from now on.

    Returns:
      A new front-end, to be put in the place of `target`. It shares no array with `source`, and
      both arguments stay as they are.

    Raises:
      ValueError: the configs differ in what the numbers depend on.

    Example:
      >>> from flax import nnx
      >>> from ddspx.nn import FrontendConfig, SpectralFrontend, copy_frontend
      >>> learned = SpectralFrontend(FrontendConfig(), rngs=nnx.Rngs(0))
      >>> fixed = SpectralFrontend(FrontendConfig().fixed(), rngs=nnx.Rngs(0))
      >>> fixed = copy_frontend(learned, fixed)
    """
    theirs, ours = map(_meaning, (source.config, target.config))
    for field in dataclasses.fields(FrontendConfig):
        name = field.name
        left, right = getattr(theirs, name), getattr(ours, name)
        if left != right and not all(_is_free(c, name) for c in (theirs, ours)):
            raise ValueError(
                f"`source` and `target` must have the same `{name}`, got {left!r} and {right!r}; "
                "the numbers mean something else there, so make the target with that of the source."
            )
    graph, state = nnx.split(target)
    # Copies, because a training step donates the arrays that it is given.
    numbers = jax.tree.map(jnp.copy, nnx.to_pure_dict(nnx.state(source)))
    nnx.replace_by_pure_dict(state, numbers)
    return nnx.merge(graph, state)


def _meaning(config: FrontendConfig) -> FrontendConfig:
    """The config without what the numbers of a front-end do not depend on in any of them."""
    return dataclasses.replace(config.fixed(), fmax=config.highest_hz, n_mfcc=None, normalize=False)


def _is_free(config: FrontendConfig, name: str) -> bool:
    """Whether the numbers of such a front-end mean the same whatever a field is."""
    if not isinstance(config.filters.path, StftPath):
        return False
    if name == "hop_length":
        return not isinstance(config.compression, PcenCompression)
    return name in ("n_fft", "win_length") and not isinstance(config.filters, FreeFilters)
