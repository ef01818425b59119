"""The configs of reverbs; importing this module does not import jax."""

import dataclasses
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ddspx._checks import positive_int, size

if TYPE_CHECKING:
    from flax import nnx

    from ddspx.nn._reverb import DecayingReverb, Reverb, TapReverb


# More octaves below Nyquist than can be heard. Each has its own noise of the whole length.
_MOST_OCTAVES = 16


@runtime_checkable
class ReverbConfig(Protocol):
    """The sizes of a `Reverb`: a frozen dataclass with a method `build` that makes the reverb.

    The config of a model holds it, and saves the name of its class and its fields as JSON. So
    fields must be numbers, strings, True, False, None, or tuples of these.
    """

    @property
    def length(self) -> int:
        """Taps of the impulse response, in samples."""
        ...

    def build(self, *, sample_rate: int, rngs: "nnx.Rngs") -> "Reverb":
        """Builds the reverb for a sample rate."""
        ...


@dataclasses.dataclass(frozen=True)
class TapReverbConfig:
    """The size of a `TapReverb`.

    Attributes:
      length: taps of the impulse response, in samples; each of them is trained.

    Raises:
      TypeError: `length` is not an int.
      ValueError: `length` is out of range.
    """

    length: int = 48_000

    def __post_init__(self):
        size("length", self.length)

    def build(self, *, sample_rate: int, rngs: "nnx.Rngs") -> "TapReverb":
        """Builds the reverb; its taps do not depend on the sample rate."""
        from ddspx.nn._reverb import TapReverb

        return TapReverb(self, rngs=rngs)


@dataclasses.dataclass(frozen=True)
class DecayingReverbConfig:
    """The sizes of a `DecayingReverb`.

    Attributes:
      length: taps of the impulse response, in samples.
      early_length: taps at the start that are trained one by one; at most `length`.
      n_bands: octaves below Nyquist, each with its own level and reverberation time. The lowest
        one reaches down to 0 Hz.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is out of range.
    """

    length: int = 16_000
    early_length: int = 800
    n_bands: int = 7

    def __post_init__(self):
        size("length", self.length)
        if size("n_bands", self.n_bands) > _MOST_OCTAVES:
            raise ValueError(f"`n_bands` must be at most {_MOST_OCTAVES}, got {self.n_bands}.")
        if positive_int("early_length", self.early_length) > self.length:
            raise ValueError(
                f"`early_length` must be at most `length`, {self.length}, got {self.early_length}."
            )

    def build(self, *, sample_rate: int, rngs: "nnx.Rngs") -> "DecayingReverb":
        """Builds the reverb for a sample rate."""
        from ddspx.nn._reverb import DecayingReverb

        return DecayingReverb(self, sample_rate=sample_rate, rngs=rngs)
