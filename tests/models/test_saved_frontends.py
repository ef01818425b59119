"""Front-ends as JSON, those that earlier versions saved as words among them."""

import dataclasses
import itertools
import json

import jax
import pytest
from flax import nnx

from ddspx.models._config import from_json, to_json
from ddspx.models.autoencoder import AutoencoderConfig
from ddspx.models.spectnet import SpectNetConfig
from ddspx.nn import (
    DecibelCompression,
    FftPath,
    FreeFilters,
    FrontendConfig,
    GaborFilters,
    GammatoneFilters,
    KapreFilters,
    LeafFftPath,
    LeafFilters,
    LeafPcenCompression,
    Log1pCompression,
    LogCompression,
    NoCompression,
    PcenCompression,
    RecurrentPath,
    SincFilters,
    SincNetFilters,
    SpectNetFftPath,
    SpectNetFilters,
    SpectralFrontend,
    StftPath,
    TriangularFilters,
)

# As the version wrote it that named the parts of a front-end by strings.
SAVED = """{"sample_rate": 2000, "hop_length": 20, "n_fft": 64, "win_length": 50, "n_bands": 6,
 "fmin": 100.0, "fmax": 900.0, "family": "gammatone", "parametrization": "ordered", "path": "stft",
 "scale": "bark", "fill_gaps": false, "order": 3, "n_taps": 61, "trainable": [],
 "compression": "log", "floor": 1e-06, "n_mfcc": 4, "normalize": true}"""
SIZES = {"sample_rate": 2000, "hop_length": 20, "n_fft": 64, "win_length": 50, "n_bands": 6}
COMMON = SIZES | {"fmin": 100.0, "fmax": 900.0, "scale": "bark", "n_mfcc": 4, "normalize": True}
ALL = ("centers", "bandwidths", "gains")
# For each family and parametrization: its filters, their trainable parts, and their paths.
FILTERS = {
    ("triangular", "ordered"): (TriangularFilters, ("centers", "gains"), {"stft": None}),
    ("gammatone", "ordered"): (
        lambda **settings: GammatoneFilters(order=3, **settings),
        ALL,
        {"stft": StftPath, "fft": FftPath, "recurrent": RecurrentPath},
    ),
    ("gabor", "ordered"): (GaborFilters, ALL, {"stft": StftPath, "fft": FftPath}),
    ("sinc", "ordered"): (
        lambda **settings: SincFilters(n_taps=61, **settings),
        ALL,
        {"stft": StftPath, "fft": FftPath},
    ),
    ("free", "ordered"): (FreeFilters, ("weights",), {"stft": None}),
    ("gammatone", "published"): (
        lambda **settings: SpectNetFilters(order=3, n_taps=61, **settings),
        ALL,
        {"stft": StftPath, "fft": SpectNetFftPath},
    ),
    ("gabor", "published"): (
        lambda **settings: LeafFilters(n_taps=61, **settings),
        ALL[:2],
        {"stft": StftPath, "fft": LeafFftPath},
    ),
    ("sinc", "published"): (
        lambda **settings: SincNetFilters(n_taps=61, **settings),
        ALL[:2],
        {"stft": StftPath, "fft": FftPath},
    ),
    ("free", "published"): (KapreFilters, ("weights",), {"stft": None}),
}
COMPRESSIONS = {
    "none": NoCompression,
    "log": LogCompression,
    "log1p": Log1pCompression,
    "db": DecibelCompression,
    "pcen": PcenCompression,
}
CASES = [
    (*kind, path, compression, is_learning)
    for kind, (_, _, paths) in FILTERS.items()
    for path, compression, is_learning in itertools.product(paths, COMPRESSIONS, (False, True))
]


def read(text: str) -> FrontendConfig:
    return from_json(FrontendConfig, json.loads(text))


@pytest.mark.parametrize(("family", "parametrization", "path", "compression", "is_learning"), CASES)
def test_front_ends_saved_in_the_old_form_are_loaded(
    family, parametrization, path, compression, is_learning
):
    make, parts, paths = FILTERS[family, parametrization]
    cls = COMPRESSIONS[compression]
    if family == "gabor" and parametrization == "published" and compression == "pcen":
        cls = LeafPcenCompression
    settings = {} if paths[path] is None else {"path": paths[path]()}
    learned = list(parts)
    if path != "stft" and hasattr(settings["path"], "trainable"):
        settings["path"] = paths[path](trainable=is_learning)
        learned.append("pooling")
    floor = {} if cls is NoCompression else {"floor": 1e-6}
    if compression in ("log1p", "pcen"):
        floor["trainable"] = is_learning
        learned.append("compression")
    trainable = parts if is_learning else ()
    filters = make(trainable=is_learning if parts == ("weights",) else trainable, **settings)
    words = {"family": family, "parametrization": parametrization, "path": path}
    words |= {"compression": compression, "trainable": learned if is_learning else []}
    found = read(json.dumps(json.loads(SAVED) | words))
    assert found == FrontendConfig(**COMMON, filters=filters, compression=cls(**floor))
    assert read(json.dumps(to_json(found))) == found


def test_every_old_front_end_is_tested():
    assert len(CASES) == 2 * 16 * 5


