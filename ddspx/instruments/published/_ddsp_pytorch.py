"""Models of ddsp_pytorch: the folder of a training, or the TorchScript file of its export.

Its decoder is DDSP's with PyTorch's blocks. It takes the pitch in Hz, and a loudness of its own
kind, which is standardized by the mean and the deviation of the recordings.
"""

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import scipy.special
from flax import nnx

from ddspx import core
from ddspx.features import LOUDNESS_FLOORS_DB, feature_version
from ddspx.instruments._instrument import Instrument
from ddspx.instruments.published._files import PublishedFiles
from ddspx.io._torch_archive import read_tensors
from ddspx.models._weights import with_arrays
from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig, InstrumentStatistics
from ddspx.nn import HarmonicNoiseConfig, RnnFcDecoderConfig, TapReverbConfig

_STATE, _CONFIG, _EXPORT = "state.pth", "config.yaml", ".ts"
# A model of the published sizes has 20 MB.
_LARGEST, _LARGEST_CONFIG = 2**28, 2**20
_AGAIN = "copy the file again from the training or the export of ddsp_pytorch"
_LAYERS = 3
_N_FFT = 2048
_NEPERS_PER_DB = np.log(10) / 20
# The range of the pitch tracker: a transfer moves no tune that lies inside of it.
_WIDEST_MIDI = (24.0, 108.0)
_PROVENANCE = {
    "data": {},
    "imported": {
        "from": "ddsp_pytorch",
        "changes": (
            "the scales of loudness and pitch are folded into the first layers; the room is its "
            "impulse response; harmonics above Nyquist are silent, where 1/10000 of them was left; "
            "amplitudes are interpolated between frames, where they were held"
        ),
        "loudness": "normal distribution of the mean and deviation in the files",
        "pitch_range": "not known: that of the tracker",
    },
}
# The numbers beside the weights: buffers of the export, lines of the config of a training.
_NUMBERS = ("sampling_rate", "block_size", "mean_loudness", "std_loudness")
# Buffers without anything that was learned.
_STATES = {"cache_gru", "phase", "reverb.t"}
_LINE = re.compile(r"(\s*)([A-Za-z_]\w*):(?:\s+(\S.*?))?\s*")


def recognises(files: PublishedFiles) -> bool:
    """Whether the files are a training of ddsp_pytorch, or its export.

    Sources of TypeScript and films have the suffix of an export too, but are no archives.
    """
    if {_STATE, _CONFIG} <= files.readers.keys():
        return True
    exports = _exports(files.readers)
    return len(exports) == 1 and files.read(exports[0], most=_LARGEST).startswith(b"PK")


def read(files: PublishedFiles) -> Instrument:
    """Makes an instrument of the files.

    Raises:
      ValueError: they are damaged, or of another model.
    """
    if _STATE in files.readers and _CONFIG in files.readers:
        name, settings = _STATE, _settings(files)
    else:
        (name,), settings = _exports(files.readers), {}
    path = files.source if files.source.name == name else files.source / name
    tensors = read_tensors(files.read(name, most=_LARGEST), str(path))
    tensors = {key.removeprefix("ddsp."): tensor for key, tensor in tensors.items()}
    settings = settings | {
        key: float(tensors[key].item())
        for key in _NUMBERS
        if key in tensors and tensors[key].size == 1
    }
    if missing := [key for key in _NUMBERS if key not in settings]:
        raise ValueError(
            f"{path} lacks `{missing[0]}`, which a trained model has; give the whole folder of the "
            "training, with its config.yaml."
        )
    try:
        # What overflows is refused, as it is not finite.
        with np.errstate(all="ignore"):
            parts = _parts(tensors, settings)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} is not a model of ddsp_pytorch ({reason}); {_AGAIN}.") from error
    config, arrays, statistics = parts
    model = with_arrays(lambda: Autoencoder(config, rngs=nnx.Rngs(0)), arrays, path, _AGAIN)
    return Instrument(model, statistics, _PROVENANCE)


def _exports(names: Collection[str]) -> list[str]:
    return [name for name in names if name.endswith(_EXPORT)]


def _settings(files: PublishedFiles) -> dict[str, float]:
    """The numbers of the config: lines ``key: number`` in the sections "data" and "model"."""
    content = files.read(_CONFIG, most=_LARGEST_CONFIG)
    found: dict[str, float] = {}
    section = ""
    for line in content.decode("utf-8", errors="replace").splitlines():
        if not (match := _LINE.fullmatch(line.partition(" #")[0])):
            continue
        indent, key, text = match.groups()
        if not indent:
            section = key
        elif section in ("data", "model") and key in _NUMBERS and text:
            try:
                found[key] = float(text)
            except ValueError:
                raise ValueError(
                    f"`{key}` in {_CONFIG} of {files.source} must be a number, got {text[:99]!r}."
                ) from None
    return found


