"""The files of a model folder, and frozen dataclasses as JSON, which all configs are saved as."""

import dataclasses
import reprlib
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ddspx import io

Config = TypeVar("Config")

WEIGHTS, CONFIG = "weights.safetensors", "config.json"
STATISTICS, PROVENANCE = "statistics.json", "provenance.json"


def to_json(config: Any) -> dict[str, Any]:
    """The fields of a dataclass as a dict that `json.dumps` takes, configs within as dicts."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_json(cls: type[Config], fields: Any) -> Config:
    """Inverse of `to_json`: lists are tuples again, and dicts the configs they were made of.

    Args:
      cls: the dataclass; a field that holds another is annotated with it, or with it and None.
      fields: by name. What is left out has its default.

    Raises:
      ValueError: a field is missing or unknown, or no number where it must be one, in this config
        or in one that it holds.
    """
    if not isinstance(fields, Mapping):
        raise ValueError(f"{cls.__name__} is saved as a JSON object, got {fields!r}.")
    known = dataclasses.fields(cls)  # pyright: ignore[reportArgumentType]
    names = {field.name for field in known}
    required = {
        field.name
        for field in known
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    complaints = []
    if missing := sorted(required - set(fields)):
        complaints.append(f"is missing {', '.join(f'`{name}`' for name in missing)}")
    if unknown := sorted(set(fields) - names):
        complaints.append(f"has the unknown {', '.join(f'`{name}`' for name in unknown)}")
    if complaints:
        raise ValueError(
            f"A saved {cls.__name__} {' and '.join(complaints)}; it was written by another "
            "version of ddspx or edited by hand. Save the model again with this version."
        )
    hints = typing.get_type_hints(cls)
    return cls(**{name: _restored(name, hints[name], value) for name, value in fields.items()})


def read_json(path: Path, build: Callable[[Any], Config]) -> Config:
    """`build` of what a JSON file of a model folder holds.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not JSON, or `build` refuses what it holds.
    """
    require_file(path)
    try:
        return build(io.read_json(path))
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} is not usable: {error}") from error


def json_object(value: Any) -> dict[str, Any]:
    """What JSON says, if it is an object; a ValueError else."""
    if not isinstance(value, dict):
        raise ValueError(f"it must hold a JSON object, got {reprlib.repr(value)}.")
    return value


def require_file(path: Path) -> None:
    """Refuses a model folder that lacks a file."""
    if not path.is_file():
        raise FileNotFoundError(
            f"The model folder {path.parent} lacks {path.name}; copy the whole folder again."
        )


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_json(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _restored(name: str, hint: Any, saved: Any) -> Any:
    """The value of a field, as its annotation wants it."""
    hints = typing.get_args(hint) or (hint,)
    if saved is None and type(None) in hints:
        return None
    nested = [h for h in hints if isinstance(h, type) and dataclasses.is_dataclass(h)]
    if nested:
        return from_json(nested[0], saved)
    value: Any = tuple(saved) if isinstance(saved, list) else saved
    is_list = typing.get_origin(hint) is tuple
    if is_list and not isinstance(value, tuple):
        raise ValueError(f"`{name}` must be a list, got {reprlib.repr(value)}.")
    if float in hints and not all(map(_is_finite, value if is_list else (value,))):
        what = "a list of finite numbers" if is_list else "a finite number"
        raise ValueError(f"`{name}` must be {what}, got {reprlib.repr(saved)}.")
    return value


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Also of an integer, which has no end in JSON.
    return is_number and abs(value) <= sys.float_info.max
