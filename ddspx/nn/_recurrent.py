"""Recurrent layers whose derivatives are fast on long control sequences."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx._checks import at_least_ndim, floats, same_size, size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._numerics import varying_alike

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

    The derivative is written by hand, for forward and reverse mode. Automatic differentiation
    would add to the gradient of `U` at every step of the backward scan. Here the scan carries only
    the gradient of the state; after it, one matrix product over all frames gives the gradient of
    each weight.

    Args:
      in_features: size of a frame's input. Static.
      features: size of the state, and of a frame's output. Static.
      rngs: draws the initial weights: Glorot-uniform `kernel`, orthogonal
        `recurrent_kernel`, zero `bias` (input row, state row), gates in the order z, r, n.

    Raises:
      TypeError: a size is not an int, or (on call) the input neither float32 nor float64.
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
        self.in_features = size("in_features", in_features)
        self.features = size("features", features)
        gates = 3 * features
        self.kernel = nnx.Param(_glorot(rngs.params(), (in_features, gates), jnp.float32))
        self.recurrent_kernel = nnx.Param(
            _orthogonal(rngs.params(), (features, gates), jnp.float32)
        )
        self.bias = nnx.Param(jnp.zeros((2, gates), jnp.float32))

    def __call__(
        self,
        inputs: Float[ArrayLike, "*batch frames features"],
        carry: Float[ArrayLike, "*batch state"] | None = None,
    ) -> tuple[Float[Array, "*batch frames state"], Float[Array, "*batch state"]]:
        """Runs over the frames from `carry` (zeros by default).

        Returns:
          The state after every frame, and the last state. Given as `carry` of the next call, it
          continues the sequence as if it had not been split.
        """
        return _batch_first(self, inputs, carry)

    def frames_first(
        self,
        inputs: Float[ArrayLike, "frames batch features"],
        carry: Float[ArrayLike, "batch state"] | None = None,
    ) -> Float[Array, "frames batch state"]:
        """The layer with the frame axis first: each step of the scan reads contiguous memory."""
        (inputs,) = floats(inputs=inputs)
        same_size("`inputs` and the layer", inputs.shape[-1], self.in_features, "features")
        dtype = jnp.result_type(inputs.dtype, self.kernel[...].dtype)
        weights = (self.kernel, self.recurrent_kernel, self.bias)
        start = jnp.zeros((inputs.shape[1], self.features)) if carry is None else jnp.asarray(carry)
        arrays = (inputs, start, *(w[...] for w in weights))
        return _gru(*varying_alike(*(x.astype(dtype) for x in arrays)))


class MinGru(nnx.Module):
    r"""Minimal gated recurrent unit, causal, over the frames of a control sequence.

    .. math::
        z_t = \sigma(W_z x_t + b_z), \quad c_t = W_c x_t + b_c, \quad
        h_t = (1 - z_t)\, h_{t-1} + z_t\, c_t.

    Gate and candidate depend on the input alone, unlike those of a `Gru`. So they are matrix
    products over all frames, and the state is a moving average whose weights are known beforehand.
    On a GPU it is computed for all frames at the same time: neighbouring frames are composed, then
    pairs of frames, then pairs of these, and so on. Elsewhere a loop goes through short blocks of
    frames. The layer holds :math:`2 h (in + 1)` numbers. To hold as many as a `Gru`, it needs more
    than twice its `features`.

    The derivative is written by hand, for forward and reverse mode. It keeps the gate, the
    candidate and the state of each frame, and computes the tangent of the states as an average of
    the same kind.

    Args:
      in_features: size of a frame's input. Static.
      features: size of the state, and of a frame's output. Static.
      rngs: draws the initial weights: Glorot-uniform `kernel`, zero `bias`, first the gate's,
        then the candidate's.

    Raises:
      TypeError: a size is not an int, or (on call) the input neither float32 nor float64.
      ValueError: a size is below 1, or (on call) the input does not have `in_features`.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import MinGru
      >>> layer = MinGru(2, 3, rngs=nnx.Rngs(0))
      >>> frames = jnp.ones((4, 10, 2), jnp.float32)
      >>> whole, _ = layer(frames)
      >>> head, carry = layer(frames[:, :6])
      >>> tail, _ = layer(frames[:, 6:], carry)
      >>> bool(jnp.allclose(jnp.concatenate([head, tail], 1), whole, atol=1e-6))
      True

    References:
      Feng et al., `Were RNNs All We Needed? <https://arxiv.org/abs/2410.01201>`_, 2024, section
      3.1.
    """

    def __init__(self, in_features: int, features: int, *, rngs: nnx.Rngs):
        self.in_features = size("in_features", in_features)
        self.features = size("features", features)
        # Each half is drawn for its own number of outputs.
        halves = [_glorot(rngs.params(), (in_features, features), jnp.float32) for _ in range(2)]
        self.kernel = nnx.Param(jnp.concatenate(halves, axis=-1))
        self.bias = nnx.Param(jnp.zeros(2 * features, jnp.float32))

    def __call__(
        self,
        inputs: Float[ArrayLike, "*batch frames features"],
        carry: Float[ArrayLike, "*batch state"] | None = None,
    ) -> tuple[Float[Array, "*batch frames state"], Float[Array, "*batch state"]]:
        """Runs over the frames from `carry` (zeros by default).

        Returns:
          The state after every frame, and the last state. Given as `carry` of the next call, it
          continues the sequence as if it had not been split.
        """
        return _batch_first(self, inputs, carry)

    def frames_first(
        self,
        inputs: Float[ArrayLike, "frames batch features"],
        carry: Float[ArrayLike, "batch state"] | None = None,
    ) -> Float[Array, "frames batch state"]:
        """The layer with the frame axis first, so that a frame is contiguous in memory."""
        (inputs,) = floats(inputs=inputs)
        same_size("`inputs` and the layer", inputs.shape[-1], self.in_features, "features")
        dtype = jnp.result_type(inputs.dtype, self.kernel[...].dtype)
        start = jnp.zeros((inputs.shape[1], self.features)) if carry is None else jnp.asarray(carry)
        arrays = (inputs, start, self.kernel[...], self.bias[...])
        return _min_gru(*varying_alike(*(x.astype(dtype) for x in arrays)))


def _batch_first(layer, inputs, carry):
    """A layer's states of inputs (*batch, frames, features), and the last state."""
    inputs = jnp.asarray(inputs)
    at_least_ndim("inputs", inputs.shape, 2, "(*batch, frames, features)")
    *batch, n_frames, in_features = inputs.shape
    frames = jnp.moveaxis(inputs.reshape(-1, n_frames, in_features), 1, 0)
    if carry is not None:
        carry = jnp.asarray(carry).reshape(-1, layer.features)
    states = jnp.moveaxis(layer.frames_first(frames, carry), 0, 1)
    states = states.reshape(*batch, n_frames, layer.features)
    return states, states[..., -1, :]


