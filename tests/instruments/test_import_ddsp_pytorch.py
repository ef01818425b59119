"""Tests of importing models of ddsp_pytorch, against what its network computes."""

import pickle
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import quick_jit
from torch_files import archive, files_of, raw, saved, tensor

from ddspx import core, features
from ddspx.instruments import import_instrument, load_instrument
from ddspx.io._torch_archive import read_tensors
from ddspx.models._weights import arrays_by_name
from ddspx.models.autoencoder import Autoencoder
from ddspx.models.autoencoder.serialization import save_autoencoder

GOLDENS = Path(__file__).parents[1] / "goldens"
RUN, EXPORT = GOLDENS / "ddsp_pytorch", GOLDENS / "ddsp_flute_pretrained.ts"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDENS / "ddsp_pytorch.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def instrument(tmp_path_factory):
    return load_instrument(import_instrument(RUN, folder=tmp_path_factory.mktemp("models")))


def level_db(loudness):
    """The loudness of ddsp_pytorch without the constant of its weighting, in dB."""
    weights = core.a_weighting_db(np.fft.rfftfreq(2048, 1 / 2000))
    return jnp.asarray((loudness - float(weights.mean())) * 20 / np.log(10), jnp.float32)


def test_controls_equal_those_of_the_published_network(instrument, golden):
    model = instrument[0]
    controls = quick_jit(Autoencoder.controls)(
        model, jnp.asarray(golden["pitch"]), level_db(golden["loudness"])
    )
    harmonic = controls.harmonic
    partials = harmonic.amplitudes[..., None] * harmonic.harmonic_distribution
    # In the first sound all harmonics are below Nyquist. In the second two are above, of which
    # theirs keeps 1/10000.
    np.testing.assert_allclose(partials[0], golden["amplitudes"][0], rtol=1e-5)
    np.testing.assert_allclose(partials[1], golden["amplitudes"][1], atol=1e-5)
    assert not partials[1, :, 3:].any()
    np.testing.assert_allclose(controls.noise.magnitudes, golden["bands"], rtol=1e-5)
    # Its audio has steps from frame to frame. At the end of the second sound, of a constant pitch,
    # the amplitudes are constant too.
    audio = core.harmonic_synthesis(
        *(x[1] for x in harmonic), sample_rate=2000, hop_length=20, amplitude_upsampling="linear"
    )
    expected = golden["harmonics"][1, : audio.size]
    np.testing.assert_allclose(audio[500:], expected[500:], atol=1e-3 * np.abs(expected).max())


def test_the_room_is_its_impulse_response(instrument, golden):
    np.testing.assert_allclose(
        instrument[0].reverb.impulse_response[1:], golden["response"][1:], atol=1e-7
    )


def tensors():
    return read_tensors((RUN / "state.pth").read_bytes(), "state.pth")


def state(changes):
    """A state dict with other tensors; None leaves one out."""
    changed = {name: array for name, array in (tensors() | changes).items() if array is not None}
    return saved({name: np.array(array, np.float32, order="C") for name, array in changed.items()})


def test_the_taps_of_a_shorter_room_have_the_same_times(golden, tmp_path):
    """A room has its times in seconds, whether they are saved or not."""
    found = tensors()
    for i, times in enumerate((found["reverb.t"][:, :500], None)):
        changes = {"reverb.noise": found["reverb.noise"][:500], "reverb.t": times}
        source = run_in(tmp_path / str(i), state=state(changes))
        model = load_instrument(import_instrument(source, folder=tmp_path / "models")).model
        np.testing.assert_allclose(
            model.reverb.impulse_response[1:], golden["response"][1:500], atol=1e-7
        )