class _Parts(NamedTuple):
    """What an instrument is made of."""

    config: AutoencoderConfig
    arrays: dict[str, np.ndarray]
    statistics: InstrumentStatistics


def _parts(tensors: Mapping[str, np.ndarray], settings: Mapping[str, float]) -> _Parts:
    weights = {key: tensor for key, tensor in tensors.items() if key not in _STATES | {*_NUMBERS}}
    sample_rate, hop_length = (_count(settings, name) for name in _NUMBERS[:2])
    mean, deviation = (settings[name] for name in _NUMBERS[2:])
    if not (np.isfinite(mean) and np.isfinite(deviation) and deviation > 0):
        raise ValueError(f"its loudness has the mean {mean} and the deviation {deviation}")
    sizes = _sizes(weights)
    _check_shapes(weights, sizes)
    config = _config(sizes, sample_rate, hop_length)
    if "reverb.t" in tensors:
        _check_times(tensors["reverb.t"], sizes.n_taps, sample_rate)
    offset = _weighting_offset(sample_rate)
    # An `Autoencoder` gives its decoder x = level_db / 80 + 1, where theirs gets
    # (level_db * ln(10) / 20 + offset - mean) / deviation.
    scale = 80 * _NEPERS_PER_DB / deviation
    arrays = _arrays(weights, scale, (offset - mean) / deviation - scale, sample_rate)
    return _Parts(config, arrays, _statistics(config, mean - offset, deviation))


def _count(settings: Mapping[str, float], name: str) -> int:
    if settings[name] != int(settings[name]):
        raise ValueError(f"its `{name}` is {settings[name]}")
    return int(settings[name])


def _weighting_offset(sample_rate: int) -> float:
    """What the A-weighting of theirs adds to the loudness of every frame."""
    frequencies_hz = np.fft.rfftfreq(_N_FFT, 1 / sample_rate)
    return float(np.mean(np.asarray(core.a_weighting_db(frequencies_hz), np.float64)))


class _Sizes(NamedTuple):
    """The sizes of a model."""

    rnn_channels: int
    fc_channels: int
    n_outputs: int
    n_bands: int
    n_taps: int


def _sizes(weights: Mapping[str, np.ndarray]) -> _Sizes:
    return _Sizes(
        rnn_channels=weights["gru.weight_hh_l0"].shape[1],
        fc_channels=weights["out_mlp.0.weight"].shape[0],
        n_outputs=weights["proj_matrices.0.weight"].shape[0],
        n_bands=weights["proj_matrices.1.weight"].shape[0],
        n_taps=weights["reverb.noise"].shape[0],
    )


