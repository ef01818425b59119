"""The configs of decoders; importing this module does not import jax."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ddspx._checks import non_negative_int, size

if TYPE_CHECKING:
    from flax import nnx

    from ddspx.nn._decoder import Decoder, RnnFcDecoder


@runtime_checkable
class DecoderConfig(Protocol):
    """The sizes of a `Decoder`: a frozen dataclass with a method `build` that makes the decoder.

    The config of a model holds it, and saves the name of its class and its fields as JSON. So
    fields must be numbers, strings, True, False, None, or tuples of these.
    """

    def build(
        self, in_features: Sequence[int], out_features: int, *, rngs: "nnx.Rngs"
    ) -> "Decoder":
        """Builds a decoder for inputs of these sizes, with `out_features` outputs per frame."""
        ...


@dataclasses.dataclass(frozen=True)
class RnnFcDecoderConfig:
    """The sizes of an `RnnFcDecoder`.

    Attributes:
      rnn_channels: size of the GRU's state.
      fc_channels: width of the fully connected stacks.
      fc_layers: blocks in each stack; with 0 there are no stacks, only the GRU and a dense layer.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is out of range.
    """

    rnn_channels: int = 512
    fc_channels: int = 512
    fc_layers: int = 3

    def __post_init__(self):
        for name in ("rnn_channels", "fc_channels"):
            size(name, getattr(self, name))
        if non_negative_int("fc_layers", self.fc_layers):
            size("fc_layers", self.fc_layers)

    def build(
        self, in_features: Sequence[int], out_features: int, *, rngs: "nnx.Rngs"
    ) -> "RnnFcDecoder":
        """The decoder, with weights drawn from `rngs`."""
        from ddspx.nn._decoder import RnnFcDecoder

        return RnnFcDecoder(
            in_features,
            out_features,
            rnn_channels=self.rnn_channels,
            fc_channels=self.fc_channels,
            fc_layers=self.fc_layers,
            rngs=rngs,
        )
