"""How far sounds are from others: pair by pair, and as two sets."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddspx import features, io, metrics
from ddspx._checks import checked_seed, size
from ddspx._progress import Progress, no_progress
from ddspx._text import printable
from ddspx.metrics import Interval
from ddspx.metrics._distributions import median_distance
from ddspx.models.autoencoder import Autoencoder, InstrumentStatistics
from ddspx.training._autoencoder_evaluation import (
    mean_interval,
    renderers_of,
    stream_renderings,
    tracking_of,
)

Embedding = Callable[..., NDArray[np.floating]]
"""``embedding(audio, sample_rate=...)``: points of shape (points, features), at least one."""

EMBEDDINGS: Mapping[str, Embedding] = MappingProxyType({"MFCC": metrics.mfcc_embedding})
"""The default embeddings of a comparison."""

# Alignment takes the time of all pairs of frames.
_LONGEST_ALIGNED_S = 120.0


class PairMeasures(NamedTuple):
    """How far one sound is from another; NaN where a measure is not defined for the pair.

    Attributes:
      mel_cepstral_distortion_db: see `metrics.mel_cepstral_distortion_db`.
      aligned_distortion_db: the same after dynamic time warping of the whole sounds; NaN if one is
        longer than two minutes.
      log_spectral_distance_db: see `metrics.log_spectral_distance_db`.
      stft_distance: see `metrics.multi_resolution_stft_distance`, its total.
      loudness_l1_db: mean absolute difference of A-weighted loudness.
      f0_error_cents: median absolute difference of pitch, in frames where both have one.
      raw_pitch_accuracy: share of the target's pitched frames within 50 cents; higher is better.
      vibrato_rate_error_hz: absolute difference of the rates, if both have vibrato.
      vibrato_extent_error_cents: absolute difference of the extents, where none is an extent of 0,
        if both have held notes.
      onset_f1: F1 of the onsets within 50 ms; higher is better.
    """

    mel_cepstral_distortion_db: float
    aligned_distortion_db: float
    log_spectral_distance_db: float
    stft_distance: float
    loudness_l1_db: float
    f0_error_cents: float
    raw_pitch_accuracy: float
    vibrato_rate_error_hz: float
    vibrato_extent_error_cents: float
    onset_f1: float


class SetDistances(NamedTuple):
    """Distances of two sets of recordings by one embedding, with 95 % intervals.

    Attributes:
      embedding: name of the embedding.
      n_target: number of points of the target set.
      n_predicted: number of points of the other set.
      n_features: numbers in a point.
      frechet: see `metrics.frechet_distance` and `metrics.distance_interval`.
      kernel: see `metrics.kernel_distance`.
    """

    embedding: str
    n_target: int
    n_predicted: int
    n_features: int
    frechet: Interval
    kernel: Interval


class Comparison(NamedTuple):
    """The result of a comparison.

    Attributes:
      n_target: number of target recordings.
      n_predicted: number of recordings, or renderings, that are compared with them.
      pairs: the measures of each pair, by its name.
      measures: for each of `PairMeasures`, the mean over the pairs for which it is defined, with
        its 95 % bootstrap interval; empty without pairs.
      sets: the distances of the sets, for each embedding.
    """

    n_target: int
    n_predicted: int
    pairs: dict[str, PairMeasures]
    measures: dict[str, Interval]
    sets: list[SetDistances]


def compare_sounds(
    target: NDArray[np.floating], predicted: NDArray[np.floating], *, sample_rate: int
) -> PairMeasures:
    """All measures of one pair of sounds.

    If the lengths differ, the sounds are compared up to the end of the shorter one; only the
    aligned distortion is of both as a whole. Pitch is tracked by the method "ddspx", every 10 ms.

    Args:
      target: one recording of shape ``(samples,)``, linear amplitude.
      predicted: another one.
      sample_rate: samples per second of both.

    Returns:
      The measures; all are defined for silence but those of pitch, vibrato and onsets.

    Raises:
      TypeError: `sample_rate` is not an int, or a sound is not of floating point.
      ValueError: a sound is empty, not finite, or has several axes.

    Example:
      >>> import numpy as np
      >>> from ddspx.training import compare_sounds
      >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000).astype(np.float32)
      >>> measures = compare_sounds(tone, 0.5 * tone, sample_rate=16000)
      >>> round(measures.loudness_l1_db, 1), round(measures.f0_error_cents)
      (6.0, 0)
    """
    sample_rate = size("sample_rate", sample_rate)
    aligned = np.nan
    if max(len(target), len(predicted)) <= _LONGEST_ALIGNED_S * sample_rate:
        aligned = metrics.mel_cepstral_distortion_db(
            target, predicted, sample_rate=sample_rate, aligned=True
        )
    shorter = min(len(target), len(predicted))
    pair = target[:shorter], predicted[:shorter]
    hop_length = max(1, round(sample_rate / 100))
    tracks = [
        features.conditioning_features(audio, sample_rate=sample_rate, hop_length=hop_length)
        for audio in pair
    ]
    (first_hz, first_sure, first_db), (second_hz, second_sure, second_db) = tracks
    # The pitch of unvoiced frames is only a guess. `raw_pitch_accuracy` takes it, by definition.
    voiced_hz = np.where(second_sure >= metrics.VOICED, second_hz, np.nan)
    onsets = (metrics.onset_times(audio, sample_rate=sample_rate) for audio in pair)
    swings = (
        metrics.vibrato(track.f0_hz, track.f0_confidence, frame_rate=sample_rate / hop_length)
        for track in tracks
    )
    return PairMeasures(
        metrics.mel_cepstral_distortion_db(*pair, sample_rate=sample_rate),
        aligned,
        metrics.log_spectral_distance_db(*pair),
        metrics.multi_resolution_stft_distance(*pair).total,
        float(np.mean(np.abs(first_db.astype(np.float64) - second_db))),
        metrics.median_cents_error(first_hz, voiced_hz, first_sure),
        metrics.raw_pitch_accuracy(first_hz, second_hz, first_sure),
        *_vibrato_errors(*swings),
        metrics.onset_scores(*onsets).f1,
    )


def compare_recordings(
    target: str | Path,
    predicted: str | Path,
    *,
    sample_rate: int = 16000,
    embeddings: Mapping[str, Embedding] = EMBEDDINGS,
    seed: int = 0,
    report: Callable[[Path, Exception], object] | None = None,
    progress: Progress = no_progress,
) -> Comparison:
    """Compares the recordings of two folders: those of the same name pair by pair, and all as sets.

    Names are those of files below the folder, without their endings. Two single files are a pair
    whatever their names. All recordings are read at one sample rate; a recording of a lower rate
    has nothing above half of it, which counts as a difference, and gives a warning.

    Args:
      target: folder of the recordings that are right, or one of them.
      predicted: folder of the recordings that are judged, or one of them.
      sample_rate: samples per second at which all are compared.
      embeddings: from a name to the embedding of the set distances; by default MFCC statistics,
        `metrics.mfcc_embedding`. `models.spectnet.spectnet_embedding` makes another one.
      seed: seed of the intervals.
      report: called with each recording that cannot be read, embedded or compared, which of a pair
        is the predicted one, and its error of any kind; it is then left out. By default the error
        is raised.
      progress: called with the number of recordings that were compared, and of all.

    Returns:
      The comparison. Set distances are NaN where a set has fewer than two points.

    Raises:
      AudioError: a recording cannot be read, and `report` is None.
      ValueError: a folder holds no recording, or two of the same name.
    """
    checked_seed(seed)
    size("sample_rate", sample_rate)
    files = {name: _named(Path(place)) for name, place in _places(target, predicted)}
    if all(os.path.isfile(place) for place in (target, predicted)):
        files["predicted"] = dict(zip(files["target"], files["predicted"].values(), strict=True))
    names = sorted({*files["target"], *files["predicted"]})
    slow: set[Path] = set()
    pairs: dict[str, PairMeasures] = {}
    points: tuple[_Points, _Points] = ({}, {})
    for done, name in enumerate(names):
        progress("comparing", float(done), float(len(names)))
        sounds = [
            _listen(of[name], name, points_of, sample_rate, embeddings, report, slow)
            for of, points_of in zip(files.values(), points, strict=True)
            if name in of
        ]
        pair = [sound for sound in sounds if sound is not None]
        if len(pair) == 2:
            with _reported(files["predicted"][name], report):
                pairs[name] = compare_sounds(pair[0], pair[1], sample_rate=sample_rate)
            if name not in pairs:
                del points[1][name]
    found = _summary(pairs, points, embeddings, seed)
    if slow:
        warnings.warn(
            f"{len(slow)} recordings have a lower sample rate than {sample_rate} Hz, such as "
            f"{min(slow)}; what they lack above half of it counts as a difference.",
            stacklevel=2,
        )
    return found


def compare_renderings(
    model: Autoencoder,
    dataset: str | Path,
    target: str | Path,
    *,
    split: str = "test",
    statistics: InstrumentStatistics | None = None,
    embeddings: Mapping[str, Embedding] = EMBEDDINGS,
    seed: int = 0,
    report: Callable[[Path, Exception], object] | None = None,
    progress: Progress = no_progress,
) -> Comparison:
    """Renders a split of a dataset, and compares the result with the split and with recordings.

    Each example is rendered from its pitch and loudness, and compared with its own recording as a
    pair. The set of the renderings is compared with the set of the recordings in `target`.

    Args:
      model: the instrument.
      dataset: folder that `prepare` wrote, with the model's rates.
      target: folder of recordings of the instrument, or one of them.
      split: train, valid or test.
      statistics: as in `evaluate_autoencoder`.
      embeddings: as in `compare_recordings`.
      seed: seed of the noise and the intervals.
      report: as in `compare_recordings`.
      progress: called with the number of sounds that were compared; the total is not known.

    Returns:
      The comparison, whose pairs are named by the number of the example.

    Raises:
      AudioError: a recording cannot be read, and `report` is None.
      ValueError: as in `evaluate_autoencoder`, or `target` holds no recording.
    """
    tracking_of(model, dataset, statistics)
    sample_rate, files = model.config.sample_rate, _named(Path(target))
    renderers = renderers_of(model, baselines=False, seed=checked_seed(seed))
    pairs: dict[str, PairMeasures] = {}
    points: tuple[_Points, _Points] = ({}, {})
    for index, (recording, rendered) in enumerate(
        stream_renderings(renderers, dataset, split=split, seed=seed)
    ):
        progress("rendering", float(index), None)
        name, rendering = f"{split} {index + 1}", rendered["model"]
        pairs[name] = compare_sounds(recording, rendering, sample_rate=sample_rate)
        points[1][name] = _embedded(rendering, sample_rate, embeddings)
    for index, (name, path) in enumerate(files.items()):
        progress("listening", float(index), float(len(files)))
        _listen(path, name, points[0], sample_rate, embeddings, report, set())
    return _summary(pairs, points, embeddings, seed)


# The points of each recording, by its name and by the name of the embedding.
_Points = dict[str, dict[str, NDArray]]


def _embedded(
    audio: NDArray, sample_rate: int, embeddings: Mapping[str, Embedding]
) -> dict[str, NDArray]:
    return {key: embed(audio, sample_rate=sample_rate) for key, embed in embeddings.items()}


def _summary(
    pairs: dict[str, PairMeasures],
    points: tuple[_Points, _Points],
    embeddings: Mapping[str, Embedding],
    seed: int,
) -> Comparison:
    for name, of in zip(("target", "predicted"), points, strict=True):
        if not of:
            raise ValueError(f"`{name}` holds no recording that can be used; add some.")
    measures = {
        name: mean_interval(np.array([getattr(pair, name) for pair in pairs.values()]), seed)
        for name in PairMeasures._fields
        if pairs
    }
    # Recordings are in the order of their names.
    options = {"paired": points[0].keys() == points[1].keys(), "seed": seed}
    sets = []
    for key in embeddings:
        target, predicted = ([of[name][key] for name in sorted(of)] for of in points)
        sets.append(_set_distances(key, target, predicted, options))
    return Comparison(len(points[0]), len(points[1]), pairs, measures, sets)


def _set_distances(
    name: str, target: list[NDArray], predicted: list[NDArray], options: dict[str, Any]
) -> SetDistances:
    n_target, n_predicted = (sum(map(len, of)) for of in (target, predicted))
    n_features, nothing = target[0].shape[-1], Interval(np.nan, np.nan, np.nan)
    if min(n_target, n_predicted) < 2:
        # The pairs are measured all the same.
        warnings.warn(
            f"The sets have no distance by {name}, because {n_target} and {n_predicted} "
            "points are too few; take more or longer recordings.",
            stacklevel=2,
        )
        return SetDistances(name, n_target, n_predicted, n_features, nothing, nothing)
    # One bandwidth for the sets and for their halves.
    bandwidth = cache(lambda: median_distance(np.concatenate(target)))

    def kernel_distance(first: NDArray, second: NDArray) -> float:
        return metrics.kernel_distance(first, second, bandwidth=bandwidth())

    both = []
    for distance in (metrics.frechet_distance, kernel_distance):
        try:
            both.append(metrics.distance_interval(distance, target, predicted, **options))
        except ValueError as error:
            warnings.warn(f"The sets have no {distance.__name__} by {name}: {error}", stacklevel=2)
            both.append(nothing)
    return SetDistances(name, n_target, n_predicted, n_features, both[0], both[1])


def _vibrato_errors(first: metrics.Vibrato, second: metrics.Vibrato) -> tuple[float, float]:
    """Differences of rate and extent; a held note without vibrato has an extent of 0."""
    extents = [0.0 if vibrato.share == 0 else vibrato.extent_cents for vibrato in (first, second)]
    return abs(first.rate_hz - second.rate_hz), abs(extents[0] - extents[1])


def _places(target: str | Path, predicted: str | Path) -> Iterator[tuple[str, str | Path]]:
    for name, place in (("target", target), ("predicted", predicted)):
        if not os.path.exists(place):
            raise ValueError(f"{place} is not there; name a folder of recordings.")
        yield name, place


def _named(place: Path) -> dict[str, Path]:
    """The files of a folder by their names without endings, or a single file."""
    if not place.is_dir():
        return {printable(place.stem): place}
    named: dict[str, Path] = {}
    for path in io.files_below(place):
        name = printable(path.relative_to(place).with_suffix("").as_posix())
        if name in named:
            raise ValueError(
                f"{named[name]} and {path} have the same name without their endings, so that it is "
                "not clear which to compare; move one of them to another folder."
            )
        named[name] = path
    if not named:
        raise ValueError(f"{place} holds no recording; add some, or name another folder.")
    return named


def _listen(
    path: Path,
    name: str,
    points: _Points,
    sample_rate: int,
    embeddings: Mapping[str, Embedding],
    report: Callable[[Path, Exception], object] | None,
    slow: set[Path],
) -> NDArray | None:
    """Reads a recording and embeds it; None if it is left out. Notes those of a lower rate."""
    with _reported(path, report):
        audio = io.read_audio(path, sample_rate=sample_rate)
        points[name] = _embedded(audio, sample_rate, embeddings)
        if (io.declared_sample_rate(path) or sample_rate) < sample_rate:
            slow.add(path)
        return audio
    return None


@contextmanager
def _reported(path: Path, report: Callable[[Path, Exception], object] | None) -> Iterator[None]:
    """Gives `report`, if there is one, any error that a recording causes within."""
    try:
        yield
    except Exception as error:
        if report is None:
            raise
        report(path, error)
