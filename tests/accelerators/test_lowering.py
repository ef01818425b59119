"""Every public operation has a program for TPU and for CUDA. Nothing is compiled here."""

import inspect

import cases
import jax
import pytest
import test_contracts as contracts
from compilers import without_x64
from flax import nnx
from jax import export

from ddspx import core, nn


@pytest.fixture(autouse=True)
def as_users_have_it():
    """Without float64, which no TPU has."""
    with without_x64():
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", [*cases.CORE, *cases.NN])
def test_values_and_gradients_are_lowered(name):
    function, arguments = (cases.CORE | cases.NN)[name]
    program = export.export(jax.jit(function), platforms=("tpu", "cuda"))
    assert program(*cases.shapes(arguments)).platforms == ("tpu", "cuda")


def test_every_function_and_module_is_a_case():
    tables = {
        # They are made on the host, or are sizes.
        *("chain", "frequency_grid", "hann_window", "interpolation_weights", "mel_filterbank"),
        *("log_frequency_filterbank", "n_frames", "pitch_transition"),
    }
    functions = contracts.CASES.keys() | contracts.STREAMED.keys() | contracts.STATIC
    assert functions - tables == cases.CORE.keys()
    modules = {
        name
        for name in nn.__all__
        if inspect.isclass(value := getattr(nn, name)) and issubclass(value, nnx.Module)
    }
    assert modules == {name.partition(".")[0] for name in cases.NN}
    assert core.__all__