@jax.custom_jvp
def _gru(inputs, carry, kernel, recurrent_kernel, bias):
    """States (frames, batch, h) from inputs (frames, batch, in) and the state before them."""
    return _forward(inputs, carry, kernel, recurrent_kernel, bias)[0]


def _forward(inputs, carry, kernel, recurrent_kernel, bias):
    """The states of all frames, and the values of the gates that the derivative needs."""

    def step(h, x):
        h, gates = _gates(x + bias[:1], h @ recurrent_kernel + bias[1:], h)
        return h, (h, gates)

    def block(h, frames):
        # The product of these few frames stays in the cache. And a CPU's loop over the gates can
        # only be vectorized if it does not read the number of the frame, as it would to take one
        # frame out of the products of all.
        return jax.lax.scan(step, h, _rows(frames, kernel), unroll=True)

    on_gpu, elsewhere = (partial(_in_blocks, block, longest) for longest in (16, 8))
    return _by_platform(on_gpu, elsewhere, carry, inputs)


def _in_blocks(block, longest, carry, inputs):
    """Goes through blocks of at most `longest` frames; returns the outputs of all frames."""
    n_frames = inputs.shape[0]
    length = _block_length(n_frames, longest)
    rest = n_frames % length
    blocks = inputs[: n_frames - rest]
    blocks = blocks.reshape(n_frames // length, length, *inputs.shape[1:])
    carry, outputs = jax.lax.scan(block, carry, blocks)
    outputs = jax.tree.map(lambda x: x.reshape(n_frames - rest, *x.shape[2:]), outputs)
    if not rest:
        return outputs
    last = block(carry, inputs[n_frames - rest :])[1]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), outputs, last)


def _gates(x, q, h):
    """The next state, and the four values of the gates that its derivative needs."""
    xz, xr, xn = jnp.split(x, 3, axis=-1)
    qz, qr, qn = jnp.split(q, 3, axis=-1)
    z, r = jax.nn.sigmoid(xz + qz), jax.nn.sigmoid(xr + qr)
    n = jnp.tanh(xn + r * qn)
    return n + z * (h - n), (z, r, n, qn)


