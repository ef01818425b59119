"""A small graph model of TensorFlow.js with the names of Google's Tone Transfer models."""

import json

import numpy as np

ROOT = "Partitioned/autoencoder/"
STACK = "dilated_conv_decoder/dilated_conv_stack/"
CHANNELS, FRAMES = 4, 20
SETTINGS = {"meanLoudness": -60, "averageMaxLoudness": -40, "meanPitch": 64.5, "postGain": 2}


class Graph:
    """A graph model, to which nodes and weights are added."""

    def __init__(self):
        self.nodes, self.weights = [], {}

    def node(self, op, name, *inputs):
        self.nodes.append({"op": op, "name": name, "input": list(inputs), "attr": {}})
        return name

    def constant(self, name, value, dtype=np.float32):
        self.weights[name] = np.asarray(value, dtype)
        return self.node("Const", name)

    def files(self, **changes):
        entries = [
            {"name": name, "shape": list(x.shape), "dtype": x.dtype.name}
            for name, x in self.weights.items()
        ]
        manifest = [{"paths": ["group1-shard1of1.bin"], "weights": entries}]
        fields = {"modelTopology": {"node": self.nodes}, "weightsManifest": manifest} | changes
        return {
            "model.json": json.dumps(fields).encode(),
            "group1-shard1of1.bin": b"".join(x.tobytes() for x in self.weights.values()),
            "settings.json": json.dumps(SETTINGS).encode(),
        }


def convolution(graph, name, shape, dilation, draw):
    """A convolution with bias, in the two forms that the converter of TensorFlow.js gives it."""
    kernel, bias = (
        graph.constant(f"Func/{ROOT}{name}/{i}", x)
        for i, x in enumerate((draw(shape), draw(shape[-1:])))
    )
    path = ROOT + STACK + name
    if dilation == 1:
        return graph.node("_FusedConv2D", f"{path}/BiasAdd", f"{path}/in", kernel, f"{bias}:0")
    block = f"{path}/Conv2D/SpaceToBatchND"
    graph.constant(f"{block}/block_shape", [dilation, 1], np.int32)
    graph.node("SpaceToBatchND", block, f"{path}/in")
    graph.node("Conv2D", f"{path}/Conv2D", block, kernel)
    return graph.node("BiasAdd", f"{path}/BiasAdd", f"{path}/Conv2D", bias)


def small_graph(channels=CHANNELS):
    """A graph of two layers, with the names of the published ones; it is not complete."""
    rng, graph = np.random.default_rng(3), Graph()

    def draw(shape):
        return 0.4 * rng.standard_normal(shape)

    for name in ("loudness_db", "f0_hz"):
        graph.node("Placeholder", name)
    low, high = (graph.node("Mul", f"{ROOT}{n}", n) for n in ("loudness_db", "f0_hz"))
    graph.node("ConcatV2", f"{ROOT}dilated_conv_decoder/concat", low, high)
    one = 1.0
    for name, value in {
        **{"add_1/y": one, "add/y": 69, f"{STACK}normalize/add/y": 1e-5},
        **{f"processor_group/{mul}/x": 2 for mul in ("mul", "mul_1")},
        **{f"processor_group/{log}": np.log(10) for log in ("Log", "Log_1")},
        **{"processor_group/add_3/y": -5, "processor_group/GreaterEqual/y": 4000},
    }.items():
        graph.constant(ROOT + name, value)
    for name, value in {
        f"{STACK}normalize/moments/mean/reduction_indices": [1, 2, 4],
        "processor_group/resize/size": [FRAMES * 40, 1],
        "resize/size": [FRAMES, 1],
        "dilated_conv_decoder/Const": [1, 3, 5],
    }.items():
        graph.constant(ROOT + name, value, np.int32)
    graph.constant(f"ConstantFolding/{ROOT}truediv_3_recip", 1 / 120)
    graph.constant(f"ConstantFolding/{ROOT}truediv_2_recip", 1 / 127)
    convolution(graph, "conv2d", (3, 1, 2, channels), 1, draw)
    for i, dilation in enumerate((1, 2)):
        number = f"_{i}" if i else ""
        name = f"dilated_conv/conv2d_{i + 1}"
        result = convolution(graph, name, (3, 1, channels, channels), dilation, draw)
        scale, shift = (
            graph.constant(f"Func/{ROOT}{part}{number}", draw((1, 1, 1, channels)))
            for part in ("scale", "shift")
        )
        product = graph.node("Mul", f"{ROOT}{STACK}normalize{number}/mul", result, scale)
        add = f"{ROOT}{STACK}ArithmeticOptimizer/AddOpsRewrite_"
        leaf = graph.node("AddN", f"{add}Leaf_1_add{number}", result, product)
        graph.node("Add", f"{add}add{number}", *((shift, leaf) if i else (leaf, shift)))
    dense = f"{ROOT}dilated_conv_decoder/dense/"
    weight, bias = (
        graph.constant(f"Func/{ROOT}dense{i}", draw(s)) for i, s in enumerate([(channels, 9), (9,)])
    )
    product = graph.node("MatMul", f"{dense}Tensordot/MatMul", f"{dense}Reshape", weight)
    graph.node("BiasAdd", f"{dense}BiasAdd", product, bias)
    return graph
