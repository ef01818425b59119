"""Measures of the difference between two pitch tracks."""

import numpy as np
from numpy.typing import NDArray

VOICED = 0.5
"""Confidence at or above which a frame counts as pitched."""


def f0_l1_semitones(
    target_hz: NDArray[np.floating],
    predicted_hz: NDArray[np.floating],
    confidence: NDArray[np.floating],
    *,
    threshold: float = VOICED,
) -> float:
    r"""Mean absolute pitch error in semitones, where the target is confidently pitched.

    .. math:: \langle |12 \log_2 (f_\mathrm{predicted} / f_\mathrm{target})| \rangle
      _{c \ge \mathrm{threshold}}

    Args:
      target_hz: true frequency of each frame, in Hz, any shape.
      predicted_hz: predicted frequency, of the same shape. Frames in which it is not a positive
        number are ignored here; :func:`f0_outlier_share` counts them.
      confidence: of the target, from 0 to 1, of the same shape.
      threshold: confidence from which a frame counts.

    Returns:
      The mean in semitones; NaN where no frame counts.

    Raises:
      ValueError: the shapes differ.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> target, sure = np.array([220.0, 440.0, 440.0]), np.array([1.0, 0.9, 0.2])
      >>> metrics.f0_l1_semitones(target, np.array([220.0, 880.0, 100.0]), sure)
      6.0

    References:
      Engel et al., `DDSP <https://arxiv.org/abs/2001.04643>`_, table 1. DDSP counts frames from
      CREPE's confidence 0.85; at 0.5 the confidence of `track_pitch` means voiced.
    """
    error = _errors(target_hz, predicted_hz, confidence, threshold)
    return _mean(np.abs(error[np.isfinite(error)]))


def f0_outlier_share(
    target_hz: NDArray[np.floating],
    predicted_hz: NDArray[np.floating],
    confidence: NDArray[np.floating],
    *,
    threshold: float = VOICED,
    predicted_confidence: NDArray[np.floating] | None = None,
    semitones: float = 12.0,
) -> float:
    """Share of the target's pitched frames that are off by over an octave or not trackable.

    Args:
      target_hz: true frequency of each frame, in Hz, any shape.
      predicted_hz: predicted frequency, of the same shape; a value that is not a positive number
        means that no pitch was found.
      confidence: of the target, from 0 to 1, of the same shape.
      threshold: confidence from which a frame is pitched.
      predicted_confidence: of the prediction; frames below `threshold` are not trackable. Without
        it, only frames whose `predicted_hz` is not a positive number are not trackable.
      semitones: error above which a frame is an outlier.

    Returns:
      A share from 0 to 1; NaN where the target has no pitched frame.

    Raises:
      ValueError: the shapes differ.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> target, sure = np.array([220.0, 440.0, 440.0]), np.array([1.0, 0.9, 0.2])
      >>> metrics.f0_outlier_share(target, np.array([220.0, 100.0, 0.0]), sure)
      0.5

    References:
      DDSP's evaluation counts whole examples by their mean error; a share of frames is comparable
      between recordings of any length. DDSP's later versions compare the conditioning pitch with
      itself, which always gives 0: measure `predicted_hz` on the generated audio.
    """
    error = _errors(target_hz, predicted_hz, confidence, threshold)
    is_outlier = ~(np.abs(error) <= semitones)
    if predicted_confidence is not None:
        _same_shapes(target_hz, predicted_confidence)
        sure = np.asarray(confidence) >= threshold
        is_outlier |= np.asarray(predicted_confidence)[sure] < threshold
    return _mean(is_outlier)


def raw_pitch_accuracy(
    target_hz: NDArray[np.floating],
    predicted_hz: NDArray[np.floating],
    confidence: NDArray[np.floating],
    *,
    threshold: float = VOICED,
    cents: float = 50.0,
) -> float:
    """Share of the target's pitched frames whose pitch is right within a quarter tone.

    Args:
      target_hz: true frequency of each frame, in Hz, any shape.
      predicted_hz: predicted frequency, of the same shape, voiced or not.
      confidence: of the target, from 0 to 1, of the same shape.
      threshold: confidence from which a frame is pitched.
      cents: an error below it is right, in hundredths of a semitone.

    Returns:
      A share from 0 to 1; NaN where the target has no pitched frame.

    Raises:
      ValueError: the shapes differ.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> sure = np.ones(2)
      >>> metrics.raw_pitch_accuracy(np.array([440.0, 440.0]), np.array([441.0, 880.0]), sure)
      0.5

    References:
      Poliner et al., `Melody transcription from music audio
      <https://doi.org/10.1109/TASL.2006.889797>`_, 2007; equals mir_eval's measure of that name.
    """
    error = _errors(target_hz, predicted_hz, confidence, threshold)
    return _mean(100 * np.abs(error) < cents)


