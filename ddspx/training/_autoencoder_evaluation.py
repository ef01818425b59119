"""Evaluation of an instrument: how close its sound is to recordings it was not trained on."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core, features, metrics
from ddspx._checks import checked_seed
from ddspx._typing import Array, ArrayLike, Float, Key
from ddspx.features import loudness_of, method_of
from ddspx.io import Batch, evaluation_batches, read_manifest
from ddspx.metrics import Interval
from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig, InstrumentStatistics
from ddspx.training._data import check_dataset, dataset_statistics, same_features

_RESAMPLINGS = 2000

Renderer = Callable[[Key, Array, Array, Array], Array]
"""``renderer(key, recording, f0_hz, loudness_db)``: ``(frames - 1) * hop_length`` samples."""


class AutoencoderEvaluation(NamedTuple):
    """The measures of one renderer on the recordings of a split; lower is better for each.

    A measure is the mean over the examples, with a 95 % bootstrap interval.
    """

    name: str
    n_examples: int
    spectral_loss: Interval
    loudness_l1_db: Interval
    f0_l1_semitones: Interval
    f0_outlier_share: Interval


def evaluate_autoencoder(
    model: Autoencoder,
    dataset: str | Path,
    *,
    split: str = "test",
    statistics: InstrumentStatistics | None = None,
    baselines: bool = False,
    seed: int = 0,
) -> list[AutoencoderEvaluation]:
    """Renders every example of a split from its pitch and loudness, and measures the result.

    The encoder of a model that has one gets the example's recording as well.

    `features.conditioning_features` computes pitch and loudness anew, of the rendering and of the
    same samples of the recording. DDSP's evaluation compares the input pitch with itself, and
    compares features that were computed with different padding. The pitch is compared in frames
    where that of the recording is confident, and tracked in the range that the dataset was
    prepared with. A frame where the rendering's pitch is not confident is an outlier and has no
    error in semitones. Examples do not overlap. The intervals are bootstrapped from 2000
    resamplings of the examples.

    Args:
      model: the instrument.
      dataset: folder that `prepare` wrote, with the model's rates.
      split: train, valid or test.
      statistics: the model's statistics; if they are given, a dataset is refused whose features
        mean something else than those the model was trained on (see `features.method_of`).
      baselines: whether to measure two baselines as well: the model with its initial random
        weights, and `additive_baseline`.
      seed: seed of the noise, the random weights and the bootstrap.

    Returns:
      The measures of the model, then of the baselines.

    Raises:
      ValueError: the dataset has other rates than the model, is damaged, or has no example in
        that split.
    """
    checked_seed(seed)
    tracking = tracking_of(model, dataset, statistics)
    renderers = renderers_of(model, baselines=baselines, seed=seed)
    measured: dict[str, list[list[float]]] = {name: [] for name in renderers}
    for recording, renderings in stream_renderings(renderers, dataset, split=split, seed=seed):
        for name, rendering in renderings.items():
            measured[name].append(_measures(recording, rendering, model.config, tracking))
    return [
        AutoencoderEvaluation(
            name, len(rows), *(mean_interval(column, seed) for column in np.transpose(rows))
        )
        for name, rows in measured.items()
    ]


def additive_baseline(
    f0_hz: Float[ArrayLike, "*batch frames"],
    loudness_db: Float[ArrayLike, "*batch frames"],
    *,
    hop_length: int,
    sample_rate: int,
    n_harmonics: int = 60,
) -> Float[Array, "*batch samples"]:
    r"""Renders harmonics of amplitudes 1/k at the given loudness: a baseline without learning.

    A sine of amplitude a has the energy :math:`3 N^2 a^2 / 32` in a spectrum of N = 512 points
    under a Hann window. `core.loudness_db` is the A-weighted mean of that over N/2 + 1 bins, so
    the amplitude a of the first harmonic is the solution of

    .. math:: a^2 \frac{3 N^2}{32 (N/2 + 1)} \sum_k k^{-2} 10^{A(k f_0) / 10} = 10^{L / 10}

    There is no noise and no reverb.

    Args:
      f0_hz: pitch in Hz; a frame with 0 is silent.
      loudness_db: A-weighted loudness as `core.loudness_db` computes it.
      hop_length: samples from frame to frame. Static.
      sample_rate: samples per second. Static.
      n_harmonics: how many harmonics; those at and above Nyquist are silent. Static.

    Returns:
      Audio of ``(frames - 1) * hop_length`` samples.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> from ddspx.training import additive_baseline
      >>> rates = {"hop_length": 64, "sample_rate": 16000}
      >>> audio = additive_baseline(jnp.full(41, 440.0), jnp.full(41, -20.0), **rates)
      >>> round(core.loudness_db(audio, **rates)[20].item())
      -20
    """
    f0_hz = jnp.asarray(f0_hz)
    harmonics = jnp.arange(1, n_harmonics + 1, dtype=f0_hz.dtype)
    harmonics = harmonics.reshape((1,) * f0_hz.ndim + (-1,))
    frequencies_hz = f0_hz[..., None] * harmonics
    sounding = frequencies_hz < sample_rate / 2
    spectrum = jnp.where(sounding, 1 / harmonics, 0)
    weights = core.db_to_power(core.a_weighting_db(frequencies_hz))
    n_fft = features.LOUDNESS_FFT
    scale = 3 * n_fft**2 / 32 / (n_fft // 2 + 1)
    unit_power = scale * jnp.sum(spectrum**2 * weights, axis=-1)
    amplitudes = jnp.sqrt(core.safe_divide(core.db_to_power(loudness_db), unit_power))
    return core.harmonic_synthesis(
        f0_hz,
        jnp.where(f0_hz > 0, amplitudes, 0),
        spectrum,
        hop_length=hop_length,
        sample_rate=sample_rate,
    )


def tracking_of(
    model: Autoencoder, dataset: str | Path, statistics: InstrumentStatistics | None
) -> dict[str, Any]:
    """How the pitch of a dataset is tracked; refuses one that does not fit the model."""
    manifest = read_manifest(dataset)
    check_dataset(manifest, model.config)
    version = manifest.feature_version if statistics is None else statistics.feature_version
    if not same_features(version, manifest.feature_version):
        fix = f"prepare the recordings again with the method {method_of(version)!r}"
        if loudness_of(version) != loudness_of(manifest.feature_version):
            fix = "a model with another scale of loudness can be played, but not evaluated"
        raise ValueError(
            f"The model was trained on features of version {version!r} and the dataset has "
            f"{manifest.feature_version!r}; {fix}."
        )
    tracking: dict[str, Any] = dataset_statistics(dataset, manifest).pitch_range_hz
    return tracking | {"method": method_of(manifest.feature_version)}


def stream_renderings(
    renderers: Mapping[str, Renderer], dataset: str | Path, *, split: str, seed: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yields each recording of a split, and what every renderer makes of its features."""
    batches = evaluation_batches(dataset, split=split, batch_size=1)
    for index, batch in enumerate(batches):
        key = jax.random.fold_in(jax.random.key(seed), index)
        example = Batch(*(array[0] for array in batch))
        inputs = [jnp.asarray(x) for x in (example.audio, example.f0_hz, example.loudness_db)]
        rendered = {name: renderer(key, *inputs) for name, renderer in renderers.items()}
        yield example.audio, {name: np.asarray(audio) for name, audio in rendered.items()}


