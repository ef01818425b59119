"""The residual network of SpectNet, from an image of frames and bands to a logit per class."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx._checks import at_least_ndim, positive_int
from ddspx._typing import Array, ArrayLike, Float, Key

_EPSILON = 1e-5
# The weight of the old value when the running statistics are updated.
_MOMENTUM = 0.9

_he = nnx.initializers.he_normal()
# A tenth of Glorot's weights: all classes are about equally likely at first, so training does not
# begin by unlearning random decisions.
_small = nnx.initializers.variance_scaling(0.01, "fan_avg", "uniform")


class Conv(nnx.Module):
    """A convolution over frames and bands, plus a bias.

    Args:
      in_channels: channels of its input.
      channels: channels of its output.
      size: size of the kernel, in frames and bands.
      rngs: draws the kernel.
    """

    def __init__(
        self, in_channels: int, channels: int, *, size: tuple[int, int] = (3, 3), rngs: nnx.Rngs
    ):
        self.kernel = nnx.Param(_he(rngs.params(), (*size, in_channels, channels), jnp.float32))
        # The batch norm after the convolution removes the bias again. It is kept because the
        # published network has it.
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))

    def __call__(
        self,
        inputs: Float[Array, "batch frames bands channels"],
        *,
        padding: tuple[tuple[int, int], tuple[int, int]],
        strides: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
    ) -> Float[Array, "batch positions rows outputs"]:
        """Convolves the inputs, padded with zeros."""
        # The zeros are added explicitly: with the padding argument of the convolution, the gradient
        # of the kernel takes ten times as long on a CPU.
        out = jax.lax.conv_general_dilated(
            jnp.pad(inputs, ((0, 0), *padding, (0, 0))),
            self.kernel[...].astype(inputs.dtype),
            window_strides=strides,
            padding="VALID",
            rhs_dilation=dilation,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return out + _row(self.bias, out)


class BatchNorm(nnx.Module):
    r"""Normalizes each channel to mean 0 and variance 1, then scales and shifts it.

    .. math:: y = \gamma (x - \mu) / \sqrt{\sigma^2 + 10^{-5}} + \beta

    with the mean and variance of the batch in training, and with their running means otherwise.

    Args:
      channels: channels of its input.
    """

    def __init__(self, channels: int):
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.shift = nnx.Param(jnp.zeros(channels, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(channels, jnp.float32))
        self.variance = nnx.BatchStat(jnp.ones(channels, jnp.float32))

    def __call__(
        self, inputs: Float[Array, "batch frames bands channels"], *, training: bool
    ) -> tuple[Float[Array, "batch frames bands channels"], dict[str, Array]]:
        """The output, and the running mean and variance after this batch."""
        mean, variance = self.mean[...], self.variance[...]
        moments = {"mean": mean, "variance": variance}
        mean, variance = mean.astype(inputs.dtype), variance.astype(inputs.dtype)
        if training:
            mean = jnp.mean(inputs, axis=(0, 1, 2))
            variance = jnp.mean(jnp.square(inputs - _as_row(mean, inputs)), axis=(0, 1, 2))
            batch = {"mean": mean, "variance": variance}
            moments = {
                name: _MOMENTUM * old
                + (1 - _MOMENTUM) * jax.lax.stop_gradient(batch[name]).astype(old.dtype)
                for name, old in moments.items()
            }
        slope = self.scale[...].astype(inputs.dtype) * jax.lax.rsqrt(variance + _EPSILON)
        centred = inputs - _as_row(mean, inputs)
        return centred * _as_row(slope, inputs) + _row(self.shift, inputs), moments


class ResidualBlock(nnx.Module):
    """Two convolutions, plus a shortcut: the pooled input, padded with channels of zeros.

    Args:
      index: index of the block in the network. Block 0 pools its main path, the others have a
        stride of 2. Block 2 has a dilation of 2 in time, and block 3 halves time once more.
      in_channels: channels of its input; its output has twice as many.
      rngs: draws the kernels.
    """

    def __init__(self, index: int, in_channels: int, *, rngs: nnx.Rngs):
        self.index = index
        self.first = Conv(in_channels, 2 * in_channels, rngs=rngs)
        self.first_norm = BatchNorm(2 * in_channels)
        self.second = Conv(2 * in_channels, 2 * in_channels, rngs=rngs)
        self.second_norm = BatchNorm(2 * in_channels)

    def __call__(
        self,
        inputs: Float[Array, "batch frames bands channels"],
        keys: tuple[Key, Key] | None,
        rate: float,
    ) -> tuple[Float[Array, "batch positions rows outputs"], dict[str, dict[str, Array]]]:
        """Runs the block; `keys` are for its two dropouts, and None outside of training.

        Returns:
          The output, and the running statistics of each norm by its name.
        """
        training, (first_key, second_key) = keys is not None, keys or (None, None)
        edge = 0 if self.index == 0 else 1
        main = self.first(inputs, padding=((edge, edge), (edge, edge)))
        main, first_moments = self.first_norm(main, training=training)
        main = _drop_channels(first_key, jax.nn.relu(main), rate)
        if self.index == 0:
            main = self.second(main, padding=((2, 2), (2, 2)))
        else:
            dilation = (2, 1) if self.index == 2 else (1, 1)
            _, frames, bands, _ = inputs.shape
            steps = (min(2, frames), min(2, bands))
            # With this padding the output has half the size, rounded down, as after pooling.
            padding = [
                (1, 2 * by - 2) if step == 2 else (by, by)
                for by, step in zip(dilation, steps, strict=True)
            ]
            main = self.second(
                main, padding=(padding[0], padding[1]), strides=steps, dilation=dilation
            )
        main, second_moments = self.second_norm(main, training=training)
        main = _drop_channels(second_key, main, rate)
        if self.index == 0:
            main = _max_pool(main, (2, 2))
        pooled = _max_pool(inputs, (2, 2))
        shortcut = jnp.pad(pooled, ((0, 0), (0, 0), (0, 0), (0, inputs.shape[-1])))
        out = jax.nn.relu(main) + shortcut
        if self.index == 3:
            out = _max_pool(out, (2, 1))
        return out, {"first_norm": first_moments, "second_norm": second_moments}


class ResidualClassifier(nnx.Module):
    """From the features of a segment to logits: a convolution, residual blocks, two dense layers.

    `__call__` is for evaluation and is deterministic. `training_logits` is for training: it takes a
    key for dropout, and returns the updated batch statistics.

    Args:
      n_frames: frames of a segment.
      n_features: bands of a frame, 2 or more.
      n_classes: number of logits.
      n_blocks: residual blocks, 1 to 4.
      channels: channels before the first block, which every block doubles.
      hidden: size of the layer before the logits.
      dropout: share of the channels, and of the units of the hidden layer, that are dropped in
        training, separately for each example.
      rngs: draws the initial weights.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.models.spectnet import ResidualClassifier
      >>> classifier = ResidualClassifier(240, 16, 2, channels=4, rngs=nnx.Rngs(0))
      >>> features = jnp.zeros((8, 240, 16), jnp.float32)
      >>> classifier(features).shape
      (8, 2)
      >>> logits, statistics = classifier.training_logits(jax.random.key(0), features)

    References:
      Ansari and Hasan, `SpectNet <https://arxiv.org/abs/2211.09352>`_. Their code drops units of
      the hidden layer at evaluation too, and applies softmax twice, before and in the loss.
    """

    def __init__(
        self,
        n_frames: int,
        n_features: int,
        n_classes: int,
        *,
        n_blocks: int = 3,
        channels: int = 16,
        hidden: int = 100,
        dropout: float = 0.5,
        rngs: nnx.Rngs,
    ):
        self.shape = (positive_int("n_frames", n_frames), positive_int("n_features", n_features))
        self.dropout = dropout
        self.first = Conv(1, channels, size=(3, 2), rngs=rngs)
        self.first_norm = BatchNorm(channels)
        sizes = [channels * 2**index for index in range(n_blocks + 1)]
        blocks = [ResidualBlock(i, sizes[i], rngs=rngs) for i in range(n_blocks)]
        self.blocks = nnx.data(blocks)
        positions, rows = _pooled(*self.shape, n_blocks)
        size = positions * rows * sizes[-1]
        self.hidden_kernel = nnx.Param(_he(rngs.params(), (size, hidden), jnp.float32))
        self.hidden_bias = nnx.Param(jnp.zeros(hidden, jnp.float32))
        self.kernel = nnx.Param(_small(rngs.params(), (hidden, n_classes), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(n_classes, jnp.float32))

    def __call__(
        self, features: Float[ArrayLike, "*batch frames features"]
    ) -> Float[Array, "*batch classes"]:
        """Logits with the running statistics and without dropout."""
        return self._run(None, features)[0]

    def embed(
        self, features: Float[ArrayLike, "*batch frames features"]
    ) -> Float[Array, "*batch hidden"]:
        """The hidden layer before the logits, with the running statistics and without dropout."""
        features = jnp.asarray(features)
        hidden, _ = self._hidden(None, features)
        return hidden.reshape(*features.shape[:-2], hidden.shape[-1])

    def training_logits(
        self, key: Key, features: Float[ArrayLike, "*batch frames features"]
    ) -> tuple[Float[Array, "*batch classes"], Any]:
        """Logits with the statistics of the batch, and with dropout.

        Args:
          key: draws which channels and units are dropped, separately for each example.
          features: features of several segments.

        Returns:
          The logits, and the state of this module's `nnx.BatchStat` after the batch. The module
          itself is not changed.
        """
        logits, moments = self._run(key, features)
        statistics = nnx.state(self, nnx.BatchStat)
        nnx.replace_by_pure_dict(statistics, moments)
        return logits, statistics

    def _run(self, key, features):
        """The logits, and the running statistics as a nested dict by the names of the modules."""
        keys = None if key is None else jax.random.split(key, 2 * len(self.blocks) + 1)
        hidden, moments = self._hidden(keys, features)
        hidden = _drop(None if keys is None else keys[-1], hidden, hidden.shape, self.dropout)
        kernel, bias = (w[...].astype(hidden.dtype) for w in (self.kernel, self.bias))
        logits = hidden @ kernel + bias[None]
        return logits.reshape(*features.shape[:-2], logits.shape[-1]), moments

    def _hidden(self, keys, features):
        """The hidden layer of all segments in one axis, and the running statistics."""
        at_least_ndim("features", features.shape, 2, "(*batch, frames, features)")
        if features.shape[-2:] != self.shape:
            raise ValueError(
                f"`features` must have {self.shape[0]} frames of {self.shape[1]} numbers, got "
                f"{features.shape[-2:]}; cut the audio with `segments`."
            )
        images = features.reshape(math.prod(features.shape[:-2]), *self.shape, 1)
        out = self.first(images, padding=((3, 3), (1, 1)))
        out, first_moments = self.first_norm(out, training=keys is not None)
        out = jax.nn.relu(out)
        moments = {"first_norm": first_moments, "blocks": {}}
        for i, block in enumerate(self.blocks):
            pair = None if keys is None else (keys[2 * i], keys[2 * i + 1])
            out, moments["blocks"][i] = block(out, pair, self.dropout)
        out = out.reshape(out.shape[0], math.prod(out.shape[1:]))
        kernel, bias = (w[...].astype(out.dtype) for w in (self.hidden_kernel, self.hidden_bias))
        return jax.nn.relu(out @ kernel + bias[None]), moments


def _pooled(n_frames: int, n_features: int, n_blocks: int) -> tuple[int, int]:
    """The numbers of positions (time) and rows (bands) after the blocks."""
    if n_features < 2:
        raise ValueError(f"`n_features` must be at least 2, got {n_features}.")
    positions, rows = n_frames + 4, n_features + 1
    for index in range(n_blocks):
        positions, rows = max(1, positions // 2), max(1, rows // 2)
        if index == 3:
            positions = max(1, positions // 2)
    return positions, rows


def _max_pool(images: Array, window: tuple[int, int]) -> Array:
    """Maximum over windows that do not overlap.

    Frames and bands at the end that do not fill a window are left out. An axis that is shorter than
    the window is pooled as a whole.
    """
    batch, frames, bands, channels = images.shape
    high, wide = min(window[0], frames), min(window[1], bands)
    rows, columns = frames // high, bands // wide
    cropped = images[:, : rows * high, : columns * wide]
    parts = cropped.reshape(batch, rows, high, columns, wide, channels)
    # Maxima of pairs: the derivative of `jnp.max` divides by the number of values that equal the
    # maximum. That number can be 0, and the derivative NaN, if XLA computes the values twice with
    # different rounding.
    neighbours = [parts[:, :, i, :, j] for i in range(high) for j in range(wide)]
    return functools.reduce(jnp.maximum, neighbours)


def _drop_channels(key: Key | None, images: Array, rate: float) -> Array:
    """Drops whole channels of each example: dropped pixels could be guessed from neighbours."""
    return _drop(key, images, (images.shape[0], 1, 1, images.shape[-1]), rate)


def _drop(key: Key | None, inputs: Array, shape: tuple[int, ...], rate: float) -> Array:
    if key is None or rate == 0:
        return inputs
    keep = jax.random.bernoulli(key, 1 - rate, shape)
    return jnp.where(keep, inputs / (1 - rate), jnp.zeros((), inputs.dtype))


def _row(variable: nnx.Variable, like: Array) -> Array:
    """A variable with one number per channel, in a shape that broadcasts with images."""
    return _as_row(variable[...].astype(like.dtype), like)


def _as_row(values: Array, like: Array) -> Array:
    return values.reshape((1,) * (like.ndim - 1) + (-1,))
