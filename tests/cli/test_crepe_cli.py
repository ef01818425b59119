import numpy as np
import pytest
from flax import nnx

from ddspx.cli import main
from ddspx.models.crepe import Crepe, CrepeConfig, load_crepe


@pytest.fixture
def published(tmp_path):
    """A Keras file of the tiny network, with numbers of its own."""
    h5py = pytest.importorskip("h5py", reason="the h5 extra is not installed")
    model = nnx.jit(lambda: Crepe(CrepeConfig.of("tiny"), rngs=nnx.Rngs(0)))()
    path = tmp_path / "model-tiny.h5"
    with h5py.File(path, "w") as file:
        for i, block in enumerate(model.blocks, start=1):
            kernel, bias, *norm = (np.asarray(array) for array in block.arrays())
            file[f"conv{i}/conv{i}/kernel:0"] = kernel[:, None]
            file[f"conv{i}/conv{i}/bias:0"] = bias
            names = ("gamma", "beta", "moving_mean", "moving_variance")
            for name, array in zip(names, norm, strict=True):
                file[f"conv{i}-BN/conv{i}-BN/{name}:0"] = array
        file["classifier/classifier/kernel:0"] = np.asarray(model.kernel[...])
        file["classifier/classifier/bias:0"] = np.asarray(model.bias[...])
    return path, model


def test_weights_are_converted(published, tmp_path, capsys):
    source, model = published
    target = tmp_path / "made" / "model-tiny.safetensors"
    assert main(["crepe", "convert", str(source), str(target)]) == 0
    assert capsys.readouterr().out == f"{target}: tiny\n"
    converted = load_crepe("tiny", path=target)
    np.testing.assert_array_equal(converted.blocks[2].kernel[...], model.blocks[2].kernel[...])


def test_an_unusable_file_is_one_line_with_status_2(published, tmp_path, capsys):
    source, _ = published
    (tmp_path / "text.h5").write_text("not weights")
    out = str(tmp_path / "out.safetensors")
    for arguments, complaint in (
        ((str(tmp_path / "absent.h5"), out), "There is no file"),
        ((str(tmp_path / "text.h5"), out), "is not a readable .h5 file"),
        ((str(source), str(tmp_path / "out.npz")), "must end in .safetensors"),
        ((str(source),), "missing: OUT.safetensors"),
    ):
        assert main(["crepe", "convert", *arguments]) == 2
        said = capsys.readouterr()
        (line,) = said.err.splitlines()
        assert said.out == "" and line.startswith("ddspx crepe: ") and complaint in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model-tiny.h5", "text.h5"]


def test_help_shows_the_call(capsys):
    assert main(["crepe", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: ddspx crepe convert IN OUT.safetensors [OPTIONS]\n\nMakes a")
