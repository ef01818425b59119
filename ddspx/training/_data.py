"""What a prepared dataset has to be for a model to be trained or measured on it."""

from pathlib import Path

from ddspx.features import FEATURE_VERSION
from ddspx.io import DatasetError, Manifest
from ddspx.models.autoencoder import AutoencoderConfig, InstrumentStatistics


def check_dataset(manifest: Manifest, model: AutoencoderConfig) -> None:
    """Raises a ValueError unless a dataset has a model's rates and today's features."""
    for name in ("sample_rate", "hop_length"):
        theirs, ours = getattr(manifest, name), getattr(model, name)
        if theirs != ours:
            raise ValueError(
                f"The dataset was prepared with `{name}` {theirs} and the model has {ours}; "
                f"prepare the recordings again with {ours}, or use a model with {theirs}."
            )
    if manifest.feature_version != FEATURE_VERSION:
        # A model must hear in use what it heard in training.
        raise ValueError(
            f"The dataset has features of version {manifest.feature_version!r} and this ddspx "
            f"makes {FEATURE_VERSION!r}; prepare the recordings again."
        )


def dataset_statistics(dataset: str | Path, manifest: Manifest) -> InstrumentStatistics:
    """The statistics in a dataset's manifest, or a DatasetError that says what is wrong in them."""
    try:
        return InstrumentStatistics.from_json(manifest.statistics)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"{dataset} has damaged statistics ({error}); prepare the dataset again."
        ) from error
