"""What the gin config of a DDSP model says about it, in terms of ddspx."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from ddspx._choices import UpsamplingMethod
from ddspx._text import printable
from ddspx.features import LoudnessScale
from ddspx.io._gin import GinConfig, GinReference
from ddspx.models.autoencoder import AutoencoderConfig
from ddspx.nn import (
    DdspMfccConfig,
    HarmonicNoiseConfig,
    RnnFcDecoderConfig,
    TapReverbConfig,
    ZEncoderConfig,
)

Room = Literal["Reverb", "FilteredNoiseReverb"]
_UPSAMPLING: dict[str, UpsamplingMethod] = {
    "window": "hann",
    "linear": "linear",
    "nearest": "nearest",
}
# The inputs of the decoder, in the order of ddspx.
_INPUTS = (("ld_scaled", "pw_scaled"), ("f0_scaled",), ("z",))
_EXP_SIGMOID = {"exponent": 10.0, "max_value": 2.0, "threshold": 1e-7}
_CREPE_RATE, _POWER_FRAME, _MFCC_RATE = 16_000, 1024, 16_000
# For each number of frames of MFCCs per four seconds, the transform and the hop. With 63 frames,
# DDSP stretches z a little.
_MFCC_SIZES = {125: (1024, 512), 250: (1024, 256), 500: (512, 128), 1000: (256, 64)}
_LARGEST, _MOST_BANDS = 2**24, 1024
_CENTRED = "frames are centred, where those of the training may be up to 32 ms late and stretched"


class DdspModel(NamedTuple):
    """A model of DDSP.

    Attributes:
      config: the model in ddspx.
      decoder: the sizes of its decoder.
      inputs: for each input of the decoder of ddspx, its place among those of DDSP.
      outputs: for each of amplitude, harmonics and noise: the first of DDSP's outputs, and their
        number.
      noise_bias: what is added to the outputs for noise.
      scale: the scale of loudness.
      room: the kind of the trained reverb; None without one.
      room_bias: what is added to the magnitudes of the noise of a `FilteredNoiseReverb`.
      room_bands: the number of these magnitudes at each time.
      changes: what is different in the imported model.
    """

    config: AutoencoderConfig
    decoder: RnnFcDecoderConfig
    inputs: tuple[int, ...]
    outputs: tuple[tuple[int, int], ...]
    noise_bias: float
    scale: LoudnessScale
    room: Room | None
    room_bias: float
    room_bands: int
    changes: tuple[str, ...]


def ddsp_model(gin: GinConfig) -> DdspModel:
    """The model that a config describes.

    Raises:
      ValueError: it is of another kind, or of sizes that do not fit.
    """
    _require(gin, "Autoencoder", "decoder", GinReference("RnnFcDecoder"))
    _require(gin, "RnnFcDecoder", "rnn_type", "gru", default="gru")
    _require(gin, "RnnFcDecoder", "stateless", False, default=False)
    dag = _dag(gin)
    outputs, harmonics, bands = _outputs(gin, dag)
    sample_rate = _number(gin, "Harmonic", "sample_rate", 16_000)
    scale, hop_length = _features(gin, sample_rate)
    inputs = _inputs(gin)
    encoder = _encoder(gin, hop_length) if len(inputs) == 3 else None
    room = _room(dag)
    length = _number(gin, room, "reverb_length", 48_000) if room else 0
    decoder = RnnFcDecoderConfig(
        rnn_channels=_number(gin, "RnnFcDecoder", "rnn_channels", 512),
        fc_channels=_number(gin, "RnnFcDecoder", "ch", 512),
        fc_layers=_number(gin, "RnnFcDecoder", "layers_per_stack", 3, least=0),
    )
    config = AutoencoderConfig(
        sample_rate=sample_rate,
        hop_length=hop_length,
        synthesizer=_synthesizer(gin, harmonics, bands),
        decoder=decoder,
        reverb=TapReverbConfig(length) if room else None,
        loss_n_ffts=_loss_sizes(gin),
        encoder=encoder,
    )
    if room:
        _require(gin, room, "trainable", True, default=False)
        _require(gin, room, "add_dry", True, default=True)
    bands_of_room = _number(
        gin, "FilteredNoiseReverb", "n_filter_banks", 16, least=2, most=_MOST_BANDS
    )
    if room == "FilteredNoiseReverb":
        _require_whole_filters(gin, room, bands_of_room)
    return DdspModel(
        config=config,
        decoder=decoder,
        inputs=inputs,
        outputs=outputs,
        noise_bias=_real(gin, "FilteredNoise", "initial_bias", -5.0),
        scale=scale,
        room=room,
        room_bias=_real(gin, "FilteredNoiseReverb", "initial_bias", -3.0),
        room_bands=bands_of_room,
        changes=_changes(gin, scale, room, sample_rate),
    )


def _dag(gin: GinConfig) -> dict[str, list[str]]:
    """The processors, by name, with their inputs."""
    dag = gin.get("ProcessorGroup", "dag")
    nodes = {}
    for node in dag if isinstance(dag, list) else []:
        processor, inputs = list(node)[:2] if _is_list(node) and len(node) > 1 else (None, None)
        if not isinstance(processor, GinReference) or not isinstance(inputs, list):
            raise ValueError("holds a ProcessorGroup.dag of another form than DDSP's")
        nodes[processor.name] = [str(name) for name in inputs]
    room = [name for name in nodes if name in get_args(Room)]
    known = {"Harmonic", "FilteredNoise", "Add", "Crop", *room}
    if not {"Harmonic", "FilteredNoise", "Add"} <= nodes.keys() <= known or len(room) > 1:
        raise ValueError(
            f"describes the processors {printable(', '.join(nodes)[:200]) or 'of no model'}; those "
            "that can be imported are Harmonic, FilteredNoise, Add, and one trained Reverb or "
            "FilteredNoiseReverb"
        )
    if "Crop" in nodes:
        _require(gin, "Crop", "crop_location", "back", default="back")
    return nodes


def _room(dag: Mapping[str, Sequence[str]]) -> Room | None:
    return next((room for room in get_args(Room) if room in dag), None)


def _outputs(
    gin: GinConfig, dag: Mapping[str, Sequence[str]]
) -> tuple[tuple[tuple[int, int], ...], int, int]:
    """Where the outputs of the decoder for each control begin, and how many they are."""
    splits = gin.get("RnnFcDecoder", "output_splits")
    splits = splits if _is_list(splits) else ()
    places, first = {}, 0
    for split in splits:
        if not _is_list(split) or len(split) != 2:
            raise ValueError("holds RnnFcDecoder.output_splits of another form than DDSP's")
        name, count = split
        if type(count) is not int or not 1 <= count <= _LARGEST:
            raise ValueError(f"holds {count!r} outputs of the decoder, which is no number of them")
        places[str(name)] = (first, count)
        first += count
    controls = [*dag["Harmonic"][:2], *dag["FilteredNoise"][:1]]
    # No two of the controls are one output, and no two outputs have one name.
    if (
        not len(controls) == len(splits) == 3
        or set(controls) != places.keys()
        or places[controls[0]][1] != 1
    ):
        raise ValueError(
            "has a decoder whose outputs are not one amplitude, a harmonic distribution and the "
            "magnitudes of noise"
        )
    outputs = tuple(places[name] for name in controls)
    return outputs, outputs[1][1], outputs[2][1]


def _input_keys(gin: GinConfig) -> list[str]:
    keys = gin.get("RnnFcDecoder", "input_keys", ("ld_scaled", "f0_scaled", "z"))
    return [str(key) for key in keys] if _is_list(keys) else []


def _inputs(gin: GinConfig) -> tuple[int, ...]:
    """For each input of ddspx, its place among the inputs of DDSP's decoder."""
    keys = _input_keys(gin)
    places = [i for names in _INPUTS for i, key in enumerate(keys) if key in names]
    if len(keys) not in (2, 3) or sorted(places) != list(range(len(keys))):
        raise ValueError(
            f"has a decoder with the inputs {printable(', '.join(keys)[:200]) or 'of no model'}; "
            "those that can be imported have ld_scaled or pw_scaled, f0_scaled, and perhaps z"
        )
    return tuple(places)


