"""Parts of the autoencoder that are exchanged: what is saved comes back, or is refused."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from toy_instrument import HOP, SAMPLE_RATE, save_toy_instrument, toy_config, toy_model

from ddspx import core
from ddspx.instruments import Instrument, load_instrument
from ddspx.models.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    load_autoencoder,
    save_autoencoder,
)
from ddspx.nn import (
    DilatedConvDecoderConfig,
    HarmonicNoiseConfig,
    RnnFcDecoderConfig,
    SinusoidalNoiseConfig,
    TapReverbConfig,
    WavetableNoiseConfig,
)
from ddspx.transfer import AdjustedControls, render


@dataclasses.dataclass(frozen=True)
class OrganConfig:
    """Somebody's own: a harmonic synthesizer an octave lower, with a gain that is learned."""

    n_harmonics: int = 6
    n_outputs: int = 7
    harmonics: tuple[int, ...] = (1, 2)

    def build(self, *, sample_rate, hop_length, rngs):
        return Organ(self, sample_rate, hop_length)


class Organ(nnx.Module):
    def __init__(self, config, sample_rate, hop_length):
        self.config, self.sample_rate, self.hop_length = config, sample_rate, hop_length
        self.gain = nnx.Param(jnp.full(1, 0.5, jnp.float32))

    def controls(self, outputs, f0_hz):
        bounded = core.exp_sigmoid(outputs)
        return f0_hz / 2, self.gain[...][0] * bounded[..., 0], bounded[..., 1:]

    def sizes(self, n_samples):
        return {
            "sample_rate": self.sample_rate,
            "hop_length": self.hop_length,
            "n_samples": n_samples,
        }

    def __call__(self, key, controls, *, n_samples=None):
        return core.harmonic_synthesis(*controls, **self.sizes(n_samples))

    def init(self, key, *, batch_shape=(), dtype=jnp.float32):
        return core.harmonic_synthesis_init(batch_shape=batch_shape, dtype=dtype)

    def step(self, state, controls, *, next_controls=None, n_samples=None):
        following = None if next_controls is None else next_controls[0][..., 0]
        sizes = self.sizes(n_samples)
        return core.harmonic_synthesis_step(state, *controls, next_f0_hz=following, **sizes)


OWN = OrganConfig()


def with_synthesizer(synthesizer):
    return dataclasses.replace(toy_config(), synthesizer=synthesizer)


@pytest.mark.parametrize(
    "part",
    [
        # Windows of 6 frames, so that the 13 frames need three.
        DilatedConvDecoderConfig(8, 3, 1, 2, False, 6, 2),
        SinusoidalNoiseConfig(6, 5),
        # Slow, because it is played by the same code as the harmonics.
        pytest.param(WavetableNoiseConfig(3, 8, 5), marks=pytest.mark.slow),
        OWN,
    ],
    ids=lambda config: type(config).__name__,
)
def test_a_loaded_model_plays_in_blocks_as_at_once(part, tmp_path, rng, key):
    """Saved, loaded, rendered as a transfer renders it, beside the whole as training has it."""
    name = "decoder" if isinstance(part, DilatedConvDecoderConfig) else "synthesizer"
    config = dataclasses.replace(toy_config(), **{name: part})
    save_toy_instrument(tmp_path / "m", config=config)
    instrument = load_instrument(tmp_path / "m", parts=[OrganConfig])
    assert isinstance(instrument, Instrument) and instrument.model.config == config
    f0_hz = rng.uniform(200, 1500, 13).astype(np.float32)
    loudness_db = rng.uniform(-50, 0, 13).astype(np.float32)
    ones = np.ones(13, np.float32)
    played = AdjustedControls(f0_hz, loudness_db, ones, loudness_db, ones > 0, 0)
    graph, weights = nnx.split(instrument.model)
    n_samples = 12 * HOP + 3
    whole = jax.jit(
        lambda weights: nnx.merge(graph, weights)(key, f0_hz, loudness_db, n_samples=n_samples)
    )(weights)
    # `render` uses the seed 0, from which the fixture's key is made.
    sizes = {"n_samples": n_samples, "block_hops": 5, "ceiling_db": 60.0}
    blocks = np.concatenate(list(render(instrument.model, played, **sizes)))
    assert np.abs(blocks).max() > 1e-3
    np.testing.assert_allclose(blocks, whole, atol=2e-5)


