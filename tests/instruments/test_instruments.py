"""Instruments of one's own: where they are, how they get there, and what is known of them."""

import json
import math
import os
import shutil
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from modules import of_parts
from toy_instrument import save_toy_instrument

from ddspx import instruments
from ddspx._folders import data_folder
from ddspx.features import method_of
from ddspx.instruments import (
    InstrumentScores,
    describe_instrument,
    install_instrument,
    instrument_names,
    instruments_folder,
    load_instrument,
    note_name,
    pack_instrument,
    remove_instrument,
)
from ddspx.instruments._library import is_name, is_shipped
from ddspx.models.autoencoder import Autoencoder

PARTS = ("config.json", "statistics.json", "provenance.json", "weights.safetensors")
FILES = (*PARTS, "sha256.json")
SHIPPED = Path(instruments.__file__).parent / "shipped"
SCORES = {
    "split": "test",
    "n_examples": 4,
    "spectral_loss": 6.5,
    "loudness_l1_db": 1.75,
    "f0_l1_semitones": 0.25,
    "f0_outlier_share": 0.01,
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return save_toy_instrument(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture
def model(toy, tmp_path):
    """A model folder that a test may change."""
    return Path(shutil.copytree(toy, tmp_path / "model"))


@pytest.fixture
def library(tmp_path, monkeypatch):
    """The user's folder, which is not there yet."""
    monkeypatch.setenv("DDSPX_INSTRUMENTS", str(tmp_path / "data" / "instruments"))
    return tmp_path / "data" / "instruments"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# finding instruments


def test_tests_see_only_the_shipped_instruments():
    assert all(describe_instrument(name).is_shipped for name in instrument_names())
    with pytest.raises(OSError):
        instruments_folder().mkdir(parents=True)


def test_this_release_makes_the_features_of_what_ships():
    names = instrument_names()
    assert len(names) == 8
    for name in names:
        statistics = json.loads((SHIPPED / name / "statistics.json").read_text())
        assert method_of(statistics["feature_version"]) == "ddspx"


def test_the_folder_of_instruments_follows_the_platform(tmp_path, monkeypatch):
    monkeypatch.delenv("DDSPX_INSTRUMENTS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert instruments_folder() == data_folder() / "instruments"


def test_without_a_home_only_shipped_instruments_are_listed(monkeypatch, toy, homeless):
    monkeypatch.delenv("DDSPX_INSTRUMENTS")
    assert "violin" in instrument_names()
    assert describe_instrument("violin").is_shipped
    with pytest.raises(ValueError, match="DDSPX_INSTRUMENTS"):
        install_instrument(toy)


def test_only_folders_with_names_of_instruments_count(library):
    for name in ("kalimba", ".kalimba.0123.partial", "no name", "con", "..b"):
        (library / name).mkdir(parents=True)
    (library / "oboe").touch()
    assert [name for name in instrument_names() if not is_shipped(name)] == ["kalimba"]


def test_a_shipped_instrument_has_priority_over_an_installed_one(library, toy):
    shutil.copytree(toy, library / "violin")
    shutil.copytree(toy, library / "Violin2")
    assert instrument_names().count("violin") == 1 and "Violin2" in instrument_names()
    assert describe_instrument("violin").is_shipped
    assert load_instrument("violin")[0].config.synthesizer.n_harmonics == 60


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/b", "a\\b", "/etc", "C:", "c:x", "a.b", "a b", "-a", "_a"),
        *("a\n", "a\0", "flûte", "ﬂute", "flu\u200bte", "\u202ekalimba", "a" * 41),
        *("con", "CON", "Nul", "aux", "prn", "COM1", "lpt9"),
    ],
)
def test_invalid_names_are_refused(name, toy, library):
    assert not is_name(name)
    with pytest.raises(ValueError, match="cannot be the name of an instrument"):
        install_instrument(toy, name=name)
    with pytest.raises(FileNotFoundError):
        remove_instrument(name)
    assert not library.exists()


@pytest.mark.parametrize("name", ["a", "kalimba", "Flute_2-b", "com", "com10", "console", "0"])
def test_valid_names_are_accepted(name):
    assert is_name(name)


# installing instruments


def test_a_folder_is_installed_and_plays_by_name(library, model, key):
    (model / "notes.txt").write_text("not of the model")
    (model / "README.md").write_text("what it is")
    installed = install_instrument(model, name="kalimba")
    assert installed == library / "kalimba"
    assert {path.name for path in installed.iterdir()} == {*FILES, "README.md"}
    assert contents(installed).items() <= contents(model).items()
    assert instrument_names()[-1] == "kalimba"
    f0_hz, loudness_db = jnp.full(9, 440, jnp.float32), jnp.full(9, -20, jnp.float32)
    play = of_parts(Autoencoder.__call__)
    models = [load_instrument(source)[0] for source in ("kalimba", model)]
    played = [play(each, key, f0_hz, loudness_db) for each in models]
    np.testing.assert_array_equal(*played)
    assert [path.name for path in library.iterdir()] == ["kalimba"]


def test_a_packed_model_is_installed_by_the_archives_name(library, model, tmp_path):
    (model / "notes.txt").write_text("not of the model")
    archive = pack_instrument(model, tmp_path / "my-kalimba.zip")
    with zipfile.ZipFile(archive) as packed:
        assert packed.namelist() == [f"my-kalimba/{name}" for name in FILES]
        packed.extractall(tmp_path / "unzipped")
    (model / "notes.txt").unlink()
    assert contents(tmp_path / "unzipped" / "my-kalimba") == contents(model)
    # The name that a browser gives a second download.
    archive = archive.rename(tmp_path / "my-kalimba (1).zip")
    assert contents(install_instrument(archive)) == contents(model)
    assert instrument_names()[-1] == "my-kalimba"


def test_equal_models_make_equal_archives(model, tmp_path):
    first = pack_instrument(model, tmp_path / "kalimba.zip").read_bytes()
    for path in model.iterdir():
        os.utime(path, (1e9, 1e9))
    assert pack_instrument(model, tmp_path / "kalimba.zip").read_bytes() == first


@pytest.mark.parametrize("top", ["", "any folder/"])
def test_an_archive_has_the_files_in_its_root_or_in_one_folder(library, model, tmp_path, top):
    with zipfile.ZipFile(tmp_path / "harp.zip", "w") as archive:
        if top:
            archive.mkdir(top)
        for name in PARTS:
            archive.write(model / name, f"{top}{name}")
    name = "harp" if top else None
    assert contents(install_instrument(tmp_path / "harp.zip", name=name)) == contents(model)


def test_any_name_is_allowed_in_another_folder(model, library, tmp_path):
    """As a page has instruments of its own: the same checks, and the shelf is not touched."""
    archive = pack_instrument(model, tmp_path / "violin.zip")
    folder = install_instrument(archive, folder=tmp_path / "mine")
    assert folder == tmp_path / "mine" / "violin" and contents(folder) == contents(model)
    assert not library.exists() or not any(library.iterdir())
    archive.write_bytes(b"no zip")
    with pytest.raises(ValueError, match="not a readable zip"):
        install_instrument(archive, folder=tmp_path / "other")
    with pytest.raises(ValueError, match="cannot be the name"):
        install_instrument(model, name="a b", folder=tmp_path / "other")
    assert not any((tmp_path / "other").rglob("*"))


def test_an_installed_instrument_is_packed_by_name(library, model, tmp_path):
    install_instrument(model, name="kalimba")
    again = pack_instrument("kalimba", tmp_path / "oboe.zip")
    assert contents(install_instrument(again)) == contents(model)


def test_an_installed_instrument_is_replaced_only_with_permission(library, toy, model):
    install_instrument(toy, name="kalimba")
    (model / "README.md").write_text("the new one")
    with pytest.raises(FileExistsError, match=r"'kalimba' already.*--overwrite"):
        install_instrument(model, name="kalimba")
    assert contents(library / "kalimba") == contents(toy)
    install_instrument(model, name="kalimba", overwrite=True)
    assert contents(library / "kalimba") == contents(model)
    # Installing an instrument from its own folder works too.
    install_instrument(library / "kalimba", overwrite=True)
    assert contents(library / "kalimba") == contents(model)


@pytest.mark.parametrize("name", ["violin", "Violin", "VIOLIN"])
def test_a_shipped_instrument_cannot_be_shadowed(name, library, toy, tmp_path):
    archive = pack_instrument(toy, tmp_path / f"{name}.zip")
    with pytest.raises(ValueError, match=f"'{name}' is an instrument that ships"):
        install_instrument(archive, overwrite=True)
    with pytest.raises(ValueError, match="ships with ddspx"):
        remove_instrument(name)
    assert not library.exists()


def test_replacing_a_link_keeps_the_folder_that_it_leads_to(library, toy, model):
    library.mkdir(parents=True)
    (library / "kalimba").symlink_to(toy, target_is_directory=True)
    (model / "README.md").write_text("the new one")
    install_instrument(model, name="kalimba", overwrite=True)
    assert contents(library / "kalimba") == contents(model)
    assert [path.name for path in library.iterdir()] == ["kalimba"] and len(contents(toy)) == 5


def test_an_instrument_is_removed(library, toy, tmp_path):
    install_instrument(toy, name="kalimba")
    (library / "linked").symlink_to(toy, target_is_directory=True)
    assert {"kalimba", "linked"} < set(instrument_names())
    for name in ("kalimba", "linked"):
        remove_instrument(name)
        with pytest.raises(FileNotFoundError, match=f"no instrument '{name}'"):
            remove_instrument(name)
    assert not list(library.iterdir()) and len(contents(toy)) == 5


# folders and archives that are refused


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_part(path, part, **changes):
    edit(path, **{part: json.loads(path.read_text())[part] | changes})


def write_header(length):
    return lambda path: path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])


