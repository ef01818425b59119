"""The pitch tracker: features, refinement and decoding by definition, the network, the weights."""

import dataclasses
import json
import math
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import DTYPES, noise, quick_jit

from ddspx.models import pitch
from ddspx.models.pitch import (
    PitchConfig,
    PitchTracker,
    decode_pitch,
    load_pitch_tracker,
    pitch_features,
    save_pitch_tracker,
)
from ddspx.models.pitch.refine import autocorrelation, refine_pitch

FOLDER = Path(pitch.__file__).parent
DEFAULT = PitchConfig()
# Sizes that do not divide each other, so that nothing is right by chance.
SMALL = PitchConfig(
    sample_rate=8000,
    hop_length=100,
    win_lengths=(300, 690),
    fmin=60.0,
    bins_per_octave=24,
    n_bins=120,
    channels=3,
)
HOP = SMALL.hop_length
# Multiples of a bin's pitch in each window, in the order of the features.
MULTIPLES = ((1, 2, 3, 4), (1 / 3, 1 / 2, 1, 3 / 2, 2, 3, 4, 5, 6, 8))
DTYPE = DTYPES[-1]

features = quick_jit(pitch_features, static_argnames="config")
refine = quick_jit(refine_pitch, static_argnames="config")
correlate = quick_jit(autocorrelation, static_argnames="config")


# Modules in parts: those are what jax.jit takes in every version of flax.
def of_parts(method):
    def call(graph, weights, *args):
        return method(nnx.merge(graph, weights), *args)

    compiled = quick_jit(call, static_argnums=0)
    return lambda model, *args: compiled(*nnx.split(model), *args)


listen, track, step = map(of_parts, (PitchTracker.__call__, PitchTracker.track, PitchTracker.step))


@pytest.fixture(scope="module")
def model():
    """A small network whose voicing is no constant."""
    return nnx.jit(lambda: PitchTracker(SMALL, rngs=nnx.Rngs(0)))()


@pytest.fixture(scope="module")
def shipped():
    return load_pitch_tracker()


def tone(f0_hz, n_samples, *, config=DEFAULT, n_harmonics=8, level=0.1):
    """Harmonics that fall by 6 dB an octave, up to 45 % of the rate, in float64."""
    phase = 2 * np.pi * f0_hz * np.arange(n_samples) / config.sample_rate
    heard = range(1, 1 + min(n_harmonics, int(0.45 * config.sample_rate / f0_hz)))
    return level * sum(np.sin(k * phase + k) / k for k in heard)


def cents(f0_hz, expected_hz):
    return 1200 * np.log2(np.asarray(f0_hz, np.float64) / expected_hz)


# features


