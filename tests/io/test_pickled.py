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
    "laughs": (laughs(), "more than 134217728 bytes"),
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


DEEP = b")" + b"\x85" * 20_000
DTYPE, ENCODE, SET = b"cnumpy\ndtype\n", b"c_codecs\nencode\n", b"cbuiltins\nset\n"
# Each program: one instruction after the other, with the memo for what it uses many times.
BOMBS = {
    "hash of a deep value": (DTYPE + DEEP + b"R.", "deeper than 64"),
    "text of a deep value": (ENCODE + b"X\x01\0\0\0a" + DEEP + b"\x86R.", "deeper than 64"),
    "deep state": (DTYPE + b"X\x02\0\0\0f8\x85R" + DEEP + b"b.", "deeper than 64"),
    "deep identifier": (DEEP + b"Q.", "deeper than 64"),
    "type that is no text": (DTYPE + b"K\x08\x85R.", "an array of int, which is no type"),
    "encoding that is no text": (ENCODE + b"X\x01\0\0\0a)\x86R.", "another encoding"),
    "one text encoded often": (
        ENCODE + b"q\0" + b"X\0\0\x10\0" + b"a" * 2**20 + b"\x85q\x01"
        + b"h\0h\x01R0" * 1000 + b"N.",
        "calls with more than 4194304 bytes",
    ),
    "one list made a set often": (
        SET + b"q\0](" + b"K\x01" * 10_000 + b"e\x85q\x01" + b"h\0h\x01R0" * 1000 + b"N.",
        "calls with more than 4194304 bytes",
    ),
    "one set made a set often": (
        SET + b"q\0\x8f(" + b"".join(b"M" + n.to_bytes(2, "little") for n in range(10_000))
        + b"\x90\x85q\x01" + b"h\0h\x01R0" * 1000 + b"N.",
        "calls with more than 4194304 bytes",
    ),
    "one long name often": (
        b"X\0\0\x01\0" + b"a" * 2**16 + b"q\0" + b"h\0h\0\x93" * 1000 + b".",
        "a name of more than 1000 characters",
    ),
    "large places": (b"Np%d\n." % (2**61 - 1), "a place that is too high"),
    "negative place": (b"Np-1\n.", "a place that is too high"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_small_programs_that_would_take_much_are_refused(name, monkeypatch):
    monkeypatch.setattr(_pickled, "_MOST_BYTES", 2**22)
    data, message = BOMBS[name]
    with pytest.raises(ValueError, match=r"^x.pkl is not a readable pickle \(.*\)") as refusal:
        read(b"\x80\x04" + data, persistent=lambda identifier: identifier)
    assert message in str(refusal.value)


def test_a_shape_is_a_few_sizes():
    for shape in ((2**16,) * 40, (2**300, 2), (-1,), (1.0,), [1], None, b"\x01"):
        assert not _pickled.is_shape(shape)
    assert _pickled.is_shape(()) and _pickled.is_shape((0, 2**39))


def test_a_value_that_gets_its_content_twice():
    """Each place in the memo is written once, also if the content is given many times."""
    state = b"(K\x03X\x01\0\0\0<NNNK\0K\0K\0tb"
    data = DTYPE + b"X\x02\0\0\0f8\x85Rq\0q\x012" + state + b"0" + state + b"h\0h\x01\x87."
    first, *others = read(b"\x80\x04" + data)
    assert first == np.float64 and others == [first, first]


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
