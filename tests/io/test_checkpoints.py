"""Checkpoints give back the bits they were given, and say what is wrong when they cannot."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddspx.io import latest_checkpoint, restore_checkpoint, save_checkpoint


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


# boundary errors


def test_none_there(tmp_path):
    with pytest.raises(ValueError, match="There is no checkpoint in"):
        restore_checkpoint(tmp_path / "run", {"a": jnp.ones(2)})


def test_corrupt_arrays(tmp_path):
    arrays = {"a": jnp.arange(5.0)}
    save_checkpoint(tmp_path, 1, arrays, {})
    for path in tmp_path.glob("1/arrays/**/d/*"):
        path.write_bytes(b"?")
    with pytest.raises(ValueError, match=r"1 cannot be restored; delete that folder"):
        restore_checkpoint(tmp_path, arrays)


def test_corrupt_facts(tmp_path):
    arrays = {"a": jnp.arange(5.0)}
    save_checkpoint(tmp_path, 1, arrays, {})
    (tmp_path / "1" / "facts" / "metadata").write_text("{")
    with pytest.raises(ValueError, match=r"1 cannot be restored; delete that folder"):
        restore_checkpoint(tmp_path, arrays)


@pytest.mark.parametrize("like", [{"a": jnp.ones(6)}, {"b": jnp.ones(5)}])
def test_other_arrays_than_asked_for(tmp_path: Path, like):
    save_checkpoint(tmp_path, 1, {"a": jnp.arange(5.0)}, {})
    with pytest.raises(ValueError, match=r"1 cannot be restored"):
        restore_checkpoint(tmp_path, like)


def test_facts_must_be_json(tmp_path):
    with pytest.raises(ValueError, match="`facts` must be something JSON can hold"):
        save_checkpoint(tmp_path, 1, {"a": jnp.ones(2)}, {"array": np.ones(2)})
    with pytest.raises(ValueError, match="`facts` must be something JSON can hold"):
        save_checkpoint(tmp_path, 1, {"a": jnp.ones(2)}, {"loss": float("nan")})
    with pytest.raises(ValueError, match="`keep`"):
        save_checkpoint(tmp_path, 1, {"a": jnp.ones(2)}, {}, keep=0)
