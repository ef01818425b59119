"""What is played: a model with what is known of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ddspx.features import method_of
from ddspx.models._config import STATISTICS
from ddspx.models.autoencoder import Autoencoder, InstrumentStatistics, load_autoencoder


class Instrument(NamedTuple):
    """A trained model with its statistics and provenance.

    Attributes:
      model: the network.
      statistics: loudness and pitch of the recordings that it was trained on.
      provenance: the origin of the model.
    """

    model: Autoencoder
    statistics: InstrumentStatistics
    provenance: dict[str, Any]


def read_instrument(folder: Path, *, parts: Sequence[type] = ()) -> Instrument:
    """The instrument in a model folder, which this release can play.

    Raises:
      FileNotFoundError, ValueError: as `load_autoencoder` and `check_features`.
    """
    instrument = Instrument(*load_autoencoder(folder, parts=parts))
    check_features(instrument.statistics, folder / STATISTICS)
    return instrument


def check_features(statistics: InstrumentStatistics, owner: str | Path) -> None:
    """Raises a ValueError if this release cannot make the features that a model listens to."""
    try:
        method_of(statistics.feature_version)
    except ValueError as error:
        raise ValueError(f"{owner} is not usable: `feature_version` names {error}") from error