def renderers_of(model: Autoencoder, *, baselines: bool, seed: int) -> dict[str, Renderer]:
    """Returns the renderers of the model and the baselines by name.

    The trained and the untrained model share one compilation.
    """
    config = model.config
    graphdef, weights = nnx.split(model)

    @jax.jit
    def render(weights, key, recording, f0_hz, loudness_db):
        model = nnx.merge(graphdef, weights)
        return model(key, f0_hz, loudness_db, z=model.encode(recording))

    renderers: dict[str, Renderer] = {"model": partial(render, weights)}
    if baselines:
        untrained = nnx.state(Autoencoder(config, rngs=nnx.Rngs(seed)))
        additive = jax.jit(
            partial(
                additive_baseline,
                hop_length=config.hop_length,
                sample_rate=config.sample_rate,
            )
        )
        renderers["untrained"] = partial(render, untrained)
        renderers["additive"] = lambda key, recording, f0_hz, loudness_db: additive(
            f0_hz, loudness_db
        )
    return renderers


def _measures(
    recording: np.ndarray,
    rendering: np.ndarray,
    config: AutoencoderConfig,
    tracking: dict[str, Any],
) -> list[float]:
    """The four measures of one example, in the order of `AutoencoderEvaluation`."""
    rates = {"sample_rate": config.sample_rate, "hop_length": config.hop_length}
    target, rendered = (
        features.conditioning_features(audio, **rates, **tracking)
        for audio in (recording, rendering)
    )
    # The pitch of unvoiced frames is only an interpolation.
    rendered_hz = np.where(rendered.f0_confidence >= metrics.VOICED, rendered.f0_hz, np.nan)
    tracks = target.f0_hz, rendered_hz, target.f0_confidence
    return [
        metrics.spectral_distance(recording, rendering, n_ffts=config.loss_n_ffts),
        metrics.loudness_l1_db(recording, rendering, **rates),
        metrics.f0_l1_semitones(*tracks),
        metrics.f0_outlier_share(*tracks),
    ]


def mean_interval(values: Float[np.ndarray, " examples"], seed: int) -> Interval:
    """Returns the mean and its bootstrap interval over examples in which the measure is finite."""
    from scipy.stats import bootstrap

    defined = values[np.isfinite(values)]
    mean = float(defined.mean()) if defined.size else np.nan
    # Every resampling of a single example is that example, and SciPy refuses it.
    if defined.size < 2:
        return Interval(mean, mean, mean)
    bounds = bootstrap(
        (defined,),
        np.mean,
        n_resamples=_RESAMPLINGS,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(bounds.low), float(bounds.high))
