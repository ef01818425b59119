"""Recurrent layers with a derivative made for training on long control sequences."""

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx._checks import at_least_ndim, positive_int, same_size
from ddspx._typing import Array, Float

_glorot = nnx.initializers.glorot_uniform()
_orthogonal = nnx.initializers.orthogonal()


class Gru(nnx.Module):
    r"""Gated recurrent unit, causal, over the frames of a control sequence.

    With the input's projection :math:`x^\cdot = W_\cdot x_t + b_\cdot` and the state's
    :math:`q^\cdot = U_\cdot h_{t-1} + c_\cdot` for the three gates z, r and n,

    .. math::
        z = \sigma(x^z + q^z), \quad r = \sigma(x^r + q^r), \quad
        n = \tanh(x^n + r\, q^n), \quad h_t = (1 - z)\, n + z\, h_{t-1}.

    This is Keras' ``reset_after=True`` and PyTorch's ``GRU``: the reset gate acts on the
    state's projection, which leaves one matrix product per step. It holds
    :math:`3 (in \cdot h + h^2 + 2 h)` numbers.

    The derivative is written by hand. Automatic differentiation adds to the gradient of
    `U` at every step of the backward scan; here the scan carries the gradient of the state
    alone, and every weight gradient is one matrix product over all frames after it.

    Args:
      in_features: size of a frame's input. Static.
      features: size of the state, and of a frame's output. Static.
      rngs: draws the initial weights: Glorot-uniform `kernel`, orthogonal
        `recurrent_kernel`, zero `bias` (input row, state row), gates in the order z, r, n.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is below 1, or (on call) the input does not have `in_features`.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import Gru
      >>> gru = Gru(2, 3, rngs=nnx.Rngs(0))
      >>> frames = jnp.ones((4, 10, 2), jnp.float32)
      >>> whole, _ = gru(frames)
      >>> head, carry = gru(frames[:, :6])
      >>> tail, _ = gru(frames[:, 6:], carry)
      >>> bool(jnp.allclose(jnp.concatenate([head, tail], 1), whole, atol=1e-6))
      True

    References:
      Cho et al., `Learning Phrase Representations using RNN Encoder-Decoder
      <https://arxiv.org/abs/1406.1078>`_, 2014 (which resets the state before its
      projection); DDSP's decoders use the form above.
    """

    def __init__(self, in_features: int, features: int, *, rngs: nnx.Rngs):
        self.in_features = positive_int("in_features", in_features)
        self.features = positive_int("features", features)
        gates = 3 * features
        self.kernel = nnx.Param(_glorot(rngs.params(), (in_features, gates), jnp.float32))
        self.recurrent_kernel = nnx.Param(
            _orthogonal(rngs.params(), (features, gates), jnp.float32)
        )
        self.bias = nnx.Param(jnp.zeros((2, gates), jnp.float32))

    def __call__(
        self,
        inputs: Float[Array, "*batch frames features"],
        carry: Float[Array, "*batch state"] | None = None,
    ) -> tuple[Float[Array, "*batch frames state"], Float[Array, "*batch state"]]:
        """Runs over the frames from `carry` (zeros by default).

        Returns:
          The state after every frame, and the last one: the `carry` with which the next
          frames go on as if there had been no cut.
        """
        at_least_ndim("inputs", inputs.shape, 2, "(*batch, frames, features)")
        *batch, n_frames, in_features = inputs.shape
        frames = jnp.moveaxis(inputs.reshape(-1, n_frames, in_features), 1, 0)
        if carry is not None:
            carry = carry.reshape(-1, self.features)
        states = jnp.moveaxis(self.frames_first(frames, carry), 0, 1)
        states = states.reshape(*batch, n_frames, self.features)
        return states, states[..., -1, :]

    def frames_first(
        self,
        inputs: Float[Array, "frames batch features"],
        carry: Float[Array, "batch state"] | None = None,
    ) -> Float[Array, "frames batch state"]:
        """The layer as it runs: a step of the scan is one contiguous (batch, gates) block."""
        same_size("`inputs` and the layer", inputs.shape[-1], self.in_features, "features")
        dtype = jnp.result_type(inputs.dtype, self.kernel[...].dtype)
        weights = (self.kernel, self.recurrent_kernel, self.bias)
        if carry is None:
            carry = jnp.zeros((inputs.shape[1], self.features), dtype)
        return _gru(
            inputs.astype(dtype), carry.astype(dtype), *(w[...].astype(dtype) for w in weights)
        )


@jax.custom_vjp
def _gru(inputs, carry, kernel, recurrent_kernel, bias):
    """States (frames, batch, h) from inputs (frames, batch, in) and the state before them."""

    def step(h, x):
        h = _gates(x + bias[:1], h @ recurrent_kernel + bias[1:], h)[0]
        return h, h

    return jax.lax.scan(step, carry, inputs @ kernel)[1]


def _gates(x, q, h):
    """The next state, and the four gate values that its derivative is made of."""
    xz, xr, xn = jnp.split(x, 3, axis=-1)
    qz, qr, qn = jnp.split(q, 3, axis=-1)
    z, r = jax.nn.sigmoid(xz + qz), jax.nn.sigmoid(xr + qr)
    n = jnp.tanh(xn + r * qn)
    return n + z * (h - n), (z, r, n, qn)


def _gru_forward(inputs, carry, kernel, recurrent_kernel, bias):
    def step(h, x):
        h, gates = _gates(x + bias[:1], h @ recurrent_kernel + bias[1:], h)
        return h, (h, gates)

    states, gates = jax.lax.scan(step, carry, inputs @ kernel)[1]
    return states, (inputs, carry, kernel, recurrent_kernel, states, gates)


def _gru_backward(residuals, states_bar):
    inputs, carry, kernel, recurrent_kernel, states, (z, r, n, qn) = residuals
    previous = jnp.concatenate([carry[None], states[:-1]])

    def step(h_bar, frame):
        state_bar, z, r, n, qn, h = frame
        h_bar = h_bar + state_bar
        n_bar = h_bar * (1 - z) * (1 - n * n)
        z_bar = h_bar * (h - n) * z * (1 - z)
        r_bar = n_bar * qn * r * (1 - r)
        q_bar = jnp.concatenate([z_bar, r_bar, n_bar * r], axis=-1)
        x_bar = jnp.concatenate([z_bar, r_bar, n_bar], axis=-1)
        return h_bar * z + q_bar @ recurrent_kernel.T, x_bar

    frames = (states_bar, z, r, n, qn, previous)
    carry_bar, x_bar = jax.lax.scan(step, jnp.zeros_like(carry), frames, reverse=True)
    zr_bar, n_bar = jnp.split(x_bar, [2 * carry.shape[-1]], axis=-1)
    q_bar = jnp.concatenate([zr_bar, n_bar * r], axis=-1)
    # As two axes: of three, XLA would first write a transposed copy.
    rows, previous, x_bar, q_bar = (
        a.reshape(-1, a.shape[-1]) for a in (inputs, previous, x_bar, q_bar)
    )
    bias_bar = jnp.stack([x_bar.sum(0), q_bar.sum(0)])
    inputs_bar = (x_bar @ kernel.T).reshape(inputs.shape)
    return inputs_bar, carry_bar, rows.T @ x_bar, previous.T @ q_bar, bias_bar


_gru.defvjp(_gru_forward, _gru_backward)
