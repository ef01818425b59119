"""Reading the values of a pickle without unpickling it: nothing is imported, nothing is called.

A pickle is a program for a machine with a stack. The machine here builds numbers, texts, bytes,
lists, tuples, dicts, sets, and NumPy's arrays of numbers. Every other object is refused by its
name, unless the caller has a function that makes it from its arguments, or allows its class to be
read as plain attributes.
"""

import io
import math
from collections.abc import Callable, Mapping
from pickletools import genops
from typing import Any, NamedTuple

import numpy as np

from ddspx._text import printable

# The limits are far above any file of weights or statistics. They keep a hostile file from filling
# the memory or the machine's time: by its instructions, by nesting, by lists that hold the same
# list many times, which makes a value exponentially larger than its file, or by calling a function
# many times with the same large value.
_MOST_OPCODES = 2**20
_MOST_BYTES = 2**27
_DEEPEST = 64
_LONGEST_NAME = 1000
_MOST_AXES, _LONGEST_AXIS = 32, 2**40
# What a value counts, without its content: about what Python needs for it.
_VALUE_BYTES = 64
# What NumPy calls a type of numbers, without the order of its bytes.
_NUMBERS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"}
# Modules that had other names in Python 2, or have other names in NumPy 2.
_RENAMED = {
    "__builtin__.": "builtins.",
    "copy_reg.": "copyreg.",
    "numpy._core.": "numpy.core.",
}
_PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray)
_KEYS = (str, bytes, bool, type(None))


class PickledClass(NamedTuple):
    """The name of a class that is not imported."""

    name: str


class PickledObject:
    """An object of a class that is not imported.

    Attributes:
      name: the class, with its module.
      arguments: what it was made from.
      state: its attributes by name, or whatever else the class saves; None if it saves nothing.
    """

    def __init__(self, name: str, arguments: tuple[Any, ...]):
        self.name = name
        self.arguments = arguments
        self.state: Any = None


