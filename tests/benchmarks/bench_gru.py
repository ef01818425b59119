"""The GRU, 512 channels, 16 x 1000 frames, beside PyTorch's and JAX's automatic derivative.

Run: ``python tests/benchmarks/bench_gru.py``. ``DDSPX_BENCH_TORCH`` names an interpreter with
PyTorch. The gradient is that of all weights and of the input. The error is against the same layer
in float64, relative to the largest value.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from harness import Rival, compiled, report

from ddspx.nn import Gru
from ddspx.nn._recurrent import _gates, _gru

BATCH, FRAMES, CHANNELS = 16, 1000, 512


def textbook(inputs, carry, kernel, recurrent_kernel, bias):
    """One scan, its derivative left to JAX."""

    def step(h, x):
        h = _gates(x + bias[:1], h @ recurrent_kernel + bias[1:], h)[0]
        return h, h

    return jax.lax.scan(step, carry, inputs @ kernel)[1]


def main() -> None:
    layer = Gru(CHANNELS, CHANNELS, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.standard_normal((FRAMES, BATCH, CHANNELS)), jnp.float32)
    weights = tuple(w[...] for w in (layer.kernel, layer.recurrent_kernel, layer.bias))
    args = (inputs, jnp.zeros((BATCH, CHANNELS), jnp.float32), *weights)

    def forward(gru):
        return lambda *args: gru(*args)

    def gradient(gru):
        return jax.grad(lambda *args: jnp.sum(gru(*args) ** 2), argnums=(0, 2, 3, 4))

    rival = Rival("DDSPX_BENCH_TORCH", Path(__file__).with_name("rival_torch_gru.py"))
    for name, make in (("forward", forward), ("gradient", gradient)):
        with jax.enable_x64(True):
            exact = jax.jit(make(textbook))(*(np.asarray(a, np.float64) for a in args))
            exact = jax.tree.map(np.asarray, exact)

        def error(gru, make=make, exact=exact):
            pairs = zip(
                jax.tree.leaves(jax.jit(make(gru))(*args)), jax.tree.leaves(exact), strict=True
            )
            return f"{max(np.max(np.abs(a - b)) / np.max(np.abs(b)) for a, b in pairs):.0e}"

        cases = {
            "ddspx": compiled(make(_gru), *args, error=error(_gru)),
            "JAX, automatic": compiled(make(textbook), *args, error=error(textbook)),
        }
        if rival.reason:
            print(f"PyTorch skipped: {rival.reason}")
        else:
            cases["PyTorch (whole process)"] = rival.case(name)
        title = f"GRU {CHANNELS}, {name}, {BATCH} x {FRAMES} frames"
        report(title, cases, repeats=5, baseline="ddspx")


if __name__ == "__main__":
    main()
