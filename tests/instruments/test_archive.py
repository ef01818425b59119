"""Archives that somebody made to do harm, or that came to harm: each is refused, whole."""

import io
import shutil
import stat
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from toy_instrument import save_toy_instrument

from ddspx.instruments import _archive, install_instrument

NAMES = ("config.json", "statistics.json", "provenance.json", "weights.safetensors", "sha256.json")
DEFLATED, STORED = zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The files of a model that is in order, by name."""
    folder = save_toy_instrument(tmp_path_factory.mktemp("models") / "toy")
    return {name: (folder / name).read_bytes() for name in NAMES}


@pytest.fixture
def refuse(tmp_path, monkeypatch):
    """Installs an archive that must be refused, and returns why; nothing else is to be seen."""
    library = tmp_path / "inside" / "library"
    (library / "earlier").mkdir(parents=True)
    monkeypatch.setenv("DDSPX_INSTRUMENTS", str(library))
    monkeypatch.chdir(library)

    def run(archive: bytes) -> str:
        path = tmp_path / "bugle.zip"
        path.write_bytes(archive)
        with pytest.raises(ValueError) as refusal:
            install_instrument(path)
        assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == [
            Path("bugle.zip"),
            Path("inside"),
            Path("inside/library"),
            Path("inside/library/earlier"),
        ]
        assert str(refusal.value).startswith(str(path))
        return str(refusal.value)

    return run


def member(name, *, mode=stat.S_IFREG | 0o644, method=DEFLATED):
    """A member of any name: what the constructor would put right stays wrong."""
    info = zipfile.ZipInfo()
    if name.endswith("/") and stat.S_ISREG(mode):
        mode = stat.S_IFDIR | 0o755
    info.filename, info.compress_type, info.external_attr = name, method, mode << 16
    return info


def zipped(*files, change=lambda infos: None):
    """An archive of (name or member, bytes), whose directory is changed before it is written."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", DEFLATED) as archive:
        warnings.filterwarnings("ignore", "Duplicate name")
        for info, data in files:
            archive.writestr(info if isinstance(info, zipfile.ZipInfo) else member(info), data)
        change(archive.filelist)
    return buffer.getvalue()


def with_file(parts, info, data=b"x", **options):
    """A model's archive with one file more."""
    return zipped(*parts.items(), (info, data), **options)


def test_a_valid_archive_is_accepted(parts, tmp_path, monkeypatch):
    monkeypatch.setenv("DDSPX_INSTRUMENTS", str(tmp_path / "library"))
    (tmp_path / "bugle.zip").write_bytes(zipped(*parts.items()))
    folder = install_instrument(tmp_path / "bugle.zip")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == parts


# Names


@pytest.mark.parametrize(
    "place",
    [
        *("/{}", "//host/{}", "../{}", "../../{}", "a/../{}", "a/../../{}", "./{}", "a/./{}"),
        *("..\\{}", "\\{}", "a\\{}", "C:\\{}", "C:/{}", "C:{}", "a/b/{}", "a//{}", "../"),
        *("{}/{}/x", "{}\0", "{}\0.exe", "a\0/{}", ".../../{}", "a:b/{}"),
    ],
)
@pytest.mark.parametrize("name", ["README.md", "config.json"])
def test_names_that_lead_outside_the_folder_are_refused(place, name, parts, refuse):
    place = place.format(name, name)
    other_parts = [(key, data) for key, data in parts.items() if key != name]
    message = refuse(zipped(*other_parts, (member(place), parts["config.json"])))
    assert "outside its root and one folder there" in message or "no part of a model" in message
    assert repr(place) in message


@pytest.mark.parametrize(
    "name",
    [
        *(
            "evil.py",
            "weights.pkl",
            "config.json.exe",
            "CONFIG.JSON",
            "config.json ",
            "config.json.",
        ),
        *("config.json:stream", "readme.md", ".DS_Store", "__MACOSX/._config.json", ""),
        *("con\ufb01g.json", "config\u2024json", "\u202enosj.gifnoc", "con\u200bfig.json"),
    ],
)
def test_only_the_files_of_a_model_are_taken(name, parts, refuse):
    message = refuse(with_file(parts, name))
    assert "which is no part of a model" in message and repr(name) in message


def test_a_name_in_an_extra_field_is_ignored(parts, refuse):
    """A reader that knows the field would take the second name for the first."""
    info, name = member("README.md"), b"../../evil"
    checksum = zipfile.crc32(b"README.md")
    info.extra = struct.pack("<HHBL", 0x7075, 5 + len(name), 1, checksum) + name
    archive = with_file(parts, info)
    with zipfile.ZipFile(io.BytesIO(archive)) as read:
        is_known = "../../evil" in read.namelist()
    if is_known:
        assert "outside its root" in refuse(archive)