def test_missing_fields_have_the_old_defaults():
    assert read('{"family": "gammatone"}') == FrontendConfig()
    assert read('{"compression": "log"}') == FrontendConfig() == read("{}")
    settings = '{"parametrization": "published", "path": "fft", "fill_gaps": true, "floor": 1e-16}'
    filters = SpectNetFilters(trainable=ALL[:2], fill_gaps=True)
    assert read(settings) == FrontendConfig(filters=filters, compression=LogCompression(1e-16))


def test_a_classifier_saved_in_the_old_form_is_loaded():
    saved = {"frontend": json.loads(SAVED), "labels": ["a", "b"]}
    frontend = FrontendConfig(
        **COMMON, filters=GammatoneFilters((), order=3), compression=LogCompression(1e-6)
    )
    assert SpectNetConfig.from_json(saved) == SpectNetConfig(frontend, ("a", "b"))


def test_an_encoder_saved_in_the_old_form_is_loaded():
    config = AutoencoderConfig.nsynth()
    saved = json.loads(json.dumps(config.to_json()))
    listening = saved["encoder"]["frontend"]
    words = {"family": "triangular", "parametrization": "ordered", "path": "stft", "trainable": []}
    saved["encoder"]["frontend"] = (
        {name: value for name, value in listening.items() if name != "filters"}
        | {"compression": "log", "floor": 1e-10, "fill_gaps": False, "order": 4, "n_taps": 401}
        | words
    )
    assert AutoencoderConfig.from_json(saved) == config


def test_weights_keep_their_names():
    """So that those of an older folder are found."""
    names = {
        "learnable": "bank.gains_db bank.gaps bank.log_bandwidths compression.gain_logit "
        "compression.log_bias compression.power_logit compression.smoothing_logit",
        "leaf": "bank.centers_rad bank.widths compression.bias compression.gain compression.root "
        "compression.smoothing pooling.widths",
        "spectnet": "bank.amplitudes bank.betas_hz bank.frequencies_hz",
        "sincnet": "bank.band_hz bank.low_hz pooling.log_widths",
        "log_mel": "bank.gains_db bank.gaps",
    }
    configs = {preset: getattr(FrontendConfig, preset)() for preset in names}
    names |= {"free": "bank.weights compression.log_factor"}
    configs["free"] = FrontendConfig(filters=FreeFilters(), compression=Log1pCompression())
    for name, config in configs.items():
        model = nnx.eval_shape(lambda c=config: SpectralFrontend(c, rngs=nnx.Rngs(0)))
        flat, _ = jax.tree.flatten_with_path(nnx.to_pure_dict(nnx.state(model)))
        assert [".".join(key.key for key in path) for path, _ in flat] == names[name].split()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "gamma"}, "`family` must be one of 'triangular', 'gammatone', .* got 'gamma'"),
        ({"family": ["sinc"]}, "`family` must be one of"),
        ({"parametrization": "new"}, "`parametrization` must be one of 'ordered', 'published'"),
        (
            {"compression": "mu"},
            "`compression` must be one of 'none', 'log', 'log1p', 'db'",
        ),
        ({"compression": None}, "`compression` must be one of 'none', 'log'"),
        ({"path": "recurrent", "family": "sinc"}, "`path` must be one of 'stft', 'fft', got 'rec"),
        (
            {"family": "triangular", "parametrization": "published"},
            "`parametrization` must be 'ordered' for the family 'triangular', got 'published'",
        ),
        ({"trainable": "centers"}, "`trainable` must be a list, got 'centers'"),
        ({"trainable": ["weights"]}, "`trainable` must be one of 'centers', .* got 'weights'"),
        ({"trainable": ["pooling"]}, "A saved StftPath has the unknown `trainable`"),
        ({"trainable": ["compression"]}, "A saved LogCompression has the unknown `trainable`"),
        ({"family": "free", "trainable": ["gains"]}, "`trainable` must be true or false, got"),
        ({"tail": 1}, "A saved FrontendConfig has the unknown `tail`"),
        ({"filters": {"kind": "GaborFilters"}}, "has the unknown `family`, `fill_gaps`, `floor`"),
        ({"floor": 0}, "`floor` must be finite and at least 1e-30, got 0"),
    ],
)
def test_invalid_old_front_ends_are_refused(change, message, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        read(json.dumps(json.loads(SAVED) | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"filters": {"kind": "Wavelets"}},
            "`filters` has the `kind` 'Wavelets', which is not one",
        ),
        ({"filters": {}}, "`filters` is saved as a JSON object with its `kind`, one of Triangular"),
        ({"compression": {"kind": "GaborFilters"}}, "`compression` has the `kind` 'GaborFilters'"),
        (
            {"filters": {"kind": "TriangularFilters", "path": {"kind": "FftPath"}}},
            "A saved TriangularFilters has the unknown `path`",
        ),
        (
            {"filters": {"kind": "GaborFilters", "path": {"kind": "RecurrentPath"}}},
            "`path` has the `kind` 'RecurrentPath', which is not one of StftPath, FftPath",
        ),
        ({"compression": {"kind": "LogCompression", "floor": "x"}}, "`floor` must be a finite num"),
    ],
)
def test_parts_that_do_not_exist_are_refused(change, message):
    saved = to_json(dataclasses.replace(FrontendConfig(), n_mfcc=4))
    with pytest.raises(ValueError, match=message):
        from_json(FrontendConfig, saved | change)
