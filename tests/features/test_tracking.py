"""The trackers that hear a sound as a whole, and what none of them takes."""

import numpy as np
import pytest
from flax import nnx
from helpers import noise

from ddspx import features
from ddspx.features import _tracking
from ddspx.models.crepe import Crepe, CrepeConfig

RATE, HOP = 16000, 64


def track(audio, sample_rate=RATE, hop_length=HOP, **options):
    return features.track_pitch(audio, sample_rate=sample_rate, hop_length=hop_length, **options)


@pytest.fixture
def tiny_crepe(monkeypatch):
    """Random weights where CREPE's would be; how often the network was compiled."""
    compiled = []
    network = Crepe(CrepeConfig(1), rngs=nnx.Rngs(0)).network()
    monkeypatch.setattr(_tracking, "_crepe_network", lambda *_: network)
    activation = _tracking.crepe_activation
    monkeypatch.setattr(
        _tracking, "crepe_activation", lambda *a, **k: compiled.append(1) or activation(*a, **k)
    )
    _tracking._crepe_track.clear_cache()
    yield compiled
    _tracking._crepe_track.clear_cache()


def test_crepe_is_compiled_once_and_keeps_to_the_frame_rule_and_the_range(tiny_crepe):
    for audio in (noise(2, 9000), noise(2, 9000, seed=1)):
        f0_hz, confidence = track(audio, 44100, 441, method="crepe-tiny", fmin=200.0, fmax=900.0)
        assert f0_hz.shape == confidence.shape == (2, 1 + 9000 // 441)
        assert f0_hz.dtype == confidence.dtype == np.float32
        assert np.all((f0_hz > 195) & (f0_hz < 925))
    assert len(tiny_crepe) == 1


def test_a_range_that_crepe_does_not_hear_is_refused(tiny_crepe):
    for fmin, fmax in ((2100.0, 4000.0), (20.0, 25.0)):
        with pytest.raises(ValueError, match="some of 32 to 2005 Hz, which is what CREPE hears"):
            track(noise(1000), method="crepe-tiny", fmin=fmin, fmax=fmax)


# Boundary


def test_integer_audio_is_refused():
    loud = (30_000 * np.sin(np.arange(1000))).astype(np.int16)
    with pytest.raises(TypeError, match=r"of floating point, got int16; divide .* 32768"):
        features.stream_features([loud], sample_rate=RATE, hop_length=HOP)
    # The annotation says the same, where it is checked.
    with pytest.raises(TypeError, match=r"int16|i16"):
        track(loud, method="pyin")


@pytest.mark.parametrize("method", ["ddspx", "crepe-tiny"])
def test_a_rate_that_cannot_be_converted_is_refused_by_its_name(method, tiny_crepe):
    with pytest.raises(
        ValueError, match=r"`sample_rate` must be .* got 44101; .* the method 'yin'"
    ):
        track(np.zeros(100), sample_rate=44101, method=method)
