"""Adaptation to a recording: it fits better, changes little, resumes bit for bit."""

import dataclasses
import shutil
from io import StringIO

import jax
import numpy as np
import pytest
from flax import nnx
from rich.console import Console
from toy_instrument import toy_model
from training_data import HOP, SAMPLE_RATE, glide, small_model

from ddspx import io
from ddspx.instruments import describe_instrument, recorded_timbre
from ddspx.models._weights import weights_sha256
from ddspx.models.autoencoder import load_autoencoder, with_timbre
from ddspx.nn import FrontendConfig, StoredTimbreConfig, TapReverbConfig, TimbreEncoderConfig
from ddspx.training import AdaptationConfig, adapt, evaluate_autoencoder

pytest.importorskip("grain", reason="the train extra is not installed")

LISTENING = FrontendConfig.learnable(
    sample_rate=SAMPLE_RATE, hop_length=160, n_fft=512, win_length=400, n_bands=8
)
MODEL = small_model(encoder=TimbreEncoderConfig(LISTENING, HOP, channels=6, z_size=3))


@pytest.fixture(scope="module")
def model():
    return toy_model(MODEL)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("heard") / "glide.wav"
    io.write_audio(path, glide(8).audio, sample_rate=SAMPLE_RATE)
    return path


def run(model, recordings, output, *, console=None, **changes):
    settings = {"steps": 40, "batch_size": 2, "evaluate_every": 20, "decoder_after": 10, "rank": 2}
    return adapt(
        recordings,
        output,
        model=model,
        room=TapReverbConfig(40),
        config=AdaptationConfig(**settings | changes),
        origin={"name": "any"},
        console=console or Console(quiet=True),
    )


@pytest.fixture(scope="module")
def adapted(model, recording, tmp_path_factory):
    output = tmp_path_factory.mktemp("adapted") / "mine"
    return run(model, [recording], output), output


def test_it_fits_the_recording_better_and_is_a_model_like_any(model, adapted):
    result, output = adapted
    assert result.finished and result.best.loss is not None
    fitted, statistics, provenance = load_autoencoder(output)
    assert isinstance(fitted.config.encoder, StoredTimbreConfig)
    assert 3 < statistics.duration_s < 8
    assert provenance["data"]["sources"][0]["name"] == "glide.wav"
    assert provenance["started_from"] == {"weights_sha256": weights_sha256(model), "name": "any"}
    assert describe_instrument(output).adapted_from == f"any {weights_sha256(model)[:12]}"
    dataset = output.with_name("mine.run") / "dataset"
    unfitted = with_timbre(model, np.asarray(fitted.encoder.embedding[...]))
    losses = [
        evaluate_autoencoder(each, dataset, split="valid")[0].spectral_loss.value
        for each in (fitted, unfitted)
    ]
    assert losses[0] < 0.95 * losses[1]


def test_each_matrix_changes_by_its_rank_and_nothing_else_does(model, adapted):
    fitted = load_autoencoder(adapted[1])[0]
    before, after = (
        nnx.to_pure_dict(nnx.state(part, nnx.Param)) for part in (model.decoder, fitted.decoder)
    )
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        change = np.asarray(new, np.float64) - np.asarray(old, np.float64)
        if old.ndim == 2 and min(old.shape) > 2:
            sizes = np.linalg.svd(change, compute_uv=False)
            assert sizes[1] > 0 and sizes[2] < 1e-5 * max(1, sizes[0])
        else:
            assert not np.any(change)


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_run_bit_for_bit(model, recording, adapted, tmp_path):
    run(model, [recording], tmp_path / "again", steps=20)
    run(model, [recording], tmp_path / "again")
    name = "weights.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (adapted[1] / name).read_bytes()


@pytest.mark.parametrize("damaged", ["shard", "manifest"])
def test_a_damaged_dataset_is_prepared_again(model, recording, adapted, tmp_path, damaged):
    output = tmp_path / "mine"
    for suffix in ("", ".run"):
        shutil.copytree(adapted[1].with_name(f"mine{suffix}"), tmp_path / f"mine{suffix}")
    dataset = tmp_path / "mine.run" / "dataset"
    (path, *_) = sorted(dataset.glob("train*.f32" if damaged == "shard" else "*.json"))
    whole = path.read_bytes()
    flipped = whole[:9] + bytes([whole[9] ^ 1]) + whole[10:]
    path.write_bytes(flipped if damaged == "shard" else b"")
    said = Console(file=StringIO())
    assert run(model, [recording], output, console=said) == adapted[0]
    assert "preparing the recordings again: " in said.file.getvalue()
    assert path.read_bytes() == whole


def test_other_recordings_cannot_resume_a_run(model, recording, adapted, tmp_path):
    other = tmp_path / "other.wav"
    io.write_audio(other, glide(7).audio, sample_rate=SAMPLE_RATE)
    with pytest.raises(ValueError, match="made from other recordings"):
        run(model, [other], adapted[1])
    with pytest.raises(ValueError, match=r"other recordings \(other\.wav\)"):
        run(model, [recording, other], adapted[1])
    # A file that cannot be used was skipped at first, and may be there when the run is resumed.
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(recording, folder)
    (folder / "notes.wav").write_text("no sound")
    assert run(model, [folder], adapted[1]).finished


def test_it_starts_with_the_timbre_that_a_recording_is_played_with(model, recording, tmp_path):
    kept = run(model, [recording], tmp_path / "begun", steps=1, learning_rate=1e-12)
    assert kept.finished
    fitted = load_autoencoder(tmp_path / "begun")[0]
    played = recorded_timbre(recording, model).embedding
    np.testing.assert_allclose(fitted.encoder.embedding[...], played, atol=1e-6)


def test_nothing_is_held_out_but_what_chooses_the_weights(adapted):
    splits = io.read_manifest(adapted[1].with_name("mine.run") / "dataset").splits
    assert [splits[name].n_examples for name in ("train", "valid", "test")] == [3, 1, 0]


def test_what_cannot_be_adapted_is_refused_before_anything_is_written(model, recording, tmp_path):
    with pytest.raises(ValueError, match="cannot listen to an instrument"):
        run(toy_model(small_model()), [recording], tmp_path / "refused")
    for name in ("rank", "decoder_after"):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            dataclasses.replace(AdaptationConfig(), **{name: -1})
    short = recording.with_name("short.wav")
    io.write_audio(short, glide(2).audio, sample_rate=SAMPLE_RATE)
    with pytest.raises(io.AudioError, match=r"short\.wav has too little pitch.* 3 s are needed"):
        run(model, [short], tmp_path / "refused")
    assert not list(tmp_path.iterdir())
