"""The sizes of what listens for an instrument beyond pitch and loudness."""

import dataclasses

from ddspx._checks import size
from ddspx.nn._frontend_config import FrontendConfig


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """The sizes of a `ZEncoder`.

    Attributes:
      frontend: what it listens with; frames of z are the front-end's.
      rnn_channels: size of the GRU's state.
      z_size: numbers of z for each frame.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is below 1.
    """

    frontend: FrontendConfig
    rnn_channels: int
    z_size: int

    def __post_init__(self):
        size("rnn_channels", self.rnn_channels)
        size("z_size", self.z_size)