def bfloat(path):
    header = {"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0")


DEEP = b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BROKEN = [
    *((name, Path.unlink, f"lacks {name}") for name in PARTS),
    *((name, lambda path: path.write_bytes(DEEP), "is not usable") for name in PARTS[1:3]),
    *((name, lambda path: path.write_bytes(b"\xff\xfe"), "is not usable") for name in PARTS[:3]),
    ("config.json", lambda path: path.write_bytes(b" " * 2**17), "more than the 65536 bytes"),
    (
        "config.json",
        lambda path: edit_part(path, "decoder", rnn_channels=17),
        "holds `.*` as float32",
    ),
    (
        "config.json",
        lambda path: edit_part(path, "decoder", fc_layers=10**9),
        "`fc_layers` must be at most 32",
    ),
    (
        "config.json",
        lambda path: edit(path, reverb_length=10**12),
        "`length` must be at most",
    ),
    ("config.json", lambda path: edit(path, sample_rate=8000), "`sample_rate`, 8000, got 16000"),
    ("config.json", lambda path: edit(path, code="import os"), "unknown `code`"),
    ("statistics.json", lambda path: edit(path, duration_s=10**400), "is not usable"),
    ("statistics.json", lambda path: edit(path, duration_s=1e300), "`duration_s` must be from 0"),
    ("statistics.json", lambda path: edit(path, duration_s=-1.0), "`duration_s` must be from 0"),
    ("statistics.json", lambda path: edit(path, pitch_midi_max=1e300), "notes from -200 to 200"),
    (
        "statistics.json",
        lambda path: edit(path, loudness_quantiles=[0.0, 1e300]),
        "`loudness_quantiles` must be levels from -700 to 700 dB",
    ),
    ("provenance.json", lambda path: path.write_text('["x", 3]'), "must hold a JSON object, got"),
    ("provenance.json", lambda path: path.write_text("[]"), "must hold a JSON object, got"),
    (
        "provenance.json",
        lambda path: edit(path, scores=[1]),
        "`scores` of it must be an",
    ),
    (
        "provenance.json",
        lambda path: edit(path, data={"licence": 3}),
        "`licence` of it must be text",
    ),
    ("weights.safetensors", lambda path: path.write_bytes(b""), "not a readable safetensors"),
    ("weights.safetensors", lambda path: path.write_bytes(b"PK"), "not a readable safetensors"),
    ("weights.safetensors", write_header(2**21), "header is longer than"),
    ("weights.safetensors", write_header(2**63), "header is longer than"),
    ("weights.safetensors", write_header(9), "not a readable safetensors"),
    ("weights.safetensors", bfloat, "not a readable safetensors"),
]


