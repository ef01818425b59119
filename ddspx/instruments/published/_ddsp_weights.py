"""The arrays of a DDSP model, under the names and in the order of ddspx."""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.signal

from ddspx.instruments.published._ddsp_config import DdspModel

_DECODER, _ENCODER = "model/decoder", "model/encoder"
# DDSP adds this to the outputs for noise unless the config says otherwise, and so does ddspx.
_NOISE_BIAS = -5.0
# The name of each array of a fully connected layer in Keras, and in ddspx.
_LAYER = {"kernel": "kernel", "bias": "bias", "gamma": "scale", "beta": "shift"}
# DDSP's rooms have 500 filters.
_MOST_FILTERS = 2**14

Arrays = Mapping[str, np.ndarray]


# Damaged weights may become infinite here, and are refused later.
@np.errstate(over="ignore", invalid="ignore")
def ddsp_arrays(model: DdspModel, tensors: Arrays) -> dict[str, np.ndarray]:
    """The arrays of the imported model by their dotted names.

    Raises:
      ValueError: a tensor is missing, or has another type or shape than the config says.
    """
    decoder, n_inputs = model.decoder, len(model.inputs)
    layers = _Layers(tensors)
    arrays: dict[str, np.ndarray] = {}
    for i, place in enumerate(model.inputs):
        stack = layers.stack(f"{_DECODER}/input_stacks/{place}", decoder.fc_layers)
        arrays |= {f"decoder.stacks.{i}.{name}": array for name, array in stack.items()}
    gru = layers.gru(_DECODER)
    out_stack = layers.stack(f"{_DECODER}/out_stack", decoder.fc_layers)
    kernel, bias = layers.dense(f"{_DECODER}/dense_out")
    kernel, bias = _reordered_outputs(model, kernel, bias)
    # The inputs of the decoder in another order are other rows of the two layers that get them all.
    sizes = _joint_sizes(model)
    gru["kernel"] = _reordered_rows(gru["kernel"], model.inputs, sizes)
    if decoder.fc_layers:
        first = "layers.0.kernel"
        out_stack[first] = _reordered_rows(out_stack[first], model.inputs, sizes)
    else:
        kernel = _reordered_rows(kernel, model.inputs, sizes)
    arrays |= {f"decoder.gru.{name}": array for name, array in gru.items()}
    arrays |= {f"decoder.out_stack.{name}": array for name, array in out_stack.items()}
    arrays |= {"decoder.dense.kernel": kernel, "decoder.dense.bias": bias}
    if model.room is not None:
        arrays["reverb.taps"] = _taps(model, layers)
    if n_inputs == 3:
        arrays |= _encoder_arrays(layers)
    if model.scale == "ddsp-2":
        _fold_older_scale(arrays, has_layers=bool(decoder.fc_layers))
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


