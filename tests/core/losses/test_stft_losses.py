from functools import partial

import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from helpers import (
    assert_close,
    assert_finite_grads,
    check_grads,
    compiled,
    noise,
    quick_jit,
    sine,
)

from ddspx import core

spectral_convergence_loss = compiled(core.spectral_convergence_loss)
complex_spectral_loss = compiled(core.complex_spectral_loss)
mel_spectral_loss = compiled(core.mel_spectral_loss)
phase_loss = compiled(core.phase_loss)

SIZES = {"n_ffts": (32, 16)}
KINDS = ("phase", "instantaneous_frequency", "group_delay")


def losses(n_ffts):
    sizes = {"n_ffts": n_ffts}
    return {
        "convergence": partial(spectral_convergence_loss, **sizes),
        "complex": partial(complex_spectral_loss, **sizes),
        "mel": partial(mel_spectral_loss, sample_rate=16000, mag_weight=0.5, **sizes),
        **{kind: partial(phase_loss, kind=kind, **sizes) for kind in KINDS},
    }


LOSSES = losses(**SIZES)
EVERY = pytest.mark.parametrize("name", LOSSES)


def spectrum(audio, n_fft):
    """Spectra of frames centred on every quarter of a frame, in float64."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    padded = np.pad(audio, n_fft)
    starts = n_fft // 2 + n_fft // 4 * np.arange(1 + len(audio) // (n_fft // 4))
    return np.fft.rfft([window * padded[start : start + n_fft] for start in starts])


def phasors(audio, n_fft, kind):
    x = spectrum(audio, n_fft)
    if kind == "instantaneous_frequency":
        return x[1:] * x[:-1].conj()
    return x[:, 1:] * x[:, :-1].conj() if kind == "group_delay" else x


def definition(name, target, predicted):
    """The formula of each docstring for one pair of recordings."""
    losses = []
    for n_fft in SIZES["n_ffts"]:
        x, y = spectrum(target, n_fft), spectrum(predicted, n_fft)
        if name == "convergence":
            losses.append(np.linalg.norm(np.abs(x) - np.abs(y)) / np.linalg.norm(np.abs(x)))
        elif name == "complex":
            losses.append(np.mean(np.abs(x - y)))
        elif name == "mel":
            filters = librosa.filters.mel(
                sr=16000, n_fft=n_fft, n_mels=5 * n_fft // 32, norm=None, dtype=float
            )
            s, r = np.abs(x) @ filters.T, np.abs(y) @ filters.T
            logs = np.log(np.maximum(s, 1e-5)) - np.log(np.maximum(r, 1e-5))
            losses.append(0.5 * np.mean(np.abs(s - r)) + np.mean(np.abs(logs)))
        else:
            p, q = phasors(target, n_fft, name), phasors(predicted, n_fft, name)
            weights = np.abs(p) * np.abs(q)
            angles = np.angle(p) - np.angle(q)
            # One frame alone has no neighbour to differ from.
            total = weights.sum() if weights.size else 1.0
            losses.append(np.sum(weights * (1 - np.cos(angles))) / total)
    return np.mean(losses)


# Values


@EVERY
@pytest.mark.parametrize("n_samples", [7, 150])
def test_each_loss_is_its_definition(name, n_samples):
    target, predicted = noise(2, n_samples)
    actual = LOSSES[name](jnp.asarray(target), jnp.asarray(predicted))
    assert_close(actual, definition(name, target, predicted), scale=30)


@EVERY
def test_a_batch_is_the_mean_of_its_examples(name):
    # Of different levels, too.
    target, predicted = noise(2, 3, 60) * np.array([1.0, 0.1, 3.0])[:, None]
    together = LOSSES[name](jnp.asarray(target), jnp.asarray(predicted))
    apart = [definition(name, x, y) for x, y in zip(target, predicted, strict=True)]
    assert_close(together, np.mean(apart), scale=30)


def test_the_default_resolutions_run():
    @quick_jit
    def losses(target, predicted):
        return [
            core.spectral_convergence_loss(target, predicted),
            core.complex_spectral_loss(target, predicted),
            core.phase_loss(target, predicted),
            core.mel_spectral_loss(target, predicted, sample_rate=16000, fmin=50.0, fmax=7000.0),
        ]

    assert all(0 < float(loss) < 5 for loss in losses(*jnp.asarray(0.1 * noise(2, 3000))))


# Physics


@EVERY
def test_equal_audio_costs_nothing(name):
    audio = jnp.asarray(noise(200))
    assert_close(LOSSES[name](audio, audio), 0, scale=4)


def test_silence_is_as_far_as_the_target_itself():
    audio = jnp.asarray(noise(200))
    assert_close(LOSSES["convergence"](audio, 0 * audio), 1, scale=4)


def test_a_gain_costs_its_logarithm_in_mel():
    audio = jnp.asarray(noise(500))
    loss = mel_spectral_loss(audio, 0.25 * audio, sample_rate=16000, **SIZES)
    assert_close(loss, np.log(4), scale=4)


@pytest.mark.parametrize("level", [1e-3, 1.0, 1e3])
def test_phase_does_not_depend_on_level(level):
    target, predicted = jnp.asarray(noise(2, 300))
    for kind in KINDS:
        expected = LOSSES[kind](target, predicted)
        assert_close(LOSSES[kind](level * target, predicted / level), expected, scale=4)


def test_each_kind_of_phase_loss_is_sensitive_to_its_own_change():
    tone, turned, other = (
        jnp.asarray(sine(f_hz, 4000, sample_rate=16000, phase_rad=phase))
        for f_hz, phase in [(1000, 0), (1000, 2.0), (1040, 0)]
    )
    loss = partial(phase_loss, n_ffts=(256,))
    # A rotation by 2 radians changes the phase but not its advance (except at the ends).
    assert float(loss(tone, turned, kind="phase")) == pytest.approx(1 - np.cos(2), rel=0.05)
    assert float(loss(tone, turned)) < 0.01
    # 40 Hz are 1.005 radians from frame to frame, 64 samples later.
    assert float(loss(tone, other)) == pytest.approx(1 - np.cos(1.005), rel=0.1)
    # A click two samples later rotates the advance from bin to bin by two samples' worth of phase.
    clicks = jnp.zeros((2, 1024)).at[0, 512].set(1.0).at[1, 514].set(1.0)
    delay = loss(*clicks, kind="group_delay")
    np.testing.assert_allclose(delay, 1 - np.cos(2 * np.pi * 2 / 256), rtol=1e-4)


# Gradients


@EVERY
def test_gradients_are_the_slopes(name):
    # A step small enough to stay on one side of every absolute value's corner.
    check_grads(losses((16,))[name], noise(20), noise(20, seed=1), eps=1e-6)


@EVERY
def test_gradients_are_finite_at_singular_points(name):
    audio = np.stack(
        [np.zeros(60), np.ones(60), (-1.0) ** np.arange(60), np.eye(1, 60, 30)[0], noise(60)]
    )
    # Each sound is compared with silence, with half of itself and with itself, in both orders.
    ones, others = np.concatenate([audio] * 3), np.concatenate([0 * audio, 0.5 * audio, audio])
    pairs = np.concatenate([ones, others]), np.concatenate([others, ones])
    assert_finite_grads(LOSSES[name], *pairs)


# Boundaries


@pytest.mark.parametrize(
    ("message", "loss"),
    [
        ("`n_ffts` must be one or more multiples of 4", partial(phase_loss, n_ffts=(30,))),
        ("`n_ffts` must be", partial(mel_spectral_loss, sample_rate=8000, n_ffts=())),
        (
            "`n_mels` must have one number for each of 2 `n_ffts`",
            partial(mel_spectral_loss, sample_rate=8000, n_mels=(4,), **SIZES),
        ),
        (
            "`fmin` must be at least 0 and below `fmax`",
            partial(mel_spectral_loss, sample_rate=8000, fmin=5000.0),
        ),
    ],
)
def test_wrong_arguments_are_named(message, loss):
    with pytest.raises(ValueError, match=message):
        loss(jnp.zeros(100), jnp.zeros(100))