@_gru.defjvp
def _gru_jvp(primals, tangents):
    """Computes the parts of the gates' tangents that do not depend on the state's tangent first.

    They are matrix products over all frames. The loop, and its transpose, only carry the tangent
    of the state.
    """
    inputs, carry, kernel, recurrent_kernel, _ = primals
    inputs_dot, carry_dot, kernel_dot, recurrent_dot, bias_dot = tangents
    states, (z, r, n, qn) = _forward(*primals)
    previous = jnp.concatenate([carry[None], states[:-1]])
    x_dot = _rows(inputs_dot, kernel) + _rows(inputs, kernel_dot) + bias_dot[:1, None]
    q_dot = _rows(previous, recurrent_dot) + bias_dot[1:, None]
    gates_dot = x_dot + q_dot * jnp.concatenate([jnp.ones_like(r), jnp.ones_like(r), r], axis=-1)
    # Transposed once here, and not at every step of the transposed loop.
    transposed_kernel = recurrent_kernel.T

    # The transpose stores only the gates and recomputes their products, to save memory.
    @partial(jax.checkpoint, prevent_cse=False)
    def move(h_dot, frame):
        gates_dot, z, r, n, qn, h = frame
        xz_dot, xr_dot, xn_dot = jnp.split(gates_dot, 3, axis=-1)
        h_projected = jax.lax.dot_general(h_dot, transposed_kernel, (((1,), (1,)), ((), ())))
        qz_dot, qr_dot, qn_dot = jnp.split(h_projected, 3, axis=-1)
        r_dot = (xr_dot + qr_dot) * r * (1 - r)
        n_dot = (xn_dot + r * qn_dot + qn * r_dot) * (1 - n * n)
        z_dot = (xz_dot + qz_dot) * z * (1 - z)
        h_dot = z * h_dot + (1 - z) * n_dot + (h - n) * z_dot
        return h_dot, h_dot

    def scan(longest, carry_dot, frames):
        unroll = _block_length(frames[0].shape[0], longest)
        return jax.lax.scan(move, carry_dot, frames, unroll=unroll)[1]

    def moved(carry_dot, gates_dot):
        frames = (gates_dot, z, r, n, qn, previous)
        return _by_platform(partial(scan, 16), partial(scan, 1), carry_dot, frames)

    # `moved` is linear, so it is its own derivative. jax 0.7 can transpose it only in this form.
    dots = (carry_dot, gates_dot)
    return states, jax.jvp(moved, tuple(map(jnp.zeros_like, dots)), dots)[1]


@jax.custom_jvp
def _min_gru(inputs, carry, kernel, bias):
    """States (frames, batch, h) from inputs (frames, batch, in) and the state before them."""
    return _averages(inputs, carry, kernel, bias)[0]


def _averages(inputs, carry, kernel, bias):
    """The states of all frames, their gates and their candidates."""

    def weighed(frames):
        gate, candidate = jnp.split(_rows(frames, kernel) + bias[None, None], 2, axis=-1)
        return jax.nn.sigmoid(gate), candidate

    def step(h, frame):
        h = h + frame[0] * (frame[1] - h)
        return h, h

    def block(h, frames):
        # As for the GRU.
        z, c = weighed(frames)
        h, states = jax.lax.scan(step, h, (z, c), unroll=True)
        return h, (states, z, c)

    def at_once(carry, inputs):
        z, c = weighed(inputs)
        return _all_at_once(carry, z, z * c), z, c

    return _by_platform(at_once, partial(_in_blocks, block, 8), carry, inputs)


@_min_gru.defjvp
def _min_gru_jvp(primals, tangents):
    """The tangent is an average too, of all that moves a state besides the state before it."""
    inputs, carry, kernel, _ = primals
    inputs_dot, carry_dot, kernel_dot, bias_dot = tangents
    states, z, c = _averages(*primals)
    previous = jnp.concatenate([carry[None], states[:-1]])
    dots = _rows(inputs_dot, kernel) + _rows(inputs, kernel_dot) + bias_dot[None, None]
    gate_dot, c_dot = jnp.split(dots, 2, axis=-1)
    change = z * c_dot + (c - previous) * z * (1 - z) * gate_dot

    def step(h_dot, frame):
        h_dot = (1 - frame[0]) * h_dot + frame[1]
        return h_dot, h_dot

    def one_by_one(carry_dot, z, change):
        return jax.lax.scan(step, carry_dot, (z, change))[1]

    def moved(carry_dot, change):
        return _by_platform(_all_at_once, one_by_one, carry_dot, z, change)

    # As for the GRU.
    dots = (carry_dot, change)
    return states, jax.jvp(moved, tuple(map(jnp.zeros_like, dots)), dots)[1]


def _all_at_once(carry, gates, changes):
    """All states h = (1 - z) h' + d, in 2 log2(frames) rounds.

    A loop takes less memory, which a CPU and a TPU mind more than its rounds.
    """

    def compose(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    decays, states = jax.lax.associative_scan(compose, (1 - gates, changes))
    return states + decays * carry[None]


def _by_platform(on_gpu, elsewhere, *arguments):
    """The result of one of two programs; for a GPU of the one that takes few rounds of a loop.

    Each round starts kernels there: one that counts, one that stores each output.
    """
    return jax.lax.platform_dependent(*arguments, cuda=on_gpu, rocm=on_gpu, default=elsewhere)


def _block_length(n_frames, longest):
    """The length, from half of `longest` on, of blocks that leave the fewest frames over."""
    lengths = range(longest // 2 + 1, longest + 1)
    return max(1, min(n_frames, min(lengths, key=lambda length: (n_frames % length, -length))))


def _rows(frames, kernel):
    """The matrix product with the frames flattened to rows.

    For a product of three-dimensional arrays, XLA would first write a transposed copy.
    """
    product = frames.reshape(math.prod(frames.shape[:-1]), frames.shape[-1]) @ kernel
    return product.reshape(*frames.shape[:-1], product.shape[-1])
