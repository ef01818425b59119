"""Datasets: what is written is read, in every crop, and nothing that was changed is."""

import dataclasses
import hashlib
import json
import shutil
import zlib

import numpy as np
import pytest

from ddspx import io
from ddspx.io._manifest import digest_of

HOP, RATE, EXAMPLE = 4, 80, 40  # an example is 10 hops, half a second; a chunk 80 hops
FACTS = {"feature_version": "test-1", "licence": "CC0", "attribution": "Nobody, né Keiner"}
SOURCES = (io.Source("a.wav", "0" * 64, 3.0, 2.5), io.Source("b.wav", "1" * 64, 3.0, 2.5))


@pytest.fixture(autouse=True)
def short_records(monkeypatch):
    """A record owns 32 examples, 320 hops."""
    monkeypatch.setattr("ddspx.io._datasets._RECORD_SECONDS", 16.0)


def numbered(first_hop, n_hops):
    """A stretch whose samples and features are their own positions."""
    samples = np.arange(first_hop * HOP, (first_hop + n_hops) * HOP, dtype=np.float32)
    frames = np.arange(first_hop, first_hop + n_hops + 1, dtype=np.float32) * HOP
    return io.Segment(samples, frames, frames + 0.25, frames + 0.5)


def written(folder, stretches, *, segment=numbered, example_length=EXAMPLE):
    folder.mkdir()
    rates = {"sample_rate": RATE, "hop_length": HOP, "example_length": example_length}
    with io.DatasetWriter(folder, **rates) as writer:
        for number, (split, first_hop, n_hops) in enumerate(stretches):
            writer.add(split, segment(first_hop, n_hops), source=number % 2)
        return writer.finish(**FACTS, sources=SOURCES, statistics={"pitch_midi_mean": 60.0})


# --- values


def test_manifest_reads_back_as_written(tmp_path):
    manifest = written(tmp_path / "data", [("train", 0, 25), ("test", 30, 10)])
    assert io.read_manifest(tmp_path / "data") == manifest
    assert manifest.splits["train"].n_examples == 2
    assert manifest.splits["train"].duration_s == pytest.approx(25 * HOP / RATE)
    assert manifest.splits["train"].sources == (0,) and manifest.splits["test"].sources == (1,)
    assert manifest.splits["valid"] == io.Split()
    assert "né" in (tmp_path / "data" / "manifest.json").read_text(encoding="utf-8")


