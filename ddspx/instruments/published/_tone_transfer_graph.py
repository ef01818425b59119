"""Finding the weights of a Tone Transfer model in its graph."""

import math
import re
from typing import NamedTuple

import numpy as np

from ddspx._text import printable
from ddspx.io._tfjs import TfjsModel

_STACK = "dilated_conv_decoder/dilated_conv_stack/"
_MOST_LAYERS = 256
# DDSP's ranges are 80 to 120 dB.
_RANGES_DB = (20.0, 200.0)
# What other graphs of the same names would have otherwise.
_CONSTANTS = {
    "add_1/y": 1.0,
    "add/y": 69.0,
    f"{_STACK}normalize/add/y": 1e-5,
    f"{_STACK}normalize/moments/mean/reduction_indices": (1, 2, 4),
    "processor_group/mul/x": 2.0,
    "processor_group/Log": math.log(10),
    "processor_group/mul_1/x": 2.0,
    "processor_group/Log_1": math.log(10),
    "processor_group/add_3/y": -5.0,
    "ConstantFolding/truediv_2_recip": 1 / 127,
}


class Layer(NamedTuple):
    """A residual layer: its convolution, and scale and shift of the normalization."""

    kernel: np.ndarray
    bias: np.ndarray
    dilation: int
    scale: np.ndarray
    shift: np.ndarray


class ToneTransferGraph(NamedTuple):
    """The sizes and weights of a Tone Transfer model.

    Attributes:
      sample_rate: samples per second.
      n_samples: samples of what the graph plays.
      n_frames: frames of its inputs.
      n_harmonics: harmonics of the synthesizer.
      n_magnitudes: bands of its noise.
      range_db: the decoder takes ``loudness_db / range_db + 1``.
      kernel: of the first convolution, whose inputs are loudness and pitch.
      bias: of the first convolution.
      layers: the residual layers.
      dense_kernel: of the dense layer.
      dense_bias: of the dense layer.
    """

    sample_rate: int
    n_samples: int
    n_frames: int
    n_harmonics: int
    n_magnitudes: int
    range_db: float
    kernel: np.ndarray
    bias: np.ndarray
    layers: tuple[Layer, ...]
    dense_kernel: np.ndarray
    dense_bias: np.ndarray


def read_graph(model: TfjsModel) -> ToneTransferGraph:
    """Finds sizes and weights by the names that DDSP gave to the operations.

    Raises:
      ValueError: the graph is of another model.
    """
    names = _Names(model)
    for name, expected in _CONSTANTS.items():
        if not np.array_equal(np.float32(names.constant(name)), np.float32(expected)):
            raise ValueError(f"its graph has another {name!r}")
    n_controls = names.constant("dilated_conv_decoder/Const")
    if n_controls.shape != (3,) or n_controls.dtype != np.int32 or n_controls[0] != 1:
        raise ValueError("its decoder has other outputs than an amplitude, harmonics and noise")
    kernel, bias, _ = names.convolution("conv2d")
    if kernel.shape[1] != 2:
        raise ValueError(f"its first convolution has {kernel.shape[1]} inputs, not 2")
    loudness, pitch = (names.source(x) for x in names.inputs("dilated_conv_decoder/concat")[:2])
    if (loudness, pitch) != ("loudness_db", "f0_hz"):
        raise ValueError(
            f"its decoder takes {printable(loudness[:99])} and {printable(pitch[:99])}"
        )
    range_db = round(1 / names.number("ConstantFolding/truediv_3_recip"), 3)
    if not _RANGES_DB[0] <= range_db <= _RANGES_DB[1]:
        raise ValueError(f"it takes loudness in a range of {range_db:.3g} dB")
    return ToneTransferGraph(
        sample_rate=round(2 * names.number("processor_group/GreaterEqual/y")),
        n_samples=round(names.number("processor_group/resize/size")),
        n_frames=round(names.number("resize/size")),
        n_harmonics=int(n_controls[1]),
        n_magnitudes=int(n_controls[2]),
        range_db=range_db,
        kernel=kernel,
        bias=bias,
        layers=tuple(names.layer(i) for i in range(names.n_layers())),
        dense_kernel=names.weight(names.inputs("dilated_conv_decoder/dense/Tensordot/MatMul")[1]),
        dense_bias=names.weight(names.inputs("dilated_conv_decoder/dense/BiasAdd")[1]),
    )


