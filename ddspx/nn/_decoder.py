"""Decoders: networks from the inputs of each frame to the numbers that a synthesizer needs."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from ddspx._checks import at_least_ndim, same_size, size
from ddspx._typing import Array, ArrayLike, Float, Int
from ddspx.nn._blocks import FcStack
from ddspx.nn._decoder_config import Recurrence, Skip
from ddspx.nn._recurrent import Gru, MinGru


@runtime_checkable
class Decoder(Protocol):
    """A network that turns the inputs of each frame into numbers for a synthesizer.

    A config (`DecoderConfig`) builds it. A decoder is an `nnx.Module` that can stream; the state of
    the stream is any tree of arrays. Most decoders are causal. One whose outputs depend on later
    frames has an attribute `lookahead` with their largest number. Its method `step` has two
    further arguments, as that of `DilatedConvDecoder`: `lookahead`, how many frames of `inputs`
    come after the block, and `n_frames`, how many frames of `inputs` belong to the sound.
    """

    def __call__(
        self, inputs: Sequence[Float[ArrayLike, "*batch frames _"]]
    ) -> Float[Array, "*batch frames outputs"]:
        """The unbounded outputs of all frames."""
        ...

    def init(self, *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32) -> Any:
        """The state before the first frame, for inputs of these batch axes and this dtype."""
        ...

    def step(
        self, state: Any, inputs: Sequence[Float[ArrayLike, "*batch frames _"]]
    ) -> tuple[Any, Float[Array, "*batch frames outputs"]]:
        """Decodes the next frames, one or more: returns the new state and their outputs."""
        ...


def check_lookahead(
    lookahead: int, *, needed: int, n_given: int, n_frames: Int[ArrayLike, ""] | int | None
) -> None:
    """Raises a ValueError if a block has too few frames after it for a decoder that hears them.

    Fewer frames than needed are enough where the sound ends within those that are given, which
    `n_frames` says. A traced `n_frames` is not checked.
    """
    if lookahead < 0:
        raise ValueError(
            f"`lookahead` must be at least 0, got {lookahead}; it is how many of the given frames "
            "come after the block."
        )
    goes_on = n_frames is None or (isinstance(n_frames, int | np.integer) and n_frames > n_given)
    if lookahead < needed and goes_on:
        raise ValueError(
            f"`lookahead` must be at least {needed}, because the decoder hears later frames, got "
            f"{lookahead}; give so many frames after the block, or in `n_frames` how many of the "
            f"{n_given} given frames belong to the sound, if it ends within them."
        )


class RnnFcDecoder(nnx.Module):
    """DDSP's decoder: a stack per input, a GRU over them, a stack over all, one dense layer.

    Every input has its own `FcStack`. The outputs of these stacks are concatenated and go into
    the GRU. The last stack takes them together with the output of the GRU, and a dense layer makes
    the (unbounded) outputs. The decoder is causal: the outputs of a frame depend on no later frame.
    A `MinGru` may take the place of the GRU.

    Args:
      in_features: size of each input, in the order in which they are given on call: (1, 1)
        for loudness and pitch. Static.
      out_features: size of a frame's output. Static.
      rnn_channels: size of the recurrent layer's state. Static.
      fc_channels: width of the stacks. Static.
      fc_layers: blocks per stack; 0 leaves the recurrent and the dense layer alone. Static.
      skip: what the last stack takes beside the recurrent layer's output: "stacks", the outputs of
        the stacks, or "inputs", the inputs themselves. Static.
      slope: slope of the leaky ReLUs below 0. Static.
      epsilon: what the layer norms add to the variance. Static.
      recurrence: "gru" for a `Gru`, "min_gru" for a `MinGru`. Static.
      rngs: draws the initial weights.

    Raises:
      ValueError: (on call) the number of inputs differs from that of `in_features`, an input has no
        axis of features, or the numbers of frames differ.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import RnnFcDecoder
      >>> decoder = RnnFcDecoder(
      ...     (1, 1), 126, rnn_channels=16, fc_channels=16, fc_layers=2, rngs=nnx.Rngs(0)
      ... )
      >>> loudness = pitch = jnp.ones((2, 50, 1), jnp.float32)
      >>> decoder((loudness, pitch)).shape
      (2, 50, 126)

    References:
      Engel et al., `DDSP: Differentiable Digital Signal Processing
      <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, appendix B.2. ddsp_pytorch has
      ``skip="inputs"``, and PyTorch's slope of 0.01 and epsilon of 1e-5.
    """

    def __init__(
        self,
        in_features: Sequence[int],
        out_features: int,
        *,
        rnn_channels: int,
        fc_channels: int,
        fc_layers: int,
        skip: Skip = "stacks",
        slope: float = 0.2,
        epsilon: float = 1e-3,
        recurrence: Recurrence = "gru",
        rngs: nnx.Rngs,
    ):
        shape = {"slope": slope, "epsilon": epsilon, "rngs": rngs}
        stacks = [FcStack(size, fc_channels, fc_layers, **shape) for size in in_features]
        joint = sum(stack.features for stack in stacks)
        skipped = sum(in_features) if skip == "inputs" else joint
        self.skip = skip
        self.stacks = nnx.data(stacks)
        recurrent = {"gru": Gru, "min_gru": MinGru}[recurrence]
        self.gru: Gru | MinGru = recurrent(joint, rnn_channels, rngs=rngs)
        self.out_stack = FcStack(skipped + rnn_channels, fc_channels, fc_layers, **shape)
        self.dense = nnx.Linear(
            self.out_stack.features,
            size("out_features", out_features),
            kernel_init=nnx.initializers.glorot_uniform(),
            rngs=rngs,
        )

    def __call__(
        self, inputs: Sequence[Float[ArrayLike, "*batch frames _"]]
    ) -> Float[Array, "*batch frames outputs"]:
        """The outputs of all frames, from a state of zeros."""
        return self._decode(inputs, None)[1]

    def init(
        self, *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
    ) -> Float[Array, "*batch state"]:
        """The state of the recurrent layer before the first frame: zeros."""
        return jnp.zeros((*batch_shape, self.gru.features), dtype)

    def step(
        self,
        state: Float[ArrayLike, "*batch state"],
        inputs: Sequence[Float[ArrayLike, "*batch frames _"]],
    ) -> tuple[Float[Array, "*batch state"], Float[Array, "*batch frames outputs"]]:
        """Decodes the next frames: returns the recurrent layer's new state, and their outputs."""
        return self._decode(inputs, state)

    def _decode(self, inputs, carry):
        """The recurrent layer's state after the last frame, and the outputs of all frames."""
        same_size("`inputs` and the decoder's", len(inputs), len(self.stacks), "inputs")
        inputs = [jnp.asarray(x) for x in inputs]
        for i, x in enumerate(inputs):
            at_least_ndim(f"inputs[{i}]", x.shape, 2, "(*batch, frames, features)")
            same_size(f"`inputs[0]` and `inputs[{i}]`", inputs[0].shape[-2], x.shape[-2], "frames")
        *batch, n_frames, _ = inputs[0].shape
        if carry is not None:
            carry = jnp.asarray(carry).reshape(-1, self.gru.features)
        # The recurrent layer needs the frame axis first. Transposing the inputs and the outputs,
        # which have few channels, is cheaper than transposing the hundreds between them.
        inputs = [jnp.moveaxis(x.reshape(-1, *x.shape[-2:]), 1, 0) for x in inputs]
        features = [stack(x) for stack, x in zip(self.stacks, inputs, strict=True)]
        joint = jnp.concatenate(features, axis=-1)
        states = self.gru.frames_first(joint, carry)
        skipped = inputs if self.skip == "inputs" else (joint,)
        outputs = jnp.moveaxis(self.dense(self.out_stack(*skipped, states)), 0, 1)
        state = states[-1].reshape(*batch, self.gru.features)
        return state, outputs.reshape(*batch, n_frames, outputs.shape[-1])
