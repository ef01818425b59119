import dataclasses
import json
import os
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import assert_close, quick_jit
from modules import of_parts
from toy_instrument import HOP, save_toy_instrument

from ddspx.features import Features, conditioning_features, method_of
from ddspx.instruments import describe_instrument, instrument_names, load_instrument
from ddspx.metrics import VOICED
from ddspx.models.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    InstrumentStatistics,
    load_autoencoder,
    save_autoencoder,
)
from ddspx.nn import HarmonicNoiseConfig

controls = of_parts(Autoencoder.controls)
play = of_parts(Autoencoder.__call__, static=("n_samples",))
play_block = of_parts(Autoencoder.step, static=("lookahead", "n_samples"))


def count(tree) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_toy_instrument(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="module")
def model(folder) -> Autoencoder:
    return load_autoencoder(folder)[0]


@pytest.fixture
def played(rng):
    f0_hz = jnp.asarray(rng.uniform(200, 1500, 21), jnp.float32)
    return f0_hz, jnp.asarray(rng.uniform(-50, 0, 21), jnp.float32)


# sizes


@pytest.mark.parametrize(
    ("preset", "decoder", "room"),
    [("solo_instrument", 4_801_150, 814), ("tiny", 232_314, 814), ("small", 754_686, 814)],
)
def test_presets_have_the_published_sizes(preset, decoder, room):
    config = getattr(AutoencoderConfig, preset)()
    model = nnx.eval_shape(lambda: Autoencoder(config, rngs=nnx.Rngs(0)))
    assert count(nnx.state(model.decoder, nnx.Param)) == decoder
    assert count(nnx.state(model.reverb, nnx.Param)) == room


@pytest.mark.parametrize("sample_rate", [8_000, 22_050, 44_100, 96_000])
def test_presets_follow_the_sample_rate(sample_rate):
    config = AutoencoderConfig.tiny(sample_rate=sample_rate, hop_length=100)
    assert (config.sample_rate, config.hop_length) == (sample_rate, 100)
    assert config.reverb.length == 3 * sample_rate
    longest_s = config.loss_n_ffts[0] / sample_rate
    assert 0.8 * 0.128 < longest_s < 1.25 * 0.128
    assert AutoencoderConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


# audio


def test_controls_are_bounded_and_silent_above_nyquist(model, played):
    harmonic, noise = controls(model, *played)
    k = np.arange(1, 13)
    audible = np.asarray(played[0])[:, None] * k < 8000
    distribution = np.asarray(harmonic.harmonic_distribution)
    np.testing.assert_allclose(distribution.sum(-1), 1, atol=1e-5)
    assert np.all((distribution > 0) == audible)
    for control in (harmonic.amplitudes, noise.magnitudes):
        assert np.all((np.asarray(control) > 0) & (np.asarray(control) < 2.001))


def test_pitch_and_loudness_both_change_the_sound(model, played, key):
    f0_hz, loudness_db = played
    sounding = partial(play, model, key)
    audio = sounding(f0_hz, loudness_db)
    assert audio.shape == (20 * HOP,)
    for changed in (sounding(f0_hz * 1.5, loudness_db), sounding(f0_hz, loudness_db + 6)):
        assert np.abs(changed - audio).max() > 1e-3 * np.abs(audio).max()


@pytest.mark.parametrize("none", [np.nan, np.inf, -np.inf])
def test_a_frame_without_a_pitch_does_not_affect_others(model, played, key, none):
    f0_hz, loudness_db = played
    sounding = partial(play, model, key)
    expected = sounding(f0_hz.at[jnp.array([4, 5, 9])].set(0), loudness_db)
    audio = sounding(f0_hz.at[jnp.array([4, 5, 9])].set(none), loudness_db)
    assert np.abs(audio).max() > 0
    np.testing.assert_array_equal(audio, expected)


def test_batches_are_played_one_by_one(model, played, key):
    f0_hz, loudness_db = (jnp.stack([x, x[::-1]])[None] for x in played)
    alone = controls(model, f0_hz[0, 1], loudness_db[0, 1])
    together = jax.tree.map(lambda x: x[0, 1], controls(model, f0_hz, loudness_db))
    for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
        assert_close(one, other, scale=1000 if one.ndim == 1 else 8)


