"""Graph models of TensorFlow.js: the weights and the graph, as data that nothing executes.

A model is a file of JSON, which holds the graph and a list of the weights, and binary files with
their bytes, one weight after the other.
"""

import math
from collections.abc import Callable, Iterator, Mapping
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
_LARGEST_MODEL = 2**26
# Of one byte in a file, restoring makes eight for a moment, and four that stay.
_MOST_NUMBERS = 2**24


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
    paths, entries = (
        [json_field(group, key, list_of(kind), owner="weightsManifest") for group in groups]
        for key, kind in (("paths", TEXT), ("weights", OBJECT))
    )
    n_weights = sum(map(len, entries))
    if n_weights > _MOST_WEIGHTS:
        raise ValueError(f"it has {n_weights} weights, more than {_MOST_WEIGHTS}.")
    n_numbers = sum(math.prod(_shape(entry)) for group in entries for entry in group)
    if n_numbers > _MOST_NUMBERS:
        raise ValueError(f"its weights are {n_numbers:.3g} numbers, more than {_MOST_NUMBERS}.")
    weights: dict[str, np.ndarray] = {}
    for group, data in zip(entries, _shards(paths, read), strict=True):
        weights |= _weights(group, data)
    return TfjsModel(dict(map(_node, nodes)), weights)


def _shards(paths: list[list[str]], read: Callable[[str, int], bytes]) -> Iterator[bytes]:
    """The bytes of each group of files; all groups together have a largest size."""
    n_left, seen = _LARGEST_MODEL, set()
    for group in paths:
        data = bytearray()
        for path in group:
            if path in seen:
                raise ValueError(f"it names the file {path[:99]!r} of weights twice.")
            seen.add(path)
            shard = read(path, n_left)
            n_left -= len(shard)
            data += shard
        yield bytes(data)


def _node(fields: dict[str, Any]) -> tuple[str, TfjsNode]:
    name, op = (json_field(fields, key, TEXT, owner="a node") for key in ("name", "op"))
    inputs = json_field(fields, "input", list_of(TEXT), owner=f"the node {name[:99]!r}", default=[])
    # A number after a colon says which result; a caret marks an order without data.
    data = (source.partition(":")[0] for source in inputs if not source.startswith("^"))
    return name, TfjsNode(op, tuple(data))


def _weights(entries: list[dict[str, Any]], data: bytes) -> dict[str, np.ndarray]:
    """The arrays that lie one after the other in `data`."""
    arrays, start = {}, 0
    for entry in entries:
        name, shape, owner = entry["name"], _shape(entry), _owner(entry)
        stored, restore = _stored(entry, owner)
        count = math.prod(shape)
        stop = start + count * stored.itemsize
        if stop > len(data):
            raise ValueError(f"the files of weights end within {owner}.")
        arrays[name] = restore(np.frombuffer(data[start:stop], stored, count).reshape(shape))
        start = stop
    if start < len(data):
        raise ValueError(f"the files of weights hold {len(data) - start} bytes too many.")
    return arrays


def _owner(entry: dict[str, Any]) -> str:
    name = json_field(entry, "name", TEXT, owner="a weight")
    return f"the weight {name[:99]!r}"


def _shape(entry: dict[str, Any]) -> list[int]:
    """The shape of a weight, of which even the axes beside one of 0 are no longer than an array."""
    owner = _owner(entry)
    shape = json_field(entry, "shape", list_of(COUNT_OR_0), owner=owner)
    if len(shape) > _MOST_AXES or math.prod(max(1, n) for n in shape) > _MOST_NUMBERS:
        raise ValueError(
            f"`shape` of {owner} has more than {_MOST_AXES} axes or {_MOST_NUMBERS} numbers."
        )
    return shape


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
