"""Tests of reading pickles without unpickling: their values, and what is refused."""

import collections
import io
import os
import pickle
import re

import numpy as np
import pytest

from ddspx.io import _pickled
from ddspx.io._pickled import PickledObject, read_pickle

ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(4, dtype=">i2"),
    np.array(3.5),
    np.zeros((0, 3), np.float16),
    np.array([True, False]),
    np.arange(8, dtype=np.uint8)[::2],
]
# Python 2's pickle of {"a": [1, 2.5], u"b": numpy.array([1.0, 2.0])}, protocol 2.
PYTHON_2 = (
    b"\x80\x02}q\x01(U\x01aq\x02]q\x03(K\x01G@\x04\x00\x00\x00\x00\x00\x00eX\x01\x00\x00\x00bq\x04"
    b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85q\x07U\x01bq\x08\x87"
    b"q\tRq\n(K\x01K\x02\x85q\x0bcnumpy\ndtype\nq\x0cU\x02f8q\rK\x00K\x01\x87q\x0eRq\x0f(K\x03U\x01<"
    b"q\x10NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x11b\x89U\x10\x00\x00\x00\x00\x00\x00\xf0?"
    b"\x00\x00\x00\x00\x00\x00\x00@q\x12tq\x13bu."
)


class Statistics:
    """An object with attributes, like those in files of statistics."""

    def __init__(self):
        self.quantiles = np.linspace(-60, 0, 5)
        self.random_state = np.random.mtrand._rand


def read(data, **options):
    return read_pickle(io.BytesIO(data), "x.pkl", **options)


def assert_same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray | np.generic):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", range(6))
def test_values_equal_those_that_were_pickled(protocol):
    shared = [1, "ä"]
    value = {
        "numbers": [0, -1, 255, 2**31, -(2**70), 1.5, float("inf"), True, False, None],
        "texts": ("", "é\n", b"", bytes(range(256))),
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "sets": {1, 2},
        "frozen": frozenset({"a"}),
        "twice": [shared, shared],
        "long": list(range(3000)),
        "arrays": ARRAYS,
        "scalars": [np.float32(1.5), np.int64(-3), np.bool_(True)],
    }
    found = read(pickle.dumps(value, protocol))
    assert_same(found, value)
    assert found["twice"][0] is found["twice"][1]
    ordered = collections.OrderedDict(a=1, b=np.ones(2))
    assert_same(read(pickle.dumps(ordered, protocol)), {"a": 1, "b": np.ones(2)})


def test_python_2():
    assert_same(read(PYTHON_2), {"a": [1, 2.5], "b": np.array([1.0, 2.0])})


@pytest.mark.parametrize("protocol", range(6))
def test_allowed_classes_are_read_as_attributes(protocol):
    data = pickle.dumps({"x": Statistics()}, protocol)
    found = read(data, is_record=lambda name: name.startswith((__name__, "numpy.random.")))["x"]
    assert isinstance(found, PickledObject)
    assert found.name == f"{__name__}.Statistics"
    assert_same(found.state["quantiles"], np.linspace(-60, 0, 5))
    assert found.state["random_state"].name.startswith("numpy.random.")
    with pytest.raises(ValueError, match="Statistics', an object or a function that this kind"):
        read(data)


def test_functions_and_persistent_ids_of_the_caller():
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return ("storage", 7) if obj is Statistics else None

    file = io.BytesIO()
    Pickler(file).dump([Statistics, 3 + 4j])
    functions = {"builtins.complex": lambda real, imag: (imag, real)}
    options = {"functions": functions, "persistent": lambda identifier: identifier[1]}
    assert read(file.getvalue(), **options) == [7, (4.0, 3.0)]
    with pytest.raises(ValueError, match="lies outside of the file"):
        read(file.getvalue(), functions=functions)
    with pytest.raises(ValueError, match=r"'builtins\.complex', an object"):
        read(file.getvalue(), persistent=options["persistent"])


