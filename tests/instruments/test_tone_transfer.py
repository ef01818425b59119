"""Tone Transfer models: a small one made here, damaged ones, and those of Google."""

import json
import os
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from modules import of_parts
from tone_transfer_graph import FRAMES, ROOT, small_graph

from ddspx.cli import main
from ddspx.features import loudness_of, method_of
from ddspx.instruments import describe_instrument, load_instrument
from ddspx.instruments.published import _tone_transfer
from ddspx.instruments.published._files import published_files
from ddspx.io._tfjs import read_tfjs

DATA = Path(os.environ.get("DDSPX_TEST_DATA", ""), "published_models", "tone_transfer")
needs_models = pytest.mark.skipif(not DATA.is_dir(), reason="needs the models of Google")


def write(folder, files):
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(f"oboe/{name}", data)
    return path


def read(path):
    with published_files(path) as files:
        return _tone_transfer.read(files)


def graph_outputs(weights, f0_hz, loudness_db):
    """What the small graph computes, in float64, for sounds of one window."""
    names = {name.removeprefix(f"Func/{ROOT}"): x.astype(np.float64) for name, x in weights.items()}

    def convolved(x, name, dilation):
        padded = np.pad(x, ((dilation, dilation), (0, 0)))
        taps = names[f"{name}/0"][:, 0]
        return (
            sum(padded[i * dilation :][: len(x)] @ taps[i] for i in range(3)) + names[f"{name}/1"]
        )

    pitch = 69 + 12 * np.log2(f0_hz / 440)
    x = convolved(np.stack([loudness_db / 120 + 1, pitch / 127], axis=-1), "conv2d", 1)
    for i, dilation in enumerate((1, 2)):
        number = f"_{i}" if i else ""
        u = convolved(np.maximum(x, 0), f"dilated_conv/conv2d_{i + 1}", dilation)
        u = (u - u.mean()) / np.sqrt(u.var() + 1e-5)
        x = x + u * names[f"scale{number}"].ravel() + names[f"shift{number}"].ravel()
    return x @ names["dense0"] + names["dense1"]


def test_a_graph_becomes_an_instrument(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DDSPX_INSTRUMENTS", str(tmp_path / "library"))
    graph = small_graph()
    archive = zipped(tmp_path / "o.zip", graph.files())
    assert main(["instruments", "import", str(archive), "--name", "oboe"]) == 0
    assert "--to oboe" in capsys.readouterr().out
    model, statistics, provenance = load_instrument("oboe")
    config = model.config
    assert (config.sample_rate, config.hop_length, config.reverb) == (8000, 40, None)
    assert config.decoder.dilations == (1, 2) and config.decoder.window_frames == FRAMES
    assert (config.synthesizer.n_harmonics, config.synthesizer.n_magnitudes) == (3, 5)
    low, middle, high = (statistics.loudness_quantiles[i] for i in (0, 50, 100))
    np.testing.assert_allclose((low, middle, high), (-80, -60, -40))
    np.testing.assert_allclose(np.mean(statistics.loudness_quantiles), -60)
    assert loudness_of(statistics.feature_version) == "ddsp-2"
    assert method_of(statistics.feature_version) == "ddspx"
    assert provenance["imported"]["gain_of_the_page"] == 2
    assert describe_instrument("oboe").licence is None
    f0_hz = np.geomspace(200, 500, FRAMES).astype(np.float32)
    loudness_db = np.linspace(-110, -30, FRAMES).astype(np.float32)
    expected = graph_outputs(graph.weights, f0_hz.astype(float), loudness_db.astype(float))
    outputs = of_parts(lambda m, *x: m.decoder(m._inputs(*x, None)))(model, f0_hz, loudness_db)
    np.testing.assert_allclose(outputs, expected, atol=2e-5)


def test_quantized_weights_are_restored():
    entry = {"name": "a", "shape": [2], "dtype": "float32"}
    kinds = {"uint8": {"scale": 0.5, "min": -1}, "uint16": {"scale": 2, "min": 3}, "float16": {}}
    data = np.array([0, 200], np.uint8), np.array([1, 60_000], "<u2"), np.array([0.5, -2], "<f2")
    weights = [
        entry | {"name": kind, "quantization": {"dtype": kind, **options}}
        for kind, options in kinds.items()
    ]
    fields = {"weightsManifest": [{"paths": ["w", "x"], "weights": weights}]}
    fields["modelTopology"] = {"node": []}
    whole = b"".join(x.tobytes() for x in data)
    parts = {"w": whole[:3], "x": whole[3:]}
    restored = read_tfjs(json.dumps(fields).encode(), lambda name, most: parts[name]).weights
    for kind, expected in zip(kinds, ([-1, 99], [5, 120_003], [0.5, -2]), strict=True):
        assert restored[kind].dtype == np.float32
        np.testing.assert_allclose(restored[kind], expected)


def renamed(files, old, new):
    return files | {"model.json": files["model.json"].replace(old.encode(), new.encode())}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f | {"model.json": b"{}"}, "`modelTopology` of it is missing"),
        (lambda f: f | {"model.json": b"[" * 99_999}, "nested more than"),
        (lambda f: f | {"group1-shard1of1.bin": b""}, "end within the weight"),
        (lambda f: f | {"group1-shard1of1.bin": f["group1-shard1of1.bin"] + b"1"}, "1 bytes too"),
        (lambda f: renamed(f, "group1-shard1of1.bin", "../secret.bin"), r"lacks \.\./secret\.bin"),
        (lambda f: renamed(f, "float32", "string"), "must be float32, int32, bool"),
        (lambda f: renamed(f, "dilated_conv_decoder", "rnn_decoder"), "no decoder of dilated"),
        (lambda f: renamed(f, "loudness_db", "power_db"), "its decoder takes power_db"),
        (lambda f: {k: v for k, v in f.items() if k != "settings.json"}, "none of Google's four"),
        (lambda f: f | {"settings.json": b'{"meanLoudness": 1e999}'}, "settings.json of .* usable"),
    ],
)
def test_what_is_no_such_model_is_refused(change, sentence, tmp_path):
    folder = write(tmp_path / "oboe", change(small_graph().files()))
    with pytest.raises(ValueError, match=sentence) as refusal:
        read(folder)
    assert str(refusal.value).startswith((str(folder), f"settings.json of {folder}"))
    assert "\n" not in str(refusal.value)


