from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    DTYPES,
    assert_close,
    assert_finite_grads,
    check_grads,
    noise,
    quick_jit,
)

from ddspx import core

SAMPLE_RATE, HOP = 16000, 16
RATES = {"hop_length": HOP, "sample_rate": SAMPLE_RATE}
wavetable_synthesis = jax.jit(
    core.wavetable_synthesis, static_argnames=("hop_length", "sample_rate", "n_samples")
)


def definition(f0_hz, amplitudes, wavetables, n_samples=None):
    """The docstring, sample by sample; `wavetables` with a frames axis."""
    frames, length = wavetables.shape
    n_samples = (frames - 1) * HOP if n_samples is None else n_samples
    audio, phase = np.zeros(n_samples), 0.0

    def read(table):
        position = (phase % 1) * length
        i = int(position)
        after = table[(i + 1) % length]
        return table[i % length] + (position - i) * (after - table[i % length])

    for n in range(n_samples):
        i, j = divmod(n, HOP)
        later = min(i + 1, frames - 1)
        u = j / HOP
        fade = 0.5 - 0.5 * np.cos(np.pi * u)
        gain = (1 - fade) * amplitudes[i] + fade * amplitudes[later]
        audio[n] = gain * ((1 - u) * read(wavetables[i]) + u * read(wavetables[later]))
        phase += ((1 - u) * f0_hz[i] + u * f0_hz[later]) / SAMPLE_RATE
    return audio


def controls(rng, frames=8, length=37, batch=()):
    return (
        rng.uniform(100, 900, (*batch, frames)),
        rng.uniform(0, 1, (*batch, frames)),
        rng.standard_normal((*batch, frames, length)),
    )


# values


