"""Tests of reading PyTorch's files: what PyTorch wrote, and what is refused."""

import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from torch_files import archive, files_of, raw, tensor

from ddspx.io._torch_archive import read_tensors

GOLDENS = Path(__file__).parents[1] / "goldens"
BASE = np.arange(24, dtype=np.float32)
EXPECTED = {
    "float32": BASE[:6].reshape(2, 3) / 8,
    "float64": BASE[:3].astype(np.float64),
    "float16": BASE[:3].astype(np.float16),
    "bfloat16": np.array([0.5, -1.5, 2.0**100, np.inf], np.float32),
    "int64": np.arange(-3, 3),
    "int32": np.arange(4, dtype=np.int32),
    "int16": np.arange(4, dtype=np.int16),
    "int8": np.arange(-2, 2, dtype=np.int8),
    "uint8": np.arange(4, dtype=np.uint8),
    "bool": np.array([True, False]),
    "transposed": BASE[:6].reshape(2, 3).T,
    "strided": BASE[4:20:3],
    "inside": BASE.reshape(4, 6)[1:3, ::2],
    "expanded": np.ones((3, 2), np.float32),
    "scalar": np.float32(2.5).reshape(()),
    "empty": np.zeros((0, 3), np.float32),
    "parameter": BASE[:2],
    "nested.x": BASE[:2],
}


def golden(name):
    return (GOLDENS / name).read_bytes()


@pytest.mark.parametrize("name", ["tensors.pth", "tensors-older.pth"])
def test_tensors_equal_those_that_pytorch_saved(name):
    found = read_tensors(golden(name), name)
    assert list(found) == list(EXPECTED)
    for key, expected in EXPECTED.items():
        assert (found[key].dtype, found[key].shape) == (expected.dtype, expected.shape), key
        np.testing.assert_array_equal(found[key], expected)
        assert found[key].size == 0 or not found[key].flags.writeable


def test_torchscript_has_the_names_of_the_state_dict():
    found = read_tensors(golden("module.ts"), "module.ts")
    shapes = {
        "mean": (),
        "gru.weight_ih_l0": (9, 2),
        "gru.weight_hh_l0": (9, 3),
        "gru.bias_ih_l0": (9,),
        "gru.bias_hh_l0": (9,),
        **{f"layers.{i}.weight": (2, 2) for i in "01"},
        **{f"layers.{i}.bias": (2,) for i in "01"},
    }
    assert {name: array.shape for name, array in found.items()} == shapes
    assert found.pop("mean") == 1.5
    for name, array in found.items():
        np.testing.assert_array_equal(array.ravel() * 8, np.arange(array.size), err_msg=name)


def test_the_other_order_of_bytes():
    files = files_of(golden("tensors.pth")) | {"tensors/byteorder": b"big"}
    files["tensors/data/0"] = np.frombuffer(files["tensors/data/0"], "<f4").astype(">f4").tobytes()
    found = read_tensors(archive(files), "x.pth")
    np.testing.assert_array_equal(found["float32"], EXPECTED["float32"])


def one_tensor(*, key="0", count=6, files=None, **view):
    """An archive with one tensor, in a storage of 6 numbers."""
    content = (
        b"\x80\x02}" + raw("x") + tensor(key, count, **{"shape": (2, 3), "strides": (3, 1)} | view)
    )
    return archive({"a/data.pkl": content + b"s.", "a/data/0": BASE[:6].tobytes()} | (files or {}))


def test_a_tensor_that_is_made_by_hand():
    np.testing.assert_array_equal(read_tensors(one_tensor(), "x.pth")["x"], BASE[:6].reshape(2, 3))


