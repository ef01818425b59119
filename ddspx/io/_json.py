"""JSON that somebody else may have written."""

import json
from pathlib import Path
from typing import Any

# Ten times what anything of ours has.
_DEEPEST = 64


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
