import dataclasses
import json
import math
from typing import Protocol

import numpy as np
import pytest

from ddspx._checks import LARGEST
from ddspx.features import SpectralConfig
from ddspx.models._config import from_json, read_json, to_json
from ddspx.models.autoencoder import AutoencoderConfig
from ddspx.models.crepe import CrepeConfig
from ddspx.models.pitch import PitchConfig
from ddspx.models.spectnet import SpectNetConfig
from ddspx.nn import (
    FrontendConfig,
    GammatoneFilters,
    LeafFilters,
    SincFilters,
    SincNetFilters,
    SpectNetFilters,
    TapReverbConfig,
)
from ddspx.training import AutoencoderTrainConfig


@dataclasses.dataclass(frozen=True)
class Ear:
    n_bands: int = 40
    trainable: tuple[str, ...] = ()
    gains: tuple[float, ...] = ()
    limit: float | None = 1.0


@dataclasses.dataclass(frozen=True)
class Listener:
    ear: Ear
    labels: tuple[str, ...]
    other: Ear | None = None


def test_configs_and_nested_configs_are_restored_from_json():
    for other in (None, Ear(3)):
        config = Listener(Ear(5, ("centers", "gains"), (0.5, 1), None), ("a", "b"), other)
        text = json.dumps(to_json(config))
        restored = from_json(Listener, json.loads(text))
        assert restored == config
        assert hash(restored) == hash(config)


def test_numbers_of_numpy_are_saved_as_those_of_python():
    text = json.dumps(to_json(Ear(np.int64(5), gains=(np.float32(0.5),), limit=np.float64(2))))
    assert from_json(Ear, json.loads(text)) == Ear(5, gains=(0.5,), limit=2.0)


def test_fields_with_a_default_may_be_missing():
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
        ({"labels": 3, "ear": {}}, "`labels` must be a list, got 3"),
        ({"labels": [], "ear": {"gains": 10**400}}, "`gains` must be a list, got 1000"),
        ({"labels": [], "ear": {"gains": [1, "x"]}}, "`gains` must be a list of finite numbers"),
        ({"labels": [], "ear": {"gains": [math.nan]}}, "`gains` must be a list of finite numbers"),
        ({"labels": [], "ear": {"limit": "x"}}, "`limit` must be a finite number, got 'x'"),
        ({"labels": [], "ear": {"limit": True}}, "`limit` must be a finite number, got True"),
        ({"labels": [], "ear": {"limit": 10**400}}, r"`limit` must be a finite number, got 1000.*"),
    ],
)
def test_missing_and_unknown_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        from_json(Listener, fields)


