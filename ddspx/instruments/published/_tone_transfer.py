"""Google's Tone Transfer models: graph models of TensorFlow.js with a decoder of convolutions."""

import hashlib
from typing import Any, NamedTuple

import numpy as np
from flax import nnx

from ddspx.features import feature_version
from ddspx.instruments._instrument import Instrument
from ddspx.instruments.published._files import PublishedFiles
from ddspx.instruments.published._tone_transfer_graph import ToneTransferGraph, read_graph
from ddspx.io._json import FINITE, json_field, parse_json
from ddspx.io._tfjs import read_tfjs
from ddspx.models._weights import with_arrays
from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig, InstrumentStatistics
from ddspx.nn import DilatedConvDecoderConfig, HarmonicNoiseConfig

_MODEL, _SETTINGS = "model.json", "settings.json"
_LARGEST_JSON = 2**23
# An `Autoencoder` gives its decoder loudness_db / 80 + 1.
_RANGE_DB = 80.0
# Of the five seconds that the models play at once, one is for fading into the next.
_OVERLAP = 5
_GET_AGAIN = "get the model again"
# A model that is not one of Google's may have been trained on any instrument.
_REACH_MIDI = 18.0


class _Facts(NamedTuple):
    """What Google's page knows of a model, and what everybody knows of the instrument.

    Attributes:
      instrument: its name.
      mean_db: mean loudness.
      highest_db: average of the highest loudness of the recordings.
      mean_midi: mean pitch.
      gain: gain that the page gives to the sound.
      range_midi: lowest and highest note of the instrument.
    """

    instrument: str
    mean_db: float
    highest_db: float
    mean_midi: float
    gain: float
    range_midi: tuple[float, float]


# By the SHA-256 of the weights.
_PUBLISHED = {
    "e2df331d82cf56ed58c202c7af545b305f6794c655897dfc45535620a0d2fc12": _Facts(
        "violin", -68.5, -48.6, 62.0, 2.0, (55.0, 100.0)
    ),
    "4785eff16aef6d5e620f70866b865e3cb6462f0670edeeb9711603a354170538": _Facts(
        "trumpet", -72.5, -61.7, 68.6, 1.5, (54.0, 86.0)
    ),
    "1ce83914040927c5713ad80131c9bfa7eed960b696ca8f17176392b7287ad745": _Facts(
        "flute", -70.6, -45.9, 63.2, 4.0, (60.0, 96.0)
    ),
    "e4f9c5703a80cb874bca35818b22eb86d7f02ade3098974b47c6d248e6e57f0d": _Facts(
        "tenor saxophone", -56.0, -44.7, 58.9, 0.9, (44.0, 76.0)
    ),
}


def recognises(files: PublishedFiles) -> bool:
    """Whether files of these names are a graph model of TensorFlow.js."""
    return _MODEL in files.readers and any(name.endswith(".bin") for name in files.readers)


def read(files: PublishedFiles) -> Instrument:
    """Makes an instrument of the files.

    Raises:
      ValueError: they are damaged, or of a graph model that is no Tone Transfer model.
    """
    text, digest = files.read(_MODEL, most=_LARGEST_JSON), hashlib.sha256()

    def shard(name: str, most: int) -> bytes:
        data = files.read(name, most=most)
        digest.update(data)
        return data

    try:
        graph = read_graph(read_tfjs(text, shard))
        config, arrays = _config(graph), _arrays(graph)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{files.source} is not a readable Tone Transfer model ({error}); {_GET_AGAIN}."
        ) from error
    facts = _PUBLISHED.get(digest.hexdigest()) or _settings(files)
    model = with_arrays(
        lambda: Autoencoder(config, rngs=nnx.Rngs(0)), arrays, files.source, _GET_AGAIN
    )
    return Instrument(model, _statistics(config, facts), _provenance(facts))


