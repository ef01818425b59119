import os
import socket
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ddspx import io
from ddspx._text import printable


def tone(frequency_hz, *, sample_rate, seconds, level=0.5):
    t = np.arange(round(sample_rate * seconds)) / sample_rate
    return (level * np.sin(2 * np.pi * frequency_hz * t)).astype(np.float32)


# --- values


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "ogg", "mp3", "w64", "au", "caf"])
def test_reads_every_format_as_mono_float32(tmp_path, suffix):
    audio = tone(440, sample_rate=16000, seconds=1)
    soundfile.write(tmp_path / f"a.{suffix}", audio, 16000)
    read = io.read_audio(tmp_path / f"a.{suffix}", sample_rate=16000)
    assert read.dtype == np.float32 and read.shape == (16000,)
    lossy = suffix in ("ogg", "mp3")
    np.testing.assert_allclose(read[2000:-2000], audio[2000:-2000], atol=0.02 if lossy else 5e-5)


def test_channels_are_averaged(tmp_path, rng):
    audio = rng.uniform(-0.5, 0.5, (5000, 3)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", audio, 8000, subtype="FLOAT")
    read = io.read_audio(tmp_path / "a.wav", sample_rate=8000)
    np.testing.assert_allclose(read, audio.astype(np.float64).mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("file_rate", [8000, 11025, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("n_samples", [20000, 20001, 70003])
def test_resampled_length_is_rounded_half_up(tmp_path, rng, file_rate, n_samples):
    audio = rng.uniform(-0.5, 0.5, n_samples).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", audio, file_rate)
    read = io.read_audio(tmp_path / "a.wav", sample_rate=16000)
    assert len(read) == (2 * n_samples * 16000 + file_rate) // (2 * file_rate)


@pytest.mark.parametrize("file_rate", [16000, 44100])
@pytest.mark.parametrize("block_length", [1, 777, 16000, 10**6])
def test_blocks_are_the_whole_file(tmp_path, rng, file_rate, block_length):
    n_samples = 3000 if block_length == 1 else 150_001
    soundfile.write(tmp_path / "a.wav", rng.uniform(-1, 1, n_samples), file_rate)
    whole = io.read_audio(tmp_path / "a.wav", sample_rate=16000)
    blocks = list(io.stream_audio(tmp_path / "a.wav", sample_rate=16000, block_length=block_length))
    assert all(len(block) == block_length for block in blocks[:-1])
    assert 0 < len(blocks[-1]) <= block_length
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


@pytest.mark.parametrize(
    ("suffix", "tolerance"), [("wav", 2.0**-23), ("flac", 2.0**-23), ("ogg", 0.02)]
)
def test_written_audio_reads_back(tmp_path, suffix, tolerance):
    audio = tone(440, sample_rate=16000, seconds=1)
    io.write_audio(tmp_path / f"a.{suffix}", audio, sample_rate=16000)
    read = io.read_audio(tmp_path / f"a.{suffix}", sample_rate=16000)
    assert len(read) == len(audio)
    np.testing.assert_allclose(read[2000:-2000], audio[2000:-2000], atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_writer_joins_blocks_of_any_size(tmp_path, rng, dtype):
    audio = rng.uniform(-0.9, 0.9, 200_000).astype(dtype)
    with io.AudioWriter(tmp_path / "a.wav", sample_rate=8000) as writer:
        for block in np.split(audio, [0, 1, 5000, 150_000]):
            writer.write(block)
    assert writer.peak == np.abs(audio).max()
    read = io.read_audio(tmp_path / "a.wav", sample_rate=8000)
    np.testing.assert_allclose(read, audio, atol=2.0**-23)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_pcm_is_written_and_read_to_the_bit(tmp_path, rng, suffix, dtype):
    info = np.iinfo(dtype)
    audio = rng.integers(info.min, info.max, 4000, dtype, endpoint=True)
    audio[:3] = info.min, info.max, 0
    if dtype == np.int32:
        # What 24 bits hold.
        audio &= ~0xFF
    io.write_audio(tmp_path / f"a.{suffix}", audio, sample_rate=8000)
    read = io.read_audio(tmp_path / f"a.{suffix}", sample_rate=8000).astype(np.float64)
    offset, scale = (128, 128) if dtype == np.uint8 else (0, -float(info.min))
    np.testing.assert_array_equal(read, (audio.astype(np.float64) - offset) / scale)
    # Writing what was read gives the same file, because floats are rounded to the same steps.
    io.write_audio(tmp_path / f"b.{suffix}", read, sample_rate=8000)
    assert (tmp_path / f"b.{suffix}").read_bytes() == (tmp_path / f"a.{suffix}").read_bytes()


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.complex64])
def test_arrays_that_are_not_samples_are_refused(tmp_path, dtype):
    with pytest.raises(TypeError, match=r"must be of floats, or PCM as uint8, int16 or int32"):
        io.write_audio(tmp_path / "a.wav", np.zeros(10, dtype), sample_rate=8000)
    assert not any(tmp_path.iterdir())


# --- physics


def test_resampling_does_not_alias(tmp_path):
    # 10 kHz at 44.1 kHz would fold to 6 kHz at 16 kHz.
    audio = tone(10_000, sample_rate=44_100, seconds=1) + tone(
        100, sample_rate=44_100, seconds=1, level=0.1
    )
    soundfile.write(tmp_path / "a.wav", audio, 44_100, subtype="FLOAT")
    read = io.read_audio(tmp_path / "a.wav", sample_rate=16000)
    kept = tone(100, sample_rate=16000, seconds=1, level=0.1)
    assert np.abs(read - kept)[2000:-2000].max() < 1e-5


def test_resampling_keeps_time(tmp_path):
    audio = np.zeros(44_100, np.float32)
    audio[22_050] = 0.9
    soundfile.write(tmp_path / "a.wav", audio, 44_100, subtype="FLOAT")
    assert np.argmax(io.read_audio(tmp_path / "a.wav", sample_rate=16000)) == 8000


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_samples_beyond_full_scale_are_clipped_and_reported(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    with pytest.warns(UserWarning, match=r"a\.\w+ was clipped: its peak is 6\.0 dB over"):
        io.write_audio(path, np.array([0.5, 2.0, -2.0, 1.0, -1.0]), sample_rate=8000)
    read = io.read_audio(path, sample_rate=8000)
    np.testing.assert_allclose(read, [0.5, 1, -1, 1, -1], atol=1e-6)


def test_memory_does_not_grow_with_duration(tmp_path):
    import tracemalloc

    def peak_of(seconds):
        with soundfile.SoundFile(tmp_path / "a.wav", "w", 44_100, 2) as file:
            for _ in range(seconds):
                file.write(np.full((44_100, 2), 0.1))
                file.write(np.full((44_100, 2), -0.1))
        tracemalloc.start()
        blocks = io.stream_audio(tmp_path / "a.wav", sample_rate=16000, block_length=4096)
        n_samples = sum(len(block) for block in blocks)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert n_samples == 2 * seconds * 16000
        return peak

    peak_of(5)
    assert peak_of(60) < 1.1 * peak_of(10)


# --- files appear whole or not at all


def test_an_error_while_writing_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"earlier")
    with pytest.raises(RuntimeError, match="stop"):
        with io.AudioWriter(path, sample_rate=8000) as writer:
            writer.write(np.ones(100))
            raise RuntimeError("stop")
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_an_earlier_file_is_there_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"earlier")
    with io.AudioWriter(path, sample_rate=8000) as writer:
        writer.write(np.linspace(-0.1, 0.1, 100))
        assert path.read_bytes() == b"earlier"
    assert len(io.read_audio(path, sample_rate=8000)) == 100
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_reported_and_no_file_is_left(tmp_path, rng):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for suffix in ("wav", "flac", "ogg"):
        path = tmp_path / f"a.{suffix}"
        # A file may not grow beyond this, so that writing fails as it does on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            with pytest.raises(OSError, match=rf"a\.{suffix} cannot be written \(.*disk") as caught:
                io.write_audio(path, rng.uniform(-1, 1, 100_000), sample_rate=8000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.strerror is None and "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc")
def test_a_folder_that_cannot_be_written_to_is_reported():
    with pytest.raises(OSError, match=r"^/proc/a\.wav cannot be written"):
        io.write_audio("/proc/a.wav", np.zeros(10), sample_rate=8000)


def test_a_folder_is_replaced_only_when_complete_and_permitted(tmp_path):
    target = tmp_path / "deep" / "folder"
    with io.replacing_folder(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
    with pytest.raises(FileExistsError, match="already exists"):
        with io.replacing_folder(target):
            pass
    with pytest.raises(RuntimeError, match="stop"):
        with io.replacing_folder(target, overwrite=True) as folder:
            raise RuntimeError("stop")
    assert (target / "a").read_text() == "1"
    with io.replacing_folder(target, overwrite=True) as folder:
        (folder / "b").write_text("2")
    assert [file.name for file in target.iterdir()] == ["b"]
    assert list(target.parent.iterdir()) == [target]


# --- boundary errors


def written(path, audio, sample_rate=16000):
    soundfile.write(path, audio, sample_rate, subtype="FLOAT", format="WAV")
    return path


def bad_recordings(folder):
    """(file, expected message) for files that cannot be read as recordings."""
    spoilt = np.full((1000, 2), 0.1)
    spoilt[500] = np.inf, -np.inf
    (folder / "text.wav").write_text("not audio")
    (folder / "nothing.wav").write_bytes(b"")
    (folder / "headless.raw").write_bytes(bytes(1000))
    (folder / "cut.flac").write_bytes(_flac_bytes(folder)[:20_000])
    for suffix in ("wav", "aiff"):
        soundfile.write(folder / f"cut.{suffix}", np.resize([0.1, -0.1], 9001), 16000)
        whole = (folder / f"cut.{suffix}").read_bytes()
        (folder / f"cut.{suffix}").write_bytes(whole[:-2000])
    return {
        "missing": (folder / "missing.wav", "does not exist"),
        "folder": (folder, "is a folder"),
        "text": (folder / "text.wav", "cannot be read as audio"),
        "zero bytes": (folder / "nothing.wav", "cannot be read as audio"),
        "raw": (folder / "headless.raw", "cannot be read as audio"),
        "cut flac": (folder / "cut.flac", "cannot be read as audio"),
        "cut wav": (folder / "cut.wav", "promises 2000 bytes of sound that are not there"),
        "cut aiff": (folder / "cut.aiff", "promises 2000 bytes of sound that are not there"),
        "no samples": (written(folder / "empty.wav", np.zeros(0)), "holds no samples"),
        "short": (written(folder / "short.wav", np.linspace(0, 0.1, 99)), "too short: 99 samples"),
        "NaN": (written(folder / "nan.wav", np.full(1000, np.nan)), "NaN or infinite"),
        "inf": (written(folder / "inf.wav", spoilt), "NaN or infinite"),
        "level": (
            written(folder / "int.wav", np.resize([32767.0, -3.0], 1000)),
            r"a sample of 3\.28e\+04, and full scale is 1\.0",
        ),
        "silence": (written(folder / "zeros.wav", np.zeros(1000)), "silent from end to end"),
        "offset": (written(folder / "dc.wav", np.full(1000, 0.3)), r"is a constant of 0\.3 from"),
        "dither": (
            written(folder / "dither.wav", np.resize([2e-5, -3e-5], 1000)),
            "silent from end to end",
        ),
    }


def _flac_bytes(folder):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 40_000)
    soundfile.write(folder / "whole.flac", noise, 16000)
    return (folder / "whole.flac").read_bytes()


CASES = "missing,folder,text,zero bytes,raw,cut flac,cut wav,cut aiff,no samples,short,NaN,inf"


@pytest.mark.parametrize("case", [*CASES.split(","), "level", "silence", "offset", "dither"])
@pytest.mark.parametrize("sample_rate", [16000, 8000])
def test_errors_of_bad_recordings_name_the_fault(tmp_path, case, sample_rate):
    path, message = bad_recordings(tmp_path)[case]
    if case == "short" and sample_rate == 8000:
        message = "too short: 50 samples"
    with pytest.raises(io.AudioError, match=message) as caught:
        io.read_audio(path, sample_rate=sample_rate, min_samples=100)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text and text.endswith(".")


def test_special_files_are_refused_by_their_kind(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "link.wav").symlink_to("nothing.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
    cases = {
        tmp_path / "pipe.wav": "is a pipe, not a regular file",
        tmp_path / "link.wav": "is a link to a file that does not exist",
        tmp_path / "s": "is a socket, not a regular file",
        "/dev/zero": "is a device, not a regular file",
        tmp_path / ("a" * 300): "File name too long",
        "a\0b": "null (byte|character)",
    }
    for path, message in cases.items():
        with pytest.raises(io.AudioError, match=message):
            io.read_audio(path, sample_rate=8000)


def test_a_sound_shorter_than_one_sample_at_the_new_rate_is_too_short(tmp_path):
    path = written(tmp_path / "a.wav", np.array([0.1, -0.2, 0.3, -0.1]), sample_rate=192_000)
    with pytest.raises(io.AudioError, match="too short: 0 samples at 16000 Hz where at least 1"):
        io.read_audio(path, sample_rate=16000)


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_need_not_be_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9\x1b[31m.wav")
    audio = np.resize([0.25, -0.5], 1000)
    io.write_audio(path, audio, sample_rate=16000)
    np.testing.assert_array_equal(io.read_audio(path, sample_rate=16000), audio)
    assert io.declared_duration_s(path) == 1000 / 16000
    assert printable(path.name) == r"caf\xe9\x1b[31m.wav"


def test_stream_reports_a_missing_file_before_it_is_iterated(tmp_path):
    with pytest.raises(io.AudioError, match="does not exist"):
        io.stream_audio(tmp_path / "no.wav", sample_rate=16000, block_length=10)


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_that_was_written_to_a_pipe_is_read_to_its_end(tmp_path, length):
    path = tmp_path / "pipe.wav"
    soundfile.write(path, np.resize([0.1, -0.1], 1000), 16000)
    data = path.read_bytes()
    place = data.index(b"data") + 4
    path.write_bytes(data[:place] + length.to_bytes(4, "little") + data[place + 4 :])
    with pytest.warns(UserWarning, match="does not say how long it is"):
        assert len(io.read_audio(path, sample_rate=16000)) == 1000


def test_silence_is_accepted_on_request(tmp_path):
    path = written(tmp_path / "zeros.wav", np.zeros(1000))
    blocks = io.stream_audio(path, sample_rate=16000, block_length=600, allow_silence=True)
    assert [len(block) for block in blocks] == [600, 400]


def test_quiet_sound_is_not_silence(tmp_path):
    path = written(tmp_path / "quiet.wav", np.resize([2e-4, -2e-4], 1000))
    assert len(io.read_audio(path, sample_rate=16000)) == 1000


def test_values_that_a_file_cannot_hold_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be one of '\.wav', '\.flac', '\.ogg', got '\.mp4'"):
        io.write_audio(tmp_path / "a.mp4", np.zeros(10), sample_rate=8000)
    with pytest.raises(ValueError, match="NaN or infinite"):
        io.write_audio(tmp_path / "a.wav", np.array([0.1, np.nan]), sample_rate=8000)
    with pytest.raises(ValueError, match="`sample_rate` must be at least 1"):
        io.write_audio(tmp_path / "a.wav", np.zeros(10), sample_rate=0)
    with pytest.raises(ValueError, match=r"must be mono, of shape \(samples,\), got \(10, 2\)"):
        io.write_audio(tmp_path / "a.wav", np.zeros((10, 2)), sample_rate=8000)
    with pytest.raises(ValueError, match="`sample_rate` must be at most 1000000"):
        io.write_audio(tmp_path / "a.wav", np.zeros(10), sample_rate=10**9)
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        io.write_audio(tmp_path / "folder.wav", np.zeros(10), sample_rate=8000)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.wav"]


def test_read_rejects_bad_sizes(tmp_path):
    path = written(tmp_path / "a.wav", np.resize([0.1, -0.1], 1000))
    with pytest.raises(ValueError, match="`sample_rate` must be at least 1"):
        io.read_audio(path, sample_rate=0)
    with pytest.raises(ValueError, match="`sample_rate` must be at most 1000000, got 1000000000"):
        io.read_audio(path, sample_rate=10**9)
    with pytest.raises(ValueError, match="`block_length` must be at least 1"):
        io.stream_audio(path, sample_rate=8000, block_length=0)


def test_importing_io_loads_no_audio_library():
    import subprocess
    import sys

    check = (
        "import sys, ddspx.io; print([m for m in ('soundfile', 'soxr', 'librosa', 'grain', "
        "'orbax') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