def _shapes(sizes: _Sizes) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a model."""
    rnn, fc, *outputs, n_taps = sizes
    shapes: dict[str, tuple[int, ...]] = {
        "reverb.noise": (n_taps, 1),
        "reverb.decay": (),
        "reverb.wet": (),
    }
    for stack, n_inputs in (("in_mlps.0", 1), ("in_mlps.1", 1), ("out_mlp", rnn + 2)):
        for i in range(0, 3 * _LAYERS, 3):
            vectors = (f"{i}.bias", f"{i + 1}.weight", f"{i + 1}.bias")
            shapes[f"{stack}.{i}.weight"] = fc, fc if i else n_inputs
            shapes |= {f"{stack}.{name}": (fc,) for name in vectors}
    for side, n_inputs in (("ih", 2 * fc), ("hh", rnn)):
        shapes[f"gru.weight_{side}_l0"] = 3 * rnn, n_inputs
        shapes[f"gru.bias_{side}_l0"] = (3 * rnn,)
    for i, n_outputs in enumerate(outputs):
        shapes[f"proj_matrices.{i}.weight"] = n_outputs, fc
        shapes[f"proj_matrices.{i}.bias"] = (n_outputs,)
    return shapes


def _config(sizes: _Sizes, sample_rate: int, hop_length: int) -> AutoencoderConfig:
    return AutoencoderConfig(
        sample_rate=sample_rate,
        hop_length=hop_length,
        synthesizer=HarmonicNoiseConfig(sizes.n_outputs - 1, sizes.n_bands, "linear"),
        decoder=RnnFcDecoderConfig(
            sizes.rnn_channels,
            sizes.fc_channels,
            _LAYERS,
            skip="inputs",
            slope=0.01,
            epsilon=1e-5,
        ),
        reverb=TapReverbConfig(sizes.n_taps),
        loss_n_ffts=(4096, 2048, 1024, 512, 256, 128),
        pitch_scale="hz",
    )


def _check_shapes(weights: Mapping[str, np.ndarray], sizes: _Sizes) -> None:
    """Checks names and shapes before anything is made of the weights.

    A tensor can be much larger than its numbers in the file.
    """
    expected = _shapes(sizes)
    if missing := [name for name in expected if name not in weights]:
        raise KeyError(missing[0])
    for name, array in weights.items():
        if name not in expected:
            raise ValueError(f"it has the tensor {name!r}, which is of another version")
        if array.shape != expected[name]:
            raise ValueError(f"`{name}` has the shape {array.shape}, not {expected[name]}")


def _arrays(
    weights: Mapping[str, np.ndarray], scale: float, shift: float, sample_rate: int
) -> dict[str, np.ndarray]:
    """The weights by the names that a model of ddspx gives them.

    The first layers get the loudness ``scale * x + shift`` of our input x, and the pitch in kHz.
    """

    def take(name: str) -> np.ndarray:
        return weights[name].astype(np.float64)

    arrays: dict[str, np.ndarray] = {}

    def keep_stack(ours: str, theirs: str) -> None:
        for i in range(_LAYERS):
            layer = {
                "kernel": take(f"{theirs}.{3 * i}.weight").T,
                "bias": take(f"{theirs}.{3 * i}.bias"),
                "scale": take(f"{theirs}.{3 * i + 1}.weight"),
                "shift": take(f"{theirs}.{3 * i + 1}.bias"),
            }
            arrays.update({f"{ours}.layers.{i}.{key}": array for key, array in layer.items()})

    # Our decoder takes the loudness first, theirs the pitch.
    keep_stack("stacks.0", "in_mlps.1")
    keep_stack("stacks.1", "in_mlps.0")
    keep_stack("out_stack", "out_mlp")
    kernel = arrays["out_stack.layers.0.kernel"]
    pitch, loudness = kernel[-2:-1], kernel[-1:]
    arrays["out_stack.layers.0.kernel"] = np.concatenate(
        [scale * loudness, 1000 * pitch, kernel[:-2]]
    )
    arrays["out_stack.layers.0.bias"] += shift * loudness[0]
    first = arrays["stacks.0.layers.0.kernel"]
    arrays["stacks.0.layers.0.bias"] += shift * first[0]
    arrays["stacks.0.layers.0.kernel"] = scale * first
    arrays["stacks.1.layers.0.kernel"] *= 1000
    halves = np.split(take("gru.weight_ih_l0").T, 2)
    arrays["gru.kernel"] = _gates(np.concatenate(halves[::-1]))
    arrays["gru.recurrent_kernel"] = _gates(take("gru.weight_hh_l0").T)
    biases = np.stack([take(f"gru.bias_{side}_l0") for side in ("ih", "hh")])
    arrays["gru.bias"] = _gates(biases)
    outputs = [f"proj_matrices.{i}" for i in (0, 1)]
    arrays["dense.kernel"] = np.concatenate([take(f"{name}.weight") for name in outputs]).T
    arrays["dense.bias"] = np.concatenate([take(f"{name}.bias") for name in outputs])
    arrays = {f"decoder.{name}": array for name, array in arrays.items()}
    noise, decay, wet = (take(f"reverb.{name}") for name in ("noise", "decay", "wet"))
    arrays["reverb.taps"] = _room(noise, decay, wet, sample_rate)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def _gates(array: np.ndarray) -> np.ndarray:
    """PyTorch's order of the gates in the last axis, r, z, n, as ours, z, r, n."""
    r, z, n = np.split(array, 3, axis=-1)
    return np.concatenate([z, r, n], axis=-1)


def _room(noise: np.ndarray, decay: np.ndarray, wet: np.ndarray, sample_rate: int) -> np.ndarray:
    """Decaying noise, of a second as a rule; in place of its first tap is the direct sound."""
    time_s = np.arange(len(noise)) / sample_rate
    envelope = np.exp(-np.logaddexp(0, -decay) * 500 * time_s)
    return noise[:, 0] * envelope * scipy.special.expit(wet)


def _check_times(times: np.ndarray, n_taps: int, sample_rate: int) -> None:
    """Checks the times of the taps of the room, which some versions save."""
    expected = np.arange(n_taps) / sample_rate
    if times.shape != (1, n_taps, 1) or not np.allclose(times.reshape(-1), expected, rtol=1e-5):
        raise ValueError("its `reverb.t` is not the time of each tap of the room in seconds")


def _statistics(config: AutoencoderConfig, mean: float, deviation: float) -> InstrumentStatistics:
    """Only the mean and the deviation of the loudness are known, and nothing of the pitch."""
    spread = scipy.special.ndtri(np.clip(np.linspace(0, 1, 101), 0.005, 0.995))
    quantiles_db = (mean + deviation * spread) / _NEPERS_PER_DB
    quantiles_db = np.maximum(quantiles_db, LOUDNESS_FLOORS_DB["ddsp-pytorch"])
    return InstrumentStatistics(
        sample_rate=config.sample_rate,
        hop_length=config.hop_length,
        loudness_quantiles=tuple(quantiles_db.tolist()),
        pitch_midi_min=_WIDEST_MIDI[0],
        pitch_midi_mean=sum(_WIDEST_MIDI) / 2,
        pitch_midi_max=_WIDEST_MIDI[1],
        duration_s=0.0,
        feature_version=feature_version("ddspx", scale="ddsp-pytorch"),
    )
