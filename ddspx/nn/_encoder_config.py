"""The configs of encoders; importing this module does not import jax."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ddspx._checks import frequency_range, size
from ddspx.nn.frontend._config import FrontendConfig

if TYPE_CHECKING:
    from flax import nnx

    from ddspx.nn._encoder import Encoder, ZEncoder
    from ddspx.nn._timbre import StoredTimbre, TimbreEncoder

_MFCC_SIZES = ("sample_rate", "hop_length", "n_fft", "mfcc_hop_length", "n_bands", "n_mfcc")


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
class DdspMfccConfig:
    """The sizes of the front-end of DDSP's encoder as published, to load its models.

    Its MFCCs differ from those of `FrontendConfig.mfcc`, and a `ZEncoder` that gets them cannot
    encode a sound in blocks:

    - they are of magnitudes and not of power, their triangles are linear in mel, and only bands
      without any energy count as 1e-5;
    - a frame begins at its sample instead of lying around it;
    - each coefficient is normalized to mean 0 and variance 1 over the whole sound;
    - the frames are further apart than those of z, which is interpolated linearly.

    Attributes:
      sample_rate: samples per second.
      hop_length: samples between the frames of z.
      n_fft: length of the Fourier transform and of its window, in samples.
      mfcc_hop_length: samples between the frames of the MFCCs, a multiple of `hop_length`.
      n_bands: number of mel bands.
      n_mfcc: number of coefficients.
      fmin: lower end of the first band, in Hz.
      fmax: upper end of the last band, in Hz.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is out of range, or the range of frequencies is empty or reaches above half
        of `sample_rate`.
    """

    sample_rate: int = 16_000
    hop_length: int = 64
    n_fft: int = 1024
    mfcc_hop_length: int = 512
    n_bands: int = 128
    n_mfcc: int = 30
    fmin: float = 20.0
    fmax: float = 8000.0

    def __post_init__(self):
        for name in _MFCC_SIZES:
            size(name, getattr(self, name))
        if self.mfcc_hop_length % self.hop_length:
            raise ValueError(
                f"`mfcc_hop_length` must be a multiple of `hop_length`, {self.hop_length}, got "
                f"{self.mfcc_hop_length}."
            )
        if self.n_mfcc > self.n_bands:
            raise ValueError(
                f"`n_mfcc` must be at most `n_bands`, {self.n_bands}, got {self.n_mfcc}."
            )
        frequency_range(self.fmin, self.fmax, "mel")
        if self.fmax > self.sample_rate / 2:
            raise ValueError(
                f"`fmax` must be at most half of `sample_rate`, {self.sample_rate / 2} Hz, got "
                f"{self.fmax}."
            )

    @property
    def n_features(self) -> int:
        """Number of features per frame."""
        return self.n_mfcc


@dataclasses.dataclass(frozen=True)
class ZEncoderConfig:
    """The sizes of a `ZEncoder`.

    Attributes:
      frontend: the front-end, which computes the features; the frames of z are its frames. A
        `DdspMfccConfig` is that of models of DDSP.
      rnn_channels: size of the GRU's state.
      z_size: number of values of z per frame.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is below 1.
    """

    frontend: FrontendConfig | DdspMfccConfig
    rnn_channels: int
    z_size: int

    def __post_init__(self):
        size("rnn_channels", self.rnn_channels)
        size("z_size", self.z_size)

    @staticmethod
    def upgraded_fields(saved: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of a saved config; earlier versions had one kind of front-end."""
        frontend = saved.get("frontend")
        if not isinstance(frontend, Mapping) or "kind" in frontend:
            return saved
        return {**saved, "frontend": {"kind": FrontendConfig.__name__, **frontend}}

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


@dataclasses.dataclass(frozen=True)
class TimbreEncoderConfig:
    """The sizes of a `TimbreEncoder`.

    Attributes:
      frontend: the front-end. Its frames are pooled, so they need not be those of the model.
      hop_length: samples between two frames of z, the model's.
      channels: size of the GRU's state.
      z_size: number of values of the embedding.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is below 1.
    """

    frontend: FrontendConfig
    hop_length: int
    channels: int = 64
    z_size: int = 16

    def __post_init__(self):
        for name in ("hop_length", "channels", "z_size"):
            size(name, getattr(self, name))

    @property
    def sample_rate(self) -> int:
        """The front-end's sample rate, in Hz."""
        return self.frontend.sample_rate

    def build(self, *, rngs: "nnx.Rngs") -> "TimbreEncoder":
        """The encoder, with weights drawn from `rngs`."""
        from ddspx.nn._timbre import TimbreEncoder

        return TimbreEncoder(self, rngs=rngs)


@dataclasses.dataclass(frozen=True)
class StoredTimbreConfig:
    """The sizes of a `StoredTimbre`.

    Attributes:
      sample_rate: the model's, in Hz.
      hop_length: samples between two frames of z, the model's.
      z_size: number of values of the embedding.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is below 1.
    """

    sample_rate: int
    hop_length: int
    z_size: int = 16

    def __post_init__(self):
        for name in ("sample_rate", "hop_length", "z_size"):
            size(name, getattr(self, name))

    def build(self, *, rngs: "nnx.Rngs") -> "StoredTimbre":
        """The stored embedding, drawn from `rngs`."""
        from ddspx.nn._timbre import StoredTimbre

        return StoredTimbre(self, rngs=rngs)
