from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    DTYPES,
    assert_close,
    assert_finite_grads,
    check_dtypes,
    check_grads,
    compiled,
    noise,
    sine,
)
from jaxtyping import TypeCheckError

from ddspx import core

multi_scale_spectral_loss, loudness_db = map(
    compiled, (core.multi_scale_spectral_loss, core.loudness_db)
)

TERMS = ["mag", "logmag", "delta_time", "delta_freq", "cumsum_freq"]
ALL = {f"{name}_weight": 0.5 + i for i, name in enumerate(TERMS)}
SMALL = {"n_ffts": (32, 16), **ALL}
LOUDNESS = {"loudness_weight": 0.7, "sample_rate": 16000}


def magnitudes(audio, n_fft, n_frames, first):
    """Magnitudes of frames that start a quarter of a frame apart, the first at `first`."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    padded = np.pad(audio, n_fft)
    starts = n_fft + first + n_fft // 4 * np.arange(n_frames)
    frames = np.stack([padded[start : start + n_fft] for start in starts])
    return np.abs(np.fft.rfft(frames * window))


def definition(target, predicted, n_ffts, weights):
    """The sum in the docstring for one pair of recordings, in float64."""
    loss = 0
    for n_fft in n_ffts:
        first, second = (
            magnitudes(audio, n_fft, 1 + len(audio) // (n_fft // 4), -(n_fft // 2))
            for audio in (target, predicted)
        )
        difference = first - second
        logs = np.log(np.maximum(first, 1e-5)) - np.log(np.maximum(second, 1e-5))
        terms = {
            "mag_weight": difference,
            "logmag_weight": logs,
            "delta_time_weight": np.diff(difference, axis=0),
            "delta_freq_weight": np.diff(difference, axis=1),
            "cumsum_freq_weight": np.cumsum(difference, axis=1),
        }
        for name, weight in weights.items():
            if terms[name].size:
                loss += weight * np.mean(np.abs(terms[name]))
    return loss


def of_spectrograms(target, predicted, n_ffts):
    """The default loss composed of public functions, for JAX to differentiate."""
    loss = 0
    for n_fft in n_ffts:
        first, second = (
            core.spectrogram(audio, n_fft=n_fft, hop_length=n_fft // 4)
            for audio in (target, predicted)
        )
        loss += jnp.mean(jnp.abs(first - second))
        loss += jnp.mean(jnp.abs(core.safe_log(first) - core.safe_log(second)))
    return loss


# Values


@pytest.mark.parametrize("term", TERMS)
def test_each_term_is_its_definition(term):
    target, predicted = noise(2, 150)
    weights = {**dict.fromkeys(ALL, 0.0), f"{term}_weight": 0.7}
    actual = multi_scale_spectral_loss(
        jnp.asarray(target), jnp.asarray(predicted), n_ffts=(64, 16), **weights
    )
    expected = definition(target, predicted, (64, 16), {f"{term}_weight": 0.7})
    assert_close(actual, expected, scale=expected)


# Less than one hop, fewer than four frames, just four, a hop's multiple, and a remainder.
@pytest.mark.parametrize("n_samples", [1, 7, 12, 13, 16, 64, 91])
def test_any_length_is_its_definition(n_samples):
    target, predicted = noise(2, n_samples)
    actual = multi_scale_spectral_loss(
        jnp.asarray(target), jnp.asarray(predicted), n_ffts=(16,), **ALL
    )
    expected = definition(target, predicted, (16,), ALL)
    assert_close(actual, expected, scale=expected)


def test_the_six_default_sizes_are_the_definition():
    target, predicted = 0.1 * noise(2, 4001)
    n_ffts = (2048, 1024, 512, 256, 128, 64)
    actual = multi_scale_spectral_loss(jnp.asarray(target), jnp.asarray(predicted))
    expected = definition(target, predicted, n_ffts, {"mag_weight": 1.0, "logmag_weight": 1.0})
    assert_close(actual, expected, scale=expected)


def test_the_loudness_term_is_a_mean_difference_of_loudness():
    target, predicted = jnp.asarray(noise(2, 3000))
    first, second = (
        loudness_db(audio, sample_rate=22050, hop_length=512, n_fft=2048)
        for audio in (target, predicted)
    )
    actual = multi_scale_spectral_loss(
        target,
        predicted,
        n_ffts=(16,),
        mag_weight=0.0,
        logmag_weight=0.0,
        loudness_weight=2.0,
        sample_rate=22050,
    )
    assert_close(actual, 2 * np.mean(np.abs(np.asarray(first - second))), scale=10)


def test_a_batch_is_the_mean_of_its_examples():
    # 120,000 samples are more than one pass takes on a CPU; 4 x 30,000 makes two passes of two.
    target, predicted = noise(2, 4, 30000)
    actual = multi_scale_spectral_loss(
        jnp.asarray(target), jnp.asarray(predicted), n_ffts=(256, 64)
    )
    weights = {"mag_weight": 1.0, "logmag_weight": 1.0}
    expected = np.mean(
        [definition(*pair, (256, 64), weights) for pair in zip(target, predicted, strict=True)]
    )
    assert_close(actual, expected, scale=expected)


def test_values_stay_comparable_to_ddsps():
    # DDSP starts frame i at sample i * hop and pads the end only.
    target, predicted = 0.1 * noise(2, 16000)
    expected = 0
    for n_fft in (2048, 1024, 512, 256, 128, 64):
        first, second = (
            magnitudes(audio, n_fft, -(-16000 // (n_fft // 4)), 0) for audio in (target, predicted)
        )
        expected += np.mean(np.abs(first - second))
        expected += np.mean(np.abs(np.log(first) - np.log(second)))
    actual = multi_scale_spectral_loss(jnp.asarray(target), jnp.asarray(predicted))
    assert float(actual) == pytest.approx(expected, rel=0.01)


# Physics


def test_a_gain_costs_its_logarithm_at_every_size():
    audio = jnp.asarray(noise(1000))
    loss = multi_scale_spectral_loss(audio, 0.5 * audio, n_ffts=(256, 64, 16), mag_weight=0.0)
    assert_close(loss, 3 * np.log(2), scale=3)


def test_the_loss_measures_spectra_not_phases():
    tone, shifted, other = (
        jnp.asarray(sine(frequency, 8000, sample_rate=16000, phase_rad=phase))
        for frequency, phase in [(440, 0), (440, 1.5), (466.16, 0)]
    )
    same = multi_scale_spectral_loss(tone, shifted, logmag_weight=0.0)
    semitone = multi_scale_spectral_loss(tone, other, logmag_weight=0.0)
    assert float(same) < 0.2 * float(semitone)


def test_equal_audio_costs_nothing():
    audio = jnp.asarray(noise(2, 200))
    assert_close(multi_scale_spectral_loss(audio, audio, **SMALL), 0, scale=10)


def test_the_loss_is_symmetric():
    target, predicted = jnp.asarray(noise(2, 200))
    forth = multi_scale_spectral_loss(target, predicted, **SMALL)
    back = multi_scale_spectral_loss(predicted, target, **SMALL)
    assert_close(forth, back, scale=10)


# Gradients


def test_gradients_are_the_slopes():
    def f(target, predicted):
        return core.multi_scale_spectral_loss(target, predicted, n_ffts=(16,), **ALL)

    # A step small enough to stay on one side of every absolute value's corner.
    check_grads(f, noise(30), noise(30, seed=1), eps=1e-6)


@pytest.mark.parametrize("n_samples", [1, 30, 150])
@pytest.mark.parametrize("argnums", [0, 1, (0, 1)])
def test_gradients_are_jaxs_of_the_spectrograms(n_samples, argnums):
    pair = jnp.asarray(noise(2, 3, n_samples))

    def f(target, predicted):
        return core.multi_scale_spectral_loss(target, predicted, n_ffts=(64, 16))

    actual = jax.jit(jax.grad(f, argnums))(*pair)
    expected = jax.jit(jax.grad(lambda *xs: of_spectrograms(*xs, (64, 16)), argnums))(*pair)
    jax.tree.map(lambda a, e: assert_close(a, e, scale=4), actual, expected)


def test_gradients_found_in_several_passes_are_those_found_in_one():
    target, predicted = jnp.asarray(noise(2, 3, 40000))
    f = jax.jit(
        jax.grad(lambda x, y: core.multi_scale_spectral_loss(x, y, n_ffts=(128,)), argnums=1)
    )
    several = f(target, predicted)
    one_by_one = [f(x, y) / 3 for x, y in zip(target, predicted, strict=True)]
    assert_close(several, np.stack(one_by_one), scale=1e-3)


@pytest.mark.parametrize("target", [0.0, 1.0])
@pytest.mark.parametrize("predicted", [0.0, 1.0])
def test_gradients_are_finite_for_silence_and_equality(target, predicted):
    def f(x, y):
        return core.multi_scale_spectral_loss(x, y, **SMALL)

    audio = noise(100)
    assert_finite_grads(f, target * audio, predicted * audio)


@pytest.mark.parametrize("shape", ["dc", "nyquist", "click"])
def test_gradients_are_finite_where_most_bins_are_empty(shape):
    audio = {
        "dc": np.ones(100),
        "nyquist": (-1.0) ** np.arange(100),
        "click": np.eye(1, 100, 50)[0],
    }[shape]
    for other in (0 * audio, 0.5 * audio):
        assert_finite_grads(
            lambda x, y: core.multi_scale_spectral_loss(x, y, **SMALL), audio, other
        )


def test_silence_has_no_gradient():
    f = jax.grad(lambda x, y: multi_scale_spectral_loss(x, y, **SMALL), argnums=(0, 1))
    for gradient in f(jnp.zeros(100), jnp.zeros(100)):
        assert not np.asarray(gradient).any()


def test_the_log_term_does_not_pull_below_its_floor():
    # Spectra below 1e-5: magnitudes differ, floored logarithms do not.
    target, predicted = jnp.asarray(1e-8 * noise(2, 100))
    f = jax.value_and_grad(
        lambda y: multi_scale_spectral_loss(target, y, n_ffts=(16,), mag_weight=0.0)
    )
    value, gradient = f(predicted)
    assert float(value) == 0
    assert not np.asarray(gradient).any()


# Compiled, batches and dtypes


def test_compiled_and_eager_results_are_equal():
    target, predicted = jnp.asarray(noise(2, 2, 100))
    f = jax.value_and_grad(lambda x, y: core.multi_scale_spectral_loss(x, y, **SMALL, **LOUDNESS))
    for eager, jitted in zip(
        jax.tree.leaves(f(target, predicted)),
        jax.tree.leaves(jax.jit(f)(target, predicted)),
        strict=True,
    ):
        assert_close(jitted, eager, scale=10)


def test_leading_axes_are_one_batch():
    target, predicted = jnp.asarray(noise(2, 2, 3, 100))
    together = multi_scale_spectral_loss(target, predicted, **SMALL)
    per_example = jax.vmap(partial(multi_scale_spectral_loss, **SMALL))
    apart = per_example(target.reshape(6, 100), predicted.reshape(6, 100))
    assert_close(together, np.mean(apart), scale=10)


def test_an_example_cannot_move_its_neighbours_gradient():
    target, predicted = jnp.asarray(noise(2, 2, 100))
    f = jax.jit(jax.grad(lambda y: core.multi_scale_spectral_loss(target, y, **SMALL)))
    changed = f(predicted.at[1].multiply(3.0))
    np.testing.assert_array_equal(changed[0], f(predicted)[0])


def test_the_loss_and_its_gradient_keep_the_dtype():
    def f(x, y):
        return core.multi_scale_spectral_loss(x, y, **SMALL, **LOUDNESS)

    check_dtypes(jax.jit(jax.value_and_grad(f)), noise(100), noise(100, seed=1))


def test_float32_is_near_float64():
    if len(DTYPES) < 2:
        pytest.skip("needs float64")
    pair = 0.1 * noise(2, 20000)
    f = jax.jit(
        jax.value_and_grad(
            lambda x, y: multi_scale_spectral_loss(x, y, n_ffts=(1024, 64)), argnums=1
        )
    )
    single, double = (f(*jnp.asarray(pair, dtype)) for dtype in DTYPES)
    np.testing.assert_allclose(single[0], double[0], rtol=1e-5)
    error = np.linalg.norm(single[1] - double[1]) / np.linalg.norm(double[1])
    # Where both magnitudes agree to rounding, the sign of their difference may differ.
    assert error < 1e-2


# Boundary errors


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("n_ffts", {"n_ffts": (30,)}),
        ("n_ffts", {"n_ffts": (0,)}),
        ("n_ffts", {"n_ffts": ()}),
        ("sample_rate", {"loudness_weight": 1.0}),
    ],
)
def test_wrong_arguments_are_named(name, arguments):
    with pytest.raises(ValueError, match=f"`{name}`"):
        core.multi_scale_spectral_loss(jnp.zeros(100), jnp.zeros(100), **arguments)


def test_lengths_must_agree():
    # The annotations' checker, on in tests only, sees it first.
    with pytest.raises((ValueError, TypeCheckError), match="predicted"):
        core.multi_scale_spectral_loss(jnp.zeros(100), jnp.zeros(99))


def test_empty_audio_is_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        core.multi_scale_spectral_loss(jnp.zeros((2, 0)), jnp.zeros((2, 0)))
