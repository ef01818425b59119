"""The pitch tracker as a folder of files, and its sizes as JSON."""

import dataclasses
import json
import math
import os
import shutil
import stat
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from toy_tracker import DEFAULT, SMALL, toy_tracker

from ddspx.models.pitch import PitchConfig, load_pitch_tracker, save_pitch_tracker


@pytest.fixture(scope="module")
def model():
    return toy_tracker()


# files


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pitch") / "model"
    save_pitch_tracker(folder, model, provenance={"licence": "none"})
    return folder


def test_a_saved_tracker_is_read_again(model, saved):
    again = load_pitch_tracker(folder=saved)
    assert again.config == SMALL
    assert jax.tree.structure(nnx.state(again)) == jax.tree.structure(nnx.state(model))
    for one, other in zip(*(jax.tree.leaves(nnx.state(m)) for m in (again, model)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert json.loads((saved / "provenance.json").read_text()) == {"licence": "none"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permissions of this kind")
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_file_permissions_follow_the_umask(model, tmp_path, mask):
    before = os.umask(mask)
    try:
        save_pitch_tracker(tmp_path / "model", model, provenance={})
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode for path in (tmp_path / "model").iterdir()}
    assert {name: stat.S_IMODE(mode) for name, mode in modes.items()} == dict.fromkeys(
        ("weights.safetensors", "config.json", "provenance.json", "sha256.json"), 0o666 & ~mask
    )


@pytest.mark.parametrize(
    ("name", "content", "kind", "sentence"),
    [
        ("weights.safetensors", None, FileNotFoundError, "lacks weights.safetensors; copy the"),
        ("config.json", None, FileNotFoundError, "lacks config.json; copy the whole folder"),
        ("weights.safetensors", b"no", ValueError, "is not a readable safetensors file .*; copy"),
        ("weights.safetensors", b"", ValueError, "is not a readable safetensors file .*; copy"),
        ("config.json", b"{", ValueError, "config.json is not usable: "),
        ("config.json", b"[]", ValueError, "config.json is not usable: "),
        ("config.json", b'{"hop_length": 256}', ValueError, r"got \['hop_length'\]; copy"),
    ],
)
def test_damaged_folders_are_refused_in_a_sentence(saved, tmp_path, name, content, kind, sentence):
    folder = shutil.copytree(saved, tmp_path / "model")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(kind, match=sentence) as caught:
        load_pitch_tracker(folder=folder)
    assert str(folder) in str(caught.value)


def test_files_that_do_not_fit_each_other_are_refused(saved, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(saved, tmp_path / "model")
    good = load_file(folder / "weights.safetensors")
    bias = good["mix.bias"]

    def refused(match, **changes):
        arrays = {name: array for name, array in (good | changes).items() if array is not None}
        save_file(arrays, folder / "weights.safetensors")
        with pytest.raises(ValueError, match=match):
            load_pitch_tracker(folder=folder)

    again = "; copy the whole model folder again"
    refused(f"lacks the array `mix.bias`{again}", **{"mix.bias": None})
    refused(f"holds the unknown array `extra`{again}", extra=bias)
    refused(r"`mix.bias` as float32 \(2,\), not as float32 \(3,\)", **{"mix.bias": bias[1:].copy()})
    refused("`mix.bias` as float64", **{"mix.bias": bias.astype(np.float64)})
    refused(f"`mix.bias` that is not finite{again}", **{"mix.bias": bias * np.nan})
    save_file(good, folder / "weights.safetensors")
    fields = SMALL.to_json() | {"channels": 4}
    (folder / "config.json").write_text(json.dumps(fields))
    (folder / "sha256.json").unlink()
    with pytest.raises(ValueError, match=r"not as float32 .*; copy the whole model folder again"):
        load_pitch_tracker(folder=folder)


def test_a_failed_save_leaves_no_files(model, tmp_path):
    with pytest.raises(ValueError, match="`provenance` must be something JSON can hold"):
        save_pitch_tracker(tmp_path / "new", model, provenance={"loss": math.nan})
    diverged = nnx.clone(model)
    diverged.mix.bias[...] = diverged.mix.bias[...] * jnp.nan
    with pytest.raises(ValueError, match=r"`mix\.bias` is not finite; the training diverged"):
        save_pitch_tracker(tmp_path / "new", diverged, provenance={})
    assert not list(tmp_path.iterdir())
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists and is not a model folder; choose another"):
        save_pitch_tracker(tmp_path, model, provenance={})
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


# config


def test_a_config_is_restored_from_json():
    assert PitchConfig.from_json(json.loads(json.dumps(SMALL.to_json()))) == SMALL


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"hop_length": 0}, ValueError, "`hop_length` must be at least 1, got 0"),
        ({"channels": 2.0}, TypeError, "channels"),
        ({"win_lengths": (640, 0)}, ValueError, "`win_lengths` must be at least 1, got 0"),
        ({"win_lengths": (640,)}, Exception, "win_lengths"),
        ({"win_lengths": (1536, 640)}, ValueError, r"the shorter first, got \(1536, 640\)"),
        ({"fmin": 0.0}, ValueError, "`fmin` must be finite and above 0, got 0.0"),
        ({"fmin": math.inf}, ValueError, "`fmin` must be finite and above 0, got inf"),
        ({"hop_length": 1600}, ValueError, "must hold at least one hop, 1600 samples, got 1536"),
        ({"window_look_ahead": 300}, ValueError, "at most half of the short window, 256 samples"),
        ({"n_bins": 300}, ValueError, "above half of `sample_rate` 16000; take a smaller `n_bins`"),
        ({"n_bins": 4000}, ValueError, "take a smaller `n_bins`"),
        ({"n_bins": 10**6}, ValueError, "`n_bins` must be at most 4096, got 1000000"),
    ],
)
def test_sizes_are_checked(changes, kind, sentence):
    with pytest.raises(kind, match=sentence):
        dataclasses.replace(DEFAULT, **changes)
