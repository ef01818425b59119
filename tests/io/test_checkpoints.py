"""Checkpoints restore exactly what was saved, and errors say why they cannot."""

import gc
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddspx.io import latest_checkpoint, restore_checkpoint, save_checkpoint
from ddspx.io._checkpoints import checkpoint_facts, whole_checkpoint


def some_arrays(seed: int) -> dict:
    key = jax.random.key(seed)
    return {
        "params": {"kernel": jax.random.normal(key, (3, 4), jnp.float32)},
        "moments": (jnp.float32([np.pi, -0.0]), jnp.int32(7)),
        "key": jax.random.key_data(key),
    }


# values


def test_round_trip_is_bit_exact(tmp_path):
    arrays = some_arrays(0)
    facts = {"best": 1 / 3, "batches": {"position": 12, "order": [2, 0, 1]}}
    save_checkpoint(tmp_path / "run", 5, arrays, facts)
    step, restored, found = restore_checkpoint(tmp_path / "run", some_arrays(1))
    assert step == 5 and found == facts
    assert jax.tree.structure(restored) == jax.tree.structure(arrays)
    for got, expected in zip(jax.tree.leaves(restored), jax.tree.leaves(arrays), strict=True):
        assert got.dtype == expected.dtype
        assert np.asarray(got).tobytes() == np.asarray(expected).tobytes()


def test_the_newest_is_found_and_the_oldest_deleted(tmp_path):
    assert latest_checkpoint(tmp_path / "nothing") is None
    for step in (1, 2, 10):
        save_checkpoint(tmp_path, step, {"step": jnp.int32(step)}, {}, keep=2)
    assert latest_checkpoint(tmp_path) == 10
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [2, 10]
    assert int(restore_checkpoint(tmp_path, {"step": jnp.int32(0)}, step=2).arrays["step"]) == 2


def test_a_half_written_checkpoint_is_not_seen(tmp_path):
    save_checkpoint(tmp_path, 1, {"a": jnp.ones(2)}, {})
    (tmp_path / "2.orbax-checkpoint-tmp-0").mkdir()
    assert latest_checkpoint(tmp_path) == 1


def test_the_newest_whole_one_is_restored_and_the_damage_of_newer_ones_reported(tmp_path):
    for step in (0, 1, 2, 3):
        save_checkpoint(tmp_path, step, {"step": jnp.int32(step)}, {"step": step}, keep=6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "3"]
    (tmp_path / "2" / "facts" / "metadata").unlink()
    (tmp_path / "3" / "sha256.json").write_text("{")
    restored = restore_checkpoint(tmp_path, {"step": jnp.int32(0)})
    assert (restored.step, int(restored.arrays["step"]), restored.facts) == (1, 1, {"step": 1})
    damages = []
    assert whole_checkpoint(tmp_path, report=lambda *damage: damages.append(damage)) == 1
    assert damages == [
        (3, "sha256.json is not as it was written"),
        (2, "facts/metadata is not as it was written"),
    ]
    assert checkpoint_facts(tmp_path, 1) == {"step": 1}


def test_one_may_be_replaced_and_older_ones_are_kept_that_others_need(tmp_path):
    for step, overwrite in ((1, False), (2, False), (3, False), (3, True), (4, False)):
        arrays = {"step": jnp.float32(step + overwrite / 2)}
        save_checkpoint(tmp_path, step, arrays, {}, keep=1, also_keep=[1], overwrite=overwrite)
        if step == 3:
            assert float(restore_checkpoint(tmp_path, arrays).arrays["step"]) == arrays["step"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "4"]


