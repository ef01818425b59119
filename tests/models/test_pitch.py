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
    LIVE,
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
from ddspx.models.pitch.features import analyse_whole

FOLDER = Path(pitch.__file__).parent
analyse = quick_jit(analyse_whole, static_argnames="config")
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


def test_the_level_does_not_change_the_result(model):
    audio = tone(220, 2350, config=SMALL) + 0.01 * noise(2350)
    levels = np.array([1.0, 1e-2, 30.0])
    scaled = jnp.asarray(levels[:, None] * audio, DTYPE)
    found = np.asarray(features(scaled, SMALL))
    np.testing.assert_allclose(found[1:], found[:1].repeat(2, 0), atol=1e-4)
    f0_hz, confidence = track(model, scaled)
    np.testing.assert_allclose(cents(f0_hz[1:], f0_hz[:1]), 0, atol=0.1)
    np.testing.assert_allclose(confidence[1:], confidence[:1].repeat(2, 0), atol=1e-3)


def test_a_tone_without_an_offset_is_not_changed(model):
    """The pitch of a tone without an offset does not change, up to rounding."""
    audio = jnp.asarray(tone(220, 2400, config=SMALL)[None], DTYPE)
    for win_length, power in zip(SMALL.win_lengths, analyse(audio, SMALL).power, strict=True):
        n_fft = 2 * (power.shape[-1] - 1)
        plain = stft(audio, n_fft=n_fft, win_length=win_length, hop_length=HOP)
        inside = np.s_[:, 6:-6]
        largest = float(np.max(power))
        np.testing.assert_allclose(
            power[inside], np.abs(plain)[inside] ** 2, atol=1e-9 * largest, rtol=1e-4
        )


def test_an_offset_does_not_change_the_result_after_its_end():
    audio = np.concatenate([tone(220, 3000, config=SMALL) - 4, np.zeros(2000)])
    for power in analyse(jnp.asarray(audio[None], DTYPE), SMALL).power:
        # Half of the long window is 345 samples.
        assert not np.any(power[0, 34:])
        assert np.any(power[0, 33])


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


