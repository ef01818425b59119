"""The pitch tracker that ships with ddspx: a small network on harmonics and autocorrelation."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy

if TYPE_CHECKING:
    from ddspx.models.pitch.config import PitchConfig as PitchConfig
    from ddspx.models.pitch.features import pitch_features as pitch_features
    from ddspx.models.pitch.model import (
        PitchEstimate as PitchEstimate,
        PitchState as PitchState,
        PitchTrack as PitchTrack,
        PitchTracker as PitchTracker,
        decode_pitch as decode_pitch,
    )
    from ddspx.models.pitch.serialization import (
        load_pitch_tracker as load_pitch_tracker,
        save_pitch_tracker as save_pitch_tracker,
    )
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        config="PitchConfig",
        serialization="load_pitch_tracker save_pitch_tracker",
        features="pitch_features",
        model="PitchEstimate PitchState PitchTrack PitchTracker decode_pitch",
    )
