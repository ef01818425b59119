import json
import sys

import numpy as np
import pytest

from ddspx import io

pytest.importorskip("array_record", reason="the train extra is not installed")

HOP, RATE, EXAMPLE = 4, 80, 40  # an example is 10 hops, half a second


def numbered(first_hop, n_hops):
    """A stretch whose samples and features are their own positions."""
    samples = np.arange(first_hop * HOP, (first_hop + n_hops) * HOP, dtype=np.float32)
    frames = np.arange(first_hop, first_hop + n_hops + 1, dtype=np.float32) * HOP
    return io.Segment(samples, frames, frames + 0.25, frames + 0.5)


def written(folder, stretches):
    folder.mkdir()
    with io.DatasetWriter(
        folder, sample_rate=RATE, hop_length=HOP, example_length=EXAMPLE
    ) as writer:
        for split, first_hop, n_hops in stretches:
            writer.add(split, numbered(first_hop, n_hops))
        return writer.finish(
            feature_version="test-1",
            licence="CC0",
            attribution="Nobody, né Keiner",
            sources=(io.Source("a.wav", "0" * 64, 3.0, 2.5),),
            statistics={"pitch_midi_mean": 60.0},
        )


# --- values


def test_manifest_reads_back_as_written(tmp_path):
    manifest = written(tmp_path / "data", [("train", 0, 25), ("test", 30, 10)])
    assert io.read_manifest(tmp_path / "data") == manifest
    assert manifest.splits["train"].n_examples == 2
    assert manifest.splits["train"].duration_s == pytest.approx(25 * HOP / RATE)
    assert manifest.splits["valid"] == io.Split()
    assert "né" in (tmp_path / "data" / "manifest.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("n_hops", [10, 11, 329, 330, 331, 1000])
def test_records_offer_every_start_once(tmp_path, n_hops):
    manifest = written(tmp_path / "data", [("train", 7, n_hops)])
    split = manifest.splits["train"]
    records = io.Records(tmp_path / "data", manifest, "train")
    offered = []
    for record, starts in zip(
        map(records.__getitem__, range(len(records))), split.starts, strict=True
    ):
        assert len(record.f0_hz) == starts + manifest.example_hops
        offered += record.f0_hz[:starts].tolist()
    np.testing.assert_array_equal(offered, (7 + np.arange(n_hops - 9)) * HOP)
    assert sum(split.weights_s) == pytest.approx(n_hops * HOP / RATE)
    assert split.n_examples == n_hops // 10


def test_records_are_bounded_and_keep_their_alignment(tmp_path):
    manifest = written(tmp_path / "data", [("train", 0, 2000), ("train", 5000, 30)])
    records = io.Records(tmp_path / "data", manifest, "train")
    assert max(len(records[i].audio) for i in range(len(records))) <= 20 * RATE
    for i in range(len(records)):
        record = records[i]
        assert all(array.dtype == np.float32 for array in record)
        np.testing.assert_array_equal(record.f0_hz[:-1], record.audio[::HOP])
        np.testing.assert_array_equal(record.f0_confidence, record.f0_hz + 0.25)
        np.testing.assert_array_equal(record.loudness_db, record.f0_hz + 0.5)


def test_many_shards_are_one_sequence(tmp_path, monkeypatch):
    monkeypatch.setattr("ddspx.io._datasets._SHARD_BYTES", 10_000)
    manifest = written(tmp_path / "data", [("train", 0, 2000)])
    assert len(manifest.splits["train"].shards) > 2
    records = io.Records(tmp_path / "data", manifest, "train")
    firsts = [records[i].audio[0] for i in range(len(records))]
    np.testing.assert_array_equal(firsts, np.arange(len(records)) * 320 * HOP)
    with pytest.raises(IndexError):
        records[len(records)]


def test_records_beyond_the_memory_kept_are_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr("ddspx.io._datasets._CACHE_BYTES", 0)
    manifest = written(tmp_path / "data", [("train", 0, 50)])
    records = io.Records(tmp_path / "data", manifest, "train")
    assert records[0] is not records[0]
    np.testing.assert_array_equal(records[0].audio, numbered(0, 50).audio)


# --- boundary errors


def test_writer_checks_what_it_is_given(tmp_path):
    rates = {"sample_rate": RATE, "hop_length": HOP}
    with pytest.raises(ValueError, match=r"`example_length` must be a multiple .* use 40"):
        io.DatasetWriter(tmp_path, example_length=41, **rates)
    with io.DatasetWriter(tmp_path, example_length=EXAMPLE, **rates) as writer:
        with pytest.raises(ValueError, match="`segment` has 36 samples, fewer than the 40"):
            writer.add("train", numbered(0, 9))
        with pytest.raises(ValueError, match="21 frames go with 80 samples"):
            writer.add("train", numbered(0, 20)._replace(audio=np.zeros(84, np.float32)))


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
        (
            lambda text: text.replace('"hop_length": ', '"hop_length": 99999999999'),
            "is damaged",
        ),
        (lambda text: text.replace('"hop_length"', '"hop"'), "is damaged"),
        (lambda text: text.replace('"valid"', '"validation"'), "is damaged"),
        (lambda text: text.replace('"version": 1', '"version": 99'), "version 99 where"),
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
        (["sources", 0, "name"], 3),
        (["sources", 0, "kept_s"], "long"),
        (["splits"], []),
        (["splits", "train"], []),
        (["splits", "train", "shards"], 7),
        (["splits", "train", "shards"], ["/etc/hostname"]),
        (["splits", "train", "shards"], ["../data/train-00000.array_record"]),
        (["splits", "train", "shards"], [".."]),
        (["splits", "train", "shards"], [""]),
        (["splits", "train", "shards"], []),
        (["splits", "train", "shard_records"], [True]),
        (["splits", "train", "shard_records"], [2]),
        (["splits", "train", "starts"], ["a"]),
        (["splits", "train", "starts"], [0]),
        (["splits", "train", "starts"], [16, 16]),
        (["splits", "train", "weights_s"], [-1.0]),
        (["splits", "train", "weights_s"], [float("nan")]),
        (["splits", "train", "weights_s"], []),
        (["splits", "train", "n_examples"], 0),
        (["splits", "train", "n_examples"], 2.5),
        (["splits", "valid", "n_examples"], 1),
        (["splits", "train", "duration_s"], "x"),
    ],
    ids=str,
)
def test_manifests_with_wrong_contents_are_reported(tmp_path, place, value):
    written(tmp_path / "data", [("train", 0, 25)])
    path = tmp_path / "data" / "manifest.json"
    fields = json.loads(path.read_text())
    target = fields
    for step in place[:-1]:
        target = target[step]
    assert place[-1] in target
    target[place[-1]] = value
    path.write_text(json.dumps(fields))
    with pytest.raises(io.DatasetError, match=r"is damaged \(.*prepare the dataset again"):
        io.read_manifest(tmp_path / "data")


