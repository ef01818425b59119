"""Every field of every JSON of a model, with values of every wrong kind: taken, or named."""

import copy
import json
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import jaxtyping
import pytest
from toy_any_instrument import save_toy_any_instrument, toy_timbres

from ddspx.instruments._card import _origin
from ddspx.io._json import json_facts
from ddspx.models._config import read_json, to_json
from ddspx.models.autoencoder import AutoencoderConfig, InstrumentStatistics, load_timbres
from ddspx.models.pitch import PitchConfig
from ddspx.models.spectnet import SpectNetConfig
from ddspx.nn import FrontendConfig

WRONG = (-1, -0.5, "x", "", math.nan, math.inf, None, [], [1], [[]], {}, True, 10**30, 1e300)
CARD = {
    "data": {"licence": "CC0", "attribution": "me", "sources": [{"name": "a"}]},
    "scores": {"split": "test", "n_examples": 3, "spectral_loss": 1.0, "f0_outlier_share": 0.1},
    "room": {"bands_hz": [125.0], "t60_s": [0.5]},
    "started_from": {"name": "any", "weights_sha256": "0", "data": {"licence": "CC0"}},
}
CONFIGS = {
    "any instrument": (to_json(AutoencoderConfig.any_instrument()), AutoencoderConfig.from_json),
    "classifier": (
        to_json(SpectNetConfig(FrontendConfig.learnable(sample_rate=16_000), ("a", "b"))),
        SpectNetConfig.from_json,
    ),
    "tracker": (to_json(PitchConfig()), PitchConfig.from_json),
    "statistics": (
        to_json(toy_timbres(16_000, 64)["voice"].statistics),
        InstrumentStatistics.from_json,
    ),
    "card": (CARD, _origin),
}


def changes(value: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """Every place in a JSON value, with each wrong value; of a list only the first item."""
    inner = value.items() if isinstance(value, dict) else [*enumerate(value)][:1]
    for key, item in inner:
        yield from (((*path, key), wrong) for wrong in WRONG)
        if isinstance(item, dict | list):
            yield from changes(item, (*path, key))


def changed(value: Any, path: tuple, wrong: Any) -> Any:
    outer = inner = copy.deepcopy(value)
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = wrong
    return outer


@pytest.fixture
def unchecked():
    """Without the checks of annotations, which only tests have."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_wrong_value_of_a_field_is_refused_with_its_file_and_name(kind, tmp_path):
    value, build = CONFIGS[kind]
    value = json.loads(json.dumps(value))
    file, refused = tmp_path / "some.json", 0
    for path, wrong in changes(value):
        file.write_text(json.dumps(changed(value, path, wrong)))
        try:
            read_json(file, build)
        except ValueError as error:
            names = [f"`{key}`" for key in path if isinstance(key, str)]
            assert str(error).startswith(f"{file} is not usable: ")
            # A whole part that takes its defaults may not fit the others.
            assert names[-1] in str(error) or (wrong == {} and names[0] in str(error))
            refused += 1
    assert refused > 20


@pytest.mark.usefixtures("unchecked")
def test_a_timbre_with_a_wrong_value_is_named(tmp_path):
    folder = save_toy_any_instrument(tmp_path / "any")
    (folder / "sha256.json").unlink()
    file, load = folder / "timbres.json", partial(load_timbres, folder, sample_rate=16_000)
    whole = json.loads(file.read_text())["timbres"]

    def is_refused(name: str, path: tuple, wrong: Any) -> bool:
        file.write_text(json.dumps({"timbres": {name: changed(whole[name], path, wrong)}}))
        try:
            load()
        except ValueError as error:
            assert f"timbres.json is not usable: the timbre {name!r}: " in str(error)
            return True
        return False

    taken = {
        path[-1]
        for path, wrong in changes(whole["voice"])
        if (wrong in (None, "x", 10**30) or wrong != wrong) and not is_refused("voice", path, wrong)
    }
    # No room, and a version of features that another release may have.
    assert taken == {"reverb", "feature_version"}
    for wrong in ("x", [10**400], [[None]], {}, [math.nan]):
        assert is_refused("flute", ("room", "taps"), wrong)


def test_a_provenance_that_could_not_be_saved_again_is_refused(tmp_path):
    file = tmp_path / "provenance.json"
    file.write_text('{"data": {"sources": [{"kept_s": NaN}]}}')
    with pytest.raises(ValueError, match=r"`data.sources.0.kept_s` must be a finite number"):
        read_json(file, json_facts)