def _features(gin: GinConfig, sample_rate: int) -> tuple[LoudnessScale, int]:
    """The scale of loudness, and the hop between frames."""
    preprocessor = gin.get("Autoencoder", "preprocessor")
    name = preprocessor.name if isinstance(preprocessor, GinReference) else None
    keys = _input_keys(gin)
    if name == "OnlineF0PowerPreprocessor" and "pw_scaled" in keys:
        _require(gin, name, "frame_size", _POWER_FRAME, default=_POWER_FRAME)
        _require(gin, name, "padding", "center", default="center")
        frame_rate = _number(gin, name, "frame_rate", 250)
        _require_whole(sample_rate, frame_rate, "Harmonic.sample_rate", f"{name}.frame_rate")
        return "power", sample_rate // frame_rate
    if name == "F0LoudnessPreprocessor" and "pw_scaled" not in keys:
        n_samples = _number(gin, "Harmonic", "n_samples", 64_000)
        n_frames = _number(gin, name, "time_steps", 1000)
        _require_whole(n_samples, n_frames, "Harmonic.n_samples", f"{name}.time_steps")
        # From 3.0 on, which changed the loudness, it can compute the loudness itself.
        is_new = gin.get(name, "compute_loudness") is not None
        return "ddspx" if is_new else "ddsp-2", n_samples // n_frames
    raise ValueError(
        f"has the preprocessor {printable(name or preprocessor)}, whose features ddspx cannot "
        "compute; F0LoudnessPreprocessor and OnlineF0PowerPreprocessor can be imported"
    )


