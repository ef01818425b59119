"""Fully connected blocks applied to every frame alike."""

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx._checks import at_least_ndim, positive_int, same_size
from ddspx._typing import Array, Float

_EPSILON = 1e-3
_SLOPE = 0.2

_glorot = nnx.initializers.glorot_uniform()


class Fc(nnx.Module):
    r"""One fully connected block: dense, layer norm, leaky ReLU.

    .. math:: y = \mathrm{lrelu}_{0.2}\Bigl(\gamma\,
        \frac{u - \bar u}{\sqrt{\mathrm{var}(u) + 10^{-3}}} + \beta\Bigr),
        \qquad u = W x + b

    Args:
      in_features: size of a frame's input. Static.
      features: size of a frame's output. Static.
      rngs: draws the initial weights: Glorot-uniform `kernel`, zero `bias`, `scale`
        :math:`\gamma` one, `shift` :math:`\beta` zero.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is below 1, or (on call) the input does not have `in_features`.
    """

    def __init__(self, in_features: int, features: int, *, rngs: nnx.Rngs):
        self.in_features = positive_int("in_features", in_features)
        self.features = positive_int("features", features)
        self.kernel = nnx.Param(_glorot(rngs.params(), (in_features, features), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(features, jnp.float32))
        self.scale = nnx.Param(jnp.ones(features, jnp.float32))
        self.shift = nnx.Param(jnp.zeros(features, jnp.float32))

    def __call__(self, inputs: Float[Array, "*batch features"]) -> Float[Array, "*batch channels"]:
        """Applies the block to the last axis."""
        at_least_ndim("inputs", inputs.shape, 1, "(*batch, features)")
        same_size("`inputs` and the layer", inputs.shape[-1], self.in_features, "features")
        # Centring the weights centres every output: the mean needs no pass over the frames.
        kernel = self.kernel[...] - self.kernel[...].mean(axis=-1, keepdims=True)
        bias = self.bias[...] - self.bias[...].mean()
        rows = inputs.reshape(-1, self.in_features)
        normal = _normalise(rows @ kernel + bias[None])
        out = jax.nn.leaky_relu(normal * self.scale[...][None] + self.shift[...][None], _SLOPE)
        return out.reshape(*inputs.shape[:-1], self.features)


class FcStack(nnx.Module):
    """Several `Fc` blocks in a row; none of them is the identity.

    Args:
      in_features: size of a frame's input. Static.
      features: size of every block's output. Static.
      n_layers: number of blocks, 0 or more. Static.
      rngs: draws the initial weights.

    Raises:
      ValueError: `n_layers` is negative.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import FcStack
      >>> stack = FcStack(2, 8, 3, rngs=nnx.Rngs(0))
      >>> stack(jnp.ones((4, 100, 2), jnp.float32)).shape
      (4, 100, 8)
    """

    def __init__(self, in_features: int, features: int, n_layers: int, *, rngs: nnx.Rngs):
        if n_layers < 0:
            raise ValueError(f"`n_layers` must be 0 or more, got {n_layers}.")
        sizes = [in_features] + [features] * n_layers
        self.layers = nnx.data([Fc(size, features, rngs=rngs) for size in sizes[:-1]])
        self.features = sizes[-1]

    def __call__(self, inputs: Float[Array, "*batch features"]) -> Float[Array, "*batch channels"]:
        """Applies the blocks to the last axis."""
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs


@jax.custom_vjp
def _normalise(centred):
    """Centred rows divided by their standard deviation."""
    return _normalise_forward(centred)[0]


def _normalise_forward(centred):
    inverse = jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + _EPSILON)
    normal = centred * inverse
    return normal, (normal, inverse)


def _normalise_backward(residuals, normal_bar):
    normal, inverse = residuals
    along = jnp.mean(normal * normal_bar, axis=-1, keepdims=True)
    return (inverse * (normal_bar - normal * along),)


_normalise.defvjp(_normalise_forward, _normalise_backward)
