"""XLA compiles every public operation and the training steps for a TPU v5e and for an H200.

Neither chip is needed; the compilers come with the extras `tpu` and `cuda12`.
"""

import dataclasses

import cases
import compilers
import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from steps import PRESETS, any_instrument_step, autoencoder_step

from ddspx import nn
from ddspx.models.autoencoder import AutoencoderConfig

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def as_users_have_it():
    """Without float64, which no TPU has, and as optimised as a program is elsewhere."""
    jax.config.update("jax_disable_most_optimizations", False)
    with compilers.without_x64():
        yield


@pytest.fixture(params=compilers.PLATFORMS)
def platform(request):
    try:
        compilers.devices(request.param)
    except RuntimeError as error:
        pytest.skip(str(error))
    return request.param


@pytest.mark.parametrize("name", [*cases.CORE, *cases.NN])
def test_values_and_gradients_compile(platform, name):
    function, arguments = (cases.CORE | cases.NN)[name]
    program = compilers.compile_for(platform, function, *cases.shapes(arguments))
    # cuBLAS asks for 4 MB of its own.
    assert program.temporaries < 2**24


@pytest.mark.parametrize("preset", [*PRESETS, "any_instrument"])
def test_training_steps_compile(platform, preset):
    """Of 64 ms: the same operations, but shorter."""
    config = getattr(AutoencoderConfig, preset)()
    config = dataclasses.replace(config, loss_n_ffts=(512, 64))
    make = any_instrument_step if preset == "any_instrument" else autoencoder_step
    step, *arguments = make(config, batch_size=2, n_hops=16)
    program = compilers.compile_for(platform, step, *arguments)
    assert program.temporaries < 2**29


@pytest.mark.parametrize(
    ("layer", "forward", "gradient"), [(nn.Gru, 2400, 5000), (nn.MinGru, 20, 40)]
)
def test_recurrent_layers_start_few_kernels_on_a_gpu(layer, forward, gradient):
    """For 16 x 1001 frames, with the sizes of the shipped models: two a frame and two back."""
    try:
        compilers.devices("cuda")
    except RuntimeError as error:
        pytest.skip(str(error))
    graph, weights = nnx.split(nnx.eval_shape(lambda: layer(384, 256, rngs=nnx.Rngs(0))))

    def states(weights, frames):
        return nnx.merge(graph, weights).frames_first(frames)

    def slope(*arguments):
        return jax.grad(lambda *xs: jnp.sum(states(*xs) ** 2), argnums=(0, 1))(*arguments)

    arguments = weights, jax.ShapeDtypeStruct((1001, 16, 384), jnp.float32)
    for function, most in ((states, forward), (slope, gradient)):
        launches = compilers.compile_for("cuda", function, *arguments).launches
        assert launches is not None and launches <= most