def _synthesizer(gin: GinConfig, harmonics: int, bands: int) -> HarmonicNoiseConfig:
    scale_fn = GinReference("exp_sigmoid")
    for name in ("Harmonic", "FilteredNoise", "FilteredNoiseReverb"):
        _require(gin, name, "scale_fn", scale_fn, default=scale_fn)
    for parameter, value in _EXP_SIGMOID.items():
        _require(gin, "exp_sigmoid", parameter, value, default=value)
    _require_whole_filters(gin, "FilteredNoise", bands)
    method = gin.get("Harmonic", "amp_resample_method", "window")
    if not isinstance(method, str) or method not in _UPSAMPLING:
        raise ValueError(
            f"has the Harmonic.amp_resample_method {printable(str(method)[:99])}; window, linear "
            "and nearest can be imported"
        )
    below = gin.get("Harmonic", "normalize_below_nyquist", True)
    if not isinstance(below, bool):
        raise ValueError("has a Harmonic.normalize_below_nyquist that is neither True nor False")
    return HarmonicNoiseConfig(harmonics, bands, _UPSAMPLING[method], normalize_below_nyquist=below)


def _loss_sizes(gin: GinConfig) -> tuple[int, ...]:
    """The FFT sizes of the loss; DDSP's transforms have the next power of two."""
    sizes = gin.get("SpectralLoss", "fft_sizes", (2048, 1024, 512, 256, 128, 64))
    is_sizes = _is_list(sizes) and 1 <= len(sizes) <= 32
    if not is_sizes or any(type(size) is not int or not 4 <= size <= 2**20 for size in sizes):
        raise ValueError("has SpectralLoss.fft_sizes that are no sizes of transforms")
    return tuple(size - size % 4 for size in sizes)