# boundary errors


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ValueError("RESOURCE_EXHAUSTED: ... [os_error_code='28']"),
            "2 cannot be written .No spac",
        ),
        (RuntimeError("it said: Read-only file system [os_error_code='30']"), "written .Read-only"),
        (OSError(28, "No space left on device"), r"2 cannot be written .*; free space"),
        (RuntimeError("flush: No space left on device"), r"2 cannot be written .*; free space"),
    ],
)
def test_a_full_disk_is_a_sentence_and_keeps_the_last_one(tmp_path, monkeypatch, error, message):
    arrays = {"a": jnp.ones(2)}
    save_checkpoint(tmp_path, 1, arrays, {}, keep=1)

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch, pytest.raises(OSError, match=message):
        patch.setattr("orbax.checkpoint.CheckpointManager.save", fail)
        save_checkpoint(tmp_path, 2, arrays, {}, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    save_checkpoint(tmp_path, 2, arrays, {}, keep=1)
    assert restore_checkpoint(tmp_path, arrays).step == 2


def test_a_missing_checkpoint_is_reported(tmp_path):
    with pytest.raises(ValueError, match="There is no checkpoint in"):
        restore_checkpoint(tmp_path / "run", {"a": jnp.ones(2)})


def files_of(checkpoint: Path) -> list[Path]:
    return sorted(path for path in checkpoint.rglob("*") if path.is_file())


@pytest.mark.parametrize("damage", ["cut", "flip", "delete"])
def test_any_damaged_file_is_refused_in_a_sentence(tmp_path, damage):
    arrays = {"a": jnp.arange(5.0), "b": jnp.arange(2000.0)}
    save_checkpoint(tmp_path, 1, arrays, {"loss": 0.5})
    paths = files_of(tmp_path / "1")
    assert len(paths) > 4
    for path in paths:
        whole = path.read_bytes()
        if damage == "delete" and path.name != "sha256.json":
            path.unlink()
        elif damage == "flip":
            path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 255]))
        else:
            path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=rf"1 cannot be restored; .*{path.name} is not as"):
            restore_checkpoint(tmp_path, arrays)
        path.write_bytes(whole)
    np.testing.assert_array_equal(restore_checkpoint(tmp_path, arrays).arrays["a"], arrays["a"])