def raw_chroma_accuracy(
    target_hz: NDArray[np.floating],
    predicted_hz: NDArray[np.floating],
    confidence: NDArray[np.floating],
    *,
    threshold: float = VOICED,
    cents: float = 50.0,
) -> float:
    """Share of the target's pitched frames whose pitch is right if octave errors are ignored.

    Args:
      target_hz: true frequency of each frame, in Hz, any shape.
      predicted_hz: predicted frequency, of the same shape, voiced or not.
      confidence: of the target, from 0 to 1, of the same shape.
      threshold: confidence from which a frame is pitched.
      cents: an error below it is right, in hundredths of a semitone.

    Returns:
      A share from 0 to 1; NaN where the target has no pitched frame.

    Raises:
      ValueError: the shapes differ.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> sure = np.ones(2)
      >>> metrics.raw_chroma_accuracy(np.array([440.0, 440.0]), np.array([441.0, 882.0]), sure)
      1.0

    References:
      Poliner et al., 2007; equals mir_eval's measure of that name. It is
      :func:`raw_pitch_accuracy` and :func:`octave_error_share` together.
    """
    error = _errors(target_hz, predicted_hz, confidence, threshold)
    return _mean(100 * np.abs(error - 12 * np.round(error / 12)) < cents)


def voicing_recall(
    confidence: NDArray[np.floating],
    predicted_confidence: NDArray[np.floating],
    *,
    threshold: float = VOICED,
) -> float:
    """Share of the target's pitched frames that the prediction calls pitched.

    Args:
      confidence: of the target, from 0 to 1, any shape.
      predicted_confidence: of the prediction, of the same shape.
      threshold: confidence from which a frame is pitched, in both.

    Returns:
      A share from 0 to 1; NaN where the target has no pitched frame.

    Raises:
      ValueError: the shapes differ.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> metrics.voicing_recall(np.array([1.0, 0.9, 0.1]), np.array([0.2, 0.6, 0.7]))
      0.5

    References:
      Poliner et al., 2007; equals mir_eval's measure of that name for voicing of 0 or 1.
    """
    _same_shapes(confidence, predicted_confidence)
    is_pitched = np.asarray(confidence) >= threshold
    return _mean(np.asarray(predicted_confidence)[is_pitched] >= threshold)


def voicing_false_alarm(
    confidence: NDArray[np.floating],
    predicted_confidence: NDArray[np.floating],
    *,
    threshold: float = VOICED,
) -> float:
    """Share of the target's unpitched frames that the prediction calls pitched.

    Args:
      confidence: of the target, from 0 to 1, any shape.
      predicted_confidence: of the prediction, of the same shape.
      threshold: confidence from which a frame is pitched, in both.

    Returns:
      A share from 0 to 1; NaN where every frame of the target is pitched.

    Raises:
      ValueError: the shapes differ.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> metrics.voicing_false_alarm(np.array([1.0, 0.3, 0.1]), np.array([0.2, 0.6, 0.4]))
      0.5

    References:
      Poliner et al., 2007; equals mir_eval's measure of that name for voicing of 0 or 1.
    """
    _same_shapes(confidence, predicted_confidence)
    is_unpitched = ~(np.asarray(confidence) >= threshold)
    return _mean(np.asarray(predicted_confidence)[is_unpitched] >= threshold)


def overall_accuracy(
    target_hz: NDArray[np.floating],
    predicted_hz: NDArray[np.floating],
    confidence: NDArray[np.floating],
    predicted_confidence: NDArray[np.floating],
    *,
    threshold: float = VOICED,
    cents: float = 50.0,
) -> float:
    """Share of all frames that are right: pitched in both and in tune, or unpitched in both.

    Args:
      target_hz: true frequency of each frame, in Hz, any shape.
      predicted_hz: predicted frequency, of the same shape.
      confidence: of the target, from 0 to 1, of the same shape.
      predicted_confidence: of the prediction, of the same shape.
      threshold: confidence from which a frame is pitched, in both.
      cents: an error below it is right, in hundredths of a semitone.

    Returns:
      A share from 0 to 1; NaN where there is no frame.

    Raises:
      ValueError: the shapes differ.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> target, predicted = np.array([440.0, 440.0, 0.0]), np.array([441.0, 880.0, 100.0])
      >>> confidence, predicted_confidence = np.array([1.0, 1.0, 0.0]), np.array([0.9, 0.9, 0.4])
      >>> accuracy = metrics.overall_accuracy(target, predicted, confidence, predicted_confidence)
      >>> round(accuracy, 2)
      0.67

    References:
      Poliner et al., 2007; equals mir_eval's measure of that name for voicing of 0 or 1.
    """
    _same_shapes(confidence, predicted_confidence)
    error = _errors(target_hz, predicted_hz, np.ones(np.shape(confidence)), 1.0)
    is_pitched, is_predicted = (
        np.ravel(x) >= threshold for x in (confidence, predicted_confidence)
    )
    is_right = is_predicted & (100 * np.abs(error) < cents)
    return _mean(np.where(is_pitched, is_right, ~is_predicted))


