"""Copying the parameters of a front-end from one model to another."""

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
    """A copy of `target` with the parameters of `source`.

    The two configs may differ in fields on which the meaning of the parameters does not depend:
    which parts are trained, `n_mfcc` and `normalize`. On a `StftPath`, `hop_length` may differ too,
    except with PCEN, whose smoothing is per frame; and `n_fft` and `win_length`, except with
    `FreeFilters`, whose weights belong to the bins of one `n_fft`.

    Args:
      source: the trained front-end, for example ``spectnet.frontend``.
      target: the front-end of the other model; its config says which parts are trained there.

    Returns:
      A new front-end, to replace `target`. It shares no array with `source`, and neither argument
      is changed.

    Raises:
      ValueError: the configs differ in a field on which the parameters depend.

    Example:
      >>> from flax import nnx
      >>> from ddspx.nn import FrontendConfig, SpectralFrontend, copy_frontend
      >>> learned = SpectralFrontend(FrontendConfig(), rngs=nnx.Rngs(0))
      >>> fixed = SpectralFrontend(FrontendConfig().fixed(), rngs=nnx.Rngs(0))
      >>> fixed = copy_frontend(learned, fixed)
    """
    source_config, target_config = map(_normal_form, (source.config, target.config))
    for field in dataclasses.fields(FrontendConfig):
        name = field.name
        left, right = getattr(source_config, name), getattr(target_config, name)
        if left != right and not all(_is_free(c, name) for c in (source_config, target_config)):
            raise ValueError(
                f"`source` and `target` must have the same `{name}`, got {left!r} and {right!r}; "
                f"the parameters depend on it, so make the target with the `{name}` of the source."
            )
    graph, state = nnx.split(target)
    # Copies, because a training step that donates its arrays would delete those of `source`.
    arrays = jax.tree.map(jnp.copy, nnx.to_pure_dict(nnx.state(source)))
    nnx.replace_by_pure_dict(state, arrays)
    return nnx.merge(graph, state)


def _normal_form(config: FrontendConfig) -> FrontendConfig:
    """The config with fixed values in the fields on which parameters never depend."""
    return dataclasses.replace(config.fixed(), fmax=config.highest_hz, n_mfcc=None, normalize=False)


def _is_free(config: FrontendConfig, name: str) -> bool:
    """Whether the parameters of this front-end keep their meaning if the field `name` changes."""
    if not isinstance(config.filters.path, StftPath):
        return False
    if name == "hop_length":
        return not isinstance(config.compression, PcenCompression)
    return name in ("n_fft", "win_length") and not isinstance(config.filters, FreeFilters)