def test_a_shard_is_float32_and_its_checksums_are_those_of_the_manifest(tmp_path):
    """The format, as the reference describes it, read with NumPy alone."""
    written(tmp_path / "data", [("train", 0, 330), ("train", 400, 25)])
    fields = json.loads((tmp_path / "data" / "manifest.json").read_text(encoding="utf-8"))
    assert fields["format"] == "ddspx-dataset" and fields["version"] == 2
    assert fields["sources"][0]["name"] == "a.wav"
    split = fields["splits"]["train"]
    (shard,) = split["shards"]
    data = (tmp_path / "data" / shard["name"]).read_bytes()
    assert shard["name"] == "train-00000.f32" and shard["n_records"] == 3
    assert shard["sha256"] == hashlib.sha256(data).hexdigest()
    numbers, at = np.frombuffer(data, "<f4"), 0
    for first, starts, crc32 in zip((0, 320, 400), split["starts"], split["crc32"], strict=True):
        hops, tracks = starts + 9, []
        for length in (hops * HOP, *3 * [hops + 1]):
            tracks.append(numbers[at : at + length])
            at += length
        for track, expected in zip(tracks, numbered(first, hops), strict=True):
            np.testing.assert_array_equal(track, expected)
        n_chunks = max(1, hops // 80)
        for chunk in range(n_chunks):
            ends = [None if chunk == n_chunks - 1 else w * (chunk + 1) for w in (80 * HOP, 80)]
            parts = [tracks[0][chunk * 80 * HOP : ends[0]]]
            parts += [track[chunk * 80 : ends[1]] for track in tracks[1:]]
            checksum = zlib.crc32(b"".join(part.tobytes() for part in parts))
            assert crc32[8 * chunk : 8 * chunk + 8] == f"{checksum:08x}"
        assert len(crc32) == 8 * n_chunks
    assert at == numbers.size


@pytest.mark.parametrize("n_hops", [10, 11, 329, 330, 331, 1000])
def test_every_crop_is_that_of_the_recording(tmp_path, n_hops):
    """Records offer every start of a stretch once, and a crop equals the slice of the source."""
    rng = np.random.default_rng(n_hops)
    whole = io.Segment(*(rng.standard_normal(n) for n in (n_hops * HOP, *3 * [n_hops + 1])))
    manifest = written(tmp_path / "data", [("train", 0, n_hops)], segment=lambda *_: whole)
    split = manifest.splits["train"]
    records, first = io.Records(tmp_path / "data", manifest, "train"), 0
    for record, starts in enumerate(split.starts):
        assert len(records[record].audio) == (starts + 9) * HOP
        for start in range(starts):
            crop = records.crop(record, start, 10)
            expected = whole.crop(first + start, 10, hop_length=HOP)
            for found, part in zip(crop, expected, strict=True):
                assert found.dtype == np.float32 and not found.flags.owndata
                np.testing.assert_array_equal(found, part.astype(np.float32))
        first += starts
    for start, hops in ((-1, 10), (len(records[0].f0_hz) - 10, 10), (5, -1)):
        with pytest.raises(IndexError, match=f"hops {start} to"):
            records.crop(0, start, hops)
    assert first == n_hops - 9 and split.n_examples == n_hops // 10
    assert sum(split.weights_s) == pytest.approx(n_hops * HOP / RATE)


def test_a_dataset_is_what_its_definition_says(tmp_path, monkeypatch):
    """Any rates, stretches in any order, and small shards, beside a list in plain NumPy."""
    for case in range(12):
        rng = np.random.default_rng(case)
        rate, hop, hops = (int(rng.integers(*range_)) for range_ in ((40, 90), (1, 9), (1, 25)))
        seconds = rng.uniform(0.1, 20)
        monkeypatch.setattr("ddspx.io._datasets._RECORD_SECONDS", seconds)
        monkeypatch.setattr("ddspx.io._shards._SHARD_BYTES", int(rng.integers(1, 20_000)))
        step = max(1, round(seconds * rate / (hop * hops))) * hops
        folder, expected = tmp_path / str(case), {name: [] for name in ("train", "valid", "test")}
        folder.mkdir()
        rates = {"sample_rate": rate, "hop_length": hop, "example_length": hop * hops}
        with io.DatasetWriter(folder, **rates) as writer:
            for source in range(6):
                split, n = str(rng.choice(list(expected))), int(rng.integers(hops, 40 * hops))
                whole = [rng.standard_normal(size) for size in (n * hop, *3 * [n + 1])]
                writer.add(split, io.Segment(*whole), source=source)
                for first in range(0, n - hops + 1, step):
                    last = min(first + step - 1, n - hops) + hops
                    tracks = [whole[0][first * hop : last * hop]]
                    tracks += [track[first : last + 1] for track in whole[1:]]
                    expected[split].append((source, last - first - hops + 1, tracks))
            sources = [io.Source(f"{i}.wav", "0", 1.0, 1.0) for i in range(6)]
            manifest = writer.finish(**FACTS, sources=sources, statistics={})
        assert io.verify_dataset(folder) == manifest
        for name, records in expected.items():
            split = manifest.splits[name]
            assert split.sources == tuple(source for source, _, _ in records)
            assert split.starts == tuple(starts for _, starts, _ in records)
            stored = b"".join((folder / shard.name).read_bytes() for shard in split.shards)
            tracks = [np.float32(track) for _, _, of in records for track in of]
            np.testing.assert_array_equal(
                np.frombuffer(stored, "<f4"), np.concatenate([np.float32([]), *tracks])
            )


def test_many_shards_are_one_sequence_with_few_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr("ddspx.io._shards._SHARD_BYTES", 6_000)
    monkeypatch.setattr("ddspx.io._shards._MOST_MAPS", 2)
    manifest = written(tmp_path / "data", [("train", 0, 4000)])
    assert len(manifest.splits["train"].shards) == 13
    records = io.Records(tmp_path / "data", manifest, "train")
    views = [records[i] for i in [*range(len(records)), 0, 12]]
    firsts = [view.audio[0] for view in views]
    np.testing.assert_array_equal(firsts, np.array([*range(len(records)), 0, 12]) * 320 * HOP)
    for index in (-1, len(records)):
        with pytest.raises(IndexError):
            records[index]
    from ddspx.io._shards import _MAPS

    assert len(_MAPS._maps) == 2
    del records
    assert not _MAPS._maps


def test_memory_maps_and_other_floats_are_written_as_float32(tmp_path):
    whole = numbered(0, 330)
    for name, track in whole._asdict().items():
        track.astype(">f8").tofile(tmp_path / name)
    maps = io.Segment(*(np.memmap(tmp_path / name, ">f8", "r") for name in whole._fields))
    one = written(tmp_path / "maps", [("train", 0, 330)], segment=lambda *_: maps)
    assert one == written(tmp_path / "arrays", [("train", 0, 330)])


# --- boundary errors


def test_writer_checks_what_it_is_given(tmp_path):
    rates = {"sample_rate": RATE, "hop_length": HOP}
    with pytest.raises(ValueError, match=r"`example_length` must be a multiple .* use 40"):
        io.DatasetWriter(tmp_path, example_length=41, **rates)
    with io.DatasetWriter(tmp_path, example_length=EXAMPLE, **rates) as writer:
        with pytest.raises(ValueError, match="`segment` has 36 samples, fewer than the 40"):
            writer.add("train", numbered(0, 9), source=0)
        with pytest.raises(ValueError, match="21 frames go with 80 samples"):
            writer.add("train", numbered(0, 20)._replace(audio=np.zeros(84)), source=0)
        with pytest.raises(ValueError, match="features of 21, 21 and 20 frames"):
            writer.add("train", numbered(0, 20)._replace(loudness_db=np.zeros(20)), source=0)
        with pytest.raises(ValueError, match="`split` must be one of 'train'"):
            writer.add("dev", numbered(0, 20), source=0)
        with pytest.raises(ValueError, match="`source` must be at least 0, got -1"):
            writer.add("train", numbered(0, 20), source=-1)
        writer.add("train", numbered(0, 20), source=2)
        with pytest.raises(ValueError, match=r"`sources` must name all .* has 2 .*`source` 2"):
            writer.finish(**FACTS, sources=SOURCES, statistics={})
        with pytest.raises(ValueError, match="JSON"):
            writer.finish(**FACTS, sources=3 * SOURCES, statistics={"mean": float("nan")})
    assert not io.is_dataset(tmp_path)


def test_a_writer_that_fails_leaves_whole_shards_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("ddspx.io._shards._SHARD_BYTES", 6_000)
    with pytest.raises(RuntimeError, match="power"):
        with io.DatasetWriter(
            tmp_path, sample_rate=RATE, hop_length=HOP, example_length=EXAMPLE
        ) as writer:
            for _ in range(3):
                writer.add("train", numbered(0, 330), source=0)
            raise RuntimeError("power")
    whole = [path.name for path in tmp_path.iterdir()]
    assert sorted(whole) == [f"train-0000{i}.f32" for i in range(3)]


def test_folders_that_are_not_datasets_are_reported(tmp_path):
    with pytest.raises(io.DatasetError, match="missing is not a folder"):
        io.read_manifest(tmp_path / "missing")
    with pytest.raises(io.DatasetError, match="has no manifest"):
        io.read_manifest(tmp_path)
    assert not io.is_dataset(tmp_path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text[: len(text) // 2], "is damaged"),
        (lambda text: "[]", "is damaged"),
        (lambda text: "\x00", "is damaged"),
        (lambda text: "[" * 100_000, "is damaged"),
        (lambda text: '{"format":' * 500 + "1" + "}" * 500, "nested more than 64 deep"),
        (lambda text: text.replace('"hop_length": ', '"hop_length": 99999999999'), "is damaged"),
        (lambda text: text.replace('"hop_length"', '"hop"'), "is damaged"),
        (lambda text: text.replace("CC0", "CC1"), "its digest is not that of its contents"),
        (lambda text: text.replace('"sha256": "', '"sha256": "0'), "its digest is not that"),
        (lambda text: text.replace('"version": 2', '"version": 1'), "version 1 where"),
        (lambda text: text.replace("ddspx-dataset", "other"), "format 'other'"),
    ],
)
def test_damaged_manifests_are_reported(tmp_path, edit, message):
    written(tmp_path / "data", [("train", 0, 25)])
    path = tmp_path / "data" / "manifest.json"
    path.write_text(edit(path.read_text()))
    with pytest.raises(io.DatasetError, match=message) as caught:
        io.read_manifest(tmp_path / "data")
    assert str(path) in str(caught.value) and "prepare the dataset again" in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["sample_rate"], "80"),
        (["sample_rate"], 80.0),
        (["hop_length"], 0),
        (["example_length"], 41),
        (["feature_version"], 1),
        (["licence"], None),
        (["statistics"], []),
        (["sources"], {}),
        (["sources"], []),
        (["sources", 0, "name"], 3),
        (["sources", 0, "kept_s"], "long"),
        (["splits"], []),
        (["splits", "train"], []),
        (["splits", "train", "shards"], 7),
        (["splits", "train", "shards"], ["train-00000.f32"]),
        (["splits", "train", "shards"], []),
        (["splits", "train", "shards", 0, "name"], "/etc/hostname"),
        (["splits", "train", "shards", 0, "name"], "../data/train-00000.f32"),
        (["splits", "train", "shards", 0, "name"], ".."),
        (["splits", "train", "shards", 0, "name"], ""),
        (["splits", "train", "shards", 0, "n_records"], True),
        (["splits", "train", "shards", 0, "n_records"], 2),
        (["splits", "train", "shards", 0, "sha256"], None),
        (["splits", "train", "starts"], ["a"]),
        (["splits", "train", "starts"], [0]),
        (["splits", "train", "starts"], [16, 16]),
        (["splits", "train", "starts"], [2**32]),
        (["splits", "train", "weights_s"], [-1.0]),
        (["splits", "train", "weights_s"], [float("inf")]),
        (["splits", "train", "weights_s"], []),
        (["splits", "train", "sources"], [2]),
        (["splits", "train", "sources"], [-1]),
        (["splits", "train", "sources"], []),
        (["splits", "train", "crc32"], ["0000000g"]),
        (["splits", "train", "crc32"], ["00"]),
        (["splits", "train", "crc32"], [7]),
        (["splits", "train", "crc32"], []),
        (["splits", "train", "n_examples"], 0),
        (["splits", "train", "n_examples"], 2.5),
        (["splits", "valid", "n_examples"], 1),
        (["splits", "train", "duration_s"], "x"),
    ],
    ids=str,
)
def test_manifests_with_wrong_contents_are_reported(tmp_path, place, value):
    """Even those whose digest is right."""
    written(tmp_path / "data", [("train", 0, 25)])
    path = tmp_path / "data" / "manifest.json"
    fields = json.loads(path.read_text())
    target = fields
    for step in place[:-1]:
        target = target[step]
    assert place[-1] in target if isinstance(target, dict) else place[-1] < len(target)
    target[place[-1]] = value
    del fields["sha256"]
    if value != [float("inf")]:  # whose digest does not exist
        fields["sha256"] = digest_of(fields)
    path.write_text(json.dumps(fields))
    with pytest.raises(io.DatasetError, match=r"is damaged \(.*prepare the dataset again"):
        io.read_manifest(tmp_path / "data")


