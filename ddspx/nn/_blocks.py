"""Fully connected blocks, applied to each frame separately."""

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx._checks import at_least_ndim, floats, non_negative_int, same_size, size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._numerics import varying_alike

_glorot = nnx.initializers.glorot_uniform()


class Fc(nnx.Module):
    r"""One fully connected block: dense, layer norm, leaky ReLU.

    .. math:: y = \mathrm{lrelu}_{a}\Bigl(\gamma\,
        \frac{u - \bar u}{\sqrt{\mathrm{var}(u) + \epsilon}} + \beta\Bigr),
        \qquad u = W x + b

    Args:
      in_features: size of a frame's input. Static.
      features: size of a frame's output. Static.
      slope: slope a of the leaky ReLU below 0. Static.
      epsilon: what is added to the variance. Static.
      rngs: draws the initial weights: Glorot-uniform `kernel`, zero `bias`, `scale`
        :math:`\gamma` one, `shift` :math:`\beta` zero.

    Raises:
      TypeError: a size is not an int, or (on call) the input neither float32 nor float64.
      ValueError: a size is below 1, or (on call) the input does not have `in_features`.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        slope: float = 0.2,
        epsilon: float = 1e-3,
        rngs: nnx.Rngs,
    ):
        self.slope, self.epsilon = float(slope), float(epsilon)
        self.in_features = size("in_features", in_features)
        self.features = size("features", features)
        self.kernel = nnx.Param(_glorot(rngs.params(), (in_features, features), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(features, jnp.float32))
        self.scale = nnx.Param(jnp.ones(features, jnp.float32))
        self.shift = nnx.Param(jnp.zeros(features, jnp.float32))

    def __call__(
        self, inputs: Float[ArrayLike, "*batch features"]
    ) -> Float[Array, "*batch channels"]:
        """Applies the block to the last axis."""
        return _apply([self], (inputs,))

    def weights(self) -> tuple[Float[Array, "..."], ...]:
        """Kernel, bias, scale and shift; kernel and bias are centred over the output channels.

        The layer norm subtracts the mean over the output channels. Centring the weights gives
        outputs of mean 0 directly, so neither the layer nor its derivative has to compute the
        mean of each frame.
        """
        kernel, bias = self.kernel[...], self.bias[...]
        centred = kernel - kernel.mean(axis=-1, keepdims=True)
        return centred, bias - bias.mean(), self.scale[...], self.shift[...]


class FcStack(nnx.Module):
    """Several `Fc` blocks in a row; a stack of 0 blocks is the identity.

    Args:
      in_features: size of a frame's input. Static.
      features: size of every block's output. Static.
      n_layers: number of blocks, 0 or more. Static.
      slope: as for `Fc`. Static.
      epsilon: as for `Fc`. Static.
      rngs: draws the initial weights.

    Raises:
      TypeError: a size is not an int, or (on call) an input neither float32 nor float64.
      ValueError: a size is below 1, `n_layers` is negative, or (on call) the inputs do not have
        `in_features` together.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import FcStack
      >>> stack = FcStack(2, 8, 3, rngs=nnx.Rngs(0))
      >>> stack(jnp.ones((4, 100, 2), jnp.float32)).shape
      (4, 100, 8)
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        n_layers: int,
        *,
        slope: float = 0.2,
        epsilon: float = 1e-3,
        rngs: nnx.Rngs,
    ):
        if non_negative_int("n_layers", n_layers):
            size("n_layers", n_layers)
        sizes = [in_features] + [features] * n_layers
        shape = {"slope": slope, "epsilon": epsilon, "rngs": rngs}
        self.layers = nnx.data([Fc(size, features, **shape) for size in sizes[:-1]])
        self.features = sizes[-1]

    def __call__(self, *inputs: Float[ArrayLike, "*batch _"]) -> Float[Array, "*batch channels"]:
        """Applies the blocks to the last axis of the inputs, as if they were concatenated.

        The concatenation is not computed: each input is multiplied by its own rows of the first
        kernel, and the products are added.
        """
        return _apply(self.layers, inputs)


def _apply(layers, inputs):
    """Converts the inputs to one dtype, flattens their frames to rows and applies the layers."""
    inputs = floats(**{f"inputs[{i}]": x for i, x in enumerate(inputs)})
    if not layers:
        return jnp.concatenate(inputs, axis=-1)
    for x in inputs:
        at_least_ndim("inputs", x.shape, 1, "(*batch, features)")
    features = sum(x.shape[-1] for x in inputs)
    same_size("`inputs` and the layer", features, layers[0].in_features, "features")
    dtype = jnp.result_type(layers[0].kernel[...].dtype, *(x.dtype for x in inputs))
    weights = tuple(tuple(weight.astype(dtype) for weight in layer.weights()) for layer in layers)
    rows = tuple(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]).astype(dtype) for x in inputs)
    rows, weights = varying_alike(rows, weights)
    outputs = _stack(layers[0].slope, layers[0].epsilon, rows, weights)
    return outputs.reshape(*inputs[0].shape[:-1], layers[-1].features)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _stack(slope, epsilon, rows, weights):
    """Several blocks, with a custom derivative that stores only one array of rows per block."""
    for kernel, bias, scale, shift in weights:
        normal, _ = _normalized(_product(rows, kernel) + bias[None], epsilon)
        rows = (jax.nn.leaky_relu(_affine(normal, scale, shift), slope),)
    return rows[0]


@_stack.defjvp
def _stack_jvp(slope, epsilon, primals, tangents):
    """The derivative, written so that its transpose uses only matrix products and row sums."""
    (rows, weights), (rows_dot, weights_dot) = primals, tangents
    for (kernel, bias, scale, shift), dots in zip(weights, weights_dot, strict=True):
        kernel_dot, bias_dot, scale_dot, shift_dot = dots
        normal, inverse = _normalized(_product(rows, kernel) + bias[None], epsilon)
        dot = _product(rows_dot, kernel) + _product(rows, kernel_dot) + bias_dot[None]
        dot = inverse * dot
        along = -jnp.mean(normal * dot, axis=-1, keepdims=True)
        # Written as a matrix product so that its transpose is a matrix product too. With an
        # elementwise product, XLA would first broadcast `scale` to the size of all rows.
        along = along @ scale[None]
        dot = dot * scale[None] + normal * (scale_dot[None] + along) + shift_dot[None]
        out = _affine(normal, scale, shift)
        rows_dot = (jnp.where(out > 0, dot, slope * dot),)
        rows = (jax.nn.leaky_relu(out, slope),)
    return rows[0], rows_dot[0]


def _product(inputs, kernel):
    """The product of the concatenated inputs and the kernel, without the concatenation."""
    ends = list(itertools.accumulate(x.shape[-1] for x in inputs))
    kernels = jnp.split(kernel, ends[:-1])
    first, *rest = (x @ k for x, k in zip(inputs, kernels, strict=True))
    return sum(rest, first)


def _normalized(centred, epsilon):
    """Rows of mean 0 scaled to a variance of 1, and the scale factors."""
    inverse = jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + epsilon)
    return centred * inverse, inverse


def _affine(normal, scale, shift):
    return normal * scale[None] + shift[None]