def _encoder(gin: GinConfig, hop_length: int) -> ZEncoderConfig:
    """DDSP's encoder with MFCCs, whose transform and hop depend on the frames per four seconds."""
    name = "MfccTimeDistributedRnnEncoder"
    _require(gin, "Autoencoder", "encoder", GinReference(name))
    _require(gin, name, "rnn_type", "gru", default="gru")
    _require(gin, "Harmonic", "sample_rate", _MFCC_RATE, default=_MFCC_RATE)
    steps = _number(gin, name, "z_time_steps", 250)
    if steps not in _MFCC_SIZES:
        raise ValueError(
            f"has {name}.z_time_steps = {steps}; {', '.join(map(str, _MFCC_SIZES))} can be imported"
        )
    n_fft, mfcc_hop = _MFCC_SIZES[steps]
    _require_whole(mfcc_hop, hop_length, "the hop of the MFCCs", "the hop of the model")
    frontend = DdspMfccConfig(hop_length=hop_length, n_fft=n_fft, mfcc_hop_length=mfcc_hop)
    return ZEncoderConfig(
        frontend,
        rnn_channels=_number(gin, name, "rnn_channels", 512),
        z_size=_number(gin, name, "z_dims", 32),
    )


def _changes(
    gin: GinConfig, scale: LoudnessScale, room: Room | None, sample_rate: int
) -> tuple[str, ...]:
    found = [_CENTRED] if scale != "power" else []
    if scale == "ddsp-2":
        found.append("the scale of loudness is folded into the first layers")
    if scale == "power":
        found.append("the quantiles of power are those of loudness, moved and stretched")
        if sample_rate != _CREPE_RATE:
            found.append(f"power is measured at {sample_rate} Hz, where it was at {_CREPE_RATE} Hz")
    if gin.get("Autoencoder", "encoder") is not None:
        found.append("z is that of the whole sound, where it was that of four seconds")
    if room == "FilteredNoiseReverb":
        found.append("the noise of the room is drawn once, where it was drawn for each sound")
    return tuple(found)


def _require(gin: GinConfig, owner: str, parameter: str, value: Any, default: Any = None) -> None:
    """Raises a ValueError if a parameter has another value than the one that can be imported."""
    found = gin.get(owner, parameter, default)
    if found != value:
        words = f"@{found.name}" if isinstance(found, GinReference) else repr(found)
        needed = f"@{value.name}" if isinstance(value, GinReference) else repr(value)
        raise ValueError(
            f"has {owner}.{parameter} = {printable(words[:200])}; models with {needed} can be "
            "imported"
        )


def _require_whole_filters(gin: GinConfig, owner: str, bands: int) -> None:
    """Raises a ValueError if a window shortens the filters of the noise."""
    window = gin.get(owner, "window_size", 257)
    # A window of 0, or one longer than the filter, is as long as the filter.
    if type(window) is not int or 0 < window < 2 * (bands - 1):
        raise ValueError(
            f"shortens the filters of noise to {printable(repr(window)[:99])} samples "
            f"({owner}.window_size), which ddspx cannot do"
        )


def _require_whole(total: int, count: int, total_name: str, count_name: str) -> None:
    if total % count:
        raise ValueError(
            f"has frames that are no whole number of samples apart: {total_name} is {total}, "
            f"{count_name} is {count}"
        )


def _number(
    gin: GinConfig,
    owner: str,
    parameter: str,
    default: int,
    *,
    least: int = 1,
    most: int = _LARGEST,
) -> int:
    """A size."""
    value = gin.get(owner, parameter, default)
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"has {owner}.{parameter} = {printable(repr(value)[:99])}, no size")
    return value


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _real(gin: GinConfig, owner: str, parameter: str, default: float) -> float:
    value = gin.get(owner, parameter, default)
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > 1e3:
        raise ValueError(f"has {owner}.{parameter} = {printable(repr(value)[:99])}, no number")
    return float(value)
