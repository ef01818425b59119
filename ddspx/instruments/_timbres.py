"""Timbres of the model of any instrument: that of a recording, mixtures, and how they are named."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx._checks import at_least_ndim
from ddspx._typing import Array, ArrayLike, Float
from ddspx.features import StreamingMethod, loudness_of, method_of, pitch_range
from ddspx.instruments._hearing import check_heard, hear
from ddspx.instruments._instrument import Instrument, check_features
from ddspx.instruments._library import (
    ANY_INSTRUMENT,
    named_instrument,
    timbre_names,
    unknown_instrument,
)
from ddspx.instruments._mixture import check_weights, parse_mixture
from ddspx.instruments._statistics import instrument_statistics
from ddspx.io import AudioError, Source, declared_sample_rate, stream_audio
from ddspx.io._files import sha256_of_file
from ddspx.models._config import HISTORY, STATISTICS, TIMBRES
from ddspx.models._weights import FOLDER_AGAIN, weights_sha256
from ddspx.models.autoencoder import (
    Autoencoder,
    InstrumentStatistics,
    Timbre,
    load_autoencoder,
    load_timbres,
    with_timbre,
)
from ddspx.models.autoencoder.serialization import check_rates
from ddspx.models.autoencoder.timbres import scaled_embedding, timbre_encoder
from ddspx.nn import (
    DecayingReverb,
    DecayingReverbConfig,
    TapReverb,
    TapReverbConfig,
    TimbreEncoder,
)

_BLOCK_LENGTH = 1 << 16


class AnyInstrument(NamedTuple):
    """A model of any instrument.

    Attributes:
      name: the name of its folder.
      model: the network, whose encoder is an `nn.TimbreEncoder`.
      timbres: the instruments that it knows, by name.
      statistics: loudness and pitch of the recordings of all of them.
      provenance: the origin of the model.
    """

    name: str
    model: Autoencoder
    timbres: dict[str, Timbre]
    statistics: InstrumentStatistics
    provenance: dict[str, Any]

    @property
    def origin(self) -> dict[str, Any]:
        """What the provenance of an instrument made with this model says under `started_from`."""
        history = {name: self.provenance[name] for name in HISTORY if name in self.provenance}
        return {"name": self.name, "weights_sha256": weights_sha256(self.model), **history}

    @property
    def room(self) -> DecayingReverbConfig | TapReverbConfig | None:
        """The config of the rooms of its recordings, for `training.adapt`; None without rooms."""
        rooms = (timbre.reverb for timbre in self.timbres.values())
        return next((room.config for room in rooms if room is not None), None)

    def instrument(self, timbre: Timbre) -> Instrument:
        """The instrument that plays with a timbre, as `load_instrument` returns others."""
        model = with_timbre(self.model, timbre.embedding, reverb=timbre.reverb)
        return Instrument(model, timbre.statistics, {"started_from": self.origin})


def load_any_instrument(*, folder: str | Path | None = None) -> AnyInstrument:
    """Reads a model of any instrument, and the instruments that it knows.

    Args:
      folder: a folder that `training.train_any_instrument` wrote; "any_instrument", or None, is the
        model that ships with ddspx.

    Raises:
      FileNotFoundError: there is no such folder, or a file of it is missing.
      ValueError: a file is damaged, or the model is of one instrument.
    """
    source = ANY_INSTRUMENT
    fix = (
        "it is missing from this copy of ddspx, so install ddspx again, or train one with "
        "`training.train_any_instrument`."
    )
    if folder is not None and (os.path.isdir(folder) or str(folder) != ANY_INSTRUMENT.name):
        fix = "give the path of a folder that `training.train_any_instrument` wrote."
        source = Path(folder)
        if not os.path.isdir(source):
            source = named_instrument(str(folder)) or source
    if not os.path.isdir(source):
        raise FileNotFoundError(f"There is no model of any instrument in {source}; {fix}")
    model, statistics, provenance = load_autoencoder(source)
    if not isinstance(model.encoder, TimbreEncoder):
        raise ValueError(
            f"{source} is a model of one instrument, and a model of any instrument is needed: "
            "any_instrument, which ships with ddspx, or one that `training.train_any_instrument` "
            "wrote."
        )
    check_features(statistics, source / STATISTICS)
    timbres = load_timbres(source, sample_rate=model.config.sample_rate)
    z_size = model.encoder.config.z_size
    for name, timbre in timbres.items():
        owner = f"The timbre {name!r} in {source / TIMBRES}"
        check_features(timbre.statistics, owner)
        check_rates(model.config, timbre.statistics, owner=owner, fix=FOLDER_AGAIN)
        if timbre.embedding.shape != (z_size,):
            raise ValueError(
                f"{owner} must have an `embedding` of {z_size} numbers, got "
                f"{timbre.embedding.size}; {FOLDER_AGAIN}."
            )
    return AnyInstrument(source.resolve().name, model, timbres, statistics, provenance)


def embed(model: Autoencoder, audio: Float[ArrayLike, " samples"]) -> Float[np.ndarray, " z"]:
    r"""The timbre of a sound: the embedding that a model of any instrument hears in it.

    The sound is cut into stretches s of 4 s, as long as those that the model is trained with. With
    the embedding :math:`z_s` of each and the number :math:`n_s` of its frames that sound and have a
    pitch,

    .. math:: y = \sum_s n_s z_s, \qquad z = y \Big/ \sqrt{\frac1Z \sum_i y_i^2}

    So pauses and noise do not count, and a long sound needs no more memory than its pitch does.
    `recorded_timbre` does the same with a file of any length, which it reads in blocks.

    Args:
      model: a model whose encoder is an `nn.TimbreEncoder`.
      audio: linear amplitude at the model's sample rate.

    Returns:
      The embedding, of mean square 1, for `with_timbre`.

    Raises:
      AudioError: nothing in the sound has a pitch.
      TypeError: the audio is not of floating point.
      ValueError: the model has no such encoder, or the audio is no axis of finite samples.

    Example:
      >>> import numpy as np
      >>> from flax import nnx
      >>> from ddspx.instruments import embed
      >>> from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig
      >>> model = Autoencoder(AutoencoderConfig.any_instrument(), rngs=nnx.Rngs(0))
      >>> phase = 2 * np.pi * 220 * np.arange(16000) / 16000
      >>> sound = 0.1 * sum(np.sin(k * phase) / k for k in range(1, 9))
      >>> z = embed(model, sound)
      >>> z.shape, round(float(np.mean(z**2)), 3)
      ((16,), 1.0)
    """
    sound = np.asarray(audio)
    at_least_ndim("audio", sound.shape, 1, "(samples,)")
    if sound.ndim > 1:
        raise ValueError(
            f"`audio` must have the one axis (samples,), got the shape {sound.shape}; call `embed` "
            "for each sound, and take the mean over channels."
        )
    encoder, c = TimbreListener(model), model.config
    *_, is_pitched = hear(
        lambda: [sound], sample_rate=c.sample_rate, hop_length=c.hop_length, each=encoder.add
    )
    if not is_pitched.any():
        raise AudioError("Nothing in `audio` has a pitch; give a sound of a pitched instrument.")
    return encoder.embedding


def recorded_timbre(
    recording: str | Path, model: Autoencoder, *, method: StreamingMethod = "ddspx"
) -> Timbre:
    """The timbre of a recording, to be played with a model of any instrument at once.

    Embedding (as by `embed`), loudness and pitch come from the parts of the recording that sound
    and have a pitch, as those of a trained instrument do. There is no room: that of the recording
    cannot be heard in one go, and `training.adapt` fits it.

    Args:
      recording: a recording of one instrument or voice, of any length; 20 s are enough.
      model: a model whose encoder is an `nn.TimbreEncoder`.
      method: the pitch tracker that the model is trained with.

    Raises:
      AudioError: the recording cannot be read, is silent, or less than 3 s of it have a pitch.
      ValueError: the model has no such encoder.

    Warns:
      UserWarning: most of the recording has no pitch, or it has more than one voice.
    """
    encoder, c = TimbreListener(model), model.config
    rates = {"sample_rate": c.sample_rate, "hop_length": c.hop_length}
    read = partial(stream_audio, recording, sample_rate=c.sample_rate, block_length=_BLOCK_LENGTH)
    heard, tracks, is_pitched = hear(read, **rates, method=method, each=encoder.add)
    check_heard(heard, str(recording))
    played = tracks._replace(f0_confidence=np.where(is_pitched, tracks.f0_confidence, 0))
    statistics = instrument_statistics(played, **rates, method=method)
    fmin, fmax = pitch_range(method, sample_rate=c.sample_rate, fmin=None, fmax=None)
    return Timbre(encoder.embedding, None, dataclasses.replace(statistics, fmin=fmin, fmax=fmax))


class TimbreListener:
    """Sums the embeddings of stretches, weighted by their pitched frames: `add` is for `hear`."""

    def __init__(self, model: Autoencoder) -> None:
        self._parts = nnx.split(timbre_encoder(model))
        self._sum: Any = 0.0

    def add(self, audio: np.ndarray, weight: int) -> None:
        if weight:
            z = _embedding(*self._parts, np.asarray(audio, np.float32))
            self._sum = self._sum + weight * np.asarray(z, np.float64)

    @property
    def embedding(self) -> Float[np.ndarray, " z"]:
        return np.asarray(scaled_embedding(self._sum), np.float32)


@partial(jax.jit, static_argnums=0)
def _embedding(graph: nnx.GraphDef, weights: Any, audio: ArrayLike) -> Array:
    return nnx.merge(graph, weights).embed(audio)


def interpolate(timbres: Mapping[str, Timbre], weights: Mapping[str, float]) -> Timbre:
    r"""A timbre between several: "violin" with 0.7 and "flute" with 0.3.

    It is continuous in the weights w, and with one weight of 1 it is that timbre itself.

    - Embedding: the weighted sum, scaled to a mean square of 1 again. The decoder knows only
      vectors of that length, and a plain sum of two different ones is shorter, as if it were
      of no instrument at all.
    - Loudness: the weighted mean of each quantile. So the softest notes lie between the softest,
      and the loudest between the loudest. A mixture of both distributions would have two humps, one
      for each instrument, and dynamics that neither of them has.
    - Pitch range: the weighted mean of the lowest, the mean and the highest note, in semitones, and
      likewise of the limits of the tracker. All notes of both would be a range that neither of
      their decoders has learned to play.
    - Room: the weighted sum of the impulse responses, where none is zero. A reverb is linear, so
      this is the sound in each of the rooms, mixed by the weights, whatever kinds they are of. The
      tails of two `nn.DecayingReverb` are made of the same noise, so no level is lost between them.

    Args:
      timbres: the timbres of one model by name, from `load_any_instrument` or `recorded_timbre`.
      weights: the weight of each name, from 0 to 1; they add up to 1. A name that is left out has
        the weight 0.

    Raises:
      TypeError: a weight is no number.
      ValueError: a weight is out of range, they do not add up to 1, a name is unknown, or the
        timbres belong to different models.

    Example:
      >>> from ddspx.instruments import interpolate, load_any_instrument, timbre_names
      >>> if "violin" in timbre_names():
      ...     known = load_any_instrument().timbres
      ...     between = interpolate(known, {"violin": 0.7, "flute": 0.3})
    """
    if unknown := sorted(weights.keys() - timbres.keys()):
        raise ValueError(f"There is no timbre {unknown[0]!r} in `timbres` ({', '.join(timbres)}).")
    check_weights(weights)
    chosen = [timbres[name] for name, weight in weights.items() if weight]
    shares = np.array([weight for weight in weights.values() if weight], np.float64)
    if len(chosen) == 1:
        return chosen[0]
    if len({timbre.embedding.shape for timbre in chosen}) > 1:
        raise ValueError("The timbres belong to different models; their embeddings differ in size.")
    embedding = scaled_embedding(shares @ np.stack([timbre.embedding for timbre in chosen]))
    statistics = _between([timbre.statistics for timbre in chosen], shares)
    room = _mixed_room([timbre.reverb for timbre in chosen], shares, statistics.sample_rate)
    return Timbre(np.asarray(embedding, np.float32), room, statistics)


def _between(each: list[InstrumentStatistics], shares: np.ndarray) -> InstrumentStatistics:
    first = each[0]
    meanings = {(method_of(one.feature_version), loudness_of(one.feature_version)) for one in each}
    if len({(one.sample_rate, one.hop_length) for one in each}) > 1 or len(meanings) > 1:
        raise ValueError("The timbres belong to different models; their rates or features differ.")
    places = np.linspace(0, 1, 101)
    quantiles = [
        np.interp(places, np.linspace(0, 1, len(one.loudness_quantiles)), one.loudness_quantiles)
        for one in each
    ]

    def mean(of: Callable[[InstrumentStatistics], float]) -> float:
        return float(shares @ [of(one) for one in each])

    limits = {}
    if all(one.pitch_range_hz for one in each):
        for name in ("fmin", "fmax"):
            limits[name] = float(np.exp(mean(lambda one, n=name: np.log(one.pitch_range_hz[n]))))
    return InstrumentStatistics(
        sample_rate=first.sample_rate,
        hop_length=first.hop_length,
        loudness_quantiles=tuple(np.maximum.accumulate(shares @ np.stack(quantiles))),
        pitch_midi_min=mean(lambda one: one.pitch_midi_min),
        pitch_midi_mean=mean(lambda one: one.pitch_midi_mean),
        pitch_midi_max=mean(lambda one: one.pitch_midi_max),
        duration_s=mean(lambda one: one.duration_s),
        feature_version=first.feature_version,
        **limits,
    )


def _mixed_room(
    rooms: list[DecayingReverb | TapReverb | None], shares: np.ndarray, sample_rate: int
) -> TapReverb | None:
    responses = [
        None if room is None else np.asarray(_response(*nnx.split(room))) for room in rooms
    ]
    length = max((taps.size for taps in responses if taps is not None), default=0)
    if not length:
        return None
    mixed = np.zeros(length)
    for taps, share in zip(responses, shares, strict=True):
        if taps is not None:
            mixed[: taps.size] += share * taps
    config = TapReverbConfig(length)
    reverb = nnx.eval_shape(lambda: config.build(sample_rate=sample_rate, rngs=nnx.Rngs(0)))
    reverb.taps = nnx.Param(jnp.asarray(mixed, jnp.float32))
    return reverb


@partial(jax.jit, static_argnums=0)
def _response(graph: nnx.GraphDef, weights: Any) -> Array:
    return nnx.merge(graph, weights).impulse_response


def load_mixture(source: str | Path) -> Instrument:
    """An instrument of the shipped model of any instrument, as `load_autoencoder` reads others.

    Args:
      source: a recording; or the names of timbres and recordings, joined by "+", each with a weight
        after a colon or without, see `parse_mixture`.

    Raises:
      AudioError: as `recorded_timbre`.
      FileNotFoundError: there is no such recording or timbre, or no model of any instrument.
      ValueError: a weight is out of range.
    """
    weights = {str(source): 1.0} if os.path.isfile(source) else parse_mixture(str(source))
    known = {name.lower(): name for name in timbre_names()}
    for name in weights:
        if name.lower() not in known and not os.path.isfile(name):
            raise _unknown(name, source, known)
    base = load_any_instrument()
    method, parts, sources = method_of(base.statistics.feature_version), {}, []
    for name in weights:
        if os.path.isfile(name):
            parts[name] = recorded_timbre(name, base.model, method=method)
            sources.append(_source(Path(name), parts[name]))
        else:
            parts[name] = base.timbres[known[name.lower()]]
    timbre = interpolate(parts, weights)
    mixed = [{"name": Path(name).name, "weight": weight} for name, weight in weights.items()]
    made = base.instrument(timbre)
    provenance: dict[str, Any] = {"timbre": mixed, **made.provenance}
    if sources:
        provenance["data"] = {"sources": [dataclasses.asdict(one) for one in sources]}
    return made._replace(provenance=provenance)


def is_recording(path: Path) -> bool:
    """Whether a file is a sound, judging by its header or else by its suffix."""
    import soundfile

    formats = {f".{name.lower()}" for name in soundfile.available_formats()}
    return declared_sample_rate(path) is not None or path.suffix.lower() in formats | {".mp3"}


def _source(path: Path, timbre: Timbre) -> Source:
    seconds = timbre.statistics.duration_s
    return Source(path.name, sha256_of_file(path), seconds, seconds)


def _unknown(name: str, source: str | Path, known: Mapping[str, str]) -> Exception:
    """The error for a name that is neither a timbre nor a recording."""
    timbres = ", ".join(known.values()) or "none, because the model of any instrument is missing"
    before = name.rpartition(":")[0]
    if before.lower() in known or os.path.isfile(before):
        return ValueError(f"The weight in {name!r} must be a number from 0 to 1.")
    if name == ANY_INSTRUMENT.name:
        return FileNotFoundError(
            f"{name!r} is no instrument by itself: it plays with a timbre; name one or several "
            f"({timbres}), joined by +, or give a recording."
        )
    if name == str(source):
        or_else = f", a recording, or timbres joined by + ({timbres})"
        return unknown_instrument(source, or_else=or_else)
    return FileNotFoundError(
        f"There is no timbre or recording {name!r}; {str(source)!r} can mix recordings and the "
        f"timbres that the model of any instrument knows ({timbres})."
    )
