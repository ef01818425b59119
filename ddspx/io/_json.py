"""JSON that somebody else may have written."""

import json
import math
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

# Ten times what anything of ours has.
_DEEPEST = 64
# An hour at the highest rate, and more than anything else is counted to.
_LARGEST_COUNT = 2**32


class Kind(NamedTuple):
    """What a field may hold, in words, and whether a value is such."""

    words: str
    allows: Callable[[Any], bool]


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def number_below(limit: float) -> Kind:
    """Numbers from 0 to below a limit."""
    words = "a number from 0" + ("" if limit == math.inf else f" to below {limit:g}")
    return Kind(
        words, lambda value: (_is_int(value) or isinstance(value, float)) and 0 <= value < limit
    )


def list_of(kind: Kind) -> Kind:
    """Lists, each value of which is of a kind."""
    words = f"a list, each value of which is {kind.words}"
    return Kind(words, lambda value: isinstance(value, list) and all(map(kind.allows, value)))


TEXT = Kind("text", lambda value: isinstance(value, str))
OBJECT = Kind("an object", lambda value: isinstance(value, dict))
LIST = Kind("a list", lambda value: isinstance(value, list))
COUNT = Kind("an int above 0", lambda value: _is_int(value) and 1 <= value <= _LARGEST_COUNT)
COUNT_OR_0 = Kind("an int from 0", lambda value: _is_int(value) and 0 <= value <= _LARGEST_COUNT)
DURATION = number_below(math.inf)


def json_object(value: Any, owner: str = "it") -> dict[str, Any]:
    """What JSON says, if it is an object; a ValueError else."""
    if not isinstance(value, dict):
        raise ValueError(f"{owner} must hold a JSON object, got {reprlib.repr(value)}.")
    return value


def json_field(fields: Any, name: str, kind: Kind, *, owner: str = "it", default: Any = ...) -> Any:
    """A field of a JSON object.

    Args:
      fields: the object, which may be none.
      name: of the field.
      kind: what it may hold.
      owner: what the object is, for the error.
      default: what it is where it is missing; where there is no default it must be there.

    Raises:
      ValueError: `fields` is no object, the field is missing, or it holds something else.
    """
    value = json_object(fields, owner).get(name, default)
    if value is ...:
        raise ValueError(f"`{name}` of {owner} is missing.")
    if value is not default and not kind.allows(value):
        raise ValueError(f"`{name}` of {owner} must be {kind.words}, got {reprlib.repr(value)}.")
    return value


def parse_json(text: str | bytes) -> Any:
    """What JSON says, after a look at how deep it is nested.

    Args:
      text: the JSON, in UTF-8 where it is bytes.

    Raises:
      ValueError: it is no JSON, or nested too deep to be looked through safely.

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
    """The objects and lists in one."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return []
    return [inner for inner in value if isinstance(inner, (dict, list))]


def read_json(path: str | Path) -> Any:
    """What a JSON file says; :func:`parse_json` of it.

    Raises:
      OSError: there is no such file.
      ValueError: as `parse_json`.
    """
    return parse_json(Path(path).read_bytes())


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {_DEEPEST} deep")
