"""Reading the tensors of PyTorch's files, of `torch.save` and of `torch.jit.save`, without PyTorch.

Such a file holds a pickle, and the bytes of the tensors beside it: in a zip archive, or behind the
pickle in files from before 2020. The pickle is read by `read_pickle`, so nothing in it is executed.
The code of a TorchScript file is not read.
"""

import io
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ddspx.io._pickled import PickledClass, PickledObject, is_shape, read_pickle
from ddspx.io._zip import archive_errors, blocks, objection_to_file, opened_archive

# The dtypes of PyTorch's storages. NumPy has no bfloat16: these are the upper halves of float32.
_BFLOAT16 = "torch.BFloat16Storage"
_STORAGES = {
    "torch.DoubleStorage": "f8",
    "torch.FloatStorage": "f4",
    "torch.HalfStorage": "f2",
    _BFLOAT16: "u2",
    "torch.LongStorage": "i8",
    "torch.IntStorage": "i4",
    "torch.ShortStorage": "i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?",
}
_MOST_PICKLE = 2**25
# The number at the beginning of the older format, as a pickle of protocol 2 has it.
_MAGIC = 0x1950A86A20F9469CFC6C
_SCRIPT = "__torch__."
# A tensor can be larger than its storage, and a storage can have many tensors. In a model, few
# weights are shared; in a hostile file, one number can have a million names and a million places.
_MOST_TENSORS, _LONGEST_NAME = 2**14, 1000
_MOST_SHARED, _MOST_SMALL = 4, 2**20


def read_tensors(content: bytes, what: str) -> dict[str, np.ndarray]:
    """The tensors of a file, by their dotted names; what is no tensor is left out.

    The tensors of a state dict have its keys as names. Those of a TorchScript file have the
    attributes of its modules as names, which are the keys that the state dict of the module has.

    Args:
      content: the bytes of the file.
      what: the file, for messages.

    Returns:
      Arrays of floats, integers or booleans; bfloat16 becomes float32. They are views of the stored
      numbers, with the strides that the file says, and cannot be written.

    Raises:
      ValueError: the file is damaged, or holds other objects or dtypes, or tensors that are much
        larger than the file.
    """
    if content.startswith(b"PK"):
        value = _read_zip(content, what)
    elif content.startswith(b"\x80"):
        value = _read_older(content, what)
    else:
        raise ValueError(
            f"{what} is not a file of `torch.save` or `torch.jit.save`; copy it again, or load it "
            "in PyTorch and save its state dict."
        )
    arrays: dict[str, np.ndarray] = {}
    for name, array in _named(value, ""):
        objection = None
        if len(name) > _LONGEST_NAME:
            objection = f"a name of more than {_LONGEST_NAME} characters"
        elif len(arrays) == _MOST_TENSORS:
            objection = f"more than {_MOST_TENSORS} tensors"
        elif array is not None and array.dtype.kind not in "fiub":
            objection = f"numbers of the type {array.dtype}"
        if objection:
            raise ValueError(f"{what} holds {objection}; save the state dict of the model alone.")
        if array is not None:
            arrays[name] = array
    n_bytes = sum(array.nbytes for array in arrays.values())
    if n_bytes > _MOST_SHARED * len(content) + _MOST_SMALL:
        raise ValueError(
            f"{what} has {len(content)} bytes for tensors of {n_bytes} bytes, and is refused; save "
            "copies of the tensors."
        )
    return arrays


def _named(value: Any, name: str) -> Iterator[tuple[str, np.ndarray | None]]:
    """All names in dicts and objects, and the arrays that have one.

    `read_pickle` has limited how many and how deep they are. A name that is too long is the last
    one that is read, so no longer ones are made of it.
    """
    if isinstance(value, PickledObject):
        value = value.state
    yield name, value if isinstance(value, np.ndarray) else None
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _named(inner, f"{name}.{key}" if name else str(key))


def _read_zip(content: bytes, what: str) -> Any:
    """The value of a zip archive, whose files all lie in one folder."""
    with opened_archive(what, content) as archive:
        members = {member.filename: member for member in archive.infolist()}
        tops = [name.removesuffix("/data.pkl") for name in members if name.endswith("/data.pkl")]
        if len(tops) != 1 or "/" in tops[0]:
            raise ValueError(
                f"{what} is not an archive of `torch.save` or `torch.jit.save`; copy it again."
            )

        def read(name: str, most: int) -> bytes:
            return _member(archive, members, f"{tops[0]}/{name}", most, what)

        order = "<"
        if f"{tops[0]}/byteorder" in members:
            order = ">" if read("byteorder", 16) == b"big" else "<"

        def load(needed: Mapping[str, _Needed]) -> dict[str, _Storage]:
            return {
                key: _numbers(read(f"data/{key}", one.n_bytes), one, what, order)
                for key, one in needed.items()
            }

        return _value(io.BytesIO(read("data.pkl", _MOST_PICKLE)), f"{what}, data.pkl,", load)