def test_blocks_of_any_size_equal_the_whole(model, played, key):
    f0_hz, loudness_db = played
    whole = play(model, key, f0_hz, loudness_db, n_samples=20 * HOP + 5)
    state, blocks = model.init(key), []
    for first, last in [(0, 1), (1, 20)]:
        ends = last == 20
        rows = slice(first, last + 1 if ends else last + 2)
        state, audio = play_block(
            model,
            state,
            f0_hz[rows],
            loudness_db[rows],
            lookahead=not ends,
            n_samples=(last - first) * HOP + 5 if ends else None,
        )
        blocks.append(audio)
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-5)


def test_the_gradient_reaches_every_weight(model, played, key):
    graph, params = nnx.split(model)

    def loss(params):
        return jnp.sum(nnx.merge(graph, params)(key, *played) ** 2)

    gradients = quick_jit(jax.grad(loss))(params)
    for gradient in jax.tree.leaves(gradients):
        assert np.isfinite(np.asarray(gradient)).all()
        assert np.abs(np.asarray(gradient)).max() > 0


def test_tracks_of_different_lengths_are_refused(model):
    with pytest.raises(Exception, match="loudness_db"):
        model.controls(jnp.ones(3, jnp.float32), jnp.ones(4, jnp.float32))


# model folders


def test_a_saved_model_plays_the_same(model, played, key, tmp_path, folder):
    _, statistics, provenance = load_autoencoder(folder)
    save_autoencoder(tmp_path / "again", model, statistics=statistics, provenance=provenance)
    again, statistics_again, provenance_again = load_autoencoder(tmp_path / "again")
    assert (statistics_again, provenance_again) == (statistics, provenance)
    np.testing.assert_array_equal(play(again, key, *played), play(model, key, *played))


SHIPPED = (
    "alto_saxophone",
    "cello",
    "flute",
    "flute2",
    "tenor_saxophone",
    "trumpet",
    "tuba",
    "violin",
)


def test_the_list_of_shipped_instruments_is_complete():
    assert tuple(name for name in instrument_names() if describe_instrument(name).is_shipped) == (
        SHIPPED
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_instrument_is_whole_small_measured_and_attributed(name):
    model, statistics, _ = load_instrument(name)
    assert model.config.sample_rate == statistics.sample_rate == 16_000
    assert method_of(statistics.feature_version) == "ddspx"
    card = describe_instrument(name)
    assert card.n_bytes < 10e6
    # The training of all instruments began with the weights of the violin.
    assert card.licence.endswith("CC BY 3.0") and "Garner" in card.attribution
    assert card.scores.split == "test" and card.scores.n_examples >= 4
    assert 0 < card.scores.spectral_loss < 10 and card.scores.f0_l1_semitones < 0.5


@pytest.fixture(scope="module")
def shipped_tones():
    """The target pitch and loudness of each instrument, and the features measured on its sound."""
    targets, sounds, ranges = [], [], []
    for name in SHIPPED:
        model, statistics, _ = load_instrument(name)
        rates = {"sample_rate": model.config.sample_rate, "hop_length": model.config.hop_length}
        midi = np.linspace(statistics.pitch_midi_min, statistics.pitch_midi_max, 4).round()
        target_hz = np.repeat(440 * 2 ** ((midi - 69) / 12), 125).astype(np.float32)
        middle_db = statistics.loudness_quantiles[50]
        target_db = np.full(target_hz.size, middle_db, np.float32)
        sounds.append(np.asarray(play(model, jax.random.key(0), target_hz, target_db)))
        targets.append((target_hz, middle_db))
        ranges.append(statistics.pitch_range_hz)
    limits = {
        "fmin": min(limits["fmin"] for limits in ranges),
        "fmax": max(limits["fmax"] for limits in ranges),
    }
    return targets, conditioning_features(np.stack(sounds), **rates, **limits)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_instrument_plays_the_pitch_it_is_given_all_over_its_range(name, shipped_tones):
    targets, features = shipped_tones
    index = SHIPPED.index(name)
    target_hz, middle_db = targets[index]
    measured = Features(*(track[index] for track in features))
    for start in range(0, target_hz.size, 125):
        note = slice(start + 30, start + 95)
        assert np.min(measured.f0_confidence[note]) >= VOICED
        assert np.max(np.abs(1200 * np.log2(measured.f0_hz[note] / target_hz[note]))) < 20
        # The loudness is near the median of the recordings.
        assert abs(np.median(measured.loudness_db[note]) - middle_db) < 10


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_instrument_says_how_its_recordings_were_prepared(name):
    model, statistics, provenance = load_instrument(name)
    prepared = provenance["data"]["prepared"]
    assert statistics.pitch_range_hz == {limit: prepared[limit] for limit in ("fmin", "fmax")}
    for rate in ("sample_rate", "hop_length"):
        assert prepared[rate] == getattr(model.config, rate)
    splits = provenance["data"]["splits"]
    assert splits["train"]["duration_s"] == pytest.approx(statistics.duration_s)
    kept_s = sum(source["kept_s"] for source in provenance["data"]["sources"])
    assert sum(split["duration_s"] for split in splits.values()) == pytest.approx(kept_s)
    if name != "violin":
        notes = provenance["phrases"]["notes"]
        assert not set(notes["train"]) & set(notes["test"] + notes["valid"])
        assert provenance["started_from"]["data"]["attribution"]


def test_statistics_without_a_range_of_pitch_are_read(folder):
    _, statistics, _ = load_autoencoder(folder)
    fields = statistics.to_json()
    del fields["fmin"], fields["fmax"]
    old = InstrumentStatistics.from_json(fields)
    assert old == statistics and old.pitch_range_hz == {}


@pytest.mark.parametrize(
    "range_hz", [(100.0, 100.0), (0.0, 100.0), (100.0, None), (100.0, float("inf"))]
)
def test_an_empty_range_of_pitch_is_refused(folder, range_hz):
    _, statistics, _ = load_autoencoder(folder)
    fmin, fmax = range_hz
    with pytest.raises(ValueError, match="`fmin` and `fmax` must both be None, or"):
        dataclasses.replace(statistics, fmin=fmin, fmax=fmax)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("weights.safetensors", None, "weights.safetensors"),
        ("weights.safetensors", b"nothing", "not a readable safetensors file"),
        ("config.json", None, "config.json"),
        ("config.json", b"{", "config.json"),
        ("config.json", b"{}", "is missing"),
        ("statistics.json", b"[]", "statistics.json"),
        ("provenance.json", None, "provenance.json"),
    ],
)
def test_a_damaged_folder_is_refused_in_a_sentence(folder, tmp_path, name, content, sentence):
    shutil.copytree(folder, tmp_path / "toy")
    (tmp_path / "toy" / name).unlink()
    if content is not None:
        (tmp_path / "toy" / name).write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        load_autoencoder(tmp_path / "toy")


