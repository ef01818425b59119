"""The config of an autoencoder, and the statistics of the recordings that it was trained on."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ddspx._checks import number, one_of, size, sizes
from ddspx.models._config import from_json, to_json
from ddspx.nn import (
    DecayingReverbConfig,
    DecoderConfig,
    DilatedConvDecoderConfig,
    EncoderConfig,
    FrontendConfig,
    HarmonicNoiseConfig,
    ReverbConfig,
    RnnFcDecoderConfig,
    SinusoidalNoiseConfig,
    StoredTimbreConfig,
    SynthesizerConfig,
    TapReverbConfig,
    TimbreEncoderConfig,
    WavetableNoiseConfig,
    ZEncoderConfig,
)

# The largest MIDI note number: 850 kHz, above the Nyquist frequency of any recording.
_FURTHEST_MIDI = 200
# The largest level: amplitudes of 700 dB still fit float32.
_FURTHEST_DB = 700
# The longest duration: 30 years.
_LONGEST_S = 1e9
_MOST_RESOLUTIONS = 32
_PROTOCOLS = {
    "synthesizer": SynthesizerConfig,
    "decoder": DecoderConfig,
    "reverb": ReverbConfig,
    "encoder": EncoderConfig,
}
_SHIPPED = {
    "synthesizer": "HarmonicNoiseConfig",
    "decoder": "RnnFcDecoderConfig",
    "reverb": "DecayingReverbConfig",
    "encoder": "ZEncoderConfig",
}


@dataclasses.dataclass(frozen=True)
class AutoencoderConfig:
    """The sizes of an `Autoencoder`; immutable, hashable, saved as JSON beside the weights.

    The presets take any sample rate and hop length. They keep durations, not numbers of samples:
    the reverb has a fixed length in seconds, and the FFT sizes of the loss are 128 to 4 ms.

    Args:
      sample_rate: samples per second.
      hop_length: samples from one control frame to the next.
      synthesizer: the config of the synthesizer: `nn.HarmonicNoiseConfig`,
        `nn.SinusoidalNoiseConfig`, `nn.WavetableNoiseConfig`, or your own class with the protocol
        `nn.SynthesizerConfig`.
      decoder: the config of the decoder, which computes the inputs of the synthesizer:
        `nn.RnnFcDecoderConfig`, `nn.DilatedConvDecoderConfig`, or your own class with the protocol
        `nn.DecoderConfig`.
      reverb: the config of the trained room: `nn.DecayingReverbConfig`, `nn.TapReverbConfig`, or
        your own class with the protocol `nn.ReverbConfig`; None for no reverb.
      loss_n_ffts: FFT sizes of the multi-scale spectral loss that trains the model.
      encoder: the config of the encoder, which computes z from a sound; z is an input of the
        decoder beside pitch and loudness. `nn.ZEncoderConfig`, `nn.TimbreEncoderConfig`,
        `nn.StoredTimbreConfig`, or your own class with the protocol `nn.EncoderConfig`; None for a
        model with pitch and loudness only. Its sample rate and hop length must be those of the
        model.
      pitch_scale: how the decoder gets the pitch: "midi", as MIDI note number / 127, or "hz", as
        frequency / 1000 Hz.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is out of range, or two do not fit each other.

    Example:
      >>> from ddspx.models.autoencoder import AutoencoderConfig
      >>> config = AutoencoderConfig.solo_instrument(sample_rate=48_000)
      >>> config.hop_length, config.reverb.length, config.loss_n_ffts
      (192, 144000, (6144, 3072, 1536, 768, 384, 192))
      >>> AutoencoderConfig.from_json(config.to_json()) == config
      True
    """

    sample_rate: int
    hop_length: int
    synthesizer: (
        HarmonicNoiseConfig | SinusoidalNoiseConfig | WavetableNoiseConfig | SynthesizerConfig
    )
    decoder: RnnFcDecoderConfig | DilatedConvDecoderConfig | DecoderConfig
    reverb: DecayingReverbConfig | TapReverbConfig | ReverbConfig | None
    loss_n_ffts: tuple[int, ...]
    encoder: ZEncoderConfig | TimbreEncoderConfig | StoredTimbreConfig | EncoderConfig | None = None
    pitch_scale: Literal["midi", "hz"] = "midi"

    def __post_init__(self):
        one_of("pitch_scale", self.pitch_scale, ("midi", "hz"))
        for name in ("sample_rate", "hop_length"):
            size(name, getattr(self, name))
        for name, protocol in _PROTOCOLS.items():
            part = getattr(self, name)
            if not (_is_config(part, protocol) or (name in ("encoder", "reverb") and part is None)):
                members = sorted(m for m in vars(protocol) if not m.startswith("_"))
                raise TypeError(
                    f"`{name}` must be the config of one, such as nn.{_SHIPPED[name]}(): an "
                    f"instance of a frozen, hashable dataclass that has {', '.join(members)}; got "
                    f"{part!r}."
                )
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
                encoder_value, model_value = getattr(self.encoder, name), getattr(self, name)
                if encoder_value != model_value:
                    raise ValueError(
                        f"`encoder` must have the model's `{name}`, {model_value}, got "
                        f"{encoder_value}: z has the same frames as pitch and loudness."
                    )

    @classmethod
    def solo_instrument(
        cls, *, sample_rate: int = 16_000, hop_length: int | None = None
    ) -> "AutoencoderConfig":
        """DDSP's model of one instrument: a decoder of 4,801,150 parameters, a room of 3 s."""
        return cls._preset(sample_rate, hop_length, rnn=512, fc=512, layers=3, reverb_s=3.0)

    @classmethod
    def tiny(
        cls, *, sample_rate: int = 16_000, hop_length: int | None = None
    ) -> "AutoencoderConfig":
        """DDSP's smallest decoder, a GRU and a dense layer: 232,314 parameters, a room of 3 s."""
        return cls._preset(sample_rate, hop_length, rnn=256, fc=256, layers=0, reverb_s=3.0)

    @classmethod
    def small(
        cls, *, sample_rate: int = 16_000, hop_length: int | None = None
    ) -> "AutoencoderConfig":
        """A sixth of `solo_instrument`: a decoder of 754,686 parameters (3 MB), a room of 1 s.

        The instruments that ship with ddspx have this size. It can be trained on a CPU.
        """
        return cls._preset(sample_rate, hop_length, rnn=256, fc=192, layers=2, reverb_s=1.0)

    @classmethod
    def nsynth(
        cls, *, sample_rate: int = 16_000, hop_length: int | None = None
    ) -> "AutoencoderConfig":
        """DDSP's model of many instruments: 6,407,334 decoder and 843,852 encoder parameters.

        The encoder computes 16 values of z per frame from 30 MFCCs. There is no reverb. DDSP's z
        has 31 frames per second; here z has the same frames as pitch and loudness.
        """
        sizes = {"rnn": 512, "fc": 512, "layers": 3, "reverb_s": 0.0, "n_harmonics": 100}
        model = cls._preset(sample_rate, hop_length, **sizes)
        n_fft = model.loss_n_ffts[1]
        frontend = FrontendConfig.mfcc(
            sample_rate=sample_rate,
            hop_length=model.hop_length,
            n_fft=n_fft,
            win_length=n_fft,
            n_bands=128,
            n_mfcc=30,
            fmin=20.0,
            fmax=min(8000.0, sample_rate / 2),
        )
        encoder = ZEncoderConfig(frontend, rnn_channels=512, z_size=16)
        return dataclasses.replace(model, encoder=encoder)

    @classmethod
    def any_instrument(
        cls, *, sample_rate: int = 16_000, hop_length: int | None = None
    ) -> "AutoencoderConfig":
        """A model of any instrument: `small`, and a `nn.TimbreEncoder` with SpectNet's front-end.

        The encoder makes one embedding of a recording, from trained gammatones and PCEN, on the
        frames of `ddspx classify train`. There is no reverb: each recording has its own room.
        """
        model = cls._preset(sample_rate, hop_length, rnn=256, fc=192, layers=2, reverb_s=0.0)
        listening = FrontendConfig.learnable(sample_rate=sample_rate)
        return dataclasses.replace(model, encoder=TimbreEncoderConfig(listening, model.hop_length))

    @classmethod
    def _preset(cls, sample_rate, hop_length, *, rnn, fc, layers, reverb_s, n_harmonics=None):
        size("sample_rate", sample_rate)
        # DDSP's numbers at 16 kHz and at higher rates, which have room for more harmonics. 97 bands
        # make a noise filter of 192 taps. DDSP has 98 bands, hence 194 = 2 x 97 taps, for which the
        # FFT is slow.
        most_harmonics, n_magnitudes = (60, 65) if sample_rate <= 16_000 else (100, 97)
        return cls(
            sample_rate=sample_rate,
            hop_length=max(1, round(sample_rate / 250)) if hop_length is None else hop_length,
            synthesizer=HarmonicNoiseConfig(n_harmonics or most_harmonics, n_magnitudes),
            decoder=RnnFcDecoderConfig(rnn, fc, layers),
            reverb=_room(reverb_s, sample_rate),
            loss_n_ffts=_scaled_n_ffts(sample_rate),
        )

    def with_frontend(self, frontend: FrontendConfig) -> "AutoencoderConfig":
        """The same model, whose encoder hears with another front-end.

        Args:
          frontend: the config of a front-end that another model has trained, for example.

        Raises:
          ValueError: the model has no encoder with an `nn.SpectralFrontend`, or the front-end has
            another sample rate, or another hop length and the encoder has a z in each frame.

        Example:
          >>> from ddspx.models.autoencoder import AutoencoderConfig
          >>> from ddspx.nn import FrontendConfig
          >>> config = AutoencoderConfig.any_instrument()
          >>> config.with_frontend(FrontendConfig.learnable(n_bands=64)).encoder.frontend.n_bands
          64
        """
        if not isinstance(self.encoder, (TimbreEncoderConfig, ZEncoderConfig)):
            raise ValueError(
                "A front-end needs a model whose encoder hears with one, such as "
                "AutoencoderConfig.any_instrument() or nsynth()."
            )
        encoder = dataclasses.replace(self.encoder, frontend=frontend)
        for name in ("sample_rate", "hop_length"):
            own, other = getattr(self, name), getattr(encoder, name)
            if own != other:
                raise ValueError(
                    f"The front-end has the `{name}` {other} and the model {own}; train the "
                    f"front-end with {own}, or prepare the dataset with {other}."
                )
        return dataclasses.replace(self, encoder=encoder)

    @property
    def part_classes(self) -> tuple[type, ...]:
        """The classes of the parts' configs, for `from_json` and `load_autoencoder`."""
        parts = (self.synthesizer, self.decoder, self.reverb, self.encoder)
        return tuple(type(part) for part in parts if part is not None)

    def to_json(self) -> dict[str, Any]:
        """The fields as a dict that `json.dumps` takes."""
        return to_json(self)

    @classmethod
    def from_json(
        cls, fields: Mapping[str, Any], parts: Sequence[type] = ()
    ) -> "AutoencoderConfig":
        """Inverse of `to_json`.

        Args:
          fields: the saved fields.
          parts: your own classes of configs, if the saved config holds any.

        Raises:
          ValueError: a field is missing or unknown, or the class of a part is neither one of
            ddspx nor one of `parts`.
        """
        return from_json(cls, fields, parts)

    @staticmethod
    def upgraded_fields(saved: Mapping[str, Any]) -> Mapping[str, Any]:
        """Converts the fields of versions whose parts could not be exchanged."""
        fields = dict(saved)
        if "reverb_length" in fields:
            length = fields.pop("reverb_length")
            fields["reverb"] = (
                {"kind": TapReverbConfig.__name__, "length": length} if length else None
            )
        if "synthesizer" in fields:
            return fields
        for part, cls in (("synthesizer", HarmonicNoiseConfig), ("decoder", RnnFcDecoderConfig)):
            names = [field.name for field in dataclasses.fields(cls) if field.name in fields]
            fields[part] = {"kind": cls.__name__} | {name: fields.pop(name) for name in names}
        if isinstance(encoder := fields.get("encoder"), Mapping):
            fields["encoder"] = {"kind": ZEncoderConfig.__name__, **encoder}
        return fields


