"""Files are deleted when no page needs them, and no other file is."""

import pytest


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def made(files, name):
    path = files.place(name)
    path.write_bytes(b"sound")
    return path


def test_a_new_recording_replaces_the_old_one(files, folder):
    for name in ("first.wav", "second.wav"):
        files.hold("page", "recording", made(files, name))
        files.hold("page", "result", made(files, f"result of {name}"))
    assert names(folder) == ["result of second.wav", "second.wav"]
    files.hold("page", "recording", None)
    assert names(folder) == ["result of second.wav"]
    assert len(list(folder.iterdir())) == 1, "an empty folder stayed"


def test_holding_a_file_again_keeps_it(files, folder):
    path = made(files, "a.wav")
    files.hold("page", "recording", path)
    files.hold("page", "recording", path)
    assert names(folder) == ["a.wav"]


def test_a_file_of_two_pages_is_deleted_with_the_second(files, folder):
    path = made(files, "a.wav")
    files.hold("one", "recording", path)
    files.hold("other", "recording", path)
    files.close("one")
    assert names(folder) == ["a.wav"]
    files.close("other")
    assert not any(folder.iterdir())


def test_a_folder_is_held_and_deleted_as_a_whole(files, folder):
    place = files.place("violin")
    for page in ("one", "other"):
        (place / "inner").mkdir(parents=True, exist_ok=True)
        (place / "inner" / "weights").write_bytes(b"1")
        files.hold(page, "instrument", place)
    assert files.held("one", "instrument") == place and files.held("one", "result") is None
    files.close("one")
    assert names(folder) == ["weights"] and files.held("one", "instrument") is None
    files.hold("other", "instrument", None)
    assert not any(folder.iterdir())


def test_a_name_cannot_lead_out_of_its_folder(files, folder):
    assert folder in files.place("../../../a.wav").resolve().parents


def test_nothing_outside_is_deleted(files, tmp_path, folder):
    mine = tmp_path / "mine.wav"
    mine.touch()
    (folder / "link.wav").symlink_to(mine)
    for path in (mine, folder / ".." / "mine.wav", folder / "link.wav"):
        with pytest.raises(ValueError, match="is not deleted"):
            files.discard(path)
    assert mine.exists()
