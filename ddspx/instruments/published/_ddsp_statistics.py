"""The statistics that DDSP computes of the recordings of a training."""

import io
from typing import Any

import numpy as np

from ddspx.features import feature_version
from ddspx.instruments.published._ddsp_config import DdspModel
from ddspx.instruments.published._files import PublishedFiles
from ddspx.io._pickled import PickledObject, read_pickle
from ddspx.models.autoencoder import InstrumentStatistics

STATISTICS = "dataset_statistics.pkl"
_MOST_BYTES = 2**22
# Above every number of notes, dB and Hz, and far from the range of floats.
_LARGEST = 1e6
# The transformer of loudness is an object of scikit-learn or of a copy of it, and holds a random
# generator of NumPy. Of these, only the attributes are read.
_TRANSFORMERS = (
    "ddsp.training.postprocessing.QuantileTransformer",
    "ddsp.colab.colab_utils.QuantileTransformer",
    "sklearn.preprocessing._data.QuantileTransformer",
    "sklearn.preprocessing.data.QuantileTransformer",
)
_GENERATORS = ("numpy.random.",)


def instrument_statistics(
    files: PublishedFiles, name: str, model: DdspModel
) -> InstrumentStatistics:
    """The statistics of an imported model, with the numbers of DDSP.

    Raises:
      ValueError: there is no such file, or it is damaged or lacks a number.
    """
    if name not in files.readers:
        raise ValueError(
            f"{files.source} lacks {STATISTICS}, from which a transfer knows the pitch and the "
            "loudness of the instrument. The notebook of DDSP that trains an autoencoder writes "
            "it, and so does `ddsp.colab.colab_utils.save_dataset_statistics` with the recordings "
            "of the training; put it beside the checkpoint."
        )
    what = f"{files.source}: {name}"
    data = files.read(name, most=_MOST_BYTES)
    saved = read_pickle(io.BytesIO(data), what, is_record=_is_record)
    if not isinstance(saved, dict):
        raise ValueError(f"{what} holds a {type(saved).__name__} in place of DDSP's statistics.")
    mean, low, high = (_number(saved, f"{kind}_pitch", what) for kind in ("mean", "min", "max"))
    quantiles = _quantiles(saved, model, what)
    try:
        return InstrumentStatistics(
            sample_rate=model.config.sample_rate,
            hop_length=model.config.hop_length,
            loudness_quantiles=tuple(quantiles.tolist()),
            pitch_midi_min=low,
            pitch_midi_mean=mean,
            pitch_midi_max=high,
            duration_s=0.0,
            feature_version=feature_version("ddspx", scale=model.scale),
        )
    except ValueError as error:
        raise ValueError(f"{what} is damaged ({error}); copy it again.") from error


def _is_record(name: str) -> bool:
    return name in _TRANSFORMERS or name.startswith(_GENERATORS)


def _number(saved: dict[Any, Any], name: str, what: str) -> float:
    """A number of the notes; older versions have only that of all frames."""
    value = saved.get(f"{name}_note", saved.get(name))
    if not isinstance(value, (int, float, np.floating)) or not abs(value) < _LARGEST:
        raise ValueError(
            f"{what} lacks the number {name}; it is not the statistics of DDSP, or it is damaged."
        )
    return float(value)


def _quantiles(saved: dict[Any, Any], model: DdspModel, what: str) -> np.ndarray:
    """The quantiles of loudness in notes, on the scale of the model."""
    transform = saved.get("quantile_transform")
    state = transform.state if isinstance(transform, PickledObject) else None
    quantiles = state.get("quantiles_") if isinstance(state, dict) else None
    if not isinstance(quantiles, np.ndarray) or quantiles.dtype.kind != "f":
        raise ValueError(
            f"{what} lacks the quantiles of loudness; it is not the statistics of DDSP, or it is "
            "damaged."
        )
    if not 1 <= quantiles.size <= 10_000 or not (np.abs(quantiles) < _LARGEST).all():
        raise ValueError(f"{what} has {quantiles.size} quantiles of loudness, or no levels in dB.")
    quantiles = quantiles.reshape(-1).astype(np.float64)
    if quantiles.size == 1:
        quantiles = np.repeat(quantiles, 2)
    if model.scale != "power":
        return quantiles
    # DDSP stores quantiles of loudness, but only mean, deviation and limits of power. So the
    # distribution of power is that of loudness, moved and stretched to these.
    numbers = {
        f"{kind}_{name}": _number(saved, f"{kind}_{name}", what)
        for name in ("loudness", "power")
        for kind in ("mean", "std", "min", "max")
    }
    spread = numbers["std_power"] / max(numbers["std_loudness"], 1e-3)
    power = numbers["mean_power"] + spread * (quantiles - numbers["mean_loudness"])
    return np.clip(power, numbers["min_power"], numbers["max_power"])