def test_a_name_that_differs_in_its_two_places_is_refused(parts, refuse):
    def rename(infos):
        infos[-1].filename = "README.md"

    assert "not a readable zip" in refuse(with_file(parts, "READYOU.md", change=rename))


def test_files_of_one_model_in_two_folders_are_refused(parts, refuse):
    first, *other_parts = parts.items()
    apart = [(f"a/{name}", data) for name, data in other_parts]
    assert "in 2 folders" in refuse(zipped(first, *apart))
    assert "in 2 folders" in refuse(zipped((f"b/{first[0]}", first[1]), *apart))
    for folder in ("a/", "README.md/"):
        assert "in 2 folders" in refuse(with_file(parts, folder, b""))
    assert "'b/config.json' twice" in refuse(with_file(parts, "b/config.json"))


def test_a_file_that_occurs_twice_is_refused(parts, refuse):
    assert "'config.json' twice" in refuse(with_file(parts, "config.json", b"{}"))


def test_a_missing_file_is_named(parts, refuse):
    for name in NAMES[:4]:
        other_parts = [(key, data) for key, data in parts.items() if key != name]
        assert f"lacks {name}" in refuse(zipped(*other_parts))
    assert "lacks config.json" in refuse(zipped())


def test_the_number_of_files_is_limited(parts, refuse):
    many = [(f"a/{i}", b"") for i in range(100)]
    assert "holds 105 files, more than the 6 of a model" in refuse(zipped(*parts.items(), *many))


# Links and special files


@pytest.mark.parametrize("kind", ["LNK", "IFO", "SOCK", "CHR", "BLK", "DIR"])
@pytest.mark.parametrize("system", [0, 3])
def test_links_and_special_files_are_refused(kind, system, parts, refuse):
    info = member("README.md", mode=getattr(stat, f"S_IF{kind}") | 0o777)
    info.create_system = system
    assert "which is a link or another special file" in refuse(with_file(parts, info, b"/etc"))


def test_a_folder_that_is_a_link_is_refused(parts, refuse):
    link = member("a/", mode=stat.S_IFLNK | 0o777)
    inside = [(f"a/{name}", data) for name, data in parts.items()]
    assert "which is a link" in refuse(zipped((link, b""), *inside))


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_encrypted_files_are_refused(flag, parts, refuse):
    def encrypt(infos):
        infos[0].flag_bits |= flag

    assert "which is encrypted" in refuse(zipped(*parts.items(), change=encrypt))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_methods_other_than_deflate_are_refused(method, parts, refuse):
    assert "another method than deflate" in refuse(
        with_file(parts, member("README.md", method=method))
    )


# Sizes


@pytest.mark.parametrize(
    ("name", "most"), [("config.json", 2**16), ("statistics.json", 2**18), ("README.md", 2**20)]
)
@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_each_file_has_its_limit(name, most, method, parts, refuse, rng):
    other_parts = [(key, data) for key, data in parts.items() if key != name]
    archive = zipped(*other_parts, (member(name, method=method), rng.bytes(most + 1)))
    assert f"with {most + 1} bytes, more than the {most}" in refuse(archive)


@pytest.mark.parametrize("size", [2**28 + 1, 2**32 + 5, 2**63])
def test_a_declared_size_over_the_limit_is_refused(size, parts, refuse):
    def lie(infos):
        infos[-1].file_size = size

    assert f"with {size} bytes, more than the" in refuse(zipped(*parts.items(), change=lie))


def test_files_that_expand_too_much_are_refused(parts, refuse):
    other_parts = [(key, data) for key, data in parts.items() if key != NAMES[3]]
    archive = zipped(*other_parts, (NAMES[3], bytes(2**24)))
    assert len(archive) < 2**16
    assert "compressed to less than 1/100 of its size" in refuse(archive)


def test_a_zip_bomb_with_a_false_size_is_refused(parts, refuse, monkeypatch):
    """No more bytes are written than the directory says, so it is enough to check the directory."""
    other_parts = [(key, data) for key, data in parts.items() if key != NAMES[3]]

    def lie(infos):
        infos[-1].file_size = 1000

    counted, count = [], _archive.blocks

    def counting(read, most, what):
        for block in count(read, most, what):
            counted.append(len(block))
            yield block

    monkeypatch.setattr(_archive, "blocks", counting)
    message = refuse(zipped(*other_parts, (NAMES[3], bytes(2**24)), change=lie))
    assert "not a readable zip archive" in message
    assert sum(counted) <= 1000 + sum(len(data) for _, data in other_parts)


