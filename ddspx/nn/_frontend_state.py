"""The numbers of a front-end, from one model to another."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx.nn._frontend import SpectralFrontend
from ddspx.nn._frontend_config import FrontendConfig


def copy_frontend(source: SpectralFrontend, target: SpectralFrontend) -> SpectralFrontend:
    """A front-end as `target` is, with the numbers of `source`.

    What the numbers do not depend on may differ: what trains, cepstra and normalization; on the
    path ``stft`` also the hop, but for PCEN, which counts frames, and the sizes of a frame, but for
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
      >>> fixed = SpectralFrontend(FrontendConfig(trainable=()), rngs=nnx.Rngs(0))
      >>> fixed = copy_frontend(learned, fixed)
    """
    theirs, ours = (
        dataclasses.asdict(c) | {"fmax": c.highest_hz} for c in (source.config, target.config)
    )
    for name in theirs:
        if theirs[name] != ours[name] and not (
            _is_free(source.config, name) and _is_free(target.config, name)
        ):
            raise ValueError(
                f"`source` and `target` must have the same `{name}`, got {theirs[name]!r} and "
                f"{ours[name]!r}; the numbers mean something else there, so make the target with "
                "that of the source."
            )
    graph, state = nnx.split(target)
    # Copies, because a training step donates the arrays that it is given.
    numbers = jax.tree.map(jnp.copy, nnx.to_pure_dict(nnx.state(source)))
    nnx.replace_by_pure_dict(state, numbers)
    return nnx.merge(graph, state)


def _is_free(config: FrontendConfig, name: str) -> bool:
    """Whether the numbers of a front-end mean the same whatever a field is."""
    if name == "hop_length":
        return config.path == "stft" and config.compression != "pcen"
    if name in ("n_fft", "win_length"):
        return config.path == "stft" and config.family != "free"
    return name in ("trainable", "n_mfcc", "normalize")
