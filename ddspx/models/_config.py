"""The files of a model folder, and the conversion of configs (frozen dataclasses) to JSON."""

import dataclasses
import json
import reprlib
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ddspx import io
from ddspx._checks import python_number
from ddspx.io._files import sha256_of_file
from ddspx.io._json import FINITE, FLAG, INT, TEXT, Kind, json_field, json_object

Config = TypeVar("Config")

WEIGHTS, CONFIG = "weights.safetensors", "config.json"
STATISTICS, PROVENANCE = "statistics.json", "provenance.json"
TIMBRES = "timbres.json"
DIGESTS = "sha256.json"
# What a model plays is bound to these files as they were saved. The others of its folder, such as
# its provenance and a README, describe it, and may be edited.
_BOUND = (WEIGHTS, CONFIG, STATISTICS, TIMBRES)
_COPY_AGAIN = f"copy the whole folder again; if you changed the file yourself, delete {DIGESTS}"
# The fields of a provenance that say on whose recordings a model was trained.
HISTORY = ("data", "instruments", "started_from")
# The JSON field that holds the class of a config, where the annotation allows several classes.
_KIND = "kind"
# The kinds of values of a field by its annotation, and the words for several of them.
_SCALARS: dict[type, tuple[Kind, str]] = {
    bool: (FLAG, "true or false"),
    int: (INT, "ints"),
    float: (FINITE, "finite numbers"),
    str: (TEXT, "texts"),
}


def to_json(config: Any) -> dict[str, Any]:
    """The fields of a dataclass as a dict that `json.dumps` takes; nested configs become dicts.

    If the annotation of a field allows several classes of configs, the dict of that config names
    its class: ``{"kind": name of the class, ...}``.

    Raises:
      ValueError: a config that is saved with its class has a field named `kind`.
    """
    hints = typing.get_type_hints(type(config))
    return {
        field.name: _plain(getattr(config, field.name), hints[field.name])
        for field in dataclasses.fields(config)
    }


def from_json(cls: type[Config], fields: Any, parts: Sequence[type] = ()) -> Config:
    """Inverse of `to_json`: converts lists to tuples, and dicts to the configs they were made from.

    Args:
      cls: the dataclass. A field that holds another dataclass is annotated with that class, or with
        that class and None. A field that allows several classes is annotated with their union; the
        union includes a Protocol if classes outside of ddspx are allowed too. If `cls` has a static
        method `upgraded_fields`, it converts the fields that an earlier version saved.
      fields: the saved fields by name. A missing field takes its default.
      parts: classes outside of ddspx, for the fields with a Protocol in their annotation.

    Raises:
      TypeError: a class of `parts` is not a dataclass.
      ValueError: in this config or a nested one, a field is missing or unknown, a value that must
        be a number is not, or a `kind` is unknown; or two classes of `parts` have the same name.
    """
    if not isinstance(fields, Mapping):
        raise ValueError(f"{cls.__name__} is saved as a JSON object, got {fields!r}.")
    if upgrade := getattr(cls, "upgraded_fields", None):
        fields = upgrade(fields)
    known = dataclasses.fields(cls)  # pyright: ignore[reportArgumentType]
    names = {field.name for field in known}
    required = {
        field.name
        for field in known
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    errors = []
    if missing := sorted(required - set(fields)):
        errors.append(f"is missing {', '.join(f'`{name}`' for name in missing)}")
    if unknown := sorted(set(fields) - names):
        errors.append(f"has the unknown {', '.join(f'`{name}`' for name in unknown)}")
    if errors:
        raise ValueError(
            f"A saved {cls.__name__} {' and '.join(errors)}; it was written by another "
            "version of ddspx or edited by hand. Save the model again with this version."
        )
    hints = typing.get_type_hints(cls)
    values = {name: _restored(name, hints[name], value, parts) for name, value in fields.items()}
    return cls(**values)


def read_json(path: Path, build: Callable[[Any], Config]) -> Config:
    """Reads a JSON file of a model folder and returns `build(content)`.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is not JSON, `build` raises an error for its content, or it has changed
        since it was saved.
    """
    require_file(path)
    try:
        content = build(io.read_json(path))
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} is not usable: {error}") from error
    check_digest(path)
    return content


def require_file(path: Path) -> None:
    """Raises a FileNotFoundError if a file of a model folder is missing."""
    if not path.is_file():
        raise FileNotFoundError(
            f"The model folder {path.parent} lacks {path.name}; copy the whole folder again."
        )


def write_digests(folder: Path) -> None:
    """Writes the SHA-256 of the files in a model folder that `check_digest` checks."""
    digests = {name: sha256_of_file(folder / name) for name in _BOUND if (folder / name).is_file()}
    text = json.dumps(digests, indent=2, sort_keys=True)
    (folder / DIGESTS).write_text(text + "\n", encoding="utf-8")


def check_digests(folder: Path) -> tuple[str, ...]:
    """The files of a model folder that `DIGESTS` binds, all of which are as they were saved.

    Raises:
      FileNotFoundError: one of them is missing.
      ValueError: one of them has changed, or `DIGESTS` is not usable.
    """
    present = tuple(name for name in _BOUND if (folder / name).is_file())
    # Whatever is there, the weights and the config belong to a model.
    for name in dict.fromkeys((*present, *_written_digests(folder), WEIGHTS, CONFIG)):
        require_file(folder / name)
        check_digest(folder / name)
    return present


