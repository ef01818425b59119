"""What a prepared dataset has to be for a model to be trained or measured on it."""

from pathlib import Path

from ddspx.features import method_of
from ddspx.io import DatasetError, Manifest
from ddspx.models.autoencoder import AutoencoderConfig, InstrumentStatistics


def check_dataset(manifest: Manifest, model: AutoencoderConfig) -> None:
    """Raises a ValueError unless a dataset has a model's rates and features made here."""
    for name in ("sample_rate", "hop_length"):
        theirs, ours = getattr(manifest, name), getattr(model, name)
        if theirs != ours:
            raise ValueError(
                f"The dataset was prepared with `{name}` {theirs} and the model has {ours}; "
                f"prepare the recordings again with {ours}, or use a model with {theirs}."
            )
    # A model must hear in use what it heard in training.
    try:
        method_of(manifest.feature_version)
    except ValueError as error:
        raise ValueError(f"The dataset cannot be used: its {error}") from None


def dataset_statistics(dataset: str | Path, manifest: Manifest) -> InstrumentStatistics:
    """The statistics in a dataset's manifest, or a DatasetError that says what is wrong in them."""
    try:
        return InstrumentStatistics.from_json(manifest.statistics)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"{dataset} has damaged statistics ({error}); prepare the dataset again."
        ) from error
