"""Reading and checking JSON that may come from other people."""

import json
import math
import reprlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# Ten times the depth of any file that ddspx writes.
_DEEPEST = 64
# Largest count in a file: an hour of samples at the highest rate, more than any other count needs.
_LARGEST_COUNT = 2**32


class Kind(NamedTuple):
    """A kind of value that a field may hold: a description, and a function that checks a value."""

    words: str
    allows: Callable[[Any], bool]


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    # Not by math.isfinite, which raises an error for ints that exceed the range of floats.
    return (_is_int(value) or isinstance(value, float)) and abs(value) <= sys.float_info.max


def number_below(limit: float) -> Kind:
    """The kind of finite numbers from 0 to below a limit."""
    words = "a number from 0" + ("" if limit == math.inf else f" to below {limit:g}")
    return Kind(words, lambda value: _is_finite(value) and 0 <= value < limit)


def list_of(kind: Kind) -> Kind:
    """The kind of lists whose values are all of the given kind."""
    words = f"a list, each value of which is {kind.words}"
    return Kind(words, lambda value: isinstance(value, list) and all(map(kind.allows, value)))


FLAG = Kind("true or false", lambda value: isinstance(value, bool))
FINITE = Kind("a finite number", _is_finite)
INT = Kind("an int", _is_int)
TEXT = Kind("text", lambda value: isinstance(value, str))
OBJECT = Kind("an object", lambda value: isinstance(value, dict))
LIST = Kind("a list", lambda value: isinstance(value, list))
COUNT = Kind("an int above 0", lambda value: _is_int(value) and 1 <= value <= _LARGEST_COUNT)
COUNT_OR_0 = Kind("an int from 0", lambda value: _is_int(value) and 0 <= value <= _LARGEST_COUNT)
DURATION = number_below(math.inf)


def json_object(value: Any, owner: str = "it") -> dict[str, Any]:
    """Returns a parsed JSON value if it is an object, else raises a ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"{owner} must hold a JSON object, got {reprlib.repr(value)}.")
    return value


def json_facts(value: Any) -> dict[str, Any]:
    """Returns a parsed JSON object in which all numbers are finite, so that it can be saved again.

    Raises:
      ValueError: `value` is no object, or a number in it is not finite; the message says where.
    """
    places: list[tuple[str, Any]] = [("", json_object(value))]
    while places:
        place, outer = places.pop()
        for key, inner in outer.items() if isinstance(outer, dict) else enumerate(outer):
            name = f"{place}.{key}" if place else f"{key}"
            if isinstance(inner, float) and not math.isfinite(inner):
                raise ValueError(f"`{name}` must be a finite number, got {inner}.")
            if isinstance(inner, dict | list):
                places.append((name, inner))
    return value


def json_field(fields: Any, name: str, kind: Kind, *, owner: str = "it", default: Any = ...) -> Any:
    """Returns a checked field of a JSON object.

    Args:
      fields: the parsed JSON, which should be an object.
      name: name of the field.
      kind: kind of its value.
      owner: name of the object, for error messages.
      default: value of a missing field; without a default the field is required.

    Raises:
      ValueError: `fields` is not an object, the field is missing, or its value is of another kind.
    """
    value = json_object(fields, owner).get(name, default)
    if value is ...:
        raise ValueError(f"`{name}` of {owner} is missing.")
    if value is not default and not kind.allows(value):
        raise ValueError(f"`{name}` of {owner} must be {kind.words}, got {reprlib.repr(value)}.")
    return value


def parse_json(text: str | bytes) -> Any:
    """Parses JSON, and refuses JSON that is nested too deep.

    Args:
      text: the JSON; bytes must be UTF-8.

    Raises:
      ValueError: `text` is not JSON, or it is nested so deep that recursive code could fail on it.

    Example:
      >>> from ddspx import io
      >>> io.parse_json('{"steps": [1, 2]}')
      {'steps': [1, 2]}
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise _too_deep() from None
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
    if level:
        raise _too_deep()
    return value


def _inside(value: Any) -> list[Any]:
    """The objects and lists directly inside an object or a list; none inside anything else."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return []
    return [inner for inner in value if isinstance(inner, (dict, list))]


def read_json(path: str | Path) -> Any:
    """Reads a JSON file, by :func:`parse_json`.

    Raises:
      OSError: there is no such file.
      ValueError: as `parse_json`.
    """
    return parse_json(Path(path).read_bytes())


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {_DEEPEST} deep")
