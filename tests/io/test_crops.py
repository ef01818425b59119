"""Crops of labelled recordings: every class as often, all of the sound, resumable."""

import json
from itertools import islice

import numpy as np
import pytest
from helpers import sine

from ddspx import io
from ddspx.models.spectnet import normalize_level
from ddspx.models.spectnet.recordings import level_gain

LENGTH = 10


def ramps(*lengths):
    """Sounds whose samples encode the number of the sound and the position in it."""
    return [100 * (i + 1) + np.arange(n, dtype=np.float32) for i, n in enumerate(lengths)]


def batches(sounds, labels, **options):
    options = {"batch_size": 6, "crop_length": LENGTH} | options
    return io.BalancedBatches(sounds, labels, **options)


def drawn(sounds, labels, n_batches, **options):
    taken = list(islice(batches(sounds, labels, **options), n_batches))
    return np.concatenate([b.audio for b in taken]), np.concatenate([b.label for b in taken])


# what is drawn


def test_every_class_comes_as_often(rng):
    sounds, labels = ramps(10, 10, 10, 10, 10), [0, 1, 1, 2, 2]
    _, drawn_labels = drawn(sounds, labels, 10)
    rounds = drawn_labels.reshape(-1, 3)
    np.testing.assert_array_equal(np.sort(rounds), np.tile([0, 1, 2], (20, 1)))
    # Each round has its own random order.
    assert len(np.unique(rounds, axis=0)) > 3


