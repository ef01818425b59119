"""Networks from conditioning features to synthesizer controls."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx

from ddspx._checks import at_least_ndim, positive_int, same_size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.nn._blocks import FcStack
from ddspx.nn._recurrent import Gru


class RnnFcDecoder(nnx.Module):
    """DDSP's decoder: a stack per input, a GRU over them, a stack over all, one dense layer.

    Every input feature has its own `FcStack`. The GRU listens to their concatenation, and the
    last stack to the concatenation of their outputs and the GRU's, from which a dense layer
    makes the (unbounded) outputs. It is causal: outputs up to a frame need no later frame.

    Args:
      in_features: size of each input, in the order in which they are given on call: (1, 1)
        for loudness and pitch. Static.
      out_features: size of a frame's output. Static.
      rnn_channels: size of the GRU's state. Static.
      fc_channels: width of the stacks. Static.
      fc_layers: blocks per stack; 0 leaves the GRU and the dense layer alone. Static.
      rngs: draws the initial weights.

    Raises:
      ValueError: (on call) the number of inputs is not that of `in_features`, one has no axis of
        features, or their frames differ.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import RnnFcDecoder
      >>> decoder = RnnFcDecoder(
      ...     (1, 1), 126, rnn_channels=16, fc_channels=16, fc_layers=2, rngs=nnx.Rngs(0)
      ... )
      >>> loudness = pitch = jnp.ones((2, 50, 1), jnp.float32)
      >>> outputs, states = decoder((loudness, pitch))
      >>> outputs.shape, states.shape
      ((2, 50, 126), (2, 50, 16))

    References:
      Engel et al., `DDSP: Differentiable Digital Signal Processing
      <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, appendix B.2.
    """

    def __init__(
        self,
        in_features: Sequence[int],
        out_features: int,
        *,
        rnn_channels: int,
        fc_channels: int,
        fc_layers: int,
        rngs: nnx.Rngs,
    ):
        stacks = [FcStack(size, fc_channels, fc_layers, rngs=rngs) for size in in_features]
        joint = sum(stack.features for stack in stacks)
        self.stacks = nnx.data(stacks)
        self.gru = Gru(joint, rnn_channels, rngs=rngs)
        self.out_stack = FcStack(joint + rnn_channels, fc_channels, fc_layers, rngs=rngs)
        self.dense = nnx.Linear(
            self.out_stack.features,
            positive_int("out_features", out_features),
            kernel_init=nnx.initializers.glorot_uniform(),
            rngs=rngs,
        )

    def __call__(
        self,
        inputs: Sequence[Float[ArrayLike, "*batch frames _"]],
        carry: Float[ArrayLike, "*batch state"] | None = None,
    ) -> tuple[Float[Array, "*batch frames outputs"], Float[Array, "*batch frames state"]]:
        """Decodes the frames from the GRU state `carry` (zeros by default).

        Returns:
          The outputs of every frame, and the GRU's state after every frame: ``[..., i, :]``
          is the `carry` with which frame i + 1 goes on as if there had been no cut.
        """
        same_size("`inputs` and the decoder's", len(inputs), len(self.stacks), "inputs")
        inputs = [jnp.asarray(x) for x in inputs]
        for i, x in enumerate(inputs):
            at_least_ndim(f"inputs[{i}]", x.shape, 2, "(*batch, frames, features)")
            same_size(f"`inputs[0]` and `inputs[{i}]`", inputs[0].shape[-2], x.shape[-2], "frames")
        *batch, n_frames, _ = inputs[0].shape
        if carry is not None:
            carry = jnp.asarray(carry).reshape(-1, self.gru.features)
        # The GRU wants the frames first, and turning the few inputs and outputs around is
        # cheaper than the hundreds of channels between them.
        heard = [
            stack(jnp.moveaxis(x.reshape(-1, *x.shape[-2:]), 1, 0))
            for stack, x in zip(self.stacks, inputs, strict=True)
        ]
        joint = jnp.concatenate(heard, axis=-1)
        states = self.gru.frames_first(joint, carry)
        outputs = self.dense(self.out_stack(joint, states))
        outputs, states = (
            jnp.moveaxis(x, 0, 1).reshape(*batch, n_frames, x.shape[-1]) for x in (outputs, states)
        )
        return outputs, states
