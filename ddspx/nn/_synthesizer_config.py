"""The configs of synthesizers; importing this module does not import jax."""

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
    """The sizes of a `Synthesizer`: a frozen dataclass with a method `build` that makes it.

    The config of a model holds it, and saves the name of its class and its fields as JSON. So
    fields must be numbers, strings, True, False, None, or tuples of these.
    """

    @property
    def n_outputs(self) -> int:
        """Number of decoder outputs that the synthesizer needs for each frame."""
        ...

    def build(self, *, sample_rate: int, hop_length: int, rngs: "nnx.Rngs") -> "Synthesizer":
        """Builds the synthesizer for a sample rate and `hop_length` samples between frames."""
        ...


@dataclasses.dataclass(frozen=True)
class HarmonicNoiseConfig:
    """The sizes of a `HarmonicNoise`.

    Attributes:
      n_harmonics: sinusoids at multiples of the pitch.
      n_magnitudes: bands of the noise filter, equally spaced from 0 Hz to Nyquist.
      amplitude_upsampling: how harmonic amplitudes go from frames to samples: "nearest", "linear"
        or "hann".
      normalize_below_nyquist: whether the harmonic distribution sums to 1 over the harmonics below
        Nyquist, so that a high note is as loud as a low one; False for all harmonics, also those
        above, which stay silent.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size, `amplitude_upsampling` or `normalize_below_nyquist` is out of range.
    """

    n_harmonics: int = 60
    n_magnitudes: int = 65
    amplitude_upsampling: UpsamplingMethod = "hann"
    normalize_below_nyquist: bool = True

    def __post_init__(self):
        size("n_harmonics", self.n_harmonics)
        _check_noise_and_method(self.n_magnitudes, self.amplitude_upsampling)
        one_of("normalize_below_nyquist", self.normalize_below_nyquist, (True, False))

    @property
    def n_outputs(self) -> int:
        """Number of decoder outputs per frame.

        They are one amplitude, one for each harmonic, and the noise bands.
        """
        return 1 + self.n_harmonics + self.n_magnitudes

    def build(self, *, sample_rate: int, hop_length: int, rngs: "nnx.Rngs") -> "HarmonicNoise":
        """Builds the synthesizer; it has no variables, so `rngs` is not used."""
        from ddspx.nn._synthesizers import HarmonicNoise

        return HarmonicNoise(self, sample_rate=sample_rate, hop_length=hop_length)


@dataclasses.dataclass(frozen=True)
class SinusoidalNoiseConfig:
    """The sizes of a `SinusoidalNoise`.

    Attributes:
      n_sinusoids: partials, one around each harmonic.
      n_magnitudes: bands of the noise filter, equally spaced from 0 Hz to Nyquist.
      spread: how far a partial may move from its harmonic, in multiples of the pitch; at most 0.5,
        with which the partials together reach every frequency above half the pitch.
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
        """Number of decoder outputs per frame.

        They are one amplitude, the weight and the offset of each partial, and the noise bands.
        """
        return 1 + 2 * self.n_sinusoids + self.n_magnitudes

    def build(self, *, sample_rate: int, hop_length: int, rngs: "nnx.Rngs") -> "SinusoidalNoise":
        """Builds the synthesizer; it has no variables, so `rngs` is not used."""
        from ddspx.nn._sinusoidal_noise import SinusoidalNoise

        return SinusoidalNoise(self, sample_rate=sample_rate, hop_length=hop_length)


@dataclasses.dataclass(frozen=True)
class WavetableNoiseConfig:
    """The sizes of a `WavetableNoise`.

    Attributes:
      n_wavetables: number of learned tables; each frame has its own mixture of them.
      n_harmonics: harmonics of a table. A table is stored as the amplitudes of its harmonics, so
        that harmonics above Nyquist, which would alias, can be left out.
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
        """Number of decoder outputs per frame.

        They are one amplitude, a share for each table, and the noise bands.
        """
        return 1 + self.n_wavetables + self.n_magnitudes

    def build(self, *, sample_rate: int, hop_length: int, rngs: "nnx.Rngs") -> "WavetableNoise":
        """Builds the synthesizer, with initial tables drawn from `rngs`."""
        from ddspx.nn._wavetable_noise import WavetableNoise

        return WavetableNoise(self, sample_rate=sample_rate, hop_length=hop_length, rngs=rngs)


def _check_noise_and_method(n_magnitudes: int, amplitude_upsampling: UpsamplingMethod) -> None:
    if size("n_magnitudes", n_magnitudes) < 2:
        raise ValueError(
            f"`n_magnitudes` must be at least 2 (0 Hz and Nyquist), got {n_magnitudes}."
        )
    # Only methods that can stream: cubic interpolation would need frames of the next block.
    one_of("amplitude_upsampling", amplitude_upsampling, ("nearest", "linear", "hann"))