def check_digest(path: Path) -> None:
    """Raises a ValueError if a file of a model folder has changed since it was saved.

    A folder without `DIGESTS`, that of a model made by hand for example, has nothing to compare to.
    """
    written = path.with_name(DIGESTS)
    if path.name not in _BOUND or not written.is_file():
        return
    digests = _written_digests(path.parent)
    if path.name not in digests:
        raise ValueError(f"{written} is not usable: it does not name {path.name}; {_COPY_AGAIN}.")
    for name in digests:
        require_file(path.with_name(name))
    if sha256_of_file(path) != digests[path.name]:
        raise ValueError(
            f"{path} is not as it was saved: its SHA-256 differs from that in {DIGESTS}; "
            f"{_COPY_AGAIN}."
        )


def _written_digests(folder: Path) -> dict[str, str]:
    path = folder / DIGESTS
    try:
        digests = json_object(io.read_json(path))
        if unknown := sorted(set(digests) - set(_BOUND)):
            raise ValueError(
                f"it names {reprlib.repr(unknown[0])}, which is not {', '.join(_BOUND)}"
            )
        return {name: json_field(digests, name, TEXT) for name in digests}
    except ValueError as error:
        raise ValueError(f"{path} is not usable: {error}; {_COPY_AGAIN}.") from error


def _plain(value: Any, hint: Any) -> Any:
    if not dataclasses.is_dataclass(value):
        is_tuple = isinstance(value, tuple)
        return [_plain(item, None) for item in value] if is_tuple else python_number(value)
    fields, name = to_json(value), type(value).__name__
    if not _is_tagged(hint):
        return fields
    if _KIND in fields:
        raise ValueError(
            f"{name} cannot be saved: the name `{_KIND}` of one of its fields is reserved for the "
            "class of the config; rename the field."
        )
    return {_KIND: name, **fields}


def _restored(name: str, hint: Any, saved: Any, parts: Sequence[type]) -> Any:
    """Converts the saved value of a field to the type of its annotation."""
    hints = typing.get_args(hint) or (hint,)
    if saved is None and type(None) in hints:
        return None
    if _is_tagged(hint):
        return _restored_kind(name, hint, saved, parts)
    if nested := _dataclasses_of(hint):
        try:
            return from_json(nested[0], saved, parts)
        except ValueError as error:
            raise ValueError(f"`{name}`: {error}") from error
    value: Any = _tuples(saved)
    is_list = typing.get_origin(hint) is tuple
    if is_list and not isinstance(value, tuple):
        raise ValueError(f"`{name}` must be a list, got {reprlib.repr(value)}.")
    kinds = [_SCALARS[each] for each in hints if each in _SCALARS]
    # A part that others have made may have lists within lists.
    items = (value if float in hints else _flat(value)) if is_list else (value,)
    for one in items if kinds else ():
        if not any(kind.allows(one) for kind, _ in kinds):
            several = "a list of " + " or ".join(words for _, words in kinds)
            expected = several if is_list else " or ".join(kind.words for kind, _ in kinds)
            raise ValueError(f"`{name}` must be {expected}, got {reprlib.repr(saved)}.")
    return value


def _tuples(saved: Any) -> Any:
    """Lists of JSON as tuples, lists within them included."""
    return tuple(map(_tuples, saved)) if isinstance(saved, list) else saved


def _flat(values: tuple[Any, ...]) -> Iterator[Any]:
    """What is in a tuple, and in the tuples in it."""
    for value in values:
        yield from _flat(value) if isinstance(value, tuple) else (value,)


def _restored_kind(name: str, hint: Any, saved: Any, parts: Sequence[type]) -> Any:
    """Converts the saved value of a field whose annotation allows several classes of configs."""
    own, is_open = _dataclasses_of(hint), _has_protocol(hint)
    classes = {cls.__name__: cls for cls in own}
    for part in parts if is_open else ():
        if not (isinstance(part, type) and dataclasses.is_dataclass(part)):
            raise TypeError(f"`parts` must be dataclasses, the classes of configs, got {part!r}.")
        if classes.setdefault(part.__name__, part) is not part:
            raise ValueError(
                f"`parts` must not hold two classes named {part.__name__!r}, nor one that ddspx "
                f"has for `{name}`; rename the class, and save the model again."
            )
    if not isinstance(saved, Mapping) or not isinstance(saved.get(_KIND), str):
        raise ValueError(
            f"`{name}` is saved as a JSON object with its `{_KIND}`, one of {', '.join(classes)}, "
            f"got {reprlib.repr(saved)}."
        )
    kind = saved[_KIND]
    if kind not in classes:
        raise ValueError(
            f"`{name}` has the `{_KIND}` {reprlib.repr(kind)}, which is not one of "
            f"{', '.join(classes)}; "
            + (
                f"load the folder with `instruments.load_instrument(folder, parts=[{kind}])`, "
                "which gives the class of that name; a command cannot play it."
                if is_open
                else "another version of ddspx wrote it."
            )
        )
    try:
        return from_json(classes[kind], {k: v for k, v in saved.items() if k != _KIND}, parts)
    except ValueError as error:
        raise ValueError(f"`{name}`: {error}") from error


def _is_tagged(hint: Any) -> bool:
    """Whether a config is saved with its class, because the annotation allows several classes."""
    return len(_dataclasses_of(hint)) > 1 or _has_protocol(hint)


def _dataclasses_of(hint: Any) -> list[type]:
    hints = typing.get_args(hint) or (hint,)
    return [h for h in hints if isinstance(h, type) and dataclasses.is_dataclass(h)]


def _has_protocol(hint: Any) -> bool:
    return any(getattr(h, "_is_protocol", False) for h in typing.get_args(hint) or (hint,))
