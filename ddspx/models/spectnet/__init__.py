"""SpectNet: an audio classifier whose filters learn."""

from ddspx.models.spectnet.classifier import ResidualClassifier as ResidualClassifier
from ddspx.models.spectnet.config import SpectNetConfig as SpectNetConfig
from ddspx.models.spectnet.model import (
    SpectNet as SpectNet,
    classification_loss as classification_loss,
)
