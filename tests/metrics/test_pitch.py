import math

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
]


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


def test_what_cannot_be_tracked_is_an_outlier_and_no_distance():
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


# Boundary


@pytest.mark.parametrize("measure", MEASURES)
def test_no_confident_frame_is_nan_without_a_warning(measure):
    assert math.isnan(measure(TARGET, TARGET, np.zeros(6)))


@pytest.mark.parametrize("measure", MEASURES)
def test_shapes_must_agree(measure):
    with pytest.raises(ValueError, match=r"`predicted_hz`.*same shape.*cut both"):
        measure(TARGET, TARGET[:-1], SURE)