class Attack:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def laughs():
    value = ["ha"]
    for _ in range(40):
        value = [value] * 10
    return value


def cycle():
    value = [1]
    value.append({"again": value})
    return value


def deep():
    value = []
    for _ in range(100):
        value = [value]
    return value


REFUSED = {
    "system": (Attack(os.system, "touch executed"), "system', an object"),
    "eval": (Attack(eval, "open('executed', 'w')"), "builtins.eval', an object"),
    "getattr": (Attack(getattr, [], "append"), "builtins.getattr', an object"),
    "object array": (np.array([{}, 1], object), "'O8', which is no type of numbers"),
    "text array": (np.array(["a"]), "'U1', which is no type of numbers"),
    "masked": (np.ma.array([1.0]), "numpy.ma.core._mareconstruct', an object"),
    "ndarray called": (Attack(np.ndarray, (2**40,)), "only named"),
    "ndarray as a value": (np.ndarray, "without its content"),
    "cycle": (cycle(), "deeper than 64"),
    "deep": (deep(), "deeper than 64"),
    "laughs": (laughs(), "more than 4194304 values"),
    "slow keys": ({k * (2**61 - 1): 0 for k in range(9)}, "a key of the type int"),
    "tuple keys": ({(1, 2): 0}, "a key of the type tuple"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_objects_and_hostile_values_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value, message = REFUSED[name]
    for protocol in (0, 2, 5):
        with pytest.raises(ValueError, match=re.escape(message)):
            read(pickle.dumps(value, protocol))
    assert not list(tmp_path.iterdir())


BROKEN = {
    "empty": b"",
    "text": b"not a pickle",
    "no value": b".",
    "two values": b"K\x01K\x02.",
    "no mark": b"t.",
    "memo": b"h\x07.",
    "long of 4 GB": b"\x8b\xff\xff\xff\x7f.",
    "bytes of 2**63": b"\x8e" + b"\xff" * 7 + b"\x7f.",
    "extension": b"\x82\x01.",
    "out of band": b"\x97.",
    "append to a number": b"K\x01K\x02a.",
    "state of a number": b"K\x01K\x02b.",
    "call of a number": b"K\x01)R.",
    "odd dict": b"}(K\x01u.",
    "many marks": b"(" * 1000 + b".",
    "huge decimal": b"I" + b"9" * 5000 + b"\n.",
    "name of a number": b"K\x01K\x02\x93.",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pickles_end_in_a_sentence(name):
    with pytest.raises(ValueError, match=r"^x.pkl is not a readable pickle \(.*\); copy it again"):
        read(BROKEN[name])


def test_too_many_instructions(monkeypatch):
    monkeypatch.setattr(_pickled, "_MOST_OPCODES", 1000)
    with pytest.raises(ValueError, match="more than 1000 instructions"):
        read(b"N0" * 1000)


def test_an_array_must_have_the_bytes_of_its_shape():
    data = pickle.dumps(np.arange(4, dtype=np.float32), 2)
    for old, new in ((b"K\x04\x85", b"K\x05\x85"), (b"f4", b"f8")):
        assert data.count(old) == 1
        with pytest.raises(ValueError, match="an array of the shape"):
            read(data.replace(old, new))


def test_mutations_are_read_or_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    value = {"mean": np.float32(3), "x": Statistics(), "list": [1.5, "text"], "arrays": ARRAYS}
    originals = [pickle.dumps(value, protocol) for protocol in range(6)] + [PYTHON_2]
    refused = 0
    for i in range(200):
        data = bytearray(originals[i % len(originals)])
        if i % 3 == 0:
            data = data[: rng.integers(len(data))]
        for place in rng.integers(max(1, len(data)), size=1 + i % 5):
            data[place : place + 1] = rng.bytes(1)
        try:
            read(bytes(data), is_record=lambda name: "random" in name or "Statistics" in name)
        except ValueError as error:
            assert str(error).startswith("x.pkl ")
            refused += 1
    assert refused > 100
    assert not list(tmp_path.iterdir())
