import errno
import hashlib
import json
import os
import shutil
import sys

import numpy as np
import pytest
from preparing import (
    HOP,
    RATE,
    SIZES,
    level_and_crossings,
    prepared,
    recorded,
    segments,
    silence,
    tone,
)

from ddspx import cli, io
from ddspx.features import (
    conditioning_features,
    feature_version,
    pitch_range,
)
from ddspx.models.autoencoder import InstrumentStatistics
from ddspx.training import prepare
from ddspx.training._silence import stretches_around

# --- values


def test_the_dataset_has_the_recording_and_its_features(tmp_path):
    rng = np.random.default_rng(0)
    audio = tone(6, midi=60) + 0.001 * rng.standard_normal(6 * RATE)
    path = recorded(tmp_path / "a.wav", audio)
    manifest, _ = prepared(tmp_path, path, licence="CC0", attribution="Somebody")
    whole = io.read_audio(path, sample_rate=RATE)
    features = conditioning_features(whole, sample_rate=RATE, hop_length=HOP)
    expected = io.Segment(whole, *features)
    first = 0
    for split, n_hops in (("train", 478), ("valid", 72), ("test", 50)):
        (segment,) = segments(tmp_path, split)
        wanted = expected.crop(first, n_hops, hop_length=HOP)
        for found, value in zip(segment, wanted, strict=True):
            np.testing.assert_array_equal(found, value)
        first += n_hops
    assert manifest.feature_version == feature_version("ddspx")
    assert manifest.statistics["pitch_midi_mean"] == pytest.approx(60, abs=0.1)
    assert (manifest.licence, manifest.attribution) == ("CC0", "Somebody")
    assert manifest.example_length == 4000


def test_stereo_at_another_rate_is_mixed_and_resampled(tmp_path, quick):
    left, right = tone(4, midi=60, sample_rate=44_100), tone(4, midi=72, sample_rate=44_100)
    recorded(tmp_path / "a.wav", np.stack([left, right], axis=1), sample_rate=44_100)
    prepared(tmp_path, tmp_path / "a.wav")
    mixed = (tone(4, midi=60) + tone(4, midi=72)) / 2
    (segment, *_) = segments(tmp_path, "train")
    middle = slice(500, len(segment.audio))
    np.testing.assert_allclose(
        segment.audio[middle], mixed[: len(segment.audio)][middle], atol=1e-4
    )


def test_sources_are_recorded(tmp_path, quick):
    path = recorded(tmp_path / "in" / "deep" / "a.wav", tone(4), silence(3), tone(4))
    manifest, _ = prepared(tmp_path, tmp_path / "in")
    (source,) = manifest.sources
    assert source.name == "deep/a.wav"
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert source.duration_s == pytest.approx(11)
    assert source.kept_s == pytest.approx(
        sum(split.duration_s for split in manifest.splits.values())
    )
    assert 8 <= source.kept_s < 8.5


def test_statistics_are_those_of_the_train_split(tmp_path, quick):
    # The last fifth, held out, is two octaves higher and louder.
    audio = [tone(4, midi=60), tone(4, midi=64), tone(2, midi=84, level=0.9)]
    manifest, _ = prepared(tmp_path, recorded(tmp_path / "a.wav", *audio))
    statistics = manifest.statistics
    f0_hz, confidence, loudness_db = (
        np.concatenate([segment[i][:-1] for segment in segments(tmp_path, "train")])
        for i in (1, 2, 3)
    )
    assert statistics["duration_s"] == pytest.approx(8)
    assert statistics["pitch_midi_max"] < 66
    voiced = confidence > 0.5
    np.testing.assert_allclose(
        statistics["loudness_quantiles"],
        np.percentile(loudness_db[voiced], np.arange(101)),
        atol=0.05,
    )
    midi = 69 + 12 * np.log2(f0_hz[voiced] / 440)
    assert statistics["pitch_midi_mean"] == pytest.approx(midi.mean(), abs=0.05)


def test_the_range_of_pitch_is_recorded(tmp_path, quick):
    path = recorded(tmp_path / "a.wav", tone(4))
    manifest, _ = prepared(tmp_path, path, fmin=185.0, fmax=1500.0)
    statistics = InstrumentStatistics.from_json(manifest.statistics)
    assert statistics.pitch_range_hz == {"fmin": 185.0, "fmax": 1500.0}
    manifest, _ = prepared(tmp_path, path, overwrite=True)
    assert (manifest.statistics["fmin"], manifest.statistics["fmax"]) == pitch_range(
        "ddspx", sample_rate=RATE
    )


