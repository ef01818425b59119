import itertools
from functools import partial

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from helpers import (
    DTYPES,
    assert_close,
    assert_finite_grads,
    check_dtypes,
    check_grads,
    check_transformations,
    noise,
    sine,
)

from ddspx import core

RATE = 16000
SMALL = {"sample_rate": 8000, "hop_length": 100, "fmin": 200.0, "fmax": 1000.0}
LIBROSA = tuple(int(part) for part in librosa.__version__.split(".")[:2])


def harmonics(f0_hz, n_samples, *, sample_rate, orders=range(1, 7)):
    parts = (
        sine(k * f0_hz, n_samples, sample_rate=sample_rate, phase_rad=k * k) / k
        for k in orders
        if k * f0_hz < 0.45 * sample_rate
    )
    return sum(parts)


def small_audio(seed=0):
    """A tone in noise whose pitch and periodicity differ from frame to frame."""
    n = 600
    glide = np.cumsum(np.linspace(230, 420, n)) / SMALL["sample_rate"]
    tone = np.sin(2 * np.pi * glide) + 0.5 * np.sin(4 * np.pi * glide)
    return tone + np.linspace(0, 1.5, n) * noise(n, seed=seed)


def centred_frames(audio, frame_length, hop_length):
    left = frame_length // 2
    padded = np.pad(audio, (left, frame_length))
    return [padded[i : i + frame_length] for i in range(0, len(audio) + 1, hop_length)]


def normalised(difference):
    return [1.0] + [k * d / sum(difference[1 : k + 1]) for k, d in enumerate(difference) if k]


def vertex(left, middle, right):
    bend, slope = left + right - 2 * middle, (right - left) / 2
    return -slope / bend if abs(slope) < bend else 0.0


def value_at(left, middle, right, shift):
    return middle + shift * (right - left) / 2 + shift**2 * (left + right - 2 * middle) / 2


# Values


