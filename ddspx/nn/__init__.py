"""Flax NNX modules; a class exists only where it owns a variable."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy
from ddspx._names import NN_NAMES

if TYPE_CHECKING:
    from ddspx.nn import compat as compat
    from ddspx.nn._blocks import Fc as Fc, FcStack as FcStack
    from ddspx.nn._decoder import RnnFcDecoder as RnnFcDecoder
    from ddspx.nn._encoder import ZEncoder as ZEncoder
    from ddspx.nn._encoder_config import EncoderConfig as EncoderConfig
    from ddspx.nn._frontend import (
        SpectralFrontend as SpectralFrontend,
        displacement_erb as displacement_erb,
    )
    from ddspx.nn._frontend_config import FrontendConfig as FrontendConfig
    from ddspx.nn._frontend_state import copy_frontend as copy_frontend
    from ddspx.nn._recurrent import Gru as Gru
    from ddspx.nn._reverb import Reverb as Reverb
    from ddspx.nn._variables import Fixed as Fixed
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        "compat",
        elsewhere={name: f"it is {here}" for name, here in NN_NAMES.items()},
        _blocks="Fc FcStack",
        _decoder="RnnFcDecoder",
        _encoder="ZEncoder",
        _encoder_config="EncoderConfig",
        _frontend="SpectralFrontend displacement_erb",
        _frontend_config="FrontendConfig",
        _frontend_state="copy_frontend",
        _recurrent="Gru",
        _reverb="Reverb",
        _variables="Fixed",
    )
