"""What an autoencoder is made of, and what it was trained on."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ddspx._checks import non_negative_int, number, size, sizes
from ddspx.models._config import from_json, to_json
from ddspx.nn import (
    DecoderConfig,
    EncoderConfig,
    FrontendConfig,
    HarmonicNoiseConfig,
    RnnFcDecoderConfig,
    SinusoidalNoiseConfig,
    SynthesizerConfig,
    WavetableNoiseConfig,
    ZEncoderConfig,
)

# 850 kHz is such a note: more than any sample rate has.
_FURTHEST_MIDI = 200
# What float32 holds of an amplitude, and more than any sound is.
_FURTHEST_DB = 700
# 30 years.
_LONGEST_S = 1e9
_MOST_RESOLUTIONS = 32
_SHIPPED = {
    "synthesizer": "HarmonicNoiseConfig",
    "decoder": "RnnFcDecoderConfig",
    "encoder": "ZEncoderConfig",
}


@dataclasses.dataclass(frozen=True)
class AutoencoderConfig:
    """The sizes of an `Autoencoder`; immutable, hashable, saved as JSON beside the weights.

    The presets take any sample rate and hop length and keep what is heard, not the sample
    counts: the reverb is a number of seconds, the sizes of the loss are times (128 to 4 ms).

    Args:
      sample_rate: samples per second.
      hop_length: samples from one control frame to the next.
      synthesizer: the sizes of what plays: `nn.HarmonicNoiseConfig`, `nn.SinusoidalNoiseConfig`,
        `nn.WavetableNoiseConfig`, or one of your own that keeps to `nn.SynthesizerConfig`.
      decoder: the sizes of what tells it what to play: `nn.RnnFcDecoderConfig`, or one of your own
        that keeps to `nn.DecoderConfig`.
      reverb_length: taps of the trained reverb; 0 for none.
      loss_n_ffts: FFT sizes of the multi-scale spectral loss that trains the model.
      encoder: the sizes of what makes z of a sound, which the decoder is told beside pitch and
        loudness: `nn.ZEncoderConfig`, or one of your own that keeps to `nn.EncoderConfig`; None
        for a model of pitch and loudness alone. It has the model's rate and hop length.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is out of range, or two do not fit each other.

    Example:
      >>> from ddspx.models.autoencoder import AutoencoderConfig
      >>> config = AutoencoderConfig.solo_instrument(sample_rate=48_000)
      >>> config.hop_length, config.reverb_length, config.loss_n_ffts
      (192, 144000, (6144, 3072, 1536, 768, 384, 192))
      >>> AutoencoderConfig.from_json(config.to_json()) == config
      True
    """

    sample_rate: int
    hop_length: int
    synthesizer: (
        HarmonicNoiseConfig | SinusoidalNoiseConfig | WavetableNoiseConfig | SynthesizerConfig
    )
    decoder: RnnFcDecoderConfig | DecoderConfig
    reverb_length: int
    loss_n_ffts: tuple[int, ...]
    encoder: ZEncoderConfig | EncoderConfig | None = None

    def __post_init__(self):
        for name in ("sample_rate", "hop_length"):
            size(name, getattr(self, name))
        for name in ("synthesizer", "decoder", "encoder"):
            part = getattr(self, name)
            is_none = name == "encoder" and part is None
            if not (is_none or (dataclasses.is_dataclass(part) and hasattr(part, "build"))):
                raise TypeError(
                    f"`{name}` must be a config of a {name}, such as nn.{_SHIPPED[name]}, a frozen "
                    f"dataclass with a `build`; got {part!r}."
                )
        if non_negative_int("reverb_length", self.reverb_length):
            size("reverb_length", self.reverb_length)
        # JSON has lists only, and a list would make the config unhashable.
        object.__setattr__(self, "loss_n_ffts", sizes("loss_n_ffts", self.loss_n_ffts))
        if len(self.loss_n_ffts) > _MOST_RESOLUTIONS:
            raise ValueError(
                f"`loss_n_ffts` must hold at most {_MOST_RESOLUTIONS} sizes, got "
                f"{len(self.loss_n_ffts)}."
            )
        for n_fft in self.loss_n_ffts:
            if size("loss_n_ffts", n_fft) % 4:
                raise ValueError(
                    f"`loss_n_ffts` must be multiples of 4 (frames overlap by 75 %), got {n_fft}."
                )
        if self.encoder is not None:
            for name in ("sample_rate", "hop_length"):
                theirs, ours = getattr(self.encoder, name), getattr(self, name)
                if theirs != ours:
                    raise ValueError(
                        f"`encoder` must have the model's `{name}`, {ours}, got {theirs}: z has "
                        "the frames of pitch and loudness."
                    )

    @classmethod
    def solo_instrument(
        cls, *, sample_rate: int = 16_000, hop_length: int | None = None
    ) -> "AutoencoderConfig":
        """DDSP's model of one instrument: 4,801,150 decoder numbers, 3 s of reverb."""
        return cls._preset(sample_rate, hop_length, rnn=512, fc=512, layers=3, reverb_s=3.0)

    @classmethod
    def tiny(
        cls, *, sample_rate: int = 16_000, hop_length: int | None = None
    ) -> "AutoencoderConfig":
        """DDSP's smallest: a GRU and a dense layer, 232,314 numbers, 3 s of reverb."""
        return cls._preset(sample_rate, hop_length, rnn=256, fc=256, layers=0, reverb_s=3.0)

    @classmethod
    def small(
        cls, *, sample_rate: int = 16_000, hop_length: int | None = None
    ) -> "AutoencoderConfig":
        """A sixth of `solo_instrument`: 754,686 decoder numbers (3 MB), 1.5 s of reverb.

        The size of the instruments that ship with ddspx: it trains on a CPU.
        """
        return cls._preset(sample_rate, hop_length, rnn=256, fc=192, layers=2, reverb_s=1.5)

    @classmethod
    def nsynth(
        cls, *, sample_rate: int = 16_000, hop_length: int | None = None
    ) -> "AutoencoderConfig":
        """DDSP's model of many instruments: 6,407,334 decoder and 843,852 encoder numbers.

        16 numbers of z for each frame come of 30 MFCCs, and there is no reverb. DDSP's z has
        31 frames per second; this one has those of pitch and loudness.
        """
        sizes = {"rnn": 512, "fc": 512, "layers": 3, "reverb_s": 0.0, "n_harmonics": 100}
        model = cls._preset(sample_rate, hop_length, **sizes)
        n_fft = model.loss_n_ffts[1]
        listening = FrontendConfig.mfcc(
            sample_rate=sample_rate,
            hop_length=model.hop_length,
            n_fft=n_fft,
            win_length=n_fft,
            n_bands=128,
            n_mfcc=30,
            fmin=20.0,
            fmax=min(8000.0, sample_rate / 2),
        )
        encoder = ZEncoderConfig(listening, rnn_channels=512, z_size=16)
        return dataclasses.replace(model, encoder=encoder)

    @classmethod
    def _preset(cls, sample_rate, hop_length, *, rnn, fc, layers, reverb_s, n_harmonics=None):
        size("sample_rate", sample_rate)
        # DDSP's counts: at 16 kHz, and above it, where there is room for more harmonics.
        # 97 bands make a noise filter of 192 taps; DDSP's 98 make 194 = 2 x 97, a slow FFT.
        most_harmonics, n_magnitudes = (60, 65) if sample_rate <= 16_000 else (100, 97)
        return cls(
            sample_rate=sample_rate,
            hop_length=max(1, round(sample_rate / 250)) if hop_length is None else hop_length,
            synthesizer=HarmonicNoiseConfig(n_harmonics or most_harmonics, n_magnitudes),
            decoder=RnnFcDecoderConfig(rnn, fc, layers),
            reverb_length=round(reverb_s * sample_rate),
            loss_n_ffts=_scaled_n_ffts(sample_rate),
        )

    def to_json(self) -> dict[str, Any]:
        """The fields as a dict that `json.dumps` takes."""
        return to_json(self)

    @classmethod
    def from_json(
        cls, fields: Mapping[str, Any], parts: Sequence[type] = ()
    ) -> "AutoencoderConfig":
        """Inverse of `to_json`.

        Args:
          fields: what was saved.
          parts: the classes of configs of your own that it holds.

        Raises:
          ValueError: a field is missing or unknown, or a part is of a class that is neither one of
            ddspx's nor of `parts`.
        """
        return from_json(cls, fields, parts)

    @staticmethod
    def upgraded_fields(saved: Mapping[str, Any]) -> Mapping[str, Any]:
        """Today's fields of a model that was saved when it had one synthesizer and one decoder."""
        if "synthesizer" in saved:
            return saved
        fields = dict(saved)
        for part, cls in (("synthesizer", HarmonicNoiseConfig), ("decoder", RnnFcDecoderConfig)):
            names = [field.name for field in dataclasses.fields(cls) if field.name in fields]
            fields[part] = {"kind": cls.__name__} | {name: fields.pop(name) for name in names}
        if isinstance(encoder := fields.get("encoder"), Mapping):
            fields["encoder"] = {"kind": ZEncoderConfig.__name__, **encoder}
        return fields