# --- damage


def read_all(folder):
    """Every record of every split."""
    manifest = io.read_manifest(folder)
    for name, split in manifest.splits.items():
        records = io.Records(folder, manifest, name) if split.shards else []
        for record in range(len(records)):
            records[record]


def flip(path, at, bit=0):
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def test_every_flip_cut_and_swap_of_a_file_is_found_and_named(tmp_path):
    stretches = [("train", 0, 700), ("valid", 1000, 50), ("test", 2000, 50)]
    whole, other = tmp_path / "whole", tmp_path / "other"
    written(whole, stretches)
    written(other, [(split, first + 7, n) for split, first, n in stretches])
    read_all(whole)
    assert io.verify_dataset(whole) == io.read_manifest(whole)

    def check(damage, *names):
        folder = tmp_path / "damaged"
        shutil.copytree(whole, folder)
        damage(folder)
        for read in (read_all, io.verify_dataset):
            with pytest.raises(io.DatasetError, match="again") as caught:
                read(folder)
            assert any(str(folder / name) in str(caught.value) for name in names)
        shutil.rmtree(folder)

    shards = ["train-00000.f32", "valid-00000.f32", "test-00000.f32"]
    rng = np.random.default_rng(0)
    for name in (*shards, "manifest.json"):
        size = (whole / name).stat().st_size
        content = (whole / name).read_bytes()
        for at, bit in zip(rng.integers(0, size - 1, 25), rng.integers(0, 8, 25), strict=True):
            if chr(content[at]).isspace():
                continue
            check(lambda folder, at=at, bit=bit, name=name: flip(folder / name, at, bit), name)
        for length in (0, 1, size // 2, size - 3):
            cut = content[:length]
            check(lambda folder, cut=cut, name=name: (folder / name).write_bytes(cut), name)
        longer = content + b"{\0\0\0"
        check(lambda folder, longer=longer, name=name: (folder / name).write_bytes(longer), name)
        if name in shards:
            check(lambda folder, name=name: (folder / name).unlink(), name)
        check(lambda folder, name=name: shutil.copy(other / name, folder / name), *shards)

    def swap(folder):
        (folder / "valid-00000.f32").rename(folder / "x")
        (folder / "test-00000.f32").rename(folder / "valid-00000.f32")
        (folder / "x").rename(folder / "test-00000.f32")

    check(swap, "valid-00000.f32")


def test_damage_is_found_by_the_first_crop_that_touches_it_and_by_no_other(tmp_path):
    """A record of 329 hops has four chunks of 80 hops, of which the last holds the rest."""
    manifest = written(tmp_path / "data", [("train", 0, 329)])
    flip(tmp_path / "data" / "train-00000.f32", 4 * HOP * 170)  # of the third chunk
    records = io.Records(tmp_path / "data", manifest, "train")
    for start in (0, 69, 240, 319):
        records.crop(0, start, 10)
    for start in (150, 155, 200, 239):
        for _ in range(2):
            with pytest.raises(io.DatasetError, match=r"train-00000.f32 is damaged \(record 0"):
                records.crop(0, start, 10)


def test_what_was_checked_once_is_not_checked_again(tmp_path, monkeypatch):
    manifest = written(tmp_path / "data", [("train", 0, 329)])
    records, checked = io.Records(tmp_path / "data", manifest, "train"), []
    from ddspx.io import _datasets

    plain = _datasets.crc32_of
    monkeypatch.setattr(
        _datasets, "crc32_of", lambda *given: checked.append(given[2]) or plain(*given)
    )
    for start in (0, 5, 75, 0, 310, 319):
        records.crop(0, start, 10)
    assert checked == [0, 1, 3]


def test_an_empty_split_is_reported(tmp_path):
    manifest = written(tmp_path / "data", [("train", 0, 25)])
    with pytest.raises(io.DatasetError, match="no examples in its test split"):
        io.Records(tmp_path / "data", manifest, "test")


def test_a_manifest_of_another_dataset_is_refused_by_its_shards(tmp_path):
    manifest = written(tmp_path / "data", [("train", 0, 25)])
    wrong = dataclasses.replace(manifest.splits["train"], starts=(15,))
    with pytest.raises(io.DatasetError, match=r"train-00000.f32 is damaged \(it has"):
        io.Records(
            tmp_path / "data", dataclasses.replace(manifest, splits={"train": wrong}), "train"
        )