@dataclasses.dataclass(frozen=True)
class InstrumentStatistics:
    """Loudness and pitch of an instrument's recordings; timbre transfer adapts sounds to them.

    Args:
      sample_rate: samples per second of the prepared recordings.
      hop_length: samples between the frames of the features.
      loudness_quantiles: loudness in dB at equally spaced quantiles from 0 to 1 (101 of
        them: the percentiles), over the voiced frames; not decreasing.
      pitch_midi_min: first percentile of the pitch of voiced frames, in MIDI note numbers.
      pitch_midi_mean: mean pitch of the voiced frames.
      pitch_midi_max: 99th percentile of the pitch of the voiced frames.
      duration_s: total duration of the recordings, in seconds; 0 if it is not known.
      feature_version: version of the feature extraction; features of different versions must not
        be mixed.
      fmin: lower limit of the pitch tracker in the recordings, in Hz; None, in older files, means
        the default of the features.
      fmax: upper limit, in Hz; None as for `fmin`.

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
            if not 0 < fmin < fmax <= self.sample_rate / 2:
                raise ValueError(
                    "`fmin` and `fmax` must both be None, or in Hz with 0 < `fmin` < `fmax`, at "
                    f"most half of `sample_rate`, got {self.fmin} and {self.fmax}."
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


def _is_config(part: Any, protocol: type) -> bool:
    """Whether an object is a hashable config of the parts that a protocol describes."""
    # Every config has `build`: that of a decoder is known by what it lacks.
    others = (SynthesizerConfig, ReverbConfig, EncoderConfig) if protocol is DecoderConfig else ()
    is_instance = dataclasses.is_dataclass(part) and not isinstance(part, type)
    if not is_instance or not isinstance(part, protocol) or isinstance(part, others):
        return False
    try:
        hash(part)
    except TypeError:
        return False
    return True


def _room(duration_s: float, sample_rate: int) -> DecayingReverbConfig | None:
    """A reverb of this duration with 50 ms of early taps, and octaves down to 125 Hz or below."""
    if not duration_s:
        return None
    n_bands = max(1, math.ceil(math.log2(sample_rate / 2 / 125)) + 1)
    return DecayingReverbConfig(
        length=round(duration_s * sample_rate),
        early_length=round(0.05 * sample_rate),
        n_bands=n_bands,
    )


def _scaled_n_ffts(sample_rate):
    """DDSP's FFT sizes at 16 kHz, scaled to about the same durations at another sample rate.

    The factor is the nearest number of the form 2^i or 3 x 2^i, so that each size is a fast FFT and
    a multiple of four, for hops of a quarter of it.
    """
    octave = math.floor(math.log2(sample_rate / 16_000))
    factors = (2.0**octave, 1.5 * 2.0**octave, 2.0 ** (octave + 1))
    factor = min(factors, key=lambda f: abs(math.log(f * 16_000 / sample_rate)))
    return tuple(max(4, round(size * factor)) for size in (2048, 1024, 512, 256, 128, 64))
