"""The pitch tracker: the network, on whole sounds and on streams, and what ships."""

import json
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import compiled, noise, quick_jit
from toy_tracker import (
    DTYPE,
    HOP,
    SMALL,
    cents,
    features,
    listen,
    step,
    tone,
    toy_tracker,
    track,
)

from ddspx import core
from ddspx.models import pitch
from ddspx.models.pitch import decode_pitch, load_pitch_tracker
from ddspx.models.pitch.features import power_spectra

FOLDER = Path(pitch.__file__).parent
spectra = quick_jit(power_spectra, static_argnames="config")
stft = compiled(core.stft)


@pytest.fixture(scope="module")
def model():
    return toy_tracker()


@pytest.fixture(scope="module")
def shipped():
    return load_pitch_tracker()


# the network, on whole sounds and on streams


def melody(*batch, n_samples=2350):
    """Sounds that differ: gliding tones in noise."""
    sounds = []
    for seed in range(math.prod(batch)):
        rng = np.random.default_rng(seed)
        f0_hz = np.geomspace(*rng.uniform(100, 600, 2), n_samples)
        phase = 2 * np.pi * np.cumsum(f0_hz) / SMALL.sample_rate
        sounds.append(sum(np.sin(k * phase) / k for k in (1, 2, 3)) + 0.1 * noise(n_samples))
    return np.stack(sounds).reshape(*batch, n_samples)


def assert_same(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        # In float32, the order of a sum changes the last digits of a pitch.
        rtol = 1e-9 if DTYPE == np.float64 else 1e-3
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)


def test_level_is_not_heard(model):
    audio = tone(220, 2350, config=SMALL) + 0.01 * noise(2350)
    levels = np.array([1.0, 1e-2, 30.0])
    scaled = jnp.asarray(levels[:, None] * audio, DTYPE)
    found = np.asarray(features(scaled, SMALL))
    np.testing.assert_allclose(found[1:], found[:1].repeat(2, 0), atol=1e-4)
    f0_hz, confidence = track(model, scaled)
    np.testing.assert_allclose(cents(f0_hz[1:], f0_hz[:1]), 0, atol=0.1)
    np.testing.assert_allclose(confidence[1:], confidence[:1].repeat(2, 0), atol=1e-3)


def test_what_is_too_weak_to_be_an_offset_is_left(model):
    """The pitch of a tone without an offset does not change, up to rounding."""
    audio = jnp.asarray(tone(220, 2400, config=SMALL)[None], DTYPE)
    for win_length, power in zip(SMALL.win_lengths, spectra(audio, SMALL), strict=True):
        n_fft = 2 * (power.shape[-1] - 1)
        plain = stft(audio, n_fft=n_fft, win_length=win_length, hop_length=HOP)
        inside = np.s_[:, 6:-6]
        largest = float(np.max(power))
        np.testing.assert_allclose(
            power[inside], np.abs(plain)[inside] ** 2, atol=1e-9 * largest, rtol=1e-4
        )


def test_nothing_is_heard_of_an_offset_after_its_end():
    audio = np.concatenate([tone(220, 3000, config=SMALL) - 4, np.zeros(2000)])
    for power in spectra(jnp.asarray(audio, DTYPE), SMALL):
        # Half of the long window is 345 samples.
        assert not np.any(power[34:])
        assert np.any(power[33])


def test_estimates_follow_the_frame_rule(model):
    audio = jnp.asarray(melody(3), DTYPE)
    logits, voicing = listen(model, audio)
    assert logits.shape == (3, 24, SMALL.n_bins) and voicing.shape == (3, 24)
    assert logits.dtype == voicing.dtype == DTYPE
    assert np.std(np.asarray(voicing)) > 0
    # `track` decodes the same estimates.
    f0_hz, confidence = track(model, audio)
    assert f0_hz.dtype == confidence.dtype == DTYPE
    assert_same([confidence], [1 / (1 + np.exp(-np.asarray(voicing)))])
    decoded = quick_jit(decode_pitch, static_argnames="config")(logits, SMALL)
    assert np.abs(cents(f0_hz, decoded)).max() < 100


