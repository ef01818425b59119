"""Loudness takes another distribution, and no more than that."""

import numpy as np
import pytest

from ddspx.transfer import apply_quantile_transform, fit_quantile_transform

INSTRUMENT_DB = np.linspace(-40.0, -10.0, 101)


def matched(loudness_db, mask, quantiles_db, tails=0.0):
    transform = fit_quantile_transform(loudness_db, mask, quantiles_db, tails=tails)
    return apply_quantile_transform(transform, loudness_db)


def test_notes_take_the_other_distribution_in_the_same_order(rng):
    quantiles_db = np.sort(rng.uniform(-50.0, -5.0, 101))
    loudness_db = -60.0 + 30.0 * rng.standard_normal(20_000)
    notes = rng.random(loudness_db.size) < 0.7
    found = matched(loudness_db, notes, quantiles_db)
    np.testing.assert_allclose(
        np.quantile(found[notes], np.linspace(0, 1, 101)), quantiles_db, atol=0.05
    )
    assert np.all(np.diff(found[np.argsort(loudness_db)]) >= 0.0)


def test_a_distribution_matched_to_itself_changes_nothing(rng):
    loudness_db = rng.uniform(-60.0, 0.0, 500)
    quantiles_db = np.quantile(loudness_db, np.linspace(0, 1, 101))
    found = matched(loudness_db, np.ones(500, bool), quantiles_db)
    np.testing.assert_allclose(found, loudness_db, atol=1e-9)


def test_outside_the_range_of_notes_the_slope_is_one():
    loudness_db = np.array([-50.0, -40.0, -30.0, -20.0, -10.0])
    notes = np.array([False, True, True, True, False])
    found = matched(loudness_db, notes, np.array([-20.0, -10.0, 0.0]))
    np.testing.assert_allclose(found, [-30.0, -20.0, -10.0, 0.0, 10.0])


def test_a_steady_tone_stays_steady(rng):
    found = matched(-20.0 + 0.1 * rng.random(1000), np.ones(1000, bool), INSTRUMENT_DB)
    assert np.ptp(found) <= 0.3 + 1e-9
    assert abs(np.median(found) - -25.0) < 0.2
    constant = matched(np.full(10, -20.0), np.ones(10, bool), np.array([-40.0, -10.0]))
    np.testing.assert_allclose(constant, -25.0)


def test_without_notes_nothing_changes(rng):
    loudness_db = rng.uniform(-60.0, 0.0, 50)
    found = matched(loudness_db, np.zeros(50, bool), INSTRUMENT_DB)
    np.testing.assert_array_equal(found, loudness_db)


def test_a_level_that_is_not_finite_affects_only_its_own_frame(rng):
    loudness_db = rng.uniform(-60.0, 0.0, 50)
    notes = np.ones(50, bool)
    expected = matched(np.delete(loudness_db, [7, 8, 9]), np.ones(47, bool), INSTRUMENT_DB)
    loudness_db[[7, 8, 9]] = np.nan, np.inf, -np.inf
    found = matched(loudness_db, notes, INSTRUMENT_DB)
    np.testing.assert_array_equal(np.delete(found, [7, 8, 9]), expected)
    np.testing.assert_array_equal(found[[7, 8, 9]], loudness_db[[7, 8, 9]])
    for nothing in (np.zeros(0), np.full(5, np.nan)):
        found = matched(nothing, np.ones(nothing.size, bool), INSTRUMENT_DB)
        np.testing.assert_array_equal(found, nothing)


def test_the_middle_is_fitted_and_the_tails_are_shifted(rng):
    loudness_db = np.sort(rng.normal(-30.0, 10.0, 5000))
    found = matched(loudness_db, np.ones(5000, bool), INSTRUMENT_DB, tails=0.1)
    middle = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(
        np.quantile(found, middle), np.quantile(INSTRUMENT_DB, middle), atol=0.1
    )
    for tail in (slice(0, 480), slice(4520, 5000)):
        np.testing.assert_allclose(np.diff(found[tail]), np.diff(loudness_db[tail]), atol=1e-9)


def test_a_transform_of_one_sound_applies_to_another():
    transform = fit_quantile_transform(
        np.array([-30.0, -20.0]), np.ones(2, bool), np.array([-15.0, -10.0]), tails=0.0
    )
    found = apply_quantile_transform(transform, np.array([-35.0, -25.0, -15.0]))
    np.testing.assert_allclose(found, [-20.0, -12.5, -5.0])


def test_tails_that_cover_everything_are_refused():
    with pytest.raises(ValueError, match=r"`tails` must be from 0 to below 0\.5, got 0\.5"):
        matched(INSTRUMENT_DB, np.ones(101, bool), INSTRUMENT_DB, tails=0.5)


@pytest.mark.parametrize("quantiles_db", [np.zeros(0), np.array([-40.0, np.nan])])
def test_an_invalid_distribution_is_refused(quantiles_db):
    with pytest.raises(ValueError, match="`quantiles_db` must be finite levels in dB"):
        matched(INSTRUMENT_DB, np.ones(101, bool), quantiles_db)


def test_tracks_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="`loudness_db` and `mask` must have the same number"):
        fit_quantile_transform.__wrapped__(np.zeros(3), np.ones(4, bool), INSTRUMENT_DB)