class Source(Protocol):
    @property
    def n_outputs(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class Bell:
    n_outputs: int = 3


@dataclasses.dataclass(frozen=True)
class Drum:
    n_outputs: int = 1
    inner: Bell | Ear | None = None


@dataclasses.dataclass(frozen=True)
class Band:
    ear: Ear | Bell
    source: Source | Bell = Bell()


@dataclasses.dataclass(frozen=True)
class Kindred:
    kind: str = "drum"
    n_outputs: int = 2


def test_a_field_of_several_kinds_of_config_is_saved_with_its_kind():
    config = Band(Bell(5), Drum(2, Ear(7)))
    saved = json.loads(json.dumps(to_json(config)))
    assert saved == {
        "ear": {"kind": "Bell", "n_outputs": 5},
        "source": {
            "kind": "Drum",
            "n_outputs": 2,
            "inner": {"kind": "Ear", "n_bands": 7, "trainable": [], "gains": [], "limit": 1.0},
        },
    }
    # A class outside of ddspx, in a field whose annotation has a Protocol.
    restored = from_json(Band, saved, parts=(Drum, Bell))
    assert restored == config
    assert hash(restored) == hash(config)
    assert from_json(Drum, {}) == Drum() == from_json(Drum, to_json(Drum()))
    assert from_json(Band, {"ear": {"kind": "Ear"}}) == Band(Ear())


@pytest.mark.parametrize(
    ("fields", "parts", "message"),
    [
        ({"ear": {}}, (), "`ear` is saved as a JSON object with its `kind`, one of Ear, Bell"),
        ({"ear": {"kind": 3}}, (), "`ear` is saved as a JSON object with its `kind`"),
        ({"ear": None}, (), "`ear` is saved as a JSON object with its `kind`"),
        (
            {"ear": {"kind": "Drum"}},
            (Drum,),
            "`ear` has the `kind` 'Drum', which is not one of Ear,",
        ),
        ({"ear": {"kind": "Ear", "n_outputs": 2}}, (), "A saved Ear has the unknown `n_outputs`"),
        (
            {"ear": {"kind": "Ear"}, "source": {"kind": "Drum"}},
            (),
            "`source` has the `kind` 'Drum', which is not one of Bell; load the folder ",
        ),
        (
            {"ear": {"kind": "Ear"}, "source": {"kind": "Drum"}},
            (dataclasses.make_dataclass("Bell", ["n_outputs"]),),
            "`parts` must not hold two classes named 'Bell', nor one that ddspx has for `source`",
        ),
    ],
)
def test_kinds_that_are_unknown_or_missing_are_named(fields, parts, message):
    with pytest.raises(ValueError, match=message):
        from_json(Band, fields, parts)


def test_a_part_that_is_no_dataclass_is_refused():
    with pytest.raises(TypeError, match="`parts` must be dataclasses, the classes of configs, got"):
        from_json(Band, to_json(Band(Ear())), parts=(str,))


def test_a_config_whose_kind_would_be_lost_is_not_saved():
    assert from_json(Kindred, to_json(Kindred("bell"))) == Kindred("bell")
    with pytest.raises(
        ValueError, match="Kindred cannot be saved: the name `kind` of one of its fields"
    ):
        to_json(Band(Ear(), Kindred()))


def test_a_deeply_nested_file_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"config.json is not usable: it is nested more than 64"):
        read_json(tmp_path / "config.json", lambda fields: from_json(Ear, fields))


CONFIGS = (
    AutoencoderConfig.nsynth(),
    AutoencoderConfig.nsynth().encoder,
    SpectNetConfig.spectnet_16(("a", "b")),
    FrontendConfig(n_mfcc=13),
    GammatoneFilters(),
    SincFilters(),
    SpectNetFilters(),
    LeafFilters(),
    SincNetFilters(),
    CrepeConfig(4),
    PitchConfig(),
    SpectralConfig("mel", sample_rate=16_000, hop_length=160, n_fft=1024),
    AutoencoderTrainConfig(),
)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_huge_sizes_in_configs_are_refused(config):
    sizes = [f.name for f in dataclasses.fields(config) if f.name in LARGEST]
    assert sizes
    for name in sizes:
        value = getattr(config, name)
        most = LARGEST[name]
        too_large = (100 * most,) * len(value) if isinstance(value, tuple) else 100 * most
        with pytest.raises(ValueError, match=f"`{name}` must be at most {most}, got {most}00"):
            dataclasses.replace(config, **{name: too_large})


def test_products_of_sizes_are_limited():
    config = SpectNetConfig.spectnet_16(("a", "b"))
    with pytest.raises(ValueError, match="more than 1073741824; take shorter segments"):
        dataclasses.replace(config, segment_frames=100_000, channels=4096)
    with pytest.raises(ValueError, match="`loss_n_ffts` must hold at most 32 sizes, got 33"):
        dataclasses.replace(AutoencoderConfig.small(), loss_n_ffts=33 * (64,))


def test_sizes_that_may_be_zero_or_several_are_ints(monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    small = AutoencoderConfig.small()
    config = dataclasses.replace(
        small, loss_n_ffts=np.array([64, 32]), reverb=TapReverbConfig(np.int16(9))
    )
    assert AutoencoderConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert dataclasses.replace(small, loss_n_ffts=64).loss_n_ffts == (64,)
    assert dataclasses.replace(small.decoder, fc_layers=np.int8(0)).fc_layers == 0
    for owner, name in (
        (small.decoder, "fc_layers"),
        (small.reverb, "length"),
        (small.reverb, "n_bands"),
        (small, "loss_n_ffts"),
    ):
        for value in (0.0, False, None):
            with pytest.raises(TypeError, match=f"`{name}` must be a Python int, got"):
                dataclasses.replace(owner, **{name: value})
