"""Import of models of DDSP, against what DDSP 3.7 computed itself (tests/goldens/make_ddsp.py)."""

import pickle
import re
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddspx import features
from ddspx.cli import main
from ddspx.instruments import import_instrument, load_instrument
from ddspx.instruments.published import _ddsp
from ddspx.instruments.published._ddsp_config import ddsp_model
from ddspx.instruments.published._ddsp_weights import ddsp_arrays
from ddspx.instruments.published._files import PublishedFiles
from ddspx.io._gin import GinConfig

GOLDENS = Path(__file__).parent.parent / "goldens"
KINDS = ("solo_instrument", "vst", "ae")
GIN, INDEX, STATISTICS = "operative_config-0.gin", "ckpt-0.index", "dataset_statistics.pkl"


def files_of(kind):
    with zipfile.ZipFile(GOLDENS / f"ddsp_{kind}.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def published(files):
    """Files in memory."""

    def reader(data):
        def read_bounded(most):
            assert len(data) <= most
            return data

        return read_bounded

    readers = {name: reader(data) for name, data in files.items()}
    return PublishedFiles(Path("model.zip"), "model", readers)


def read(files):
    """The instrument of files in memory."""
    found = published(files)
    assert _ddsp.recognises(found)
    return _ddsp.read(found)


def changed(kind, *changes):
    """The files of a model, with changes of its config."""
    files = files_of(kind)
    text = files[GIN].decode()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return files | {GIN: text.encode()}


@pytest.mark.parametrize("kind", KINDS)
def test_controls_and_statistics_are_those_of_ddsp(kind):
    model, statistics, provenance = read(files_of(kind))
    golden = np.load(GOLDENS / f"ddsp_{kind}.npz")

    @jax.jit
    def run(f0_hz, loudness_db, audio, z):
        return model.encode(audio), model.controls(f0_hz, loudness_db, z=z)

    arrays = [jnp.asarray(golden[name]) for name in ("f0_hz", "loudness_db", "audio")]
    z, controls = run(*arrays, golden.get("z"))
    (_, amplitudes, distribution), (magnitudes,) = controls
    if kind == "ae":
        # TensorFlow's float32 is up to 4e-5 away from the same in float64.
        np.testing.assert_allclose(z[: len(golden["z"])], golden["z"], atol=1e-4)
    np.testing.assert_allclose(amplitudes[::4], golden["amplitudes"][:, 0], atol=1e-5)
    np.testing.assert_allclose(magnitudes[::4], golden["magnitudes"], atol=1e-5)
    # DDSP masks the harmonics above Nyquist later, if it does not normalize without them.
    multiples = golden["f0_hz"][::4, None] * np.arange(1, 1 + distribution.shape[-1])
    assert (multiples >= 8000).any() and np.ptp(golden["amplitudes"]) > 1e-3
    expected = np.where(multiples < 8000, golden["harmonic_distribution"], 0)
    np.testing.assert_allclose(distribution[::4], expected, atol=1e-5)

    low, mean, high, _ = golden["pitch"]
    pitch = statistics.pitch_midi_min, statistics.pitch_midi_mean, statistics.pitch_midi_max
    assert pitch == (low, mean, high)
    if kind != "vst":
        np.testing.assert_array_equal(statistics.loudness_quantiles, golden["quantiles"])
    scale = "power" if kind == "vst" else "ddspx"
    assert features.loudness_of(statistics.feature_version) == scale
    assert provenance["imported"]["checkpoint"] == "ckpt-0"


def test_the_power_of_a_model_for_plugins():
    golden = np.load(GOLDENS / "ddsp_vst.npz")
    (power_db,) = features.stream_loudness(
        [golden["audio"]], sample_rate=16_000, hop_length=320, scale="power"
    )
    np.testing.assert_allclose(power_db, golden["loudness_db"], atol=1e-3)
    quantiles = np.array(read(files_of("vst")).statistics.loudness_quantiles)
    low, mean, high, deviation = golden["power"]
    assert low <= quantiles[0] and quantiles[-1] <= high
    np.testing.assert_allclose((quantiles.mean(), quantiles.std()), (mean, deviation), rtol=0.2)


def test_rooms():
    model = read(files_of("solo_instrument")).model
    assert model.reverb.config.length == 40
    taps = np.asarray(model.reverb.impulse_response)
    assert taps[0] == 0 and np.abs(taps[1:]).min() > 0
    room = read(files_of("vst")).model.reverb.impulse_response
    again = read(files_of("vst")).model.reverb.impulse_response
    assert room.shape == (480,) and np.abs(room).max() > 1e-3
    np.testing.assert_array_equal(room, again)


def test_an_older_model_gets_its_scale_of_loudness():
    # Without an argument of DDSP 3 loudness is dB / 120 + 1, and the weights take dB / 80 + 1.
    new = read(files_of("solo_instrument"))
    old = read(changed("solo_instrument", ("F0LoudnessPreprocessor.compute_loudness = True\n", "")))
    assert features.loudness_of(old.statistics.feature_version) == "ddsp-2"
    before, after = (x.model.decoder.stacks[0].layers[0] for x in (new, old))
    for level_db in (-120.0, -30.0, 5.0):
        expected = (level_db / 120 + 1) * before.kernel[...][0] + before.bias[...]
        found = (level_db / 80 + 1) * after.kernel[...][0] + after.bias[...]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_older_model_without_stacks_gets_its_scale_of_loudness():
    new = read(files_of("ae")).model.decoder
    old = changed("ae", ("F0LoudnessPreprocessor.compute_loudness = True\n", ""))
    old = read(old).model.decoder
    biases = (
        (new.gru.bias[...][0], old.gru.bias[...][0]),
        (new.dense.bias[...], old.dense.bias[...]),
    )
    kernels = (new.gru.kernel, old.gru.kernel), (new.dense.kernel, old.dense.kernel)
    for (kernel, folded), (bias, folded_bias) in zip(kernels, biases, strict=True):
        expected = (-30 / 120 + 1) * kernel[...][0] + bias
        np.testing.assert_allclose(
            (-30 / 80 + 1) * folded[...][0] + folded_bias, expected, atol=1e-6
        )
        np.testing.assert_array_equal(folded[...][1:], kernel[...][1:])


def newest(names, listed=b""):
    """The checkpoint that is taken of files of these names, with this list of checkpoints."""
    readers = dict.fromkeys(names, lambda most: listed)
    return _ddsp.latest_checkpoint(PublishedFiles(Path("model.zip"), "model", readers))


def test_the_newest_checkpoint_is_taken():
    names = ["ckpt-300.index", "ckpt-0.index", "ckpt-40.index"]
    assert newest(names) == "ckpt-300"
    listed = b'model_checkpoint_path: "/content/models/ckpt-40"\nall_model_checkpoint_paths: "x"\n'
    assert newest([*names, "checkpoint"], listed) == "ckpt-40"
    # The notebook's archive has the last checkpoint alone, and may have it in a folder.
    assert newest([*names, "checkpoint"], b'model_checkpoint_path: "ckpt-41"') == "ckpt-300"
    nested = [f"training/{name}" for name in (*names, "checkpoint")]
    assert newest(nested, listed) == "training/ckpt-40"


def test_files_may_lie_in_a_folder_among_others():
    files = {f"training/{name}": data for name, data in files_of("solo_instrument").items()}
    files |= {"README.md": b"", "training/events.out.tfevents": b"x", "audio.wav": b"RIFF"}
    assert read(files).provenance["imported"]["checkpoint"] == "ckpt-0"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (GIN, "lacks operative_config-0.gin, which says"),
        (STATISTICS, "lacks dataset_statistics.pkl, from which .*save_dataset_statistics"),
        ("ckpt-0.data-00000-of-00001", "lacks ckpt-0.data-00000-of-00001"),
    ],
)
def test_a_missing_file_is_named(name, sentence):
    files = files_of("vst")
    del files[name]
    with pytest.raises(ValueError, match=sentence):
        read(files)


