"""Lengths that headers declare, and joined files; the tests build every file from bytes."""

import io as memory
import itertools
import os
import struct
import warnings

import numpy as np
import pytest
import soundfile

from ddspx import io

RATE = 16000
NOT_SAID = "does not say how long it is"
ID3 = b"ID3\x04\x00\x00" + bytes([0, 0, 15, 80]) + bytes(15 * 128 + 80)
ID3V1 = b"TAG" + bytes(125)
TONE = 0.4 * np.sin(2 * np.pi * 220 * np.arange(8000) / RATE)
PCM = {"subtype": "PCM_16"}


def encoded(audio=TONE, sample_rate=RATE, **options):
    file = memory.BytesIO()
    soundfile.write(file, audio, sample_rate, **options)
    return file.getvalue()


def read(folder, data, name="a.bin", **options):
    (folder / name).write_bytes(data)
    return io.read_audio(folder / name, **{"sample_rate": RATE} | options)


def warned(folder, data, match):
    with pytest.warns(UserWarning, match=match):
        return read(folder, data)


def with_length(data, mark, offset, form, value):
    at = data.index(mark) + offset
    return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]


# --- cut short

CHUNKED = [
    {"format": "WAV", "subtype": "PCM_16"},
    {"format": "WAV", "subtype": "PCM_16", "endian": "BIG"},
    {"format": "WAVEX", "subtype": "FLOAT"},
    {"format": "RF64", "subtype": "PCM_16"},
    {"format": "W64", "subtype": "PCM_24"},
    {"format": "AIFF", "subtype": "PCM_16"},
    {"format": "CAF", "subtype": "PCM_16"},
    {"format": "AU", "subtype": "PCM_16"},
    {"format": "AU", "subtype": "PCM_16", "endian": "LITTLE"},
    {"format": "VOC", "subtype": "PCM_16"},
    {"format": "SVX", "subtype": "PCM_16"},
    {"format": "NIST", "subtype": "PCM_16"},
    {"format": "AVR", "subtype": "PCM_16"},
    {"format": "MPC2K", "subtype": "PCM_16"},
    {"format": "SDS", "subtype": "PCM_16"},
    {"format": "MAT4", "subtype": "FLOAT"},
    {"format": "MAT4", "subtype": "PCM_16", "endian": "BIG"},
    {"format": "MAT5", "subtype": "FLOAT"},
    {"format": "WVE", "sample_rate": 8000},
]


