"""`ddspx verify` says of each folder whether it is as it was written."""

from toy_instrument import save_toy_instrument
from training_data import write_dataset

from ddspx.cli import main


def test_damage_is_named_and_hides_nothing(tmp_path, capsys):
    model = save_toy_instrument(tmp_path / "model")
    dataset = write_dataset(tmp_path / "dataset", {"train": 2, "valid": 1, "test": 1})
    folders = [str(model), str(dataset), str(tmp_path)]
    assert main(["verify", *folders[:2]]) == 0
    out, _ = capsys.readouterr()
    assert "a model of weights.safetensors, " in out and "a dataset of 3 files" in out

    (shard,) = dataset.glob("train-*.f32")
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert main(["verify", *folders]) == 1
    out, err = capsys.readouterr()
    assert "a model of weights.safetensors, " in out and str(dataset) not in out
    assert f"{shard} is damaged (its digest is not that in the manifest)" in err
    assert f"{tmp_path} is neither a dataset nor a model folder" in err
    assert "2 of 3 not as written" in err

    (model / "config.json").write_text("{}")
    assert main(["verify", folders[0]]) == 1
    assert "config.json is not as it was saved" in capsys.readouterr().err
    # A digest that is missing, and a model of nothing, are damage too.
    (model / "sha256.json").write_text("{}")
    assert main(["verify", folders[0]]) == 1
    assert "sha256.json is not usable: it does not name weights.safetensors" in (
        capsys.readouterr().err
    )
    (tmp_path / "sha256.json").write_text("{}")
    assert main(["verify", str(tmp_path), str(tmp_path / "no")]) == 1
    err = capsys.readouterr().err
    assert "lacks weights.safetensors" in err and "no does not exist; check the name" in err
    assert main(["verify"]) == 2
    assert "name at least one FOLDER" in capsys.readouterr().err
