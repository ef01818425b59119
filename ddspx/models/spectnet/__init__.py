"""SpectNet: an audio classifier whose filters learn."""

from ddspx.models.spectnet.classifier import ResidualClassifier as ResidualClassifier
from ddspx.models.spectnet.config import SpectNetConfig as SpectNetConfig
from ddspx.models.spectnet.convert import (
    load_spectnet as load_spectnet,
    save_spectnet as save_spectnet,
)
from ddspx.models.spectnet.model import (
    SpectNet as SpectNet,
    classification_loss as classification_loss,
)
from ddspx.models.spectnet.recordings import (
    Vote as Vote,
    normalize_level as normalize_level,
    segments as segments,
    vote_majority as vote_majority,
    vote_mean_probability as vote_mean_probability,
)
