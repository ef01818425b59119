"""The shipped instruments follow real phrases in pitch and loudness, without clicks or squeaks."""

import numpy as np
import pytest
import soundfile

from ddspx import metrics
from ddspx.features import conditioning_features
from ddspx.instruments import describe_instrument, instrument_names, load_instrument
from ddspx.transfer import AdjustedControls, adjust, evaluate_transfer, render, transfer

PHRASES = {
    "saxophone": "sms_sax-phrase",
    "cello": "sms_cello-phrase",
    "trumpet": "librosa_solo-trumpet-06",
    "voice": "sms_singing-female",
    "quiet voice": "vocadito_1",
}


SHIPPED = [name for name in instrument_names() if describe_instrument(name).is_shipped]


def squeaks_of(played: AdjustedControls, frame_rate: float) -> list[float]:
    """The squeaks of what an instrument is asked to play."""
    sounding = (played.gain > 0).astype(float)
    times = metrics.squeaks(played.f0_hz, sounding, played.asked_db, frame_rate=frame_rate)
    return times.tolist()


def check_range(played: AdjustedControls, statistics) -> None:
    midi = 69 + 12 * np.log2(played.f0_hz[played.gain > 0] / 440)
    assert (midi >= statistics.pitch_midi_min - 1.001).all()
    assert (midi <= statistics.pitch_midi_max + 1.001).all()


@pytest.mark.slow
@pytest.mark.parametrize("start_s", [0, 24])
def test_a_quiet_voice_on_a_violin_has_no_squeaks(start_s, shared_data):
    """Heard by librosa's tracker, too, on a rendering without the room."""
    librosa = pytest.importorskip("librosa")
    model, violin, _ = load_instrument("violin")
    path = shared_data / "sources" / "vocadito_1.flac"
    audio, rate = soundfile.read(path, start=start_s * 16_000, frames=8 * 16_000)
    assert rate == violin.sample_rate
    tracks = conditioning_features(audio, sample_rate=rate, hop_length=violin.hop_length)
    played = adjust(*tracks, statistics=violin, frame_rate=rate / violin.hop_length)
    assert squeaks_of(played, rate / violin.hop_length) == []
    check_range(played, violin)
    if start_s == 0:
        sound = np.concatenate(list(render(model, played, n_samples=audio.size, reverb=0.0)))
        f0_hz, voiced, _ = librosa.pyin(sound, sr=rate, fmin=150, fmax=3400, hop_length=256)
        loudness_db = librosa.amplitude_to_db(librosa.feature.rms(y=sound, hop_length=256)[0])
        heard = np.nan_to_num(f0_hz), voiced.astype(float), loudness_db.astype(np.float64)
        assert metrics.squeaks(*heard, frame_rate=rate / 256).tolist() == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_no_recording_squeaks_or_leaves_the_range(name, shared_data):
    _, statistics, _ = load_instrument(name)
    rates = {"sample_rate": statistics.sample_rate, "hop_length": statistics.hop_length}
    paths = sorted((shared_data / "sources").glob("*.flac"))
    assert len(paths) == 19
    for path in paths:
        tracks = conditioning_features(soundfile.read(path)[0], **rates)
        frame_rate = statistics.sample_rate / statistics.hop_length
        played = adjust(*tracks, statistics=statistics, frame_rate=frame_rate)
        assert squeaks_of(played, frame_rate) == [], path
        check_range(played, statistics)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_instrument_follows_real_phrases(name, shared_data, tmp_path):
    for source, file in PHRASES.items():
        output = tmp_path / f"{file}.wav"
        report = transfer(shared_data / "sources" / f"{file}.flac", output, to=name)
        quality = evaluate_transfer(output, report)
        # Where the recording and the played sound fade, not both are called voiced.
        assert quality.pitched_share > 0.8, source
        assert quality.f0_cents < 10.0, source
        assert quality.octave_error_share < 0.02, source
        assert quality.loudness_correlation > 0.9, source
        assert quality.peak < 1.0, source
        assert quality.click_times_s == (), source
        assert quality.squeak_times_s == (), source