SHAPES = {
    "a size": ("proj_matrices.1.bias", np.zeros(8), r"bias` has the shape \(8,\), not \(9,\)"),
    "an axis": ("gru.bias_ih_l0", np.zeros((18, 1)), r"has the shape \(18, 1\), not \(18,\)"),
    "one number": ("gru.weight_hh_l0", np.zeros(()), "is not a model of ddsp_pytorch"),
    "many channels": ("gru.weight_hh_l0", np.zeros((3, 90_000)), r", not \(270000"),
    "missing": ("out_mlp.4.bias", None, "it lacks 'out_mlp.4.bias'"),
    "unknown": ("out_mlp.9.bias", np.zeros(2), "the tensor 'out_mlp.9.bias', which is of another"),
    "times": ("reverb.t", np.zeros((1, 2000, 1)), "not the time of each tap"),
    "shape of times": ("reverb.t", np.arange(2000) / 2000, "not the time of each tap"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_tensors_of_another_model_are_refused(name, tmp_path):
    key, array, message = SHAPES[name]
    source = run_in(tmp_path / "run", state=state({key: array}))
    with pytest.raises(ValueError, match=message) as refusal:
        import_instrument(source, folder=tmp_path / "models")
    assert str(source) in str(refusal.value)


def test_a_repeated_number_makes_no_large_weights(tmp_path):
    content = b"\x80\x02}" + raw("in_mlps.1.0.weight")
    content += tensor("0", 1, shape=(2**37, 1), strides=(0, 0)) + b"s."
    bomb = archive({"a/data.pkl": content, "a/data/0": bytes(4)})
    with pytest.raises(ValueError, match="for tensors of 549755813888 bytes, and is refused"):
        import_instrument(run_in(tmp_path / "run", state=bomb), folder=tmp_path / "models")


def test_other_files_with_the_suffix_of_an_export(tmp_path, instrument):
    """Sources of TypeScript are passed by."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.ts").write_text("export const answer = 42;\n")
    with pytest.raises(ValueError, match="holds no model that can be imported"):
        import_instrument(source, folder=tmp_path / "models")
    with pytest.raises(ValueError, match=r"main\.ts is not a readable zip archive"):
        import_instrument(source / "main.ts", folder=tmp_path / "models")
    model, statistics, provenance = instrument
    save_autoencoder(tmp_path / "own", model, statistics=statistics, provenance=provenance)
    shutil.copytree(tmp_path / "own", source, dirs_exist_ok=True)
    assert import_instrument(source, folder=tmp_path / "models").is_dir()


def run_in(folder, **changes):
    """A folder of a training with other files."""
    folder.mkdir(exist_ok=True)
    for name in ("state.pth", "config.yaml"):
        content = changes.get(name.partition(".")[0], (RUN / name).read_bytes())
        (folder / name).write_bytes(content)
    return folder


def assert_same(one, other):
    for name, array in arrays_by_name(one.model).items():
        np.testing.assert_array_equal(array, arrays_by_name(other.model)[name], err_msg=name)
    assert one.model.config == other.model.config and one.statistics == other.statistics


def test_the_export_and_archives_are_the_same_model(instrument, tmp_path):
    """The export has no config: all numbers are in its tensors."""
    packed = tmp_path / "run.zip"
    files = {
        f"runs/flute/{name}": (RUN / name).read_bytes() for name in ("state.pth", "config.yaml")
    }
    packed.write_bytes(archive(files | {"runs/flute/eval_000000.wav": b""}))
    exported = run_in(tmp_path / "export")
    for name in ("state.pth", "config.yaml"):
        (exported / name).unlink()
    (exported / EXPORT.name).write_bytes(EXPORT.read_bytes())
    (exported / "ddsp_flute_config.yaml").write_bytes((RUN / "config.yaml").read_bytes())
    for source in (EXPORT, packed, exported):
        folder = import_instrument(source, folder=tmp_path / "models")
        assert folder.name == {EXPORT: "ddsp_flute_pretrained", packed: "flute"}.get(
            source, "export"
        )
        assert_same(load_instrument(folder), instrument)


def test_statistics_and_provenance(instrument):
    statistics = instrument.statistics
    assert features.loudness_of(statistics.feature_version) == "ddsp-pytorch"
    quantiles_db = np.array(statistics.loudness_quantiles)
    mean_db, above_db = level_db(np.array([-7.25, -7.25 + 1.5]))
    np.testing.assert_allclose(quantiles_db[50], mean_db, atol=1e-4)
    np.testing.assert_allclose(
        np.interp(0.841345, np.linspace(0, 1, 101), quantiles_db), above_db, atol=0.1
    )
    assert instrument.provenance["imported"]["from"] == "ddsp_pytorch"
    config = instrument.model.config
    assert (config.sample_rate, config.hop_length, config.pitch_scale) == (2000, 20, "hz")


CONFIG = (RUN / "config.yaml").read_text()
CONFIGS = {
    "no mean": (CONFIG.replace("  mean_loudness: -7.25\n", ""), "lacks `mean_loudness`"),
    "text": (CONFIG.replace("-7.25", "[-7]"), r"`mean_loudness` in config.yaml .* got '\[-7\]'"),
    "not finite": (CONFIG.replace("-7.25", "nan"), "its loudness has the mean nan"),
    "zero": (CONFIG.replace(": 1.5", ": 0.0"), "and the deviation 0.0"),
    "tiny": (CONFIG.replace(": 1.5", ": 1e-320"), "is not finite|must be levels|not be finite"),
    "far": (CONFIG.replace("-7.25", "1e30"), "`loudness_quantiles` must be levels"),
    "code": ("!!python/object/apply:os.system ['touch executed']\n", "lacks `mean_loudness`"),
    "bytes": ("\ufffd\x00" * 9, "lacks `mean_loudness`"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_are_lines_with_numbers(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, message = CONFIGS[name]
    source = run_in(tmp_path / "run", config=text.encode())
    with pytest.raises(ValueError, match=message) as refusal:
        import_instrument(source, folder=tmp_path / "models")
    assert str(source) in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_comments_and_other_sections_of_a_config(instrument, tmp_path):
    text = "# mine\nother:\n  mean_loudness: 99\n" + CONFIG.replace("1.5", "1.5   # measured")
    source = run_in(tmp_path / "run", config=text.encode())
    assert_same(load_instrument(import_instrument(source, folder=tmp_path / "models")), instrument)


def test_foreign_tensors_are_refused(tmp_path):
    foreign = (GOLDENS / "tensors.pth").read_bytes()
    with pytest.raises(ValueError, match=r"lacks `sampling_rate`|is not a model of ddsp_pytorch"):
        import_instrument(run_in(tmp_path / "run", state=foreign), folder=tmp_path / "models")
    whole = pickle.dumps({"x": print})
    with pytest.raises(ValueError, match=r"not a readable pickle|a function that this kind"):
        import_instrument(run_in(tmp_path / "run", state=whole), folder=tmp_path / "models")


@pytest.mark.parametrize("count", [24, pytest.param(200, marks=pytest.mark.slow)])
def test_mutations_are_refused_or_imported(count, tmp_path, monkeypatch):
    """Cut files, changed bytes, and changed bytes of the pickle, of a number or of the config."""
    monkeypatch.chdir(tmp_path)
    rng, originals = (
        np.random.default_rng(2),
        [(RUN / "state.pth").read_bytes(), EXPORT.read_bytes()],
    )
    outcomes = []
    for i in range(count):
        content = originals[i % 2]
        if i % 4 < 2:
            data = bytearray(content[: rng.integers(len(content))] if i % 8 < 2 else content)
            for place in rng.integers(max(1, len(data)), size=i % 5):
                data[place : place + 1] = rng.bytes(1)
        else:
            files = files_of(content)
            keys = [key for key in files if key.endswith("data.pkl") or i % 16 < 4]
            key = keys[rng.integers(len(keys))]
            changed = bytearray(files[key])
            if changed:
                changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
            data = archive(files | {key: bytes(changed)})
        config = bytearray(CONFIG.encode())
        if i % 10 == 0:
            config[rng.integers(len(config))] ^= 1 << rng.integers(8)
        source = tmp_path / "x.ts"
        if i % 2:
            source.write_bytes(data)
        else:
            source = run_in(tmp_path / "run", state=bytes(data), config=bytes(config))
        try:
            import_instrument(source, name="x", folder=tmp_path / "models", overwrite=True)
            outcomes.append(True)
        except ValueError as error:
            assert str(source) in str(error) and "\n" not in str(error), error
            outcomes.append(False)
    assert outcomes.count(False) > 0.4 * count
    assert {path.name for path in tmp_path.iterdir()} <= {"run", "x.ts", "models"}
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["x"]