@pytest.mark.parametrize(
    ("kind", "old", "new", "sentence"),
    [
        ("vst", "rnn_type = 'gru'", "rnn_type = 'lstm'", "rnn_type = 'lstm'; models with 'gru'"),
        ("vst", "@decoders.RnnFcDecoder()", "@decoders.DilatedConvDecoder()", "@DilatedConvDec"),
        ("vst", "rnn_channels = 8", "rnn_channels = 9", "holds `decoder.gru.kernel` as"),
        ("vst", "layers_per_stack = 1", "layers_per_stack = 2", "1 layers model/decoder"),
        ("vst", "layers_per_stack = 1", "layers_per_stack = None", "layers_per_stack = None, no"),
        ("vst", "('amps', 1)", "('amps', 2)", "not one amplitude"),
        ("vst", "('amps', 1)", "('amps', 1), ('amps', 1)", "not one amplitude"),
        ("vst", "output_splits =", "output_splits = 3\nOther.splits =", "not one amplitude"),
        ("vst", "n_filter_banks = 5", "n_filter_banks = 6", r"of the shape \(10, 5\) .* 6 bands"),
        ("vst", "n_filter_banks = 5", "n_filter_banks = 1025", "n_filter_banks = 1025, no size"),
        ("vst", "'pw_scaled'", "'ld_scaled'", "preprocessor OnlineF0PowerPreprocessor"),
        ("vst", "frame_size = 1024", "frame_size = 512", "frame_size = 512"),
        ("vst", "frame_rate = 50", "frame_rate = 51", "no whole number of samples"),
        ("vst", "trainable = True", "trainable = False", "trainable = False"),
        ("vst", "'linear'", "'cubic'", "amp_resample_method cubic"),
        ("vst", "exponent = 10.0", "exponent = 9.0", r"exp_sigmoid\.exponent = 9\.0"),
        ("vst", "reverb_length = 480", "reverb_length = 481", "for a room of 481 samples"),
        ("vst", "@effects.FilteredNoiseReverb()", "@effects.ExpDecayReverb()", "ExpDecayReverb"),
        ("ae", "z_time_steps = 125", "z_time_steps = 63", "z_time_steps = 63"),
        ("ae", "z_dims = 3", "z_dims = 4", "for 6 inputs|`decoder.gru.kernel`"),
        ("ae", "@encoders.MfccTime", "@encoders.Other", "encoder = @OtherDistributedRnn"),
    ],
)
def test_a_model_of_another_kind_is_refused(kind, old, new, sentence):
    files = changed(kind, (old, new))
    with pytest.raises(ValueError, match=sentence) as refusal:
        read(files)
    assert str(refusal.value).startswith("model.zip")