def test_what_is_said_of_a_frame_looks_ahead_as_far_as_it_says(model):
    audio = melody(1)[0]
    frame = 12
    last = frame * HOP + model.look_ahead
    assert model.look_ahead == HOP + 690 // 2
    sounds = np.stack([audio, audio, audio])
    sounds[1, last:] = 0
    sounds[2, last - HOP :] = 0
    logits = np.asarray(listen(model, jnp.asarray(sounds, DTYPE)).logits)[:, frame]
    assert_same([logits[1]], [logits[0]])
    assert np.abs(logits[2] - logits[0]).max() > 1e-4


@pytest.mark.parametrize(("hops", "offset"), [(1, 0.0), (5, 0.0), (5, -5.0)])
def test_a_stream_is_the_whole(model, hops, offset):
    audio = melody(3) + offset
    whole = track(model, jnp.asarray(audio, DTYPE))
    length = audio.shape[1] + -audio.shape[1] % HOP + (model.delay + 1) * HOP
    length += -length % (hops * HOP)
    flushed = np.pad(audio, ((0, 0), (0, length - audio.shape[1])))
    start = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), DTYPE), model.init(batch_shape=(3,)))
    state, tracks = start, []
    for block in np.split(flushed, flushed.shape[1] // (hops * HOP), axis=1):
        state, frames = step(model, state, jnp.asarray(block, DTYPE))
        assert frames.f0_hz.shape == (3, hops)
        tracks.append(frames)
    streamed = [np.concatenate(parts, axis=-1) for parts in zip(*tracks, strict=True)]
    n_frames = whole.f0_hz.shape[-1]
    assert_same([x[:, model.delay :][:, :n_frames] for x in streamed], whole)


def test_blocks_of_part_of_a_hop_are_refused(model):
    for samples in (0, 99, 150):
        with pytest.raises(ValueError, match=f"whole number of hops of 100 samples, got {samples}"):
            model.step(model.init(), jnp.zeros(samples, jnp.float32))


def test_sections_without_a_frame_are_refused(model):
    short = (model.context + 1) * HOP - 1
    sentence = f"`audio` must have at least {short + 1} samples, .*, got {short}"
    for hear in (model.estimate_section, model.track_section):
        with pytest.raises(ValueError, match=sentence):
            hear(jnp.zeros(short, DTYPE))


def test_features_of_too_few_frames_are_refused(model):
    with pytest.raises(ValueError, match="`features` must have more than 16 frames, got 16"):
        model.estimate(jnp.zeros((1, 16, SMALL.n_bins, 16), DTYPE))


def test_sounds_without_an_axis_are_refused(model):
    for hear in (model, model.track):
        with pytest.raises(Exception, match="audio"):
            hear(jnp.zeros((), DTYPE))


def test_batches_are_heard_one_by_one(model):
    audio = jnp.asarray(melody(2, 2), DTYPE)
    together = track(model, audio)
    mapped = quick_jit(jax.vmap(lambda x: model.track(x)))(audio)
    assert_same(mapped, together)
    # The same sound in another batch of the same shape, which needs no new compilation.
    others = track(model, jnp.stack([audio[1, 1], 0 * audio[0, 0], audio[0, 1]]))
    assert_same([x[0] for x in others], [x[1, 1] for x in together])
    assert_same([x[2] for x in others], [x[0, 1] for x in together])


@pytest.mark.slow
def test_jit_is_eager(model):
    audio = jnp.asarray(melody(3), DTYPE)
    assert_same(model.track(audio), track(model, audio))


def test_gradients_are_finite(model):
    def total(audio):
        logits, voicing = model(audio)
        return jnp.sum(jax.nn.log_softmax(logits)[..., 20:40]) + jnp.sum(voicing)

    gradient = quick_jit(jax.vmap(jax.grad(total)))
    n = 1500
    sounds = np.stack([np.zeros(n), np.full(n, 0.3), tone(200, n, config=SMALL), 1e-7 * noise(n)])
    # In float32, because its range is smaller.
    grads = np.asarray(gradient(jnp.asarray(sounds, jnp.float32)))
    assert grads.dtype == np.float32 and np.isfinite(grads).all()
    assert np.abs(grads[2]).max() > 0


def test_gradient_is_the_slope(model):
    if DTYPE != np.float64:
        pytest.skip("finite differences need float64")
    audio, direction = jnp.asarray(melody(1)), jnp.asarray(noise(1, 2350, seed=9))

    @quick_jit
    def slope(audio):
        return jax.jvp(lambda x: jnp.sum(model(x).logits[..., ::7]), (audio,), (direction,))

    after, before = (slope(audio + by * direction)[0] for by in (1e-7, -1e-7))
    np.testing.assert_allclose(slope(audio)[1], (after - before) / 2e-7, rtol=1e-4)


# the tracker that ships


def test_what_ships_is_small_and_plain(shipped):
    files = [path for path in (FOLDER / "weights").rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {
        "weights.safetensors",
        "config.json",
        "provenance.json",
    }
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md"}
    assert sum(path.stat().st_size for path in files) < 2e6
    assert json.loads((FOLDER / "weights" / "provenance.json").read_text())
    assert shipped.look_ahead <= 0.064 * shipped.config.sample_rate
    assert shipped.config.fmin <= 32 and shipped.config.fmax >= 2100


def test_tones_are_heard_and_silence_is_not(shipped):
    f0_hz = np.array([41.2, 73.4, 146.8, 293.7, 587.3, 1174.7, 1975.5])
    sounds = [np.zeros(9600), *(tone(f, 9600, n_harmonics=12) for f in f0_hz)]
    found, confidence = track(shipped, jnp.asarray(np.stack(sounds), jnp.float32))
    assert np.abs(confidence[0]).max() < 0.01
    # Away from the ends, where the tone begins and ends abruptly.
    inside = slice(8, 32)
    assert np.min(np.asarray(confidence)[1:, inside]) > 0.9
    assert np.abs(cents(np.asarray(found)[1:, inside], f0_hz[:, None])).max() < 3


def test_an_offset_far_above_a_quiet_tone_is_not_heard(shipped):
    f0_hz = np.array([41.2, 110.0, 392.0, 1174.7])
    quiet = np.stack([tone(f, 9600, level=5e-3) for f in f0_hz])
    inside = slice(8, 32)
    plain, sure = (
        np.asarray(x)[:, inside] for x in track(shipped, jnp.asarray(quiet, jnp.float32))
    )
    for offset in (0.1, -0.5):
        lifted = jnp.asarray(quiet + offset, jnp.float32)
        found, confidence = (np.asarray(x)[:, inside] for x in track(shipped, lifted))
        assert np.abs(cents(found, plain)).max() < 1
        assert np.abs(confidence - sure).max() < 0.02
    unheard = track(shipped, jnp.asarray(0 * quiet + 0.5, jnp.float32))
    assert np.asarray(unheard.confidence)[:, inside].max() < 0.01


# the document


def test_the_python_in_the_readme_runs(monkeypatch):
    monkeypatch.setattr(jax, "jit", quick_jit)
    names = {}
    for code in re.findall(
        r"^```python\n(.*?)^```", (FOLDER / "README.md").read_text(), re.M | re.S
    ):
        exec(compile(code, "README.md", "exec"), names)
    assert abs(cents(names["f0_hz"][30], 440)) < 3 and names["confidence"][30] > 0.9
    assert abs(cents(names["track"].f0_hz[-1], 440)) < 3


def test_links_of_the_readme_lead_to_files():
    text = (FOLDER / "README.md").read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (FOLDER / target).is_file() or "examples/train_pitch" in target, target