def test_a_stream_in_float64_equals_the_whole_to_its_precision(rng, key):
    """A scan, whose carry must keep its dtypes, over blocks of two hops."""
    if not jax.config.jax_enable_x64:
        pytest.skip("1e-11 needs float64")
    graph, weights = nnx.split(toy_model(with_synthesizer(OWN)))
    f0_hz, loudness_db = rng.uniform(200, 1500, 13), rng.uniform(-50, 0, 13)

    @jax.jit
    def both(weights):
        model = nnx.merge(graph, weights)
        # A block ends with the first frame of the next one, and has the frame after it too.
        starts = 2 * np.arange(5)[:, None] + np.arange(4)
        blocks = jnp.asarray(f0_hz)[starts], jnp.asarray(loudness_db)[starts]
        state, audio = jax.lax.scan(
            lambda state, block: model.step(state, *block, lookahead=True),
            model.init(key, dtype=jnp.float64),
            blocks,
        )
        _, last = model.step(state, f0_hz[10:], loudness_db[10:])
        return jnp.append(audio.ravel(), last), model(key, f0_hz, loudness_db)

    streamed, whole = both(weights)
    assert streamed.dtype == whole.dtype == np.float64
    assert np.abs(whole).max() > 1e-3
    np.testing.assert_allclose(streamed, whole, atol=1e-11 * np.abs(whole).max())


def test_a_class_outside_of_ddspx_is_given_and_not_imported_by_name(tmp_path):
    save_toy_instrument(tmp_path / "m", config=with_synthesizer(OWN))
    saved = json.loads((tmp_path / "m" / "config.json").read_text())["synthesizer"]
    assert saved == {"kind": "OrganConfig", "n_harmonics": 6, "n_outputs": 7, "harmonics": [1, 2]}
    with pytest.raises(ValueError, match=r"'OrganConfig', which is not one of .*parts"):
        load_autoencoder(tmp_path / "m")
    assert load_autoencoder(tmp_path / "m", parts=[OrganConfig])[0].config.synthesizer == OWN


def test_a_folder_saved_before_there_were_parts_is_loaded(tmp_path):
    old = {
        "sample_rate": 16000,
        "hop_length": 64,
        "n_harmonics": 60,
        "n_magnitudes": 65,
        "rnn_channels": 256,
        "fc_channels": 192,
        "fc_layers": 2,
        "reverb_length": 24000,
        "amplitude_upsampling": "linear",
        "loss_n_ffts": [2048, 64],
    }
    config = AutoencoderConfig.from_json(old)
    assert config == dataclasses.replace(
        AutoencoderConfig.small(),
        synthesizer=HarmonicNoiseConfig(60, 65, "linear"),
        decoder=RnnFcDecoderConfig(256, 192, 2),
        reverb=TapReverbConfig(24_000),
        loss_n_ffts=(2048, 64),
    )
    assert AutoencoderConfig.from_json(old | {"reverb_length": 0}).reverb is None
    with pytest.raises(ValueError, match="has the unknown `code`"):
        AutoencoderConfig.from_json(old | {"code": "import os"})


# models that could not be loaded


def save(model, folder):
    _, statistics, provenance = load_autoencoder(save_toy_instrument(folder.parent / "toy"))
    save_autoencoder(folder, model, statistics=statistics, provenance=provenance)


class Louder(Autoencoder):
    def __call__(self, key, f0_hz, loudness_db, **options):
        return 2 * super().__call__(key, f0_hz, loudness_db, **options)


def test_a_subclass_is_refused_by_save_and_by_render(tmp_path):
    model = toy_model(toy_config(), Louder)
    with pytest.raises(TypeError, match="got a Louder, which would be loaded as an Autoencoder"):
        save(model, tmp_path / "m")
    assert not (tmp_path / "m").exists()
    tracks = np.ones(3, np.float32)
    played = AdjustedControls(tracks, tracks, tracks, tracks, tracks > 0, 0)
    with pytest.raises(TypeError, match="got a Louder"):
        next(render(model, played, n_samples=2 * HOP))


