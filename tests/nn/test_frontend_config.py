"""What front-ends can be made of, and what the presets are made of."""

import dataclasses
from typing import get_args

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

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
from ddspx.nn.frontend._compressions import Compression
from ddspx.nn.frontend._filters import Filters

PATHS = (StftPath, FftPath, RecurrentPath, LeafFftPath, SpectNetFftPath)
PARTS = ("centers", "bandwidths", "gains", "weights", "pooling", "compression")
# The paths of each family, and the parts of its filters that can be trained.
FAMILIES = {
    TriangularFilters: ((), ("centers", "gains")),
    GammatoneFilters: ((StftPath, FftPath, RecurrentPath), ("centers", "bandwidths", "gains")),
    GaborFilters: ((StftPath, FftPath), ("centers", "bandwidths", "gains")),
    SincFilters: ((StftPath, FftPath), ("centers", "bandwidths", "gains")),
    SpectNetFilters: ((StftPath, SpectNetFftPath), ("centers", "bandwidths", "gains")),
    LeafFilters: ((StftPath, LeafFftPath), ("centers", "bandwidths")),
    SincNetFilters: ((StftPath, FftPath), ("centers", "bandwidths")),
}
WHOLE = (FreeFilters, KapreFilters)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_accepts_only_its_own_paths_and_parts(family):
    paths, parts = FAMILIES[family]
    for path in PATHS if paths else ():
        if path in paths:
            assert family(path=path()).path == path()
        else:
            with pytest.raises(TypeError, match="path"):
                family(path=path())
    for part in PARTS:
        if part in parts:
            assert family(trainable=(part,)).trainable == (part,)
        else:
            with pytest.raises((TypeError, ValueError), match="trainable"):
                family(trainable=(part,))
    assert hash(dataclasses.replace(family(), trainable=())) != hash(family())