def read_pickle(
    stream: io.BytesIO,
    what: str,
    *,
    functions: Mapping[str, Callable[..., Any]] | None = None,
    is_record: Callable[[str], bool] = lambda name: False,
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """The value of a pickle, of any protocol, made by Python 2 or 3.

    Texts of Python 2 are decoded as Latin-1. The result is a tree of limited depth and size: no
    value contains itself.

    Args:
      stream: the bytes; read up to the end of the pickle.
      what: the file, for messages.
      functions: for the dotted name of a function or class: what makes the value from its
        arguments. An error of `TypeError` or `ValueError` there means that the file is damaged.
      is_record: whether a class with this dotted name is read as a `PickledObject`.
      persistent: returns the value that a persistent id stands for.

    Returns:
      The value.

    Raises:
      ValueError: the file is damaged, or holds another object, or is too large or too deep.
    """
    machine = _Machine(what, dict(_FUNCTIONS) | dict(functions or {}), is_record, persistent)
    try:
        for count, (opcode, argument, _) in enumerate(genops(stream)):
            if count == _MOST_OPCODES:
                raise ValueError(f"more than {_MOST_OPCODES} instructions")
            machine.run(opcode.name, argument)
        (value,) = machine.stack
        _size(value)
    except _Refusal as refusal:
        raise ValueError(str(refusal)) from None
    except (ValueError, TypeError, LookupError, OverflowError, AttributeError) as error:
        raise ValueError(
            f"{what} is not a readable pickle ({printable(str(error)[:200])}); copy it again."
        ) from error
    return value


class _Refusal(Exception):
    """An object that is not read; the message is the whole sentence."""


class _Function(NamedTuple):
    """A function or class that the machine may call."""

    name: str
    call: Callable[..., Any]


class _Unfinished:
    """A value whose content follows in a BUILD instruction, which calls `finish` with it."""

    def __init__(self, finish: Callable[[Any], Any]):
        self.finish = finish
        self.places: list[int] = []


class _Machine:
    """The stack and the memo of a pickle."""

    def __init__(
        self,
        what: str,
        functions: Mapping[str, Callable[..., Any]],
        is_record: Callable[[str], bool],
        persistent: Callable[[Any], Any] | None,
    ):
        self.what = what
        self.functions = functions
        self.is_record = is_record
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.n_bytes = 0

    def run(self, name: str, argument: Any) -> None:
        """Executes one instruction."""
        if name in _PUSHES:
            self.push(argument)
        elif name in _CONSTANTS:
            self.push(_CONSTANTS[name]())
        elif name in _INSTRUCTIONS:
            _INSTRUCTIONS[name](self, argument)
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise ValueError(f"the instruction {name} is not of this kind of file")

    def push(self, value: Any) -> None:
        """Puts a value on the stack, as it is after the value was made."""
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        """The values since the last mark, which are removed."""
        values, self.stack = self.stack, self.marks.pop()
        return values

    def take(self, count: int) -> tuple[Any, ...]:
        """The last values, which are removed."""
        if len(self.stack) < count:
            raise ValueError("it lacks a value")
        values = tuple(self.stack[-count:])
        del self.stack[-count:]
        return values

    def put(self, place: int) -> None:
        """Keeps the last value for later."""
        # With large numbers as keys, somebody could make the memo slow.
        if not 0 <= place < _MOST_OPCODES:
            raise ValueError("a place that is too high")
        value = self.stack[-1]
        if isinstance(value, _Unfinished):
            value.places.append(place)
        self.memo[place] = value

    def extend(self, values: list[Any]) -> None:
        """Appends to a list, or adds to a set."""
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, set):
            target.update(map(_key, values))
        else:
            raise ValueError("values outside of a list")

    def set_items(self, values: list[Any]) -> None:
        """Adds keys and values to a dict."""
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise ValueError("keys outside of a dict")
        target.update(_pairs(values))

    def push_global(self, module: Any, name: Any) -> None:
        """Pushes what stands for a function or a class."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no text")
        if len(module) + len(name) > _LONGEST_NAME:
            raise ValueError(f"a name of more than {_LONGEST_NAME} characters")
        full = f"{module}.{name}"
        for old, new in _RENAMED.items():
            full = new + full.removeprefix(old) if full.startswith(old) else full
        if full in self.functions:
            self.push(_Function(full, self.functions[full]))
        elif self.is_record(full):
            self.push(PickledClass(full))
        else:
            raise _Refusal(
                f"{self.what} holds {full[:200]!r}, an object or a function that this "
                "kind of file does not have; nothing of it was executed. Give the file that the "
                "published program saved."
            )

    def call(self, function: Any, arguments: Any) -> None:
        """Pushes the value that a known function makes of its arguments."""
        if not isinstance(arguments, tuple):
            raise ValueError("arguments that are no tuple")
        if isinstance(function, PickledClass):
            self.push(PickledObject(function.name, arguments))
        elif isinstance(function, _Function):
            self.charge([one for one in arguments if not isinstance(one, _Function)])
            self.push(function.call(*arguments))
        else:
            raise ValueError("a call of what is no function")

    def charge(self, value: Any) -> None:
        """Checks a value before a function gets it, and counts its size.

        What a function does and returns is not larger than what it gets.
        """
        self.n_bytes += _size(value)
        if self.n_bytes > _MOST_BYTES:
            raise ValueError(f"calls with more than {_MOST_BYTES} bytes")

    def build(self) -> None:
        """Gives the state that was pushed last to the value below it."""
        target, state = self.take(2)
        if isinstance(target, PickledObject):
            target.state = state
        elif isinstance(target, dict):
            pass  # the attributes of an OrderedDict: what PyTorch adds to a state dict
        elif isinstance(target, _Unfinished):
            self.charge(state)
            places, target.places = target.places, []
            target = target.finish(state)
            self.memo.update(dict.fromkeys(places, target))
        else:
            raise ValueError("a state of what has none")
        self.push(target)

    def push_persistent(self, identifier: Any) -> None:
        """Pushes the value that lies outside of the pickle."""
        if self.persistent is None:
            raise ValueError("a value that lies outside of the file")
        self.charge(identifier)
        self.push(self.persistent(identifier))

    def mark(self) -> None:
        """Begins a new group of values."""
        if len(self.marks) == _DEEPEST:
            raise ValueError(f"nested more than {_DEEPEST} deep")
        self.marks.append(self.stack)
        self.stack = []


def _key(value: Any) -> Any:
    """A value that may be a key; with other numbers, somebody could make a dict slow."""
    if isinstance(value, _KEYS) or (isinstance(value, int) and abs(value) < 2**60):
        return value
    raise ValueError(f"a key of the type {type(value).__name__}")


def _pairs(values: list[Any]) -> dict[Any, Any]:
    if len(values) % 2:
        raise ValueError("a key without a value")
    return {_key(key): value for key, value in zip(values[::2], values[1::2], strict=True)}


def _call_marked(machine: _Machine) -> None:
    function, *arguments = machine.since_mark()
    machine.call(function, tuple(arguments))


def _inst(machine: _Machine, names: str) -> None:
    arguments = machine.since_mark()
    machine.push_global(*names.split(" ", 1))
    machine.call(machine.stack.pop(), tuple(arguments))


def _new(machine: _Machine, keywords: Any = ()) -> None:
    function, arguments = machine.take(2)
    if keywords:
        raise ValueError("arguments by name")
    machine.call(function, arguments)


# fmt: off
_PUSHES = frozenset("""
    INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING
    UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