@pytest.mark.parametrize("name", ["kazoo", "../violin", "violin/../violin "])
def test_names_of_unknown_instruments_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match="violin"):
        load_instrument(name)


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_model_that_cannot_be_replaced_is_kept(folder, tmp_path, monkeypatch, fails_at):
    output = shutil.copytree(folder, tmp_path / "toy")
    (output / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    model, statistics, _ = load_autoencoder(output)
    calls, replace = [], os.replace

    def fail(source, target):
        calls.append(target)
        if len(calls) == fails_at:
            raise OSError("the disk is gone")
        replace(source, target)

    # Where the system cannot exchange two folders in one step.
    monkeypatch.setattr("ddspx.io._replacing.exchange", lambda one, other: False)
    monkeypatch.setattr("ddspx.io._replacing.os.replace", fail)
    with pytest.raises(OSError, match="gone"):
        save_autoencoder(output, model, statistics=statistics, provenance={"licence": "new"})
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    assert list(tmp_path.iterdir()) == [output]
    save_autoencoder(output, model, statistics=statistics, provenance={"licence": "new"})
    assert load_autoencoder(output)[2] == {"licence": "new"}
    assert (output / "notes.txt").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [output]


def test_a_model_that_diverged_is_not_saved(folder, tmp_path):
    broken, statistics, provenance = load_autoencoder(folder)
    broken.reverb.taps[...] = broken.reverb.taps[...].at[3].set(jnp.nan)
    with pytest.raises(ValueError, match=r"`reverb\.taps` is not finite"):
        save_autoencoder(tmp_path / "m", broken, statistics=statistics, provenance=provenance)
    assert not list(tmp_path.iterdir())


def test_amplitudes_that_cannot_stream_are_refused():
    with pytest.raises(ValueError, match=r"`amplitude_upsampling` must be one of .* got 'cubic'"):
        HarmonicNoiseConfig(amplitude_upsampling="cubic")
