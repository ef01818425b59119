import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import noise, quick_jit

from ddspx import core
from ddspx.nn import (
    DecibelCompression,
    FreeFilters,
    FrontendConfig,
    GaborFilters,
    GammatoneFilters,
    LeafFilters,
    Log1pCompression,
    LogCompression,
    NoCompression,
    PcenCompression,
    SincFilters,
    SincNetFilters,
    SpectNetFilters,
    SpectralFrontend,
    StftPath,
    TriangularFilters,
    displacement_erb,
)

SMALL = {"sample_rate": 8000, "hop_length": 80, "n_fft": 256, "win_length": 200, "n_bands": 12}
AUDIO = jnp.asarray(0.1 * noise(2, 1600), jnp.float32)
PARTS = ("centers", "bandwidths", "gains")
ORDERED = (TriangularFilters, GammatoneFilters, GaborFilters, SincFilters)


def frontend(**changes) -> SpectralFrontend:
    return SpectralFrontend(FrontendConfig(**SMALL | changes), rngs=nnx.Rngs(0))


def gradients(model):
    """Gradients of the sum of squared features, by the names of the parameters."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    gradient = quick_jit(jax.grad(lambda p, x: jnp.sum(nnx.merge(graph, p, rest)(x) ** 2)))

    def by_name(audio):
        found = nnx.to_flat_state(gradient(params, audio))
        return {path[-1]: np.asarray(variable[...]) for path, variable in found}

    return by_name


# energies and features


@pytest.mark.parametrize("n_mfcc", [None, 5])
def test_an_untrained_front_end_is_the_log_mel_spectrogram(n_mfcc):
    config = FrontendConfig.log_mel(**SMALL, fmax=3800.0, n_mfcc=n_mfcc)
    features = SpectralFrontend(config, rngs=nnx.Rngs(0))(AUDIO)
    sizes = {name: SMALL[name] for name in ("sample_rate", "hop_length", "n_fft", "win_length")}
    ends = {"fmin": 60.0, "fmax": 3800.0, "htk": True, "norm": None}
    power = core.mel_spectrogram(AUDIO, n_mels=12, **sizes, **ends)
    window = np.asarray(core.hann_window(200))
    # The factor 2 adds the negative frequencies. 0 Hz and Nyquist, which have none, are in no
    # triangle.
    expected = jnp.log(2 / (256 * np.sum(window**2)) * power + 1e-10)
    if n_mfcc:
        expected = core.cepstral_coefficients(expected, n_mfcc=n_mfcc)
    np.testing.assert_allclose(features, expected, atol=2e-4)


@pytest.mark.parametrize("filters", [GammatoneFilters(), GaborFilters()])
def test_energies_are_those_of_the_convolution_with_each_filter(filters):
    # Zero-padding leaves room for the impulse response, so the convolution does not wrap around.
    sizes = {"n_fft": 4096, "fmin": 300.0, "fmax": 3000.0}
    model = frontend(**sizes, filters=filters, compression=NoCompression())
    bands = model.centers_hz(), model.bandwidths_hz()
    if isinstance(filters, GammatoneFilters):
        taps = core.gammatone_impulse_response(*bands, sample_rate=8000, n_taps=2000)
    else:
        taps = core.gabor_impulse_response(*bands, sample_rate=8000, win_length=1001)
    window = np.asarray(core.hann_window(200))
    frame = np.asarray(AUDIO[0])[10 * 80 - 100 : 10 * 80 + 100] * window
    energies = [np.sum(np.abs(np.convolve(frame, tap)) ** 2) for tap in np.asarray(taps)]
    expected = 2 * np.asarray(energies) / np.sum(window**2)
    np.testing.assert_allclose(model(AUDIO)[0, 10], expected, rtol=1e-4)


@pytest.mark.parametrize("family", ORDERED)
def test_a_tone_is_loudest_in_the_band_whose_centre_it_has(family):
    model = frontend(filters=family(), win_length=256)
    centers_hz = np.asarray(model.centers_hz())
    for band in (3, 7, 11):
        tone = np.sin(2 * np.pi * centers_hz[band] * np.arange(1600) / 8000)
        assert np.argmax(model(jnp.asarray(tone, jnp.float32))[10]) == band


@pytest.mark.parametrize("family", ORDERED)
def test_the_gain_of_every_band_is_that_at_its_centre(family):
    model = frontend(filters=family(trainable=("gains",)))
    model.bank.gains_db[...] = jnp.linspace(-20, 6, 12, dtype=jnp.float32)
    power, bin_hz = np.asarray(model.power_response(n_fft=1 << 15)), 8000 / (1 << 15)
    nearest = np.round(np.asarray(model.centers_hz()) / bin_hz).astype(int)
    found = core.power_to_db(jnp.asarray(power[np.arange(12), nearest]))
    np.testing.assert_allclose(found, model.bank.gains_db[...], atol=1e-2)
    if family is not SincFilters:  # which ripples
        peaks = core.power_to_db(jnp.max(power, axis=-1))
        np.testing.assert_allclose(peaks, model.bank.gains_db[...], atol=1e-2)


@pytest.mark.parametrize(
    "filters",
    [
        GammatoneFilters(),
        GaborFilters(),
        SincFilters(n_taps=801),
        SpectNetFilters(n_taps=801, path=StftPath()),
        LeafFilters(n_taps=801, path=StftPath()),
        SincNetFilters(n_taps=801, path=StftPath()),
    ],
    ids=lambda filters: type(filters).__name__,
)
def test_bandwidths_are_those_of_the_rectangle_with_the_same_power(filters):
    # The range keeps the lowest band away from 0 Hz, and the highest away from Nyquist.
    model = frontend(fmin=400.0, fmax=3000.0, filters=filters)
    power = np.asarray(model.power_response(n_fft=1 << 14), np.float64)
    found = power.sum(-1) * 8000 / (1 << 14) / power.max(-1)
    # A sinc of few taps ripples, so its maximum is not at its centre.
    tolerance = 0.1 if isinstance(filters, SincFilters | SincNetFilters) else 0.02
    np.testing.assert_allclose(model.bandwidths_hz(), found, rtol=tolerance)


def test_a_sinc_filter_with_too_few_taps_reports_its_real_bandwidth():
    filters = (SincFilters(n_taps=n_taps) for n_taps in (1601, 101))
    long, short = (frontend(fmin=400.0, fmax=3000.0, filters=sincs) for sincs in filters)
    np.testing.assert_allclose(long.bandwidths_hz(), core.hz_to_erb(long.centers_hz()), rtol=0.05)
    # The bandwidth of the window alone: 1.36 bins of a transform of its length.
    np.testing.assert_array_less(1.36 * 8000 / 101, short.bandwidths_hz())


def test_compressions_are_their_formulas():
    energies = np.asarray(frontend(compression=NoCompression())(AUDIO))
    np.testing.assert_allclose(
        frontend(compression=DecibelCompression())(AUDIO),
        10 * np.log10(energies + 1e-10),
        atol=1e-3,
    )
    np.testing.assert_allclose(
        frontend(compression=Log1pCompression())(AUDIO), np.log1p(1e10 * energies), atol=1e-4
    )
    smoothing = core.pcen_smoothing(0.4, sample_rate=8000, hop_length=80)
    expected = core.pcen(jnp.asarray(energies), smoothing, eps=1e-10, initial="first")
    np.testing.assert_allclose(frontend(compression=PcenCompression())(AUDIO), expected, atol=1e-4)
    normal = np.asarray(frontend(normalize=True)(AUDIO))
    np.testing.assert_allclose(normal.mean(-2), 0, atol=1e-4)
    np.testing.assert_allclose(normal.std(-2), 1, atol=1e-3)


# gradients


@pytest.mark.parametrize("compression", [Log1pCompression, PcenCompression])
@pytest.mark.parametrize("family", ORDERED)
def test_every_parameter_has_a_gradient_that_is_finite_at_singular_points(family, compression):
    parts = ("centers", "gains") if family is TriangularFilters else PARTS
    model = frontend(filters=family(trainable=parts), compression=compression(trainable=True))
    time_s = np.arange(1600) / 8000
    hard = [0 * time_s, time_s == 0.1, 0 * time_s + 0.5, np.cos(np.pi * 8000 * time_s)]
    gradients_of = gradients(model)
    for name, gradient in gradients_of(jnp.concatenate([AUDIO, AUDIO])).items():
        # No parameter has a gradient of zero, not even those of the first and last band.
        assert (np.abs(gradient) > 1e-7 * np.abs(gradient).max()).all(), name
    for name, gradient in gradients_of(jnp.asarray(np.stack(hard), jnp.float32)).items():
        assert np.isfinite(gradient).all(), name


@pytest.mark.parametrize("size", [-12.0, 12.0])
@pytest.mark.parametrize("family", ORDERED[1:])
def test_bandwidths_of_any_size_have_finite_gradients(family, size):
    # The ear's bandwidth over 160,000, so that a band can lie between two bins, and times 160,000.
    filters, compression = family(trainable=PARTS), Log1pCompression(trainable=True)
    model = frontend(filters=filters, compression=compression)
    model.bank.log_bandwidths[...] = jnp.full(12, size, jnp.float32)
    energies = np.asarray(model.energies(AUDIO))
    assert np.isfinite(energies).all() and (energies >= 0).all()
    assert size < 0 or (energies > 0).all()
    for name, gradient in gradients(model)(AUDIO).items():
        assert np.isfinite(gradient).all(), name


def test_free_weights_act_by_their_absolute_values():
    model = frontend(filters=FreeFilters(), compression=Log1pCompression())
    features, gradient = model(AUDIO), gradients(model)(AUDIO)["weights"]
    weights = model.bank.weights[...]
    model.bank.weights[...] = -weights
    np.testing.assert_array_equal(model(AUDIO), features)
    turned = gradients(model)(AUDIO)["weights"]
    np.testing.assert_allclose(turned, np.where(weights > 0, -gradient, gradient), rtol=1e-6)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_only_the_trainable_parts_are_parameters():
    def names(model):
        return {path[-1] for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Param))}

    none = frontend(filters=GammatoneFilters(trainable=()))
    assert names(none) == set()
    assert names(frontend(filters=GammatoneFilters(trainable=("gains",)))) == {"gains_db"}
    assert names(frontend()) == {"gaps", "log_bandwidths"}
    stored = {path[-1] for path, _ in nnx.to_flat_state(nnx.state(none))}
    assert stored == {"gaps", "log_bandwidths", "gains_db"}


@pytest.mark.slow
def test_gradient_descent_finds_a_distant_band():
    # Noise that falls by 18 dB per octave, so that the energy of a band depends on its frequency.
    slope = core.one_pole(0.001, sample_rate=8000).astype("float32")
    audio = core.sos_filter(AUDIO, jnp.stack([slope] * 3))
    sizes = {"n_bands": 1, "fmin": 200.0, "fmax": 3000.0, "compression": LogCompression(1e-12)}
    sizes["filters"] = GammatoneFilters(trainable=("centers",))
    truth = frontend(**sizes)
    truth.bank.gaps[...] = jnp.asarray([0.8, 0.0], jnp.float32)
    target = truth(audio)
    graph, params, rest = nnx.split(frontend(**sizes), nnx.Param, ...)
    gradient = jax.grad(lambda p: jnp.mean((nnx.merge(graph, p, rest)(audio) - target) ** 2))
    step = quick_jit(lambda p: jax.tree.map(lambda x, g: x - 0.01 * g, p, gradient(p)))
    first = nnx.merge(graph, params, rest).centers_hz()
    for _ in range(100):
        params = step(params)
    last = nnx.merge(graph, params, rest).centers_hz()
    assert displacement_erb(first, truth.centers_hz())[0] > 2
    assert displacement_erb(last, truth.centers_hz())[0] < 0.05


def test_a_displacement_of_one_is_one_erb():
    f = jnp.asarray([100.0, 5000.0])
    moved = displacement_erb(f, f + 0.01 * core.hz_to_erb(f))
    np.testing.assert_allclose(moved, 0.01, rtol=2e-2)


# boundary


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fmax": 5000.0}, "`fmax` must be at most half of `sample_rate`, 4000.0 Hz, got 5000.0"),
        ({"fmin": 4000.0}, "`fmin` must be at least 0 and below `fmax`"),
        ({"n_mfcc": 13}, "`n_mfcc` must be at most `n_bands`, 12, got 13"),
        ({"n_bands": 0}, "`n_bands` must be at least 1, got 0"),
    ],
)
def test_wrong_configs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        FrontendConfig(**SMALL | changes)
