"""What a front-end listens to, and which parts of it learn."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from ddspx._checks import frequency_range, one_of, size
from ddspx._choices import FrequencyScale

Family = Literal["triangular", "gammatone", "gabor", "sinc", "free"]
Parametrization = Literal["ordered", "published"]
EnergyPath = Literal["stft", "fft", "recurrent"]
Compression = Literal["none", "log", "log1p", "db", "pcen"]
Part = Literal["centers", "bandwidths", "gains", "weights", "pooling", "compression"]
_CHOICES = {
    "family": ("triangular", "gammatone", "gabor", "sinc", "free"),
    "parametrization": ("ordered", "published"),
    "path": ("stft", "fft", "recurrent"),
    "compression": ("none", "log", "log1p", "db", "pcen"),
}
_SIZES = ("sample_rate", "hop_length", "n_fft", "win_length", "n_bands", "order", "n_taps")
_MEL: dict[str, Any] = {"family": "triangular", "scale": "mel"}
# What learns beside the compression and the pooling.
_PARTS = {
    ("triangular", "ordered"): ("centers", "gains"),
    ("gammatone", "ordered"): ("centers", "bandwidths", "gains"),
    ("gabor", "ordered"): ("centers", "bandwidths", "gains"),
    ("sinc", "ordered"): ("centers", "bandwidths", "gains"),
    ("free", "ordered"): ("weights",),
    ("gammatone", "published"): ("centers", "bandwidths", "gains"),
    ("gabor", "published"): ("centers", "bandwidths"),
    ("sinc", "published"): ("centers", "bandwidths"),
    ("free", "published"): ("weights",),
}


@dataclasses.dataclass(frozen=True)
class FrontendConfig:
    """What a front-end listens to, and which parts of it learn.

    Attributes:
      sample_rate: samples per second.
      hop_length: samples between frames.
      n_fft: length of the Fourier transform of the path ``stft``, in samples.
      win_length: length of the window of ``stft``, at most `n_fft`; on the other paths, of the
        low-pass of the energies.
      n_bands: number of bands.
      fmin: what lies below all centres, in Hz.
      fmax: what lies above them, in Hz; None is half of `sample_rate`.
      family: shape of the filters: ``triangular`` (between the neighbouring centres, as in a mel
        spectrogram), ``gammatone``, ``gabor``, ``sinc`` (rectangular, by windowed sincs) or
        ``free`` (any weights on the bins of ``stft``, triangles at first).
      parametrization: ``ordered``, where centres keep their order and nothing is clipped; or
        ``published``, the numbers and limits of SpectNet (with ``gammatone``), LEAF (``gabor``),
        SincNet (``sinc``) or kapre (``free``), to load or to compare with.
      path: how energies are computed: ``stft``, from the bins of a short-time spectrum; ``fft``,
        exactly, by filters on the whole sound; ``recurrent``, the same for ``gammatone`` by
        recursion. Exactly is to 1e-4 of a band's loudest frame, while bandwidths stay within half
        to one and a half times what they were at first.
      scale: of hearing, on which the centres are at equal distances at first, and on which they
        learn; see `core.frequency_grid`.
      fill_gaps: whether SpectNet's filters (``published`` gammatones) are at first no narrower than
        their centres lie apart, and of the same gain; as published all are 98 Hz wide.
      order: number of poles of a ``gammatone``.
      n_taps: length of filters that have taps: of ``sinc``, and of the published ones. Odd.
      trainable: the parts that are `nnx.Param`: any of ``centers``, ``bandwidths``, ``gains``,
        ``weights`` (of ``free``), ``pooling`` (the width of the low-pass, which ``stft`` has not)
        and ``compression``. The others are `Fixed`.
      compression: of the energies: ``none``, ``log``, ``log1p`` (of the energy times a factor
        that can learn, for each band), ``db``, or ``pcen`` (all of whose numbers can learn, for
        each band).
      floor: the energy that counts as silence: added before a ``log`` or ``db``, and to the past
        of ``pcen``; one over the factor of ``log1p``. A sine of amplitude 1 has 0.5.
      n_mfcc: number of cepstral coefficients of the compressed bands; None for the bands.
      normalize: whether each band has mean 0 and variance 1 over the frames of each example; a
        variance far below 1e-6, as of energies without compression, stays below 1.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is below 1, `win_length` is 1 or (of the path ``stft``) above `n_fft`, a
        choice is unknown, the range is empty or reaches above half of `sample_rate`, a family has
        no such path or parametrization, or ``trainable`` names a part that such a front-end has
        not.

    Example:
      >>> from ddspx.nn import FrontendConfig
      >>> FrontendConfig.log_mel(n_bands=64).compression
      'log'
      >>> FrontendConfig.leaf(sample_rate=8000).hop_length
      80
    """

    sample_rate: int = 16000
    hop_length: int = 160
    n_fft: int = 512
    win_length: int = 400
    n_bands: int = 40
    fmin: float = 60.0
    fmax: float | None = None
    family: Family = "gammatone"
    parametrization: Parametrization = "ordered"
    path: EnergyPath = "stft"
    scale: FrequencyScale = "erb"
    fill_gaps: bool = False
    order: int = 4
    n_taps: int = 401
    trainable: tuple[Part, ...] = ("centers", "bandwidths")
    compression: Compression = "log"
    floor: float = 1e-10
    n_mfcc: int | None = None
    normalize: bool = False

    def __post_init__(self):
        for name in (*_SIZES, *(["n_mfcc"] if self.n_mfcc is not None else [])):
            size(name, getattr(self, name))
        for name, choices in _CHOICES.items():
            one_of(name, getattr(self, name), choices)
        if isinstance(self.trainable, str):
            raise TypeError(f"`trainable` must be several parts, got {self.trainable!r}.")
        # JSON has lists only, and a list would make the config unhashable.
        object.__setattr__(self, "trainable", tuple(self.trainable))
        for name in ("fmin", "floor", *(["fmax"] if self.fmax is not None else [])):
            if isinstance(value := getattr(self, name), bool) or not isinstance(value, int | float):
                raise TypeError(f"`{name}` must be a number, got {value!r}.")
        # Of less, float32 has no reciprocal or loses it on the way to a gradient.
        if not (math.isfinite(self.floor) and self.floor >= 1e-30):
            raise ValueError(f"`floor` must be finite and at least 1e-30, got {self.floor}.")
        if self.fill_gaps and (self.family, self.parametrization) != ("gammatone", "published"):
            raise ValueError(
                "`fill_gaps` must be False but for the published gammatones of SpectNet; all other "
                "filters reach their neighbours by themselves."
            )
        if self.highest_hz > self.sample_rate / 2:
            raise ValueError(
                f"`fmax` must be at most half of `sample_rate`, {self.sample_rate / 2} Hz, got "
                f"{self.highest_hz}."
            )
        frequency_range(self.fmin, self.highest_hz, self.scale)
        if self.n_taps % 2 == 0:
            raise ValueError(f"`n_taps` must be odd, got {self.n_taps}; the middle one is at 0.")
        if self.n_mfcc is not None and self.n_mfcc > self.n_bands:
            raise ValueError(
                f"`n_mfcc` must be at most `n_bands`, {self.n_bands}, got {self.n_mfcc}."
            )
        if self.win_length < 2:
            raise ValueError(
                f"`win_length` must be at least 2, got {self.win_length}: a window ends with a 0."
            )
        if self.path == "stft" and self.win_length > self.n_fft:
            raise ValueError(
                f"`win_length` must be at most `n_fft`, {self.n_fft}, got {self.win_length}; raise "
                "`n_fft` to zero-pad each frame."
            )
        self._check_parts()

    def _check_parts(self) -> None:
        """Raises a ValueError unless there is such a front-end, and it has what is to learn."""
        kind = self.family, self.parametrization
        if kind not in _PARTS:
            raise ValueError(
                f"`parametrization` must be 'ordered' for the family {self.family!r}; 'published' "
                "are those of SpectNet ('gammatone'), LEAF ('gabor'), SincNet ('sinc') and kapre "
                "('free')."
            )
        if self.path != "stft" and self.family in ("triangular", "free"):
            raise ValueError(
                f"`path` must be 'stft' for the family {self.family!r}, which is weights on the "
                f"bins of a spectrum, got {self.path!r}."
            )
        if self.path == "recurrent" and kind != ("gammatone", "ordered"):
            raise ValueError(
                "`path` must be 'stft' or 'fft' but for ordered gammatones, which alone are "
                f"recursions, got {self.path!r} with {self.family!r}, {self.parametrization!r}."
            )
        for part in self.trainable:
            one_of("trainable", part, self.parts)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of such a front-end that can learn."""
        parts = _PARTS[self.family, self.parametrization]
        # SpectNet's low-pass is a box of fixed length.
        is_box = (self.family, self.parametrization) == ("gammatone", "published")
        parts += () if self.path == "stft" or is_box else ("pooling",)
        return parts + (("compression",) if self.compression in ("log1p", "pcen") else ())

    @property
    def highest_hz(self) -> float:
        """`fmax`, or half of the sample rate."""
        return self.sample_rate / 2 if self.fmax is None else float(self.fmax)

    @property
    def n_features(self) -> int:
        """Numbers for each frame."""
        return self.n_bands if self.n_mfcc is None else self.n_mfcc

    @classmethod
    def log_mel(cls, **changes: Any) -> "FrontendConfig":
        """Logarithm of a mel spectrogram (HTK's scale, triangles of height 1); nothing learns.

        As in all presets, frames are 10 ms apart and 25 ms long at any `sample_rate`, unless
        they are given.
        """
        return cls._preset(_MEL | {"trainable": (), "compression": "log"}, changes)

    @classmethod
    def mfcc(cls, **changes: Any) -> "FrontendConfig":
        """Thirteen cepstral coefficients of :meth:`log_mel`."""
        return cls.log_mel(**{"n_mfcc": 13} | changes)

    @classmethod
    def pcen_mel(cls, **changes: Any) -> "FrontendConfig":
        """A mel spectrogram with PCEN, whose numbers learn, in place of the logarithm."""
        return cls._preset(_MEL | {"trainable": ("compression",), "compression": "pcen"}, changes)

    @classmethod
    def learnable(cls, **changes: Any) -> "FrontendConfig":
        """All of it learns: ordered gammatones with gains, and PCEN."""
        parts = ("centers", "bandwidths", "gains", "compression")
        return cls._preset({"trainable": parts, "compression": "pcen"}, changes)

    @classmethod
    def leaf(cls, **changes: Any) -> "FrontendConfig":
        """LEAF as published: 40 Gabor filters on the mel scale, a low-pass and PCEN, all learn.

        They begin between 60 Hz and 7800 Hz (or half of the rate) and are 25 ms long.
        """
        rate = _rate(changes)
        fixed = {
            "family": "gabor",
            "parametrization": "published",
            "path": "fft",
            "scale": "mel",
            "fmax": min(7800.0, rate / 2),
            "n_taps": 2 * (rate // 80) + 1,
            "compression": "pcen",
            "floor": 1e-12,
            "trainable": ("centers", "bandwidths", "pooling", "compression"),
        }
        return cls._preset(fixed, changes)

    @classmethod
    def spectnet(cls, **changes: Any) -> "FrontendConfig":
        """SpectNet's layer as published: 16 gammatones at 1 kHz from 0 Hz to Nyquist, which learn.

        Three numbers for each: its centre, its bandwidth and its amplitude.
        """
        rate = _rate(changes, 1000)
        fixed = {
            "sample_rate": rate,
            "n_bands": 16,
            "fmin": 0.0,
            "parametrization": "published",
            "path": "fft",
            "scale": "mel",
            "n_taps": 2 * round(0.04 * rate) + 1,
            "floor": 1e-16,
            "trainable": ("centers", "bandwidths", "gains"),
        }
        return cls._preset(fixed, changes)

    @classmethod
    def spectnet_scaled(cls, **changes: Any) -> "FrontendConfig":
        """SpectNet's layer at any rate: at 1 kHz as published, at others without gaps.

        As published all filters are 98 Hz wide. Sixteen of them up to 8 kHz would hear a fifth of
        it: here each is as wide as the centres lie apart, if that is more, and as loud.
        """
        published = cls.spectnet(**changes)
        return cls.spectnet(**{"fill_gaps": published.highest_hz > 500} | changes)

    @classmethod
    def sincnet(cls, **changes: Any) -> "FrontendConfig":
        """SincNet's filters as published, whose corners learn, with a low-pass and a logarithm.

        The first corners are from 30 Hz to 100 Hz below half of the rate. What a corner and a
        width have at least, 50 Hz each, is added to them. An energy is that of the band above
        0 Hz, without the ripple of a real signal's square.
        """
        fixed = {
            "family": "sinc",
            "parametrization": "published",
            "path": "fft",
            "scale": "mel",
            "fmin": 30.0,
            "fmax": _rate(changes) / 2 - 100,
            "n_taps": 251,
        }
        return cls._preset(fixed, changes)

    @classmethod
    def _preset(cls, fixed: dict[str, Any], changes: dict[str, Any]) -> "FrontendConfig":
        rate = _rate(fixed | changes)
        win_length = size("win_length", changes.get("win_length", max(2, round(0.025 * rate))))
        sizes: dict[str, Any] = {
            "hop_length": max(1, round(0.01 * rate)),
            "win_length": win_length,
            # Of short windows a finer spectrum than they need, or low bands would hold no bin.
            "n_fft": max(256, 1 << (win_length - 1).bit_length()),
        }
        nothing: dict[str, Any] = {"trainable": ()}
        config = cls(**sizes | fixed | changes | nothing)
        # Of what a preset trains, the parts that there are after the changes.
        learn = tuple(
            part for part in fixed.get("trainable", cls.trainable) if part in config.parts
        )
        return dataclasses.replace(config, trainable=changes.get("trainable", learn))


def _rate(changes: Mapping[str, Any], default: int = 16000) -> int:
    return size("sample_rate", changes.get("sample_rate", default))