def test_an_epoch_of_a_class_visits_all_of_its_sound():
    # The long one counts as three parts.
    sounds, labels = ramps(30, 10, 10), [0, 0, 1]
    audio, drawn_labels = drawn(sounds, labels, 4, batch_size=8)
    crops = audio[drawn_labels == 0]
    for epoch in crops[:16].reshape(4, 4, LENGTH):
        starts = np.sort(epoch[:, 0] - 100)
        assert (starts[:3] // 7 == [0, 1, 2]).all() and starts[3] == 100
    np.testing.assert_array_equal(np.diff(crops, axis=1), 1)


def test_crops_cover_the_whole_recording_and_nothing_outside():
    audio, _ = drawn(ramps(13, 10), [0, 1], 60)
    starts = np.unique(audio[:, 0])
    np.testing.assert_array_equal(starts, [100, 101, 102, 103, 200])


def test_a_short_sound_lies_anywhere_between_silences():
    audio, labels = drawn(ramps(4, 10), [0, 1], 30)
    starts = np.argmax(audio[labels == 0] != 0, axis=-1)
    np.testing.assert_array_equal(np.unique(starts), np.arange(7))
    for crop, start in zip(audio[labels == 0], starts, strict=True):
        np.testing.assert_array_equal(crop, np.pad([100, 101, 102, 103], (start, 6 - start)))


def test_a_shift_wraps_around_at_both_ends():
    audio, labels = drawn(ramps(10, 12), [0, 1], 100, shift=0.2)
    starts = (audio[:, 0] % 100).astype(int)
    np.testing.assert_array_equal(np.unique(starts[labels == 0]), [0, 1, 2, 8, 9])
    np.testing.assert_array_equal(np.unique(starts[labels == 1]), [0, 1, 2, 3, 4, 10, 11])
    for crop, start, label in zip(audio, starts, labels, strict=True):
        np.testing.assert_array_equal(crop % 100, (start + np.arange(10)) % (10, 12)[label])


def test_a_speed_moves_the_pitch_by_as_much_up_as_down():
    tones = [sine(500, 8000, sample_rate=8000).astype(np.float32) for _ in range(2)]
    options = {"batch_size": 50, "crop_length": 4000, "speed": 0.25}
    audio, _ = drawn(tones, [0, 1], 4, **options)
    assert audio.shape == (200, 4000)
    peaks_hz = np.abs(np.fft.rfft(audio * np.hanning(4000))).argmax(axis=-1) * 2.0
    octaves = np.log2(peaks_hz / 500)
    assert np.abs(octaves).max() < np.log2(1.25) + 0.01
    quarters, _ = np.histogram(octaves, np.linspace(-1, 1, 5) * np.log2(1.255))
    assert quarters.min() > 30
    # The level is unchanged, and there is no discontinuity.
    np.testing.assert_allclose(np.sqrt(2 * (audio[:, 100:-100] ** 2).mean(-1)), 1, atol=0.02)


# resumption


def test_a_saved_position_gives_the_same_next_batches():
    sounds, labels = ramps(30, 17, 4, 10), [0, 1, 1, 2]
    stream = batches(sounds, labels, seed=5, shift=0.1)
    for _ in range(7):
        next(stream)
    state = json.loads(json.dumps(stream.get_state()))
    expected = [next(stream) for _ in range(5)]
    other = batches(sounds, labels, seed=5, shift=0.1)
    other.set_state(state)
    for batch in expected:
        for one, two in zip(batch, next(other), strict=True):
            assert one.tobytes() == two.tobytes()


def test_the_seed_determines_the_batches():
    sounds, labels = ramps(30, 30), [0, 1]
    one, again, two = (drawn(sounds, labels, 4, seed=seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, two)


@pytest.mark.parametrize("change", [{"seed": 1}, {"batch_size": 2}, {"shift": 0.5}, {"speed": 0.1}])
def test_a_position_of_other_batches_is_refused(change):
    state = batches(ramps(10, 10), [0, 1]).get_state()
    (name,) = change
    with pytest.raises(ValueError, match=f"saved with {name}"):
        batches(ramps(10, 10), [0, 1], **change).set_state(state)


def test_sizes_out_of_range_are_refused():
    with pytest.raises(ValueError, match="`shift` must be from 0 to 1, got 2"):
        batches(ramps(10, 10), [0, 1], shift=2.0)
    with pytest.raises(ValueError, match="`crop_length` must be at least 1"):
        batches(ramps(10, 10), [0, 1], crop_length=0)


# sounds


@pytest.fixture
def recordings(tmp_path):
    """Two tones of different sample rates, and between them a file that is not audio."""
    for name, rate in (("a.wav", 8000), ("c.wav", 16_000)):
        tone = sine(440, rate, sample_rate=rate, amplitude=0.5)
        io.write_audio(tmp_path / name, tone, sample_rate=rate)
    (tmp_path / "b.wav").write_text("no recording")
    return [io.Recording(tmp_path / f"{n}.wav", n, n, "train", n) for n in "abc"]


def double(blocks):
    return 2.0


def sounds_of(recordings, folder, **options):
    errors, watched = [], []
    options = {"sample_rate": 8000, "gain": double} | options
    progress = options.pop("progress", lambda *now: watched.append(now))
    sounds = io.LabelledAudio(
        recordings, folder, report=errors.append, progress=progress, **options
    )
    return sounds, errors, watched


def test_recordings_are_decoded_once(recordings, tmp_path, monkeypatch):
    monkeypatch.setattr("ddspx.io._sounds._GROUP_FILES", 1)
    for again in (False, True):
        sounds, errors, watched = sounds_of(recordings, tmp_path / "sounds", workers=1)
        assert [r.name for r in sounds.recordings] == ["a", "c"]
        assert sounds.n_samples == (8000, 8000)
        for sound, recording in zip(sounds, "ac", strict=True):
            expected = 2 * io.read_audio(tmp_path / f"{recording}.wav", sample_rate=8000)
            np.testing.assert_array_equal(sound, expected)
            assert sound.dtype == np.float32 and not sound.flags.owndata
        assert "b.wav" in str(errors[0]) and len(errors) == 1
        # What cannot be read is tried again.
        assert watched == [("reading", done, 3) for done in range(2 if again else 0, 4)]
    assert list(sounds.chosen([1])[0]) == list(sounds[1])


def test_an_interrupted_call_goes_on(recordings, tmp_path, monkeypatch):
    monkeypatch.setattr("ddspx.io._sounds._GROUP_FILES", 1)
    whole, _, _ = sounds_of(recordings, tmp_path / "whole", workers=1)

    def interrupt(what, done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sounds_of(recordings, tmp_path / "sounds", workers=1, progress=interrupt)
    sounds, _, watched = sounds_of(recordings, tmp_path / "sounds", workers=1)
    assert [done for _, done, _ in watched] == [1, 2, 3]
    names = [sorted(path.name for path in (tmp_path / n).iterdir()) for n in ("whole", "sounds")]
    assert names[0] == names[1] and len(names[0]) == 2 * 2 + 1
    for one, two in zip(whole, sounds, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
def test_several_processes_decode_the_same(recordings, tmp_path, monkeypatch):
    monkeypatch.setattr("ddspx.io._sounds._GROUP_FILES", 1)
    found = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        options = {"workers": workers, "gain": level_gain}
        sounds, errors, _ = sounds_of(recordings, folder, **options)
        assert len(errors) == 1 and [r.name for r in sounds.recordings] == ["a", "c"]
        found.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert found[0] == found[1]


def test_a_change_of_the_level_or_the_rate_decodes_again(recordings, tmp_path):
    for rate, gain, factor in ((8000, double, 2), (8000, None, 1), (4000, double, 2)):
        options = {"sample_rate": rate, "gain": gain}
        sounds, _, watched = sounds_of(recordings, tmp_path / "sounds", workers=1, **options)
        expected = factor * io.read_audio(tmp_path / "a.wav", sample_rate=rate)
        np.testing.assert_array_equal(sounds[0], expected)
        assert [done for _, done, _ in watched] == [0, 3]
    # What was decoded first is still there; only the recording that cannot be read is tried again.
    _, _, watched = sounds_of(recordings, tmp_path / "sounds", workers=1)
    assert [done for _, done, _ in watched] == [2, 3]


def test_other_processes_only_read(recordings, tmp_path, monkeypatch):
    folder = tmp_path / "sounds"
    with pytest.raises(io.DatasetError, match=r"does not hold the sound of .*a\.wav; all"):
        sounds_of(recordings, folder, decode=False)
    assert not folder.exists()
    decoded, errors, _ = sounds_of(recordings, folder)
    (listed,) = folder.glob("*.sounds.json")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    monkeypatch.setattr("ddspx.io._sounds.stream_audio", None)
    sounds, again, _ = sounds_of(recordings, folder, decode=False)
    assert sounds.recordings == decoded.recordings
    assert list(map(str, again)) == list(map(str, errors)) != []
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before}
    listed.write_text("[]")
    with pytest.raises(io.DatasetError, match="does not hold the sound"):
        sounds_of(recordings, folder, decode=False)
    assert listed.read_text() == "[]"


def test_long_recordings_are_read_in_blocks(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("ddspx.io._sounds._CHUNK", 256)
    monkeypatch.setattr("ddspx.io._sounds._BLOCK", 1024)
    monkeypatch.setattr("ddspx.io._sounds._SPOOLED_BYTES", 4096)
    monkeypatch.setattr("ddspx.models.spectnet.recordings._BLOCK", 1024)
    audio = rng.uniform(-0.5, 0.5, 5000)
    io.write_audio(tmp_path / "a.wav", audio, sample_rate=8000)
    recordings = [io.Recording(tmp_path / "a.wav", "a", "a", "train", "a")]
    folder = tmp_path / "sounds"
    sounds, _, _ = sounds_of(recordings, folder, gain=level_gain)
    expected = normalize_level(io.read_audio(tmp_path / "a.wav", sample_rate=8000))
    np.testing.assert_array_equal(sounds[0], expected)
    (shard,) = folder.glob("*.f32")
    data = bytearray(shard.read_bytes())
    data[4 * 3000] ^= 1
    shard.write_bytes(data)
    # A crop is compared with the checksums of its own chunks, also beyond an end.
    sounds, _, _ = sounds_of(recordings, folder, gain=level_gain)
    around = np.arange(-300, 200)
    np.testing.assert_array_equal(sounds.take(0, around), np.take(expected, around, mode="wrap"))
    for read in (lambda: sounds.take(0, np.arange(2900, 3100)), lambda: sounds[0]):
        with pytest.raises(io.DatasetError, match="another checksum"):
            read()


def test_damage_to_what_was_decoded_is_mended_or_named(recordings, tmp_path):
    folder = tmp_path / "sounds"
    sounds_of(recordings, folder, workers=1)
    (listed,), (shard,) = folder.glob("*.sounds.json"), folder.glob("*.f32")
    text, data = listed.read_text(), shard.read_bytes()
    for path, damaged in (
        (listed, text[: len(text) // 2]),
        (listed, text.replace("8000", "8001", 1)),
        (listed, "[]"),
        (shard, data[:-4]),
        (shard, b""),
    ):
        path.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
        sounds_of(recordings, folder, workers=1)
        assert listed.read_text() == text and shard.read_bytes() == data
    shard.write_bytes(data[:-3] + b"!" + data[-2:])
    sounds, _, _ = sounds_of(recordings, folder, workers=1)
    assert sounds[0].any()
    with pytest.raises(
        io.DatasetError, match=r"\.f32 is damaged .*; delete .*sounds and train again"
    ):
        sounds[1]


def test_a_step_names_its_recordings(recordings, tmp_path):
    sounds, _, _ = sounds_of(recordings, tmp_path / "sounds", workers=1)
    assert set(batches(sounds, [0, 1]).recordings(3)) == {"a", "c"}
    assert batches(ramps(30, 5), [0, 1], batch_size=2).recordings(1) in (
        ("recording 0", "recording 1"),
        ("recording 1", "recording 0"),
    )


@pytest.mark.parametrize("process_count", [2, 3])
def test_processes_crop_parts_of_the_same_batches(process_count):
    sounds, labels = ramps(30, 17, 4, 10), [0, 1, 1, 2]
    whole = batches(sounds, labels, shift=0.1)
    parts = [
        batches(sounds, labels, shift=0.1, process_index=i, process_count=process_count)
        for i in range(process_count)
    ]
    for step in range(1, 8):
        read, batch = [next(part) for part in parts], next(whole)
        np.testing.assert_array_equal(np.concatenate([one.audio for one in read]), batch.audio)
        np.testing.assert_array_equal(np.concatenate([one.label for one in read]), batch.label)
        assert parts[1].recordings(step) == whole.recordings(step)
        assert parts[1].get_state() == whole.get_state()
