from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    DTYPES,
    assert_close,
    assert_finite_grads,
    check_grads,
    compiled,
)

from ddspx import core
from ddspx.core.synthesis import _harmonic_recurrence, _harmonic_sines

harmonic_synthesis = compiled(core.harmonic_synthesis)

SAMPLE_RATE, HOP = 16000, 16
RATES = {"hop_length": HOP, "sample_rate": SAMPLE_RATE}


def decibels(error: np.ndarray, signal: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(error**2) / np.mean(np.asarray(signal) ** 2)))


def glide(rng, frames: int, low=60.0, high=900.0) -> np.ndarray:
    """A pitch that varies randomly over the whole range."""
    sweep = 0.5 - 0.5 * np.cos(np.linspace(0, 2 * np.pi, frames) + rng.uniform(0, 2 * np.pi))
    wander = rng.normal(0, 0.03, frames)
    return np.clip(low * (high / low) ** sweep * np.exp(wander), low, high)


def definition(f0_hz, amplitudes, distribution, hop_length, sample_rate, method, n_samples=None):
    """The docstring's sums, written out in float64 for one example."""
    f0_hz, amplitudes, distribution = (
        np.asarray(x, np.float64) for x in (f0_hz, amplitudes, distribution)
    )
    frames, n_harmonics = distribution.shape
    n_samples = (frames - 1) * hop_length if n_samples is None else n_samples
    offsets, weights = core.interpolation_weights(hop_length, method)
    audio, phase = np.zeros(n_samples), 0.0
    products = amplitudes[:, None] * distribution
    for n in range(n_samples):
        i, j = divmod(n, hop_length)
        held = i == frames - 1
        following = f0_hz[i] if held else f0_hz[i + 1]
        phase += (f0_hz[i] + (following - f0_hz[i]) * j / hop_length) / sample_rate
        for k in range(1, n_harmonics + 1):
            amplitude = 0.0
            for offset, weight in zip(offsets, weights[:, j], strict=True):
                m = i if held else min(max(i + offset, 0), frames - 1)
                near = f0_hz[max(m - offsets[-1], 0) : m - offsets[0] + 2]
                if k * near.max() < sample_rate / 2:
                    amplitude += weight * products[m, k - 1]
            audio[n] += amplitude * np.sin(2 * np.pi * k * phase)
    return audio


@lru_cache
def synthesizer(method="hann", n_samples=None):
    return jax.jit(
        partial(core.harmonic_synthesis, **RATES, amplitude_upsampling=method, n_samples=n_samples)
    )


def joined(phase) -> np.ndarray:
    """Cycles in fixed point of 64 bits."""
    high, low = (np.asarray(limb, np.uint64) for limb in phase)
    return (high << np.uint64(32)) | low


def controls(rng, frames=12, n_harmonics=20, batch=(), **kwargs):
    f0_hz = np.stack([glide(rng, frames, **kwargs) for _ in range(int(np.prod(batch)))])
    return (
        f0_hz.reshape(*batch, frames),
        rng.uniform(0, 1, (*batch, frames)),
        rng.uniform(0, 1, (*batch, frames, n_harmonics)),
    )


# values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["nearest", "linear", "cubic", "hann"])
def test_results_equal_the_definition(method, dtype, rng):
    args = [x.astype(dtype) for x in controls(rng)]
    reaches_nyquist = args[0] * 20 >= SAMPLE_RATE / 2
    assert reaches_nyquist.any() and not reaches_nyquist.all()
    audio = synthesizer(method)(*args)
    assert audio.dtype == dtype
    expected = definition(*args, HOP, SAMPLE_RATE, method)
    assert decibels(audio - expected, expected) < (-115 if dtype == np.float32 else -240)


@pytest.mark.parametrize("method", ["cubic", "hann"])
def test_holds_the_last_frame(method, rng):
    args = [x.astype(DTYPES[-1]) for x in controls(rng)]
    n_samples = 11 * HOP + 9
    audio = synthesizer(method, n_samples)(*args)
    expected = definition(*args, HOP, SAMPLE_RATE, method, n_samples)
    assert audio.shape == (n_samples,)
    assert decibels(audio - expected, expected) < -115
    assert_close(audio[: 11 * HOP], synthesizer(method)(*args), scale=20)