def _config(graph: ToneTransferGraph) -> AutoencoderConfig:
    dilations = tuple(layer.dilation for layer in graph.layers)
    stacks = max(1, dilations.count(1))
    decoder = DilatedConvDecoderConfig(
        channels=graph.kernel.shape[-1],
        kernel_size=graph.kernel.shape[0],
        stacks=stacks,
        layers_per_stack=len(dilations) // stacks,
        causal=False,
        window_frames=graph.n_frames,
        overlap_frames=max(1, graph.n_frames // _OVERLAP),
        # Outside of the sound, the graph's convolutions hear 0, which is -range_db and note 0.
        in_padding=(1 - graph.range_db / _RANGE_DB, 0.0),
    )
    if decoder.dilations != dilations or graph.n_samples % graph.n_frames:
        raise ValueError(f"its graph has other layers, of the dilations {dilations}")
    return AutoencoderConfig(
        sample_rate=graph.sample_rate,
        hop_length=graph.n_samples // graph.n_frames,
        synthesizer=HarmonicNoiseConfig(graph.n_harmonics, graph.n_magnitudes),
        decoder=decoder,
        reverb=None,
        loss_n_ffts=(2048, 1024, 512, 256, 128, 64),
    )


# Damaged weights may be so large that they become infinite here, and are refused as such.
@np.errstate(over="ignore", invalid="ignore")
def _arrays(graph: ToneTransferGraph) -> dict[str, np.ndarray]:
    """The weights by the names that a model of ddspx gives them."""
    # loudness_db / range_db + 1 is scale * (loudness_db / 80 + 1) + shift.
    scale = _RANGE_DB / graph.range_db
    kernel = graph.kernel.astype(np.float64)
    bias = graph.bias + (1 - scale) * kernel[:, 0].sum(axis=0)
    kernel[:, 0] *= scale
    arrays = {
        "conv.kernel": kernel.astype(np.float32),
        "conv.bias": bias.astype(np.float32),
        "dense.kernel": graph.dense_kernel,
        "dense.bias": graph.dense_bias,
    }
    for i, layer in enumerate(graph.layers):
        arrays |= {
            f"layers.{i}.conv.kernel": layer.kernel,
            f"layers.{i}.conv.bias": layer.bias,
            f"layers.{i}.scale": layer.scale,
            f"layers.{i}.shift": layer.shift,
        }
    return {f"decoder.{name}": array for name, array in arrays.items()}


def _settings(files: PublishedFiles) -> _Facts:
    """The facts of a model that is not one of Google's, from the file that their page reads."""
    if _SETTINGS not in files.readers:
        raise ValueError(
            f"{files.source} holds weights that are none of Google's four Tone Transfer models; "
            f"get the model again, or add the {_SETTINGS} of your own."
        )
    try:
        fields = parse_json(files.read(_SETTINGS, most=2**16))
        names = ("meanLoudness", "averageMaxLoudness", "meanPitch", "postGain")
        mean_db, highest_db, midi, gain = (
            float(json_field(fields, name, FINITE)) for name in names
        )
    except ValueError as error:
        raise ValueError(f"{_SETTINGS} of {files.source} is not usable: {error}") from error
    if not -120 < mean_db < highest_db < 60 or not 0 < midi < 127:
        raise ValueError(
            f"{_SETTINGS} of {files.source} is not usable: it must hold meanLoudness below "
            "averageMaxLoudness, in dB, and meanPitch as a MIDI note."
        )
    reach = midi - _REACH_MIDI, midi + _REACH_MIDI
    return _Facts("unknown instrument", mean_db, highest_db, midi, gain, reach)


def _statistics(config: AutoencoderConfig, facts: _Facts) -> InstrumentStatistics:
    # Of the loudness, only the mean and the highest are known. The distribution is taken to be
    # triangular around the mean.
    p = np.linspace(0, 1, 101)
    lower, upper = np.sqrt(2 * p) - 1, 1 - np.sqrt(2 * (1 - p))
    quantiles = facts.mean_db + (facts.highest_db - facts.mean_db) * np.where(p < 0.5, lower, upper)
    return InstrumentStatistics(
        sample_rate=config.sample_rate,
        hop_length=config.hop_length,
        loudness_quantiles=tuple(quantiles.tolist()),
        pitch_midi_min=facts.range_midi[0],
        pitch_midi_mean=facts.mean_midi,
        pitch_midi_max=facts.range_midi[1],
        duration_s=0.0,
        feature_version=feature_version("ddspx", scale="ddsp-2"),
    )


def _provenance(facts: _Facts) -> dict[str, Any]:
    is_google = facts in _PUBLISHED.values()
    data = {
        "licence": "Apache-2.0",
        "attribution": f"Google Magenta, Tone Transfer: {facts.instrument}",
    }
    return {
        "data": data if is_google else {},
        "imported": {
            "from": "graph model of TensorFlow.js, Tone Transfer",
            "instrument": facts.instrument,
            "recordings": "not published",
            "changes": "the scale of loudness is folded into the first convolution",
            "loudness": "triangular distribution of the published mean and average maximum",
            "pitch_range": (
                "the usual range of the instrument" if is_google else "the mean +- 18 semitones"
            ),
            # A transfer fits the level to the recording, so that the gain has no effect.
            "gain_of_the_page": facts.gain,
        },
    }
