import dataclasses
import json

import pytest

from ddspx.models._config import from_json, to_json


@dataclasses.dataclass(frozen=True)
class Ear:
    n_bands: int = 40
    trainable: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Listener:
    ear: Ear
    labels: tuple[str, ...]
    other: Ear | None = None


def test_a_config_and_those_within_it_come_back_from_json_equal_and_hashable():
    for other in (None, Ear(3)):
        config = Listener(Ear(5, ("centers", "gains")), ("a", "b"), other)
        text = json.dumps(to_json(config))
        restored = from_json(Listener, json.loads(text))
        assert restored == config
        assert hash(restored) == hash(config)


def test_what_has_a_default_may_be_left_out():
    assert from_json(Listener, {"ear": {}, "labels": []}) == Listener(Ear(), ())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": []}, "A saved Listener is missing `ear`; it was written by another version"),
        ({"labels": [], "ear": {}, "tail": 1}, "A saved Listener has the unknown `tail`"),
        ({"ears": {}}, "Listener is missing `ear`, `labels` and has the unknown `ears`"),
        ({"labels": [], "ear": {"bands": 3}}, "A saved Ear has the unknown `bands`"),
        ({"labels": [], "ear": None}, "Ear is saved as a JSON object, got None"),
        ({"labels": [], "ear": {}, "other": 3}, "Ear is saved as a JSON object, got 3"),
        ([], r"Listener is saved as a JSON object, got \[\]"),
    ],
)
def test_missing_and_unknown_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        from_json(Listener, fields)