""".split())
# fmt: on
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    "MARK": lambda m, _: m.mark(),
    "POP": lambda m, _: m.take(1) if m.stack else m.since_mark(),
    "POP_MARK": lambda m, _: m.since_mark(),
    "DUP": lambda m, _: m.push(m.stack[-1]),
    "LIST": lambda m, _: m.push(m.since_mark()),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m, _: m.push(m.take(1)),
    "TUPLE2": lambda m, _: m.push(m.take(2)),
    "TUPLE3": lambda m, _: m.push(m.take(3)),
    "DICT": lambda m, _: m.push(_pairs(m.since_mark())),
    "FROZENSET": lambda m, _: m.push(frozenset(map(_key, m.since_mark()))),
    "APPEND": lambda m, _: m.extend(list(m.take(1))),
    "APPENDS": lambda m, _: m.extend(m.since_mark()),
    "ADDITEMS": lambda m, _: m.extend(m.since_mark()),
    "SETITEM": lambda m, _: m.set_items(list(m.take(2))),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    "PUT": lambda m, place: m.put(place),
    "BINPUT": lambda m, place: m.put(place),
    "LONG_BINPUT": lambda m, place: m.put(place),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    "GET": lambda m, place: m.push(m.memo[place]),
    "BINGET": lambda m, place: m.push(m.memo[place]),
    "LONG_BINGET": lambda m, place: m.push(m.memo[place]),
    "GLOBAL": lambda m, names: m.push_global(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.push_global(*m.take(2)),
    "REDUCE": lambda m, _: m.call(*m.take(2)),
    "NEWOBJ": lambda m, _: _new(m),
    "NEWOBJ_EX": lambda m, _: _new(m, m.take(1)[0]),
    "OBJ": lambda m, _: _call_marked(m),
    "INST": _inst,
    "BUILD": lambda m, _: m.build(),
    "PERSID": lambda m, identifier: m.push_persistent(identifier),
    "BINPERSID": lambda m, _: m.push_persistent(*m.take(1)),
}


def _size(value: Any) -> int:
    """The bytes of a value, where a part counts as often as it appears; numbers of arrays are free.

    A value that is too deep or too large is refused. The walk keeps its own stack, and visits each
    part once: on leaving it, its depth and size are known. A part that is met again before that
    contains itself.
    """
    known: dict[int, tuple[int, int]] = {}
    stack = [(value, False)]
    while stack:
        part, is_leaving = stack.pop()
        inner = _inside(part)
        if is_leaving:
            shapes = [
                (0, _length(one)) if isinstance(one, _PLAIN) else known[id(one)] for one in inner
            ]
            depth = 1 + max((depth for depth, _ in shapes), default=0)
            size = _length(part) + _VALUE_BYTES * (1 + len(inner)) + sum(size for _, size in shapes)
            if depth > _DEEPEST or size > _MOST_BYTES:
                raise ValueError(f"deeper than {_DEEPEST}, or more than {_MOST_BYTES} bytes")
            known[id(part)] = depth, size
        elif id(part) not in known:
            known[id(part)] = _DEEPEST, 0
            stack.append((part, True))
            stack.extend((one, False) for one in inner if not isinstance(one, _PLAIN))
    return known[id(value)][1]


def _length(value: Any) -> int:
    """The bytes of a text, of bytes or of an integer."""
    if isinstance(value, int):
        return value.bit_length() // 8
    return len(value) if isinstance(value, str | bytes | bytearray) else 0


def _inside(value: Any) -> list[Any]:
    """The values directly inside a value."""
    if isinstance(value, _Unfinished | _Function):
        raise ValueError("a value without its content")
    if isinstance(value, PickledObject):
        return [value.arguments, value.state]
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    is_group = isinstance(value, list | tuple | set | frozenset)
    return list(value) if is_group and not isinstance(value, PickledClass) else []


def _encoded(text: Any, encoding: Any = "latin-1") -> bytes:
    """Bytes that a protocol without bytes saves as text."""
    if encoding not in ("latin1", "latin-1", "iso-8859-1"):
        raise ValueError("bytes in another encoding than Latin-1")
    return text if isinstance(text, bytes) else text.encode("latin-1")


def _bytes(text: Any = b"", *encoding: Any) -> bytes:
    return _encoded(text, *encoding)


def _is(value: Any, name: str) -> bool:
    return isinstance(value, _Function) and value.name == name


def _reconstructor(kind: Any, base: Any, state: Any) -> PickledObject:
    """An object of protocol 0 or 1, of a class that only adds attributes."""
    if not isinstance(kind, PickledClass) or not _is(base, "builtins.object") or state is not None:
        raise ValueError("an object that extends a value")
    return PickledObject(kind.name, ())


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    return {_key(key): value for key, value in pairs}


def _no_call(*_: Any) -> None:
    raise ValueError("a call of what is only named")


def _dtype(code: Any, *_: Any) -> _Unfinished:
    """A dtype of numbers; its state has the order of the bytes."""
    if not isinstance(code, str) or code not in _NUMBERS:
        name = repr(code[:99]) if isinstance(code, str) else type(code).__name__
        raise ValueError(f"an array of {name}, which is no type of numbers")

    def finish(state: Any) -> np.dtype:
        order = _text(state[1])
        if order not in ("<", ">", "=", "|") or any(part is not None for part in state[2:5]):
            raise ValueError("a dtype that is not one of plain numbers")
        return np.dtype(code).newbyteorder(order)

    return _Unfinished(finish)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _reconstruct(kind: Any, *_: Any) -> _Unfinished:
    """An array; its state has the shape, the dtype, the order and the bytes."""
    if not _is(kind, "numpy.ndarray"):
        raise ValueError("an array of another class")

    def finish(state: Any) -> np.ndarray:
        shape, dtype, is_fortran, content = state[-4:]
        return _from_buffer(_encoded(content), dtype, shape, "F" if is_fortran else "C")

    return _Unfinished(finish)


def is_shape(value: Any) -> bool:
    """Whether a value of a pickle is a tuple of sizes whose product is quickly computed."""
    return (
        isinstance(value, tuple)
        and len(value) <= _MOST_AXES
        and all(type(size) is int and 0 <= size < _LONGEST_AXIS for size in value)
    )


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """An array of its bytes, whose number must be that of the shape."""
    if not isinstance(dtype, np.dtype) or not isinstance(content, bytes | bytearray):
        raise ValueError("an array without a dtype or bytes")
    if not is_shape(shape):
        raise ValueError("an array without a shape")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"an array of the shape {shape} with {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if order == "F" else "C").copy()


def _scalar(dtype: Any, content: Any) -> Any:
    return _from_buffer(_encoded(content), dtype, (), "C")[()]


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "_codecs.encode": _encoded,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.object": _no_call,
    "builtins.set": lambda values=(): set(map(_key, values)),
    "builtins.frozenset": lambda values=(): frozenset(map(_key, values)),
    "collections.OrderedDict": _ordered_dict,
    "copyreg._reconstructor": _reconstructor,
    "numpy.ndarray": _no_call,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
}
