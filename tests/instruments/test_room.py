"""The room of an instrument: its measures on the card, and its response as a file."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import soundfile
from flax import nnx
from toy_instrument import save_toy_instrument, toy_config

from ddspx.features import conditioning_features
from ddspx.instruments import (
    Instrument,
    describe_instrument,
    export_room,
    instrument_names,
    load_instrument,
    measure_room,
)
from ddspx.instruments._room import room_facts
from ddspx.models.autoencoder import Autoencoder
from ddspx.nn import DecayingReverbConfig, TapReverbConfig
from ddspx.transfer import adjust, render


def with_room(reverb):
    return Autoencoder(dataclasses.replace(toy_config(), reverb=reverb), rngs=nnx.Rngs(0))


@pytest.fixture
def toy(tmp_path):
    return save_toy_instrument(tmp_path / "toy")


def test_the_response_in_the_file_is_what_the_instrument_adds(tmp_path):
    model = load_instrument("violin").model
    export_room("violin", tmp_path / "room.wav")
    taps, rate = soundfile.read(tmp_path / "room.wav")
    assert rate == 16_000 and taps[0] == 0
    dry = np.random.default_rng(0).normal(size=4000)
    wet = np.asarray(model.reverb(jnp.asarray(dry, jnp.float32)))
    expected = dry + scipy.signal.fftconvolve(dry, taps)[:4000]
    np.testing.assert_allclose(wet, expected, atol=1e-4 * np.abs(expected).max())


def test_a_card_says_how_long_each_octave_rings(toy):
    room = measure_room(with_room(DecayingReverbConfig(4000, 100)))
    np.testing.assert_allclose(room.t60_s[3:], 0.05, rtol=0.2)
    facts = room_facts(with_room(DecayingReverbConfig(4000, 100)))
    provenance = json.loads((toy / "provenance.json").read_text())
    (toy / "provenance.json").write_text(json.dumps(provenance | facts))
    card = describe_instrument(toy)
    assert list(card.room_t60_s) == [125, 250, 500, 1000, 2000, 4000, 8000]
    assert card.room_t60_s[1000] == round(room.t60_s[3], 3)
    # A response that does not decay has no time, and an instrument without one no room.
    assert room_facts(with_room(TapReverbConfig(4000)))["room"]["t60_s"][3] is None
    assert room_facts(with_room(None)) == {} and measure_room(with_room(None)) is None


@pytest.mark.parametrize("room", [{"bands_hz": [1000]}, {"bands_hz": "x", "t60_s": [1]}, []])
def test_a_damaged_room_is_a_sentence(room, toy):
    (toy / "provenance.json").write_text(json.dumps({"room": room}))
    with pytest.raises(ValueError, match=r"provenance\.json is not usable"):
        describe_instrument(toy)


def test_no_room_no_file(tmp_path, toy):
    _, statistics, provenance = load_instrument(toy)
    with pytest.raises(ValueError, match="has no reverb"):
        export_room(Instrument(with_room(None), statistics, provenance), tmp_path / "room.wav")
    assert not (tmp_path / "room.wav").exists()


@pytest.mark.parametrize("name", instrument_names())
def test_the_room_of_a_shipped_instrument_dies_away(name):
    model = load_instrument(name).model
    taps = np.asarray(model.reverb.impulse_response, np.float64)
    tenth = model.config.sample_rate // 10
    energy = np.sum(taps[: len(taps) // tenth * tenth].reshape(-1, tenth) ** 2, axis=1)
    assert np.all(np.diff(energy) <= 0)
    assert energy[-1] <= 1e-6 * energy[0]
    assert describe_instrument(name).room_t60_s.keys() >= {125.0, 1000.0, 4000.0}


@pytest.mark.parametrize("name", instrument_names())
def test_silence_after_a_phrase_is_silent(name, shared_data):
    """A voice, then two seconds of nothing: what is left in the second of them."""
    model, statistics, _ = load_instrument(name)
    rate, hop = statistics.sample_rate, statistics.hop_length
    audio, _ = soundfile.read(shared_data / "sources" / "vocadito_1.flac", frames=4 * rate)
    audio = np.append(audio, np.zeros(2 * rate))
    heard = conditioning_features(audio, sample_rate=rate, hop_length=hop)
    played = adjust(*heard, statistics=statistics, frame_rate=rate / hop)
    sound = np.concatenate(list(render(model, played, n_samples=audio.size)))
    power = np.mean(sound[: len(sound) // 1600 * 1600].reshape(-1, 1600) ** 2, axis=1)
    assert power[-10:].max() <= 1e-6 * np.percentile(power, 95)
