"""Flax NNX modules; a class exists only where it owns a variable."""

from ddspx.nn import compat as compat
from ddspx.nn._blocks import Fc as Fc, FcStack as FcStack
from ddspx.nn._decoder import RnnFcDecoder as RnnFcDecoder
from ddspx.nn._encoder import EncoderConfig as EncoderConfig, ZEncoder as ZEncoder
from ddspx.nn._frontend import (
    SpectralFrontend as SpectralFrontend,
    displacement_erb as displacement_erb,
)
from ddspx.nn._frontend_config import FrontendConfig as FrontendConfig
from ddspx.nn._frontend_state import copy_frontend as copy_frontend
from ddspx.nn._recurrent import Gru as Gru
from ddspx.nn._reverb import Reverb as Reverb
from ddspx.nn._variables import Fixed as Fixed