@pytest.mark.parametrize("config", [SMALL, LIVE], ids=["centred", "live"])
def test_a_frame_depends_on_no_sample_beyond_the_look_ahead(config):
    model, hop = toy_tracker(config), config.hop_length
    audio = melody(1)[0]
    frame = 12
    last = frame * hop + model.look_ahead
    # Half of the long window, and seven frames of convolutions; live, 10 ms.
    assert model.look_ahead == {SMALL: 690 // 2 + 7 * 100, LIVE: 80}[config]
    sounds = np.stack([audio, audio, audio])
    sounds[1, last:] = 0
    sounds[2, last - hop // 2 :] = 0
    voicing = np.asarray(listen(model, jnp.asarray(sounds, DTYPE)).voicing)[:, frame]
    assert_same([voicing[1]], [voicing[0]])
    assert np.abs(voicing[2] - voicing[0]) > 1e-6


def test_levels_are_compared_with_the_loudest_of_two_seconds():
    """By definition: 20 dB softer are two bels of the six that count, so -1 of -3."""
    hop, second = SMALL.hop_length, SMALL.sample_rate
    audio = tone(220, 4 * second, config=SMALL)
    audio[second : second + second // 2] *= 0.1
    audio[second + second // 2 : 2 * second] = 0
    audio[2 * second :] *= 0.01
    found = np.asarray(analyse(jnp.asarray(audio[None], DTYPE), SMALL).surroundings)[0, :, 0]
    per_second = second // hop
    np.testing.assert_allclose(found[10 : per_second - 10], 0, atol=0.02)
    np.testing.assert_allclose(found[per_second + 5 : per_second + 35], -1, atol=0.02)
    np.testing.assert_allclose(found[per_second + 45 : 2 * per_second - 5], -3)
    # At 2.9 s the loud first second is still known, and after 3 s it is forgotten.
    np.testing.assert_allclose(found[2 * per_second + 10 : 3 * per_second - 10], -2, atol=0.02)
    np.testing.assert_allclose(found[3 * per_second + 50 :][:-10], 0, atol=0.02)


def test_broad_bands_hold_their_shares_of_the_power():
    """Two tones of equal power in two of six bands, each a half, -3 dB."""
    time_s = np.arange(8000) / 8000
    audio = np.sin(2 * np.pi * 200 * time_s) + np.sin(2 * np.pi * 2000 * time_s)
    found = np.asarray(analyse(jnp.asarray(audio[None], DTYPE), SMALL).surroundings)[0, 40, 1:]
    expected = 1 + np.log10(np.array([0, 0.5, 0, 0.5, 0, 0]) + 1e-4) / 2
    np.testing.assert_allclose(found, expected, atol=0.08)


@pytest.mark.parametrize(
    ("config", "hops", "offset"),
    [(SMALL, 1, 0.0), (SMALL, 5, 0.0), (SMALL, 5, -5.0), (LIVE, 1, 0.0)],
)
def test_a_stream_equals_the_whole(config, hops, offset):
    model, hop = toy_tracker(config), config.hop_length
    audio = melody(3) + offset
    whole = track(model, jnp.asarray(audio, DTYPE))
    length = audio.shape[1] + -audio.shape[1] % hop + (model.delay + 1) * hop
    length += -length % (hops * hop)
    flushed = np.pad(audio, ((0, 0), (0, length - audio.shape[1])))
    start = model.init(batch_shape=(3,), dtype=DTYPE)
    state, tracks = start, []
    for block in np.split(flushed, flushed.shape[1] // (hops * hop), axis=1):
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


def test_sounds_without_an_axis_are_refused(model):
    for hear in (model, model.track):
        with pytest.raises(Exception, match="audio"):
            hear(jnp.zeros((), DTYPE))


def test_examples_of_a_batch_are_independent(model):
    audio = jnp.asarray(melody(2, 2), DTYPE)
    together = track(model, audio)
    mapped = quick_jit(jax.vmap(lambda x: model.track(x)))(audio)
    assert_same(mapped, together)
    # The same sound in another batch of the same shape, which needs no new compilation.
    others = track(model, jnp.stack([audio[1, 1], 0 * audio[0, 0], audio[0, 1]]))
    assert_same([x[0] for x in others], [x[1, 1] for x in together])
    assert_same([x[2] for x in others], [x[0, 1] for x in together])


@pytest.mark.slow
def test_compiled_and_eager_results_are_equal(model):
    audio = jnp.asarray(melody(3), DTYPE)
    assert_same(model.track(audio), track(model, audio))


def test_an_empty_batch_has_an_empty_track(model):
    tracks = model.track(jnp.zeros((2, 0, 500), DTYPE))
    assert all(x.shape == (2, 0, 6) for x in tracks)


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


def test_the_shipped_weights_are_small_and_plain_files(shipped):
    files = [path for path in (FOLDER / "weights").rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {
        "weights.safetensors",
        "config.json",
        "provenance.json",
    }
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md"}
    assert sum(path.stat().st_size for path in files) < 2e6
    assert json.loads((FOLDER / "weights" / "provenance.json").read_text())
    assert shipped.look_ahead <= 0.16 * shipped.config.sample_rate
    assert shipped.config.fmin <= 32 and shipped.config.fmax >= 4400


def test_tones_have_a_pitch_and_silence_has_none(shipped):
    f0_hz = np.array([41.2, 73.4, 146.8, 293.7, 587.3, 1174.7, 1975.5, 3729.3])
    sounds = [np.zeros(9600), *(tone(f, 9600, n_harmonics=12) for f in f0_hz)]
    found, confidence = track(shipped, jnp.asarray(np.stack(sounds), jnp.float32))
    assert np.abs(confidence[0]).max() < 0.01
    # Away from the ends, where the tone begins and ends abruptly.
    inside = slice(8, 32)
    assert np.min(np.asarray(confidence)[1:, inside]) > 0.9
    assert np.abs(cents(np.asarray(found)[1:, inside], f0_hz[:, None])).max() < 3


def test_an_offset_far_above_a_quiet_tone_does_not_change_its_pitch(shipped):
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
        assert np.abs(confidence - sure).max() < 0.05
    unheard = track(shipped, jnp.asarray(0 * quiet + 0.5, jnp.float32))
    assert np.asarray(unheard.confidence)[:, inside].max() < 0.01


# the live tracker that ships


@pytest.fixture(scope="module")
def live():
    return load_pitch_tracker(live=True)


def test_the_live_tracker_keeps_to_its_limits(live):
    config = live.config
    assert live.look_ahead <= 0.010 * config.sample_rate and live.delay == 0
    assert max(config.win_lengths) <= 0.045 * config.sample_rate
    assert config.hop_length == 160 and config.fmin <= 61.7 and config.fmax >= 4186
    with pytest.raises(ValueError, match="leave out `folder`"):
        load_pitch_tracker(live=True, folder="somewhere")


def test_the_live_tracker_gives_the_frames_of_the_whole_in_blocks_of_10_ms(live):
    f0_hz = np.repeat([98.0, 220.0, 0.0, 523.3, 1864.7, 3729.3], 2400)
    phase = 2 * np.pi * np.cumsum(f0_hz) / 16_000
    audio = sum(np.sin(k * phase) / k for k in (1, 2, 3, 4)) * (f0_hz > 0) * (f0_hz < 1900)
    audio = jnp.asarray(0.1 * (audio + np.sin(phase) * (f0_hz > 1900)), jnp.float32)
    whole = track(live, audio)
    state, tracks = live.init(), []
    for block in audio.reshape(-1, 160):
        state, frames = step(live, state, block)
        tracks.append(frames)
    streamed = [np.concatenate(parts) for parts in zip(*tracks, strict=True)]
    assert np.abs(cents(streamed[0], whole.f0_hz[:-1])).max() < 0.1
    np.testing.assert_allclose(streamed[1], whole.confidence[:-1], atol=1e-4)
    # When a tone has sounded for a tenth of a second.
    for i, hz in enumerate([98.0, 220.0, None, 523.3, 1864.7, 3729.3]):
        inside = slice(15 * i + 11, 15 * i + 14)
        if hz is None:
            assert streamed[1][inside].max() < 0.5
        else:
            assert np.abs(cents(streamed[0][inside], hz)).max() < 20
            assert streamed[1][inside].min() > 0.5


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
