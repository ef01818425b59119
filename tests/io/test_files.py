"""Folders with links, names that are long, and JSON that somebody else wrote."""

import os

import pytest

from ddspx import io
from ddspx._text import printable


def names(folder):
    return [path.relative_to(folder).as_posix() for path in io.files_below(folder)]


def test_links_to_folders_are_followed_and_circles_are_not(tmp_path):
    top, more = tmp_path / "top", tmp_path / "more"
    for path in ("top/b/1.wav", "top/a/2.wav", "top/.hidden/3.wav", "top/.4.wav", "more/5.wav"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (top / "linked").symlink_to(more)
    (more / "back").symlink_to(top)
    (top / "a" / "round").symlink_to(top / "a")
    (top / "again").symlink_to(more)
    (top / "c.wav").symlink_to(more / "5.wav")
    (top / "gone.wav").symlink_to("nothing")
    assert names(top) == ["a/2.wav", "again/5.wav", "b/1.wav", "c.wav", "gone.wav"]
    # A folder inside the searched one is listed under its own name, not under that of a link.
    assert names(tmp_path)[:2] == ["more/5.wav", "top/a/2.wav"]


def test_a_folder_that_cannot_be_searched_is_named(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.wav").touch()
    listed = type(tmp_path).iterdir

    def refuse(path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(type(tmp_path), "iterdir", refuse)
    with pytest.warns(UserWarning, match="closed is left out, because it cannot be searched"):
        assert names(tmp_path) == ["a.wav"]


@pytest.mark.parametrize("letter", ["a", "é", "日", "𝄞"])
def test_names_as_long_as_file_systems_take_can_be_written(tmp_path, letter):
    name = letter * (250 // len(letter.encode())) + ".x"
    with io.replacing_file(tmp_path / name) as temporary:
        temporary.write_text("whole")
        assert len(os.fsencode(temporary.name)) <= 255
    with io.replacing_folder(tmp_path / name[1:]) as temporary:
        temporary.joinpath("a").touch()
    assert sorted(os.listdir(tmp_path)) == sorted([name, name[1:]])


def test_a_name_is_cut_between_letters():
    assert io.fitting_name("日" * 90, ".log-mel.npz") == "日" * 81 + ".log-mel.npz"


def test_control_characters_in_names_are_escaped():
    name = os.fsdecode(b"caf\xe9") + "\x1b[2J\n\t\u202e\u0085é日"
    assert printable(name) == r"caf\xe9\x1b[2J\n\t\u202e\x85é日"


DEEP = 100_000


@pytest.mark.parametrize(
    "text",
    [
        "[" * DEEP + "]" * DEEP,
        "[" * 65 + "]" * 65,
        '{"a":' * DEEP + "1" + "}" * DEEP,
        '[1, {"a": ' + "[" * 64 + "]" * 64 + "}]",
    ],
    ids=["lists", "a few", "objects", "inside"],
)
def test_json_that_is_nested_too_deep_is_refused(text):
    with pytest.raises(ValueError, match="it is nested more than 64 deep"):
        io.parse_json(text)


def test_json_as_deep_as_our_own_files_is_read(tmp_path):
    (tmp_path / "a.json").write_text("[" * 64 + "]" * 64)
    value = io.read_json(tmp_path / "a.json")
    for _ in range(63):
        (value,) = value
    assert value == []
