"""The instruments that a model of any instrument knows, and one of them as a model of its own."""

import dataclasses
import reprlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx._typing import Array, ArrayLike, Float
from ddspx.io._json import FINITE, OBJECT, json_field, json_object, list_of
from ddspx.models._config import TIMBRES, from_json, read_json, to_json
from ddspx.models._weights import FOLDER_AGAIN, finite_weights, with_arrays
from ddspx.models.autoencoder.config import InstrumentStatistics
from ddspx.models.autoencoder.model import Autoencoder
from ddspx.models.autoencoder.serialization import check_rates, save_autoencoder
from ddspx.nn import (
    DecayingReverb,
    DecayingReverbConfig,
    StoredTimbre,
    StoredTimbreConfig,
    TapReverb,
    TapReverbConfig,
    TimbreEncoder,
)

# More than any number of an embedding, whose mean square is 1.
_LARGEST = 1e3


class Timbre(NamedTuple):
    """An instrument that a model of any instrument knows.

    Attributes:
      embedding: what its encoder says of the recordings; its mean square is 1.
      reverb: the room of the recordings; None for none.
      statistics: their loudness and pitch.
    """

    embedding: Float[np.ndarray, " z"]
    reverb: DecayingReverb | TapReverb | None
    statistics: InstrumentStatistics


def mean_embedding(
    encoder: TimbreEncoder, audio: Float[ArrayLike, "stretches samples"]
) -> Float[Array, " z"]:
    """The mean embedding of several stretches, scaled to a mean square of 1 as each of them."""
    return scaled_embedding(jnp.mean(encoder.embed(audio), axis=0))


def scaled_embedding(z: Any) -> Any:
    """The direction of a vector, of JAX or NumPy, as an embedding, whose mean square is 1."""
    return z / ((z * z).mean() + 1e-12) ** 0.5


def with_timbre(
    model: Autoencoder,
    embedding: Float[ArrayLike, " z"],
    *,
    reverb: DecayingReverb | TapReverb | None = None,
) -> Autoencoder:
    """The model of one instrument: decoder and synthesizer of `model`, and a stored embedding.

    Args:
      model: a model of any instrument, whose encoder is an `nn.TimbreEncoder`.
      embedding: what the encoder says of a recording, or a mixture of such vectors.
      reverb: the room of the instrument; None for none.

    Returns:
      A model that is played, saved and trained like that of any instrument. It shares no array
      with `model`.

    Raises:
      ValueError: the model has no such encoder, or the embedding has another size.
    """
    encoder = timbre_encoder(model)
    embedding = jnp.asarray(embedding, jnp.float32)
    if embedding.shape != (encoder.config.z_size,):
        raise ValueError(
            f"`embedding` must have the {encoder.config.z_size} values of the model's encoder, got "
            f"the shape {embedding.shape}."
        )
    c, z_size = model.config, encoder.config.z_size
    stored = StoredTimbreConfig(c.sample_rate, c.hop_length, z_size)
    room = None if reverb is None else reverb.config
    config = dataclasses.replace(c, encoder=stored, reverb=room)
    # Only traced: drawing weights that are replaced takes seconds.
    single = nnx.eval_shape(lambda: Autoencoder(config, rngs=nnx.Rngs(0)))
    parts = {"decoder": model.decoder, "synthesizer": model.synthesizer, "reverb": reverb}
    for name, part in parts.items():
        setattr(single, name, _copied(part))
    single.encoder = nnx.eval_shape(lambda: StoredTimbre(stored, rngs=nnx.Rngs(0)))
    single.encoder.embedding = nnx.Param(embedding)
    return single


def _copied(part: Any) -> Any:
    """A part with arrays of its own: a training step that donates them would delete others'."""
    if part is None:
        return None
    graph, state = nnx.split(part)
    return nnx.merge(graph, jax.tree.map(jnp.copy, state))


def timbre_encoder(model: Autoencoder) -> TimbreEncoder:
    """The encoder of a model of any instrument; raises a ValueError for another model."""
    if not isinstance(model.encoder, TimbreEncoder):
        raise ValueError(
            "The model cannot listen to an instrument: its encoder must be an nn.TimbreEncoder, as "
            "in AutoencoderConfig.any_instrument()."
        )
    return model.encoder


