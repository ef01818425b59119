"""Tests of reading gin files: values, blocks, macros, and what is refused."""

import pytest

from ddspx.io._gin import GinConfig, GinReference

TEXT = r"""
import ddsp.training as ddsp2
from __gin__ import dynamic_registration
include 'models/ae.gin'

# Macros:
rate = 16_000  # in Hz
more = (%rate, 'b')
Decoder.ch = 6
scope/module.Decoder.layers = -3
Decoder.splits = \
    (('amps', 1),   # one
     ["noise # not a comment", 2.5e-1],
     (), (7,), ('one' 'text\n it\'s'))
Group.dag = [
  (@synths.Harmonic(), ['f0_hz']),
  @core.exp_sigmoid,
]
Filter:
    n_samples = %rate
    pair = %more
    table = {'a': True, 2: None,}

Other.flag = False
Other.bad = ddsp.core(3)
"""


def test_values():
    gin = GinConfig(TEXT)
    assert gin.get("Decoder", "ch") == 6 and gin.get("Decoder", "layers") == -3
    splits = (("amps", 1), ["noise # not a comment", 0.25], (), (7,), "onetext\n it's")
    assert gin.get("Decoder", "splits") == splits
    harmonic, sigmoid = GinReference("Harmonic"), GinReference("exp_sigmoid")
    assert gin.get("Group", "dag") == [(harmonic, ["f0_hz"]), sigmoid]
    assert gin.get("Filter", "n_samples") == 16_000
    assert gin.get("Filter", "pair") == (16_000, "b")
    assert gin.get("Filter", "table") == {"a": True, 2: None}
    assert gin.get("Other", "flag", True) is False
    assert gin.get("Other", "absent", 5) == 5 and gin.get("Filter", "flag") is None


def test_a_value_is_refused_only_when_it_is_asked_for():
    with pytest.raises(ValueError, match=r"no value that can be read for Other\.bad"):
        GinConfig(TEXT).get("Other", "bad")


@pytest.mark.parametrize(
    "value",
    [
        "%absent",
        "%b",
        "(1",
        "1, 2",
        "[1 2]",
        "{[]: 1}",
        "{'a' 1}",
        "@f(3)",
        "",
        "]",
        "(" * 99 + ")" * 99,
        "__import__",
        "1_0.e",
        "9" * 5000,
    ],
)
def test_what_is_no_value_is_refused(value):
    with pytest.raises(ValueError, match=r"no value that can be read|not of gin"):
        GinConfig(f"b = (%b, %b)\nA.a = {value}\n").get("A", "a")


def test_macros_that_hold_each_other_do_not_explode():
    lines = [f"m{i} = ({f'%m{i + 1}, ' * 50})" for i in range(12)]
    with pytest.raises(ValueError, match="more than"):
        GinConfig("\n".join([*lines, "m12 = 1", "A.a = %m0"])).get("A", "a")


@pytest.mark.parametrize("text", ["print(1)", "A.a + 1", "'x", "\0", "A.b: 1", "x" * 2**21])
def test_what_is_no_gin_is_refused(text):
    with pytest.raises(ValueError, match=r"not of gin|characters"):
        GinConfig(text)
