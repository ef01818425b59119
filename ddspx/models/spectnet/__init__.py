"""SpectNet: an audio classifier whose filters learn."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy

if TYPE_CHECKING:
    from ddspx.models.spectnet.classifier import ResidualClassifier as ResidualClassifier
    from ddspx.models.spectnet.config import SpectNetConfig as SpectNetConfig
    from ddspx.models.spectnet.inference import (
        Prediction as Prediction,
        classify_file as classify_file,
        classify_files as classify_files,
        segment_logits as segment_logits,
        spectnet_embedding as spectnet_embedding,
    )
    from ddspx.models.spectnet.model import (
        SpectNet as SpectNet,
        classification_loss as classification_loss,
    )
    from ddspx.models.spectnet.recipes import (
        FrontEnd as FrontEnd,
        Preset as Preset,
        suggested_sample_rate as suggested_sample_rate,
        suggested_segment_s as suggested_segment_s,
    )
    from ddspx.models.spectnet.recordings import (
        Vote as Vote,
        normalize_level as normalize_level,
        segments as segments,
        vote_majority as vote_majority,
        vote_mean_probability as vote_mean_probability,
    )
    from ddspx.models.spectnet.serialization import (
        load_spectnet as load_spectnet,
        save_spectnet as save_spectnet,
    )
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        classifier="ResidualClassifier",
        config="SpectNetConfig",
        serialization="load_spectnet save_spectnet",
        inference="Prediction classify_file classify_files segment_logits spectnet_embedding",
        model="SpectNet classification_loss",
        recipes="FrontEnd Preset suggested_sample_rate suggested_segment_s",
        recordings="Vote normalize_level segments vote_majority vote_mean_probability",
    )