@pytest.mark.parametrize("family", [TriangularFilters, *WHOLE])
def test_filters_on_the_bins_of_a_spectrum_have_no_other_path(family):
    assert family().path == StftPath()
    with pytest.raises(TypeError, match="path"):
        family(path=FftPath())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: GaborFilters(path=RecurrentPath()),
            "`path` must be one of StftPath, FftPath,",
        ),
        (lambda: GaborFilters(path=FftPath), r"got <class .*FftPath'>; write FftPath\(\)"),
        (
            lambda: GaborFilters(trainable="centers"),
            "`trainable` must be a tuple of names of parts, got the string 'cent",
        ),
        (lambda: GammatoneFilters(order=4.0), "`order` must be a Python int, got 4.0"),
        (lambda: SincFilters(n_taps="9"), "`n_taps` must be a Python int, got '9'"),
        (lambda: LogCompression(None), "`floor` must be a number, got None"),
        (
            lambda: FrontendConfig(filters="gabor"),
            "`filters` must be one of TriangularFilt",
        ),
        (lambda: FrontendConfig(filters=GaborFilters), r"; write GaborFilters\(\)"),
        (lambda: FrontendConfig(compression=None), "`compression` must be one of NoCompression, L"),
        (lambda: FrontendConfig(compression=GaborFilters()), "one of NoCompression, .* got Gabor"),
        (lambda: FrontendConfig(win_length=400.0), "`win_length` must be a Python int"),
        (lambda: FrontendConfig(fmin="60"), "`fmin` must be a number, got '60'"),
        (lambda: FrontendConfig(fmax=True), "`fmax` must be a number, got True"),
    ],
)
def test_parts_and_numbers_of_another_type_are_refused(make, message, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: TriangularFilters(trainable=("bandwidths",)),
            "`trainable` must be one of 'centers', 'gains', got 'bandwidths'",
        ),
        (
            lambda: GaborFilters(trainable=("compression",)),
            "one of 'centers', 'bandwidths', 'gains', got 'compression'",
        ),
        (
            lambda: FreeFilters(trainable=("weights",)),
            "`trainable` must be one of True, False",
        ),
        (lambda: PcenCompression(trainable=1), "`trainable` must be one of True, False, got 1"),
        (lambda: FftPath(trainable=None), "`trainable` must be one of True, False, got None"),
        (lambda: SpectNetFilters(fill_gaps=0), "`fill_gaps` must be one of True, False, got 0"),
        (lambda: SincFilters(n_taps=200), "`n_taps` must be odd, got 200"),
        (lambda: GammatoneFilters(order=0), "`order` must be at least 1, got 0"),
        (lambda: LogCompression(0.0), "`floor` must be finite and at least 1e-30, got 0.0"),
        (lambda: LeafPcenCompression(1e-38), "`floor` must be finite and at least 1e-30, got 1e-3"),
        (
            lambda: FrontendConfig(n_fft=128, win_length=201),
            "`win_length` must be at most `n_fft`, 128, got 201; raise `n_fft`",
        ),
        (lambda: FrontendConfig(win_length=1), "`win_length` must be at least 2, got 1"),
        (lambda: FrontendConfig(normalize=1), "`normalize` must be one of True, False, got 1"),
    ],
)
def test_wrong_values_are_refused(make, message, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        make()


def test_configs_that_could_not_be_loaded_are_refused():
    class Mine(GaborFilters):
        pass

    with pytest.raises(TypeError, match=r"`filters` must be one of .* got .*Mine"):
        FrontendConfig(filters=Mine())


def test_a_window_may_be_longer_than_an_unused_transform():
    filters = GammatoneFilters(path=FftPath())
    assert FrontendConfig(n_fft=128, win_length=201, filters=filters).win_length == 201


@pytest.mark.parametrize(
    ("preset", "filters", "compression"),
    [
        ("log_mel", TriangularFilters(trainable=()), LogCompression()),
        ("mfcc", TriangularFilters(trainable=()), LogCompression()),
        ("pcen_mel", TriangularFilters(trainable=()), PcenCompression(trainable=True)),
        (
            "learnable",
            GammatoneFilters(trainable=("centers", "bandwidths", "gains")),
            PcenCompression(trainable=True),
        ),
        ("leaf", LeafFilters(path=LeafFftPath(trainable=True)), LeafPcenCompression(1e-12, True)),
        ("spectnet", SpectNetFilters(n_taps=81), LogCompression(1e-16)),
        ("spectnet_scaled", SpectNetFilters(n_taps=81), LogCompression(1e-16)),
        ("sincnet", SincNetFilters(n_taps=251, path=FftPath()), LogCompression()),
    ],
)
def test_presets_are_made_of_parts_that_can_be_exchanged(preset, filters, compression):
    make = getattr(FrontendConfig, preset)
    assert (make().filters, make().compression) == (filters, compression)
    changed = make(filters=GaborFilters(), compression=DecibelCompression(), n_bands=20)
    expected = {"filters": GaborFilters(), "compression": DecibelCompression(), "n_bands": 20}
    assert changed == dataclasses.replace(make(), **expected)


def test_the_filters_of_spectnet_fill_gaps():
    assert not FrontendConfig.spectnet_scaled().filters.fill_gaps
    wide = FrontendConfig.spectnet_scaled(sample_rate=8000)
    assert wide == FrontendConfig.spectnet(
        sample_rate=8000, filters=SpectNetFilters(n_taps=641, fill_gaps=True)
    )
    # Filters that are given are not changed.
    asked = FrontendConfig.spectnet_scaled(sample_rate=8000, filters=SpectNetFilters())
    assert not asked.filters.fill_gaps


def test_every_family_path_and_compression_makes_a_front_end():
    """Traced only: nothing is compiled, or computed."""
    families = {family: paths for family, (paths, _) in FAMILIES.items()} | dict.fromkeys(WHOLE, ())
    filters = [
        family(**({} if path is None else {"path": path()}))
        for family, paths in families.items()
        for path in paths or (None,)
    ]
    compressions = [cls() for cls in get_args(Compression)]
    assert {type(one) for one in filters} == set(get_args(Filters))
    assert (len(filters), len(compressions)) == (16, 6)
    sizes = {"sample_rate": 2000, "hop_length": 20, "n_fft": 64, "win_length": 50, "n_bands": 3}
    for one, compression in zip(filters, compressions * 3, strict=False):
        config = FrontendConfig(**sizes, filters=one, compression=compression)
        audio = jax.ShapeDtypeStruct((2, 100), jnp.float32)
        made = lambda audio, c=config: SpectralFrontend(c, rngs=nnx.Rngs(0))(audio)  # noqa: E731
        assert jax.eval_shape(made, audio).shape == (2, 6, 3)


def test_a_fixed_front_end_has_no_trainable_parameters():
    filters = GaborFilters(path=FftPath(trainable=True))
    config = FrontendConfig(filters=filters, compression=Log1pCompression(1e-6, trainable=True))
    assert config.fixed() == FrontendConfig(
        filters=GaborFilters(trainable=(), path=FftPath()), compression=Log1pCompression(1e-6)
    )
    free = FrontendConfig(filters=FreeFilters(), compression=NoCompression())
    assert free.fixed().filters == FreeFilters(trainable=False)
    assert FrontendConfig.leaf().fixed().filters.path == LeafFftPath(trainable=False)