def test_deeply_nested_digests_are_reported_as_damage(tmp_path):
    save_checkpoint(tmp_path, 1, {"a": jnp.arange(5.0)}, {})
    (tmp_path / "1" / "sha256.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"1 cannot be restored; .*sha256.json is not as"):
        restore_checkpoint(tmp_path, {"a": jnp.arange(5.0)})


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_the_name_of_a_folder_need_not_be_utf8(tmp_path):
    folder, arrays = tmp_path / os.fsdecode(b"m\xe9"), {"a": jnp.arange(5.0)}
    for step in (1, 2):
        save_checkpoint(folder, step, arrays, {"step": step}, keep=1)
    assert latest_checkpoint(folder) == 2 and not (folder / "1").exists()
    assert restore_checkpoint(folder, arrays).facts == {"step": 2}


RESTORE = """
import sys
import jax.numpy as jnp
from ddspx.io import latest_checkpoint, restore_checkpoint

for folder in sys.argv[1:]:
    assert latest_checkpoint(folder) == 1
    try:
        restore_checkpoint(folder, {f"a{i}": jnp.zeros((100, 40)) for i in range(20)})
    except ValueError as error:
        print(error, file=sys.stderr)
"""


def test_nothing_but_the_sentence_is_printed(tmp_path):
    """For each damage, by any library in any language, in a process of its own."""
    save_checkpoint(tmp_path / "whole", 1, {f"a{i}": jnp.ones((100, 40)) for i in range(20)}, {})
    folders = []
    for pattern in ("arrays/d/*", "arrays/manifest.ocdbt", "_CHECKPOINT_METADATA"):
        folders.append(shutil.copytree(tmp_path / "whole", tmp_path / str(len(folders))))
        for path in (folders[-1] / "1").glob(pattern):
            path.write_bytes(path.read_bytes()[:60])
    result = subprocess.run(
        [sys.executable, "-c", RESTORE, *map(str, folders)],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = result.stderr.splitlines()
    assert len(lines) == len(folders) == 3
    for line, folder in zip(lines, folders, strict=True):
        assert f"{folder / '1'} cannot be restored; delete that folder" in line


def test_a_checkpoint_without_digests_does_not_count(tmp_path):
    arrays = {"a": jnp.arange(5.0)}
    save_checkpoint(tmp_path, 1, arrays, {})
    (tmp_path / "1" / "sha256.json").unlink()
    assert latest_checkpoint(tmp_path) is None
    for step in (None, 1):
        with pytest.raises(ValueError, match=r"1 cannot be restored; .*sha256.json is missing"):
            restore_checkpoint(tmp_path, arrays, step=step)


def test_whatever_orbax_raises_becomes_the_sentence(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, {"a": jnp.ones(2)}, {})

    def fail(*_, **__):
        raise Exception("Encountered error while reading\nand much more")

    monkeypatch.setattr("orbax.checkpoint.CheckpointManager.restore", fail)
    with pytest.raises(ValueError, match=r"1 cannot be restored; .*Exception: Encountered error"):
        restore_checkpoint(tmp_path, {"a": jnp.ones(2)})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("like", [{"a": jnp.ones(6)}, {"b": jnp.ones(5)}])
def test_arrays_that_differ_from_the_template_are_refused(tmp_path: Path, like):
    save_checkpoint(tmp_path, 1, {"a": jnp.arange(5.0)}, {})
    with pytest.raises(ValueError, match=r"1 cannot be restored"):
        restore_checkpoint(tmp_path, like)
    gc.collect()


def test_facts_must_be_json(tmp_path):
    with pytest.raises(ValueError, match="`facts` must be something JSON can hold"):
        save_checkpoint(tmp_path, 1, {"a": jnp.ones(2)}, {"array": np.ones(2)})
    with pytest.raises(ValueError, match="`facts` must be something JSON can hold"):
        save_checkpoint(tmp_path, 1, {"a": jnp.ones(2)}, {"loss": float("nan")})
    with pytest.raises(ValueError, match="`keep`"):
        save_checkpoint(tmp_path, 1, {"a": jnp.ones(2)}, {}, keep=0)


@pytest.mark.parametrize("step", [-1, 1.5, True, "1"])
def test_a_step_that_is_not_an_int_is_refused(tmp_path, step):
    save, restore = map(inspect.unwrap, (save_checkpoint, restore_checkpoint))
    for call in (
        lambda: save(tmp_path / "run", step, {"a": jnp.ones(2)}, {}),
        lambda: restore(tmp_path / "run", {"a": jnp.ones(2)}, step=step),
    ):
        with pytest.raises((TypeError, ValueError), match="`step` must be"):
            call()
    assert not (tmp_path / "run").exists()


def test_arrays_are_not_cast_and_steps_not_overwritten(tmp_path):
    arrays = {"a": jnp.float32([1.0001, 2]), "b": (jnp.int32(3),)}
    save_checkpoint(tmp_path, np.int64(1), arrays, {})
    for like, message in [
        ({**arrays, "a": jnp.zeros(2, jnp.bfloat16)}, "`a` as float32 .* and `like` as bfloat16"),
        ({**arrays, "a": jnp.zeros(2, jnp.int32)}, "`a` as float32 .* and `like` as int32"),
        ({**arrays, "b": (jnp.float32(3),)}, r"`b.0` as int32 \(\), and `like` as float32"),
        (
            {**arrays, "a": jnp.zeros(1, jnp.float32)},
            r"`a` as float32 \(2,\), and `like` as float32 \(1,\)",
        ),
        ({"a": arrays["a"]}, r"`b.0` as int32 \(\), and `like` as nothing"),
    ]:
        with pytest.raises(
            ValueError, match=rf"1 cannot be restored into `like`: it holds {message}"
        ):
            restore_checkpoint(tmp_path, like)
    with pytest.raises(ValueError, match=r"`step` 1 is in .* already; delete"):
        save_checkpoint(tmp_path, 1, arrays, {})
    found = restore_checkpoint(tmp_path, jax.tree.map(np.asarray, arrays)).arrays
    np.testing.assert_array_equal(found["a"], arrays["a"])


def test_python_numbers_are_refused_and_missing_steps_reported(tmp_path):
    for leaf in (1.0, "name"):
        with pytest.raises(TypeError, match=r"`arrays` must hold arrays, got .* as `rate`"):
            save_checkpoint(tmp_path, 1, {"rate": leaf}, {})
    save_checkpoint(tmp_path, 1, {"rate": np.float32(1)}, {})
    with pytest.raises(TypeError, match=r"`like` must hold arrays, got 1\.0 as `rate`"):
        restore_checkpoint(tmp_path, {"rate": 1.0})
    with pytest.raises(ValueError, match=r"no checkpoint of step 7 in .*, whose newest is 1"):
        restore_checkpoint(tmp_path, {"rate": np.float32(1)}, step=7)
