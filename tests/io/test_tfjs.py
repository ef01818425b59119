"""Tests of reading graph models of TensorFlow.js: what is larger than it looks is refused."""

import json

import pytest

from ddspx.io._tfjs import read_tfjs


def weight(*shape, name="a", **fields):
    return {"name": name, "shape": list(shape), "dtype": "float32"} | fields


def read(*groups, size=4):
    """The weights of groups of files, all of which have one size, and the limits of the files."""
    manifest = [{"paths": paths, "weights": weights} for paths, weights in groups]
    text = json.dumps({"modelTopology": {"node": []}, "weightsManifest": manifest}).encode()
    limits = []

    def shard(name, most):
        limits.append(most)
        if size > most:
            raise ValueError(f"{name} has more than {most} bytes.")
        return bytes(size)

    return read_tfjs(text, shard).weights, limits


def test_the_files_of_all_groups_share_one_limit():
    weights, limits = read((["a", "b"], [weight(2)]), (["c"], [weight(1, name="b")]))
    assert [len(x) for x in weights.values()] == [2, 1]
    assert limits == [2**26, 2**26 - 4, 2**26 - 8]
    paths = [f"{i}.bin" for i in range(9)]
    for groups in ([(paths, [])], [([path], [weight(0)]) for path in paths]):
        with pytest.raises(ValueError, match="bytes"):
            read(*groups, size=2**24)


@pytest.mark.parametrize(
    "groups", [[(1000 * ["w.bin"], [])], [(["w.bin"], [weight(1)]), (["w.bin"], [weight(1)])]]
)
def test_a_file_that_is_named_twice_is_refused(groups):
    with pytest.raises(ValueError, match=r"names the file 'w\.bin' of weights twice"):
        read(*groups)


def test_a_file_may_hold_nothing():
    weights, _ = read((["w"], [weight(0, 3), weight(3, 0, name="b")]), size=0)
    assert [x.shape for x in weights.values()] == [(0, 3), (3, 0)]


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ([weight(2**24 + 1)], "more than 8 axes or 16777216 numbers"),
        ([weight(0, 2**32, 2**32)], "more than 8 axes or 16777216 numbers"),
        ([weight(*9 * [1])], "more than 8 axes"),
        ([weight(2**23), weight(2**23), weight(1)], r"1\.68e\+07 numbers, more than 16777216"),
        (10_001 * [weight(0)], "has 10001 weights, more than 10000"),
        ([weight(2, name=1000 * "a")], "end within the weight 'a{99}'"),
        ([{"shape": [1]}], "`name` of a weight is missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_would_fill_the_memory_is_refused(weights, sentence):
    with pytest.raises(ValueError, match=sentence):
        read((["w.bin"], weights))
