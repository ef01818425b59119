"""Checks that a dataset fits a model, and what is read of it as a whole."""

from pathlib import Path

import numpy as np

from ddspx._typing import Float
from ddspx.features import loudness_of, method_of
from ddspx.io import DatasetError, Manifest, training_batches
from ddspx.models.autoencoder import AutoencoderConfig, InstrumentStatistics

_HEARD_STRETCHES = 16


def check_dataset(
    manifest: Manifest, model: AutoencoderConfig, *, named: str = "The dataset"
) -> None:
    """Raises a ValueError unless a dataset has a model's rates and features of a known version."""
    for name in ("sample_rate", "hop_length"):
        prepared, expected = getattr(manifest, name), getattr(model, name)
        if prepared != expected:
            raise ValueError(
                f"{named} was prepared with `{name}` {prepared} and the model has {expected}; "
                f"prepare the recordings again with {expected}, or use a model with {prepared}."
            )
    # This ddspx must be able to compute the features of the training in use, too.
    try:
        method_of(manifest.feature_version)
    except ValueError as error:
        raise ValueError(f"{named} cannot be used: its {error}") from None


def same_features(version: str, other: str) -> bool:
    """Tells whether a model that was trained on features of one version can use the other's."""
    try:
        return (method_of(version), loudness_of(version)) == (method_of(other), loudness_of(other))
    except ValueError:
        return False


def dataset_statistics(dataset: str | Path, manifest: Manifest) -> InstrumentStatistics:
    """Returns the statistics in a dataset's manifest; raises a DatasetError if damaged."""
    try:
        return InstrumentStatistics.from_json(manifest.statistics)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"{dataset} has damaged statistics ({error}); prepare the dataset again."
        ) from error


def stretches_to_hear(dataset: str | Path) -> Float[np.ndarray, "stretches samples"]:
    """Returns the stretches of the train split whose mean embedding stands for a dataset."""
    return next(training_batches(dataset, batch_size=_HEARD_STRETCHES, seed=0)).audio
