"""The sizes of encoders, which need no jax to be read, compared and saved."""

import dataclasses
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ddspx._checks import size
from ddspx.nn.frontend._config import FrontendConfig

if TYPE_CHECKING:
    from flax import nnx

    from ddspx.nn._encoder import Encoder, ZEncoder


@runtime_checkable
class EncoderConfig(Protocol):
    """The sizes of an `Encoder`: a frozen dataclass, whose `build` makes it.

    A model's config holds one, and is saved with the name of its class and its fields. Fields are
    what JSON can hold: numbers, strings, True, False, None, tuples of these.
    """

    @property
    def z_size(self) -> int:
        """Numbers of z for each frame."""
        ...

    @property
    def sample_rate(self) -> int:
        """Of the audio that it is given, in samples per second, which are the model's."""
        ...

    @property
    def hop_length(self) -> int:
        """Samples between its frames, as many as the model's."""
        ...

    def build(self, *, rngs: "nnx.Rngs") -> "Encoder":
        """The encoder."""
        ...


@dataclasses.dataclass(frozen=True)
class ZEncoderConfig:
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

    @property
    def sample_rate(self) -> int:
        """The front-end's."""
        return self.frontend.sample_rate

    @property
    def hop_length(self) -> int:
        """The front-end's."""
        return self.frontend.hop_length

    def build(self, *, rngs: "nnx.Rngs") -> "ZEncoder":
        """The encoder, with weights drawn from `rngs`."""
        from ddspx.nn._encoder import ZEncoder

        return ZEncoder(self, rngs=rngs)
