"""The requests that the page makes. gradio's server would answer many others as well."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddspx.io._json import COUNT_OR_0, FINITE, FLAG, OBJECT, TEXT

_API = "/gradio_api"
# The page, its assets, its stream of events, and files; `RequestFilter` checks the names of files.
_READ = re.compile(
    rf"/|/(config|theme\.css|favicon\.ico)|/(static|assets)/.{{1,200}}"
    rf"|{_API}/(startup-events|theme\.css|queue/data|heartbeat/\w{{1,64}})"
    rf"|({_API})?/file[=/].+",
    re.DOTALL,
)
JOIN, UPLOAD, CANCEL, RESET = (
    f"{_API}/{name}" for name in ("queue/join", "upload", "cancel", "reset")
)
_WRITTEN = (JOIN, UPLOAD, CANCEL, RESET)
# The fields of JSON bodies.
_FIELDS = {
    JOIN: {"data", "event_data", "fn_index", "trigger_id", "session_hash"},
    CANCEL: {"event_id", "session_hash", "fn_index"},
    RESET: {"event_id"},
}
# The fields of a file, as gradio describes it.
_FILE = {
    **dict.fromkeys(("path", "url", "orig_name", "mime_type"), TEXT),
    "size": COUNT_OR_0,
    "meta": OBJECT,
    "is_stream": FLAG,
}
# The largest number of a control, and the longest text.
_LARGEST_NUMBER = 1e9
_LONGEST_TEXT = 4096


Events = Mapping[int, Sequence[bool]]
"""The page's events by their numbers: for each value that an event sends, whether it is a file."""


def status_of(method: str, path: str) -> int:
    """Returns 200 for a request that the page can make, otherwise the HTTP status 404 or 405."""
    is_read, is_written = bool(_READ.fullmatch(path)), path in _WRITTEN
    if not (is_read or is_written):
        return 404
    return 200 if method in (("GET", "HEAD") if is_read else ("POST",)) else 405


def is_of_the_page(path: str, body: Any, events: Events) -> bool:
    """Tells whether the page can send a parsed JSON body to a path."""
    if not OBJECT.allows(body) or body.keys() - _FIELDS[path]:
        return False
    texts = [body.get(name) for name in _FIELDS[path] & {"session_hash", "event_id"}]
    if not all(TEXT.allows(text) and _is_plain(text) for text in texts):
        return False
    if path == RESET:
        return True
    number = body.get("fn_index")
    if not COUNT_OR_0.allows(number) or number not in events:
        return False
    return path == CANCEL or _holds(body, events[number])


def _holds(body: Mapping[str, Any], takes_file: Sequence[bool]) -> bool:
    """Tells whether a body has the values of an event, each of the right kind."""
    values, trigger = body.get("data"), body.get("trigger_id")
    if not isinstance(values, list) or len(values) != len(takes_file):
        return False
    fits = (
        _is_file(value) if is_file else _is_plain(value)
        for value, is_file in zip(values, takes_file, strict=True)
    )
    is_clicked = trigger is None or COUNT_OR_0.allows(trigger)
    return is_clicked and body.get("event_data") is None and all(fits)


def _is_file(value: Any) -> bool:
    """Tells whether a value is None or an existing file.

    `RequestFilter` checks whether the file is in the folder.
    """
    if value is None:
        return True
    if not OBJECT.allows(value) or value.get("meta") != {"_type": "gradio.FileData"}:
        return False
    if not all(
        name in _FILE and (item is None or _FILE[name].allows(item)) for name, item in value.items()
    ):
        return False
    try:
        return Path(value["path"]).is_file()
    except (KeyError, TypeError, ValueError, OSError):
        return False


def _is_plain(value: Any) -> bool:
    """Tells whether a value is one that a control can have."""
    if TEXT.allows(value):
        return len(value) <= _LONGEST_TEXT
    if FINITE.allows(value):
        return abs(value) <= _LARGEST_NUMBER
    return value is None or FLAG.allows(value)
