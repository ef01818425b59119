"""Random changes of the sound in a training step: what they change, and what they keep true."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import quick_jit

from ddspx import core
from ddspx.io import Batch
from ddspx.training import AutoencoderTrainConfig, ClassifierTrainConfig
from ddspx.training._augmentation import amplified, augmented, changes_sound

RATE, HOP, N = 8000, 80, 200


def crops(samples=2000):
    noise = np.random.default_rng(0).standard_normal((N, samples)).astype(np.float32)
    noise[-1] = 0  # silence stays silent
    return 10 ** np.linspace(-2, 0, N, dtype=np.float32)[:, None] * noise


def changed(audio, seed=0, **settings):
    config = ClassifierTrainConfig(**settings)
    assert changes_sound(config)
    program = quick_jit(lambda key, audio: augmented(key, audio, config, sample_rate=RATE))
    one, again = (np.asarray(program(jax.random.key(seed), audio)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, program(jax.random.key(seed + 1), audio))
    return one


def power(audio):
    return np.mean(np.square(audio, dtype=np.float64), axis=-1)


def test_a_gain_changes_the_loudness_by_as_much():
    audio = jnp.asarray(crops())
    loudness = quick_jit(lambda x: core.loudness_db(x, sample_rate=RATE, hop_length=HOP))
    frames = jnp.ones((N, 26))
    batch = Batch(audio, 200 * frames, frames, loudness(audio))
    after = quick_jit(lambda key: amplified(key, batch, 12.0))(jax.random.key(0))
    changes_db = 10 * np.log10(power(after.audio[:-1]) / power(audio[:-1]))
    assert -12 <= changes_db.min() < -11 and 11 < changes_db.max() <= 12
    assert np.histogram(changes_db, 4, (-12, 12))[0].min() > 30
    np.testing.assert_allclose(after.loudness_db, loudness(after.audio), atol=2e-3)
    np.testing.assert_array_equal(after.loudness_db[-1], -80)
    for name in ("f0_hz", "f0_confidence"):
        np.testing.assert_array_equal(getattr(after, name), getattr(batch, name))


def test_noise_has_ratios_up_to_30_db_above_the_lowest_and_keeps_the_power():
    audio = crops()
    after = changed(audio, noise_snr_db=3.0)
    np.testing.assert_allclose(power(after), power(audio), rtol=1e-4)
    # The crop is what correlates with the one before; the noise is the rest.
    np.testing.assert_array_equal(after[-1], 0)
    after, audio = after[:-1], audio[:-1]
    share = np.sum(after * audio, axis=-1) / np.sum(audio**2, axis=-1)
    ratios_db = 10 * np.log10(share**2 * power(audio) / power(after - share[:, None] * audio))
    assert 2.7 < ratios_db.min() < 5 and 31 < ratios_db.max() < 33.3
    assert np.histogram(ratios_db, 4, (3, 33))[0].min() > 30


def test_rooms_decay_within_their_time_and_keep_the_power():
    audio = np.zeros((N, 4500), np.float32)
    audio[:-1, 100] = 1
    after = changed(audio, reverb_s=0.5)
    np.testing.assert_allclose(power(after), power(audio), rtol=1e-4)
    np.testing.assert_array_equal(after[-1], 0)
    after = after[:-1]
    assert np.abs(after[:, :100]).max() < 1e-6 and (after[:, 100] > 0).all()
    tail = after[:, 101:].astype(np.float64) / after[:, 100:101]
    # From the energies of two parts of an even decay follows its time.
    early, late = (power(tail[:, begin : begin + 200]) for begin in (0, 200))
    t60_s = 60 * 200 / RATE / (10 * np.log10(early / late))
    assert 0.03 < t60_s.min() < 0.1 and 0.4 < t60_s.max() < 0.75
    assert np.histogram(t60_s, 4, (0.05, 0.5))[0].min() > 30
    loudest = tail.shape[1] * power(tail)
    assert loudest.min() < 0.05 and 0.8 < loudest.max() < 1.3
    assert np.abs(tail[:, 4000:]).max() < 1e-5


def test_no_setting_changes_nothing():
    settings = {"noise_snr_db": 0.0, "reverb_s": 0.1, "gain_db": 6.0}
    assert not changes_sound(ClassifierTrainConfig())
    assert all(changes_sound(ClassifierTrainConfig(**{k: v})) for k, v in settings.items())


def test_settings_out_of_range_are_refused():
    for name, value, words in (
        ("reverb_s", 11.0, "from 0 to 10"),
        ("reverb_s", -1.0, "from 0 to 10"),
        ("gain_db", 61.0, "from 0 to 60"),
        ("noise_snr_db", float("nan"), "from -60 to 120"),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must be {words}, got"):
            ClassifierTrainConfig(**{name: value})
    with pytest.raises(ValueError, match="`gain_db` must be from 0 to 60, got -1"):
        AutoencoderTrainConfig(gain_db=-1.0)