@pytest.mark.parametrize("is_archive", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize(("name", "spoil", "sentence"), BROKEN)
def test_a_broken_model_is_not_installed(
    name, spoil, sentence, is_archive, library, toy, model, tmp_path
):
    earlier = install_instrument(toy, name="kalimba")
    spoil(model / name)
    # As of a folder made by hand; otherwise any change is found (tests/models/test_digests.py).
    (model / "sha256.json").unlink()
    source = model
    if is_archive:
        source = tmp_path / "model.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in model.iterdir():
                archive.write(path, path.name)
        sentence = sentence.replace("the 65536 bytes", "the 65536 that")
    with pytest.raises(ValueError, match=sentence) as refusal:
        install_instrument(source, name="kalimba", overwrite=True)
    assert str(source) in str(refusal.value) and "partial" not in str(refusal.value)
    assert list(library.iterdir()) == [earlier]
    assert contents(earlier) == contents(toy)


def test_features_that_cannot_be_computed_are_refused_before_a_transfer(library, model):
    (model / "sha256.json").unlink()
    for value, said in (
        (-1, "must be text, got -1"),
        (math.nan, "must be text, got nan"),
        (None, "must be text, got None"),
        (["ddspx"], r"must be text, got \['ddspx'\]"),
        ("x", "names features of version 'x' cannot be computed by this release"),
        ("", "names features of version ''"),
    ):
        edit(model / "statistics.json", feature_version=value)
        for use in (install_instrument, load_instrument):
            with pytest.raises(
                ValueError, match=f"statistics.json is not.*`feature_version` {said}"
            ):
                use(model)
    assert not library.exists() or not list(library.iterdir())


@pytest.mark.parametrize("name", [*FILES, "README.md"])
@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe"])
def test_links_and_special_files_are_not_copied(name, kind, library, model, tmp_path):
    elsewhere = tmp_path / "secret"
    if (model / name).exists():
        (model / name).rename(elsewhere)
    else:
        elsewhere.write_text("a secret")
    if kind == "dangling":
        elsewhere.unlink()
    if kind == "folder":
        (model / name).mkdir()
    elif kind == "pipe":
        os.mkfifo(model / name)
    else:
        (model / name).symlink_to(elsewhere)
    with pytest.raises(ValueError, match=f"{name} is a link or another special file"):
        install_instrument(model)
    assert not library.exists() or not list(library.iterdir())


def test_a_broken_model_is_not_packed(model, tmp_path):
    archive = tmp_path / "kalimba.zip"
    archive.write_bytes(b"earlier")
    (model / "README.md").symlink_to(tmp_path / "kalimba.zip")
    with pytest.raises(ValueError, match="is a link"):
        pack_instrument(model, archive)
    (model / "README.md").unlink()
    edit_part(model / "config.json", "synthesizer", n_harmonics=13)
    with pytest.raises(ValueError, match=r"config.json is not as it was saved"):
        pack_instrument(model, archive)
    assert archive.read_bytes() == b"earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kalimba.zip", "model"]


