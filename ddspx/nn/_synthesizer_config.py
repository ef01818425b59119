"""The sizes of synthesizers, which need no jax to be read, compared and saved."""

import dataclasses
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ddspx._checks import one_of, size
from ddspx._choices import UpsamplingMethod

if TYPE_CHECKING:
    from flax import nnx

    from ddspx.nn._sinusoidal_noise import SinusoidalNoise
    from ddspx.nn._synthesizers import HarmonicNoise, Synthesizer
    from ddspx.nn._wavetable_noise import WavetableNoise


@runtime_checkable
class SynthesizerConfig(Protocol):
    """The sizes of a `Synthesizer`: a frozen dataclass, whose `build` makes it.

    A model's config holds one, and is saved with the name of its class and its fields. Fields are
    what JSON can hold: numbers, strings, True, False, None, tuples of these.
    """

    @property
    def n_outputs(self) -> int:
        """Numbers that the synthesizer needs from a decoder for each frame."""
        ...

    def build(self, *, sample_rate: int, hop_length: int, rngs: "nnx.Rngs") -> "Synthesizer":
        """The synthesizer at a sample rate, with `hop_length` samples between frames."""
        ...


@dataclasses.dataclass(frozen=True)
class HarmonicNoiseConfig:
    """The sizes of a `HarmonicNoise`.

    Attributes:
      n_harmonics: sinusoids at multiples of the pitch.
      n_magnitudes: bands of the noise filter, equally spaced from 0 Hz to Nyquist.
      amplitude_upsampling: how harmonic amplitudes go from frames to samples: "nearest", "linear"
        or "hann".

    Raises:
      TypeError: a size is not an int.
      ValueError: a size or `amplitude_upsampling` is out of range.
    """

    n_harmonics: int = 60
    n_magnitudes: int = 65
    amplitude_upsampling: UpsamplingMethod = "hann"

    def __post_init__(self):
        size("n_harmonics", self.n_harmonics)
        _check_noise_and_method(self.n_magnitudes, self.amplitude_upsampling)

    @property
    def n_outputs(self) -> int:
        """One amplitude, and the harmonics, and the bands."""
        return 1 + self.n_harmonics + self.n_magnitudes

    def build(self, *, sample_rate: int, hop_length: int, rngs: "nnx.Rngs") -> "HarmonicNoise":
        """The synthesizer; it has no variables, so `rngs` draws nothing."""
        from ddspx.nn._synthesizers import HarmonicNoise

        return HarmonicNoise(self, sample_rate=sample_rate, hop_length=hop_length)


@dataclasses.dataclass(frozen=True)
class SinusoidalNoiseConfig:
    """The sizes of a `SinusoidalNoise`.

    Attributes:
      n_sinusoids: partials, one around each harmonic.
      n_magnitudes: bands of the noise filter, equally spaced from 0 Hz to Nyquist.
      spread: how far a partial may move from its harmonic, in multiples of the pitch, up to 0.5,
        with which the partials reach all frequencies from half the pitch on.
      amplitude_upsampling: how amplitudes go from frames to samples: "nearest", "linear" or
        "hann".

    Raises:
      TypeError: a size is not an int.
      ValueError: a number or `amplitude_upsampling` is out of range.
    """

    n_sinusoids: int = 60
    n_magnitudes: int = 65
    spread: float = 0.5
    amplitude_upsampling: UpsamplingMethod = "hann"

    def __post_init__(self):
        size("n_sinusoids", self.n_sinusoids)
        _check_noise_and_method(self.n_magnitudes, self.amplitude_upsampling)
        if not 0 < self.spread <= 0.5:
            raise ValueError(f"`spread` must be above 0, and at most 0.5, got {self.spread}.")

    @property
    def n_outputs(self) -> int:
        """One amplitude, weight and place of each partial, and the bands."""
        return 1 + 2 * self.n_sinusoids + self.n_magnitudes

    def build(self, *, sample_rate: int, hop_length: int, rngs: "nnx.Rngs") -> "SinusoidalNoise":
        """The synthesizer; it has no variables, so `rngs` draws nothing."""
        from ddspx.nn._sinusoidal_noise import SinusoidalNoise

        return SinusoidalNoise(self, sample_rate=sample_rate, hop_length=hop_length)


@dataclasses.dataclass(frozen=True)
class WavetableNoiseConfig:
    """The sizes of a `WavetableNoise`.

    Attributes:
      n_wavetables: tables that are learned, and mixed anew in each frame.
      n_harmonics: of a table; it is kept as their amplitudes, so that it can leave out those that
        would alias.
      n_magnitudes: bands of the noise filter, equally spaced from 0 Hz to Nyquist.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is out of range.
    """

    n_wavetables: int = 16
    n_harmonics: int = 60
    n_magnitudes: int = 65

    def __post_init__(self):
        size("n_wavetables", self.n_wavetables)
        size("n_harmonics", self.n_harmonics)
        _check_noise_and_method(self.n_magnitudes, "hann")

    @property
    def n_outputs(self) -> int:
        """One amplitude, the share of each table, and the bands."""
        return 1 + self.n_wavetables + self.n_magnitudes

    def build(self, *, sample_rate: int, hop_length: int, rngs: "nnx.Rngs") -> "WavetableNoise":
        """The synthesizer, with tables drawn from `rngs`."""
        from ddspx.nn._wavetable_noise import WavetableNoise

        return WavetableNoise(self, sample_rate=sample_rate, hop_length=hop_length, rngs=rngs)


def _check_noise_and_method(n_magnitudes: int, amplitude_upsampling: UpsamplingMethod) -> None:
    if size("n_magnitudes", n_magnitudes) < 2:
        raise ValueError(
            f"`n_magnitudes` must be at least 2 (0 Hz and Nyquist), got {n_magnitudes}."
        )
    # What streams: a cubic would need frames of the block to come.
    one_of("amplitude_upsampling", amplitude_upsampling, ("nearest", "linear", "hann"))