def test_missing_and_damaged_shards_are_reported(tmp_path):
    manifest = written(tmp_path / "data", [("train", 0, 2000)])
    (shard,) = (tmp_path / "data").glob("train-*")
    whole = shard.read_bytes()

    def open_and_read():
        records = io.Records(tmp_path / "data", manifest, "train")
        return [records[i] for i in range(len(records))]

    for damaged in (b"", b"x" * 1000, whole[: len(whole) // 2], _flipped(whole)):
        shard.write_bytes(damaged)
        with pytest.raises(io.DatasetError, match=r"train-00000.* is damaged"):
            open_and_read()
    shard.unlink()
    with pytest.raises(io.DatasetError, match=r"train-00000.* is missing"):
        open_and_read()


def _flipped(data):
    middle = len(data) // 3
    return (
        data[:middle]
        + bytes(255 - byte for byte in data[middle : middle + 99])
        + data[middle + 99 :]
    )


def test_an_empty_split_is_reported(tmp_path):
    manifest = written(tmp_path / "data", [("train", 0, 25)])
    with pytest.raises(io.DatasetError, match="no examples in its test split"):
        io.Records(tmp_path / "data", manifest, "test")


def test_statistics_that_are_not_finite_are_refused(tmp_path):
    (tmp_path / "data").mkdir()
    with io.DatasetWriter(
        tmp_path / "data", sample_rate=RATE, hop_length=HOP, example_length=EXAMPLE
    ) as writer:
        with pytest.raises(ValueError, match="JSON"):
            writer.finish(
                feature_version="1",
                licence="",
                attribution="",
                sources=(),
                statistics={"mean": float("nan")},
            )


def test_the_manifest_is_plain_json(tmp_path):
    manifest = written(tmp_path / "data", [("train", 0, 25)])
    fields = json.loads((tmp_path / "data" / "manifest.json").read_text(encoding="utf-8"))
    assert fields["format"] == "ddspx-dataset" and fields["version"] == 1
    assert fields["sources"][0]["name"] == manifest.sources[0].name


@pytest.mark.parametrize(
    ("system", "processor", "way_out"),
    [
        ("linux", "aarch64", r'pip install "ddspx\[train\]"'),
        ("darwin", "arm64", r'pip install "ddspx\[train\]"'),
        ("darwin", "x86_64", "train on Linux.*an Apple processor.*classifiers, works without"),
        ("win32", "AMD64", "train on Linux.*in WSL"),
    ],
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, system, processor, way_out):
    monkeypatch.setitem(sys.modules, "array_record.python", None)
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_module", None)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr("platform.machine", lambda: processor)
    with pytest.raises(ModuleNotFoundError, match=f"needs array_record.*{way_out}"):
        io.DatasetWriter(tmp_path, sample_rate=RATE, hop_length=HOP, example_length=EXAMPLE)