def save_any_instrument(
    folder: str | Path,
    model: Autoencoder,
    timbres: Mapping[str, Timbre],
    *,
    provenance: Mapping[str, Any],
) -> None:
    """Writes a model of any instrument, with the instruments that it knows in ``timbres.json``.

    Args:
      folder: the model folder to make, as by `save_autoencoder`.
      model: the model.
      timbres: the instruments by name.
      provenance: as in `save_autoencoder`.

    Raises:
      ValueError: the model has no `nn.TimbreEncoder`, there is no timbre or one of another size or
        rate or with a weight that is not finite, or as `save_autoencoder`.
    """
    z_size = timbre_encoder(model).config.z_size
    if not timbres:
        raise ValueError("`timbres` must hold at least one instrument.")
    saved = {}
    for name, (embedding, reverb, statistics) in timbres.items():
        values = np.asarray(embedding, np.float64)
        if values.shape != (z_size,) or not np.isfinite(values).all():
            raise ValueError(f"The embedding of {name!r} must be {z_size} finite numbers.")
        fix = "train the model with timbres at its rates"
        check_rates(model.config, statistics, owner=f"The statistics of {name!r}", fix=fix)
        room = {} if reverb is None else finite_weights(reverb)
        saved[name] = {
            "embedding": values.tolist(),
            "statistics": statistics.to_json(),
            **to_json(_Room(None if reverb is None else reverb.config)),
            "room": {key: np.asarray(x, np.float64).tolist() for key, x in room.items()},
        }
    statistics = _pooled([timbre.statistics for timbre in timbres.values()])
    save_autoencoder(
        folder, model, statistics=statistics, provenance=provenance, timbres={"timbres": saved}
    )


def load_timbres(folder: str | Path, *, sample_rate: int) -> dict[str, Timbre]:
    """The instruments that a saved model of any instrument knows, by name.

    Args:
      folder: a folder that `save_any_instrument` wrote.
      sample_rate: the model's.

    Raises:
      FileNotFoundError: the file of the timbres is missing.
      ValueError: it is damaged.
    """
    path = Path(folder) / TIMBRES

    def timbre(fields: Any) -> Timbre:
        embedding = json_field(fields, "embedding", list_of(FINITE))
        if max(map(abs, embedding), default=0) > _LARGEST:
            raise ValueError(
                f"`embedding` must hold numbers of mean square 1, got {reprlib.repr(embedding)}; "
                f"{FOLDER_AGAIN}."
            )
        statistics = InstrumentStatistics.from_json(json_field(fields, "statistics", OBJECT))
        config = from_json(_Room, {"reverb": fields.get("reverb")}).reverb
        saved = json_field(fields, "room", OBJECT)
        arrays = {name: _array(name, values) for name, values in saved.items()}
        reverb = None
        if config is not None:
            build = partial(_built, config, sample_rate)
            reverb = with_arrays(build, arrays, path, FOLDER_AGAIN)
        return Timbre(_array("embedding", embedding), reverb, statistics)

    def timbres(fields: Any) -> dict[str, Timbre]:
        saved, read = json_field(json_object(fields), "timbres", OBJECT), {}
        for name, each in saved.items():
            try:
                read[name] = timbre(each)
            except (ValueError, TypeError) as error:
                raise ValueError(f"the timbre {name!r}: {error}") from error
        return read

    return read_json(path, timbres)


def _array(name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values, np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"`{name}` must be lists of numbers, got {reprlib.repr(values)}; {FOLDER_AGAIN}."
        ) from error


@dataclasses.dataclass(frozen=True)
class _Room:
    """The field of a saved timbre that holds the config of its room."""

    reverb: DecayingReverbConfig | TapReverbConfig | None


def _built(
    config: DecayingReverbConfig | TapReverbConfig, sample_rate: int
) -> DecayingReverb | TapReverb:
    return config.build(sample_rate=sample_rate, rngs=nnx.Rngs(0))


def _pooled(each: list[InstrumentStatistics]) -> InstrumentStatistics:
    """The statistics of all recordings together; each instrument counts alike."""
    quantiles = np.concatenate([one.loudness_quantiles for one in each])
    return InstrumentStatistics(
        sample_rate=each[0].sample_rate,
        hop_length=each[0].hop_length,
        loudness_quantiles=tuple(np.quantile(quantiles, np.linspace(0, 1, 101))),
        pitch_midi_min=min(one.pitch_midi_min for one in each),
        pitch_midi_mean=float(np.mean([one.pitch_midi_mean for one in each])),
        pitch_midi_max=max(one.pitch_midi_max for one in each),
        duration_s=sum(one.duration_s for one in each),
        feature_version=each[0].feature_version,
    )