@pytest.mark.parametrize("n_samples", [None, 7 * HOP + 9])
@pytest.mark.parametrize("dtype", DTYPES)
def test_changing_tables_equal_the_definition(dtype, n_samples, rng):
    args = [x.astype(dtype) for x in controls(rng)]
    audio = wavetable_synthesis(*args, **RATES, n_samples=n_samples)
    assert audio.dtype == dtype
    expected = definition(*(x.astype(np.float64) for x in args), n_samples)
    # The slope between entries of 37 random ones is some 37 times 3 in a cycle.
    np.testing.assert_allclose(audio, expected, atol=3e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_table_equals_the_definition(dtype, rng):
    f0_hz, amplitudes, tables = (x.astype(dtype) for x in controls(rng))
    audio = wavetable_synthesis(f0_hz, amplitudes, tables[0], **RATES)
    expected = definition(f0_hz, amplitudes, np.repeat(tables[:1], len(tables), 0))
    np.testing.assert_allclose(audio, expected, atol=3e-5 if dtype == np.float32 else 1e-12)


def looked_up(cycles, table):
    """Linear between entries, the first one following the last: DDSP's weights, one by one."""
    closed = np.append(table, table[0])
    position = (cycles % 1) * len(table)
    return sum(value * np.maximum(0, 1 - np.abs(position - i)) for i, value in enumerate(closed))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_table_is_read_at_any_phase(dtype, rng):
    cycles = rng.uniform(-3, 3, (2, 50)).astype(dtype)
    cycles[0, :6] = 0, 0.5, -0.5, 1, -1, 40000.25
    tables = rng.standard_normal((2, 7)).astype(dtype)
    lookup = jax.jit(lambda c, t: (core.linear_lookup(c, t), core.linear_lookup(c, t[1])))
    each, shared = lookup(jnp.asarray(cycles), jnp.asarray(tables))
    for row, other, phase, table in zip(each, shared, cycles, tables, strict=True):
        assert_close(row, looked_up(phase.astype(float), table), scale=60)
        assert_close(other, looked_up(phase.astype(float), tables[1]), scale=60)


def test_tables_of_frames_are_faded_into_each_other(rng):
    cycles, tables = rng.uniform(-1, 2, 23), rng.standard_normal((3, 5))
    out = core.linear_lookup(jnp.asarray(cycles), jnp.asarray(tables), hop_length=8)
    for n, phase in enumerate(cycles):
        i, j = divmod(n, 8)
        one, other = looked_up(phase, tables[i]), looked_up(phase, tables[min(i + 1, 2)])
        assert_close(out[n], (1 - j / 8) * one + j / 8 * other, scale=30)


def test_tables_of_harmonics_are_their_sum():
    distribution = noise(3, 5)
    m, k = np.arange(12), np.arange(1, 6)
    expected = distribution @ np.sin(2 * np.pi * k[:, None] * m / 12)
    for dtype in DTYPES:
        table = core.harmonic_distribution_to_wavetable(
            jnp.asarray(distribution, dtype), table_length=12
        )
        assert_close(table, expected, scale=4.0)


def test_a_table_begins_at_the_phase_that_is_given(rng):
    """Each example at its own, though they share a pitch."""
    radians, table = np.array([0.3, -2.0, 9.0]), rng.standard_normal(37)
    cycles = 300 / SAMPLE_RATE * np.arange(48) + radians[:, None] / (2 * np.pi)
    for dtype in DTYPES:
        audio = wavetable_synthesis(
            jnp.full(4, 300.0, dtype),
            jnp.ones((3, 4), dtype),
            jnp.asarray(table, dtype),
            **RATES,
            initial_phase=jnp.asarray(radians, dtype),
        )
        for row, phase in zip(audio, cycles, strict=True):
            assert_close(row, looked_up(phase, table), scale=60)


# physics


def test_a_table_of_harmonics_equals_harmonic_synthesis_one_sample_later():
    frames = 20
    f0_hz, ones = jnp.full(frames, 313.0), jnp.ones(frames)
    distribution = jnp.asarray(np.random.default_rng(0).uniform(0, 1, 9))
    table = core.harmonic_distribution_to_wavetable(distribution, table_length=4096)
    audio = wavetable_synthesis(f0_hz, ones, table, **RATES)
    bank = jnp.broadcast_to(distribution, (frames, 9))
    harmonic = core.harmonic_synthesis(f0_hz, ones, bank, **RATES)
    # Linear reading: (pi k / L)**2 / 2 of each harmonic at most.
    bound = float((distribution * (np.pi * np.arange(1, 10) / 4096) ** 2).sum())
    assert np.abs(audio[1:] - harmonic[:-1]).max() < bound + 1e-6


def test_the_phase_does_not_drift_in_minutes():
    seconds, f_hz, hop_length = 120, np.float32(7001.013), 4000
    frames = 1 + seconds * SAMPLE_RATE // hop_length
    saw = jnp.linspace(-1, 1, 1000, dtype=jnp.float32)
    audio = wavetable_synthesis(
        jnp.full(frames, f_hz),
        jnp.ones(frames, jnp.float32),
        saw,
        hop_length=hop_length,
        sample_rate=SAMPLE_RATE,
    )
    n = np.arange(seconds * SAMPLE_RATE)[-50000:]
    cycles = np.longdouble(f_hz) * n / SAMPLE_RATE % 1
    inside = cycles < 0.998
    expected = (-1 + 2 * 1000 / 999 * cycles).astype(float)
    assert np.abs(np.asarray(audio)[-50000:] - expected)[inside].max() < 1e-6


def test_the_last_entry_leads_into_the_first():
    table = jnp.array([0.0, 1.0, 2.0, 3.0])
    audio = wavetable_synthesis(
        jnp.full(2, 250.0), jnp.ones(2), table, hop_length=16, sample_rate=4000
    )
    one_period = [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 2.75, 3, 2.25, 1.5, 0.75]
    assert_close(audio, one_period)


def test_a_batch_shares_a_table_or_has_its_own(rng):
    f0_hz, amplitudes, tables = (jnp.asarray(x) for x in controls(rng, batch=(3,)))
    run = partial(wavetable_synthesis, **RATES)
    for i in range(3):
        one = run(f0_hz[i], amplitudes[i], tables[0, 0])
        assert_close(run(f0_hz, amplitudes, tables[0, 0])[i], one, scale=4)
        one = run(f0_hz[i], amplitudes[i], tables[i, 0])
        assert_close(run(f0_hz, amplitudes, tables[:, 0])[i], one, scale=4)
        one = run(f0_hz[i], amplitudes[i], tables[0])
        assert_close(run(f0_hz, amplitudes, tables[:1])[i], one, scale=4)


def test_memory_is_a_few_arrays_of_the_size_of_the_audio():
    """Weighing all 2048 entries for each sample would take two thousand."""
    run = partial(core.wavetable_synthesis, hop_length=64, sample_rate=SAMPLE_RATE)
    grad = jax.grad(lambda *xs: jnp.sum(run(*xs)), argnums=(0, 1, 2))
    args = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((251,), (251,), (2048,))]
    for f in (run, grad):
        memory = jax.jit(f).lower(*args).compile().memory_analysis()
        assert memory.temp_size_in_bytes < 20 * 250 * 64 * 4


# band limit


