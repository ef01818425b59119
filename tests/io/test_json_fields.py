"""Fields of JSON that somebody else may have written."""

import math

import pytest

from ddspx.io._json import (
    COUNT,
    COUNT_OR_0,
    DURATION,
    FINITE,
    FLAG,
    LIST,
    OBJECT,
    TEXT,
    json_field,
    list_of,
    number_below,
)


@pytest.mark.parametrize(
    ("kind", "good", "bad", "words"),
    [
        (FLAG, [True, False], [0, 1.0, "true", None], "true or false"),
        (FINITE, [0, -2.5, 10**300], [math.nan, -math.inf, 10**400, True, "1"], "a finite number"),
        (TEXT, ["", "a"], [1, None, ["a"]], "text"),
        (OBJECT, [{}, {"a": 1}], [[], "{}"], "an object"),
        (LIST, [[], [1]], [{}, "[]"], "a list"),
        (COUNT, [1, 2**32], [0, 2**32 + 1, 1.0, True], "an int above 0"),
        (COUNT_OR_0, [0, 7], [-1, False, "0"], "an int from 0"),
        (DURATION, [0, 0.5, 1e300], [-1.0, math.inf, math.nan, True], "a number from 0"),
        (number_below(5.0), [0, 4.9], [5, 10**400, "1"], "a number from 0 to below 5"),
        (list_of(TEXT), [[], ["a", "b"]], [["a", 1], "a"], "a list, each value of which is text"),
    ],
)
def test_a_field_is_checked_by_its_kind(kind, good, bad, words):
    for value in good:
        assert json_field({"x": value}, "x", kind) == value
    for value in bad:
        with pytest.raises(ValueError, match=f"`x` of the card must be {words}, got "):
            json_field({"x": value}, "x", kind, owner="the card")


def test_a_missing_field_is_named_or_has_its_default():
    with pytest.raises(ValueError, match="`x` of the card is missing"):
        json_field({}, "x", TEXT, owner="the card")
    assert json_field({}, "x", TEXT, default=None) is None
    with pytest.raises(ValueError, match=r"the card must hold a JSON object, got \['x'\]"):
        json_field(["x"], "x", TEXT, owner="the card")