class _Layers:
    """Finds the tensors of Keras' layers.

    A layer that is a list of layers numbers those that have weights. Its names have changed with
    the versions of DDSP: a fully connected layer is a list in itself, or was not.
    """

    def __init__(self, tensors: Arrays):
        self.tensors = tensors

    def below(self, prefix: str, name: str) -> list[np.ndarray]:
        """All tensors of a name below a prefix, in the order of their layers."""
        found = [key for key in self.tensors if key.startswith(f"{prefix}/") and _last(key) == name]
        tensors = [self.tensors[key] for key in sorted(found, key=_numbers)]
        for tensor in tensors:
            if tensor.dtype != np.float32:
                raise ValueError(f"holds {prefix}/.../{name} as {tensor.dtype}, not as float32")
        return tensors

    def one(self, prefix: str, *names: str) -> np.ndarray:
        """The only tensor of one of some names below a prefix."""
        found = [tensor for name in names for tensor in self.below(prefix, name)]
        if len(found) != 1:
            raise ValueError(
                f"holds {len(found)} tensors {prefix}/.../{names[0]} in place of one; it is no "
                "checkpoint of a model that can be imported"
            )
        return found[0]

    def dense(self, prefix: str) -> tuple[np.ndarray, np.ndarray]:
        """Kernel and bias of a dense layer."""
        kernel, bias = self.one(prefix, "kernel"), self.one(prefix, "bias")
        _require_layer(prefix, kernel, bias)
        return kernel, bias

    def stack(self, prefix: str, n_layers: int) -> dict[str, np.ndarray]:
        """The arrays of a stack of fully connected layers."""
        arrays = {}
        for name, own in _LAYER.items():
            found = self.below(prefix, name)
            if len(found) != n_layers:
                raise ValueError(
                    f"holds {len(found)} layers {prefix}, but the config says {n_layers}; take the "
                    "config of the same training"
                )
            arrays |= {f"layers.{i}.{own}": array for i, array in enumerate(found)}
        for i in range(n_layers):
            kernel, *others = (arrays[f"layers.{i}.{own}"] for own in _LAYER.values())
            _require_layer(prefix, kernel, *others)
        return arrays

    def gru(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays of the only GRU below a prefix, whose gates are in the order of Keras."""
        prefix = f"{prefix}/rnn"
        kernel, recurrent_kernel, bias = (
            self.one(prefix, name) for name in ("kernel", "recurrent_kernel", "bias")
        )
        if bias.ndim != 2 or len(bias) != 2:
            raise ValueError(f"holds {prefix}/.../bias of the shape {bias.shape}, not two biases")
        _require_layer(prefix, kernel, *bias)
        _require_layer(prefix, recurrent_kernel, *bias)
        return {"kernel": kernel, "recurrent_kernel": recurrent_kernel, "bias": bias}


def _require_layer(prefix: str, kernel: np.ndarray, *others: np.ndarray) -> None:
    """Raises a ValueError unless the others hold one number for each output of the kernel."""
    shapes = {other.shape for other in others}
    if kernel.ndim != 2 or not len(kernel) or shapes != {kernel.shape[1:]}:
        words = ", ".join(map(str, [kernel.shape, *sorted(shapes)]))
        raise ValueError(f"holds {prefix} with the shapes {words}, no layer")


def _last(key: str) -> str:
    return key.rpartition("/")[2]


def _numbers(key: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", key)[:16])


def _joint_sizes(model: DdspModel) -> list[int]:
    """The numbers of values that the inputs contribute to the GRU, in the order of ddspx."""
    encoder, decoder = model.config.encoder, model.decoder
    sizes = [1, 1] if encoder is None else [1, 1, encoder.z_size]
    return [decoder.fc_channels if decoder.fc_layers else size for size in sizes]


def _reordered_rows(kernel: np.ndarray, places: Sequence[int], sizes: list[int]) -> np.ndarray:
    """The rows for the inputs in the order of ddspx; those after them stay."""
    total = sum(sizes)
    if len(kernel) < total:
        raise ValueError(f"holds a kernel of the shape {kernel.shape} for {total} inputs")
    by_place = {place: size for place, size in zip(places, sizes, strict=True)}
    ends = np.cumsum([by_place[place] for place in range(len(places))])
    blocks = np.split(kernel[:total], ends[:-1])
    return np.concatenate([*(blocks[place] for place in places), kernel[total:]])


def _reordered_outputs(
    model: DdspModel, kernel: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The dense layer with amplitude, harmonics and noise in this order, and the bias of noise."""
    n_outputs = sum(count for _, count in model.outputs)
    if len(bias) != n_outputs:
        raise ValueError(
            f"holds a decoder of {len(bias)} outputs, but the config says {n_outputs}; take the "
            "config of the same training"
        )
    order = np.concatenate([np.arange(first, first + n) for first, n in model.outputs])
    kernel, bias = kernel[:, order], bias[order].copy()
    bias[-model.outputs[2][1] :] += np.float32(model.noise_bias - _NOISE_BIAS)
    return kernel, bias


def _taps(model: DdspModel, layers: _Layers) -> np.ndarray:
    """The impulse response of the room."""
    prefix = "model/processor_group"
    if model.room == "Reverb":
        return layers.one(prefix, "ir", "_ir")
    length = model.config.reverb.length if model.config.reverb else 0
    magnitudes = layers.one(prefix, "magnitudes", "_magnitudes")
    n_filters = magnitudes.shape[0] if magnitudes.shape[1:] == (model.room_bands,) else 0
    if not 1 <= n_filters <= _MOST_FILTERS or length % n_filters:
        raise ValueError(
            f"holds magnitudes of the shape {magnitudes.shape} for a room of {length} samples and "
            f"{model.room_bands} bands"
        )
    bounded = 2 / (1 + np.exp(-(magnitudes.astype(np.float64) + model.room_bias))) ** math.log(10)
    return _filtered_noise(bounded + 1e-7, length // n_filters).astype(np.float32)


def _filtered_noise(magnitudes: np.ndarray, hop_length: int) -> np.ndarray:
    """Noise from a fixed seed, each frame of which is filtered by its magnitudes, as DDSP does."""
    n_taps = 2 * (magnitudes.shape[1] - 1)
    window = 0.5 + 0.5 * np.cos(2 * np.pi * np.arange(n_taps) / n_taps)
    taps = np.roll(np.fft.irfft(magnitudes) * window, n_taps // 2, axis=-1)
    length = len(taps) * hop_length
    noise = np.random.default_rng(0).uniform(-1, 1, (len(taps), hop_length))
    filtered = np.zeros(length + n_taps)
    for i, (filter_taps, frame) in enumerate(zip(taps, noise, strict=True)):
        first = i * hop_length
        end = first + hop_length + n_taps - 1
        filtered[first:end] += scipy.signal.fftconvolve(frame, filter_taps)
    return filtered[n_taps // 2 :][:length]


def _encoder_arrays(layers: _Layers) -> dict[str, np.ndarray]:
    """The arrays of the encoder."""
    arrays = {f"encoder.gru.{name}": array for name, array in layers.gru(_ENCODER).items()}
    for name in ("scale", "shift"):
        arrays[f"encoder.{name}"] = layers.one(f"{_ENCODER}/z_norm", name).reshape(-1)
    kernel, bias = layers.dense(f"{_ENCODER}/dense_out")
    return arrays | {"encoder.dense.kernel": kernel, "encoder.dense.bias": bias}


def _fold_older_scale(arrays: dict[str, np.ndarray], *, has_layers: bool) -> None:
    """Changes the weights for loudness from ``dB / 120 + 1`` to ``dB / 80 + 1``, exactly.

    As L / 120 + 1 = 2/3 (L / 80 + 1) + 1/3, the weights are multiplied by 2/3, and a third of them
    is added to the bias.
    """
    if has_layers:
        parts = [("decoder.stacks.0.layers.0.kernel", "decoder.stacks.0.layers.0.bias", ...)]
    else:
        parts = [
            ("decoder.gru.kernel", "decoder.gru.bias", 0),
            ("decoder.dense.kernel", "decoder.dense.bias", ...),
        ]
    for kernel, bias, row in parts:
        arrays[kernel], arrays[bias] = arrays[kernel].copy(), arrays[bias].copy()
        arrays[bias][row] += arrays[kernel][0] / np.float32(3)
        arrays[kernel][0] *= np.float32(2 / 3)
