"""Conversion of front-end configs that earlier versions of ddspx saved."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ddspx._checks import one_of
from ddspx.nn.frontend._compressions import (
    DecibelCompression,
    LeafPcenCompression,
    Log1pCompression,
    LogCompression,
    NoCompression,
    PcenCompression,
)
from ddspx.nn.frontend._filters import (
    FreeFilters,
    GaborFilters,
    GammatoneFilters,
    KapreFilters,
    LeafFilters,
    SincFilters,
    SincNetFilters,
    SpectNetFilters,
    TriangularFilters,
)
from ddspx.nn.frontend._paths import (
    FftPath,
    LeafFftPath,
    RecurrentPath,
    SpectNetFftPath,
    StftPath,
)

# The earlier defaults, for fields that a saved config leaves out.
_DEFAULTS: dict[str, Any] = {
    "family": "gammatone",
    "parametrization": "ordered",
    "path": "stft",
    "fill_gaps": False,
    "order": 4,
    "n_taps": 401,
    "trainable": ("centers", "bandwidths"),
    "floor": 1e-10,
    "compression": "log",
}
# For each family and parametrization: the class of the filters, and the class of each path.
_FILTERS: dict[tuple[str, str], tuple[type, dict[str, type]]] = {
    ("triangular", "ordered"): (TriangularFilters, {"stft": StftPath}),
    ("gammatone", "ordered"): (
        GammatoneFilters,
        {"stft": StftPath, "fft": FftPath, "recurrent": RecurrentPath},
    ),
    ("gabor", "ordered"): (GaborFilters, {"stft": StftPath, "fft": FftPath}),
    ("sinc", "ordered"): (SincFilters, {"stft": StftPath, "fft": FftPath}),
    ("free", "ordered"): (FreeFilters, {"stft": StftPath}),
    ("gammatone", "published"): (SpectNetFilters, {"stft": StftPath, "fft": SpectNetFftPath}),
    ("gabor", "published"): (LeafFilters, {"stft": StftPath, "fft": LeafFftPath}),
    ("sinc", "published"): (SincNetFilters, {"stft": StftPath, "fft": FftPath}),
    ("free", "published"): (KapreFilters, {"stft": StftPath}),
}
_COMPRESSIONS: dict[str, type] = {
    "none": NoCompression,
    "log": LogCompression,
    "log1p": Log1pCompression,
    "db": DecibelCompression,
    "pcen": PcenCompression,
}


def upgraded_fields(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """Converts the fields of an earlier config to those of today.

    Earlier configs named the parts of a front-end by strings (``family``, ``parametrization``,
    ``path`` and ``compression``), beside the sizes of all families and the names of all trainable
    parts. Configs of today, and other fields, are not changed.

    Raises:
      ValueError: a string is unknown, or this combination of strings never existed.
    """
    old_names = {name for name in _DEFAULTS if name != "compression"}
    is_flat = isinstance(saved.get("compression"), str) or not old_names.isdisjoint(saved)
    if not is_flat or "filters" in saved:
        return saved
    old = _DEFAULTS | dict(saved)
    one_of("family", old["family"], list(dict.fromkeys(family for family, _ in _FILTERS)))
    one_of("parametrization", old["parametrization"], ("ordered", "published"))
    one_of("compression", old["compression"], list(_COMPRESSIONS))
    kind = old["family"], old["parametrization"]
    if kind not in _FILTERS:
        raise ValueError(
            f"`parametrization` must be 'ordered' for the family {kind[0]!r}, got {kind[1]!r}."
        )
    filters, paths = _FILTERS[kind]
    one_of("path", old["path"], list(paths))
    trainable = old["trainable"]
    if not isinstance(trainable, list | tuple):
        raise ValueError(f"`trainable` must be a list, got {trainable!r}.")
    compression = _COMPRESSIONS[old["compression"]]
    if filters is LeafFilters and compression is PcenCompression:
        compression = LeafPcenCompression
    path = _saved_as(paths[old["path"]], {}, "pooling" in trainable)
    learning = [part for part in trainable if part not in ("pooling", "compression")]
    if issubclass(filters, FreeFilters) and all(part == "weights" for part in learning):
        learning = bool(learning)
    return {name: value for name, value in saved.items() if name not in _DEFAULTS} | {
        "filters": _saved_as(filters, old | {"path": path}, learning),
        "compression": _saved_as(compression, old, "compression" in trainable),
    }


def _saved_as(cls: type, old: Mapping[str, Any], trainable: Any) -> dict[str, Any]:
    """A part as it is saved today. Its class raises an error if it cannot train `trainable`."""
    names = [field.name for field in dataclasses.fields(cls)]
    fields = {"kind": cls.__name__} | {name: old[name] for name in names if name in old}
    return fields | ({"trainable": trainable} if "trainable" in names or trainable else {})
