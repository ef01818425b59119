"""Fully connected blocks applied to every frame alike."""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx._checks import at_least_ndim, non_negative_int, positive_int, same_size
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
        return _apply([self], (inputs,))

    def weights(self) -> tuple[Float[Array, "..."], ...]:
        """Kernel, bias, scale and shift, the first two so that they give centred outputs.

        A row of centred weights for every input centres every output: the norm's mean needs
        no pass over the frames, neither here nor in the derivative.
        """
        kernel, bias = self.kernel[...], self.bias[...]
        centred = kernel - kernel.mean(axis=-1, keepdims=True)
        return centred, bias - bias.mean(), self.scale[...], self.shift[...]


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
        n_layers = non_negative_int("n_layers", n_layers)
        sizes = [in_features] + [features] * n_layers
        self.layers = nnx.data([Fc(size, features, rngs=rngs) for size in sizes[:-1]])
        self.features = sizes[-1]

    def __call__(self, *inputs: Float[Array, "*batch _"]) -> Float[Array, "*batch channels"]:
        """Applies the blocks to the last axis, of several inputs as if they were one.

        Several inputs are taken as concatenated, but are not: each has its rows of the first
        kernel.
        """
        return _apply(self.layers, inputs)


def _apply(layers, inputs):
    """Runs inputs through the layers, in one dtype, with the frames as rows."""
    if not layers:
        return jnp.concatenate(inputs, axis=-1)
    for x in inputs:
        at_least_ndim("inputs", x.shape, 1, "(*batch, features)")
    features = sum(x.shape[-1] for x in inputs)
    same_size("`inputs` and the layer", features, layers[0].in_features, "features")
    dtype = jnp.result_type(layers[0].kernel[...].dtype, *(x.dtype for x in inputs))
    weights = tuple(tuple(weight.astype(dtype) for weight in layer.weights()) for layer in layers)
    rows = tuple(x.reshape(-1, x.shape[-1]).astype(dtype) for x in inputs)
    return _stack(rows, weights).reshape(*inputs[0].shape[:-1], layers[-1].features)


@jax.custom_vjp
def _stack(rows, weights):
    """Several blocks, with a derivative that keeps one array of rows for each of them."""
    return _stack_forward(rows, weights)[0]


def _stack_forward(rows, weights):
    out, kept = rows, []
    for kernel, bias, scale, shift in weights:
        centred = sum(x @ k for x, k in zip(out, _split(kernel, out), strict=True)) + bias[None]
        inverse = jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + _EPSILON)
        normal = centred * inverse
        kept.append((normal, inverse))
        out = (_activate(normal, scale, shift),)
    return out[0], (rows, weights, kept)


def _stack_backward(residuals, bar):
    rows, weights, kept = residuals
    weights_bar = []
    for i in reversed(range(len(weights))):
        kernel, _, scale, shift = weights[i]
        normal, inverse = kept[i]
        inputs = (_activate(kept[i - 1][0], *weights[i - 1][2:]),) if i else rows
        bar = jnp.where(normal * scale[None] + shift[None] > 0, bar, _SLOPE * bar)
        product = bar * normal
        affine_bar = product.sum(0), bar.sum(0)
        # mean(normal * bar * scale) as a matrix product: as a sum, XLA spreads scale to the
        # size of the rows first, and does so early.
        along = product @ (scale[:, None] / scale.size)
        bar = inverse * (bar * scale[None] - normal * along)
        kernel_bar = jnp.concatenate([x.T @ bar for x in inputs])
        weights_bar.append((kernel_bar, bar.sum(0), *affine_bar))
        inputs_bar = tuple(bar @ k.T for k in _split(kernel, inputs))
        bar = inputs_bar[0]
    return inputs_bar, tuple(reversed(weights_bar))


_stack.defvjp(_stack_forward, _stack_backward)


def _split(kernel, inputs):
    """The rows of a kernel that belong to each of its inputs."""
    ends = list(itertools.accumulate(x.shape[-1] for x in inputs))
    return jnp.split(kernel, ends[:-1])


def _activate(normal, scale, shift):
    return jax.nn.leaky_relu(normal * scale[None] + shift[None], _SLOPE)
