"""JAX's transformations of every function of the core: both modes, several devices, any batch.

Almost all errors appear when a program is traced, so nothing is compiled here. The tests of each
module check the values of derivatives.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import test_contracts as contracts
from flax import nnx
from helpers import assert_trees_close, quick_jit
from jax import export
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from ddspx import core, nn

MESH = AbstractMesh((2,), ("device",), axis_types=(AxisType.Auto,))
EACH, SAME = PartitionSpec("device"), PartitionSpec()
# Under `shard_map`, the FFT and the split of jax 0.7 have no transpose.
TRANSPOSES = jax.__version_info__ >= (0, 8)
RATES = {"hop_length": 8, "sample_rate": 8000}


@pytest.fixture(autouse=True)
def sizes_may_be_unknown(monkeypatch):
    """The check of annotations knows no size but an int."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def both_modes(f: Callable) -> Callable:
    """The value, and the transpose of its forward derivative: reverse mode by forward mode."""

    def derivative(*xs):
        dots = jax.tree.map(jnp.ones_like, xs)
        (value, moved), transpose = jax.vjp(lambda *dots: jax.jvp(f, xs, dots), *dots)
        cotangents = jax.tree.map(jnp.zeros_like, value), jax.tree.map(jnp.ones_like, moved)
        return value, transpose(cotangents)

    return derivative


def across_devices(f: Callable, is_split: list[bool]) -> Callable:
    """Data in parallel, with JAX's check; an argument is split over the devices or known to all."""
    specs = tuple(EACH if split else SAME for split in is_split)
    return jax.shard_map(f, mesh=MESH, in_specs=specs, out_specs=EACH)


def batches(arguments, n) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct((n, *x.shape[1:]), jnp.float32) for x in arguments]


def assert_leading(tree, n) -> None:
    assert all(leaf.shape[0] == n for leaf in jax.tree.leaves(tree))


CASES = sorted(contracts.CASES.items())
every_case = pytest.mark.parametrize("case", [c for _, c in CASES], ids=[name for name, _ in CASES])


@every_case
def test_derivatives_of_both_modes_trace_across_devices_at_an_unknown_batch_size(case):
    function, arguments, differentiable, _ = case
    (n,) = export.symbolic_shape("n")
    derives = differentiable and TRANSPOSES
    program = both_modes(function) if derives else function
    shapes = batches(arguments, 2 * n)
    result = jax.eval_shape(across_devices(program, [True] * len(arguments)), *shapes)
    assert_leading(result, 2 * n)
    if derives:
        assert [x.shape for x in result[1]] == [x.shape for x in shapes]


@pytest.mark.parametrize(
    "case", [c for _, c in CASES if len(c[1]) > 1], ids=[name for name, c in CASES if len(c[1]) > 1]
)
def test_replicated_and_sharded_arguments_are_combined(case):
    function, arguments = case[:2]
    for position in (0, len(arguments) - 1):
        is_split = [i == position for i in range(len(arguments))]
        shapes = [batches([x], 1 + split)[0] for x, split in zip(arguments, is_split, strict=True)]
        assert_leading(jax.eval_shape(across_devices(function, is_split), *shapes), 2)


@every_case
def test_an_empty_batch_stays_empty(case):
    function, arguments = case[:2]
    assert_leading(jax.eval_shape(function, *batches(arguments, 0)), 0)


def test_an_empty_batch_runs():
    names = "harmonic_synthesis", "sinusoidal_synthesis", "rms", "frequencies_softmax"
    used = [contracts.CASES[name] for name in names]

    @jax.jit
    def run(batch):
        return [case[0](*arrays) for case, arrays in zip(used, batch, strict=True)]

    empty = [[jnp.asarray(x[:0], jnp.float32) for x in case[1]] for case in used]
    assert_leading(run(empty), 0)


