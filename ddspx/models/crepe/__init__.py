"""CREPE, the pitch tracker, run natively: the published weights, no TensorFlow."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy

if TYPE_CHECKING:
    from ddspx.models.crepe.config import (
        FRAME_LENGTH as FRAME_LENGTH,
        N_BINS as N_BINS,
        SAMPLE_RATE as SAMPLE_RATE,
        Capacity as Capacity,
        CrepeConfig as CrepeConfig,
    )
    from ddspx.models.crepe.convert import (
        WEIGHTS_VARIABLE as WEIGHTS_VARIABLE,
        convert_crepe as convert_crepe,
        load_crepe as load_crepe,
        read_crepe as read_crepe,
        save_crepe as save_crepe,
    )
    from ddspx.models.crepe.decode import (
        Decoder as Decoder,
        bins_to_hz as bins_to_hz,
        crepe_pitch as crepe_pitch,
        decode_crepe as decode_crepe,
        pitch_path as pitch_path,
    )
    from ddspx.models.crepe.model import (
        Crepe as Crepe,
        CrepeNetwork as CrepeNetwork,
        crepe_activation as crepe_activation,
        frames_activation as frames_activation,
        normalize_frames as normalize_frames,
    )
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        config="FRAME_LENGTH N_BINS SAMPLE_RATE Capacity CrepeConfig",
        convert="WEIGHTS_VARIABLE convert_crepe load_crepe read_crepe save_crepe",
        decode="Decoder bins_to_hz crepe_pitch decode_crepe pitch_path",
        model="Crepe CrepeNetwork crepe_activation frames_activation normalize_frames",
    )
