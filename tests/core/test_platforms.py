"""Functions with a program for each platform: those of a GPU and a TPU run on a CPU too.

The programs of a CPU are compared with their definitions by the tests of each module.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_contracts as contracts
from helpers import DTYPES, assert_trees_close, quick_jit

from ddspx import core

RATES = {"hop_length": 8, "sample_rate": 8000}
MOVING = np.asarray(core.stable_biquad(jnp.asarray(np.linspace(-1, 1, 150).reshape(2, 5, 3, 5))))
TABLES = np.cos(np.arange(72.0) ** 2).reshape(2, 4, 9)
FUNCTIONS = {
    name: contracts.CASES[name][:2]
    for name in ("harmonic_synthesis", "limiter", "pcen", "variable_delay")
} | {
    "harmonic_synthesis, cubic": (
        partial(core.harmonic_synthesis, **RATES, amplitude_upsampling="cubic", n_samples=27),
        contracts.CASES["harmonic_synthesis"][1],
    ),
    # In two rounds, of which the second is padded.
    "sinusoidal_synthesis": (
        partial(core.sinusoidal_synthesis, **RATES),
        (np.linspace(-300, 4500, 108).reshape(2, 3, 18), np.ones((2, 3, 18))),
    ),
    "losses of spectra": (
        lambda a, b: jnp.stack(
            [
                core.spectral_convergence_loss(a, b, n_ffts=(16, 8)),
                core.complex_spectral_loss(a, b, n_ffts=16),
                core.phase_loss(a, b, n_ffts=16),
                core.mel_spectral_loss(a, b, n_ffts=16, sample_rate=8000, mag_weight=0.5),
            ]
        ),
        (np.sin(np.arange(90.0) ** 2).reshape(3, 30), np.cos(np.arange(90.0)).reshape(3, 30)),
    ),
    # A table for all, tables of frames, and a band-limited one; the audio ends between two frames.
    "wavetable_synthesis": (
        lambda f, a, t: jnp.stack(
            [
                core.wavetable_synthesis(f, a, x, **RATES, n_samples=27, band_limited=limited)
                for x, limited in ((t[:, 0], False), (t, False), (t[0, 0], True))
            ]
        ),
        (np.linspace(-300, 4500, 8).reshape(2, 4), np.ones((2, 4)), TABLES),
    ),
    "sos_filter, moving": (
        partial(core.sos_filter, hop_length=8),
        (np.sin(np.arange(70.0)).reshape(2, 35), MOVING),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_derivatives_are_those_of_a_cpu(name, monkeypatch):
    function, arrays = FUNCTIONS[name]
    arrays = [jnp.asarray(x, DTYPES[-1]) for x in arrays]

    def values(*arrays):
        def total(*arrays):
            out = function(*arrays)
            return jnp.sum(jnp.sin(out)), out

        numbers = tuple(range(len(arrays)))
        (_, out), gradients = jax.value_and_grad(total, numbers, has_aux=True)(*arrays)
        return out, gradients

    on_cpu = quick_jit(values)(*arrays)

    def elsewhere(*arguments, default, tpu=None, **_):
        return (tpu or default)(*arguments)

    monkeypatch.setattr(jax.lax, "platform_dependent", elsewhere)
    # Another function, because JAX keeps the program that it traced.
    again = quick_jit(lambda *arrays: values(*arrays))(*arrays)
    size = max(1.0, *(float(np.abs(x).max()) for x in jax.tree.leaves(on_cpu)))
    assert_trees_close(again, on_cpu, scale=100 * size)
