"""Properties that all functions of the core share.

For each function: one or two batch axes, `vmap` and a loop give the same results, so examples do
not influence each other; if it is differentiable, gradients at silence (zeros) are finite; outputs
have the dtype of the inputs; compiled and eager results are equal. The tests of each module compare
its functions with their definitions.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DTYPES, assert_trees_close, batched_alike, quick_jit

from ddspx import core

RATE, HOP = 8000, 8
RATES = {"hop_length": HOP, "sample_rate": RATE}
# Three hops and a part of one, whose controls are held.
N_SAMPLES = 3 * HOP + 3
SOUND = RATES | {"n_samples": N_SAMPLES}
RNG = np.random.default_rng(7)


class Case(NamedTuple):
    """A function of arrays with a leading batch axis of 2, and arrays to call it with.

    If the result is larger than the arguments by a factor of `growth`, so is its rounding error.
    """

    function: Callable
    arguments: tuple[np.ndarray, ...]
    differentiable: bool = True
    growth: float = 1.0


def uniform(low, high, *shape):
    return RNG.uniform(low, high, (2, *shape))


AUDIO = RNG.normal(0, 0.3, (2, N_SAMPLES))
SPEECH = RNG.normal(0, 0.3, (2, 300))
F0 = uniform(200, 900, 4)
GAINS = uniform(0.1, 1, 4)
SECTIONS = np.asarray(core.stable_biquad(jnp.asarray(uniform(-0.5, 0.5, 2, 5))))
HZ, WIDTHS = uniform(200, 3000, 2), uniform(50, 300, 2)
FREQUENCIES = jnp.asarray([0.0, 700.0, 4000.0])
BAND = {"fmin": 50.0, "fmax": 3000.0}
TERMS = ("mag", "logmag", "delta_time", "delta_freq", "cumsum_freq", "loudness")
WEIGHTS = {f"{term}_weight": 1.0 for term in TERMS}
DYNAMICS = {"release_s": 0.002, "sample_rate": RATE}
THRESHOLDS = uniform(-30, -3)
STREAMED = {
    # The first step computes the whole function. The tests of each module check the later steps.
    "allpole_step": "allpole",
    "compressor_step": "compressor",
    "convolution_reverb_step": "convolution_reverb",
    "fft_convolve_step": "fft_convolve",
    "filtered_noise_step": "filtered_noise",
    "gammatone_filter_step": "gammatone_filter",
    "harmonic_synthesis_step": "harmonic_synthesis",
    "limiter_step": "limiter",
    "pcen_step": "pcen",
    "sinusoidal_synthesis_step": "sinusoidal_synthesis",
    "sos_filter_step": "sos_filter",
    "variable_delay_step": "variable_delay",
    "wavetable_synthesis_step": "wavetable_synthesis",
}
STATIC = {
    # Functions without array arguments: tables, sizes, states, streams, and draws from a key.
    "chain",
    "exponential_reverb_ir",
    "filtered_noise",
    "filtered_noise_reverb_ir",
    "frequency_grid",
    "hann_window",
    "interpolation_weights",
    "log_frequency_filterbank",
    "mel_filterbank",
    "mixup",
    "n_frames",
    "pitch_transition",
    "spec_augment",
    "time_shift",
    "white_noise",
}


def shape(function):
    return Case(partial(function, sample_rate=RATE), (uniform(0, 1, 4, 5),))


def waveform(function):
    return Case(partial(function, **SOUND, n_harmonics=4), (F0, GAINS))


def loss(function, signature, *arguments):
    """The function gives one scalar for a whole batch; call it for each example."""
    each = jnp.vectorize(function, signature=f"{signature}->()")
    return Case(each, arguments)


def spectral(function):
    return loss(partial(function, n_ffts=(16, 8)), "(n),(n)", AUDIO, AUDIO[::-1])


def of_poles(function):
    """A function of complex poles as one of their parts, in parts."""

    def parts(real, imaginary):
        out = function(real + 1j * imaginary)
        return out.real, out.imag

    return Case(parts, (uniform(-0.6, 0.6, 2), uniform(0.1, 0.6, 2)))


def in_parts(function):
    """A function with a complex result, in its two parts."""

    def parts(*arrays):
        out = function(*arrays)
        return out.real, out.imag

    return parts


def response(function):
    """At fixed frequencies, of bandwidths above 0."""

    def parts(centers_hz, bandwidths_hz):
        frequencies_hz = FREQUENCIES.astype(centers_hz.dtype)
        out = function(frequencies_hz, centers_hz, 9 + bandwidths_hz)
        return out.real, out.imag

    return Case(parts, (HZ, WIDTHS))


def unit(function, low=0.1, high=3.0, differentiable=True):
    return Case(function, (uniform(low, high, 3),), differentiable)


def pitch(function):
    options = {"frame_length": 64, "fmin": 250.0, "fmax": 2000.0}
    return Case(partial(function, **RATES, **options), (AUDIO,))


CASES = {
    "a_weighting_db": unit(core.a_weighting_db, 20, 4000),
    "adsr": Case(
        lambda on, off: core.adsr(
            on,
            off,
            attack_s=0.001,
            decay_s=0.002,
            sustain=0.5,
            release_s=0.003,
            n_frames=5,
            **RATES,
        ),
        (uniform(0, 0.001), uniform(0.003, 0.004)),
    ),
    "advance_phase": Case(
        lambda f: core.advance_phase(f, **RATES).cycles.astype(f.dtype), (F0,), False
    ),
    "allpole": Case(core.allpole, (AUDIO, uniform(-0.3, 0.3, 2))),
    "amplitude_to_db": unit(core.amplitude_to_db),
    "bark_to_hz": unit(core.bark_to_hz, 1, 20),
    "biquad": Case(partial(core.biquad, kind="peak", sample_rate=RATE), (uniform(100, 3000),)),
    "compressor": Case(
        lambda x, t: core.compressor(x, threshold_db=t, **DYNAMICS, ratio=4.0, attack_s=0.001),
        (AUDIO, THRESHOLDS),
    ),
    "cepstral_coefficients": Case(
        partial(core.cepstral_coefficients, n_mfcc=3), (uniform(-1, 1, 4, 5),)
    ),
    "textbook_log_mel": Case(
        partial(core.textbook_log_mel, sample_rate=RATE, n_fft=256), (SPEECH,), growth=100
    ),
    "textbook_mfcc": Case(
        partial(core.textbook_mfcc, sample_rate=RATE, n_fft=256), (SPEECH,), growth=100
    ),
    "complex_spectral_loss": spectral(core.complex_spectral_loss),
    "control_loss": loss(core.control_loss, "(n),(n)", GAINS, GAINS[::-1]),
    "convolution_reverb": Case(core.convolution_reverb, (AUDIO, uniform(-1, 1, 5))),
    "crossfade": Case(core.crossfade, (AUDIO, AUDIO[::-1], uniform(0, 1, AUDIO.shape[-1]))),
    "cumulative_phase": Case(partial(core.cumulative_phase, sample_rate=RATE), (F0,)),
    "db_to_amplitude": unit(core.db_to_amplitude),
    "db_to_power": unit(core.db_to_power),
    "decay_to_t60": unit(partial(core.decay_to_t60, n_samples=100, sample_rate=RATE), -3, 6),
    "delta": Case(partial(core.delta, width=3), (uniform(-1, 1, 4, 5),)),
    "exp_sigmoid": unit(core.exp_sigmoid),
    "exponential_bank": of_poles(
        lambda poles: core.exponential_bank(poles, poles[..., ::-1], n_samples=9)
    ),
    "exponential_basis": of_poles(partial(core.exponential_basis, n_samples=9)),
    "fft_convolve": Case(partial(core.fft_convolve, mode="same"), (AUDIO, uniform(-1, 1, 5))),
    "frequencies_critical_bands": unit(partial(core.frequencies_critical_bands, **BAND)),
    "frequencies_sigmoid": unit(partial(core.frequencies_sigmoid, **BAND)),
    "frequencies_softmax": unit(partial(core.frequencies_softmax, depth=3, **BAND)),
    "gabor_impulse_response": Case(
        in_parts(partial(core.gabor_impulse_response, sample_rate=RATE, win_length=9)), (HZ, WIDTHS)
    ),
    "gabor_response": response(core.gabor_response),
    "gammatone_filter": Case(
        in_parts(partial(core.gammatone_filter, sample_rate=RATE)), (AUDIO, HZ, WIDTHS)
    ),
    "gammatone_impulse_response": Case(
        in_parts(partial(core.gammatone_impulse_response, sample_rate=RATE, n_taps=9)), (HZ, WIDTHS)
    ),
    "gammatone_response": response(partial(core.gammatone_response, sample_rate=RATE)),
    "frame": Case(partial(core.frame, frame_length=10, hop_length=HOP), (AUDIO,)),
    "frequency_filter": Case(
        partial(core.frequency_filter, hop_length=HOP), (AUDIO, uniform(0, 1, 4, 5))
    ),
    "frequency_impulse_response": Case(core.frequency_impulse_response, (uniform(0, 1, 5),)),
    "harmonic_consistency_loss": loss(
        lambda *c: core.harmonic_consistency_loss(c[:3], c[3:]),
        "(n),(n,k),(n),(n),(n,k),(n)",
        *(GAINS, uniform(0, 1, 4, 3), F0),
        *(GAINS[::-1], uniform(0, 1, 4, 3), F0[::-1]),
    ),
    "harmonic_distribution_to_wavetable": Case(
        partial(core.harmonic_distribution_to_wavetable, table_length=16), (uniform(0, 1, 5),)
    ),
    "harmonic_synthesis": Case(
        partial(core.harmonic_synthesis, **SOUND), (F0, GAINS, uniform(0, 1, 4, 6))
    ),
    "harmonic_to_sinusoidal": Case(
        partial(core.harmonic_to_sinusoidal, sample_rate=RATE), (GAINS, uniform(0, 1, 4, 6), F0)
    ),
    "hz_to_bark": unit(core.hz_to_bark, 50, 3000),
    "hz_to_erb": unit(core.hz_to_erb, 50, 3000),
    "hz_to_mel": unit(core.hz_to_mel, 50, 3000),
    "hz_to_midi": unit(core.hz_to_midi, 50, 3000),
    "hz_to_unit": unit(partial(core.hz_to_unit, **BAND), 50, 3000),
    "istft": Case(
        lambda real, imaginary: core.istft(real + 1j * imaginary, hop_length=HOP),
        (uniform(-1, 1, 4, 9), uniform(-1, 1, 4, 9)),
    ),
    "kde_consistency_loss": loss(
        core.kde_consistency_loss, "(n),(n),(m),(m)", F0, GAINS, F0[:, :3] + 9, GAINS[:, :3]
    ),
    "limiter": Case(
        lambda x, t: core.limiter(x, threshold_db=t, **DYNAMICS, lookahead_s=0.001),
        (AUDIO, THRESHOLDS),
    ),
    "linear_lookup": Case(
        # A table for each frame, and one for all.
        lambda c, t: [
            core.linear_lookup(c, t, hop_length=HOP),
            core.linear_lookup(c, t[..., 0, :]),
        ],
        (uniform(-2, 2, N_SAMPLES), uniform(-1, 1, 4, 7)),
    ),
    "loudness_db": Case(partial(core.loudness_db, **RATES, n_fft=16), (AUDIO,)),
    "mel_spectral_loss": spectral(partial(core.mel_spectral_loss, sample_rate=RATE)),
    "mel_spectrogram": Case(partial(core.mel_spectrogram, **RATES, n_fft=16, n_mels=4), (AUDIO,)),
    "mel_to_hz": unit(core.mel_to_hz, 50, 3000),
    "mfcc": Case(partial(core.mfcc, **RATES, n_fft=16, n_mels=4, n_mfcc=3), (AUDIO,)),
    "midi_to_hz": unit(core.midi_to_hz, 20, 90),
    "midi_to_unit": unit(core.midi_to_unit, 20, 90),
    "modulated_delay": Case(
        lambda x, m, g: core.modulated_delay(
            x, m, sample_rate=RATE, center_ms=0.7, depth_ms=0.4, gain=g
        ),
        (AUDIO, uniform(-1, 1, AUDIO.shape[-1]), uniform(-1, 1, AUDIO.shape[-1])),
    ),
    "mu_law_decode": unit(core.mu_law_decode, -1, 1),
    "mu_law_encode": unit(core.mu_law_encode, -1, 1),
    "multi_scale_spectral_loss": spectral(
        partial(core.multi_scale_spectral_loss, **WEIGHTS, sample_rate=RATE)
    ),
    "normalize_harmonics": Case(
        partial(core.normalize_harmonics, sample_rate=RATE), (uniform(0, 1, 4, 6), F0)
    ),
    "one_pole": Case(partial(core.one_pole, sample_rate=RATE), (uniform(0.001, 0.1),)),
    "ordered_frequencies": unit(partial(core.ordered_frequencies, **BAND), -2.0, 2.0),
    "oscillator_bank": Case(
        partial(core.oscillator_bank, sample_rate=RATE),
        (uniform(100, 3000, 9, 2), uniform(0, 1, 9, 2)),
    ),
    "overlap_add": Case(
        partial(core.overlap_add, hop_length=HOP, n_samples=N_SAMPLES), (uniform(-1, 1, 4, 12),)
    ),
    "pcen": Case(core.pcen, (uniform(0, 9, 4, 5), uniform(0.1, 0.9, 5))),
    "pcen_smoothing": unit(partial(core.pcen_smoothing, **RATES)),
    "phase_loss": spectral(core.phase_loss),
    "pitch_posterior": pitch(partial(core.pitch_posterior, bins_per_octave=12)),
    "poles_to_hz": of_poles(partial(core.poles_to_hz, sample_rate=RATE)),
    "power_db": Case(partial(core.power_db, hop_length=HOP, win_length=12), (AUDIO,)),
    "power_to_db": unit(core.power_to_db),
    "pulse": Case(partial(core.pulse, **SOUND, n_harmonics=4), (F0, GAINS, uniform(0.2, 0.8, 4))),
    "pyin": Case(
        lambda x: jax.tree.map(
            lambda y: y.astype(x.dtype), pitch(core.pyin).function(x, bins_per_octave=24)
        ),
        (AUDIO,),
        False,
    ),
    "reflection_to_allpole": Case(core.reflection_to_allpole, (uniform(-0.9, 0.9, 3),)),
    "remove_above_nyquist": Case(
        partial(core.remove_above_nyquist, sample_rate=RATE), (GAINS, 10 * F0)
    ),
    "resample": Case(partial(core.resample, orig_rate=2, target_rate=3), (AUDIO,)),
    "resample_controls": Case(partial(core.resample_controls, n_frames=7, method="cubic"), (F0,)),
    "rms": Case(partial(core.rms, hop_length=HOP, win_length=12), (AUDIO,)),
    "safe_divide": Case(core.safe_divide, (GAINS, F0)),
    "safe_log": unit(core.safe_log),
    "safe_sqrt": unit(core.safe_sqrt),
    "sawtooth": waveform(core.sawtooth),
    "sinc_bandpass": Case(
        partial(core.sinc_bandpass, sample_rate=RATE, win_length=9), (HZ, HZ + WIDTHS)
    ),
    "sinc_response": response(
        lambda f, c, b: core.sinc_response(f, c, c + b, sample_rate=RATE, win_length=9)
    ),
    "sinc_highpass": Case(
        partial(core.sinc_highpass, sample_rate=RATE, win_length=9), (uniform(100, 3000),)
    ),
    "sinc_lowpass": Case(
        partial(core.sinc_lowpass, sample_rate=RATE, win_length=9), (uniform(100, 3000),)
    ),
    "sinusoidal_synthesis": Case(
        partial(core.sinusoidal_synthesis, **SOUND),
        (uniform(100, 3000, 4, 2), uniform(0, 1, 4, 2)),
    ),
    "sinusoidal_to_harmonic": Case(
        partial(core.sinusoidal_to_harmonic, sample_rate=RATE, n_harmonics=5),
        (uniform(100, 3000, 4, 2), uniform(0, 1, 4, 2), F0),
    ),
    "soft_limit": unit(core.soft_limit),
    "sos_filter": Case(core.sos_filter, (AUDIO, SECTIONS)),
    "spectral_bandwidth": shape(core.spectral_bandwidth),
    "spectral_centroid": shape(core.spectral_centroid),
    "spectral_convergence_loss": spectral(core.spectral_convergence_loss),
    "spectral_flatness": Case(core.spectral_flatness, (uniform(0, 1, 4, 5),)),
    "spectral_rolloff": shape(core.spectral_rolloff),
    "spectnet_impulse_response": Case(
        partial(core.spectnet_impulse_response, sample_rate=RATE, n_taps=9),
        (HZ, WIDTHS, GAINS[:, :2]),
    ),
    "spectrogram": Case(partial(core.spectrogram, n_fft=16, hop_length=HOP), (AUDIO,)),
    "square": waveform(core.square),
    "stable_biquad": Case(core.stable_biquad, (uniform(-1, 1, 5),)),
    "stft": Case(in_parts(partial(core.stft, n_fft=16, hop_length=HOP)), (AUDIO,)),
    "sym_exp_sigmoid": unit(core.sym_exp_sigmoid),
    "triangle": waveform(core.triangle),
    "triangular_response": Case(
        lambda c: core.triangular_response(FREQUENCIES.astype(c.dtype), jnp.cumsum(9 + c, -1)),
        (uniform(50, 900, 4),),
    ),
    "two_way_mismatch_loss": loss(
        partial(core.two_way_mismatch_loss, sample_rate=RATE),
        "(c),(n),(n)",
        *(uniform(200, 900, 2), F0, GAINS),
    ),
    "unit_to_hz": unit(partial(core.unit_to_hz, **BAND), 0, 1),
    "unit_to_midi": unit(core.unit_to_midi, 0, 1),
    "upsample": Case(partial(core.upsample, hop_length=HOP, method="cubic"), (F0,)),
    "variable_delay": Case(
        partial(core.variable_delay, max_delay=9, interpolation="cubic"),
        (AUDIO, uniform(0, 9, AUDIO.shape[-1])),
    ),
    "viterbi": Case(
        lambda x: core.viterbi(x, core.pitch_transition(4, reach=1)).astype(x.dtype),
        (uniform(-3, 0, 5, 5),),
        False,
    ),
    "wasserstein_loss": loss(
        core.wasserstein_loss, "(n),(n),(m),(m)", F0, GAINS, F0[:, :3] + 9, GAINS[:, :3]
    ),
    "wavetable_synthesis": Case(
        # A table for each frame, and one for all, as they are and band-limited.
        lambda f, a, t: [
            core.wavetable_synthesis(f, a, x, **SOUND, band_limited=limited)
            for x in (t, t[..., 0, :])
            for limited in (False, True)
        ],
        (F0, GAINS, uniform(-1, 1, 4, 16)),
    ),
    "yin": pitch(core.yin),
}


def test_every_function_has_a_case():
    public = {
        name
        for name, value in vars(core).items()
        if inspect.isfunction(inspect.unwrap(value)) and not name.startswith("_")
    }
    public = {name for name in public if not name.endswith("_init")}
    covered = CASES.keys() | STREAMED.keys() | STATIC
    assert public - covered == set(), "give it a case, or say why it has none"
    assert covered - public == set(), "it is gone"
    assert set(STREAMED.values()) <= CASES.keys() | STATIC


@pytest.mark.parametrize("name", sorted(CASES))
def test_values_gradients_and_transformations_agree_in_one_program(name):
    """All that a compiler has to see, in one program: it costs a fifth of one for each."""
    function, arguments, differentiable, growth = CASES[name]
    scale = 10 * growth * max(1.0, *(float(np.abs(x).max()) for x in arguments))

    def total(*xs):
        leaves = jax.tree.leaves(function(*xs))
        return sum(map(jnp.sum, leaves)), leaves

    def everything(xs, zeros):
        at_zeros = jax.grad(total, argnums=tuple(range(len(zeros))), has_aux=True)
        single = at_zeros(*zeros) if differentiable else ((), jax.tree.leaves(function(*zeros)))
        return batched_alike(function, *xs), single

    xs = tuple(jnp.asarray(x, DTYPES[-1]) for x in arguments)
    # In float32, whose range is the narrower.
    zeros = tuple(jnp.zeros(x.shape, jnp.float32) for x in arguments)
    (whole, alike), (gradients, single) = quick_jit(everything)(xs, zeros)
    for other in alike.values():
        assert_trees_close(other, whole, scale)
    for gradient in gradients:
        assert np.isfinite(gradient).all(), "at zeros"
    assert {leaf.dtype for leaf in jax.tree.leaves(whole)} == {np.dtype(DTYPES[-1])}
    assert {leaf.dtype for leaf in single} == {np.dtype(np.float32)}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
def test_compiled_and_eager_results_are_equal(name):
    """Here operation by operation; the examples in docstrings run eagerly as well."""
    function, arguments, _, growth = CASES[name]
    scale = 10 * growth * max(1.0, *(float(np.abs(x).max()) for x in arguments))
    xs = tuple(jnp.asarray(x, DTYPES[-1]) for x in arguments)
    assert_trees_close(jax.jit(function)(*xs), function(*xs), scale)


def test_numpy_arrays_are_accepted():
    """Traced only. Losses as they are: `jnp.vectorize` would make JAX's arrays of these."""
    for case in CASES.values():
        function = getattr(case.function, "__wrapped__", case.function)
        given = partial(function, *(np.asarray(x, np.float32) for x in case.arguments))
        assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(given))} == {np.dtype("f4")}
