"""A decoder of dilated convolutions over the frames: DDSP's, and a causal form of it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from ddspx._checks import at_least_ndim, same_size, size
from ddspx._typing import Array, ArrayLike, Float, Int
from ddspx.core._numerics import varying_alike, with_ndim
from ddspx.nn._decoder import check_lookahead
from ddspx.nn._decoder_config import DilatedConvDecoderConfig

_EPSILON = 1e-5
_glorot = nnx.initializers.glorot_uniform()


class CausalConvState(NamedTuple):
    """The state of a stream of a causal `DilatedConvDecoder`.

    Attributes:
      inputs: the last inputs of each convolution, in their order.
    """

    inputs: tuple[Array, ...]


class WindowedConvState(NamedTuple):
    """The state of a stream of a `DilatedConvDecoder` that is not causal.

    Attributes:
      position: the frame at which the next block begins, or the end of the sound.
      inputs: the inputs of the frames before it, one frame less than a window.
      windows: the numbers of the two windows that were decoded last.
      outputs: their outputs.
    """

    position: Int[Array, ""]
    inputs: Float[Array, "*batch past inputs"]
    windows: Int[Array, "2"]
    outputs: Float[Array, "2 *batch window outputs"]


class DilatedConvDecoder(nnx.Module):
    r"""DDSP's decoder of dilated convolutions: a convolution, residual layers, one dense layer.

    Every layer adds to its input x a convolution over the frames, with a dilation that doubles from
    layer to layer and begins with 1 again in every stack:

    .. math:: x \leftarrow x + \gamma\,\frac{u - \bar u}{\sqrt{\mathrm{var}(u) + 10^{-5}}} + \beta,
        \qquad u = W *_d \max(x, 0) + b

    A causal decoder takes the mean and the variance over the channels of each frame, and its
    convolutions hear only the past. The other one is that of DDSP: its convolutions hear as far
    ahead as back, and mean and variance are those of all channels and frames of a sound. In a sound
    longer than `window_frames` they are those of a window of that length. Such windows overlap by
    `overlap_frames`, over which the outputs fade from one window to the next. So what is
    decoded at once, and the memory, are bounded, and a stream equals the whole sound.

    Args:
      in_features: size of each input, in the order in which they are given on call: (1, 1)
        for loudness and pitch. Static.
      out_features: size of a frame's output. Static.
      config: the sizes. Static.
      rngs: draws the initial weights.

    Attributes:
      lookahead: how many frames after a block `step` needs: 0 if the decoder is causal, and
        otherwise `window_frames`.

    Raises:
      ValueError: `config.in_padding` has not one value for each input feature; or (on call) the
        number of inputs differs from that of `in_features`, an input has no axis of features, or
        the numbers of frames differ.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import DilatedConvDecoder, DilatedConvDecoderConfig
      >>> config = DilatedConvDecoderConfig(channels=8, stacks=1, layers_per_stack=4)
      >>> decoder = DilatedConvDecoder((1, 1), 126, config=config, rngs=nnx.Rngs(0))
      >>> loudness = pitch = jnp.ones((2, 50, 1), jnp.float32)
      >>> decoder((loudness, pitch)).shape
      (2, 50, 126)

    References:
      Engel et al., `DDSP: Differentiable Digital Signal Processing
      <https://arxiv.org/abs/2001.04643>`_, ICLR 2020; ``DilatedConvDecoder`` with ``norm_type``
      "layer" in its code, which decodes a sound of any length as one window.
    """

    def __init__(
        self,
        in_features: Sequence[int],
        out_features: int,
        *,
        config: DilatedConvDecoderConfig,
        rngs: nnx.Rngs,
    ):
        self.config = config
        self.in_features = tuple(size("in_features", each) for each in in_features)
        self.lookahead = 0 if config.causal else config.window_frames
        n_in, channels = sum(self.in_features), config.channels
        if config.in_padding:
            same_size(
                "`config.in_padding` and `in_features`", len(config.in_padding), n_in, "values"
            )
        self.conv = _Conv(config.kernel_size, n_in, channels, rngs=rngs)
        self.layers = nnx.data(
            [_ResidualLayer(config.kernel_size, channels, rngs=rngs) for _ in config.dilations]
        )
        self.dense = nnx.Linear(
            channels, size("out_features", out_features), kernel_init=_glorot, rngs=rngs
        )

    def __call__(
        self, inputs: Sequence[Float[ArrayLike, "*batch frames _"]]
    ) -> Float[Array, "*batch frames outputs"]:
        """The outputs of all frames."""
        joined = self._joined(inputs)
        state = self.init(batch_shape=joined.shape[:-2], dtype=joined.dtype)
        return self.step(state, inputs, n_frames=joined.shape[-2])[1]

    def init(self, *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32) -> Any:
        """The state before the first frame."""
        config, n_in = self.config, sum(self.in_features)
        if config.causal:
            reaches = [(config.kernel_size - 1) * dilation for dilation in (1, *config.dilations)]
            sizes = (n_in, *len(config.dilations) * (config.channels,))
            silence = [
                jnp.zeros((*batch_shape, *s), dtype) for s in zip(reaches, sizes, strict=True)
            ]
            silence[0] += with_ndim(self._padding(dtype), silence[0].ndim)
            return CausalConvState(tuple(silence))
        window = config.window_frames
        return WindowedConvState(
            jnp.int32(0),
            jnp.zeros((*batch_shape, window - 1, n_in), dtype),
            jnp.array([-1, -2], jnp.int32),
            jnp.zeros((2, *batch_shape, window, self.dense.out_features), dtype),
        )

    def step(
        self,
        state: Any,
        inputs: Sequence[Float[ArrayLike, "*batch given _"]],
        *,
        lookahead: int = 0,
        n_frames: Int[ArrayLike, ""] | int | None = None,
    ) -> tuple[Any, Float[Array, "*batch frames outputs"]]:
        """Decodes the next block of frames.

        Args:
          state: from `init` or the previous block.
          inputs: the inputs of the block, and of `lookahead` frames after it. A decoder that is not
            causal needs `self.lookahead` frames there, or as many as the sound has. Static.
          lookahead: how many frames of `inputs` come after the block. Static.
          n_frames: how many frames of `inputs` belong to the sound, if it ends within them. What
            follows counts as nothing, and a decoder that is not causal holds its last outputs
            there, also in later blocks, to which `n_frames` gives 0 or less. By default the sound
            goes on after them.

        Returns:
          The state after the block, and the outputs of the block.

        Raises:
          ValueError: as on call; or `lookahead` is smaller than `self.lookahead`, and `n_frames`
            does not say that the sound ends within the given frames.
        """
        joined = self._joined(inputs)
        n_given = joined.shape[-2]
        check_lookahead(lookahead, needed=self.lookahead, n_given=n_given, n_frames=n_frames)
        if isinstance(state, CausalConvState):
            return self._causal_step(state, joined[..., : joined.shape[-2] - lookahead, :])
        return self._windowed_step(state, joined, lookahead, n_frames)

    def _causal_step(self, state, inputs):
        pasts, after = iter(state.inputs), []

        def extend(x, reach, _):
            extended = jnp.concatenate([next(pasts), x], axis=-2)
            after.append(extended[..., extended.shape[-2] - reach :, :])
            return extended

        outputs = self._decode(inputs, extend, lambda x: x.mean(axis=-1, keepdims=True))
        return CausalConvState(tuple(after)), outputs

    def _windowed_step(self, state, inputs, lookahead, n_frames):
        window, overlap = self.config.window_frames, self.config.overlap_frames
        hop, n_block = window - overlap, inputs.shape[-2] - lookahead
        position = state.position
        n_sound = jnp.maximum(jnp.int32(inputs.shape[-2] if n_frames is None else n_frames), 0)
        end = position + n_sound
        # The frames from `position - window + 1` on, and room for the end of the last window.
        known = jnp.concatenate([state.inputs, inputs], axis=-2)
        known = jnp.pad(known, [(0, 0)] * (known.ndim - 2) + [(0, window), (0, 0)])
        frames = jnp.minimum(position + jnp.arange(n_block, dtype=jnp.int32), end - 1)
        first = jnp.maximum(0, (frames[0] - overlap) // hop)

        def add(carry, number):
            windows, cache, total = carry
            start = number * hop
            # A window with no more frames than the overlap is not begun: the one before ends there.
            n_left = end - start
            least = jnp.where(number == 0, 0, overlap)
            exists = (start < position + n_block) & (n_left > least)
            slot = number % 2

            def decoded():
                at = start - (position - window + 1)
                cut = jax.lax.dynamic_slice_in_dim(known, at, window, axis=-2)
                return self._decode_window(cut, n_left).astype(cache.dtype)

            is_known = ~exists | (windows[slot] == number)
            outputs = jax.lax.cond(is_known, lambda: cache[slot], decoded)
            cache = cache.at[slot].set(outputs)
            windows = windows.at[slot].set(jnp.where(exists, number, windows[slot]))
            weights = _weights(frames - start, window, overlap, number > 0, n_left > window)
            weights = jnp.where(exists, weights, 0).astype(total.dtype)
            taken = jnp.take(outputs, jnp.clip(frames - start, 0, window - 1), axis=-2)
            return (windows, cache, total + with_ndim(weights[:, None], taken.ndim) * taken), None

        n_windows = -(-(n_block + window - 1) // hop)
        silence = jnp.zeros((*inputs.shape[:-2], n_block, self.dense.out_features), inputs.dtype)
        carry, _ = varying_alike((state.windows, state.outputs, silence), known)
        (windows, cache, outputs), _ = jax.lax.scan(
            add, carry, first + jnp.arange(n_windows, dtype=jnp.int32)
        )
        # The state stays at the end of the sound, whose last window it holds.
        advance = jnp.minimum(n_block, n_sound)
        past = jax.lax.dynamic_slice_in_dim(known, advance, window - 1, axis=-2)
        return WindowedConvState(position + advance, past, windows, cache), outputs

    def _decode_window(self, inputs, n_frames):
        """The outputs of a window, of which only `n_frames` belong to the sound."""
        n_frames = jnp.clip(n_frames, 1, self.config.window_frames)
        at = jnp.arange(inputs.shape[-2], dtype=jnp.int32)[:, None]
        is_sound = with_ndim(at, inputs.ndim) < n_frames
        share = is_sound.astype(inputs.dtype) / (n_frames * self.config.channels)

        def extend(x, reach, padding):
            edges = [(0, 0)] * (x.ndim - 2) + [(reach // 2, reach - reach // 2), (0, 0)]
            # `jnp.pad` cannot add a value for each feature, but zeros.
            padding = with_ndim(padding, x.ndim)
            return jnp.pad(jnp.where(is_sound, x - padding, 0), edges) + padding

        def mean(x):
            return jnp.sum(x * share, axis=(-2, -1), keepdims=True)

        return self._decode(inputs, extend, mean)

    def _decode(
        self,
        inputs: Array,
        extend: Callable[[Array, int, Array], Array],
        mean: Callable[[Array], Array],
    ) -> Array:
        """The outputs, from how frames are added around those of a convolution, and from a mean.

        `extend(x, reach, padding)` adds `reach` frames in all, which are `padding` outside of the
        sound. `mean` gives the mean of what is normalized together.
        """
        reach, silence = self.config.kernel_size - 1, jnp.zeros(1, inputs.dtype)
        x = self.conv(extend(inputs, reach, self._padding(inputs.dtype)), 1)
        for layer, dilation in zip(self.layers, self.config.dilations, strict=True):
            u = layer.conv(extend(jnp.maximum(x, 0), dilation * reach, silence), dilation)
            u = u - mean(u)
            u = u * jax.lax.rsqrt(mean(jnp.square(u)) + _EPSILON)
            scale, shift = (with_ndim(v[...], x.ndim) for v in (layer.scale, layer.shift))
            x = x + u * scale + shift
        return self.dense(x)

    def _padding(self, dtype: DTypeLike) -> Array:
        """What the first convolution hears outside of the sound, for each input feature."""
        return jnp.array(self.config.in_padding or sum(self.in_features) * (0.0,), dtype)

    def _joined(self, inputs: Sequence[ArrayLike]) -> Array:
        """All inputs as one array."""
        same_size("`inputs` and the decoder's", len(inputs), len(self.in_features), "inputs")
        arrays = [jnp.asarray(x) for x in inputs]
        for i, x in enumerate(arrays):
            at_least_ndim(f"inputs[{i}]", x.shape, 2, "(*batch, frames, features)")
            same_size(f"`inputs[0]` and `inputs[{i}]`", arrays[0].shape[-2], x.shape[-2], "frames")
        return jnp.concatenate(arrays, axis=-1)


class _Conv(nnx.Module):
    """A convolution over the frames, for which the frames that it reaches have been added."""

    def __init__(self, kernel_size: int, in_features: int, features: int, *, rngs: nnx.Rngs):
        shape = (kernel_size, in_features, features)
        self.kernel = nnx.Param(_glorot(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(features, jnp.float32))

    def __call__(self, extended: Array, dilation: int) -> Array:
        kernel = self.kernel[...]
        taps, n_in, features = kernel.shape
        n_frames = extended.shape[-2] - (taps - 1) * dilation
        # One product of matrices is faster than a dilated convolution on every platform.
        shifted = [extended[..., i * dilation : i * dilation + n_frames, :] for i in range(taps)]
        joint = jnp.concatenate(shifted, axis=-1)
        bias = with_ndim(self.bias[...], joint.ndim)
        return joint @ kernel.reshape(taps * n_in, features) + bias


class _ResidualLayer(nnx.Module):
    """The parameters of a layer: a convolution, and scale and shift after the normalization."""

    def __init__(self, kernel_size: int, channels: int, *, rngs: nnx.Rngs):
        self.conv = _Conv(kernel_size, channels, channels, rngs=rngs)
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.shift = nnx.Param(jnp.zeros(channels, jnp.float32))


def _weights(at: Array, window: int, overlap: int, fades_in: Array, fades_out: Array) -> Array:
    """The weights of a window in the outputs, for frames `at` counted from its start."""
    rise = jnp.where(fades_in, jnp.clip((at + 0.5) / overlap, 0, 1), 1)
    fall = jnp.where(fades_out, jnp.clip((window - at - 0.5) / overlap, 0, 1), 1)
    # Where two windows overlap, one of the factors is 1 for each, and the weights add up to 1.
    return jnp.where((at >= 0) & (at < window), rise * fall, 0)
