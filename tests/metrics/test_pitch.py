import math

import mir_eval
import numpy as np
import pytest

from ddspx import metrics

TARGET = np.array([220.0, 440.0, 440.0, 440.0, 330.0, 110.0])
SURE = np.array([0.9, 1.0, 0.5, 0.7, 0.49, 0.0])
MEASURES = [
    metrics.f0_l1_semitones,
    metrics.f0_outlier_share,
    metrics.raw_pitch_accuracy,
    metrics.octave_error_share,
    metrics.median_cents_error,
    metrics.raw_chroma_accuracy,
    metrics.gross_error_share,
    lambda target_hz, predicted_hz, confidence: metrics.overall_accuracy(
        target_hz, predicted_hz, confidence, confidence
    ),
]
VOICING = [metrics.voicing_recall, metrics.voicing_false_alarm]


def shifted(semitones):
    return TARGET * 2 ** (np.asarray(semitones) / 12)


# Values


def test_only_confident_frames_count():
    predicted = shifted([0.1, -0.3, 12.0, 13.0, 5.0, 30.0])
    assert metrics.f0_l1_semitones(TARGET, predicted, SURE) == pytest.approx((0.4 + 25) / 4)
    assert metrics.f0_outlier_share(TARGET, predicted, SURE) == 0.25
    assert metrics.raw_pitch_accuracy(TARGET, predicted, SURE) == 0.5
    assert metrics.octave_error_share(TARGET, predicted, SURE) == 0.25
    assert metrics.median_cents_error(TARGET, predicted, SURE) == pytest.approx(615.0)


def test_the_threshold_moves_what_counts():
    predicted = shifted([0, 0, 0, 0, 2, 4])
    assert metrics.f0_l1_semitones(TARGET, predicted, SURE, threshold=0.0) == pytest.approx(1.0)
    assert metrics.f0_l1_semitones(TARGET, predicted, SURE, threshold=0.4) == pytest.approx(0.4)


def test_untracked_frames_are_outliers_and_have_no_distance():
    predicted = np.array([220.0, 0.0, np.nan, np.inf, 330.0, 110.0])
    assert metrics.f0_outlier_share(TARGET, predicted, SURE) == 0.75
    assert metrics.f0_l1_semitones(TARGET, predicted, SURE) == 0.0
    assert metrics.raw_pitch_accuracy(TARGET, predicted, SURE) == 0.25
    assert metrics.octave_error_share(TARGET, predicted, SURE) == 0.0


def test_an_unconfident_prediction_is_an_outlier_where_the_target_is_pitched():
    share = metrics.f0_outlier_share(
        TARGET, TARGET, SURE, predicted_confidence=np.array([1.0, 0.2, 1.0, 0.6, 0.0, 0.0])
    )
    assert share == 0.25


@pytest.mark.parametrize("octaves", [-2, -1, 1, 2])
def test_octave_errors_of_either_sign(octaves):
    predicted = shifted(12 * octaves + 0.4)
    assert metrics.octave_error_share(TARGET, predicted, SURE) == 1.0
    assert metrics.octave_error_share(TARGET, predicted, SURE, cents=30.0) == 0.0
    assert metrics.raw_pitch_accuracy(TARGET, predicted, SURE) == 0.0


def test_the_shape_of_the_batch_does_not_matter(rng):
    predicted = TARGET * rng.uniform(0.5, 2.0, TARGET.shape)
    for measure in MEASURES:
        batched = (x.reshape(2, 3) for x in (TARGET, predicted, SURE))
        assert measure(*batched) == measure(TARGET, predicted, SURE)


