"""Every synthesizer: its controls by the definition, its stream, its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import quick_jit

from ddspx import core
from ddspx.nn import (
    HarmonicNoiseConfig,
    SinusoidalNoiseConfig,
    Synthesizer,
    WavetableNoiseConfig,
)

RATE, HOP, FRAMES = 8000, 40, 9
CONFIGS = {
    "harmonic": HarmonicNoiseConfig(5, 4),
    "sinusoidal": SinusoidalNoiseConfig(5, 4),
    "wavetable": WavetableNoiseConfig(3, 5, 4),
}
# A glide through Nyquist of the fifth partial, a rest, and one more note.
F0_HZ = np.array([300, 500, 900, 1200, 700, 0, np.nan, 240, 260], np.float32)


@pytest.fixture(params=CONFIGS)
def synthesizer(request):
    return CONFIGS[request.param].build(sample_rate=RATE, hop_length=HOP, rngs=nnx.Rngs(0))


@pytest.fixture
def outputs(synthesizer, rng):
    return jnp.asarray(rng.normal(0, 1, (FRAMES, synthesizer.config.n_outputs)), jnp.float32)


def exp_sigmoid(x):
    return 2 / (1 + np.exp(-x)) ** np.log(10) + 1e-7


def shares(weights, frequencies_hz):
    """Of each frame, of what lies below Nyquist; none where there is no pitch."""
    with np.errstate(invalid="ignore"):
        audible = np.where((frequencies_hz > 0) & (frequencies_hz < RATE / 2), weights, 0)
    total = audible.sum(-1, keepdims=True)
    return np.divide(audible, total, out=np.zeros_like(audible), where=total > 0)


def test_synthesizers_satisfy_the_protocol(synthesizer):
    assert isinstance(synthesizer, Synthesizer)
    assert hash(synthesizer.config) == hash(CONFIGS[_name(synthesizer)])


def _name(synthesizer):
    return next(name for name, config in CONFIGS.items() if config == synthesizer.config)


def test_controls_are_their_definition(synthesizer, outputs):
    made = synthesizer.controls(outputs, jnp.asarray(F0_HZ))
    o, name = np.asarray(outputs, np.float64), _name(synthesizer)
    harmonics = np.arange(1, 6)
    amplitude = exp_sigmoid(o[:, 0])
    if name == "sinusoidal":
        pitch = np.nan_to_num(F0_HZ.astype(np.float64))
        frequencies = pitch[:, None] * (harmonics + 0.5 * np.tanh(o[:, 6:11]))
        np.testing.assert_allclose(made.sinusoidal.frequencies_hz, frequencies, rtol=1e-6)
        expected = amplitude[:, None] * shares(exp_sigmoid(o[:, 1:6]), frequencies)
        np.testing.assert_allclose(made.sinusoidal.amplitudes, expected, rtol=2e-5, atol=1e-7)
    else:
        weights, bands = exp_sigmoid(o[:, 1:6]), o[:, 6:]
        if name == "wavetable":
            mix = np.exp(o[:, 1:4]) / np.exp(o[:, 1:4]).sum(-1, keepdims=True)
            weights = mix @ exp_sigmoid(np.asarray(synthesizer.tables[...], np.float64))
            bands = o[:, 4:]
        np.testing.assert_allclose(made.harmonic.amplitudes, amplitude, rtol=1e-5)
        expected = shares(weights, F0_HZ[:, None] * harmonics)
        np.testing.assert_allclose(made.harmonic.harmonic_distribution, expected, atol=1e-5)
        np.testing.assert_array_equal(made.harmonic.f0_hz, F0_HZ)
        np.testing.assert_allclose(made.noise.magnitudes, exp_sigmoid(bands - 5), rtol=1e-4)


def test_harmonics_above_nyquist_may_count_in_the_sum(rng):
    config = HarmonicNoiseConfig(5, 4, normalize_below_nyquist=False)
    synthesizer = config.build(sample_rate=RATE, hop_length=HOP, rngs=nnx.Rngs(0))
    outputs = jnp.asarray(rng.normal(0, 1, (FRAMES, config.n_outputs)), jnp.float32)
    distribution = synthesizer.controls(outputs, jnp.asarray(F0_HZ)).harmonic.harmonic_distribution
    weights = exp_sigmoid(np.asarray(outputs[:, 1:6], np.float64))
    audible = shares(weights, F0_HZ[:, None] * np.arange(1, 6)) > 0
    expected = np.where(audible, weights / weights.sum(-1, keepdims=True), 0)
    np.testing.assert_allclose(distribution, expected, atol=1e-5)


def test_blocks_equal_the_whole(synthesizer, outputs, key):
    """Cut where the pitch goes through Nyquist and where it begins anew; a last hop more."""
    n_samples = (FRAMES - 1) * HOP + 7
    graph, weights = nnx.split(synthesizer)

    @quick_jit
    def both(weights, outputs):
        model = nnx.merge(graph, weights)
        controls = model.controls(outputs, jnp.asarray(F0_HZ))
        state, blocks = model.init(key), []
        for first, last in ((0, 1), (1, 2), (2, 6), (6, FRAMES - 1)):
            of = [slice(first, last + 1), slice(last + 1, last + 2)]
            block, following = (jax.tree.map(lambda x, s=s: x[s], controls) for s in of)
            is_last = last == FRAMES - 1
            state, audio = model.step(
                state,
                block,
                next_controls=None if is_last else following,
                n_samples=n_samples - first * HOP if is_last else None,
            )
            blocks.append(audio)
        return jnp.concatenate(blocks), model(key, controls, n_samples=n_samples)

    streamed, whole = both(weights, outputs)
    assert np.abs(whole).max() > 0.05
    np.testing.assert_allclose(streamed, whole, atol=1e-5)


def test_gradients_are_finite_and_reach_every_output_of_the_decoder(synthesizer, outputs, key):
    graph, weights = nnx.split(synthesizer)

    @quick_jit
    def gradients(weights, outputs, f0_hz):
        def energy(weights, outputs, f0_hz):
            model = nnx.merge(graph, weights)
            return jnp.sum(model(key, model.controls(outputs, f0_hz)) ** 2)

        return jax.grad(energy, argnums=(0, 1, 2))(weights, outputs, f0_hz)

    of_weights, of_outputs, of_pitch = gradients(weights, outputs, jnp.asarray(F0_HZ))
    for gradient in jax.tree.leaves((of_weights, of_outputs, of_pitch)):
        assert np.isfinite(np.asarray(gradient)).all()
    assert np.all(np.abs(np.asarray(of_outputs)).max(axis=0) > 0)
    for gradient in jax.tree.leaves(of_weights):
        assert np.abs(np.asarray(gradient)).max() > 0


def test_a_bell_sounds_at_its_partials(key):
    """Physics: partials of a minor-third bell, which no harmonics of its pitch are."""
    config, f0_hz = SinusoidalNoiseConfig(4, 2), 400.0
    ratios = np.array([1.0, 2.4, 3.0, 4.4])
    outputs = np.zeros((101, config.n_outputs), np.float32)
    outputs[:, 5:9] = np.arctanh((ratios - np.arange(1, 5)) / config.spread)
    outputs[:, 9:] = -100
    bell = config.build(sample_rate=RATE, hop_length=HOP, rngs=nnx.Rngs(0))
    audio = np.asarray(bell(key, bell.controls(outputs, np.full(101, f0_hz, np.float32))))
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(audio.size)))
    peaks = [
        i for i in range(1, len(spectrum) - 1) if spectrum[i - 1] < spectrum[i] >= spectrum[i + 1]
    ]
    loudest = sorted(sorted(peaks, key=lambda i: -spectrum[i])[:4])
    np.testing.assert_allclose(np.array(loudest) * RATE / audio.size, ratios * f0_hz, atol=2.0)


def test_learned_tables_are_one_period_of_the_audio(key):
    config = WavetableNoiseConfig(1, 6, 2)
    model = config.build(sample_rate=RATE, hop_length=HOP, rngs=nnx.Rngs(0))
    outputs = jnp.zeros((6, config.n_outputs), jnp.float32).at[:, 2:].set(-100)
    f0_hz = jnp.full(6, 125.0, jnp.float32)
    played = np.asarray(model(key, model.controls(outputs, f0_hz)))[:64]
    table = np.asarray(model.wavetables(64))[0]
    # A table begins at phase 0; the first sample of the sound is one step later.
    level = float(core.exp_sigmoid(0.0)) / np.sum(exp_sigmoid(np.asarray(model.tables[...])))
    np.testing.assert_allclose(played, level * np.roll(table, -1), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HarmonicNoiseConfig(0, 4), "`n_harmonics` must be at least 1, got 0"),
        (lambda: HarmonicNoiseConfig(4, 1), "`n_magnitudes` must be at least 2"),
        (lambda: SinusoidalNoiseConfig(4, 4, spread=0.6), "`spread` must be above 0, and at most"),
        (lambda: SinusoidalNoiseConfig(amplitude_upsampling="cubic"), "`amplitude_upsampling`"),
        (lambda: WavetableNoiseConfig(n_wavetables=0), "`n_wavetables` must be at least 1"),
    ],
)
def test_impossible_sizes_are_refused(make, message, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        make()