def mutated(data, rng):
    """The data with bytes changed, cut out or doubled, or its end cut off."""
    place, count = int(rng.integers(len(data))), int(rng.integers(1, 9))
    kind = rng.integers(4)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + data[place + count :]
    if kind == 2:
        return data[:place] + data[max(0, place - count) :]
    changed = bytearray(data)
    for i in rng.integers(0, len(data), count):
        changed[i] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def without_models(whole, monkeypatch):
    """Makes the reader check arrays without a model, which would take most of the time.

    Returns a list that grows with each set of arrays that would be read.
    """
    weights = nnx.to_flat_state(nnx.state(whole))
    expected = {".".join(map(str, path)): x.shape for path, x in weights}
    read_right = []

    def with_arrays(build, arrays, path, again):
        if {name: x.shape for name, x in arrays.items()} != expected:
            raise ValueError(f"{path} holds other arrays; {again}.")
        read_right.append(build)
        return whole

    monkeypatch.setattr(_tone_transfer, "with_arrays", with_arrays)
    return read_right


def test_damaged_files_give_a_sentence_or_a_whole_model(tmp_path, rng, monkeypatch):
    """200 times: in each of the files, and in the archive of them."""
    files = small_graph().files()
    folder = write(tmp_path / "oboe", files)
    read_right = without_models(read(folder).model, monkeypatch)
    archive = zipped(tmp_path / "oboe.zip", files)
    names, packed, refused = list(files), archive.read_bytes(), 0
    for i in range(200):
        name = [*names, "oboe.zip"][i % 4]
        place = archive if name == "oboe.zip" else folder
        target = archive if name == "oboe.zip" else folder / name
        target.write_bytes(mutated(packed if name == "oboe.zip" else files[name], rng))
        try:
            read(place)
        except ValueError as error:
            refused += 1
            assert str(place) in str(error) and "\n" not in str(error)
        target.write_bytes(packed if name == "oboe.zip" else files[name])
    assert refused + len(read_right) == 200 and 100 < refused < 200