def test_a_gross_error_is_a_fifth_of_the_frequency_either_way():
    target, sure = np.full(6, 200.0), np.ones(6)
    predicted = np.array([239.9, 240.1, 160.1, 159.9, 0.0, np.nan])
    assert metrics.gross_error_share(target, predicted, sure) == pytest.approx(4 / 6)
    assert metrics.gross_error_share(target, predicted, sure, ratio=0.25) == pytest.approx(2 / 6)
    heard = np.array([1, 1, 1, 1, 0, 0.2])
    both = metrics.gross_error_share(target, predicted, sure, predicted_confidence=heard)
    assert both == 0.5


# mir_eval


def a_melody(rng, n=400):
    """Target and prediction in Hz, voiced and not, off by everything from cents to octaves."""
    target_hz = 55 * 2 ** rng.uniform(0, 5, n)
    octaves = rng.integers(-2, 3, n) * (rng.uniform(size=n) < 0.3)
    predicted_hz = target_hz * 2 ** (rng.normal(0, 50, n) / 1200 + octaves)
    confidence, predicted_confidence = (rng.uniform(size=n) for _ in range(2))
    return target_hz, predicted_hz, confidence, predicted_confidence


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("cents", [50.0, 25.0])
def test_measures_of_melody_equal_those_of_mir_eval(seed, cents):
    rng = np.random.default_rng(seed)
    target_hz, predicted_hz, confidence, predicted_confidence = a_melody(rng)
    predicted_hz[rng.uniform(size=400) < 0.1] = 0
    predicted_confidence[predicted_hz == 0] = 0
    frames = (
        (confidence >= metrics.VOICED).astype(float),
        mir_eval.melody.hz2cents(target_hz),
        (predicted_confidence >= metrics.VOICED).astype(float),
        mir_eval.melody.hz2cents(predicted_hz),
    )
    tracks = (target_hz, predicted_hz, confidence)
    for name in ("raw_pitch_accuracy", "raw_chroma_accuracy"):
        expected = getattr(mir_eval.melody, name)(*frames, cent_tolerance=cents)
        assert 0 < expected < 1
        assert getattr(metrics, name)(*tracks, cents=cents) == pytest.approx(expected, abs=1e-12)
    expected = mir_eval.melody.overall_accuracy(*frames, cent_tolerance=cents)
    actual = metrics.overall_accuracy(*tracks, predicted_confidence, cents=cents)
    assert actual == pytest.approx(expected, abs=1e-12)
    expected = mir_eval.melody.voicing_measures(frames[0], frames[2])
    actual = [measure(confidence, predicted_confidence) for measure in VOICING]
    assert actual == pytest.approx(expected, abs=1e-12)


def test_frames_in_tune_are_right_or_an_octave_off(rng):
    tracks = a_melody(rng)[:3]
    parts = metrics.raw_pitch_accuracy(*tracks) + metrics.octave_error_share(*tracks)
    assert metrics.raw_chroma_accuracy(*tracks) == pytest.approx(parts)
    # At the limit too: a distance of exactly `cents` is too much in all three.
    tracks = np.array([440.0]), np.array([880.0]), np.ones(1)
    measures = metrics.raw_chroma_accuracy, metrics.octave_error_share
    assert [measure(*tracks, cents=0.0) for measure in measures] == [0, 0]


# Boundary


@pytest.mark.parametrize("measure", VOICING)
def test_voicing_of_no_frame_is_nan_and_shapes_must_agree(measure):
    nothing = np.full(3, measure is metrics.voicing_false_alarm, float)
    assert math.isnan(measure(nothing, np.ones(3)))
    with pytest.raises(ValueError, match="same shape"):
        measure(np.ones(3), np.ones(4))


@pytest.mark.parametrize("measure", MEASURES[:-1])
def test_no_confident_frame_is_nan_without_a_warning(measure):
    assert math.isnan(measure(TARGET, TARGET, np.zeros(6)))


@pytest.mark.parametrize("measure", MEASURES)
def test_shapes_must_agree(measure):
    with pytest.raises(ValueError, match=r"`predicted_hz`.*same shape.*cut both"):
        measure(TARGET, TARGET[:-1], SURE)
