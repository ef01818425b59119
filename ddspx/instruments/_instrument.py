"""What is played: a model with what is known of it."""

from typing import Any, NamedTuple

from ddspx.models.autoencoder import Autoencoder, InstrumentStatistics


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