@pytest.mark.parametrize(
    ("archive", "sentence"),
    [("kalimba.tar", "end in .zip"), ("my kalimba.zip", "cannot be the name of an instrument")],
)
def test_an_archive_is_named_after_its_instrument(archive, sentence, model, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        pack_instrument(model, tmp_path / archive)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_missing_folder_is_not_installed(library, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder or zip archive"):
        install_instrument(tmp_path / "kalimba.zip")
    with pytest.raises(FileNotFoundError, match="no folder or zip archive"):
        install_instrument(Path("/dev/zero"))


# cards and scores


def test_a_card_has_the_facts_of_the_folder(library, model):
    sources = [{"name": "a.wav"}, {"name": "b.wav"}]
    data = {"licence": "CC0-1.0", "attribution": "Who played", "sources": sources}
    edit(model / "provenance.json", data=data, scores=SCORES)
    install_instrument(model, name="kalimba")
    card = describe_instrument("kalimba")
    assert card.name == "kalimba" and not card.is_shipped
    assert (card.licence, card.attribution, card.n_recordings) == ("CC0-1.0", "Who played", 2)
    assert (card.sample_rate, card.hop_length, card.duration_s) == (16_000, 64, 10.0)
    assert card.notes == ("C4", "G#5")
    np.testing.assert_allclose(card.range_hz, (261.6256, 830.6094), rtol=1e-6)
    assert card.scores == InstrumentScores(**SCORES)
    assert card.n_bytes == sum(map(len, contents(model).values()))


def test_unknown_facts_are_none(toy):
    card = describe_instrument(toy)
    assert card.name == "toy"
    assert (card.licence, card.attribution, card.n_recordings, card.scores) == (None,) * 4


def test_an_unknown_measure_is_none_and_a_wrong_one_is_refused(model):
    scores = SCORES | {"f0_l1_semitones": None}
    del scores["split"]
    edit(model / "provenance.json", scores=scores)
    found = describe_instrument(model).scores
    assert (found.f0_l1_semitones, found.split, found.spectral_loss) == (None, None, 6.5)
    for value in (float("nan"), 1e300, -1, "6.5", True):
        edit(model / "provenance.json", scores=SCORES | {"spectral_loss": value})
        with pytest.raises(ValueError, match="`spectral_loss`"):
            describe_instrument(model)


def test_text_from_a_file_is_one_line_without_control_characters(model):
    text = "\x1b[2Jmine\r\nall \u202eyours\t\x07\ud800" + 1000 * "x"
    edit(model / "provenance.json", data={"licence": text, "attribution": text})
    card = describe_instrument(model)
    assert card.licence == card.attribution
    assert card.licence.startswith("?[2Jmine all ?yours ??xx") and card.licence.isprintable()
    assert len(card.licence) == 400


def test_the_name_of_a_shipped_instrument_wins_over_a_folder_of_that_name(
    toy, tmp_path, monkeypatch
):
    shutil.copytree(toy, tmp_path / "violin")
    monkeypatch.chdir(tmp_path)
    assert describe_instrument("violin").is_shipped
    assert load_instrument("violin")[0].config.synthesizer.n_harmonics == 12


@pytest.mark.parametrize(
    ("midi", "name"),
    [(69.0, "A4"), (60.4, "C4"), (59.4, "B3"), (61.2, "C#4"), (0.0, "C-1"), (-1.0, "B-2")],
)
def test_midi_numbers_have_note_names(midi, name):
    assert note_name(midi) == name