STEPS = {
    "harmonic_synthesis": lambda f, a, d: core.harmonic_synthesis_step(
        core.harmonic_synthesis_init(batch_shape=f.shape[:-1]), f, a, d, **RATES
    ),
    "sinusoidal_synthesis": lambda f, a: core.sinusoidal_synthesis_step(
        core.sinusoidal_synthesis_init(n_sinusoids=2, batch_shape=f.shape[:-2]), f, a, **RATES
    ),
    "wavetable_synthesis": lambda f, a, t: core.wavetable_synthesis_step(
        core.wavetable_synthesis_init(batch_shape=f.shape[:-1]), f, a, t, **RATES
    ),
    "sos_filter": lambda x, sos: core.sos_filter_step(core.sos_filter_init(sos), x, sos),
    "allpole": lambda x, a: core.allpole_step(core.allpole_init(a), x, a),
    "pcen": lambda e, s: core.pcen_step(jnp.zeros_like(e, shape=e.shape[-1:]), e, s),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_fresh_state_is_combined_with_sharded_data(name):
    arguments = contracts.CASES[name][1]
    step = across_devices(STEPS[name], [True] * len(arguments))
    _, out = jax.eval_shape(lambda *xs: step(*xs), *batches(arguments, 2))
    assert_leading(out, 2)


def test_programs_with_a_custom_transpose_are_lowered_across_devices():
    """Where a type is wrong within a linear system, JAX only sees it when it lowers the program."""
    if not TRANSPOSES:
        pytest.skip("the transposes of jax 0.7 lack types of their own")
    harmonics = contracts.CASES["harmonic_synthesis"]
    moving = partial(core.sos_filter, hop_length=8)
    sections = np.tile([1.0, 0, 0, 1, -0.5, 0], (2, 4, 1, 1))
    for function, arguments in (harmonics[:2], (moving, (contracts.AUDIO, sections))):
        program = jax.jit(across_devices(both_modes(function), [True] * len(arguments)))
        program.trace(*batches(arguments, 2)).lower(lowering_platforms=("cpu",))


RULES = {
    # Functions with a hand-written derivative.
    "harmonic_synthesis": None,
    "pulse": None,
    "wavetable_synthesis": None,
    "cumulative_phase": None,
    "multi_scale_spectral_loss": None,
    "Gru": 2,
    "MinGru": 2,
    "FcStack": 2,
}


@pytest.mark.parametrize("name", RULES)
def test_the_value_that_a_derivative_rule_returns_is_differentiable(name, rng):
    """Else a second derivative of anything but a sum of outputs lacks the product of the first."""
    if features := RULES[name]:
        function, arguments = layer(name), [rng.normal(0, 1, (2, 5, features))]
    else:
        function, arguments = contracts.CASES[name][:2]

    @quick_jit
    def both(*xs):
        dots = jax.tree.map(jnp.cos, xs)

        def value(*xs):
            return jax.jvp(function, xs, dots)[0]

        return jax.jvp(function, xs, dots)[1], jax.jvp(value, xs, dots)[1]

    tangents, again = both(*(jnp.asarray(x, jnp.float32) for x in arguments))
    size = min(np.abs(x).max() for x in jax.tree.leaves(tangents))
    assert size > 0
    assert_trees_close(again, tangents, scale=30 * size)


def test_a_program_of_an_unknown_batch_size_is_exported_and_runs(rng):
    (n,) = export.symbolic_shape("n")
    function, arguments = contracts.CASES["harmonic_synthesis"][:2]
    exported = export.export(jax.jit(function))(*batches(arguments, n))
    arrays = [jnp.asarray(np.concatenate([x, x[:1]]), jnp.float32) for x in arguments]
    np.testing.assert_allclose(exported.call(*arrays), jax.jit(function)(*arrays), atol=1e-5)


def layer(name: str) -> nnx.Module:
    rngs = nnx.Rngs(0)
    if name == "Gru":
        return nn.Gru(2, 3, rngs=rngs)
    if name == "MinGru":
        return nn.MinGru(2, 3, rngs=rngs)
    if name == "FcStack":
        return nn.FcStack(2, 3, 2, rngs=rngs)
    return nn.SpectralFrontend(getattr(nn.FrontendConfig, name)(), rngs=rngs)


@pytest.mark.parametrize("name", ["Gru", "MinGru", "FcStack", "learnable", "leaf", "pcen_mel"])
def test_layers_with_replicated_weights_take_sharded_data(name):
    graph, state = nnx.split(layer(name))
    inputs = jnp.zeros((2, 5, 2) if name in ("Gru", "MinGru", "FcStack") else (2, 500), jnp.float32)

    def loss(state, inputs):
        return jnp.sum(jax.tree.leaves(nnx.merge(graph, state)(inputs))[0])[None]

    split = jax.shard_map(loss, mesh=MESH, in_specs=(SAME, EACH), out_specs=EACH)
    if not TRANSPOSES:
        assert jax.eval_shape(split, state, inputs).shape == (2,)
        return
    gradients = jax.eval_shape(jax.grad(lambda s, x: jnp.sum(split(s, x)), (0, 1)), state, inputs)
    assert gradients[1].shape == inputs.shape


@pytest.mark.parametrize("name", ["Gru", "MinGru", "FcStack", "pcen_mel", "leaf", "sincnet"])
def test_layers_take_an_empty_batch_and_refuse_integers(name):
    shape = (0, 5, 2) if name in ("Gru", "MinGru", "FcStack") else (0, 500)
    module = layer(name)
    assert_leading(jax.eval_shape(module, jax.ShapeDtypeStruct(shape, jnp.float32)), 0)
    for dtype in ("int16", "float16", "complex64"):
        with pytest.raises(TypeError, match=f"must be float32 or float64, got {dtype}"):
            module(jnp.zeros(shape, dtype))


def test_a_decoder_keeps_its_carry_across_devices():
    sizes = {"rnn_channels": 4, "fc_channels": 4, "fc_layers": 1}
    decoder = nn.RnnFcDecoder((1, 1), 3, **sizes, rngs=nnx.Rngs(0))

    def decode(x):
        return decoder.step(decoder.init(batch_shape=x.shape[:1]), (x, x))

    split = across_devices(decode, [True])
    state, outputs = jax.eval_shape(split, jax.ShapeDtypeStruct((2, 5, 1), jnp.float32))
    assert_leading((outputs, state), 2)
