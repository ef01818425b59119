"""The configs of decoders; importing this module does not import jax."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol, get_args, runtime_checkable

from ddspx._checks import non_negative_int, number, one_of, size

if TYPE_CHECKING:
    from flax import nnx

    from ddspx.nn._decoder import Decoder, RnnFcDecoder
    from ddspx.nn._dilated_conv_decoder import DilatedConvDecoder

Skip = Literal["stacks", "inputs"]
Recurrence = Literal["gru", "min_gru"]


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
      rnn_channels: size of the recurrent layer's state.
      fc_channels: width of the fully connected stacks.
      fc_layers: blocks in each stack; with 0 there are no stacks, only the recurrent layer and a
        dense layer.
      skip: what the last stack takes beside the recurrent layer's output: "stacks", the outputs of
        the other stacks, or "inputs", the inputs themselves.
      slope: slope of the leaky ReLUs below 0.
      epsilon: what the layer norms add to the variance.
      recurrence: the recurrent layer: "gru", a `Gru`, or "min_gru", a `MinGru`, whose frames a GPU
        computes at the same time.

    Raises:
      TypeError: a size is not an int, or `slope` or `epsilon` is not a number.
      ValueError: a size, `skip`, `slope`, `epsilon` or `recurrence` is out of range.
    """

    rnn_channels: int = 512
    fc_channels: int = 512
    fc_layers: int = 3
    skip: Skip = "stacks"
    slope: float = 0.2
    epsilon: float = 1e-3
    recurrence: Recurrence = "gru"

    def __post_init__(self):
        for name in ("rnn_channels", "fc_channels"):
            size(name, getattr(self, name))
        if non_negative_int("fc_layers", self.fc_layers):
            size("fc_layers", self.fc_layers)
        one_of("skip", self.skip, get_args(Skip))
        one_of("recurrence", self.recurrence, get_args(Recurrence))
        number("slope", self.slope, least=0, most=1)
        number("epsilon", self.epsilon, above=0, most=1)

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
            skip=self.skip,
            slope=self.slope,
            epsilon=self.epsilon,
            recurrence=self.recurrence,
            rngs=rngs,
        )


@dataclasses.dataclass(frozen=True)
class DilatedConvDecoderConfig:
    """The sizes of a `DilatedConvDecoder`.

    Attributes:
      channels: channels of the convolutions.
      kernel_size: taps of each convolution, an odd number.
      stacks: how often the dilations 1, 2, 4, ... follow one another.
      layers_per_stack: layers in each stack; the last one has a dilation of 2^(layers - 1).
      causal: whether the outputs of a frame depend on no later frame.
      window_frames: frames that a decoder which is not causal decodes at once.
      overlap_frames: frames over which it fades from one window to the next; at most half of
        `window_frames`.
      in_padding: what the first convolution takes to be before the first frame and after the last,
        for each input feature; empty for zeros.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is out of range.
    """

    channels: int = 128
    kernel_size: int = 3
    stacks: int = 2
    layers_per_stack: int = 8
    causal: bool = True
    window_frames: int = 1250
    overlap_frames: int = 250
    in_padding: tuple[float, ...] = ()

    def __post_init__(self):
        for name in ("channels", "kernel_size", "stacks", "layers_per_stack", "window_frames"):
            size(name, getattr(self, name))
        if self.kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd, got {self.kernel_size}.")
        if not isinstance(self.causal, bool):
            raise TypeError(f"`causal` must be True or False, got {self.causal!r}.")
        if not 2 * size("overlap_frames", self.overlap_frames) <= self.window_frames:
            raise ValueError(
                f"`overlap_frames` must be at most half of `window_frames`, {self.window_frames}, "
                f"got {self.overlap_frames}."
            )
        padding = tuple(number("in_padding", value) for value in self.in_padding)
        object.__setattr__(self, "in_padding", padding)

    @property
    def dilations(self) -> tuple[int, ...]:
        """The dilation of each layer, in frames."""
        return self.stacks * tuple(2**i for i in range(self.layers_per_stack))

    def build(
        self, in_features: Sequence[int], out_features: int, *, rngs: "nnx.Rngs"
    ) -> "DilatedConvDecoder":
        """The decoder, with weights drawn from `rngs`."""
        from ddspx.nn._dilated_conv_decoder import DilatedConvDecoder

        return DilatedConvDecoder(in_features, out_features, config=self, rngs=rngs)