def test_the_same_recordings_give_the_same_bytes(tmp_path, quick):
    path = recorded(tmp_path / "a.wav", tone(4), silence(2), tone(3))
    prepared(tmp_path, path)
    shutil.move(tmp_path / "data", tmp_path / "earlier")
    prepared(tmp_path, path)
    for file in (tmp_path / "earlier").iterdir():
        assert (tmp_path / "data" / file.name).read_bytes() == file.read_bytes()


def test_what_was_computed_before_is_not_computed_again(tmp_path, quick, monkeypatch):
    recorded(tmp_path / "in" / "b.wav", tone(4, midi=62))
    stereo = np.stack([tone(3), -tone(3)], axis=1)
    recorded(tmp_path / "in" / "c.wav", stereo)
    warns = pytest.warns(UserWarning, match=r"c\.wav has channels that cancel each other")
    with monkeypatch.context() as patch, warns, pytest.raises(TypeError):
        patch.setattr("ddspx.training._prepare.DatasetWriter", None)
        prepared(tmp_path, tmp_path / "in")
    spools = sorted((tmp_path / "data.work").iterdir())
    assert [path.suffix for path in spools] == 2 * [".f32", ".json"]
    # Of a truncated file and of a new one, and of no other, the features are computed.
    spools[0].write_bytes(spools[0].read_bytes()[:-4])
    (tmp_path / "data.work" / "mine.txt").write_text("kept")
    recorded(tmp_path / "in" / "a.wav", tone(5))
    calls = []

    def counted(blocks, **options):
        calls.append(options)
        return level_and_crossings(blocks, **options)

    with monkeypatch.context() as patch, warns:
        patch.setattr("ddspx.training._spool.stream_features", counted)
        manifest, _ = prepared(tmp_path, tmp_path / "in")
    assert len(calls) == 2 and [source.name[0] for source in manifest.sources] == ["a", "b", "c"]
    assert [path.name for path in (tmp_path / "data.work").iterdir()] == ["mine.txt"]
    with warns:
        again = prepare([tmp_path / "in"], tmp_path / "again", report=lambda line: None, **SIZES)
    assert again == manifest and not (tmp_path / "again.work").exists()


def test_damaged_spools_are_computed_again(tmp_path, quick, monkeypatch):
    expected, _ = prepared(tmp_path, *(recorded(tmp_path / x, tone(4, midi=ord(x))) for x in "ABC"))
    shutil.rmtree(tmp_path / "data")
    with monkeypatch.context() as patch, pytest.raises(TypeError):
        patch.setattr("ddspx.training._prepare.DatasetWriter", None)
        prepared(tmp_path, *(tmp_path / x for x in "ABC"))
    spools, summaries = (sorted((tmp_path / "data.work").glob(f"*.{x}")) for x in ("f32", "json"))
    data = bytearray(spools[0].read_bytes())
    data[1001] ^= 4
    spools[0].write_bytes(data)
    # A summary that was changed, and one without a digest.
    text = summaries[1].read_text().replace("[[0, 400]]", "[[0, 300]]")
    summaries[1].write_text(text)
    without = {key: x for key, x in json.loads(summaries[2].read_text()).items() if key != "digest"}
    summaries[2].write_text(json.dumps(without))
    assert "[0, 300]" in text and prepared(tmp_path, *(tmp_path / x for x in "ABC"))[0] == expected


def test_what_a_kill_behind_the_rename_has_left_goes_with_the_next_call(
    tmp_path, quick, monkeypatch
):
    path = recorded(tmp_path / "a.wav", tone(4))
    with monkeypatch.context() as patch:
        patch.setattr("ddspx.training._runners.PoolRunner.sweep", lambda self: None)
        prepared(tmp_path, path)
    work, partial = tmp_path / "data.work", ".00000000-1-1-00000000.partial"
    (tmp_path / f".data{partial}").mkdir()
    (work / f".{'0' * 64}-{'0' * 16}.f32{partial}").touch()
    # It is from a preparation with overwrite, which can go on.
    newer = work / f"{'0' * 64}-{'0' * 16}.f32"
    newer.touch()
    os.utime(newer, (2**32, 2**32))
    with pytest.raises(FileExistsError):
        prepared(tmp_path, path)
    assert list(work.iterdir()) == [newer] and not (tmp_path / f".data{partial}").exists()


