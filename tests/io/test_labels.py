"""Labels and splits: reading tables and folders, drawing splits, and errors."""

import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest

from ddspx import io


def write_files(folder, names):
    """Files of different bytes, which is all that labels ask of a recording."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def write_table(folder, lines, header="file,label"):
    """A table with its files beside it."""
    path = folder / "table.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    write_files(folder, [line.split(",")[0] for line in lines])
    return path


def split_of(recordings):
    return {recording.name: recording.split for recording in recordings}


def count(recordings, **wanted):
    return sum(
        all(getattr(recording, k) == v for k, v in wanted.items()) for recording in recordings
    )


# what is read


def test_a_folder_has_a_class_per_sub_folder(tmp_path):
    write_files(tmp_path, ["b/2.wav", "a/deep/1.flac", "a/0.wav", "a/.hidden", ".git/x", "notes"])
    recordings = io.labelled_recordings(tmp_path)
    assert [(r.name, r.label, r.group) for r in recordings] == [
        ("a/0.wav", "a", "a/0.wav"),
        ("a/deep/1.flac", "a", "a/deep/1.flac"),
        ("b/2.wav", "b", "b/2.wav"),
    ]
    assert recordings[1].path == tmp_path / "a" / "deep" / "1.flac"


def test_a_table_gives_label_split_and_group(tmp_path):
    lines = ["x/1.wav,cat,ann,train,7", "2.wav,dog,bob,test,7", " 3.wav , dog ,,valid,7"]
    table = write_table(tmp_path, lines, "file,label,group,split,other")
    # As spreadsheets write it.
    table.write_text("\ufeff" + table.read_text(), encoding="utf-8")
    recordings = io.labelled_recordings(table)
    assert [r[1:5] for r in recordings] == [
        ("x/1.wav", "cat", "train", "ann"),
        ("2.wav", "dog", "test", "bob"),
        ("3.wav", "dog", "valid", "3.wav"),
    ]
    assert recordings[0].sha256 == hashlib.sha256(b"x/1.wav").hexdigest()
    assert recordings[0].path == tmp_path / "x" / "1.wav"


def test_an_absolute_path_is_not_changed(tmp_path):
    write_files(tmp_path, ["elsewhere/a.wav"])
    absolute = tmp_path / "elsewhere" / "a.wav"
    (tmp_path / "in").mkdir()
    table = write_table(tmp_path / "in", ["b.wav,b", "c/../d.wav,b"])
    table.write_text(table.read_text() + f"{absolute},a\n")
    assert io.labelled_recordings(table)[-1].path == absolute


def test_a_fold_is_the_test_split_and_valid_is_drawn_from_the_others(tmp_path):
    lines = [f"{i}.wav,{'ab'[i % 2]},{i % 4 // 2 + 1}" for i in range(80)]
    table = write_table(tmp_path, lines, "file,label,fold")
    recordings = io.labelled_recordings(table, fold="2")
    assert all((r.split == "test") == (int(r.name[:-4]) % 4 >= 2) for r in recordings)
    for label in "ab":
        # 15 % of the 20 that are left of each class.
        assert count(recordings, label=label, split="valid") == 3


# what is drawn


def test_a_fifth_of_each_class_is_the_test_split_and_15_percent_of_the_rest_the_valid_split(
    tmp_path,
):
    write_files(tmp_path, [f"a/{i}" for i in range(100)] + [f"b/{i}" for i in range(20)])
    recordings = io.labelled_recordings(tmp_path)
    assert [count(recordings, label="a", split=s) for s in ("test", "valid", "train")] == [
        20,
        12,
        68,
    ]
    assert [count(recordings, label="b", split=s) for s in ("test", "valid", "train")] == [4, 2, 14]


def test_splits_depend_only_on_seed_and_names(tmp_path):
    names = [f"{label}/{i}" for label in "ab" for i in range(30)]
    write_files(tmp_path / "one", names)
    write_files(tmp_path / "two", reversed(names))
    one, two = (split_of(io.labelled_recordings(tmp_path / f, seed=3)) for f in ("one", "two"))
    assert one == two
    assert split_of(io.labelled_recordings(tmp_path / "one", seed=4)) != one


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_whole_and_classes_in_proportion(tmp_path, seed):
    # Twelve speakers; each says both words, five times.
    lines = [f"{i}.wav,{'ab'[i % 2]},s{i // 10}" for i in range(120)]
    recordings = io.labelled_recordings(write_table(tmp_path, lines, "file,label,group"), seed=seed)
    splits = {}
    for recording in recordings:
        assert splits.setdefault(recording.group, recording.split) == recording.split
    assert Counter(splits.values()) == {"train": 9, "test": 2, "valid": 1}


def test_copies_belong_to_one_group(tmp_path):
    write_files(tmp_path, [f"{label}/{i}" for label in "ab" for i in range(20)])
    for i in range(10):
        (tmp_path / "a" / f"copy{i}").write_text(f"a/{i}")
    for seed in range(5):
        splits = split_of(io.labelled_recordings(tmp_path, seed=seed))
        assert all(splits[f"a/copy{i}"] == splits[f"a/{i}"] for i in range(10))


def test_a_copy_of_another_class_is_refused(tmp_path):
    write_files(tmp_path, [f"{label}/{i}" for label in "ab" for i in range(4)])
    (tmp_path / "b" / "copy").write_text("a/1")
    recordings = io.labelled_recordings(tmp_path)
    message = r"The same recording is 'a' \(a/1\) and 'b' \(b/copy\); leave the wrong one out"
    with pytest.raises(io.DatasetError, match=message):
        io.training_labels(recordings, usable=recordings)
    # Copies that cannot be read as audio, such as a downloaded error page, are not compared here;
    # reading them gives the error.
    readable = [r for r in recordings if r.name not in ("a/1", "b/copy")]
    assert io.training_labels(recordings, usable=readable) == ("a", "b")


def test_empty_files_are_not_copies(tmp_path):
    table = write_table(tmp_path, ["1.wav,cat,train", "2.wav,cat,test"], "file,label,split")
    for name in ("1.wav", "2.wav"):
        (tmp_path / name).write_text("")
    assert [recording.sha256 for recording in io.labelled_recordings(table)] == ["", ""]


def test_a_class_keeps_its_last_recording_for_training(tmp_path):
    write_files(tmp_path, ["a/0", "b/0", "b/1", "b/2"])
    for seed in range(5):
        recordings = io.labelled_recordings(tmp_path, seed=seed)
        assert count(recordings, label="a", split="train") == 1
        assert count(recordings, label="b", split="train") == 1
        assert io.training_labels(recordings) == ("a", "b")


def test_no_splits_are_drawn_without_draw(tmp_path):
    write_files(tmp_path / "folder", [f"{label}/{i}" for label in "ab" for i in range(10)])
    recordings = io.labelled_recordings(tmp_path / "folder", draw=False)
    assert {recording.split for recording in recordings} == {""}
    table = write_table(tmp_path, ["1.wav,cat,x", "2.wav,dog,y"], "file,label,fold")
    assert split_of(io.labelled_recordings(table, draw=False)) == {"1.wav": "", "2.wav": ""}
    table = write_table(tmp_path, ["1.wav,cat,test", "2.wav,dog,train"], "file,label,split")
    assert split_of(io.labelled_recordings(table, draw=False))["1.wav"] == "test"


def test_a_missing_file_in_a_table_is_still_listed(tmp_path):
    table = write_table(tmp_path, ["1.wav,cat", "2.wav,dog"])
    table.write_text(table.read_text() + "none.wav,dog\nnor this.wav,cat\n")
    recordings = io.labelled_recordings(table)
    assert [recording.sha256 for recording in recordings[2:]] == ["", ""]


def test_the_digest_depends_on_labels_splits_and_contents(tmp_path):
    write_files(tmp_path, [f"{label}/{i}" for label in "ab" for i in range(4)])
    recordings = io.labelled_recordings(tmp_path)
    digest = io.recordings_digest(recordings)
    assert digest == io.recordings_digest(io.labelled_recordings(tmp_path))
    assert digest != io.recordings_digest(recordings[1:])
    assert digest != io.recordings_digest([recordings[0]._replace(label="b"), *recordings[1:]])
    (tmp_path / "a" / "0").write_text("other")
    assert digest != io.recordings_digest(io.labelled_recordings(tmp_path))


# what is refused


def refusal(data, **options):
    with pytest.raises(io.DatasetError) as error:
        io.labelled_recordings(data, **options)
    return str(error.value)


def test_missing_and_empty_data_are_refused(tmp_path):
    assert "does not exist; name a folder of classes" in refusal(tmp_path / "none")
    assert "has no sub-folders; make one for each class" in refusal(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    assert "cannot be read (" in refusal(tmp_path / "loop")


def test_an_empty_class_is_refused(tmp_path):
    write_files(tmp_path, ["cat/1.wav", "dog/.hidden"])
    assert "The class 'dog' is empty" in refusal(tmp_path)


def test_a_single_class_is_refused(tmp_path):
    write_files(tmp_path, ["cat/1.wav", "cat/2.wav"])
    with pytest.raises(io.DatasetError, match="only one class, 'cat', and a classifier needs"):
        io.training_labels(io.labelled_recordings(tmp_path))


def test_a_class_without_training_examples_is_refused(tmp_path):
    lines = ["1.wav,cat,train", "2.wav,dog,test", "3.wav,cat,valid"]
    recordings = io.labelled_recordings(write_table(tmp_path, lines, "file,label,split"))
    with pytest.raises(io.DatasetError, match="class 'dog' has no recording in the train split"):
        io.training_labels(recordings)


def test_a_class_without_readable_recordings_is_refused(tmp_path):
    lines = ["1.wav,cat,train", "2.wav,dog,train"]
    recordings = io.labelled_recordings(write_table(tmp_path, lines, "file,label,split"))
    with pytest.raises(io.DatasetError, match="No recording of the class 'dog' in the train split"):
        io.training_labels(recordings, usable=recordings[:1])


@pytest.mark.parametrize("column", ["split", "fold"])
def test_a_group_in_two_splits_is_refused(tmp_path, column):
    first, second = ("train", "test") if column == "split" else ("1", "2")
    lines = [f"1.wav,cat,{first},ann", f"2.wav,dog,{second},ann", f"3.wav,dog,{first},bob"]
    table = write_table(tmp_path, lines, f"file,label,{column},group")
    message = refusal(table, fold="1" if column == "fold" else None)
    assert f"divides the group 'ann' between two splits (1.wav is in {first}, 2.wav" in message


def test_a_copy_in_another_split_is_refused(tmp_path):
    table = write_table(tmp_path, ["1.wav,cat,train", "2.wav,cat,test"], "file,label,split")
    (tmp_path / "2.wav").write_text("1.wav")
    assert "has the same file in two splits (1.wav is in train, 2.wav in test)" in refusal(table)


def test_classes_of_one_group_each_cannot_be_divided(tmp_path):
    lines = [f"{i}.wav,{'cat' if i < 4 else 'dog'},{'ann' if i < 4 else 'bob'}" for i in range(8)]
    table = write_table(tmp_path, lines, "file,label,group")
    assert "too few groups of each class to hold out a fifth of them" in refusal(table)
    # For an evaluation without training, no splits are drawn.
    assert len(io.labelled_recordings(table, draw=False)) == 8


def test_missing_and_unknown_folds_are_refused(tmp_path):
    table = write_table(tmp_path, ["1.wav,cat,x", "2.wav,dog,y"], "file,label,fold")
    assert "name the one that is the test split with --fold: x, y." in refusal(table)
    assert "has no fold 'z'; its folds are x, y." in refusal(table, fold="z")
    table = write_table(tmp_path, ["1.wav,cat", "2.wav,dog"])
    assert "has no fold 'z'; it has no column fold." in refusal(table, fold="z")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file;label\na;b\n", "lacks the column 'file'"),
        ("", "lacks the column 'file'"),
        ("file,class\na,b\n", "lacks the column 'label'"),
        ("file,label\n", "lists no recording"),
        ("file,label\na,\n", "lacks the file or the label in line 2"),
        ("file,label,split\na,x,dev\n", "has the split 'dev' in line 2; use train, valid, test"),
        ("file,label,split\na,x,train\nb,x,\n", "has no split for 'b'"),
        ("file,label\na,x\n./a,y\n", "lists 'a' more than once"),
        ("\nfile, label ,label\na,x,y\n", "has the column 'label' 2 times"),
        ("\n,\nfile,label\n,,\na\n", "lacks the file or the label in line 5"),
        ("file,label\n../a,x\n", "leads out of its folder in line 2"),
        ("file,label\nb/../../a,x\n", "leads out of its folder in line 2"),
        (
            "file,label\na,x\nbark, loud.wav,dog\n",
            "has 3 cells in line 3, and its first line names 2",
        ),
        ("file,label,label\na,x,y\n", "has the column 'label' 2 times"),
        ("file,label,note,note\na,x,y,z\n", "has the column 'note' 2 times"),
        ("file,label\na,x\nb\0,y\n", "(line 3: there is a zero byte)"),
        ("file,label\na,x\nb," + "y" * 200_000 + "\n", "(line 3: field larger than field limit"),
        ('file,label\na,x\n"b,y\nc,z\n', "(line 4: unexpected end of data)"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, text, message):
    (tmp_path / "table.csv").write_text(text, newline="")
    assert message in refusal(tmp_path / "table.csv")


def test_empty_lines_and_spaces_around_names_are_ignored(tmp_path):
    (tmp_path / "table.csv").write_text("\n,,\nfile , label\na,x\n,\n\n  ,\nb, y\n,,,\n")
    found = io.labelled_recordings(tmp_path / "table.csv", draw=False)
    assert [(recording.name, recording.label) for recording in found] == [("a", "x"), ("b", "y")]


def test_a_file_is_listed_once_whatever_its_path_begins_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path, ["a,x", f"{tmp_path}/a,x"])
    assert "lists 'a' more than once" in refusal(next(tmp_path.iterdir()).name)


def test_a_table_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "table.csv").write_bytes("file,label\na,u\nä,ö\n".encode("latin-1"))
    assert "(line 3 is not UTF-8); save it as CSV in UTF-8" in refusal(tmp_path / "table.csv")


def test_a_table_may_name_a_file_whose_name_is_not_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    for file in (name, "tea"):
        (tmp_path / file).write_bytes(os.fsencode(file))
    (tmp_path / "table.csv").write_bytes(b"file,label\ncaf\xe9,x\ntea,y\n")
    recordings = io.labelled_recordings(tmp_path / "table.csv", draw=False)
    assert [recording.path for recording in recordings] == [tmp_path / name, tmp_path / "tea"]


def test_a_label_is_one_class_however_its_accents_are_written(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for folder in (composed, decomposed, "tea"):
        write_files(tmp_path / "data", [f"{folder}/1.wav"])
    in_folders = io.labelled_recordings(tmp_path / "data", draw=False)
    (tmp_path / "t.csv").write_text(f"file,label\na,{composed}\nb,{decomposed}\nc,tea\n")
    in_table = io.labelled_recordings(tmp_path / "t.csv", draw=False)
    for recordings in (in_folders, in_table):
        assert [recording.label for recording in recordings] in (
            [composed, composed, "tea"],
            ["tea", composed, composed],
        )


def test_pipes_and_devices_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe, not a regular file" in refusal(tmp_path / "pipe")
    assert "is a device, not a regular file" in refusal(Path("/dev/zero"))
    (tmp_path / "t.csv").write_text("file,label\npipe,x\n/dev/zero,y\n")
    recordings = io.labelled_recordings(tmp_path / "t.csv", draw=False)
    assert [recording.sha256 for recording in recordings] == ["", ""]