def test_extreme_weights_give_a_sentence_or_a_whole_model(tmp_path, monkeypatch):
    """Each of the weights and constants gets another number, shape or type."""
    folder = write(tmp_path / "oboe", small_graph().files())
    read_right, refused, graph = without_models(read(folder).model, monkeypatch), 0, small_graph()
    shapes = np.zeros(0, np.float32), np.ones((99, 1), np.float32), np.ones(3, np.bool_)
    for name, before in list(graph.weights.items()):
        is_int = before.dtype == np.int32
        numbers = (0, -1, 2**31 - 1) if is_int else (1e5, 1e-45, 3e38, np.nan)
        for value in (*shapes, *(np.full_like(before, x) for x in numbers)):
            graph.weights[name] = value
            write(folder, graph.files())
            try:
                read(folder)
            except ValueError as error:
                refused += 1
                sentence = str(error)
                assert sentence.startswith(str(folder)) and "\n" not in sentence, (name, value)
                assert len(sentence) < 500 and "broadcast" not in sentence, (name, value)
        graph.weights[name] = before
    assert refused > 100 and len(read_right) > 50


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (f"ConstantFolding/{ROOT}truediv_3_recip", 1e5, "in a range of 0 dB"),
        (f"ConstantFolding/{ROOT}truediv_3_recip", 1 / 300, "in a range of 300 dB"),
        (f"Func/{ROOT}conv2d/1", np.zeros(3), r"no convolution over the frames, but .* \(3,\)"),
        (f"{ROOT}dilated_conv_decoder/Const", np.int32([1, -3, 5]), "`n_harmonics`"),
        (f"{ROOT}dilated_conv_decoder/Const", np.zeros(10**6), "other outputs than"),
    ],
)
def test_a_constant_of_another_model_is_named(name, value, sentence, tmp_path):
    graph = small_graph()
    value = np.asarray(value)
    graph.weights[name] = value.astype(np.int32 if value.dtype.kind == "i" else np.float32)
    with pytest.raises(ValueError, match=f"not a readable Tone Transfer model .*{sentence}"):
        read(write(tmp_path / "oboe", graph.files()))


# The models of Google


@needs_models
def test_the_trumpet_equals_what_tensorflow_js_computed():
    model = read(DATA / "trumpet").model
    with np.load(DATA / "trumpet_golden.npz") as golden:
        f0_hz, loudness_db = golden["f0_hz"], golden["loudness_db"]
        parts = (
            golden["amplitude_output"][:, None],
            golden["harmonic_output"],
            golden["noise_output"],
        )
        expected = np.concatenate(parts, axis=-1)

    def played(model, f0_hz, loudness_db, expected):
        outputs = model.decoder(model._inputs(f0_hz, loudness_db, None))
        controls = model.synthesizer.controls(expected, f0_hz)
        noise = controls.noise._replace(magnitudes=0 * controls.noise.magnitudes)
        controls = controls._replace(noise=noise)
        return outputs, model.synthesizer(jax.random.key(0), controls, n_samples=79_999)

    outputs, audio = of_parts(played)(model, f0_hz, loudness_db, expected)
    # Both compute in float32: TensorFlow.js is up to 1.8e-5 off the same network in float64.
    assert np.abs(outputs - expected).max() < 4e-6 * np.abs(expected).max()
    reference = harmonics(expected.astype(np.float64), f0_hz.astype(np.float64))[:79_999]
    assert np.std(audio - reference) < 1e-4 * np.std(reference)


def harmonics(outputs, f0_hz):
    """The sum of the harmonics by its definition, in float64."""
    scaled = 2 * (1 / (1 + np.exp(-outputs[:, :61]))) ** np.log(10) + 1e-7
    number = np.arange(1, 61)
    amplitudes = np.where(f0_hz[:, None] * number < 8000, scaled[:, 1:], 0)
    amplitudes *= scaled[:, :1] / amplitudes.sum(axis=-1, keepdims=True)
    # A Hann window of two hops around each frame; the last frame is held.
    amplitudes = np.concatenate([amplitudes, amplitudes[-1:]])
    rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(64) / 64)
    blend = amplitudes[:-1, None] * (1 - rise)[:, None] + amplitudes[1:, None] * rise[:, None]
    pitch_hz = np.interp(np.arange(80_000) / 64, np.arange(1250), f0_hz)
    phase = 2 * np.pi * np.cumsum(pitch_hz / 16_000)
    audible = pitch_hz[:, None] * number < 8000
    return (blend.reshape(80_000, 60) * audible * np.sin(phase[:, None] * number)).sum(axis=-1)


@needs_models
@pytest.mark.parametrize(
    ("name", "mean_midi", "highest_db", "gain"),
    [
        ("violin", 62.0, -48.6, 2),
        ("trumpet", 68.6, -61.7, 1.5),
        ("flute", 63.2, -45.9, 4),
        ("tenor_saxophone", 58.9, -44.7, 0.9),
    ],
)
def test_all_models_are_known(name, mean_midi, highest_db, gain):
    model, statistics, provenance = read(DATA / name)
    assert model.config.decoder.dilations == 2 * (1, 2, 4, 8, 16, 32, 64, 128)
    assert statistics.pitch_midi_mean == mean_midi
    assert statistics.loudness_quantiles[-1] == pytest.approx(highest_db)
    assert provenance["imported"]["gain_of_the_page"] == gain
    assert provenance["data"]["licence"] == "Apache-2.0"
