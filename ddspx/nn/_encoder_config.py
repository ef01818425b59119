"""The configs of encoders; importing this module does not import jax."""

import dataclasses
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ddspx._checks import size
from ddspx.nn.frontend._config import FrontendConfig

if TYPE_CHECKING:
    from flax import nnx

    from ddspx.nn._encoder import Encoder, ZEncoder


@runtime_checkable
class EncoderConfig(Protocol):
    """The sizes of an `Encoder`: a frozen dataclass with a method `build` that makes the encoder.

    The config of a model holds it, and saves the name of its class and its fields as JSON. So
    fields must be numbers, strings, True, False, None, or tuples of these.
    """

    @property
    def z_size(self) -> int:
        """Number of values of z per frame."""
        ...

    @property
    def sample_rate(self) -> int:
        """Sample rate of the audio that it encodes, in Hz; it must be the model's."""
        ...

    @property
    def hop_length(self) -> int:
        """Samples between two frames of z; it must be the model's."""
        ...

    def build(self, *, rngs: "nnx.Rngs") -> "Encoder":
        """Builds the encoder, with initial weights drawn from `rngs`."""
        ...


@dataclasses.dataclass(frozen=True)
class ZEncoderConfig:
    """The sizes of a `ZEncoder`.

    Attributes:
      frontend: the front-end, which computes the features; the frames of z are its frames.
      rnn_channels: size of the GRU's state.
      z_size: number of values of z per frame.

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

    @property
    def sample_rate(self) -> int:
        """The front-end's sample rate, in Hz."""
        return self.frontend.sample_rate

    @property
    def hop_length(self) -> int:
        """The front-end's hop length, in samples."""
        return self.frontend.hop_length

    def build(self, *, rngs: "nnx.Rngs") -> "ZEncoder":
        """The encoder, with weights drawn from `rngs`."""
        from ddspx.nn._encoder import ZEncoder

        return ZEncoder(self, rngs=rngs)
