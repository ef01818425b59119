"""Energies by filters on the whole sound, beside convolution; the published front-ends."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import noise, quick_jit
from modules import of_parts

from ddspx import core
from ddspx.nn import (
    FftPath,
    FreeFilters,
    FrontendConfig,
    GaborFilters,
    GammatoneFilters,
    NoCompression,
    PcenCompression,
    RecurrentPath,
    SincFilters,
    SincNetFilters,
    SpectralFrontend,
    StftPath,
)
from ddspx.nn.frontend._subbands import _groups

SMALL = {"sample_rate": 8000, "hop_length": 80, "win_length": 201, "n_bands": 6, "fmin": 100.0}
AUDIO = 0.1 * noise(1600)
HEARD = jnp.asarray(AUDIO, jnp.float32)
PATHS = (StftPath(), FftPath(), RecurrentPath())


def frontend(**changes) -> SpectralFrontend:
    return SpectralFrontend(FrontendConfig(**SMALL | changes), rngs=nnx.Rngs(0))


def gammatones(path, **changes) -> SpectralFrontend:
    return frontend(filters=GammatoneFilters(path=path), **changes)


def heard_by(model: SpectralFrontend):
    """The front-end as one program."""
    graph, state = nnx.split(model)
    return quick_jit(lambda audio: nnx.merge(graph, state)(audio))


def moved(model: SpectralFrontend) -> SpectralFrontend:
    """As after some training, with other gains and widths in each band."""
    steps = jnp.linspace(-0.3, 0.3, 6, dtype=jnp.float32)
    model.bank.log_bandwidths[...] = steps
    model.bank.gains_db[...] = 10 * steps
    if not isinstance(model.config.filters.path, StftPath):
        model.pooling.log_widths[...] += steps
    return model


def taps_of(model: SpectralFrontend) -> np.ndarray:
    """Complex taps of each band by the functions of the core, and how many come before time 0."""
    c, bands = model.config, (model.centers_hz(), model.bandwidths_hz())
    if isinstance(c.filters, GammatoneFilters):
        taps, before = (
            core.gammatone_impulse_response(*bands, sample_rate=c.sample_rate, n_taps=2000),
            0,
        )
    elif isinstance(c.filters, GaborFilters):
        sizes = {"sample_rate": c.sample_rate, "win_length": 1001}
        taps, before = core.gabor_impulse_response(*bands, **sizes), 500
    else:
        # A low-pass of the nominal width, shifted to the centre.
        width = core.hz_to_erb(bands[0]) * np.exp(np.asarray(model.bank.log_bandwidths[...]))
        n_taps = c.filters.n_taps
        lags = np.arange(n_taps) - n_taps // 2
        low = np.sinc(np.asarray(width, np.float64)[:, None] / c.sample_rate * lags)
        low *= 0.54 + 0.46 * np.cos(2 * np.pi * lags / n_taps)
        turns = np.asarray(bands[0], np.float64)[:, None] / c.sample_rate * lags
        taps, before = low / low.sum(-1, keepdims=True) * np.exp(2j * np.pi * turns), n_taps // 2
    gains = 10 ** (np.asarray(model.bank.gains_db[...], np.float64) / 20)
    return gains[:, None] * np.asarray(taps, np.complex128), before


def by_convolution(model: SpectralFrontend) -> np.ndarray:
    taps, before = taps_of(model)
    c, kernel = model.config, np.asarray(model.pooling.kernel(), np.float64)
    half, frames = kernel.shape[1] // 2, 1 + len(AUDIO) // c.hop_length
    out = np.zeros((frames, c.n_bands))
    for i, tap in enumerate(taps):
        energy = np.abs(np.convolve(AUDIO, tap)) ** 2
        smooth = np.convolve(energy, kernel[i])[before + half :]
        out[:, i] = smooth[: frames * c.hop_length : c.hop_length]
    return out


# the paths


@pytest.mark.parametrize(
    "filters",
    [
        GammatoneFilters(path=FftPath()),
        GammatoneFilters(path=RecurrentPath()),
        GaborFilters(path=FftPath()),
        SincFilters(path=FftPath()),
    ],
    ids=lambda filters: f"{type(filters).__name__}-{type(filters.path).__name__}",
)
def test_energies_are_those_of_a_convolution_and_a_low_pass(filters):
    model = moved(frontend(filters=filters, compression=NoCompression()))
    expected = by_convolution(model)
    # The taps contain the decay of the lower bands up to 1e-5 of the loudest frame of a band.
    np.testing.assert_allclose(heard_by(model)(HEARD), expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize("path", [FftPath(), RecurrentPath()])
def test_the_logarithm_of_silence_after_a_loud_sound_is_finite(path):
    energies = heard_by(gammatones(path, compression=NoCompression()))(HEARD.at[800:].set(0))
    assert (energies >= 0).all()
    assert energies[-3:].max() < 1e-6 * energies.max()


def test_narrow_bands_are_computed_at_a_lower_rate():
    filters = GaborFilters(path=FftPath()), SincFilters(path=FftPath())
    gabor, sinc = (_groups(frontend(filters=one).bank) for one in filters)
    factors = [factor for factor, _ in gabor]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] == 8
    assert sinc == [(1, 6)]


@pytest.mark.parametrize("order", [1, 4, 16])
def test_aliases_at_a_lower_rate_are_below_80_db(order):
    model, first = frontend(filters=GammatoneFilters(order=order, path=FftPath())), 0
    # Bins are 1 Hz apart.
    widths_hz = np.sum(np.abs(model.bank.response(8000)) > 1e-4, axis=-1)
    for factor, last in _groups(model.bank):
        assert factor == 1 or 1.4 * widths_hz[first:last].max() <= 8000 / factor
        first = last


@pytest.mark.parametrize("path", PATHS)
def test_a_sine_at_the_centre_of_a_band_has_its_power(path):
    model = gammatones(path, compression=NoCompression(), n_fft=256, win_length=256)
    centers_hz = np.asarray(model.centers_hz(), np.float64)
    run = heard_by(model)
    for band in (2, 4):
        tone = 0.8 * np.sin(2 * np.pi * centers_hz[band] * np.arange(1600) / 8000)
        energy = run(jnp.asarray(tone, jnp.float32))[10, band]
        # The window of a short-time spectrum spreads the tone beyond the centre.
        np.testing.assert_allclose(energy, 0.32, rtol=0.15 if path == StftPath() else 2e-3)


def test_window_and_low_pass_give_the_same_energy_in_steady_noise():
    audio = jnp.asarray(0.1 * noise(64_000), jnp.float32)
    models = (gammatones(path, compression=NoCompression()) for path in (StftPath(), FftPath()))
    window, low_pass = (np.mean(heard_by(model)(audio), axis=0) for model in models)
    np.testing.assert_allclose(window, low_pass, rtol=0.05)


@pytest.mark.parametrize("path", [FftPath(), RecurrentPath()])
def test_batches_and_dtypes_give_equal_energies(path):
    model = gammatones(path)
    run = heard_by(model)
    two = run(jnp.stack([HEARD, 2 * HEARD])[:, None])[:, 0]
    np.testing.assert_allclose(two[0], model(HEARD), atol=1e-4)
    np.testing.assert_allclose(two[1], two[0] + np.log(4), atol=1e-4)
    # float64, except in a run without x64.
    double = run(jnp.asarray(AUDIO))
    assert double.dtype == jnp.asarray(AUDIO).dtype
    np.testing.assert_allclose(double, two[0], atol=1e-3)


@pytest.mark.parametrize(
    ("family", "path"), [(GammatoneFilters, RecurrentPath), (GaborFilters, FftPath)]
)
def test_every_parameter_has_a_gradient_on_the_whole_sound(family, path):
    filters = family(trainable=("centers", "bandwidths", "gains"), path=path(trainable=True))
    model = frontend(filters=filters, compression=PcenCompression(trainable=True))
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    gradient = quick_jit(jax.grad(lambda p, x: jnp.sum(nnx.merge(graph, p, rest)(x) ** 2)))
    names = {
        path[-1]: variable[...] for path, variable in nnx.to_flat_state(gradient(params, HEARD))
    }
    assert "log_widths" in names
    for name, found in names.items():
        assert (np.abs(found) > 1e-7 * np.abs(found).max()).all(), name
    for audio in (0 * HEARD, 0 * HEARD + 0.5, HEARD[0] * (jnp.arange(1600) == 700)):
        assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(gradient(params, audio)))


@pytest.mark.parametrize(
    "config",
    [
        FrontendConfig(filters=FreeFilters()),
        FrontendConfig.learnable(),
        FrontendConfig.leaf(),
        FrontendConfig.sincnet(),
    ],
    ids=["free", "learnable", "leaf", "sincnet"],
)
def test_a_front_end_can_be_built_under_eval_shape(config):
    def made():
        return SpectralFrontend(config, rngs=nnx.Rngs(0))

    whole, traced = nnx.state(made()), nnx.state(nnx.eval_shape(made))
    assert jax.tree.structure(traced) == jax.tree.structure(whole)
    assert [x.shape for x in jax.tree.leaves(traced)] == [x.shape for x in jax.tree.leaves(whole)]


def test_a_free_band_without_weights_has_no_width():
    config = FrontendConfig(filters=FreeFilters(), n_bands=3)
    model = SpectralFrontend(config, rngs=nnx.Rngs(0))
    model.bank.weights[...] = model.bank.weights[...].at[1].set(0)
    widths = np.asarray(model.bandwidths_hz())
    assert widths[1] == 0 and (widths[[0, 2]] > 0).all()


# as published


def test_the_spectnet_front_end_equals_its_published_layer():
    # The published layer: correlation with taps, square, sums of 25 every 10 samples, logarithm.
    model = SpectralFrontend(FrontendConfig.spectnet(n_bands=8), rngs=nnx.Rngs(0))
    numbers = model.bank.frequencies_hz, model.bank.betas_hz, model.bank.amplitudes
    f, beta, a = (np.asarray(x[...], np.float64)[:, None] for x in numbers)
    np.testing.assert_allclose(f[[1, -1], 0], [56.029, 500.0], atol=1e-3)
    t = np.arange(81) / 1000
    taps = a * t**3 * np.exp(-2 * np.pi * beta * t) * np.cos(2 * np.pi * f * t)
    audio = noise(2500)
    filtered = [np.correlate(audio, tap, "valid") for tap in taps]
    sums = [np.convolve(y**2, np.ones(25), "valid")[::10] for y in filtered]
    expected = np.log(np.stack(sums, axis=-1) + 1e-16)
    assert expected.shape == (240, 8)
    # The first published frame covers samples 0 to 24; that of ddspx is centred at sample 0.
    outputs = heard_by(model)(jnp.asarray(np.concatenate([np.zeros(8), audio]), jnp.float32))
    np.testing.assert_allclose(outputs[2:242], expected, atol=2e-3)


def test_the_leaf_front_end_equals_the_published_one():
    config = FrontendConfig.leaf(sample_rate=8000, n_bands=6, fmax=3800.0, win_length=201)
    model = SpectralFrontend(config, rngs=nnx.Rngs(0))
    # The audio is silent at both ends, because LEAF cuts off the filters' decay there.
    audio, lags = np.pad(noise(1200), 200), np.arange(-100, 101)
    mu, sigma = (
        np.asarray(x[...], np.float64)[:, None] for x in (model.bank.centers_rad, model.bank.widths)
    )
    taps = np.exp(1j * mu * lags - lags**2 / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)
    pool = np.exp(-0.5 * (lags / (0.4 * 100)) ** 2)
    bands = [
        np.convolve(np.abs(np.convolve(audio, tap, "same")) ** 2, pool, "same") for tap in taps
    ]
    energies = np.maximum(np.stack(bands, axis=-1)[::80], 1e-5)
    recent, expected = energies[0], []
    for energy in energies:
        recent = 0.04 * energy + 0.96 * recent
        expected.append(np.sqrt(energy / (1e-12 + recent) ** 0.96 + 2) - np.sqrt(2))
    # ddspx has one frame more, at the end of the audio.
    outputs = heard_by(model)(jnp.asarray(audio, jnp.float32))
    np.testing.assert_allclose(outputs[:20], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("sample_rate", "n_taps", "fmax"), [(16000, 401, 7800), (8000, 201, 4000), (44100, 1103, 7800)]
)
def test_leaf_has_the_same_durations_and_frequencies_at_any_rate(sample_rate, n_taps, fmax):
    # LEAF has one sample more if 25 ms are an odd number of samples.
    config = FrontendConfig.leaf(sample_rate=sample_rate)
    assert (config.filters.n_taps, config.fmin, config.highest_hz) == (n_taps, 60, fmax)


def test_the_initial_filters_of_leaf_are_those_of_a_mel_matrix():
    """Theirs are rounded to the 257 bins of a spectrum, so that low ones may coincide."""
    model = SpectralFrontend(FrontendConfig.leaf(), rngs=nnx.Rngs(0))
    bins_mel = 2595 * np.log10(1 + np.arange(257) * 16000 / 512 / 700)
    corners = np.linspace(*(2595 * np.log10(1 + np.array([60.0, 7800.0]) / 700)), 42)
    step = corners[1] - corners[0]
    matrix = np.maximum(1 - np.abs(bins_mel[:, None] - corners[1:-1]) / step, 0)
    centers_bin = 512 * np.asarray(model.bank.centers_rad[...]) / (2 * np.pi)
    assert np.max(np.abs(centers_bin - np.argmax(matrix, axis=0))) < 0.51
    assert np.all(np.diff(centers_bin) > 0.5)
    # The full width at half maximum of a Gaussian, and of the square root of a triangle.
    is_above = np.sqrt(matrix) >= np.sqrt(matrix.max(axis=0)) / 2
    widths_bin = 512 * np.sqrt(2 * np.log(2)) / (np.pi * np.asarray(model.bank.widths[...]))
    assert np.max(np.abs(widths_bin - is_above.sum(axis=0))) < 1


def test_the_filters_of_sincnet_lie_between_its_corners():
    filters = SincNetFilters(n_taps=101)
    config = FrontendConfig.sincnet(sample_rate=8000, n_bands=6, filters=filters)
    model = SpectralFrontend(config, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(model.bank.low_hz[0], 30, rtol=1e-6)
    np.testing.assert_allclose(model.bank.low_hz[-1] + model.bank.band_hz[-1], 3900, rtol=1e-6)
    low = 50 + np.abs(np.asarray(model.bank.low_hz[...], np.float64))
    high = np.minimum(low + 50 + np.abs(np.asarray(model.bank.band_hz[...], np.float64)), 4000)
    k = np.arange(-50, 51)
    window = 0.54 + 0.46 * np.cos(2 * np.pi * k / 101)
    for i in range(6):
        taps = 2 * high[i] / 8000 * np.sinc(2 * high[i] / 8000 * k)
        taps = (taps - 2 * low[i] / 8000 * np.sinc(2 * low[i] / 8000 * k)) * window
        # The published taps are twice the real part of those of ddspx.
        response = np.asarray(model.bank.response(4096))[i]
        even = response + np.conj(np.roll(response[::-1], 1))
        np.testing.assert_allclose(np.roll(np.fft.ifft(even).real, 50)[:101], taps, atol=1e-6)


@pytest.mark.parametrize("preset", ["leaf", "spectnet", "sincnet"])
def test_published_parameters_are_limited_as_published(preset):
    # A defect of the published filters; the ordered filters have a gradient in every parameter.
    config = getattr(FrontendConfig, preset)(sample_rate=1000, n_bands=8, fmin=0.0)
    filters = dataclasses.replace(config.filters, path=StftPath())
    config = dataclasses.replace(config, filters=filters)
    model = SpectralFrontend(config, rngs=nnx.Rngs(0))
    if preset == "leaf":
        model.bank.centers_rad[...] = model.bank.centers_rad[...].at[0].set(-0.1)
    if preset == "sincnet":
        model.bank.band_hz[...] = model.bank.band_hz[...].at[-1].set(900.0)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    loss = lambda p: jnp.sum(nnx.merge(graph, p, rest).energies(HEARD) ** 2)  # noqa: E731
    flat = nnx.to_flat_state(quick_jit(jax.grad(loss))(params))
    found = {path[-1]: np.asarray(variable[...]) for path, variable in flat}
    name, dead = {
        "leaf": ("centers_rad", [0]),
        "spectnet": ("frequencies_hz", [0, -1]),
        "sincnet": ("band_hz", [-1]),
    }[preset]
    scale = np.abs(found[name]).max()
    np.testing.assert_allclose(found[name][dead] / scale, 0, atol=1e-4)
    assert np.abs(found[name][3]) > 1e-3 * scale


# boundary


def test_time_is_the_last_axis_on_every_path():
    for path in PATHS:
        for shape in ((2, 800, 1), (1600, 2)):
            with pytest.raises(ValueError, match="`audio` must have shape"):
                gammatones(path)(jnp.zeros(shape, jnp.float32))


def test_integer_audio_is_refused():
    for path in PATHS:
        with pytest.raises(TypeError, match="audio"):
            gammatones(path)(np.zeros(1600, np.int16))


def test_leafs_bias_stays_above_zero_and_its_gain_stops_at_one():
    model = SpectralFrontend(FrontendConfig.leaf(sample_rate=8000, n_bands=6), rngs=nnx.Rngs(0))
    listen, outputs = of_parts(SpectralFrontend.__call__), []
    model.compression.bias[...] = jnp.linspace(-1, 1, 6, dtype=jnp.float32)
    for audio in (HEARD, 0 * HEARD):
        assert np.isfinite(listen(model, audio)).all()
    for gain in (1.0, 1.5):
        model.compression.gain[...] = jnp.full(6, gain, jnp.float32)
        outputs.append(np.asarray(listen(model, HEARD)))
    np.testing.assert_array_equal(*outputs)