def _member(
    archive: zipfile.ZipFile,
    members: Mapping[str, zipfile.ZipInfo],
    name: str,
    most: int,
    what: str,
) -> bytes:
    """The bytes of one file of an archive. PyTorch compresses none that is read here."""
    if name not in members:
        raise ValueError(f"{what} lacks its part {name[:99]!r}; copy it again.")
    objection = objection_to_file(members[name], most)
    if objection or members[name].compress_type != zipfile.ZIP_STORED:
        raise ValueError(
            f"{what} holds {name[:99]!r} {objection or 'compressed'}, and is refused; "
            "save it again with `torch.save`."
        )
    with archive_errors(what), archive.open(members[name]) as file:
        return b"".join(blocks(file.read, most, f"{what} holds {name[:99]!r}"))


def _read_older(content: bytes, what: str) -> Any:
    """The value of a file of pickles, behind which are the bytes of the storages."""
    stream = io.BytesIO(content)
    header = [read_pickle(stream, what) for _ in range(3)]
    # Arrays have no single answer to whether they equal a number.
    is_known = [type(part) for part in header] == [int, int, dict]
    is_known = is_known and header[:2] == [_MAGIC, 1001]
    if not is_known or header[2].get("little_endian") is not True:
        raise ValueError(
            f"{what} is a pickle, but not a file of `torch.save`; load it in PyTorch and save its "
            "state dict."
        )

    def load(needed: Mapping[str, _Needed]) -> dict[str, _Storage]:
        keys = read_pickle(stream, what)
        storages = {}
        for key in keys if isinstance(keys, list) else ():
            one = needed.get(key) if isinstance(key, str) else None
            if one is None or int.from_bytes(stream.read(8), "little") != one.count:
                raise ValueError(f"{what} lacks the sizes of its tensors; copy it again.")
            storages[key] = _numbers(stream.read(one.n_bytes), one, what, "<")
        return storages

    return _value(stream, what, load)


class _Storage:
    """The numbers that are in the file, one after the other.

    No instruction of a pickle makes one. A tensor, which one can make, may say that it is larger
    than its storage.
    """

    def __init__(self, numbers: np.ndarray):
        self.numbers = numbers


class _Needed(NamedTuple):
    """The class of a storage, and the number of its values."""

    kind: str
    count: int

    @property
    def n_bytes(self) -> int:
        """The size in the file."""
        return np.dtype(_STORAGES[self.kind]).itemsize * self.count


def _value(
    stream: io.BytesIO,
    what: str,
    load: Callable[[Mapping[str, _Needed]], Mapping[str, _Storage]],
) -> Any:
    """The value of a pickle whose tensors are beside it.

    It is read twice. The first reading says which storages there are, and in the older format where
    they begin; `load` reads them.
    """

    def read(storage: Callable[[Any], Any]) -> Any:
        return read_pickle(
            stream,
            what,
            functions=_FUNCTIONS,
            is_record=lambda name: name in _STORAGES or name.startswith(_SCRIPT),
            persistent=storage,
        )

    start = stream.tell()
    needed: dict[str, _Needed] = {}

    def note(identifier: Any) -> None:
        key, one = _identified(identifier)
        if needed.setdefault(key, one) != one:
            raise ValueError("a storage of two sizes")

    read(note)
    storages = load(needed)
    stream.seek(start)
    return read(lambda identifier: storages[_identified(identifier)[0]])


def _identified(identifier: Any) -> tuple[str, _Needed]:
    """The key of a storage, its class and the number of its values."""
    word, kind, key, _, count, *view = identifier
    if word != "storage" or not isinstance(kind, PickledClass) or kind.name not in _STORAGES:
        raise ValueError("a tensor of another form")
    # A storage that is a part of another one, which PyTorch wrote before version 0.4.
    if any(part is not None for part in view):
        raise ValueError("a tensor of a format that is too old")
    if not isinstance(key, str) or type(count) is not int or not 0 <= count < 2**40:
        raise ValueError("a tensor without a size")
    return key, _Needed(kind.name, count)


def _numbers(content: bytes, needed: _Needed, what: str, order: str) -> _Storage:
    """The values of a storage."""
    if len(content) != needed.n_bytes:
        raise ValueError(
            f"{what} has {len(content)} bytes for {needed.count} values of {needed.kind}; copy it "
            "again."
        )
    dtype = np.dtype(order + _STORAGES[needed.kind])
    numbers = np.frombuffer(content, dtype).astype(dtype.newbyteorder("="), copy=False)
    if needed.kind == _BFLOAT16:
        numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
    return _Storage(numbers)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> np.ndarray | None:
    """A tensor, which must lie inside of its storage."""
    if storage is None:  # the first reading of the older format
        return None
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    are_shapes = all(map(is_shape, ((offset,), shape, strides)))
    if not are_shapes or len(shape) != len(strides):
        raise ValueError("a tensor without a shape")
    numbers = storage.numbers
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    is_empty = 0 in shape
    if math.prod(shape) >= 2**40 or (last >= numbers.size and not is_empty):
        raise ValueError(f"a tensor of the shape {shape} outside of its {numbers.size} values")
    if is_empty:
        return np.zeros(shape, numbers.dtype)
    steps = [stride * numbers.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps, writeable=False)


def _first(value: Any, *_: Any) -> Any:
    """A tensor with what does not concern its numbers, or a list with its type."""
    return value


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch.jit._pickle.build_intlist": _first,
    "torch.jit._pickle.build_doublelist": _first,
    "torch.jit._pickle.build_boollist": _first,
    "torch.jit._pickle.build_tensorlist": _first,
    "torch.jit._pickle.restore_type_tag": _first,
}