def test_tensors_of_other_types_and_shapes_end_in_a_sentence():
    """Each tensor of a model is replaced by extreme ones."""
    n_read = n_refused = 0
    older = ("F0LoudnessPreprocessor.compute_loudness = True\n", "")
    for kind, changes in (("solo_instrument", [older]), ("vst", []), ("ae", [older])):
        files = changed(kind, *changes)
        model = ddsp_model(GinConfig(files[GIN].decode()))
        tensors = _ddsp._tensors(published(files), "ckpt-0")
        for name, tensor in tensors.items():
            shapes = (), (1,), (0, 8), (1, *tensor.shape), (tensor.size + 1,), (2, 2**15)
            values = [np.full_like(tensor, value) for value in (np.nan, 3e38, -3e38, -np.inf)]
            others = [tensor.astype(np.int32), tensor.astype("c8"), tensor > 0, tensor[:0]]
            for other in (*values, *others, *(np.zeros(shape, np.float32) for shape in shapes)):
                try:
                    ddsp_arrays(model, {**tensors, name: other})
                    n_read += 1
                except ValueError as refusal:
                    n_refused += 1
                    assert re.match("holds (model/|magnitudes|a )", str(refusal)), str(refusal)
    assert n_read > 200 and n_refused > 500


@pytest.mark.parametrize("value", [10**400, 1e300, float("nan"), -float("inf"), "9", None])
def test_numbers_of_the_statistics_are_checked(value):
    statistics = dict.fromkeys(("mean_pitch", "min_pitch", "max_pitch"), 60.0)
    files = files_of("vst") | {STATISTICS: pickle.dumps(statistics | {"max_pitch": value})}
    with pytest.raises(ValueError, match=rf"^model\.zip: {STATISTICS} lacks the number max_pitch"):
        read(files)


def mutated(files, rng):
    """The files with one of them cut short, or with bytes changed, put in or taken out."""
    name = list(files)[rng.integers(len(files))]
    data = bytearray(files[name])
    first, last = sorted(rng.integers(len(data), size=2))
    match rng.integers(4):
        case 0:
            data = data[:first]
        case 1:
            for place in rng.integers(len(data), size=3):
                data[place] = rng.integers(256)
        case 2:
            data[first:first] = rng.bytes(5)
        case 3:
            del data[first:last]
    return files | {name: bytes(data)}


def check_mutations(count, seed):
    rng = np.random.default_rng(seed)
    refused = 0
    for i in range(count):
        files = mutated(files_of(KINDS[i % 3]), rng)
        try:
            read(files)
        except ValueError as refusal:
            assert re.fullmatch(r"model\.zip.*\.", str(refusal)), str(refusal)
            refused += 1
    assert refused > count / 2


def test_damaged_files_end_in_a_sentence():
    check_mutations(12, seed=0)


@pytest.mark.slow
def test_two_hundred_damaged_files_end_in_a_sentence():
    check_mutations(200, seed=1)


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DDSPX_INSTRUMENTS", str(tmp_path / "library"))
    archive = str(GOLDENS / "ddsp_solo_instrument.zip")
    assert main(["instruments", "import", archive, "--name", "oboe"]) == 0
    assert "--to oboe" in capsys.readouterr().out
    assert load_instrument("oboe").statistics.hop_length == 64
    with zipfile.ZipFile(tmp_path / "broken.zip", "w") as broken:
        for name, data in files_of("vst").items():
            broken.writestr(f"vst/{name}", data[:-9] if name == INDEX else data)
    with pytest.raises(ValueError, match=r"broken\.zip: ckpt-0\.index is not the index"):
        import_instrument(tmp_path / "broken.zip")
    assert [path.name for path in (tmp_path / "library").iterdir()] == ["oboe"]
