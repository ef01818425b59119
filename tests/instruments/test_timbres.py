"""A recording, or what lies between several timbres, as an instrument."""

import inspect
import re

import jax
import numpy as np
import pytest
from flax import nnx
from toy_any_instrument import PROVENANCE, save_toy_any_instrument, ship
from toy_instrument import HOP, SAMPLE_RATE, tone

from ddspx import features, io
from ddspx.instruments import (
    describe_instrument,
    embed,
    import_instrument,
    install_instrument,
    instrument_names,
    instrument_statistics,
    interpolate,
    load_any_instrument,
    load_instrument,
    pack_instrument,
    recorded_timbre,
    timbre_names,
)
from ddspx.instruments._library import is_shipped
from ddspx.instruments._mixture import check_weights, parse_mixture
from ddspx.models.autoencoder import Autoencoder, save_autoencoder
from ddspx.nn import StoredTimbreConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_toy_any_instrument(tmp_path_factory.mktemp("shipped") / "any_instrument")


@pytest.fixture
def base(folder, monkeypatch):
    ship(monkeypatch, folder)
    return load_any_instrument()


@pytest.fixture(scope="module")
def sound():
    """Two notes and a pause: 4 s, 2 s and 3 s."""
    low, high = tone(4.0), tone(3.0, f0_hz=330.0)
    return np.concatenate([low, np.zeros(2 * SAMPLE_RATE), high]).astype(np.float32)


