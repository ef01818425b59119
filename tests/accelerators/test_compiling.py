"""XLA compiles every public operation and the training steps for a TPU v5e and for an H200.

Neither chip is needed; the compilers come with the extras `tpu` and `cuda12`.
"""

import dataclasses

import cases
import compilers
import jax
import pytest
from steps import PRESETS, autoencoder_step

from ddspx.models.autoencoder import AutoencoderConfig

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def as_users_have_it():
    """Without float64, which no TPU has, and as optimised as a program is elsewhere."""
    jax.config.update("jax_disable_most_optimizations", False)
    with jax.enable_x64(False):
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
    assert program.temporaries < 2**22


@pytest.mark.parametrize("preset", PRESETS)
def test_training_steps_compile(platform, preset):
    """Of 64 ms: the same operations, but shorter."""
    config = getattr(AutoencoderConfig, preset)()
    config = dataclasses.replace(config, loss_n_ffts=(512, 64))
    step, *arguments = autoencoder_step(config, batch_size=2, n_hops=16)
    program = compilers.compile_for(platform, step, *arguments)
    assert program.temporaries < 2**29