def build(config, sample_rate=SAMPLE_RATE):
    return config.build(sample_rate=sample_rate, hop_length=HOP, rngs=nnx.Rngs(0))


def other_class(model):
    model.synthesizer = build(SinusoidalNoiseConfig(6, 5))


def other_rate(model):
    model.synthesizer = build(model.config.synthesizer, 2 * SAMPLE_RATE)


def other_attribute(model):
    model.synthesizer.boost = 3.0


def other_sizes(model):
    model.decoder = RnnFcDecoderConfig(8, 16, 1).build((1, 1), 22, rngs=nnx.Rngs(0))


def other_config(model):
    model.config = dataclasses.replace(model.config, sample_rate=2 * SAMPLE_RATE)


def another_variable(model):
    model.extra = nnx.Param(jnp.ones(1, jnp.float32))


def other_type(model):
    model.reverb.taps = nnx.Param(jnp.zeros(1200, jnp.bfloat16))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (other_class, "model.synthesizer"),
        (other_rate, "model.synthesizer"),
        (other_attribute, "model.synthesizer"),
        (other_sizes, "model.decoder"),
        (other_config, "model.synthesizer"),
        (another_variable, "model"),
        (other_type, "model.reverb"),
    ],
)
def test_a_model_that_its_config_does_not_build_is_refused(change, part, tmp_path):
    model = toy_model(toy_config())
    change(model)
    with pytest.raises(ValueError, match=f"`{part}` is not what `model.config` builds"):
        save(model, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_statistics_of_another_rate_are_refused(tmp_path):
    model, statistics, provenance = load_autoencoder(save_toy_instrument(tmp_path / "toy"))
    other = dataclasses.replace(statistics, hop_length=2 * HOP)
    with pytest.raises(ValueError, match="`statistics` must have the model's `hop_length`, 64"):
        save_autoencoder(tmp_path / "m", model, statistics=other, provenance=provenance)


def test_a_config_that_json_cannot_hold_is_refused(tmp_path):
    config = with_synthesizer(dataclasses.replace(OWN, harmonics=frozenset({1})))
    with pytest.raises(ValueError, match=r"`model\.config` cannot be saved"):
        save(toy_model(config), tmp_path / "m")


@dataclasses.dataclass(frozen=True)
class BuildsConfig(OrganConfig):
    """A config of whatever it is told to build."""

    build_other: object = None

    def build(self, **sizes):
        return self.build_other(**sizes)


class Counting(Organ):
    def __init__(self, *args):
        super().__init__(*args)
        self.norm = nnx.BatchNorm(3, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda **_: ["x"], TypeError, "must have controls, __call__, init, step .* got \\['x'\\]"),
        (
            lambda **_: Counting(OWN, 1, 1),
            ValueError,
            "has a BatchStat, `norm.mean`, which",
        ),
    ],
    ids=["list", "batch statistics"],
)
def test_a_part_that_could_not_be_trained_or_streamed_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        Autoencoder(with_synthesizer(BuildsConfig(build_other=make)), rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("synthesizer", "harmonic"),
        ("synthesizer", HarmonicNoiseConfig),
        ("synthesizer", RnnFcDecoderConfig()),
        ("decoder", OWN),
        ("encoder", OWN),
        ("synthesizer", dataclasses.replace(OWN, harmonics=[1, 2])),
    ],
)
def test_objects_that_are_not_configs_of_the_part_are_refused(name, value, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    with pytest.raises(TypeError, match=f"`{name}` must be the config of one, such as nn"):
        dataclasses.replace(toy_config(), **{name: value})


def test_nested_tuples_are_saved_and_loaded(tmp_path):
    config = with_synthesizer(dataclasses.replace(OWN, harmonics=((1, 2), (3,))))
    save(toy_model(config), tmp_path / "m")
    assert load_autoencoder(tmp_path / "m", parts=[OrganConfig])[0].config == config