def test_a_failure_of_the_system_leaves_no_recording_out(tmp_path, quick, monkeypatch):
    for name in ("a.wav", "b.wav"):
        recorded(tmp_path / "in" / name, tone(4, midi=ord(name[0])))
    whole = hashlib.file_digest

    def failing(number):
        def digest(file, algorithm):
            if file.name.endswith("a.wav"):
                raise OSError(number, os.strerror(number))
            return whole(file, algorithm)

        return digest

    for number in (errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOSPC):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="may be no fault of the"):
            patch.setattr("hashlib.file_digest", failing(number))
            prepared(tmp_path, tmp_path / "in")
    with monkeypatch.context() as patch:
        # This is the file's own, and the next time too.
        patch.setattr("hashlib.file_digest", failing(errno.EACCES))
        manifest, lines = prepared(tmp_path, tmp_path / "in")
    assert len(manifest.sources) == 1 and "check its rights" in lines[0]
    manifest, _ = prepared(tmp_path, tmp_path / "in", overwrite=True)
    assert len(manifest.sources) == 2


def test_without_a_cpu_nothing_is_computed_elsewhere(tmp_path, quick, monkeypatch):
    def missing(*, backend):
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr("jax.local_devices", missing)
    with pytest.raises(
        ValueError, match=r"computed on the CPU, which .* set JAX_PLATFORMS=.*,cpu\."
    ):
        prepared(tmp_path, recorded(tmp_path / "a.wav", tone(4)))


# --- silence


def test_silence_is_cut_out_and_nothing_is_padded(tmp_path, quick):
    audio = [silence(2), tone(4), silence(0.6), tone(4), silence(5), tone(4), silence(3)]
    path = recorded(tmp_path / "a.wav", *audio)
    prepared(tmp_path, path)
    kept = [s for split in ("train", "valid", "test") for s in segments(tmp_path, split)]
    # Of 14 s, all but the 0.6 s pause and the margins around three stretches sound.
    sounding = sum(len(s.audio) for s in kept) / RATE
    assert 12.6 <= sounding <= 12.6 + 6 * 0.25
    for batch in io.evaluation_batches(tmp_path / "data", split="train", batch_size=1):
        assert np.abs(batch.audio).max() > 0.2


def test_a_short_sound_is_widened_by_its_surroundings(tmp_path, quick):
    rng = np.random.default_rng(0)
    room = 1e-4 * rng.standard_normal(6 * RATE)
    room[3 * RATE : 3 * RATE + 400] += tone(0.05)
    path = recorded(tmp_path / "a.wav", room)
    manifest, _ = prepared(tmp_path, path, example_s=2.0)
    (segment,) = segments(tmp_path, "train")
    assert len(segment.audio) == 2 * RATE
    assert np.all(segment.audio[::100] != 0)
    assert manifest.splits["train"].n_examples == 1


def test_sounding_stretches_by_their_definition(rng):
    for _ in range(300):
        n_frames, example = int(rng.integers(2, 120)), int(rng.integers(1, 30))
        loud = rng.random(n_frames) < rng.choice([0.02, 0.2, 0.8])
        chunks = np.split(loud, np.sort(rng.integers(0, n_frames, size=rng.integers(0, 4))))
        stretches = stretches_around(chunks, example=example, gap=9, margin=3)
        if not loud.any() or n_frames - 1 < example:
            assert stretches == []
            continue
        covered = np.zeros(n_frames, bool)
        end = -1
        for first, last in stretches:
            assert end < first and last - first >= example and last < n_frames
            assert loud[first : last + 1].any()
            covered[first : last + 1] = True
            end = last
        assert covered[loud].all()
        # All kept frames are near a sound, except those that fill an example up to its length.
        distance = np.abs(np.arange(n_frames)[:, None] - np.flatnonzero(loud)).min(axis=1)
        assert distance[covered].max() <= max(9, example)


# --- boundary errors


def test_folders_are_searched_and_unusable_files_skipped(tmp_path, quick):
    folder = tmp_path / "in"
    original = recorded(folder / "deep" / "a.WAV", tone(4))
    shutil.copyfile(original, folder / "copy.wav")
    recorded(folder / ".hidden" / "b.wav", tone(4, midi=50))
    recorded(folder / "._c.wav", tone(4, midi=51))
    recorded(folder / "brief.wav", tone(0.1))
    recorded(folder / "silent.wav", silence(4))
    (folder / "notes.txt").write_text("not audio")
    manifest, lines = prepared(tmp_path, folder)
    assert [source.name for source in manifest.sources] == ["copy.wav"]
    skipped = [line for line in lines if line.startswith("skipped: ")]
    for name, reason in {
        "brief.wav": "too short",
        "silent.wav": "silent from end to end",
        "notes.txt": "cannot be read as audio",
        "a.WAV": "is a copy of",
    }.items():
        assert sum(name in line and reason in line for line in skipped) == 1
    assert len(skipped) == 4
    report = (tmp_path / "data" / "skipped.txt").read_text()
    assert report.splitlines() == [line.removeprefix("skipped: ") for line in skipped]


