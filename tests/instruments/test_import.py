"""The frame of the import: finding the files of a published model, and installing the result."""

import io
import os
import stat
import types
import zipfile

import pytest
import soundfile
from toy_instrument import SAMPLE_RATE, save_toy_instrument, tone

from ddspx.cli import main
from ddspx.instruments import _import, import_instrument, load_instrument, pack_instrument
from ddspx.instruments.published._files import published_files


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return save_toy_instrument(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setenv("DDSPX_INSTRUMENTS", str(tmp_path / "library"))
    return tmp_path / "library"


@pytest.fixture
def reader(toy, monkeypatch):
    """A reader of the files a.num and b.num; what it reads is in `seen`."""
    seen = []

    def read(files):
        seen.append(files.read("a.num", most=9))
        return load_instrument(toy)

    module = types.ModuleType("reader")
    vars(module).update(
        recognises=lambda files: {"a.num", "b.num"} <= set(files.readers), read=read, seen=seen
    )
    monkeypatch.setattr(
        _import, "_reader_of", lambda files: module if module.recognises(files) else None
    )
    return module


def zipped(path, *files, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return path


def names_in(path):
    with published_files(path) as files:
        return files.name, set(files.readers)


def test_files_of_a_folder_and_of_archives(tmp_path):
    folder = tmp_path / "oboe"
    (folder / "below").mkdir(parents=True)
    for name in ("a.num", "b.num", ".DS_Store"):
        (folder / name).write_bytes(b"1")
    assert names_in(folder) == ("oboe", {"a.num", "b.num"})
    flat = zipped(tmp_path / "flat.zip", ("a.num", b"1"), ("./b.num", b"2"), (".c", b""))
    assert names_in(flat) == ("flat", {"a.num", "b.num"})
    nested = zipped(
        tmp_path / "deep.zip",
        *(("x/oboe/", b""), ("x/oboe/a.num", b"1"), ("x/oboe/more/b.num", b"2")),
        *(("__MACOSX/x/oboe/a.num", b""), ("x/oboe/.git/c", b"")),
    )
    assert names_in(nested) == ("oboe", {"a.num", "more/b.num"})
    assert names_in(zipped(tmp_path / "empty.zip", (".", b""))) == ("empty", set())


def test_an_import_is_an_instrument(tmp_path, library, reader):
    source = zipped(tmp_path / "oboe.zip", ("a.num", b"1"), ("b.num", b"2"), ("readme.txt", b""))
    folder = import_instrument(source)
    assert folder == library / "oboe" and load_instrument("oboe").statistics.pitch_midi_mean == 69
    assert sorted(path.name for path in library.iterdir()) == ["oboe"]
    assert reader.seen == [b"1"]
    with pytest.raises(FileExistsError, match="'oboe' already"):
        import_instrument(source)
    assert len(reader.seen) == 1, "the name is checked before anything is read"
    assert import_instrument(source, overwrite=True) == folder
    with pytest.raises(ValueError, match="ships with ddspx"):
        import_instrument(source, name="violin")
    assert import_instrument(source, name="violin", folder=tmp_path).parent == tmp_path


def test_what_can_be_imported_is_loaded_and_played_without_it(
    tmp_path, library, reader, monkeypatch, capsys
):
    """A transfer takes the archive or the folder itself, and nothing of it stays."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    folder = tmp_path / "oboe"
    folder.mkdir()
    (folder / "a.num").write_bytes(b"1")
    (folder / "b.num").write_bytes(b"2")
    archive = zipped(tmp_path / "my oboe, 2.zip", ("a.num", b"1"), ("b.num", b"2"))
    for source in (folder, archive, str(archive)):
        assert load_instrument(source).statistics.pitch_midi_mean == 69
    soundfile.write(tmp_path / "tone.wav", tone(0.5), SAMPLE_RATE)
    played = tmp_path / "played.wav"
    command = ["transfer", str(tmp_path / "tone.wav"), "-o", str(played), "--to"]
    assert main([*command, str(archive)]) == 0
    assert soundfile.info(played).frames == SAMPLE_RATE // 2
    played.unlink()
    capsys.readouterr()
    foreign = zipped(tmp_path / "foreign.zip", ("setup.py", b"print()"))
    torn = tmp_path / "torn.zip"
    torn.write_bytes(foreign.read_bytes()[:40])
    for source, sentence in {
        foreign: "holds no model that can be imported",
        tmp_path / "temporary": "holds no model that can be imported",
        torn: "is not a readable zip archive",
        tmp_path / "absent.zip": "There is no model folder or instrument",
    }.items():
        assert main([*command, str(source)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("ddspx transfer: ") and sentence in said and said.count("\n") == 1
    assert not played.exists() and not library.exists() and not any(place.iterdir())


def test_a_packed_instrument_plays_from_its_archive(toy, tmp_path):
    archive = pack_instrument(toy, tmp_path / "kalimba.zip")
    packed, original = load_instrument(archive), load_instrument(toy)
    assert packed.statistics == original.statistics and packed.provenance == original.provenance


def test_a_model_of_ddspx_is_installed(toy, library):
    assert import_instrument(toy, name="kalimba") == library / "kalimba"


def link(path):
    os.symlink(path.parent / "b.num", path)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.write_bytes(bytes(10)), "'a.num' with more than the 9 bytes"),
        (link, "a link or another special file"),
        (os.mkfifo, "a link or another special file"),
    ],
)
def test_files_of_a_folder_are_not_trusted(make, sentence, tmp_path, library, reader):
    (tmp_path / "oboe").mkdir()
    (tmp_path / "oboe" / "b.num").write_bytes(b"1")
    make(tmp_path / "oboe" / "a.num")
    with pytest.raises(ValueError, match=sentence):
        import_instrument(tmp_path / "oboe")
    assert not library.exists()


def test_files_of_an_archive_are_not_trusted(tmp_path, library, reader):
    path = tmp_path / "oboe.zip"
    linked = zipfile.ZipInfo("a.num")
    linked.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused = {
        "with 10 bytes, more than the 9": (("a.num", bytes(10)), ("b.num", b"")),
        "less than 1/100 of its size": (("a.num", bytes(2**16)), ("b.num", b"")),
        "no model that can be imported": ((linked, b"b.num"), ("b.num", b"")),
        "'./a.num' twice": (("a.num", b"1"), ("b.num", b""), ("./a.num", b"2")),
    }
    for sentence, files in refused.items():
        zipped(path, *files)
        if "less than" in sentence:
            reader.read = lambda files: files.read("a.num", most=2**20)
        with pytest.raises(ValueError, match=sentence) as refusal:
            import_instrument(path)
        assert str(refusal.value).startswith(str(path))
        assert not library.exists()


def test_what_is_no_model_is_refused_with_the_kinds_that_are(tmp_path, library):
    (tmp_path / "oboe.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="not a readable zip archive"):
        import_instrument(tmp_path / "oboe.zip")
    foreign = zipped(tmp_path / "oboe.zip", ("setup.py", b"print()"))
    with pytest.raises(ValueError, match=r"no model that .*config\.json and weights.safetensors"):
        import_instrument(foreign)
    with pytest.raises(FileNotFoundError, match="no folder or zip archive"):
        import_instrument(tmp_path / "absent")


def test_the_command(toy, tmp_path, library, capsys):
    assert main(["instruments", "import", str(toy), "--name", "kalimba"]) == 0
    assert capsys.readouterr().out == f"{library / 'kalimba'}: play it with --to kalimba\n"
    assert main(["instruments", "import", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ddspx instruments import: ") and said.count("\n") == 1


def test_a_reader_gets_bytes_only_of_what_there_is(tmp_path):
    path = zipped(tmp_path / "oboe.zip", ("a.num", b"1"))
    with published_files(path) as files:
        assert io.BytesIO(files.read("a.num", most=1)).read() == b"1"
        with pytest.raises(ValueError, match="lacks b"):
            files.read("b.num", most=1)