def windowed(audio, centre, win_length):
    """A frame under a periodic Hann window, and the window."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win_length) / win_length)
    start = centre - win_length // 2
    return audio[start : start + win_length] * window, window


def lagged(x, lags, longest):
    """Autocorrelation of x at fractional lags, by band-limited interpolation."""
    values = np.array([np.dot(x[: len(x) - abs(n)], x[abs(n) :]) for n in range(-longest, longest)])
    return np.sinc(np.asarray(lags)[:, None] - np.arange(-longest, longest)) @ values


def features_by_definition(audio, centre, config):
    columns = []
    for win_length, multiples in zip(config.win_lengths, MULTIPLES, strict=True):
        frame, window = windowed(audio, centre, win_length)
        n_fft = 2 ** math.ceil(math.log2(4 / 3 * win_length))
        power = np.abs(np.fft.rfft(frame, n_fft)) ** 2
        line_hz = config.sample_rate / n_fft
        width = 2 ** (1 / config.bins_per_octave) - 1
        for multiple in multiples:
            steps = round(config.bins_per_octave * math.log2(multiple))
            levels = []
            for b in range(config.n_bins):
                hz = config.fmin * 2 ** ((b + steps) / config.bins_per_octave)
                distance = np.abs(np.arange(len(power)) * line_hz - hz)
                band = np.maximum(0, 1 - distance / max(hz * width, line_hz)) @ power
                levels.append(1 + np.log10(band / power.sum() + 1e-8) / 4)
            columns.append(levels)
        octaves = np.arange(config.n_bins) / config.bins_per_octave
        lags = config.sample_rate / (config.fmin * 2**octaves)
        own = lagged(window, lags, win_length) / np.dot(window, window)
        # The mean square of the frame, from the lines that are looked at.
        repeated = lagged(frame, lags, win_length) / (2 * power.sum() / n_fft)
        columns.append(np.where(own > 0.1, repeated / np.maximum(own, 0.1), 0))
    return np.stack(columns, axis=-1)


def test_features_are_their_definition():
    # Nothing near Nyquist, where the interpolation between lags is a convention.
    audio = tone(171.3, 1000, config=SMALL) + np.convolve(noise(1000), np.hanning(9), "same") / 30
    actual = np.asarray(features(jnp.asarray(audio[None], DTYPE), SMALL))[0]
    assert actual.shape == (1 + 1000 // HOP, SMALL.n_bins, 16)
    for frame in (4, 5, 6):
        expected = features_by_definition(audio, frame * HOP, SMALL)
        for column in range(16):
            is_repetition = column in (4, 15)
            np.testing.assert_allclose(
                actual[frame, :, column],
                expected[:, column],
                # Of lags the window's faint ends wrap around; in float32 empty bands round.
                atol=2e-3 if is_repetition else 1e-7 if DTYPE == np.float64 else 3e-3,
                err_msg=f"feature {column}",
            )


@pytest.mark.parametrize("b", [60, 130])
def test_a_harmonic_tone_shows_in_its_bin(b):
    f0_hz = DEFAULT.fmin * 2 ** (b / DEFAULT.bins_per_octave)
    audio = jnp.asarray(tone(f0_hz, 6000)[None], DTYPE)
    frame = np.asarray(features(audio, DEFAULT))[0, 12]
    long = dict(zip(MULTIPLES[1], frame[:, 5:15].T, strict=True))
    # Powers 1, 1/4, 1/9... of 1.53 in all, of which a band holds a quarter at least.
    for multiple in (1, 2, 3, 4, 5, 6, 8):
        share = 1 / multiple**2 / 1.53
        level = 1 + math.log10(share) / 4
        assert level - 0.2 < long[multiple][b] < level + 0.1, multiple
    octave = DEFAULT.bins_per_octave
    # An octave below, its half is empty; an octave above, its half is the tone.
    assert long[1 / 2][b] < 0.2 and long[1 / 2][b + octave] > 0.8 and long[1][b - octave] < 0.2
    for repetition in (frame[:, 4], frame[:, 15]):
        assert 0.98 < repetition[b] < 1.02
        assert np.abs(repetition[b + 6 : b + octave]).max() < 0.9


def test_level_is_not_heard(model):
    audio = tone(220, 2350, config=SMALL) + 0.01 * noise(2350)
    levels = np.array([1.0, 1e-2, 30.0])
    heard = jnp.asarray(levels[:, None] * audio, DTYPE)
    found = np.asarray(features(heard, SMALL))
    np.testing.assert_allclose(found[1:], found[:1].repeat(2, 0), atol=1e-4)
    f0_hz, confidence = track(model, heard)
    np.testing.assert_allclose(cents(f0_hz[1:], f0_hz[:1]), 0, atol=0.1)
    np.testing.assert_allclose(confidence[1:], confidence[:1].repeat(2, 0), atol=1e-3)


# refinement


def test_autocorrelation_is_its_definition():
    audio = np.convolve(noise(2000), np.hanning(9), "same")
    correlation, mean_square = correlate(jnp.asarray(audio, DTYPE), SMALL)
    longest = 0.03 * SMALL.sample_rate
    assert correlation.shape[-1] > 4 * longest * 2 ** (40 / 1200)
    for i in (5, 11):
        frame, window = windowed(audio, i * HOP, 690)
        lags = np.arange(correlation.shape[-1]) / 4
        own = lagged(window, lags, 690) / np.dot(window, window)
        expected = lagged(frame, lags, 690) / np.dot(frame, frame) / own
        np.testing.assert_allclose(correlation[i], expected, atol=2e-3)
        np.testing.assert_allclose(
            mean_square[i], np.dot(frame, frame) / np.dot(window, window), rtol=1e-5
        )
    np.testing.assert_allclose(correlation[:, 0], 1, rtol=1e-6)


def test_autocorrelation_of_silence_is_nothing():
    correlation, mean_square = correlate(jnp.zeros(2000, DTYPE), SMALL)
    assert not np.any(correlation) and not np.any(mean_square)


def test_refined_pitch_is_exact():
    """Over the whole range, from guesses on either side."""
    f0_hz = 32.5 * 2 ** (np.arange(25) / 4.13)
    assert 2100 > f0_hz[-1] > 1700
    audio = jnp.asarray(np.stack([tone(f, 4097, n_harmonics=20) for f in f0_hz]), DTYPE)
    correlation, _ = correlate(audio, DEFAULT)
    for off in (-30, 0, 30):
        guess = jnp.asarray(f0_hz[:, None] * 2 ** (off / 1200), DTYPE)
        refined = refine(guess, correlation[:, 8:9], DEFAULT)
        error = np.abs(cents(refined[:, 0], f0_hz))
        # Three periods of the lowest are in the window, and harmonics begin to touch.
        assert error[f0_hz > 40].max() < 0.1 and error.max() < 0.5


def test_a_guess_stands_where_nothing_repeats():
    guesses = jnp.asarray(DEFAULT.fmin * 2 ** np.linspace(0.1, 6, 17)[None], DTYPE)
    hiss = jnp.asarray(noise(16 * 256), DTYPE)
    correlation, _ = correlate(jnp.stack([hiss, jnp.zeros_like(hiss)]), DEFAULT)
    guesses = jnp.broadcast_to(guesses, (2, 17))
    # High pitches have a peak that some noise passes for; here none reaches a half.
    assert np.abs(np.asarray(correlation[0, 4:13, 40:])).max() < 0.5
    refined = refine(guesses[:, 4:13], correlation[:, 4:13].at[..., :40].set(0), DEFAULT)
    np.testing.assert_array_equal(refined, guesses[:, 4:13])
    # A slope has no peak, however high it lies.
    slope = jnp.broadcast_to(
        jnp.linspace(1, 0.6, correlation.shape[-1], dtype=DTYPE), correlation.shape
    )
    np.testing.assert_array_equal(refine(guesses, slope, DEFAULT), guesses)


def test_refinement_stays_near_its_guess():
    """With a peak everywhere, it moves by 40 cents or 0.4 periods at most, twice."""
    f0_hz = DEFAULT.fmin * 2 ** np.linspace(0, 6.1, 40)
    n_lags = correlate(jnp.zeros(256, DTYPE), DEFAULT)[0].shape[-1]
    ragged = 0.6 + 0.4 * np.random.default_rng(0).uniform(size=(50, 40, n_lags))
    guess = jnp.broadcast_to(jnp.asarray(f0_hz, DTYPE), (50, 40))
    refined = np.asarray(refine(guess, jnp.asarray(ragged, DTYPE), DEFAULT), np.float64)
    assert np.mean(refined != guess) > 0.5
    rate, limit, now = 4 * DEFAULT.sample_rate, np.zeros(40), f0_hz
    for longest_s in (0.0075, 0.03):
        periods = np.maximum(1, np.floor(longest_s * f0_hz * 2 ** (-80 / 1200)))
        # One point and a half are the grid's and the parabola's.
        reach = np.minimum(periods * (2 ** (40 / 1200) - 1), 0.4) + 1.5 * f0_hz / rate
        limit = limit + 1200 * np.log2(1 / (1 - reach / periods))
    assert (np.abs(cents(refined, now)) <= limit).all()


# decoding


def decode(logits, config=SMALL, **options):
    return np.asarray(decode_pitch(jnp.asarray(logits, DTYPE), config, **options), np.float64)


def bin_hz(b, config=SMALL):
    return config.fmin * 2 ** (b / config.bins_per_octave)


def test_pitch_is_the_mean_around_the_strongest_bin():
    logits = np.full((3, SMALL.n_bins), -50.0)
    logits[0, 40] = 5
    logits[1, [60, 61, 63]] = np.log([0.5, 0.3, 0.4])  # the last is too far away to count
    logits[2, [0, 1, 119]] = np.log([0.6, 0.2, 0.5])
    expected = [bin_hz(40), bin_hz((0.5 * 60 + 0.3 * 61) / 0.8), bin_hz(0.2 / 0.8)]
    np.testing.assert_allclose(cents(decode(logits), expected), 0, atol=0.01)
    np.testing.assert_allclose(cents(decode(logits[0]), expected[0]), 0, atol=0.01)


def test_pitch_is_looked_for_within_limits():
    logits = np.full(SMALL.n_bins, -50.0)
    logits[[30, 60, 90]] = 1, 3, 2
    assert abs(cents(decode(logits, fmin=bin_hz(61)), bin_hz(90))) < 0.01
    assert abs(cents(decode(logits, fmax=bin_hz(50)), bin_hz(30))) < 0.01
    # Half a bin beyond a limit still counts, and the result lies within all the same.
    assert decode(logits, fmin=bin_hz(60.4)) == pytest.approx(bin_hz(60.4), rel=1e-6)
    assert decode(logits, fmin=bin_hz(10), fmax=bin_hz(59.6)) == pytest.approx(bin_hz(59.6))
    assert abs(cents(decode(logits, fmin=bin_hz(60.6), fmax=5e3), bin_hz(90))) < 0.01


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fmin": 200.0, "fmax": 200.0}, "`fmin` must be positive and below `fmax`, got 200.0"),
        ({"fmin": 0.0}, "`fmin` must be positive and below `fmax`, got 0.0"),
        ({"fmax": math.inf}, "below `fmax`, got 60.0 and inf Hz"),
        ({"fmax": math.nan}, "below `fmax`, got 60.0 and nan Hz"),
        ({"fmin": 3000.0, "fmax": 3900.0}, "leave some of the tracker's range, 60 to 1865 Hz"),
    ],
)
def test_ranges_without_a_pitch_are_refused(model, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        decode(np.zeros(SMALL.n_bins), **options)
    with pytest.raises(ValueError, match=sentence):
        jax.eval_shape(lambda audio: model.track(audio, **options), jnp.zeros(500, DTYPE))


def test_logits_of_another_config_are_refused():
    with pytest.raises(
        ValueError, match="`logits` and `config` must have the same number of bins, got 119"
    ):
        decode(np.zeros(119))


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
        # Enough for float32, in which a sum's order decides the last digits of a pitch.
        rtol = 1e-9 if DTYPE == np.float64 else 1e-3
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)


def test_estimates_follow_the_frame_rule(model):
    audio = jnp.asarray(melody(3), DTYPE)
    logits, voicing = listen(model, audio)
    assert logits.shape == (3, 24, SMALL.n_bins) and voicing.shape == (3, 24)
    assert logits.dtype == voicing.dtype == DTYPE
    assert np.std(np.asarray(voicing)) > 0
    # A tracked sound is the same estimates, decoded.
    f0_hz, confidence = track(model, audio)
    assert f0_hz.dtype == confidence.dtype == DTYPE
    assert_same([confidence], [1 / (1 + np.exp(-np.asarray(voicing)))])
    assert np.abs(cents(f0_hz, decode(logits))).max() < 100


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


@pytest.mark.parametrize("hops", [1, 5])
def test_a_stream_is_the_whole(model, hops):
    audio = melody(3)
    whole = track(model, jnp.asarray(audio, DTYPE))
    length = audio.shape[1] + -audio.shape[1] % HOP + (model.delay + 1) * HOP
    length += -length % (hops * HOP)
    flushed = np.pad(audio, ((0, 0), (0, length - audio.shape[1])))
    state, tracks = jax.tree.map(lambda x: x.astype(DTYPE), model.init((3,))), []
    for block in np.split(flushed, flushed.shape[1] // (hops * HOP), axis=1):
        state, heard = step(model, state, jnp.asarray(block, DTYPE))
        assert heard.f0_hz.shape == (3, hops)
        tracks.append(heard)
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


def test_sounds_without_an_axis_are_refused(model):
    for hear in (model, model.track):
        with pytest.raises(Exception, match="audio"):
            hear(jnp.zeros((), DTYPE))


def test_batches_are_heard_one_by_one(model):
    audio = jnp.asarray(melody(2, 2), DTYPE)
    together = track(model, audio)
    mapped = quick_jit(jax.vmap(lambda x: model.track(x)))(audio)
    assert_same(mapped, together)
    # In other company, by the program that the other tests have compiled.
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
    # In float32, whose range is the narrower.
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


# files


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pitch") / "model"
    save_pitch_tracker(folder, model, provenance={"licence": "none"})
    return folder


def test_a_saved_tracker_is_read_again(model, saved):
    again = load_pitch_tracker(folder=saved)
    assert again.config == SMALL
    assert jax.tree.structure(nnx.state(again)) == jax.tree.structure(nnx.state(model))
    for one, other in zip(*(jax.tree.leaves(nnx.state(m)) for m in (again, model)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert json.loads((saved / "provenance.json").read_text()) == {"licence": "none"}


@pytest.mark.parametrize(
    ("name", "content", "kind", "sentence"),
    [
        ("weights.safetensors", None, FileNotFoundError, "lacks weights.safetensors; copy the"),
        ("config.json", None, FileNotFoundError, "lacks config.json; copy the whole folder"),
        ("weights.safetensors", b"no", ValueError, "is not a readable safetensors file .*; copy"),
        ("weights.safetensors", b"", ValueError, "is not a readable safetensors file .*; copy"),
        ("config.json", b"{", ValueError, "config.json is not usable: "),
        ("config.json", b"[]", ValueError, "config.json is not usable: "),
        ("config.json", b'{"hop_length": 256}', ValueError, r"got \['hop_length'\]; copy"),
    ],
)
def test_damaged_folders_are_refused_in_a_sentence(saved, tmp_path, name, content, kind, sentence):
    folder = shutil.copytree(saved, tmp_path / "model")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(kind, match=sentence) as caught:
        load_pitch_tracker(folder=folder)
    assert str(folder) in str(caught.value)


def test_files_that_do_not_fit_each_other_are_refused(saved, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(saved, tmp_path / "model")
    good = load_file(folder / "weights.safetensors")
    bias = good["mix.bias"]

    def refused(match, **changes):
        arrays = {name: array for name, array in (good | changes).items() if array is not None}
        save_file(arrays, folder / "weights.safetensors")
        with pytest.raises(ValueError, match=match):
            load_pitch_tracker(folder=folder)

    again = "; copy the whole model folder again"
    refused(f"lacks the array `mix.bias`{again}", **{"mix.bias": None})
    refused(f"holds the unknown array `extra`{again}", extra=bias)
    refused(r"`mix.bias` as float32 \(2,\), not as float32 \(3,\)", **{"mix.bias": bias[1:].copy()})
    refused("`mix.bias` as float64", **{"mix.bias": bias.astype(np.float64)})
    refused(f"`mix.bias` that is not finite{again}", **{"mix.bias": bias * np.nan})
    save_file(good, folder / "weights.safetensors")
    fields = SMALL.to_json() | {"channels": 4}
    (folder / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=r"not as float32 .*; copy the whole model folder again"):
        load_pitch_tracker(folder=folder)


def test_what_cannot_be_saved_leaves_nothing(model, tmp_path):
    with pytest.raises(ValueError, match="`provenance` must be something JSON can hold"):
        save_pitch_tracker(tmp_path / "new", model, provenance={"loss": math.nan})
    diverged = nnx.clone(model)
    diverged.mix.bias[...] = diverged.mix.bias[...] * jnp.nan
    with pytest.raises(ValueError, match=r"`mix\.bias` is not finite; the training diverged"):
        save_pitch_tracker(tmp_path / "new", diverged, provenance={})
    assert not list(tmp_path.iterdir())
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists and is not a model folder; choose another"):
        save_pitch_tracker(tmp_path, model, provenance={})
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


# config


def test_a_config_survives_json():
    assert PitchConfig.from_json(json.loads(json.dumps(SMALL.to_json()))) == SMALL


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"hop_length": 0}, ValueError, "`hop_length` must be at least 1, got 0"),
        ({"channels": 2.0}, TypeError, "channels"),
        ({"win_lengths": (640, 0)}, ValueError, "`win_lengths` must be at least 1, got 0"),
        ({"win_lengths": (640,)}, Exception, "win_lengths"),
        ({"win_lengths": (1536, 640)}, ValueError, r"the shorter first, got \(1536, 640\)"),
        ({"fmin": 0.0}, ValueError, "`fmin` must be positive and finite, in Hz, got 0.0"),
        ({"fmin": math.inf}, ValueError, "`fmin` must be positive and finite, in Hz, got inf"),
        ({"n_bins": 300}, ValueError, "above half of `sample_rate` 16000; take a smaller `n_bins`"),
        ({"n_bins": 10**6}, ValueError, "take a smaller `n_bins`"),
    ],
)
def test_sizes_are_checked(changes, kind, sentence):
    with pytest.raises(kind, match=sentence):
        dataclasses.replace(DEFAULT, **changes)


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
    # Away from the ends, where the tone leaps out of silence.
    inside = slice(8, 32)
    assert np.min(np.asarray(confidence)[1:, inside]) > 0.9
    assert np.abs(cents(np.asarray(found)[1:, inside], f0_hz[:, None])).max() < 3


# the document


def test_the_python_in_the_readme_runs(monkeypatch):
    monkeypatch.setattr(jax, "jit", quick_jit)
    names = {}
    for code in re.findall(
        r"^```python\n(.*?)^```", (FOLDER / "README.md").read_text(), re.M | re.S
    ):
        exec(compile(code, "README.md", "exec"), names)
    assert abs(cents(names["f0_hz"][30], 440)) < 3 and names["confidence"][30] > 0.9
    assert abs(cents(names["heard"].f0_hz[-1], 440)) < 3


def test_links_of_the_readme_lead_to_files():
    text = (FOLDER / "README.md").read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (FOLDER / target).is_file() or "examples/train_pitch" in target, target