REFUSED = {
    "beyond the end": ({"offset": 1}, "outside of its 6 values"),
    "long strides": ({"strides": (4, 1)}, "outside of its 6 values"),
    "negative offset": ({"offset": -1}, "without a shape"),
    "negative strides": ({"strides": (3, -1)}, "without a shape"),
    "a float": ({"shape": (2, 3.0)}, "without a shape"),
    "no strides": ({"strides": ()}, "without a shape"),
    "huge": ({"shape": (2**30, 2**30), "strides": (0, 0)}, "outside of its 6 values"),
    "huge and empty": ({"shape": (0, 2**62, 2**62), "strides": (1, 1, 1)}, "not a readable pickle"),
    "many axes": ({"shape": (1,) * 50, "strides": (1,) * 50}, "without a shape"),
    "large sizes": ({"shape": (2**4000,) * 30, "strides": (0,) * 30}, "without a shape"),
    "a million times": ({"shape": (2**20, 2), "strides": (0, 1)}, "for tensors of 8388608 bytes"),
    "other numbers": ({"count": 7}, "24 bytes for 7 values"),
    "countless": ({"count": 2**50}, "without a size"),
    "negative": ({"count": -1}, "without a size"),
    "complex": ({"kind": "ComplexFloat"}, "'torch.ComplexFloatStorage', an object"),
    "absent": ({"key": "1"}, "lacks its part 'a/data/1'"),
    "outside": ({"key": "../../x"}, r"lacks its part 'a/data/../../x'"),
    "unprintable": ({"key": "\x1b"}, r"lacks its part 'a/data/\x1b'"),
    "key": ({"key": 3}, "without a size"),
    "two archives": ({"files": {"b/data.pkl": b""}}, "not an archive of `torch.save`"),
    "too many bytes": ({"files": {"a/data/0": bytes(25)}}, "25 bytes, more than the 24"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_tensors_outside_of_their_storage_are_refused(name):
    changes, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_tensors(one_tensor(**changes), "x.pth")
    assert str(caught.value).startswith("x.pth") and str(caught.value).isprintable()


def test_a_tensor_of_a_tensor_is_refused():
    """A view of a few numbers may say that it is large, and is no bound for another view."""
    storage = (
        b"(" + raw("storage") + b"ctorch\nFloatStorage\n" + raw("0") + raw("cpu") + raw(6) + b"tQ"
    )
    view = b"ctorch._utils\n_rebuild_tensor_v2\n(%b" + raw(0) + raw((2**30,)) + b"%btR"
    inner = view % (storage, raw((0,)))
    for inside in (inner, raw(np.arange(6.0)), raw([1.0]), raw("text")):
        content = b"\x80\x02}" + raw("x") + view % (inside, raw((1,))) + b"s."
        with pytest.raises(ValueError, match=r"^x.pth.*a tensor without a storage"):
            read_tensors(archive({"a/data.pkl": content, "a/data/0": BASE[:6].tobytes()}), "x.pth")


def test_names_and_numbers_of_tensors_are_bounded():
    one = tensor("0", 6, shape=(), strides=()) + b"q\1"
    many = b"".join(raw(str(i)) + b"h\1s" for i in range(2**14))
    nested = (raw("k" * 400) + b"}") * 3 + raw("x") + b"h\1" + b"s" * 4
    for rest, message in {
        many: "more than 16384 tensors",
        raw("k" * 2000) + b"Ns": "a name of more than 1000 characters",
        nested: "a name of more than 1000 characters",
        raw("y") + raw(np.zeros(2, complex)) + b"s": "numbers of the type complex128",
    }.items():
        content = b"\x80\x02}" + raw("x") + one + b"s" + rest + b"."
        with pytest.raises(ValueError, match=rf"^x.pth holds {message}; save the state dict"):
            read_tensors(archive({"a/data.pkl": content, "a/data/0": BASE[:6].tobytes()}), "x.pth")


def test_foreign_and_compressed_files_are_refused():
    files = files_of(one_tensor())
    for content, message in {
        archive({"notes.txt": b"hello"}): "not an archive of `torch.save`",
        archive(files, zipfile.ZIP_DEFLATED): "'a/data.pkl' compressed, and is refused",
        archive({"a/data.pkl": pickle.dumps(1)}): None,
        archive({"a/data.pkl": pickle.dumps(print)}): "'builtins.print', an object",
        archive({f"a/{i}": b"" for i in range(3000)}): "its directory is too long",
        pickle.dumps({"x": 1}): "not a readable pickle",
        pickle.dumps(1) + pickle.dumps(2) + pickle.dumps(3): "not a file of `torch.save`",
        pickle.dumps(np.zeros(3)) + pickle.dumps(1001) + pickle.dumps({}): "not a file of `torch",
        b"": "is not a file of `torch.save`",
        b"\x89HDF\r\n": "is not a file of `torch.save`",
    }.items():
        if message is None:
            assert read_tensors(content, "x.pth") == {}
            continue
        with pytest.raises(ValueError, match=re.escape(message)):
            read_tensors(content, "x.pth")


@pytest.mark.parametrize("name", ["tensors.pth", "tensors-older.pth", "module.ts"])
def test_mutations_are_read_or_refused(name):
    """Truncated files, changed bytes, and changed bytes in the pickle of a whole archive."""
    rng, content, refused = np.random.default_rng(1), golden(name), 0
    for i in range(200):
        if i % 4 == 3 and name != "tensors-older.pth":
            files = files_of(content)
            (key,) = (key for key in files if key.endswith("/data.pkl"))
            data = bytearray(files[key])
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
            mutant = archive(files | {key: bytes(data)})
        else:
            data = bytearray(content[: rng.integers(len(content))] if i % 4 == 0 else content)
            for place in rng.integers(max(1, len(data)), size=i % 4):
                data[place : place + 1] = rng.bytes(1)
            mutant = bytes(data)
        try:
            read_tensors(mutant, "x.pth")
        except ValueError as error:
            assert str(error).startswith("x.pth") and "\n" not in str(error)
            refused += 1
    assert refused > 60
