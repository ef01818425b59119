"""Model folders are bound to their files: flips, cuts and losses are found when they are loaded."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from modules import drawn
from toy_any_instrument import save_toy_any_instrument
from toy_instrument import save_toy_instrument

import ddspx
from ddspx.instruments import install_instrument, load_any_instrument, pack_instrument
from ddspx.models._config import DIGESTS, check_digest
from ddspx.models.autoencoder import load_autoencoder
from ddspx.models.crepe import Crepe, CrepeConfig
from ddspx.models.crepe.convert import read_crepe, save_crepe
from ddspx.models.pitch import PitchConfig, PitchTracker, load_pitch_tracker, save_pitch_tracker
from ddspx.models.spectnet import SpectNet, SpectNetConfig, load_spectnet, save_spectnet
from ddspx.nn import FrontendConfig

WEIGHTS, CONFIG = "weights.safetensors", "config.json"
INSTRUMENT = (WEIGHTS, CONFIG, "statistics.json")


def small(kind, *configs):
    def draw(name, shape):
        return np.random.default_rng(len(name)).uniform(0.1, 0.9, shape)

    return drawn(lambda: kind(*configs, rngs=nnx.Rngs(0)), draw)


def save_small_spectnet(folder):
    ear = FrontendConfig(sample_rate=1000, hop_length=20, n_fft=64, win_length=50, n_bands=6)
    config = SpectNetConfig(
        ear, ("a", "b"), segment_frames=21, n_blocks=1, channels=4, hidden=8, normalize_level=False
    )
    save_spectnet(folder, small(SpectNet, config), provenance={})


def save_small_tracker(folder):
    save_pitch_tracker(folder, small(PitchTracker, PitchConfig(channels=2)), provenance={})


# How a folder is saved and loaded, and the files that it is bound to.
FOLDERS = {
    "instrument": (save_toy_instrument, load_autoencoder, INSTRUMENT),
    "any instrument": (
        save_toy_any_instrument,
        lambda folder: load_any_instrument(folder=folder),
        (*INSTRUMENT, "timbres.json"),
    ),
    "classifier": (save_small_spectnet, load_spectnet, (WEIGHTS, CONFIG)),
    "tracker": (
        save_small_tracker,
        lambda folder: load_pitch_tracker(folder=folder),
        (WEIGHTS, CONFIG),
    ),
}


def damaged(whole: bytes, rng: np.random.Generator):
    """The bytes with one bit changed, ten times; then cut, and longer."""
    for place in rng.integers(len(whole), size=10):
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.integers(8)
        yield bytes(changed)
    yield from (b"", whole[: len(whole) // 2], whole[:-1], whole + b"\0")


def with_other_exponents(whole: bytes, rng: np.random.Generator):
    """Weights with the highest bit of one exponent changed, ten times."""
    header = 8 + int.from_bytes(whole[:8], "little")
    for number in rng.integers((len(whole) - header) // 4, size=10):
        changed = bytearray(whole)
        changed[header + 4 * number + 3] ^= 0x40
        yield bytes(changed)


@pytest.mark.parametrize("kind", FOLDERS)
def test_every_change_of_a_bound_file_is_found_and_named(tmp_path, kind, rng):
    save, load, bound = FOLDERS[kind]
    folder = tmp_path / "model"
    save(folder)
    assert sorted(json.loads((folder / DIGESTS).read_text())) == sorted(bound)
    for name in bound:
        whole, path = (folder / name).read_bytes(), folder / name
        changes = list(damaged(whole, rng))
        if name == WEIGHTS:
            changes += with_other_exponents(whole, rng)
        for changed in changes:
            path.write_bytes(changed)
            with pytest.raises(ValueError, match=re.escape(f"{path} is not as it was saved")):
                check_digest(path)
        # Loading checks it, after what the file says.
        if name in (WEIGHTS, bound[-1]):
            with pytest.raises(ValueError, match=re.escape(f"{path} is not ")):
                load(folder)
        path.unlink()
        with pytest.raises(FileNotFoundError, match=f"lacks {name}; copy the whole folder"):
            check_digest(folder / CONFIG if name != CONFIG else folder / WEIGHTS)
        path.write_bytes(whole)
    load(folder)


def test_a_change_of_the_digests_themselves_is_found(tmp_path, rng):
    folder = save_toy_instrument(tmp_path / "model")
    whole = (folder / DIGESTS).read_bytes()
    # The last cut loses only the end of the line, the last addition is no JSON.
    *changes, _, longer = damaged(whole, rng)
    for changed in (*changes, longer):
        (folder / DIGESTS).write_bytes(changed)
        with pytest.raises((ValueError, FileNotFoundError), match="copy the whole folder again"):
            for name in INSTRUMENT:
                check_digest(folder / name)


def test_what_describes_a_model_may_be_edited(tmp_path):
    folder = save_toy_instrument(tmp_path / "model")
    (folder / "provenance.json").write_text('{"licence": "mine"}')
    (folder / "README.md").write_text("edited")
    assert load_autoencoder(folder)[2] == {"licence": "mine"}


def test_a_folder_made_by_hand_has_no_digests_until_it_is_installed(tmp_path):
    folder = save_toy_instrument(tmp_path / "model")
    statistics = folder / "statistics.json"
    statistics.write_text(statistics.read_text().replace('"duration_s": 10.0', '"duration_s": 9.0'))
    with pytest.raises(ValueError, match=r"statistics.json is not as it was saved.*delete sha256"):
        install_instrument(folder, name="mine", folder=tmp_path)
    (folder / DIGESTS).unlink()
    assert load_autoencoder(folder)[1].duration_s == 9
    installed = install_instrument(folder, name="mine", folder=tmp_path)
    check_digest(installed / "statistics.json")
    assert (installed / DIGESTS).is_file()


def test_an_archive_keeps_the_digests(tmp_path):
    folder = save_toy_instrument(tmp_path / "model")
    archive = pack_instrument(folder, tmp_path / "a.zip")
    installed = install_instrument(archive, folder=tmp_path)
    assert (installed / DIGESTS).read_bytes() == (folder / DIGESTS).read_bytes()
    weights = folder / WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
    with pytest.raises(ValueError, match=r"weights.safetensors is not as it was saved"):
        pack_instrument(folder, tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists()


def test_every_model_that_ships_has_its_digests():
    configs = sorted(Path(ddspx.__file__).parent.rglob(CONFIG))
    assert len(configs) >= 11
    for config in configs:
        for name in json.loads((config.parent / DIGESTS).read_text()):
            check_digest(config.with_name(name))


def test_a_file_of_weights_alone_is_bound_to_itself(tmp_path, rng):
    path = tmp_path / "model-tiny.safetensors"
    save_crepe(path, small(Crepe, CrepeConfig(1)))
    whole = path.read_bytes()
    read_crepe(path)
    for changed in (*with_other_exponents(whole, rng), whole[:-1]):
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=f"{path} .*copy it again"):
            read_crepe(path)
