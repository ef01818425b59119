"""The config of a front-end: its sizes, filters and compression, and which parts are trained."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ddspx._checks import frequency_range, number, size
from ddspx._choices import FrequencyScale
from ddspx.nn.frontend._checks import check_class, check_flag
from ddspx.nn.frontend._compressions import (
    Compression,
    LeafPcenCompression,
    LogCompression,
    PcenCompression,
)
from ddspx.nn.frontend._filters import (
    Filters,
    GammatoneFilters,
    LeafFilters,
    SincNetFilters,
    SpectNetFilters,
    TriangularFilters,
)
from ddspx.nn.frontend._paths import LeafFftPath, StftPath
from ddspx.nn.frontend._saved import upgraded_fields

_GAMMATONE, _LOG = GammatoneFilters(), LogCompression()
_SIZES = ("sample_rate", "hop_length", "n_fft", "win_length", "n_bands")


@dataclasses.dataclass(frozen=True)
class FrontendConfig:
    """The sizes of a front-end, its filters, its compression, and which parts are trained.

    These fields are common to all front-ends. The configs in `filters` and `compression` hold what
    is specific to a family of filters or to a compression, and say which of their parameters are
    trained. Trained parameters are `nnx.Param`, all others `Fixed`.

    Attributes:
      sample_rate: samples per second.
      hop_length: samples between frames.
      n_fft: length of the Fourier transform of a `StftPath`, in samples.
      win_length: in samples: length of the window of a `StftPath`, at most `n_fft`; on the other
        paths, length of the low-pass that smooths the energies.
      n_bands: number of bands.
      fmin: lower end of the frequency range, in Hz; the centres lie above it.
      fmax: upper end of the range, in Hz; None is half of `sample_rate`.
      scale: the frequency scale on which the initial centres are equally spaced, and on which
        ordered centres are trained; see `core.frequency_grid`.
      filters: `TriangularFilters`, `GammatoneFilters`, `GaborFilters`, `SincFilters` or
        `FreeFilters`; or filters as published, to load models or to compare with:
        `SpectNetFilters`, `LeafFilters`, `SincNetFilters` or `KapreFilters`. Their field `path`
        says how the energies are computed.
      compression: `NoCompression`, `LogCompression`, `Log1pCompression`, `DecibelCompression`,
        `PcenCompression` or `LeafPcenCompression`.
      n_mfcc: number of cepstral coefficients of the compressed bands; None for the bands.
      normalize: whether each band is normalized to mean 0 and variance 1 over the frames of each
        example. 1e-6 is added to the variance, so that bands that vary much less than that, such as
        energies without compression, stay small.

    Raises:
      TypeError: a size is not an int, or a part is not one of the classes above.
      ValueError: a size is below 1, `win_length` is 1 or (of a `StftPath`) above `n_fft`, or the
        range is empty or reaches above half of `sample_rate`.

    Example:
      >>> import dataclasses
      >>> from ddspx.nn import FrontendConfig, GaborFilters, PcenCompression, StftPath
      >>> config = FrontendConfig(n_bands=64, filters=GaborFilters(), compression=PcenCompression())
      >>> FrontendConfig.log_mel(n_bands=64).compression
      LogCompression(floor=1e-10)

      A preset with one part changed:

      >>> leaf = FrontendConfig.leaf(sample_rate=8000)
      >>> filters = dataclasses.replace(leaf.filters, path=StftPath())
      >>> dataclasses.replace(leaf, filters=filters).hop_length
      80
    """

    sample_rate: int = 16000
    hop_length: int = 160
    n_fft: int = 512
    win_length: int = 400
    n_bands: int = 40
    fmin: float = 60.0
    fmax: float | None = None
    scale: FrequencyScale = "erb"
    filters: Filters = _GAMMATONE
    compression: Compression = _LOG
    n_mfcc: int | None = None
    normalize: bool = False

    def __post_init__(self):
        for name in (*_SIZES, *(["n_mfcc"] if self.n_mfcc is not None else [])):
            size(name, getattr(self, name))
        for name in ("fmin", *(["fmax"] if self.fmax is not None else [])):
            number(name, getattr(self, name))
        check_class("filters", self.filters, Filters)
        check_class("compression", self.compression, Compression)
        check_flag("normalize", self.normalize)
        if self.highest_hz > self.sample_rate / 2:
            raise ValueError(
                f"`fmax` must be at most half of `sample_rate`, {self.sample_rate / 2} Hz, got "
                f"{self.highest_hz}."
            )
        frequency_range(self.fmin, self.highest_hz, self.scale)
        if self.n_mfcc is not None and self.n_mfcc > self.n_bands:
            raise ValueError(
                f"`n_mfcc` must be at most `n_bands`, {self.n_bands}, got {self.n_mfcc}."
            )
        if self.win_length < 2:
            raise ValueError(
                f"`win_length` must be at least 2, got {self.win_length}: a Hann window of one "
                "sample is 0."
            )
        if isinstance(self.filters.path, StftPath) and self.win_length > self.n_fft:
            raise ValueError(
                f"`win_length` must be at most `n_fft`, {self.n_fft}, got {self.win_length}; raise "
                "`n_fft` to zero-pad each frame."
            )

    @staticmethod
    def upgraded_fields(saved: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of a saved config; those of earlier versions of ddspx are converted."""
        return upgraded_fields(saved)

    def fixed(self) -> "FrontendConfig":
        """The same front-end, with no trainable parameters.

        Example:
          >>> from ddspx.nn import FrontendConfig
          >>> FrontendConfig().fixed().filters.trainable
          ()
        """
        return _fixed(self)

    @property
    def highest_hz(self) -> float:
        """`fmax`, or half of the sample rate."""
        return self.sample_rate / 2 if self.fmax is None else float(self.fmax)

    @property
    def n_features(self) -> int:
        """Number of features per frame."""
        return self.n_bands if self.n_mfcc is None else self.n_mfcc

    @classmethod
    def log_mel(cls, **changes: Any) -> "FrontendConfig":
        """Logarithm of a mel spectrogram (HTK's scale, triangles of height 1), not trainable.

        As in all presets, frames are 10 ms apart and 25 ms long at any `sample_rate`, unless
        `changes` has other sizes.
        """
        return cls._preset(_mel(LogCompression()), changes)

    @classmethod
    def mfcc(cls, **changes: Any) -> "FrontendConfig":
        """Thirteen cepstral coefficients of :meth:`log_mel`."""
        return cls.log_mel(**{"n_mfcc": 13} | changes)

    @classmethod
    def pcen_mel(cls, **changes: Any) -> "FrontendConfig":
        """A mel spectrogram with trainable PCEN in place of the logarithm."""
        return cls._preset(_mel(PcenCompression(trainable=True)), changes)

    @classmethod
    def learnable(cls, **changes: Any) -> "FrontendConfig":
        """Everything is trainable: ordered gammatones with gains, and PCEN."""
        fixed = {
            "filters": GammatoneFilters(trainable=("centers", "bandwidths", "gains")),
            "compression": PcenCompression(trainable=True),
        }
        return cls._preset(fixed, changes)

    @classmethod
    def leaf(cls, **changes: Any) -> "FrontendConfig":
        """LEAF as published: 40 Gabor filters on the mel scale, a low-pass and PCEN, all trainable.

        The initial centres lie between 60 Hz and 7800 Hz (or half of the sample rate). The filters
        are 25 ms long.
        """
        rate = _rate(changes)
        fixed = {
            "scale": "mel",
            "fmax": min(7800.0, rate / 2),
            "filters": LeafFilters(n_taps=2 * (rate // 80) + 1, path=LeafFftPath(trainable=True)),
            "compression": LeafPcenCompression(trainable=True),
        }
        return cls._preset(fixed, changes)

    @classmethod
    def spectnet(cls, **changes: Any) -> "FrontendConfig":
        """SpectNet's layer as published: 16 gammatones from 0 Hz to Nyquist, at 1 kHz.

        Centre, bandwidth and amplitude of each filter are trained.
        """
        rate = _rate(changes, 1000)
        fixed = {
            "sample_rate": rate,
            "n_bands": 16,
            "fmin": 0.0,
            "scale": "mel",
            "filters": SpectNetFilters(n_taps=_spectnet_taps(rate)),
            "compression": LogCompression(floor=1e-16),
        }
        return cls._preset(fixed, changes)

    @classmethod
    def spectnet_scaled(cls, **changes: Any) -> "FrontendConfig":
        """SpectNet's layer at any sample rate: as published at 1 kHz, without gaps at other rates.

        All published filters are 98 Hz wide. Sixteen of them up to 8 kHz would cover only a fifth
        of the range. So at other rates each filter is at least as wide as the distance between the
        centres, and its amplitude is scaled to keep its gain.
        """
        config = cls.spectnet(**changes)
        if config.highest_hz <= 500 or "filters" in changes:
            return config
        filters = SpectNetFilters(n_taps=_spectnet_taps(config.sample_rate), fill_gaps=True)
        return dataclasses.replace(config, filters=filters)

    @classmethod
    def sincnet(cls, **changes: Any) -> "FrontendConfig":
        """SincNet's filters as published, with trainable corners, a low-pass and a logarithm.

        The initial corners range from 30 Hz to 100 Hz below half of the sample rate; the minimum of
        a corner and of a width, 50 Hz each, is added to them. The filters are complex and pass only
        positive frequencies, so that the energies have no ripple at twice the frequency, as the
        square of a real signal has.
        """
        fixed = {
            "scale": "mel",
            "fmin": 30.0,
            "fmax": _rate(changes) / 2 - 100,
            "filters": SincNetFilters(),
        }
        return cls._preset(fixed, changes)

    @classmethod
    def _preset(cls, fixed: dict[str, Any], changes: dict[str, Any]) -> "FrontendConfig":
        rate = _rate(fixed | changes)
        win_length = size("win_length", changes.get("win_length", max(2, round(0.025 * rate))))
        sizes: dict[str, Any] = {
            "hop_length": max(1, round(0.01 * rate)),
            "win_length": win_length,
            # At least 256: with a shorter transform the lowest bands would contain no bin.
            "n_fft": max(256, 1 << (win_length - 1).bit_length()),
        }
        return cls(**sizes | fixed | changes)


def _mel(compression: Compression) -> dict[str, Any]:
    return {
        "scale": "mel",
        "filters": TriangularFilters(trainable=()),
        "compression": compression,
    }


def _spectnet_taps(sample_rate: int) -> int:
    """80 ms in samples, after which the impulse responses of SpectNet's filters have decayed."""
    return 2 * round(0.04 * sample_rate) + 1


def _fixed(config: Any) -> Any:
    """The config with nothing trainable, neither in it nor in the configs that it holds."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "trainable":
            changes["trainable"] = () if isinstance(value, tuple) else False
        elif dataclasses.is_dataclass(value):
            changes[field.name] = _fixed(value)
    return dataclasses.replace(config, **changes)


def _rate(changes: Mapping[str, Any], default: int = 16000) -> int:
    return size("sample_rate", changes.get("sample_rate", default))