def test_unpacked_bytes_are_counted_while_reading(parts, refuse, monkeypatch):
    """The last line: whatever the reader gives, no more than the limit is written."""

    class Endless(io.RawIOBase):
        def read(self, size=-1):
            return bytes(size)

    archive = zipped(*parts.items())
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_, **__: Endless())
    assert "'config.json' with more than the 65536 bytes" in refuse(archive)


@pytest.mark.parametrize("size", [0, 1, 10**9, 2**40])
def test_a_packed_size_that_is_wrong_is_refused(size, parts, refuse):
    def lie(infos):
        infos[-1].compress_size = size

    refuse(zipped(*parts.items(), change=lie))


def test_files_that_share_their_bytes_are_refused(parts, refuse):
    """Each is within its limit, and all are the same bytes of the archive."""

    def overlap(infos):
        for info in infos:
            info.header_offset = infos[-1].header_offset

    refuse(zipped(*parts.items(), change=overlap))


# The directory


def test_a_long_directory_is_not_read(parts, refuse):
    many = [(f"a/{i}", b"") for i in range(3_000)]
    assert "its directory is too long" in refuse(zipped(*parts.items(), *many))
    long = member("README.md")
    long.extra = struct.pack("<HH", 0xCAFE, 60_000) + bytes(60_000)
    assert "its directory is too long" in refuse(zipped(*3 * [(long, b"")]))


@pytest.mark.parametrize("entries", [1, 2**32, 2**64 - 1])
@pytest.mark.parametrize("size", [0, 46, 2**31, 2**62])
@pytest.mark.parametrize("offset", [0, 2**40, 2**63])
def test_a_false_directory_of_a_large_archive_is_refused(entries, size, offset, parts, refuse):
    """The record that archives of more than 4 GB have, before the end of a small one."""
    archive = zipped(*parts.items())
    end = archive.rindex(b"PK\5\6")
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    refuse(archive[:end] + record + locator + archive[end:])


@pytest.mark.parametrize("field", [8, 10, 12, 16])
@pytest.mark.parametrize("value", [0, 1, 0x7FFF, 0xFFFF])
def test_false_numbers_at_the_end_of_the_directory_are_ignored_or_refused(
    field, value, parts, tmp_path, monkeypatch
):
    """Numbers of files and disks do not count; with any other place or size nothing is found."""
    monkeypatch.setenv("DDSPX_INSTRUMENTS", str(tmp_path / "library"))
    archive = bytearray(zipped(*parts.items()))
    struct.pack_into("<H", archive, archive.rindex(b"PK\5\6") + field, value)
    (tmp_path / "bugle.zip").write_bytes(archive)
    try:
        folder = install_instrument(tmp_path / "bugle.zip")
    except ValueError as error:
        assert str(error).startswith(str(tmp_path / "bugle.zip"))
    else:
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == parts


@pytest.mark.parametrize("archive", [b"", b"PK", b"PK\3\4" + bytes(100), b"PK\5\6" + bytes(18)])
def test_files_that_are_not_archives_are_refused(archive, refuse):
    message = refuse(archive)
    assert "not a readable zip archive" in message or "lacks config.json" in message


def test_a_damaged_archive_is_refused_or_the_model_is_whole(parts, tmp_path, monkeypatch, rng):
    """Bytes changed and ends cut off at random: a sentence, or every file as it was."""
    library = tmp_path / "library"
    monkeypatch.setenv("DDSPX_INSTRUMENTS", str(library))
    # The files are short and not loaded; other tests check their content.
    small = {name: name.encode() for name in NAMES}
    monkeypatch.setattr("ddspx.instruments._install._check_model", lambda folder: None)
    archive = zipped(*((f"bugle/{name}", data) for name, data in small.items()))
    path, refused = tmp_path / "bugle.zip", 0
    for i in range(400):
        changed = np.frombuffer(archive, np.uint8).copy()
        places = rng.integers(0, len(changed), 1 + i % 3)
        changed[places] = rng.choice(
            [0, 1, 0x7F, 0x80, 0xFF, *rng.integers(0, 256, 3)], len(places)
        )
        path.write_bytes(changed.tobytes()[: rng.integers(1, len(changed)) if i % 5 == 0 else None])
        try:
            folder = install_instrument(path, name="bugle")
        except ValueError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
            assert not library.exists() or not list(library.iterdir())
        else:
            found = {file.name: file.read_bytes() for file in folder.iterdir()}
            assert found == small
            shutil.rmtree(folder)
    assert 150 < refused < 400