# That of a CPU, and that of a GPU and a TPU.
programs = pytest.mark.parametrize(
    "program", [_harmonic_recurrence, _harmonic_sines], ids=["recurrence", "sines"]
)


@programs
@pytest.mark.parametrize("n_taps", [2, 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_program_of_each_platform_equals_the_definition(dtype, n_taps, program, rng):
    """Sum, slope, and cotangent of the taps, with phases and weights chosen freely."""
    shape, hop_length, k = (3, 5), 7, 11
    bits = np.iinfo(np.uint32 if dtype == np.float32 else np.uint64)
    cycles = rng.integers(0, bits.max, (*shape, hop_length), bits.dtype, endpoint=True)
    taps = rng.normal(size=(n_taps, *shape, k)).astype(dtype)
    weights = rng.normal(size=(n_taps, hop_length)).astype(dtype)
    cotangent = rng.normal(size=cycles.shape).astype(dtype)
    number = np.arange(1, k + 1)
    turns = 2 * np.pi * number * (cycles.astype(np.float64) / 2.0**bits.bits)[..., None]
    amplitudes = np.einsum("tj,t...k->...jk", *(x.astype(np.float64) for x in (weights, taps)))
    expected = (
        (amplitudes * np.sin(turns)).sum(-1),
        (number * amplitudes * np.cos(turns)).sum(-1),
        np.einsum("tj,...j,...jk->t...k", weights, cotangent, np.sin(turns)),
    )

    @jax.jit
    def run(cycles, taps, weights, cotangent):
        sums = [program.sum_of_harmonics(cycles, taps, weights, slope=s) for s in (False, True)]
        return *sums, jnp.stack(program.taps_adjoint(cycles, cotangent, weights, n_harmonics=k))

    for got, want in zip(run(cycles, tuple(taps), weights, cotangent), expected, strict=True):
        assert got.dtype == dtype
        bound = 2e-6 if dtype == np.float32 else 2e-14
        assert np.abs(got - want).max() < bound * np.abs(want).max()


# One chunk of harmonics, and two of which the second is padded.
@pytest.mark.parametrize("k", [100, 149])
@pytest.mark.parametrize("slope", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@programs
def test_programs_are_accurate_at_the_ends(program, dtype, slope, k):
    # The sum and its derivative without the mask, of the last harmonic. One sample a hop:
    # phases chosen freely, near 0 and pi where the plain recurrence fails.
    near = np.array([0, 1e-7, 1e-5, 1e-3, 0.1, 0.25, 0.4, 0.4999, 0.499999, 0.5])
    cycles = np.concatenate([near, 1 - near, np.linspace(0, 1, 101)]) % 1
    step_hz = (np.diff(cycles, append=0.0) % 1 * SAMPLE_RATE).astype(dtype)
    phase = np.cumsum(step_hz.astype(np.float64) / SAMPLE_RATE)
    bank = jnp.zeros((len(cycles), k), dtype).at[:, -1].set(1.0)
    turns = 2 * np.pi * k * phase
    expected = k * np.cos(turns) if slope else np.sin(turns)
    fixed = jnp.asarray((phase % 1 * 2**32).round() % 2**32, jnp.uint32)[:, None]
    # Linear between frames: at its first sample a hop is the frame.
    weights = jnp.asarray([[1], [0]], dtype)
    audio = program.sum_of_harmonics(fixed, (bank, bank), weights, slope=slope)[:, 0]
    # float32 turns the phase with an error of 2**-26 of a quarter cycle, a hundred times that in
    # the harmonic; the plain recurrence is out by 1e-3 here.
    bound = (2e-7 if dtype == np.float32 else 2e-9) * k * (k if slope else 1)
    assert np.abs(audio - expected).max() < bound


# physics


def test_one_harmonic_is_a_sine_from_its_first_increment():
    ones = jnp.ones(11, DTYPES[-1])
    audio = synthesizer()(1000 * ones, ones, ones[:, None])
    expected = np.sin(2 * np.pi * np.arange(1, 10 * HOP + 1) / 16)
    assert_close(audio, expected, scale=4)


def test_silent_at_and_above_nyquist():
    ones = jnp.ones(5)
    for f0_hz, silent_from in [(2000.0, 3), (2667.0, 2), (8000.0, 0), (20000.0, 0)]:
        for k in range(4):
            distribution = jnp.zeros((5, 4)).at[:, k].set(1.0)
            audio = synthesizer()(f0_hz * ones, ones, distribution)
            assert (np.abs(audio).max() > 0.5) == (k < silent_from)


@pytest.mark.parametrize("method", ["linear", "cubic", "hann"])
def test_a_glide_through_nyquist_neither_aliases_nor_clicks(method):
    frames = 101
    f0_hz = np.linspace(7000, 9000, frames)
    ones = np.ones(frames)
    audio = np.asarray(synthesizer(method)(f0_hz, ones, ones[:, None]))
    instantaneous = np.interp(np.arange(len(audio)), np.arange(frames) * HOP, f0_hz)
    assert np.all(audio[instantaneous >= 8000] == 0)
    sines = np.sin(2 * np.pi * np.cumsum(instantaneous / SAMPLE_RATE))
    well_below = instantaneous < 7900
    np.testing.assert_allclose(audio[well_below], sines[well_below], atol=1e-4)
    # In between it fades over a hop or two: no step from one sample to the next.
    loud = np.abs(sines) > 0.3
    gain = audio[loud] / sines[loud]
    assert np.abs(np.diff(gain) / np.diff(np.flatnonzero(loud))).max() < 2.5 / HOP


@pytest.mark.slow
def test_ten_minutes_of_a_glide_stay_within_80_db():
    minutes, hop_length, n_harmonics = 10, 64, 100
    frames = 1 + minutes * 60 * SAMPLE_RATE // hop_length
    sweep = 0.5 - 0.5 * np.cos(np.linspace(0, 22 * np.pi, frames))
    f0_hz = (30 * (4000 / 30) ** sweep).astype(np.float32)
    ones = np.ones(frames, np.float32)
    distribution = np.full((frames, n_harmonics), 1 / n_harmonics, np.float32)
    audio = jax.jit(
        partial(core.harmonic_synthesis, hop_length=hop_length, sample_rate=SAMPLE_RATE)
    )(f0_hz, ones, distribution)

    exact = f0_hz.astype(np.longdouble)
    u = np.arange(hop_length) / np.longdouble(hop_length)
    increments = (exact[:-1, None] + np.diff(exact)[:, None] * u) / SAMPLE_RATE
    hops = np.cumsum(increments.sum(-1)) - increments.sum(-1)
    worst = -np.inf
    highest = np.maximum(np.maximum(np.roll(f0_hz, 1), np.roll(f0_hz, -1)), f0_hz)
    k = np.arange(1, n_harmonics + 1)
    audible = (highest[:, None] * k < SAMPLE_RATE / 2) / n_harmonics
    _, weights = core.interpolation_weights(hop_length, "hann")
    for start in range(1, frames - 40, frames // 60):
        rows = slice(start, start + 30)
        cycles = (hops[rows, None] + np.cumsum(increments[rows], -1)) % 1
        sines = np.sin(2 * np.pi * np.asarray(cycles, np.float64)[..., None] * k)
        amplitude = (
            audible[rows, None] * weights[0][:, None]
            + audible[start + 1 : start + 31, None] * weights[1][:, None]
        )
        expected = (amplitude * sines).sum(-1).reshape(-1)
        got = np.asarray(audio[start * hop_length : (start + 30) * hop_length], np.float64)
        worst = max(worst, decibels(got - expected, expected))
    assert worst < -100, worst


# streaming


@pytest.mark.parametrize("method", ["nearest", "linear", "hann"])
def test_blocks_equal_the_whole(method, rng):
    f0_hz, amplitudes, distribution = (jnp.asarray(x) for x in controls(rng, batch=(2,)))
    # At the seams, after frames 1 and 6, harmonics are about to reach Nyquist or just did.
    f0_hz = f0_hz.at[:, jnp.array([0, 1, 2, 5, 6, 7])].set(
        jnp.array([450.0, 300, 290, 300, 310, 500])
    )
    rates = RATES | {"amplitude_upsampling": method}
    step = jax.jit(partial(core.harmonic_synthesis_step, **rates))
    start = core.harmonic_synthesis_init(batch_shape=(2,), dtype=f0_hz.dtype)

    def stream(look_ahead):
        state, blocks = start, []
        for first, last in [(0, 1), (1, 6), (6, 11)]:
            rows = slice(first, last + 1)
            after = f0_hz[:, last + 1] if look_ahead and last < 11 else jnp.zeros(2, f0_hz.dtype)
            state, block = step(
                state, f0_hz[:, rows], amplitudes[:, rows], distribution[:, rows], next_f0_hz=after
            )
            blocks.append(block)
        return state, np.concatenate(blocks, -1)

    whole = harmonic_synthesis(f0_hz, amplitudes, distribution, **rates)
    state, blocks = stream(look_ahead=True)
    np.testing.assert_allclose(blocks, whole, atol=1e-5)
    end = core.advance_phase(f0_hz, **RATES)
    # To the bit in float32; in float64 increments are rounded, which compilers do differently.
    ahead = joined(state.phase) - joined(end)
    assert np.abs(ahead.astype(np.int64)).max() <= (0 if f0_hz.dtype == np.float32 else 2**20)
    np.testing.assert_array_equal(state.previous_f0_hz, f0_hz[:, -2])
    # The pitch after a block matters.
    if method != "nearest":
        assert np.abs(stream(look_ahead=False)[1] - whole).max() > 1e-2


def test_cubic_amplitudes_do_not_stream():
    ones = jnp.ones(3)
    with pytest.raises(ValueError, match=r"`amplitude_upsampling` must be one of .* got 'cubic'"):
        core.harmonic_synthesis_step(
            core.harmonic_synthesis_init(),
            ones,
            ones,
            ones[:, None],
            **RATES,
            amplitude_upsampling="cubic",
        )


# gradients


@pytest.mark.parametrize("method", ["linear", pytest.param("cubic", marks=pytest.mark.slow)])
def test_gradients_equal_differences(method, rng):
    args = controls(rng, frames=4, n_harmonics=5, batch=(3,), low=100, high=300)
    run = partial(core.harmonic_synthesis, **RATES, amplitude_upsampling=method)
    check_grads(run, *args, order=2)
    held = partial(run, n_samples=3 * HOP + 5)
    radians = np.array([0.3, -2.0, 4.0])
    check_grads(lambda *x: held(*x[:3], initial_phase=x[3]), *args, radians, order=1)


@pytest.mark.parametrize("method", ["nearest", "hann"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_equal_those_of_the_textbook(method, dtype, rng):
    """Against automatic differentiation of upsample, sum, sine, sum, with 30 harmonics."""
    f0_hz, amplitudes, distribution = controls(rng, n_harmonics=30, low=200, high=400)
    # What the mask leaves: any frame whose hop, or the one before it, reaches Nyquist is silent.
    highest = np.stack([np.roll(f0_hz, 1), f0_hz, np.roll(f0_hz, -1)])
    highest[0, 0] = highest[2, -1] = 0
    audible = highest.max(0)[:, None] * np.arange(1, 31) < SAMPLE_RATE / 2
    assert 0.05 < 1 - audible.mean() < 0.95
    cotangent = rng.normal(size=11 * HOP)

    def textbook(f0_hz, amplitudes, distribution):
        up = partial(core.upsample, hop_length=HOP)
        phase = 2 * jnp.pi * jnp.cumsum(up(f0_hz, method="linear")) / SAMPLE_RATE
        products = up(amplitudes[:, None] * distribution * audible, method=method, axis=-2)
        k = jnp.arange(1, 31, dtype=phase.dtype)
        return (products * jnp.sin(phase[:, None] * k[None])).sum(-1)

    def grads(f, dtype):
        xs = [jnp.asarray(x, dtype) for x in (f0_hz, amplitudes, distribution)]
        loss = jax.jit(jax.grad(lambda *x: (f(*x) * cotangent.astype(dtype)).sum(), (0, 1, 2)))
        return [np.asarray(g) for g in loss(*xs)]

    expected = grads(textbook, DTYPES[-1])
    for got, want in zip(grads(synthesizer(method), dtype), expected, strict=True):
        assert got.dtype == dtype
        bound = 2e-5 if dtype == np.float32 or DTYPES[-1] == np.float32 else 1e-12
        assert np.abs(got - want).max() < bound * np.abs(want).max()


def test_gradients_are_finite_at_singular_points():
    bad_hz = np.array([0.0, 8000.0 / 3, 8000.0, 1e5])
    assert_finite_grads(
        partial(harmonic_synthesis, **RATES),
        np.repeat(bad_hz[:, None], 4, 1),
        np.ones((4, 4)),
        np.ones((4, 4, 3)),
    )
    gradient = jax.grad(lambda a: harmonic_synthesis(*a, **RATES).sum())(
        (jnp.full(4, 1e5), jnp.ones(4), jnp.ones((4, 3)))
    )
    jax.tree.map(lambda g: np.testing.assert_array_equal(g, 0), gradient)


# transformations


def test_any_number_of_batch_axes(rng):
    args = controls(rng, frames=5, n_harmonics=4, batch=(2, 3))
    flat = [x.reshape(6, *x.shape[2:]) for x in args]
    nested = harmonic_synthesis(*map(jnp.asarray, args), **RATES)
    assert_close(
        nested.reshape(6, -1), harmonic_synthesis(*map(jnp.asarray, flat), **RATES), scale=9
    )


def test_batch_axes_broadcast(rng):
    f0_hz, amplitudes, distribution = controls(rng, frames=5, n_harmonics=4, batch=(3,))
    run = partial(harmonic_synthesis, **RATES)
    shared = run(*map(jnp.asarray, (f0_hz[0], amplitudes, distribution[:1])))
    for i in range(3):
        one = run(*map(jnp.asarray, (f0_hz[0], amplitudes[i], distribution[0])))
        assert_close(shared[i], one, scale=9)


def test_mixed_dtypes_give_gradients_of_each(rng):
    args = controls(rng, frames=5, n_harmonics=4)
    dtypes = np.float32, DTYPES[-1], np.float32
    args = [jnp.asarray(x, dtype) for x, dtype in zip(args, dtypes, strict=True)]
    grads = jax.grad(lambda *x: harmonic_synthesis(*x, **RATES).sum(), (0, 1, 2))(*args)
    assert [g.dtype for g in grads] == [x.dtype for x in args]


def test_memory_is_a_few_arrays_of_the_size_of_the_audio():
    frames, n_harmonics, hop_length = 1001, 100, 64
    shapes = ((4, frames), (4, frames), (4, frames, n_harmonics))
    args = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    run = partial(core.harmonic_synthesis, hop_length=hop_length, sample_rate=SAMPLE_RATE)
    audio_bytes = 4 * (frames - 1) * hop_length * 4
    grad = jax.grad(lambda *x: jnp.sum(run(*x) ** 2), argnums=(0, 1, 2))
    for f in (run, grad):
        memory = jax.jit(f).lower(*args).compile().memory_analysis()
        assert memory.temp_size_in_bytes <= 16 * audio_bytes


# boundary


def test_wrong_arguments_are_refused():
    ones, bank = jnp.ones(3), jnp.ones((3, 2))
    with pytest.raises(ValueError, match=r"`n_samples` must be from 32 to 47 .* got 48"):
        core.harmonic_synthesis(ones, ones, bank, **RATES, n_samples=48)
    with pytest.raises(ValueError, match=r"`harmonic_distribution.shape\[-1\]` must be at least 1"):
        core.harmonic_synthesis(ones, ones, jnp.ones((3, 0)), **RATES)
    with pytest.raises(
        ValueError, match=r"batch axes .* \(2,\) of `f0_hz`, \(3,\) of `amplitudes`"
    ):
        core.harmonic_synthesis(jnp.ones((2, 3)), jnp.ones((3, 3)), bank, **RATES)
