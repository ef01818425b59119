import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DTYPES, noise

from ddspx import core

# Values


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


def test_invalid_frames_repeat_the_last_valid_state():
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


def test_viterbi_passes_over_a_short_octave_error_and_follows_a_leap():
    transition = core.pitch_transition(100, reach=3)
    truth = np.r_[np.full(20, 40), np.full(20, 90)]
    heard = truth.copy()
    heard[8:11] -= 30
    observation = np.where(np.arange(101) == heard[:, None], 0.0, -2.0)
    path = core.viterbi(jnp.asarray(observation), transition)
    np.testing.assert_array_equal(path, truth)


# Dtypes and boundary


def test_the_path_is_int32():
    for dtype in DTYPES:
        path = core.viterbi(jnp.zeros((3, 9), dtype), core.pitch_transition(8, reach=2))
        assert path.dtype == np.int32


def test_integer_scores_are_refused(monkeypatch):
    """As integers the minus infinity of a transition would be a number."""
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    with pytest.raises(TypeError, match="`log_observation` must be float32 or float64, got int32"):
        core.viterbi(jnp.zeros((2, 4), jnp.int32), core.pitch_transition(3, reach=1))


def test_states_that_do_not_match_the_transition_are_refused():
    with pytest.raises(ValueError, match=r"`log_observation` and `transition`.*got 4 and 5"):
        core.viterbi(jnp.zeros((3, 5)), core.pitch_transition(5, reach=1))


@pytest.mark.parametrize("name", ["n_bins", "reach"])
def test_a_transition_without_bins_or_reach_is_refused(name):
    sizes = {"n_bins": 4, "reach": 1, name: 0}
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1"):
        core.pitch_transition(sizes["n_bins"], reach=sizes["reach"])