@pytest.mark.parametrize(
    "options", CHUNKED, ids=lambda options: "-".join(map(str, options.values()))
)
def test_half_of_a_file_is_refused_and_the_whole_is_read(tmp_path, options):
    data = encoded(**options)
    rate = options.get("sample_rate", RATE)
    assert abs(len(read(tmp_path, data, sample_rate=rate)) - 8000) <= 60
    with pytest.raises(io.AudioError, match=r"is cut short: its header promises \d+ bytes"):
        read(tmp_path, data[: len(data) // 2], sample_rate=rate)


@pytest.mark.parametrize("kind", ["IRCAM", "PAF", "PVF"])
def test_a_format_without_a_length_is_read_with_a_warning(tmp_path, kind):
    data = encoded(format=kind, subtype="PCM_16")
    assert len(warned(tmp_path, data, "has a format without a length")) == 8000


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_without_its_end_is_read_with_a_warning(tmp_path, subtype, rng):
    noise = 0.1 * rng.standard_normal(4 * RATE)
    data = encoded(noise, format="OGG", subtype=subtype)
    half = warned(tmp_path, data[: len(data) // 2], "has no mark of its end")
    assert 0.2 < len(half) / len(noise) < 0.8


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_after_a_truncated_ogg_stream_the_next_one_is_read(tmp_path, subtype, rng):
    noise = 0.1 * rng.standard_normal(4 * RATE)
    first, second = (encoded(x, format="OGG", subtype=subtype) for x in (noise, TONE))
    alone = warned(tmp_path, first[: len(first) // 2], "has no mark of its end")
    found = warned(tmp_path, first[: len(first) // 2] + second, "has no mark of its end")
    assert len(found) == len(alone) + len(TONE)
    np.testing.assert_array_equal(found[len(alone) :], read(tmp_path, second))


@pytest.mark.parametrize("options", [{"format": "OGG"}, {"format": "PAF", "subtype": "PCM_16"}])
def test_unreadable_files_give_no_warning_that_they_are_read(tmp_path, options):
    # Warnings are errors here.
    with pytest.raises(io.AudioError, match="cannot be read as audio"):
        read(tmp_path, encoded(**options)[:60])


@pytest.mark.parametrize("options", [{"format": "FLAC"}, {"format": "CAF", "subtype": "ALAC_16"}])
def test_files_that_a_decoder_finds_truncated_are_refused(tmp_path, options, rng):
    data = encoded(0.1 * rng.standard_normal(8000), **options)
    with pytest.raises(io.AudioError, match=r"cannot be read as audio \(\w|is cut short"):
        read(tmp_path, data[: len(data) // 2])


# --- a length that is not known, or not true

UNKNOWN = {
    "WAV": (b"data", 4, "<I", (0, 0xFFFFFFFF, 0x7FFFF000)),
    "RF64": (b"ds64", 16, "<Q", (0, 2**64 - 1)),
    "W64": (b"data\xf3", 16, "<q", (24, 0, -1)),
    "AIFF": (b"SSND", 4, ">I", (0, 8, 0xFFFFFFFF)),
    "CAF": (b"data", 4, ">q", (0, 4, -1)),
    "AU": (b".snd", 8, ">I", (0, 0xFFFFFFFF)),
    "SVX": (b"BODY", 4, ">I", (0, 0xFFFFFFFF)),
}


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, (*_, values) in UNKNOWN.items() for value in values]
)
def test_a_file_that_does_not_know_its_length_is_read_with_a_warning(tmp_path, kind, value):
    mark, offset, form, _ = UNKNOWN[kind]
    data = encoded(format=kind, subtype="PCM_16")
    found = warned(tmp_path, with_length(data, mark, offset, form, value), NOT_SAID)
    np.testing.assert_allclose(found, TONE, atol=1e-4)


def test_a_file_that_is_really_empty_holds_no_samples(tmp_path):
    data = encoded(np.zeros(0), format="WAV")
    for behind in (b"", b"LIST" + struct.pack("<I", 4) + b"INFO"):
        with pytest.raises(io.AudioError, match="holds no samples"):
            read(tmp_path, data + behind)


def test_a_wav_beyond_four_gigabytes_is_read_beyond_its_length(tmp_path):
    path = tmp_path / "a.wav"
    data = with_length(encoded(format="WAV", **PCM), b"data", 4, "<I", 16_000)
    path.write_bytes(data)
    os.truncate(path, len(data) + 2**32)
    blocks = io.stream_audio(path, sample_rate=RATE, block_length=8000)
    with pytest.warns(UserWarning, match="is longer than the header of a WAV file can say"):
        np.testing.assert_allclose(next(blocks), TONE, atol=1e-4)
    assert io.declared_duration_s(path) == (2**31 + 8000) / RATE


def test_a_flac_of_unknown_length_is_read(tmp_path):
    data = bytearray(encoded(format="FLAC", **PCM))
    # The last 36 bits of eight bytes in STREAMINFO are the number of samples.
    data[21:26] = bytes([data[21] & 0xF0, 0, 0, 0, 0])
    for behind in (b"", ID3V1):
        np.testing.assert_allclose(read(tmp_path, bytes(data) + behind), TONE, atol=1e-4)
    assert io.declared_duration_s(tmp_path / "a.bin") is None


def test_an_aiff_whose_decoder_cannot_seek_is_read(tmp_path):
    found = read(tmp_path, encoded(format="AIFF", subtype="DWVW_16"))
    np.testing.assert_allclose(found, TONE, atol=1e-4)


@pytest.mark.parametrize("rate", [1, 99, 2_000_000])
def test_an_impossible_rate_is_refused(tmp_path, rate):
    with pytest.raises(io.AudioError, match=rf"says that it has {rate} samples per second"):
        read(tmp_path, encoded(sample_rate=rate, format="WAV"))


def test_a_contradictory_header_is_refused_with_our_message(tmp_path):
    with pytest.raises(io.AudioError, match="its header is damaged, or holds impossible values"):
        read(tmp_path, with_length(encoded(format="WAV", **PCM), b"fmt ", 12, "<I", 0))


# --- joined files

JOINED = {
    "vorbis": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
    "flac": {"format": "FLAC"},
    "wav": {"format": "WAV"},
    "aiff": {"format": "AIFF"},
    "caf": {"format": "CAF", "subtype": "PCM_16"},
    "au": {"format": "AU"},
}


@pytest.mark.parametrize("kind", JOINED)
def test_joined_files_are_read_completely(tmp_path, kind):
    high = np.sin(2 * np.pi * 440 * np.arange(24_000) / 48_000)
    parts = [
        encoded(**JOINED[kind]),
        encoded(np.stack([TONE, 0.5 * TONE], 1), **JOINED[kind]),
        encoded(0.4 * high, 48_000, **JOINED[kind]),
    ]
    found = read(tmp_path, b"".join(parts))
    assert len(found) == 24_000
    assert io.declared_duration_s(tmp_path / "a.bin") == pytest.approx(1.5)
    blocks = io.stream_audio(tmp_path / "a.bin", sample_rate=RATE, block_length=777)
    np.testing.assert_array_equal(np.concatenate(list(blocks)), found)
    # Each part where it belongs: pitch and level in its middle.
    for start, hz, level in ((2000, 220, 0.4), (10_000, 220, 0.3), (18_000, 440, 0.4)):
        spectrum = np.abs(np.fft.rfft(found[start : start + 4000])) / 2000
        assert spectrum.argmax() == hz / 4 and spectrum.max() == pytest.approx(level, rel=0.03)


def test_an_mp3_is_read_through_tags_and_without_the_number_of_its_frames(tmp_path):
    data = encoded(format="MP3")
    first = data.index(data[:2], 2)
    bare = data[first:]
    assert b"Info" not in bare and b"Xing" not in bare
    for joined, seconds in (
        (ID3 + data + ID3 + data, 1.0),
        (data + ID3V1, 0.5),
        (ID3[:5] + b"\x10" + ID3[6:] + b"3DI" + ID3[3:10] + data, 0.5),
        (data + bytes(5000) + data, 1.0),
    ):
        assert len(read(tmp_path, joined)) == seconds * RATE
    # Without a header frame the encoder's delay is unknown, so it is part of the sound.
    for joined, seconds in ((bare, 0.5), (bare + bare, 1.0), (data + bare, 1.0)):
        assert 0 <= len(read(tmp_path, joined)) / RATE - seconds < 0.2


@pytest.mark.parametrize("kind", JOINED)
def test_any_file_is_read_behind_tags_and_before_them(tmp_path, kind):
    data = encoded(**JOINED[kind])
    plain = read(tmp_path, data)
    np.testing.assert_array_equal(read(tmp_path, ID3 + ID3 + data + ID3V1), plain)
    assert len(read(tmp_path, ID3 + data + ID3 + data)) == 2 * len(plain)


def test_a_flac_may_hold_a_flac_in_front_of_its_sound(tmp_path):
    data = encoded(format="FLAC", **PCM)
    block = b"flac" + data * 2
    application = bytes([2]) + len(block).to_bytes(3, "big") + block
    # Behind the first block, which is 38 bytes long.
    found = read(tmp_path, data[:42] + application + data[42:])
    np.testing.assert_array_equal(found, read(tmp_path, data))


def test_of_two_streams_at_once_the_first_is_read_with_a_warning(tmp_path):
    pages = []
    for hz in (220, 330):
        data = encoded(np.sin(2 * np.pi * hz * np.arange(8000) / RATE), format="OGG")
        starts = [i for i in range(len(data)) if data.startswith(b"OggS", i)] + [len(data)]
        pages.append([data[a:b] for a, b in itertools.pairwise(starts)])
    one, two = pages
    mixed = b"".join(page for pair in zip(one, two, strict=True) for page in pair)
    found = warned(tmp_path, mixed, "holds 2 simultaneous streams, of which the first is read")
    spectrum = np.abs(np.fft.rfft(found[2000:6000]))
    assert len(found) == 8000 and spectrum.argmax() == 55


# --- less sound than declared, and messages of decoders


def test_an_mp3_without_its_end_is_read_with_a_warning_of_both_lengths(tmp_path, capfd):
    data = encoded(np.tile(TONE, 8), format="MP3")
    found = warned(
        tmp_path, data[: len(data) // 2], r"decodes to [12]\.\d\d s of the 4\.0\d s that"
    )
    assert 1 < len(found) / RATE < 3
    assert capfd.readouterr().err == ""


def test_an_mp3_without_audio_is_refused_with_our_message(tmp_path, capfd):
    with pytest.raises(io.AudioError, match="it has no whole block of sound"):
        read(tmp_path, encoded(format="MP3")[:300])
    with pytest.raises(io.AudioError, match="it has no bytes"):
        read(tmp_path, b"")
    assert capfd.readouterr().err == ""


def test_output_of_other_threads_is_kept_while_mpeg_is_decoded(tmp_path, capfd):
    import threading

    (tmp_path / "a.mp3").write_bytes(encoded(np.tile(TONE, 20), format="MP3"))
    stop = threading.Event()

    def talk():
        for i in range(200):
            os.write(2, f"line {i}\n".encode())
        stop.set()

    talker = threading.Thread(target=talk)
    talker.start()
    while not stop.is_set():
        io.read_audio(tmp_path / "a.mp3", sample_rate=RATE)
    talker.join()
    # No line is lost; captured lines may come after lines that were written directly.
    assert sorted(capfd.readouterr().err.splitlines()) == sorted(f"line {i}" for i in range(200))


# --- hostile bytes


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfb\x90\xc0" * 3000,
        b"fLaC\x00\x00\x00\x22" * 9000,
        b"OggS" * 50_000,
        b".snd\x00\x00\x00\x18\x00\x00\x00\x00" * 50_000,
        b"RIFF\xff\xff\xff\xffWAVE" + b"abcd\x00\x00\x00\x00" * 2000,
        b"NIST_1A\n   1024\n" + b"sample_count -i 99999999999999999999\n" * 99,
        b"MATLAB" + bytes(122) + b"\xff" * 5000,
        b"Creative Voice File\x1a\x1a\x00" + b"\x01\xff\xff\xff" * 99,
    ],
    ids=["mpeg", "flac", "ogg", "au", "riff", "nist", "matlab", "voc"],
)
def test_random_bytes_give_an_error_sentence(tmp_path, data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(io.AudioError, match=r"^/.*\.$"):
            read(tmp_path, data)