@pytest.mark.parametrize("name", ["missing.wav", "text.wav", "brief.wav", "nan.wav"])
def test_a_bad_recording_given_by_name_is_an_error_and_leaves_no_files(tmp_path, quick, name):
    recorded(tmp_path / "in" / "good.wav", tone(4))
    recorded(tmp_path / "in" / "brief.wav", tone(0.1))
    recorded(tmp_path / "in" / "nan.wav", np.full(RATE, np.nan))
    (tmp_path / "in" / "text.wav").write_text("not audio")
    with pytest.raises(io.AudioError, match=name):
        prepared(tmp_path, tmp_path / "in" / "good.wav", tmp_path / "in" / name)
    # What a header shows is refused before the work; otherwise the work so far is kept.
    left = ["in"] if name != "nan.wav" else ["data.work", "in"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left


def test_folders_without_usable_recordings_are_an_error(tmp_path, quick):
    (tmp_path / "in").mkdir()
    with pytest.raises(io.AudioError, match=r"no usable recording in .*in; name audio"):
        prepared(tmp_path, tmp_path / "in")
    with pytest.raises(io.AudioError, match="an empty list"):
        prepared(tmp_path)


def test_unpitched_sound_is_reported(tmp_path, rng):
    noise = 0.3 * rng.standard_normal(6 * RATE)
    path = recorded(tmp_path / "noise.wav", noise)
    try:
        _, lines = prepared(tmp_path, path)
        assert any("warning: only" in line and "is pitched" in line for line in lines)
    except io.AudioError as error:
        assert "no pitch was found" in str(error)
        assert not (tmp_path / "data").exists()


def test_an_existing_output_is_replaced_only_on_request(tmp_path, quick):
    path = recorded(tmp_path / "a.wav", tone(4))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="data already exists"):
        prepared(tmp_path, path)
    with pytest.raises(io.DatasetError, match="is not a dataset, so it is not replaced"):
        prepared(tmp_path, path, overwrite=True)
    assert (tmp_path / "data" / "thesis.txt").read_text() == "mine"
    shutil.rmtree(tmp_path / "data")
    prepared(tmp_path, path)
    manifest, _ = prepared(tmp_path, path, overwrite=True, licence="new")
    assert io.read_manifest(tmp_path / "data") == manifest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "data"]


def test_a_runner_without_beam_and_options_without_a_runner_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam.io.filesystems", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "ddspx\[beam\]"'):
        prepared(tmp_path, tmp_path / "a.wav", runner="DirectRunner")
    with pytest.raises(ValueError, match=r"got '--x' without one; name the runner, or write \./-N"):
        prepared(tmp_path, tmp_path / "a.wav", pipeline_options=["--x"])
    assert cli.main(["prepare", "a.wav", "-o", str(tmp_path / "x"), "--", "-b.wav"]) == 2


def test_bad_sizes_are_reported(tmp_path):
    with pytest.raises(ValueError, match="`sample_rate` must be at least 1"):
        prepared(tmp_path, sample_rate=0)
    with pytest.raises(ValueError, match="`hop_length` must be at least 1"):
        prepared(tmp_path, hop_length=0)
    with pytest.raises(ValueError, match="`workers` must be at least 1"):
        prepared(tmp_path, workers=0)
    with pytest.raises(ValueError, match="`example_s` must be at least one hop long"):
        prepared(tmp_path, example_s=0.001)


def test_the_command_prepares_and_reports_errors(tmp_path, quick, capsys):
    path = recorded(tmp_path / "a.wav", tone(8))
    command = ["prepare", str(path), "-o", str(tmp_path / "data"), "--sample-rate", str(RATE)]
    command += ["--hop-length", str(HOP), "--example-s", "0.5", "--licence", "CC0"]
    assert cli.main(command) == 0
    assert capsys.readouterr().out.endswith("data: train 6 s, valid 1 s, test 1 s\n")
    assert io.read_manifest(tmp_path / "data").licence == "CC0"
    assert cli.main(command) == 2
    assert "already exists" in capsys.readouterr().err
    assert cli.main(["prepare", str(tmp_path / "no.wav"), "-o", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_a_recorded_violin_is_prepared(tmp_path, shared_data):
    manifest, _ = prepared(
        tmp_path, shared_data / "violin_bach", sample_rate=16_000, hop_length=128, example_s=4.0
    )
    assert [source.name for source in manifest.sources] == [
        "john-garner_bwv1002_mov6.flac",
        "john-garner_bwv1002_mov8.flac",
    ]
    seconds = {name: split.duration_s for name, split in manifest.splits.items()}
    assert 190 < seconds["train"] < 200 and seconds["valid"] > 25 and seconds["test"] > 14
    assert 66 < manifest.statistics["pitch_midi_mean"] < 76