@pytest.fixture(scope="module")
def recording(sound, tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "kazoo.flac"
    io.write_audio(path, sound, sample_rate=SAMPLE_RATE)
    return path


# texts


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("violin", {"violin": 1.0}),
        ("violin:1", {"violin": 1.0}),
        ("violin+flute", {"violin": 0.5, "flute": 0.5}),
        ("violin+flute:0.3", {"violin": 0.7, "flute": 0.3}),
        ("a:.2+b+c", {"a": 0.2, "b": 0.4, "c": 0.4}),
        ("a:0.1+b:2e-1+c:0.7", {"a": 0.1, "b": 0.2, "c": 0.7}),
        (" a : 0.25 + b", {"a": 0.25, "b": 0.75}),
        ("violin+flute:1", {"violin": 0.0, "flute": 1.0}),
        ("violin+flute:0", {"violin": 1.0, "flute": 0.0}),
        (r"C:\my cello.wav:0.5+violin", {r"C:\my cello.wav": 0.5, "violin": 0.5}),
        (r"C:\my cello.wav", {r"C:\my cello.wav": 1.0}),
    ],
)
def test_a_text_names_timbres_and_their_weights(text, weights):
    found = parse_mixture(text)
    assert list(found) == list(weights)
    np.testing.assert_allclose(list(found.values()), list(weights.values()), atol=1e-12)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("violin+flute:1.5", "'flute' must be from 0 to 1, got 1.5"),
        ("violin:-0.1+flute", "'violin' must be from 0 to 1, got -0.1"),
        ("violin:nan+flute", "from 0 to 1, got nan"),
        ("violin:inf+flute", "from 0 to 1, got inf"),
        ("violin:0.7+flute:0.7", "add up to 1.4, not to 1"),
        ("violin:0.3+flute:0.3", "add up to 0.6, not to 1; leave one out"),
        ("violin:0.3", "add up to 0.3"),
        ("violin+violin:0.3", "names 'violin' twice"),
        ("violin+", "lacks a name"),
        ("+violin", "lacks a name"),
        ("violin++flute", "lacks a name"),
        (":0.3+violin", "lacks a name"),
        ("+", "lacks a name"),
    ],
)
def test_a_text_with_bad_weights_is_refused(text, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        parse_mixture(text)


# between timbres


def test_what_is_between_is_a_mean_by_the_weights(base):
    weights = {"violin": 0.5, "flute": 0.2, "voice": 0.3}
    parts = [base.timbres[name] for name in weights]
    shares = np.array(list(weights.values()))
    found = interpolate(base.timbres, weights)
    z = sum(w * np.float64(part.embedding) for w, part in zip(shares, parts, strict=True))
    np.testing.assert_allclose(found.embedding, z / np.sqrt(np.mean(z**2)), rtol=1e-5)
    for name in ("pitch_midi_min", "pitch_midi_mean", "pitch_midi_max", "duration_s"):
        each = [getattr(part.statistics, name) for part in parts]
        assert getattr(found.statistics, name) == pytest.approx(shares @ each)
    quantiles = shares @ [part.statistics.loudness_quantiles for part in parts]
    np.testing.assert_allclose(found.statistics.loudness_quantiles, quantiles, rtol=1e-12)
    low = np.prod([part.statistics.fmin**w for w, part in zip(shares, parts, strict=True)])
    assert found.statistics.fmin == pytest.approx(low)
    taps = np.zeros(900)
    for w, part in zip(shares, parts, strict=True):
        if part.reverb is not None:
            response = np.asarray(part.reverb.impulse_response)
            taps[: response.size] += w * response
    np.testing.assert_allclose(found.reverb.impulse_response, taps, atol=1e-9)


def test_it_is_exact_at_the_ends_and_continuous(base):
    for name in base.timbres:
        others = {other: 0.0 for other in base.timbres if other != name}
        assert interpolate(base.timbres, {name: 1.0, **others}) is base.timbres[name]
    places = np.linspace(0, 1, 9)
    places = np.concatenate([[1e-6], places[1:-1], [1 - 1e-6]])
    path = [interpolate(base.timbres, {"violin": 1 - w, "voice": w}) for w in places]
    path = [base.timbres["violin"], *path, base.timbres["voice"]]
    assert all(np.mean(one.embedding**2) == pytest.approx(1, abs=1e-5) for one in path)
    ends = path[0].embedding, path[-1].embedding
    along = [float(one.embedding @ (ends[1] - ends[0])) for one in path]
    assert np.all(np.diff(along) >= -1e-5)
    mins = [one.statistics.pitch_midi_min for one in path]
    assert np.all(np.diff(mins) >= 0)
    rooms = [0 if one.reverb is None else np.asarray(one.reverb.impulse_response) for one in path]
    for first, second in ((0, 1), (-2, -1)):
        np.testing.assert_allclose(path[first].embedding, path[second].embedding, atol=1e-5)
        assert mins[first] == pytest.approx(mins[second], abs=1e-4)
        np.testing.assert_allclose(rooms[first], rooms[second], atol=1e-6)


def test_bad_weights_and_strange_timbres_are_refused(base):
    timbres = base.timbres
    for weights, sentence in (
        ({"violin": 0.5, "flute": 0.6}, "must add up to 1"),
        ({}, "must add up to 1"),
        ({"violin": 1.5, "flute": -0.5}, r"`weights\['violin'\]` must be from 0 to 1, got 1.5"),
        ({"violin": float("nan"), "flute": 0.5}, r"'violin'\]` must be from 0 to 1, got nan"),
        ({"oboe": 1.0}, "no timbre 'oboe'.*violin, flute, voice"),
    ):
        with pytest.raises(ValueError, match=sentence):
            interpolate(timbres, weights)
    for weight in (None, "1", True):
        with pytest.raises(TypeError, match=r"`weights\['violin'\]` must be a number"):
            inspect.unwrap(check_weights)({"violin": weight})
    other = timbres["flute"]._replace(embedding=np.ones(4, np.float32))
    with pytest.raises(ValueError, match="belong to different models"):
        interpolate({**timbres, "flute": other}, {"violin": 0.5, "flute": 0.5})


# recordings


def test_the_embedding_is_the_mean_of_what_sounds_and_has_a_pitch(base, sound, recording):
    c = base.model.config
    assert (c.sample_rate, c.hop_length) == (SAMPLE_RATE, HOP)
    tracks = features.conditioning_features(sound, sample_rate=SAMPLE_RATE, hop_length=HOP)
    loud = tracks.loudness_db > max(tracks.loudness_db.max() - 60, -79)
    is_pitched = (tracks.f0_confidence >= 0.5) & loud
    # The last stretch is moved back, to be as long as the others.
    z = 0.0
    graph, weights = nnx.split(base.model.encoder)
    encode = jax.jit(lambda audio: nnx.merge(graph, weights).embed(audio))
    for first in (0, 1000, 1250):
        count = is_pitched[first : first + 1000].sum()
        z = z + count * np.asarray(encode(sound[first * HOP : (first + 1000) * HOP]), np.float64)
    expected = z / np.sqrt(np.mean(z**2))
    np.testing.assert_allclose(embed(base.model, sound), expected, atol=1e-4)
    timbre = recorded_timbre(recording, base.model)
    np.testing.assert_allclose(timbre.embedding, expected, atol=1e-3)  # 24 bits in the file
    assert timbre.reverb is None
    played = tracks._replace(f0_confidence=np.where(is_pitched, tracks.f0_confidence, 0))
    wanted = instrument_statistics(played, sample_rate=SAMPLE_RATE, hop_length=HOP)
    for name in ("pitch_midi_min", "pitch_midi_mean", "pitch_midi_max"):
        assert getattr(timbre.statistics, name) == pytest.approx(getattr(wanted, name), abs=0.01)
    np.testing.assert_allclose(
        timbre.statistics.loudness_quantiles[1:], wanted.loudness_quantiles[1:], atol=0.05
    )
    assert 56 < timbre.statistics.pitch_midi_min < 58 and 63 < timbre.statistics.pitch_midi_max < 65
    with pytest.raises(io.AudioError, match="Nothing in `audio` has a pitch"):
        embed(base.model, np.zeros(SAMPLE_RATE, np.float32))
    for axes in ((1, 16000), (3, 16000), (2, 2, 16000)):
        with pytest.raises(ValueError, match=r"must have the one axis \(samples,\), got the shape"):
            inspect.unwrap(embed)(base.model, np.zeros(axes, np.float32))


def test_a_recording_is_an_instrument_by_its_path(base, recording, tmp_path):
    model, statistics, provenance = load_instrument(recording)
    assert isinstance(model.config.encoder, StoredTimbreConfig) and model.config.reverb is None
    np.testing.assert_allclose(
        model.encoder.embedding[...], recorded_timbre(recording, base.model).embedding, atol=1e-6
    )
    assert provenance["timbre"] == [{"name": "kazoo.flac", "weight": 1.0}]
    assert provenance["started_from"]["instruments"] == PROVENANCE["instruments"]
    # Saved, its card credits all whose recordings are in its weights.
    save_autoencoder(tmp_path / "kazoo", model, statistics=statistics, provenance=provenance)
    card = describe_instrument(tmp_path / "kazoo")
    assert card.licence == "not stated; CC0-1.0; CC BY 4.0; CC BY 3.0"
    assert card.attribution.endswith(
        "Who played the violin; Who played the flute; Who played the voice"
    )
    # Nothing was adapted.
    assert re.fullmatch("any_instrument [0-9a-f]{12}", card.made_with) and not card.adapted_from
    mixed = load_instrument(f"{recording}:0.25+violin")
    assert mixed.provenance["timbre"][1] == {"name": "violin", "weight": 0.75}
    assert mixed.model.config.reverb is not None


# names


def test_names_of_timbres_are_instruments_where_no_other_has_the_name(base):
    assert timbre_names() == ("violin", "flute", "voice")
    assert load_instrument("violin").model.config.encoder is None
    for source, name in (("voice", "voice"), ("violin:1", "violin"), ("Voice", "voice")):
        embedding = load_instrument(source).model.encoder.embedding[...]
        np.testing.assert_array_equal(embedding, base.timbres[name].embedding)
    weights = {"violin": 0.7, "flute": 0.3}
    found, expected = load_instrument("violin+flute:0.3"), interpolate(base.timbres, weights)
    np.testing.assert_array_equal(found.model.encoder.embedding[...], expected.embedding)
    assert found.statistics == expected.statistics


@pytest.mark.parametrize(
    ("source", "error", "sentence"),
    [
        ("oboe", FileNotFoundError, "no model folder or instrument 'oboe'.*violin, flute, voice"),
        ("no.wav", FileNotFoundError, "no model folder or instrument 'no.wav'.*a recording"),
        ("violin+oboe:0.2", FileNotFoundError, "no timbre or recording 'oboe'.*flute, voice"),
        ("violin+no.wav", FileNotFoundError, "no timbre or recording 'no.wav'"),
        ("any_instrument", FileNotFoundError, "no instrument by itself.*violin, flute, voice"),
        (300 * "x", FileNotFoundError, "no model folder or instrument 'xxx"),
        ("violin+" + 300 * "x", FileNotFoundError, "no timbre or recording 'xxx"),
        ("x" * 300 + ":0.3", ValueError, "add up to 0.3"),
        ("violin:x+flute", ValueError, "weight in 'violin:x' must be a number from 0 to 1"),
        ("violin+flute:2", ValueError, "'flute' must be from 0 to 1"),
    ],
)
def test_an_unknown_name_is_answered_by_the_known_ones(base, source, error, sentence):
    with pytest.raises(error, match=sentence):
        load_instrument(source)


def test_a_damaged_recording_is_called_one(base, tmp_path):
    path = tmp_path / "torn.wav"
    path.write_bytes(b"RIFF")
    with pytest.raises(io.AudioError, match=r"torn\.wav"):
        load_instrument(path)


def test_without_the_model_only_its_uses_are_refused(tmp_path, monkeypatch, recording):
    ship(monkeypatch, tmp_path / "any_instrument")
    assert timbre_names() == ()
    with pytest.raises(FileNotFoundError, match="missing from this copy of ddspx"):
        load_instrument(recording)
    with pytest.raises(FileNotFoundError, match="model of any instrument is missing"):
        load_instrument("violin+flute")
    with pytest.raises(FileNotFoundError, match=r"no model of any instrument in .*gone"):
        load_any_instrument(folder=tmp_path / "gone")
    assert isinstance(load_instrument("violin").model, Autoencoder)


def test_a_model_of_any_instrument_is_found_by_its_name(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_any_instrument(folder="any_instrument").origin == base.origin
    with pytest.raises(ValueError, match=r"violin is a model of one instrument.*any_instrument"):
        load_any_instrument(folder="Violin")


def test_a_model_of_any_instrument_is_no_instrument_by_its_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("DDSPX_INSTRUMENTS", str(tmp_path))
    for use in (
        load_instrument,
        install_instrument,
        lambda source: import_instrument(source, name="other"),
        lambda source: pack_instrument(source, tmp_path / "any.zip"),
    ):
        with pytest.raises(ValueError, match=f"plays with a timbre: adapt.*--start {folder} -o"):
            use(folder)
    assert not list(tmp_path.iterdir())


def test_the_model_of_any_instrument_is_no_instrument_of_the_shelf():
    assert "any_instrument" not in instrument_names() and is_shipped("any_instrument")
    with pytest.raises(FileNotFoundError, match="no model folder or instrument"):
        describe_instrument("any_instrument")