def yin_of_frame(x, sample_rate, fmin, fmax, threshold):
    """Frequency and confidence by the definition, in loops."""
    low, high = int(sample_rate // fmax), int(np.ceil(sample_rate / fmin))
    padded = np.pad(x, (0, high + 1))
    d = [sum((padded[m] - padded[m + k]) ** 2 for m in range(len(x))) for k in range(high + 2)]
    whole = normalised(d)
    curve = whole[low:-1]
    around = [np.inf, *curve, np.inf]
    troughs = [i for i in range(len(curve)) if around[i] > curve[i] <= around[i + 2]]
    accepted = [i for i in troughs if curve[i] < threshold]
    pick = accepted[0] if accepted else int(np.argmin(curve))
    shift, depth = 0.0, curve[pick]
    if 0 < pick < len(curve) - 1:
        three = curve[pick - 1 : pick + 2]
        shift = vertex(*three)
        depth = value_at(*three, shift)
    is_minimum = whole[low + pick - 1] > whole[low + pick] <= whole[low + pick + 1]
    return sample_rate / (low + pick + shift), min(max(1 - depth, 0), 1) * is_minimum


@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_yin_is_its_definition(threshold):
    audio = small_audio()
    expected = [
        yin_of_frame(x, 8000, 200.0, 1000.0, threshold) for x in centred_frames(audio, 120, 100)
    ]
    f0_hz, confidence = core.yin(jnp.asarray(audio), **SMALL, frame_length=120, threshold=threshold)
    assert_close(f0_hz, [f for f, _ in expected], scale=100)
    assert_close(confidence, [c for _, c in expected], scale=100)


@pytest.mark.skipif(LIBROSA < (0, 11), reason="librosa changed its difference in 0.11")
@pytest.mark.parametrize("sample_rate", [16000, 44100])
@pytest.mark.parametrize("level", [1.0, 1e-4])
def test_yin_is_librosas(sample_rate, level):
    n = sample_rate // 2
    tone = harmonics(171.3, n, sample_rate=sample_rate)
    audio = level * np.concatenate([tone + 0.05 * noise(n), noise(n, seed=1)])
    options = {"hop_length": 1024, "fmin": 65.0, "fmax": 2000.0, "frame_length": 2048}
    expected = librosa.yin(audio, sr=sample_rate, **options)
    f0_hz, _ = core.yin(jnp.asarray(audio), sample_rate=sample_rate, **options)
    if f0_hz.dtype == np.float64:
        np.testing.assert_allclose(f0_hz, expected, rtol=1e-7)
    else:
        # Roundings may choose another minimum in noise, where none is below the threshold.
        assert np.mean(np.isclose(f0_hz, expected, rtol=1e-3)) > 0.9


def posterior_of_frame(x, *, sample_rate, fmin, fmax, bins_per_octave, n_bins, reach):
    """Log-probability of the states, frequency and aperiodicity of the bins, in loops."""
    low, high = int(sample_rate // fmax), int(np.ceil(sample_rate / fmin))
    d = [np.mean((x[: len(x) - k] - x[k:]) ** 2) for k in range(high + 2)]
    curve = normalised(d)
    own = [(1.0, fmin * 2 ** (b / bins_per_octave)) for b in range(n_bins)]
    for k in range(max(low - 1, 1), high + 1):
        if curve[k - 1] > curve[k] <= curve[k + 1]:
            shift = vertex(*d[k - 1 : k + 2])
            depth = min(max(value_at(*curve[k - 1 : k + 2], shift), 0), 1)
            f0_hz = sample_rate / (k + shift)
            b = round(bins_per_octave * np.log2(f0_hz / fmin))
            if 0 <= b < n_bins and depth < own[b][0]:
                own[b] = (depth, f0_hz)

    def handicap(f0_hz):
        return 0.2 * (np.log2(f0_hz / fmin) - (n_bins - 1) / bins_per_octave)

    best = []
    for b in range(n_bins):
        near = range(max(0, b - reach), min(n_bins, b + reach + 1))
        scores = {
            c: np.log(max(1 - own[c][0], 0.02)) + handicap(own[c][1]) - 0.02 * abs(b - c) / reach
            for c in sorted(near, key=lambda c: abs(c - b))
        }
        winner = max(scores, key=scores.get)
        best.append((scores[winner], *own[winner]))
    likeliest = max(best)
    scores = np.array([score for score, _, _ in best] + [handicap(likeliest[2]) + np.log(0.55)])
    log_probability = scores / 0.1 - np.log(np.sum(np.exp(scores / 0.1)))
    return log_probability, [f for _, _, f in best], [a for _, a, _ in best]


def test_the_posterior_is_its_definition():
    audio, n_bins = small_audio(), 1 + int(60 * np.log2(5))
    expected = [
        posterior_of_frame(
            x, sample_rate=8000, fmin=200.0, fmax=1000.0, bins_per_octave=60, n_bins=n_bins, reach=2
        )
        for x in centred_frames(audio, 160, 100)
    ]
    actual = core.pitch_posterior(jnp.asarray(audio), **SMALL, frame_length=160)
    for name, values in zip(actual._fields, zip(*expected, strict=True), strict=True):
        assert_close(getattr(actual, name), np.array(values), scale=1000)


def dense(transition):
    """The states x states matrix that a transition stands for."""
    glide, leap, onset, offset, rest = (np.asarray(x, np.float64) for x in transition)
    n_bins, width = glide.shape
    matrix = np.full((n_bins + 1, n_bins + 1), leap)
    for i, d in itertools.product(range(n_bins), range(width)):
        j = i + d - width // 2
        if 0 <= j < n_bins:
            matrix[i, j] = max(leap, glide[i, d])
    matrix[-1, :-1], matrix[:-1, -1], matrix[-1, -1] = onset, offset, rest
    return matrix


def viterbi_in_loops(log_observation, matrix, initial):
    scores, sources = np.array(initial, np.float64), []
    for observation in log_observation:
        candidates = scores[:, None] + matrix
        sources.append(np.argmax(candidates, axis=0))
        scores = np.max(candidates, axis=0) + observation
    path = [int(np.argmax(scores))]
    for source in sources[:0:-1]:
        path.append(int(source[path[-1]]))
    return path[::-1]


def a_transition(n_bins, reach, seed):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(-3, 0, (n_bins, 2 * reach + 1)), -2.5, *rng.uniform(-2, 0, 3)
    return core.PitchTransition(*(jnp.asarray(x, jnp.float32) for x in scores))


@pytest.mark.parametrize(("n_bins", "reach"), [(1, 1), (7, 2), (5, 9)])
def test_viterbi_is_its_definition(n_bins, reach):
    transition = a_transition(n_bins, reach, seed=n_bins)
    observations = 3 * noise(20, 12, n_bins + 1)
    initial = noise(n_bins + 1, seed=2)
    expected = [viterbi_in_loops(x, dense(transition), initial) for x in observations]
    paths = core.viterbi(
        jnp.asarray(observations),
        transition,
        initial=jnp.broadcast_to(initial, (20, n_bins + 1)),
    )
    np.testing.assert_array_equal(paths, expected)


def test_viterbi_finds_the_best_of_all_paths():
    transition = a_transition(3, 1, seed=4)
    observation, matrix = noise(4, 4, seed=5), dense(transition)

    def score(path):
        best_start = np.max(matrix[:, path[0]])
        steps = sum(matrix[i, j] for i, j in itertools.pairwise(path))
        return best_start + steps + sum(observation[t, s] for t, s in enumerate(path))

    expected = max(itertools.product(range(4), repeat=4), key=score)
    assert tuple(core.viterbi(jnp.asarray(observation), transition).tolist()) == expected


def test_frames_that_do_not_count_repeat_the_last_that_does():
    transition = a_transition(6, 2, seed=6)
    observation = jnp.asarray(3 * noise(10, 7, seed=7))
    decode = jax.jit(core.viterbi)
    whole = decode(observation, transition, n_valid=6)
    np.testing.assert_array_equal(whole[:6], core.viterbi(observation[:6], transition))
    np.testing.assert_array_equal(whole[6:], np.full(4, whole[5]))


def test_a_known_state_and_frames_ahead_continue_a_path():
    transition = a_transition(6, 2, seed=8)
    observation = jnp.asarray(3 * noise(60, 7, seed=9))
    whole = np.asarray(core.viterbi(observation, transition))
    known = jnp.where(jnp.arange(7) == whole[19], 0.0, -jnp.inf)
    rest = core.viterbi(observation[20:], transition, initial=known)
    np.testing.assert_array_equal(rest, whole[20:])


def test_the_transition_is_its_formula():
    transition = core.pitch_transition(9, reach=2, leap_probability=0.5, switch_probability=0.1)
    matrix = dense(transition)
    i, j = np.indices((9, 9))
    expected = np.log(np.maximum(1 - np.abs(i - j) / 3, 0.5))
    np.testing.assert_allclose(matrix[:-1, :-1], expected, rtol=1e-6)
    np.testing.assert_allclose(matrix[-1, :-1], np.log(0.1), rtol=1e-6)
    np.testing.assert_allclose(matrix[:-1, -1], np.log(0.1), rtol=1e-6)
    assert matrix[-1, -1] == 0


# Physics


def likeliest_hz(posterior):
    """Frequency of the likeliest bin, NaN where no pitch is likelier."""
    state = np.argmax(posterior.log_probability, axis=-1)
    n_bins = posterior.f0_hz.shape[-1]
    picked = np.minimum(state, n_bins - 1)[..., None]
    f0_hz = np.take_along_axis(np.asarray(posterior.f0_hz), picked, axis=-1)[..., 0]
    return np.where(state < n_bins, f0_hz, np.nan)


def posterior_hz(audio, sample_rate=RATE, **options):
    posterior = core.pitch_posterior(
        jnp.asarray(audio),
        sample_rate=sample_rate,
        hop_length=sample_rate // 20,
        fmin=32.7,
        fmax=2093.0,
        frame_length=2 * (sample_rate // 31),
        **options,
    )
    return likeliest_hz(posterior)[..., 2:-2]


@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_a_tone_reads_its_pitch_within_five_cents(sample_rate):
    tones_hz = np.array([41.2, 98.0, 196.0, 440.0, 881.7, 1396.9, 1999.0])
    audio = [harmonics(f, sample_rate // 2, sample_rate=sample_rate) for f in tones_hz]
    f0_hz = posterior_hz(np.stack(audio), sample_rate)
    cents = 1200 * np.log2(f0_hz / tones_hz[:, None])
    assert np.max(np.abs(cents)) < 5
    assert np.median(np.abs(cents)) < 1


def test_level_and_offset_do_not_matter():
    audio = harmonics(233.1, 8000, sample_rate=RATE) + 0.3 * noise(8000)
    plain = posterior_hz(audio)
    for other in (1e-5 * audio, 1e3 * audio, -audio, audio + 20):
        np.testing.assert_allclose(posterior_hz(other), plain, rtol=1e-3)


def test_the_fundamental_may_be_missing():
    audio = harmonics(220.0, 8000, sample_rate=RATE, orders=(2, 3, 4, 5))
    np.testing.assert_allclose(posterior_hz(audio), 220.0, rtol=1e-3)


def test_the_octave_cost_decides_between_a_period_and_its_multiples():
    # Every other period differs a little: 220 Hz, or 110 Hz for who takes it exactly.
    audio = sine(220.0, 8000, sample_rate=RATE) + 0.12 * sine(110.0, 8000, sample_rate=RATE)
    np.testing.assert_allclose(posterior_hz(audio), 220.0, rtol=2e-2)
    np.testing.assert_allclose(posterior_hz(audio, octave_cost=0.005), 110.0, rtol=2e-2)


def test_silence_and_noise_have_no_pitch():
    assert np.all(np.isnan(posterior_hz(np.zeros(8000))))
    assert np.all(np.isnan(posterior_hz(noise(8000))))
    f0_hz, confidence = core.yin(
        jnp.zeros(8000), sample_rate=RATE, hop_length=1000, fmin=50.0, fmax=2000.0
    )
    assert np.all(np.isfinite(f0_hz))
    np.testing.assert_array_equal(confidence, 0)


def test_confidence_falls_from_tone_to_noise():
    shares = np.linspace(0, 1, 6)[:, None]
    mixed = (1 - shares) * harmonics(150.0, 8000, sample_rate=RATE) + shares * noise(8000)
    _, confidence = core.yin(
        jnp.asarray(mixed), sample_rate=RATE, hop_length=1000, fmin=60.0, fmax=1000.0
    )
    middle = np.median(np.asarray(confidence)[:, 2:-2], axis=-1)
    assert np.all(np.diff(middle) < 0)
    assert middle[0] > 0.9
    assert middle[-1] < 0.3


def test_viterbi_passes_over_a_short_octave_error_and_follows_a_leap():
    transition = core.pitch_transition(100, reach=3)
    truth = np.r_[np.full(20, 40), np.full(20, 90)]
    heard = truth.copy()
    heard[8:11] -= 30
    observation = np.where(np.arange(101) == heard[:, None], 0.0, -2.0)
    path = core.viterbi(jnp.asarray(observation), transition)
    np.testing.assert_array_equal(path, truth)


# Gradients


def test_the_gradient_of_yin_is_that_of_the_chosen_minimum():
    audio = harmonics(300.0, 300, sample_rate=8000) + 0.1 * noise(300)

    def f(x):
        return core.yin(x, **SMALL, frame_length=120)

    check_grads(f, audio, order=1)


@pytest.mark.parametrize("audio", [np.zeros(300), np.ones(300), sine(2000, 300, sample_rate=8000)])
def test_gradients_are_finite_where_nothing_repeats_or_all_does(audio):
    def everything(x):
        posterior = core.pitch_posterior(x, **SMALL, frame_length=120)
        return core.yin(x, **SMALL, frame_length=120), posterior

    assert_finite_grads(everything, audio)


# Transformations


def test_yin_under_transformations():
    audio = np.stack([small_audio(0), small_audio(1)])
    check_transformations(lambda x: core.yin(x, **SMALL, frame_length=120), audio, scale=1000)


def test_posterior_under_transformations():
    audio = np.stack([small_audio(0), small_audio(1)])
    check_transformations(
        lambda x: core.pitch_posterior(x, **SMALL, frame_length=120), audio, scale=1000
    )


def test_viterbi_under_transformations():
    transition = core.pitch_transition(8, reach=2)
    check_transformations(
        lambda x: core.viterbi(x, transition).astype(x.dtype), 3 * noise(2, 10, 9)
    )


# Dtypes


def test_dtypes():
    audio = small_audio()
    check_dtypes(lambda x: core.yin(x, **SMALL, frame_length=120), audio)
    check_dtypes(lambda x: core.pitch_posterior(x, **SMALL, frame_length=120), audio)
    for dtype in DTYPES:
        path = core.viterbi(jnp.zeros((3, 9), dtype), core.pitch_transition(8, reach=2))
        assert path.dtype == np.int32


# Boundary


@pytest.mark.parametrize("f", [core.yin, core.pitch_posterior])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fmin": 0.0}, "`fmin` must be above 0 and below `fmax`=1000.0, got 0.0"),
        ({"fmin": 1200.0}, "`fmin` must be above 0 and below `fmax`=1000.0, got 1200.0"),
        ({"fmax": 5000.0}, "`fmax` must be at most half of `sample_rate`=8000, got 5000.0"),
        ({"frame_length": 41}, "`frame_length` must hold a period .* got 41; use 42 samples"),
        ({"hop_length": 0}, "`hop_length` must be at least 1"),
    ],
)
def test_a_range_that_cannot_be_searched(f, change, message):
    with pytest.raises(ValueError, match=message):
        f(jnp.zeros(300), **{**SMALL, "frame_length": 120, **change})


def test_states_that_do_not_match_the_transition():
    with pytest.raises(ValueError, match=r"`log_observation` and `transition`.*got 4 and 5"):
        core.viterbi(jnp.zeros((3, 5)), core.pitch_transition(5, reach=1))


@pytest.mark.parametrize("name", ["n_bins", "reach"])
def test_a_transition_without_bins_or_reach(name):
    sizes = {"n_bins": 4, "reach": 1, name: 0}
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1"):
        core.pitch_transition(sizes["n_bins"], reach=sizes["reach"])


def test_yin_is_not_sure_of_what_lies_outside_its_range():
    time_s = np.arange(8000) / 16000
    rates = {"sample_rate": 16000, "hop_length": 2000, "fmin": 100.0, "fmax": 1000.0}
    yin = jax.jit(partial(core.yin, **rates))
    inside, below = (yin(jnp.asarray(np.sin(2 * np.pi * f * time_s)))[1] for f in (300.0, 50.0))
    assert np.all(inside[1:-1] > 0.9)
    assert np.all(below[1:-1] == 0)
    f0_hz, confidence = yin(jnp.zeros(8000))
    assert np.all(f0_hz <= 16000 / 16) and np.all(confidence == 0)
