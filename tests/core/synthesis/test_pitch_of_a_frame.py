"""Every oscillator treats frequencies of 0, NaN, infinity, below 0 and beyond Nyquist alike."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DTYPES, assert_close, check_grads, quick_jit

from ddspx import core

RATE, HOP = 16000, 8
RATES = {"hop_length": HOP, "sample_rate": RATE}
NAN, INF = np.nan, np.inf
# Notes that begin, end and follow one another across each kind of frame without a pitch, and glides
# from one sign to the other.
TRACKS_HZ = np.array(
    [
        [440, NAN, NAN, 300, 320, 0, 0, -500, -510, 200, INF, 700, -INF, 650, NAN, 820, 1e12, 500],
        [0, 440, 470, NAN, 900, -900, 0, NAN, INF, 0, 250, NAN, 4000, 0, -30, 40, 7000, NAN],
        [NAN, 0, INF, -INF, -0.0, 1e30, -1e12, NAN, 0, 0, 0, 0, INF, 0, 0, 0, 0, NAN],
        np.linspace(200, 900, 18),
    ]
)
FRAMES = TRACKS_HZ.shape[-1]
# The last frame is held for a part of a hop.
N_SAMPLES = (FRAMES - 1) * HOP + 5
AMPLITUDES = np.random.default_rng(0).uniform(0.3, 1, TRACKS_HZ.shape)
SOUND = RATES | {"n_samples": N_SAMPLES}
# Each waveform with a single harmonic is a sine of this height.
WAVEFORMS = {"sawtooth": -2 / np.pi, "square": 4 / np.pi, "triangle": 8 / np.pi**2}
METHODS = ("nearest", "linear", "cubic", "hann")


def each_as_a_sine(f0_hz, amplitudes):
    """Functions by which each oscillator gives a sine, of the amplitude times its `HEIGHTS`."""
    one = f0_hz[..., None], amplitudes[..., None]
    half = jnp.full_like(f0_hz, 0.5)
    sine = core.harmonic_distribution_to_wavetable(jnp.ones(1, f0_hz.dtype), table_length=4096)
    players = {
        name: partial(getattr(core, name), f0_hz, amplitudes, **SOUND, n_harmonics=1)
        for name in WAVEFORMS
    }
    players["pulse"] = partial(core.pulse, f0_hz, amplitudes, half, **SOUND, n_harmonics=1)
    players["wavetable"] = partial(core.wavetable_synthesis, f0_hz, amplitudes, sine, **SOUND)
    harmonic = partial(core.harmonic_synthesis, f0_hz, amplitudes, jnp.ones_like(one[0]), **SOUND)
    sinusoidal = partial(core.sinusoidal_synthesis, *one, **SOUND)
    for method in METHODS:
        players[f"harmonic {method}"] = partial(harmonic, amplitude_upsampling=method)
        players[f"sinusoidal {method}"] = partial(sinusoidal, amplitude_upsampling=method)
    return players


HEIGHTS = WAVEFORMS | {"pulse": 4 / np.pi}
# One waveform, and the oscillators whose code differs.
DERIVED = ("square", "wavetable", "harmonic hann", "harmonic cubic", "sinusoidal cubic")


@quick_jit
def evaluate(f0_hz, amplitudes):
    return {name: play() for name, play in each_as_a_sine(f0_hz, amplitudes).items()}


def is_pitch(f_hz) -> bool:
    return np.isfinite(f_hz) and abs(f_hz) < 2**31 and f_hz != 0


def definition(f0_hz, amplitudes, method, *, inclusive=True):
    """The rule, hop by hop and sample by sample."""
    pitched = [is_pitch(f_hz) for f_hz in f0_hz]
    heard = np.where(pitched, amplitudes, 0)
    offsets, weights = core.interpolation_weights(HOP, method)
    audio, phase = np.zeros(N_SAMPLES), 0.0
    for n in range(N_SAMPLES):
        i, j = divmod(n, HOP)
        later = min(i + 1, FRAMES - 1)
        if not (pitched[i] or pitched[later]):
            continue
        start = f0_hz[i] if pitched[i] else f0_hz[later]
        end = f0_hz[later] if pitched[later] else f0_hz[i]
        step = (start + (end - start) * j / HOP) / RATE
        taps = heard[np.clip(np.array(offsets) + i, 0, FRAMES - 1)] if i < FRAMES - 1 else heard[i]
        amplitude = (weights[:, j] * taps).sum()
        audio[n] = amplitude * np.sin(2 * np.pi * (phase + step if inclusive else phase))
        phase += step
    return audio


def test_a_frame_without_a_pitch_is_silent_and_the_next_note_is_exact():
    out = evaluate(jnp.asarray(TRACKS_HZ), jnp.asarray(AMPLITUDES))
    for name, audio in out.items():
        kind, _, method = name.partition(" ")
        for row, f0_hz, amplitudes in zip(audio, TRACKS_HZ, AMPLITUDES, strict=True):
            inclusive = kind != "wavetable"
            expected = definition(f0_hz, amplitudes, method or "hann", inclusive=inclusive)
            expected *= HEIGHTS.get(name, 1)
            # Linear reading of the table: 1e-6. Without x64 the track itself is rounded.
            atol = 1e-5 if kind == "wavetable" or audio.dtype == np.float32 else 1e-9
            np.testing.assert_allclose(row, expected, atol=atol, err_msg=name)
        np.testing.assert_array_equal(audio[2], 0)


def test_examples_of_a_batch_do_not_influence_each_other():
    """An amplitude of NaN is the fault of the data, and stays in its example too."""
    amplitudes = AMPLITUDES.copy()
    amplitudes[0, 5] = NAN
    tracks = TRACKS_HZ.copy()
    tracks[:3] = TRACKS_HZ[3]
    alone = evaluate(jnp.asarray(tracks), jnp.asarray(AMPLITUDES))
    batch = evaluate(jnp.asarray(TRACKS_HZ), jnp.asarray(amplitudes))
    for name in alone:
        assert_close(batch[name][3], np.asarray(alone[name][3]))


def test_a_negative_pitch_runs_backwards():
    """So it is the sine of the positive one upside down, silent where that is."""
    tracks = TRACKS_HZ.copy()
    tracks[2] = np.linspace(7000, 9500, FRAMES)
    there, back = (evaluate(jnp.asarray(s * tracks), jnp.asarray(AMPLITUDES)) for s in (1, -1))
    for name in there:
        assert_close(back[name], -np.asarray(there[name]), scale=30)


@pytest.mark.parametrize("sign", [1, -1])
def test_at_and_above_nyquist_everything_is_silent(sign):
    f0_hz = sign * np.repeat([[8000.0], [9000.0], [40000.0], [1e8]], FRAMES, 1)
    for name, audio in evaluate(jnp.asarray(f0_hz), jnp.asarray(AMPLITUDES)).items():
        np.testing.assert_array_equal(audio, 0, err_msg=name)


def test_harmonics_of_a_negative_pitch_do_not_reach_beyond_nyquist():
    f0_hz = jnp.array([-1000.0, -1000, -1000, 200, 200, 200, 200])
    play = jax.jit(partial(core.harmonic_synthesis, **RATES))
    there, back = (play(s * f0_hz, jnp.ones(7), jnp.ones((7, 12))) for s in (1, -1))
    assert_close(back, -np.asarray(there), scale=100)


# gradients


def test_gradients_are_finite_and_those_of_the_notes():
    def total(f0_hz, amplitudes):
        players = each_as_a_sine(f0_hz, amplitudes)
        return sum(jnp.sum(players[name]() ** 2) for name in DERIVED)

    arrays = (jnp.asarray(x, jnp.float32) for x in (TRACKS_HZ, AMPLITUDES))
    for gradient in quick_jit(jax.grad(total, argnums=(0, 1)))(*arrays):
        assert np.isfinite(gradient).all()
        assert (np.asarray(gradient)[~np.vectorize(is_pitch)(TRACKS_HZ)] == 0).all()


def test_gradients_equal_differences():
    pitched = np.vectorize(is_pitch)(TRACKS_HZ[1])

    def play(f_khz, amplitudes):
        f0_hz = jnp.where(pitched, 1000 * f_khz, NAN)
        players = each_as_a_sine(f0_hz, amplitudes)
        return [players[name]() for name in DERIVED[3:]]

    f_khz = np.where(pitched, TRACKS_HZ[1] / 1000, 0.2)
    check_grads(play, f_khz, AMPLITUDES[1], order=1, modes=["rev"])


# streams


ONES = jnp.ones((*TRACKS_HZ.shape, 9))
STREAMS = {
    # The init, the step, the whole, and their further arguments.
    "harmonic": (
        core.harmonic_synthesis_init,
        core.harmonic_synthesis_step,
        core.harmonic_synthesis,
        ONES,
    ),
    "wavetable": (
        core.wavetable_synthesis_init,
        core.wavetable_synthesis_step,
        core.wavetable_synthesis,
        jnp.cumsum(ONES, 0) * jnp.sin(jnp.arange(9.0))[None, None],
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_blocks_have_the_phase_of_the_whole_to_the_bit(name):
    init, step, play, timbre = STREAMS[name]
    f0_hz, amplitudes = jnp.asarray(TRACKS_HZ), jnp.asarray(AMPLITUDES)
    advance = jax.jit(partial(core.advance_phase, **RATES))
    step = jax.jit(partial(step, **RATES))
    state = init(batch_shape=(4,), dtype=f0_hz.dtype)
    blocks = []
    for first, last in [(0, 3), (3, 6), (6, 9), (9, 12), (12, 15), (15, 17)]:
        part = slice(first, last + 1)
        after = f0_hz[:, last + 1] if last + 1 < FRAMES else None
        state, block = step(
            state, f0_hz[:, part], amplitudes[:, part], timbre[:, part], next_f0_hz=after
        )
        blocks.append(block)
        whole = advance(f0_hz[:, : last + 1])
        np.testing.assert_array_equal(state.phase.cycles, whole.cycles)
        np.testing.assert_array_equal(state.phase.remainder, whole.remainder)
    whole = jax.jit(partial(play, **RATES))(f0_hz, amplitudes, timbre)
    assert_close(jnp.concatenate(blocks, -1), whole, scale=30)


def test_blocks_of_sinusoids_have_the_phase_of_the_whole_to_the_bit():
    """The tracks as sinusoids of one sound."""
    f_hz, amplitudes = jnp.asarray(TRACKS_HZ.T), jnp.asarray(AMPLITUDES.T)
    step = jax.jit(partial(core.sinusoidal_synthesis_step, **RATES))
    state = core.sinusoidal_synthesis_init(n_sinusoids=4, dtype=f_hz.dtype)
    blocks = []
    for first, last in [(0, 3), (3, 6), (6, 9), (9, 12), (12, 15), (15, 17)]:
        part = slice(first, last + 1)
        after = f_hz[last + 1] if last + 1 < FRAMES else None
        state, block = step(state, f_hz[part], amplitudes[part], next_frequencies_hz=after)
        blocks.append(block)
    whole = jax.jit(partial(core.advance_phase, **RATES))(f_hz.T)
    np.testing.assert_array_equal(state.phase.cycles, whole.cycles)
    np.testing.assert_array_equal(state.phase.remainder, whole.remainder)
    np.testing.assert_array_equal(state.previous_frequencies_hz, f_hz[-2])
    whole = jax.jit(partial(core.sinusoidal_synthesis, **RATES))(f_hz, amplitudes)
    assert_close(jnp.concatenate(blocks), whole, scale=30)


# at every sample


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sample_without_a_pitch_is_silent_and_its_phase_stands(dtype):
    f_hz = TRACKS_HZ.astype(dtype)
    pitched = np.vectorize(is_pitch)(f_hz)
    cycles = np.cumsum(np.where(pitched, f_hz, 0).astype(np.float64) / RATE, -1)
    phase = jax.jit(partial(core.cumulative_phase, sample_rate=RATE))
    turns = np.asarray(phase(jnp.asarray(f_hz)), np.float64) / (2 * np.pi) - cycles
    assert np.abs(turns - np.round(turns)).max() < 10 * np.finfo(dtype).eps
    slope = jax.grad(lambda f: jnp.sum(phase(f)))(jnp.asarray(f_hz))
    remaining = np.where(pitched, np.arange(FRAMES, 0, -1.0), 0) * 2 * np.pi / RATE
    np.testing.assert_allclose(slope, remaining, rtol=1e-5)
    bank = core.oscillator_bank(
        jnp.asarray(f_hz)[..., None], jnp.ones((4, FRAMES, 1), dtype), sample_rate=RATE
    )
    expected = np.where(pitched, np.sin(2 * np.pi * cycles), 0)
    assert_close(bank, expected, scale=4)


# conversions between harmonics and sinusoids


def test_without_a_pitch_there_is_no_harmonic_and_no_sinusoid():
    @quick_jit
    def each(f0_hz, ones):
        return (
            core.remove_above_nyquist(ones[:, 0], f0_hz, sample_rate=RATE),
            core.normalize_harmonics(ones, f0_hz, sample_rate=RATE),
            core.harmonic_to_sinusoidal(ones[:, 0], ones, f0_hz, sample_rate=RATE),
            core.sinusoidal_to_harmonic(200 * ones, ones, f0_hz, sample_rate=RATE),
        )

    for dtype in DTYPES:
        none = jnp.asarray([0.0, NAN, INF, -INF, 1e12], dtype)
        for x in jax.tree.leaves(each(none, jnp.ones((5, 3), dtype))):
            assert not x.any()


def test_a_sinusoid_without_a_frequency_is_nobodys_harmonic():
    f_hz = jnp.array([400.0, NAN, 0.0, INF])
    # The width is so large that a frequency of 0 would otherwise count.
    exchange = partial(core.sinusoidal_to_harmonic, sample_rate=RATE, n_harmonics=2)

    @quick_jit
    def both(f_hz):
        one = jnp.ones_like(f_hz), jnp.full((), 200.0, f_hz.dtype)
        slope = jax.grad(lambda f: exchange(f, *one, harmonic_width=2.0)[0])(f_hz)
        return exchange(f_hz, *one), exchange(f_hz, *one, harmonic_width=2.0)[0], slope

    (total, distribution), wide, slope = both(f_hz)
    assert_close(total, 1.0)
    assert_close(distribution, [0, 1])
    assert_close(wide, 1 + np.exp(-0.25))
    assert np.isfinite(slope).all()


def test_a_negative_pitch_has_the_harmonics_of_the_positive_one():
    weights = jnp.array([1.0, 3.0, 5.0])
    f_hz, amplitudes = core.harmonic_to_sinusoidal(
        jnp.array(1.0), weights, jnp.array(-3000.0), sample_rate=RATE
    )
    assert_close(f_hz, [-3000, -6000, -9000], scale=1e4)
    assert_close(amplitudes, [0.25, 0.75, 0])
    total, distribution = core.sinusoidal_to_harmonic(
        f_hz, amplitudes, jnp.array(-3000.0), sample_rate=RATE, n_harmonics=3
    )
    assert_close(total, 1)
    assert_close(distribution, amplitudes)
