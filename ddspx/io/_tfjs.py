"""Graph models of TensorFlow.js: the weights and the graph, as data that nothing executes.

A model is a file of JSON, which holds the graph and a list of the weights, and binary files with
their bytes, one weight after the other.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ddspx.io._json import (
    COUNT_OR_0,
    FINITE,
    OBJECT,
    TEXT,
    json_field,
    json_object,
    list_of,
    parse_json,
)

_DTYPES = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4"), "bool": np.dtype(np.bool_)}
_QUANTIZED = {"uint8": np.dtype(np.uint8), "uint16": np.dtype("<u2"), "float16": np.dtype("<f2")}
_MOST_WEIGHTS, _MOST_NODES, _MOST_AXES = 10_000, 100_000, 8
_LARGEST_SHARD, _LARGEST_MODEL = 2**26, 2**28


class TfjsNode(NamedTuple):
    """An operation of a graph.

    Attributes:
      op: its name in TensorFlow, such as "Conv2D".
      inputs: names of the nodes whose results it takes, without the number of the result.
    """

    op: str
    inputs: tuple[str, ...]


class TfjsModel(NamedTuple):
    """The content of a graph model.

    Attributes:
      nodes: the operations by name.
      weights: the constants of the graph by name.
    """

    nodes: Mapping[str, TfjsNode]
    weights: Mapping[str, np.ndarray]


def read_tfjs(text: bytes, read: Callable[[str, int], bytes]) -> TfjsModel:
    """Reads a graph model.

    Args:
      text: the content of model.json.
      read: returns the bytes of a file of weights, from its name and the largest allowed size.

    Returns:
      The graph and the weights; quantized weights are restored to float32.

    Raises:
      ValueError: `text` is not the description of a graph model, or the weights do not have the
        sizes that it says.
    """
    fields = json_object(parse_json(text))
    topology = json_field(fields, "modelTopology", OBJECT)
    nodes = json_field(topology, "node", list_of(OBJECT), owner="modelTopology")
    groups = json_field(fields, "weightsManifest", list_of(OBJECT))
    if len(nodes) > _MOST_NODES:
        raise ValueError(f"its graph has {len(nodes)} nodes, more than {_MOST_NODES}.")
    weights: dict[str, np.ndarray] = {}
    n_left = _LARGEST_MODEL
    for group in groups:
        data = b"".join(
            read(path, min(n_left, _LARGEST_SHARD))
            for path in json_field(group, "paths", list_of(TEXT), owner="weightsManifest")
        )
        n_left -= len(data)
        entries = json_field(group, "weights", list_of(OBJECT), owner="weightsManifest")
        if len(entries) > _MOST_WEIGHTS:
            raise ValueError(f"it has {len(entries)} weights, more than {_MOST_WEIGHTS}.")
        weights |= _weights(entries, data)
    return TfjsModel(dict(map(_node, nodes)), weights)


def _node(fields: dict[str, Any]) -> tuple[str, TfjsNode]:
    name, op = (json_field(fields, key, TEXT, owner="a node") for key in ("name", "op"))
    inputs = json_field(fields, "input", list_of(TEXT), owner=f"the node {name!r}", default=[])
    # A number after a colon says which result; a caret marks an order without data.
    data = (source.partition(":")[0] for source in inputs if not source.startswith("^"))
    return name, TfjsNode(op, tuple(data))


def _weights(entries: list[dict[str, Any]], data: bytes) -> dict[str, np.ndarray]:
    """The arrays that lie one after the other in `data`."""
    arrays, start = {}, 0
    for entry in entries:
        name = json_field(entry, "name", TEXT, owner="a weight")
        owner = f"the weight {name!r}"
        shape = json_field(entry, "shape", list_of(COUNT_OR_0), owner=owner)
        if len(shape) > _MOST_AXES:
            raise ValueError(f"`shape` of {owner} has more than {_MOST_AXES} axes.")
        stored, restore = _stored(entry, owner)
        stop = start + math.prod(shape) * stored.itemsize
        if stop > len(data):
            raise ValueError(f"the files of weights end within {owner}.")
        arrays[name] = restore(np.frombuffer(data[start:stop], stored).reshape(shape))
        start = stop
    if start < len(data):
        raise ValueError(f"the files of weights hold {len(data) - start} bytes too many.")
    return arrays


def _stored(
    entry: dict[str, Any], owner: str
) -> tuple[np.dtype, Callable[[np.ndarray], np.ndarray]]:
    """The dtype of a weight in the file, and a function that makes the weight from it."""
    dtype = json_field(entry, "dtype", TEXT, owner=owner)
    if dtype not in _DTYPES:
        raise ValueError(f"`dtype` of {owner} must be {', '.join(_DTYPES)}, got {dtype[:99]!r}.")
    quantization = json_field(entry, "quantization", OBJECT, owner=owner, default=None)
    if quantization is None:
        return _DTYPES[dtype], lambda array: array
    stored = json_field(quantization, "dtype", TEXT, owner=owner)
    if stored not in _QUANTIZED or dtype == "bool":
        raise ValueError(
            f"`quantization` of {owner} must be to {', '.join(_QUANTIZED)}, got {stored[:99]!r}."
        )
    if stored == "float16":
        return _QUANTIZED[stored], lambda array: array.astype(_DTYPES[dtype])
    scale, lowest = (
        json_field(quantization, name, FINITE, owner=owner) for name in ("scale", "min")
    )

    def restored(array: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            return (array * float(scale) + float(lowest)).astype(_DTYPES[dtype])

    return _QUANTIZED[stored], restored