def fourier(table):
    """Complex amplitude of each harmonic, without the bin at half of the length."""
    return np.fft.rfft(table)[1 : (len(table) + 1) // 2] * 2 / len(table)


def test_band_limited_tables_equal_the_definition_of_their_harmonics(rng):
    """In glides through Nyquist, beside a frame without a pitch, with tables that change."""
    f0_hz = np.array([500.0, 900, 2500, 1500, np.nan, 300, 1300, 1100, 4500, 7000, 3000])
    spectra = rng.standard_normal((11, 7, 2)) @ [1, 1j]
    bins = np.pad(spectra, [(0, 0), (1, 25)]) * 32
    tables = np.fft.irfft(bins, 64) + 0.25  # a constant is no harmonic, and stays
    filled = np.where(np.isnan(f0_hz), 0, f0_hz)
    reach = np.max([np.append(0, filled[:-1]), filled, np.append(filled[1:], 0)], 0)
    heard = np.where(reach[:, None] * np.arange(1, 8) < SAMPLE_RATE / 2, spectra, 0)
    expected, phase = np.zeros(10 * HOP), 0.0
    for n in range(10 * HOP):
        i, u = n // HOP, n % HOP / HOP
        ends = f0_hz[i : i + 2]
        start, end = np.where(np.isnan(ends), ends[::-1], ends)
        both = [((heard[m] * np.exp(1j * phase * np.arange(1, 8))).real).sum() for m in (i, i + 1)]
        fade = 0.5 - 0.5 * np.cos(np.pi * u)
        gain = (1 - fade, fade) @ ~np.isnan(ends)
        expected[n] = gain * (0.25 + (1 - u) * both[0] + u * both[1])
        phase += 2 * np.pi * (start + (end - start) * u) / SAMPLE_RATE
    given = jnp.asarray(f0_hz), jnp.ones(11), jnp.asarray(tables)
    audio = core.wavetable_synthesis(*given, **RATES, band_limited=True)
    # Linear reading of 256 entries: (pi k / 256)**2 / 2 of each harmonic at most.
    bound = np.abs(spectra).max(0) @ (np.pi * np.arange(1, 8) / 256) ** 2 / 2
    assert bound < 0.03
    np.testing.assert_allclose(audio, expected, atol=bound)
    unlimited = core.wavetable_synthesis(*given, **RATES)
    assert np.abs(unlimited - expected).max() > 0.5


def test_a_sawtooth_has_no_alias_at_any_pitch():
    """Against its harmonics below Nyquist: every line of the difference is below -60 dB."""
    f0_hz = np.geomspace(30, 7900, 12).astype(np.float32)
    saw = np.linspace(1, -1, 256, endpoint=False)
    hop_length, frames = 512, 9
    n = np.arange(hop_length * (frames - 1))
    audio = core.wavetable_synthesis(
        jnp.tile(jnp.asarray(f0_hz)[:, None], (1, frames)),
        jnp.ones((12, frames), jnp.float32),
        jnp.asarray(saw, jnp.float32),
        hop_length=hop_length,
        sample_rate=SAMPLE_RATE,
        band_limited=True,
    )
    spectrum = fourier(saw)
    for row, f_hz in zip(np.asarray(audio, np.float64), f0_hz.astype(float), strict=True):
        k = np.arange(1, min(127, int(np.ceil(SAMPLE_RATE / 2 / f_hz)) - 1) + 1)
        turns = np.exp(2j * np.pi * np.outer(k, n) * f_hz / SAMPLE_RATE)
        below_nyquist = (spectrum[k - 1] @ turns).real + saw.mean()
        lines = np.abs(np.fft.rfft((row - below_nyquist) * np.blackman(len(n)))) / (0.21 * len(n))
        assert 20 * np.log10(lines.max() / np.abs(spectrum[0])) < -70, f_hz


# streaming


@pytest.mark.parametrize("changing, band_limited", [(True, False), (False, False), (False, True)])
def test_blocks_equal_the_whole(changing, band_limited, rng):
    """Their gradients too, to the tables that the output of a block is made of."""
    f0_hz, amplitudes, tables = (jnp.asarray(x) for x in controls(rng, frames=12, batch=(2,)))
    # At the seams, after frames 1 and 6, the pitch is about to reach Nyquist or just did.
    near = jnp.array([7900.0, 7800, 8100, 7800, 8100, 7900])
    f0_hz = f0_hz.at[:, jnp.array([0, 1, 2, 5, 6, 7])].set(near)
    tables = tables if changing else tables[:, 0]
    options = RATES | {"band_limited": band_limited}

    def stream(f0_hz, amplitudes, tables, look_ahead=True):
        state = core.wavetable_synthesis_init(batch_shape=(2,), dtype=f0_hz.dtype)
        blocks = []
        for first, last, n_samples in [(0, 1, HOP), (1, 6, 5 * HOP), (6, 11, 5 * HOP + 5)]:
            rows = slice(first, last + 1)
            after = f0_hz[:, last + 1] if look_ahead and last < 11 else None
            state, block = core.wavetable_synthesis_step(
                state,
                f0_hz[:, rows],
                amplitudes[:, rows],
                tables[:, rows] if changing else tables,
                **options,
                next_f0_hz=after,
                n_samples=n_samples,
            )
            blocks.append(block)
        return jnp.concatenate(blocks, -1)

    @quick_jit
    def everything(f0_hz, amplitudes, tables):
        def last_block(play):
            """The part of the tables for this block."""
            last = slice(6 * HOP, None)
            return jax.grad(lambda t: jnp.sum(jnp.sin(play(f0_hz, amplitudes, t)[:, last])))(tables)

        play = partial(core.wavetable_synthesis, **options, n_samples=11 * HOP + 5)
        unknown = stream(f0_hz, amplitudes, tables, look_ahead=False)
        both = [f(f0_hz, amplitudes, tables) for f in (stream, play)]
        return both, [last_block(f) for f in (stream, play)], unknown

    (blocks, whole), slopes, unknown = everything(f0_hz, amplitudes, tables)
    # The slope between entries of 37 random ones is some 37 times 3 in a cycle.
    np.testing.assert_allclose(blocks, whole, atol=1e-3)
    np.testing.assert_allclose(*slopes, atol=1e-2)
    assert np.abs(unknown - whole).max() > 1e-2


# gradients


@pytest.mark.parametrize("changing", [True, False])
def test_gradients_equal_differences(changing, rng):
    f0_hz, amplitudes, tables = controls(rng, frames=4, length=9)
    run = partial(core.wavetable_synthesis, **RATES, n_samples=3 * HOP + 5)
    # A short step: the slope changes at every entry of the table.

    def f(f0_hz, amplitudes, tables, radians):
        return run(f0_hz, amplitudes, tables, initial_phase=radians)

    tables = tables if changing else tables[0]
    check_grads(f, f0_hz, amplitudes, tables, np.float64(2.0), eps=1e-7, rtol=1e-5)


def test_gradients_of_a_reading_equal_differences(rng):
    # Between entries, where the slope does not jump.
    cycles = (rng.integers(-20, 20, 9) + 0.4) / 5
    check_grads(core.linear_lookup, cycles, rng.standard_normal(5))
    check_grads(partial(core.linear_lookup, hop_length=4), cycles, rng.standard_normal((3, 5)))


def test_the_gradient_of_a_sine_finds_its_phase():
    # d/df of sin(2 pi f n / fs) is 2 pi n / fs cos(...), up to the reading of the table.
    table = core.harmonic_distribution_to_wavetable(jnp.ones(1), table_length=4096)
    n = np.arange(4 * HOP)

    def run(f_hz):
        return core.wavetable_synthesis(jnp.full(5, f_hz), jnp.ones(5), table, **RATES)

    slope = jax.jit(jax.jacfwd(run))(440.0)
    angle = 2 * np.pi * n / SAMPLE_RATE
    np.testing.assert_allclose(slope, angle * np.cos(440 * angle), atol=1e-4)


def test_gradients_are_finite_at_singular_points():
    bad_hz = np.repeat(np.array([0.0, 8000.0, 1e5])[:, None], 4, 1)
    run = partial(core.wavetable_synthesis, **RATES)
    assert_finite_grads(run, bad_hz, np.zeros((3, 4)), np.zeros((3, 4, 5)))


# boundary


def test_wrong_arguments_are_refused():
    ones, table = jnp.ones(4), jnp.ones(8)
    with pytest.raises(ValueError, match="`f0_hz` and `wavetables` must have the same number of"):
        core.wavetable_synthesis(ones, ones, jnp.ones((3, 8)), **RATES)
    with pytest.raises(ValueError, match=r"`wavetables.shape\[-1\]` must be at least 1"):
        core.wavetable_synthesis(ones, ones, table[:0], **RATES)
    with pytest.raises(ValueError, match="the batch axes must be equal or broadcast"):
        core.wavetable_synthesis(jnp.ones((2, 4)), ones, jnp.ones((3, 8)), **RATES)
    with pytest.raises(ValueError, match="`wavetables` without `hop_length`"):
        core.linear_lookup(jnp.ones((2, 9)), jnp.ones((3, 8)))
    with pytest.raises(ValueError, match="same number of frames, got 2 and 3"):
        core.linear_lookup(jnp.ones(9), jnp.ones((3, 8)), hop_length=8)
    with pytest.raises(ValueError, match=r"`wavetables` must have shape \(\*batch, frames, table"):
        core.linear_lookup(jnp.ones(9), table, hop_length=8)
    with pytest.raises(ValueError, match="`n_samples` must be from 48 to 63"):
        core.wavetable_synthesis(ones, ones, table, **RATES, n_samples=64)
    with pytest.raises(ValueError, match="`table_length` must be more than twice the number"):
        core.harmonic_distribution_to_wavetable(jnp.ones(8), table_length=16)