class _Names:
    """A graph, whose nodes are found by their names relative to the model."""

    def __init__(self, model: TfjsModel):
        self.nodes, self.weights = model.nodes, model.weights
        ending = "dilated_conv_decoder/concat"
        roots = [n.removesuffix(ending) for n in self.nodes if n.endswith(ending)]
        if len(roots) != 1:
            raise ValueError("its graph has no decoder of dilated convolutions")
        self.root = roots[0]

    def inputs(self, name: str) -> tuple[str, ...]:
        """The inputs of a node, two or more."""
        node = self.nodes.get(self.root + name)
        if node is None or len(node.inputs) < 2:
            raise ValueError(f"its graph has no {name!r}")
        return node.inputs

    def weight(self, name: str) -> np.ndarray:
        """The constant of a full name."""
        if name not in self.weights:
            raise ValueError(f"its weights lack {name[:200]!r}")
        return self.weights[name]

    def constant(self, name: str) -> np.ndarray:
        """The constant of a name; what was folded is in a folder above the model's."""
        folder, folded, rest = name.rpartition("ConstantFolding/")
        return self.weight(f"{folder}{folded}{self.root}{rest}")

    def number(self, name: str) -> float:
        """The first number of a constant, which must be positive."""
        numbers = self.constant(name).reshape(-1)
        if not numbers.size or not 0 < float(numbers[0]) < 1e9:
            raise ValueError(f"its {name!r} is not a positive number")
        return float(numbers[0])

    def source(self, name: str) -> str:
        """The placeholder that a node depends on, through the first inputs that do."""
        seen, waiting = set(), [name]
        while waiting:
            name = waiting.pop()
            node = self.nodes.get(name)
            if node is not None and name not in seen:
                if node.op == "Placeholder":
                    return name
                seen.add(name)
                waiting += node.inputs
        return "nothing"

    def n_layers(self) -> int:
        """The number of residual layers."""
        pattern = re.compile(rf"{re.escape(self.root + _STACK)}dilated_conv/conv2d_\d+/BiasAdd")
        count = sum(map(bool, map(pattern.fullmatch, self.nodes)))
        if count > _MOST_LAYERS:
            raise ValueError(f"its graph has {count} layers, more than {_MOST_LAYERS}")
        return count

    def layer(self, i: int) -> Layer:
        """A residual layer, counted from 0."""
        kernel, bias, dilation = self.convolution(f"dilated_conv/conv2d_{i + 1}")
        number = f"_{i}" if i else ""
        product = f"{_STACK}normalize{number}/mul"
        # The sum of the layer was reordered: its input and the product are one sum.
        total = f"{_STACK}ArithmeticOptimizer/AddOpsRewrite_add{number}"
        shifts = [name for name in self.inputs(total) if name in self.weights]
        if len(shifts) != 1:
            raise ValueError(f"its graph has another {total!r}")
        scale = self.weight(self.inputs(product)[1])
        return Layer(kernel, bias, dilation, scale.reshape(-1), self.weight(shifts[0]).reshape(-1))

    def convolution(self, name: str) -> tuple[np.ndarray, np.ndarray, int]:
        """Kernel, bias and dilation of a convolution over the frames."""
        inputs = self.inputs(f"{_STACK}{name}/BiasAdd")
        dilation, bias = 1, self.weight(inputs[-1])
        if len(inputs) == 3:
            kernel = self.weight(inputs[1])
        else:
            path = f"{_STACK}{name}/Conv2D"
            kernel = self.weight(self.inputs(path)[1])
            if self.root + f"{path}/SpaceToBatchND" in self.nodes:
                dilation = round(self.number(f"{path}/SpaceToBatchND/block_shape"))
        if kernel.ndim != 4 or kernel.shape[1] != 1 or bias.shape != kernel.shape[3:]:
            raise ValueError(
                f"its {name!r} is no convolution over the frames, but of the shapes {kernel.shape} "
                f"and {bias.shape}"
            )
        return kernel[:, 0], bias, dilation
