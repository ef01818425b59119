"""How recordings are divided among the splits of a dataset."""

import shutil

import numpy as np
import pytest
from preparing import HOP, RATE, prepared, recorded, segments, tone

from ddspx import io
from ddspx.training import _splits, prepare


def test_division_in_time_by_its_definition(rng):
    divided = 0
    for _ in range(300):
        example = int(rng.integers(1, 30))
        lengths = example + rng.integers(0, 8 * example, size=rng.integers(1, 12))
        gaps = rng.integers(1, 50, size=lengths.size)
        firsts = np.cumsum(gaps + lengths) - lengths
        stretches = [(int(f), int(f + n)) for f, n in zip(firsts, lengths, strict=True)]
        parts = _splits.divided(stretches, {"valid": 0.12, "test": 0.08}, example)
        # All of the sound, each hop once, in order: train, valid, test; no part too short.
        hops = [hop for _, first, last in parts for hop in range(first, last)]
        assert hops == [hop for first, last in stretches for hop in range(first, last)]
        names = [name for name, _, _ in parts]
        assert names == sorted(names, key=["train", "valid", "test"].index)
        assert min(last - first for _, first, last in parts) >= example
        sizes = {name: sum(b - a for n, a, b in parts if n == name) for name in names}
        if len(sizes) > 1:
            divided += 1
            assert sizes["train"] >= 2 * example
            for name, share in (("valid", 0.12), ("test", 0.08)):
                wanted = max(round(share * lengths.sum()), example)
                assert abs(sizes[name] - wanted) < 2 * example
        else:
            assert lengths.sum() < 7 * example + 0.2 * lengths.sum()
    assert divided > 150


def test_few_recordings_are_divided_in_time(tmp_path, quick):
    names = ["a.wav", "b.wav"]
    for index, name in enumerate(names):
        recorded(tmp_path / name, np.linspace(0.1, 0.9, 20 * RATE) * tone(20, midi=60 + index))
    manifest, _ = prepared(tmp_path, *(tmp_path / name for name in names))
    seconds = [manifest.splits[split].duration_s for split in ("train", "valid", "test")]
    np.testing.assert_allclose(seconds, [32, 4.8, 3.2], atol=0.03)
    peak = {
        split: [np.abs(segment.audio).max() for segment in segments(tmp_path, split)]
        for split in ("train", "valid", "test")
    }
    assert max(peak["train"]) < min(peak["valid"]) < max(peak["valid"]) < min(peak["test"])


def test_many_recordings_are_held_out_whole_independent_of_names(tmp_path, quick):
    for index in range(12):
        recorded(tmp_path / "in" / f"{index:02}.wav", tone(1, midi=60 + index))
        recorded(tmp_path / "renamed" / f"{11 - index:02}.wav", tone(1, midi=60 + index))

    def pitches(folder):
        prepared(tmp_path, tmp_path / folder, overwrite=True)
        return {
            split: sorted(float(np.median(segment.f0_hz)) for segment in segments(tmp_path, split))
            for split in ("train", "valid", "test")
        }

    found = pitches("in")
    assert [len(pitch) for pitch in found.values()] == [10, 1, 1]
    assert pitches("renamed") == found


def test_a_share_of_zero_holds_nothing_out(tmp_path, quick):
    long = [recorded(tmp_path / "long.wav", tone(20))]
    short = [recorded(tmp_path / f"{i}.wav", tone(2.2, midi=60 + i)) for i in range(3)]
    for number, (recordings, seconds) in enumerate([(long, (16, 4)), (short, (4.4, 2.2))]):
        lines = []
        manifest = prepare(
            recordings,
            tmp_path / f"data{number}",
            sample_rate=RATE,
            hop_length=HOP,
            example_s=2.0,
            valid_share=0.2,
            test_share=0.0,
            report=lines.append,
        )
        found = [manifest.splits[name].duration_s for name in ("train", "valid", "test")]
        np.testing.assert_allclose(found, [*seconds, 0], atol=0.05)
        assert not any("warning" in line for line in lines)
    for shares in ({"valid_share": -0.1}, {"test_share": 1.0}, {"valid_share": 0.95}):
        with pytest.raises(ValueError, match="_share` must"):
            prepare(long, tmp_path / "refused", **shares)


def test_few_short_recordings_are_held_out_whole(tmp_path, quick):
    for index in range(3):
        recorded(tmp_path / "in" / f"{index}.wav", tone(1, midi=60 + index))
    manifest, _ = prepared(tmp_path, tmp_path / "in")
    assert [split.n_examples for split in manifest.splits.values()] == [2, 2, 2]


def test_recordings_named_for_a_split_are_its_only_ones(tmp_path, quick):
    midi = {"train": (60, 62), "valid": (72,), "test": (84,)}
    for split, notes in midi.items():
        for note in notes:
            recorded(tmp_path / split / f"{note}.wav", tone(5, midi=note))
    held_out = {split: [tmp_path / split] for split in ("valid", "test")}
    prepared(tmp_path, tmp_path / "train", **held_out)
    for split, notes in midi.items():
        found = {
            round(69 + 12 * np.log2(np.median(s.f0_hz) / 440)) for s in segments(tmp_path, split)
        }
        assert found == set(notes)


def test_held_out_recordings_may_lie_in_the_folder_of_recordings(tmp_path, quick):
    for note in (60, 72):
        recorded(tmp_path / "in" / f"{note}.wav", tone(5, midi=note))
    manifest, _ = prepared(tmp_path, tmp_path / "in", test=[tmp_path / "in" / "72.wav"])
    assert [split.duration_s for split in manifest.splits.values()] == [5.0, 0.0, 5.0]


def test_a_recording_in_two_splits_is_refused(tmp_path, quick):
    train = recorded(tmp_path / "train.wav", tone(2))
    test = shutil.copyfile(train, tmp_path / "test.wav")
    with pytest.raises(io.AudioError, match=r"test.wav is a copy of .*train.wav, which is in ano"):
        prepared(tmp_path, train, test=[test])
    assert not (tmp_path / "data").exists()


def test_a_split_of_nothing_usable_is_refused(tmp_path, quick):
    train = recorded(tmp_path / "train.wav", tone(2))
    (tmp_path / "empty").mkdir()
    with pytest.raises(io.AudioError, match=r"no usable recording in .*empty"):
        prepared(tmp_path, train, valid=[tmp_path / "empty"])
    with pytest.raises(io.AudioError, match="no usable recording in an empty list"):
        prepared(tmp_path, valid=[train])


def test_one_short_recording_is_in_the_train_split(tmp_path, quick):
    manifest, lines = prepared(tmp_path, recorded(tmp_path / "a.wav", tone(1.9)))
    assert manifest.splits["train"].duration_s == pytest.approx(1.9)
    assert [line for line in lines if "warning" in line] == [
        f"warning: the {split} split is empty; there is too little sound for "
        "examples of 0.5 s in it."
        for split in ("valid", "test")
    ]