@dataclasses.dataclass(frozen=True)
class InstrumentStatistics:
    """How loud and how high an instrument's recordings are: what transfer adapts a sound to.

    Args:
      sample_rate: samples per second of the prepared recordings.
      hop_length: samples between the frames that were counted.
      loudness_quantiles: loudness in dB at equally spaced quantiles from 0 to 1 (101 of
        them: the percentiles), over the voiced frames; not decreasing.
      pitch_midi_min: first percentile of the pitch of voiced frames, in MIDI note numbers.
      pitch_midi_mean: mean of the same.
      pitch_midi_max: 99th percentile of the same.
      duration_s: seconds of recording.
      feature_version: version of the feature extraction; features made by two versions
        are not to be mixed.
      fmin: lowest pitch that was looked for in the recordings, in Hz; None where that is not
        recorded, which means the default of the features.
      fmax: highest pitch, likewise.

    Raises:
      TypeError: a count is not an int.
      ValueError: a value is not finite, or the values contradict each other.
    """

    sample_rate: int
    hop_length: int
    loudness_quantiles: tuple[float, ...]
    pitch_midi_min: float
    pitch_midi_mean: float
    pitch_midi_max: float
    duration_s: float
    feature_version: str
    fmin: float | None = None
    fmax: float | None = None

    def __post_init__(self):
        for name in ("sample_rate", "hop_length"):
            size(name, getattr(self, name))
        quantiles = tuple(float(value) for value in self.loudness_quantiles)
        object.__setattr__(self, "loudness_quantiles", quantiles)
        if len(quantiles) < 2:
            raise ValueError(
                f"`loudness_quantiles` must hold at least 2 values, got {len(quantiles)}."
            )
        for name in ("pitch_midi_min", "pitch_midi_mean", "pitch_midi_max", "duration_s"):
            object.__setattr__(self, name, number(name, getattr(self, name)))
        if not 0 <= self.duration_s < _LONGEST_S:
            raise ValueError(
                f"`duration_s` must be from 0 to {_LONGEST_S:.0e}, got {self.duration_s}."
            )
        if not all(abs(value) <= _FURTHEST_DB for value in quantiles):
            raise ValueError(
                f"`loudness_quantiles` must be levels from -{_FURTHEST_DB} to {_FURTHEST_DB} dB."
            )
        if any(low > high for low, high in itertools.pairwise(quantiles)):
            raise ValueError("`loudness_quantiles` must not decrease; sort them.")
        if not self.pitch_midi_min <= self.pitch_midi_mean <= self.pitch_midi_max:
            raise ValueError(
                "`pitch_midi_min` <= `pitch_midi_mean` <= `pitch_midi_max` must hold, got "
                f"{self.pitch_midi_min}, {self.pitch_midi_mean}, {self.pitch_midi_max}."
            )
        if self.pitch_midi_min < -_FURTHEST_MIDI or self.pitch_midi_max > _FURTHEST_MIDI:
            raise ValueError(
                f"`pitch_midi_min` and `pitch_midi_max` must be notes from -{_FURTHEST_MIDI} to "
                f"{_FURTHEST_MIDI}, got {self.pitch_midi_min} and {self.pitch_midi_max}."
            )
        if self.fmin is not None or self.fmax is not None:
            fmin, fmax = (math.nan if f is None else float(f) for f in (self.fmin, self.fmax))
            if not 0 < fmin < fmax < math.inf:
                raise ValueError(
                    "`fmin` and `fmax` must both be None, or finite with 0 < `fmin` < `fmax`, "
                    f"got {self.fmin} and {self.fmax}."
                )
            object.__setattr__(self, "fmin", fmin)
            object.__setattr__(self, "fmax", fmax)

    @property
    def pitch_range_hz(self) -> dict[str, Any]:
        """`fmin` and `fmax` as keyword arguments of the features; empty where not recorded."""
        if self.fmin is None or self.fmax is None:
            return {}
        return {"fmin": self.fmin, "fmax": self.fmax}

    def to_json(self) -> dict[str, Any]:
        """The fields as a dict that `json.dumps` takes."""
        return to_json(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "InstrumentStatistics":
        """Inverse of `to_json`; a ValueError names missing and unknown fields."""
        return from_json(cls, fields)


def _scaled_n_ffts(sample_rate):
    """DDSP's FFT sizes at 16 kHz, held in time: times the nearest of 2^i and 3 x 2^i.

    Those two families keep every size a fast FFT that splits into four hops.
    """
    octave = math.floor(math.log2(sample_rate / 16_000))
    factors = (2.0**octave, 1.5 * 2.0**octave, 2.0 ** (octave + 1))
    factor = min(factors, key=lambda f: abs(math.log(f * 16_000 / sample_rate)))
    return tuple(max(4, round(size * factor)) for size in (2048, 1024, 512, 256, 128, 64))
