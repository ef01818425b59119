import json
import re
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from helpers import noise
from modules import of_parts

from ddspx.models import spectnet
from ddspx.models.spectnet import (
    SpectNet,
    SpectNetConfig,
    load_spectnet,
    normalize_level,
    save_spectnet,
    segments,
    vote_majority,
    vote_mean_probability,
)
from ddspx.nn import FrontendConfig

EAR = FrontendConfig(sample_rate=1000, hop_length=20, n_fft=64, win_length=50, n_bands=6)
SIZES = {"segment_frames": 6, "n_blocks": 1, "channels": 2, "hidden": 4}
AS_IT_IS = SpectNetConfig(EAR, ("a", "b"), normalize_level=False, **SIZES)
LEVEL = SpectNetConfig(EAR, ("a", "b"), **SIZES)


# segments


@pytest.mark.parametrize("n_samples", [100, 101, 150, 199, 200, 201, 1234])
def test_segments_cover_every_sample_and_are_as_few_as_possible(n_samples):
    audio = np.arange(n_samples, dtype=np.float32)
    cut = segments(audio, AS_IT_IS)
    assert cut.shape == (-(-n_samples // 100), 100)
    np.testing.assert_array_equal(np.unique(cut), audio)
    np.testing.assert_array_equal(np.diff(cut, axis=-1), 1)
    assert cut[0, 0] == 0 and cut[-1, -1] == n_samples - 1
    distances = np.diff(cut[:, 0])
    assert distances.size == 0 or np.ptp(distances) <= 1


def test_a_short_recording_lies_between_silences():
    cut = segments(1 + np.arange(31, dtype=np.float32), AS_IT_IS)
    np.testing.assert_array_equal(cut, np.pad(1 + np.arange(31), (34, 35))[None])


@pytest.mark.parametrize("gain", [1e-3, 1.0, 40.0])
def test_the_level_of_the_whole_recording_is_normalized(gain):
    audio = (np.linspace(0, 1, 350) * noise(350)).astype(np.float32)
    levelled = normalize_level(np.float32(gain) * audio)
    assert levelled.dtype == np.float32
    np.testing.assert_allclose(np.sqrt(np.mean(levelled**2)), 0.1, rtol=1e-5)
    np.testing.assert_allclose(levelled, 0.1 * audio / np.sqrt(np.mean(audio**2)), rtol=1e-4)
    # The level of the recording is normalized, not that of each segment: quiet passages stay quiet.
    np.testing.assert_array_equal(segments(audio, LEVEL)[0], normalize_level(audio)[:100])
    np.testing.assert_array_equal(segments(audio, AS_IT_IS)[0], audio[:100])


def test_silence_is_not_changed_and_empty_audio_is_refused():
    assert not np.any(segments(np.zeros(50, np.float32), LEVEL))
    with pytest.raises(ValueError, match="`audio` must hold at least one sample"):
        segments(np.zeros(0, np.float32), LEVEL)


# votes


def log(*rows):
    return np.log(np.array(rows))


def test_most_segments_or_the_mean_probability_decide():
    logits = log([0.6, 0.4, 1e-9], [0.6, 0.4, 1e-9], [0.05, 0.95, 1e-9])
    majority, mean = vote_majority(logits), vote_mean_probability(logits)
    assert (majority.index, mean.index) == (0, 1)
    np.testing.assert_allclose(majority.shares, [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(mean.shares, [1.25 / 3, 1.75 / 3, 0], atol=1e-8)
    # Logits are defined up to a constant, and may be large.
    shifted = vote_mean_probability(logits + np.array([[900.0], [-900.0], [3.0]]))
    np.testing.assert_allclose(shifted.shares, mean.shares, atol=1e-12)


def test_a_tie_of_segments_goes_to_the_greater_mean_probability_then_to_the_first():
    tied = vote_majority(log([0.6, 0.4, 1e-9], [0.2, 0.8, 1e-9]))
    assert tied.index == 1
    # The third label has the greatest mean probability, but no segment.
    none = log([0.51, 1e-9, 0.49], [1e-9, 0.51, 0.49])
    assert vote_mean_probability(none).index == 2
    assert vote_majority(none).index == 0
    assert vote_mean_probability(np.zeros((2, 3))).index == 0


def test_votes_without_segments_or_of_a_broken_model_are_refused():
    for vote in (vote_majority, vote_mean_probability):
        with pytest.raises(ValueError, match="`logits` must hold at least one segment"):
            vote(np.zeros((0, 2)))
        with pytest.raises(ValueError, match="`logits` must be finite"):
            vote(np.array([[0.0, np.nan]]))


# folders


def test_a_saved_model_is_loaded_with_its_batch_statistics(tmp_path):
    model = SpectNet(LEVEL, rngs=nnx.Rngs(3))
    statistics = nnx.state(model, nnx.BatchStat)
    numbers = nnx.to_pure_dict(statistics)
    numbers["classifier"]["first_norm"]["mean"] += 0.5
    nnx.replace_by_pure_dict(statistics, numbers)
    nnx.update(model, statistics)
    save_spectnet(tmp_path / "model", model, provenance={"data": "toy"})
    loaded, provenance = load_spectnet(tmp_path / "model")
    assert loaded.config == LEVEL
    assert provenance == {"data": "toy"}
    saved = nnx.to_pure_dict(nnx.state(model))
    restored = nnx.to_pure_dict(nnx.state(loaded))
    assert restored["classifier"]["first_norm"]["mean"][0] == 0.5
    for name in ("frontend", "classifier"):
        assert str(saved[name]) == str(restored[name])


def test_folders_that_are_not_model_folders_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no model folder .*absent"):
        load_spectnet(tmp_path / "absent")
    folder = tmp_path / "model"
    save_spectnet(folder, SpectNet(LEVEL, rngs=nnx.Rngs(0)), provenance={})
    (folder / "sha256.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    del config["labels"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config.json is not usable: .* is missing `labels`"):
        load_spectnet(folder)
    config["labels"] = ["a", "b", "c"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match=r"weights.safetensors holds `classifier.bias` as .*\(2,\)"
    ):
        load_spectnet(folder)
    (folder / "provenance.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks provenance\.json"):
        load_spectnet(folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "diary.txt").write_text("")
    with pytest.raises(ValueError, match="exists and is not a model folder"):
        save_spectnet(other, SpectNet(LEVEL, rngs=nnx.Rngs(0)), provenance={})


# documents


def test_the_python_in_the_readme_runs(monkeypatch):
    # Without `of_parts`, the code in the README would compile a hundred operations one by one.
    monkeypatch.setattr(SpectNet, "__call__", of_parts(SpectNet.__call__))
    text = (Path(spectnet.__file__).parent / "README.md").read_text()
    names = {}
    for code in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        exec(compile(code, "README.md", "exec"), names)
    assert names["logits"].shape == (3, 2)
    assert names["label"] in ("normal", "abnormal") and 0.5 <= names["probability"] <= 1