def gross_error_share(
    target_hz: NDArray[np.floating],
    predicted_hz: NDArray[np.floating],
    confidence: NDArray[np.floating],
    *,
    predicted_confidence: NDArray[np.floating] | None = None,
    threshold: float = VOICED,
    ratio: float = 0.2,
) -> float:
    """Gross pitch error: share of the pitched frames whose frequency is off by over a fifth.

    Args:
      target_hz: true frequency of each frame, in Hz, any shape.
      predicted_hz: predicted frequency, of the same shape; a value that is not a positive number
        counts as an error.
      confidence: of the target, from 0 to 1, of the same shape.
      predicted_confidence: of the prediction; with it only the frames that are pitched in both
        count, as in speech research.
      threshold: confidence from which a frame is pitched.
      ratio: error above which a frame counts, relative to the true frequency.

    Returns:
      A share from 0 to 1; NaN where no frame counts.

    Raises:
      ValueError: the shapes differ.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> sure = np.ones(2)
      >>> metrics.gross_error_share(np.array([200.0, 200.0]), np.array([238.0, 242.0]), sure)
      0.5

    References:
      Rabiner et al., `A comparative performance study of several pitch detection algorithms
      <https://doi.org/10.1109/TASSP.1976.1162846>`_, 1976, with a limit of 1 ms in the period;
      today the usual limit is 20 % of the frequency.
    """
    error = _errors(target_hz, predicted_hz, confidence, threshold)
    is_gross = ~(np.abs(2 ** (error / 12) - 1) <= ratio)
    if predicted_confidence is None:
        return _mean(is_gross)
    _same_shapes(confidence, predicted_confidence)
    is_pitched = np.asarray(confidence) >= threshold
    is_predicted = np.asarray(predicted_confidence)[is_pitched] >= threshold
    return _mean(is_gross[is_predicted])


def octave_error_share(
    target_hz: NDArray[np.floating],
    predicted_hz: NDArray[np.floating],
    confidence: NDArray[np.floating],
    *,
    threshold: float = VOICED,
    cents: float = 50.0,
) -> float:
    """Share of the target's pitched frames whose pitch is off by whole octaves, one or more.

    Args:
      target_hz: true frequency of each frame, in Hz, any shape.
      predicted_hz: predicted frequency, of the same shape, voiced or not.
      confidence: of the target, from 0 to 1, of the same shape.
      threshold: confidence from which a frame is pitched.
      cents: an error counts as whole octaves if it differs from them by less than this.

    Returns:
      A share from 0 to 1; NaN where the target has no pitched frame.

    Raises:
      ValueError: the shapes differ.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> sure = np.ones(2)
      >>> metrics.octave_error_share(np.array([440.0, 440.0]), np.array([441.0, 882.0]), sure)
      0.5
    """
    error = _errors(target_hz, predicted_hz, confidence, threshold)
    octaves = np.round(error / 12)
    return _mean((octaves != 0) & (100 * np.abs(error - 12 * octaves) < cents))


def median_cents_error(
    target_hz: NDArray[np.floating],
    predicted_hz: NDArray[np.floating],
    confidence: NDArray[np.floating],
    *,
    threshold: float = VOICED,
) -> float:
    """Median absolute pitch error in cents, where the target is confidently pitched.

    Args:
      target_hz: true frequency of each frame, in Hz, any shape.
      predicted_hz: predicted frequency, of the same shape; frames in which it is not a positive
        number are left out.
      confidence: of the target, from 0 to 1, of the same shape.
      threshold: confidence from which a frame counts.

    Returns:
      The median in cents; NaN where no frame counts.

    Raises:
      ValueError: the shapes differ.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> semitone = 440.0 * 2 ** (1 / 12)
      >>> round(metrics.median_cents_error(np.array([440.0]), np.array([semitone]), np.ones(1)))
      100
    """
    error = _errors(target_hz, predicted_hz, confidence, threshold)
    error = error[np.isfinite(error)]
    return float(np.median(100 * np.abs(error))) if error.size else float("nan")


def _errors(
    target_hz: NDArray[np.floating],
    predicted_hz: NDArray[np.floating],
    confidence: NDArray[np.floating],
    threshold: float,
) -> NDArray[np.floating]:
    """Signed error in semitones at the confident frames; NaN where a frequency is not positive."""
    _same_shapes(target_hz, predicted_hz, confidence)
    sure = np.asarray(confidence) >= threshold
    target, predicted = (np.asarray(x, np.float64)[sure] for x in (target_hz, predicted_hz))
    is_number = (target > 0) & (predicted > 0) & np.isfinite(target) & np.isfinite(predicted)
    ratio = np.divide(predicted, target, out=np.full(target.shape, np.nan), where=is_number)
    return 12 * np.log2(ratio)


def _mean(values: NDArray[np.floating] | NDArray[np.bool_]) -> float:
    """Mean as a Python float; NaN for an empty array, without a warning."""
    return float(np.mean(values)) if values.size else float("nan")


def _same_shapes(*tracks: NDArray[np.floating]) -> None:
    """Raises a ValueError unless all tracks have the same shape."""
    shapes = [np.shape(track) for track in tracks]
    if len(set(shapes)) > 1:
        raise ValueError(
            "`target_hz`, `predicted_hz` and every confidence must have the same shape, got "
            + ", ".join(map(str, shapes))
            + "; cut both tracks to the shorter one."
        )
