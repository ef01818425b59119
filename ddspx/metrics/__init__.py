"""Evaluation measures: they take NumPy arrays and return numbers."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy

if TYPE_CHECKING:
    from ddspx.metrics._audio import (
        loudness_l1_db as loudness_l1_db,
        spectral_distance as spectral_distance,
    )
    from ddspx.metrics._classification import (
        ClassificationScores as ClassificationScores,
        ClassScores as ClassScores,
        GroupScores as GroupScores,
        Interval as Interval,
        classification_scores as classification_scores,
        confusion_matrix as confusion_matrix,
        group_scores as group_scores,
        wilson_interval as wilson_interval,
    )
    from ddspx.metrics._clicks import click_times as click_times
    from ddspx.metrics._distributions import (
        distance_interval as distance_interval,
        frechet_distance as frechet_distance,
        kernel_distance as kernel_distance,
    )
    from ddspx.metrics._embeddings import mfcc_embedding as mfcc_embedding
    from ddspx.metrics._onsets import (
        OnsetScores as OnsetScores,
        onset_scores as onset_scores,
        onset_times as onset_times,
    )
    from ddspx.metrics._pitch import (
        VOICED as VOICED,
        f0_l1_semitones as f0_l1_semitones,
        f0_outlier_share as f0_outlier_share,
        gross_error_share as gross_error_share,
        median_cents_error as median_cents_error,
        octave_error_share as octave_error_share,
        overall_accuracy as overall_accuracy,
        raw_chroma_accuracy as raw_chroma_accuracy,
        raw_pitch_accuracy as raw_pitch_accuracy,
        voicing_false_alarm as voicing_false_alarm,
        voicing_recall as voicing_recall,
    )
    from ddspx.metrics._reverberation import (
        Reverberation as Reverberation,
        reverberation as reverberation,
    )
    from ddspx.metrics._spectra import (
        StftDistance as StftDistance,
        log_spectral_distance_db as log_spectral_distance_db,
        mel_cepstral_distortion_db as mel_cepstral_distortion_db,
        multi_resolution_stft_distance as multi_resolution_stft_distance,
    )
    from ddspx.metrics._squeaks import squeaks as squeaks
    from ddspx.metrics._vibrato import Vibrato as Vibrato, vibrato as vibrato
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        _audio="loudness_l1_db spectral_distance",
        _classification=(
            "ClassificationScores ClassScores GroupScores Interval classification_scores "
            "confusion_matrix group_scores wilson_interval"
        ),
        _clicks="click_times",
        _distributions="distance_interval frechet_distance kernel_distance",
        _embeddings="mfcc_embedding",
        _onsets="OnsetScores onset_scores onset_times",
        _pitch=(
            "VOICED f0_l1_semitones f0_outlier_share gross_error_share median_cents_error "
            "octave_error_share overall_accuracy raw_chroma_accuracy raw_pitch_accuracy "
            "voicing_false_alarm voicing_recall"
        ),
        _reverberation="Reverberation reverberation",
        _spectra=(
            "StftDistance log_spectral_distance_db mel_cepstral_distortion_db "
            "multi_resolution_stft_distance"
        ),
        _squeaks="squeaks",
        _vibrato="Vibrato vibrato",
    )
