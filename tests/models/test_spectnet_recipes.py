"""What recordings suggest, a config for them, and what a file is."""

import numpy as np
import pytest
from flax import nnx
from labelled_data import LABELS, sound, toy_model, write_sounds

from ddspx import io
from ddspx.models.spectnet import (
    SpectNet,
    SpectNetConfig,
    classify_file,
    classify_files,
    recipes,
    segment_logits,
    suggested_sample_rate,
    suggested_segment_s,
    vote_mean_probability,
)


def recordings(folder, *rates_and_seconds):
    found = []
    for i, (rate, seconds) in enumerate(rates_and_seconds):
        path = folder / f"{i}.wav"
        io.write_audio(path, np.ones(round(rate * seconds)), sample_rate=rate)
        found.append(io.Recording(path, path.name, "a", "train", path.name))
    return found


def test_the_default_rate_is_the_most_common_one_up_to_16_khz(tmp_path):
    assert suggested_sample_rate(recordings(tmp_path, (8000, 1), (8000, 1), (48_000, 1))) == 8000
    assert suggested_sample_rate(recordings(tmp_path, (8000, 1), (48_000, 1))) == 16_000
    (tmp_path / "0.wav").write_text("")
    assert suggested_sample_rate(recordings(tmp_path)) == 16_000


def test_the_default_segment_is_as_long_as_nine_of_ten_recordings(tmp_path):
    lengths = [0.1 * i for i in range(1, 12)]
    found = recordings(tmp_path, *((1000, seconds) for seconds in lengths))
    assert suggested_segment_s(found) == 1.0
    assert suggested_segment_s(recordings(tmp_path, (1000, 60))) == 2.5
    assert suggested_segment_s(recordings(tmp_path, (1000, 0.01))) == 0.1
    assert suggested_segment_s([]) == 2.5


def test_a_config_for_recordings_is_that_of_the_command(tmp_path, monkeypatch):
    from ddspx.cli import main

    asked = {}
    monkeypatch.setattr("ddspx.cli._classify.print_ending", lambda *_: None)
    monkeypatch.setattr(
        "ddspx.training.train_classifier", lambda *_, model, **__: asked.update(m=model)
    )
    sounds = write_sounds(tmp_path / "sounds", each=6)
    recordings = io.labelled_recordings(sounds)
    for line, options in {
        "": {},
        "--front-end mfcc --bands 20 --segment-s 0.3 --dropout 0": {
            "front_end": "mfcc", "n_bands": 20, "segment_s": 0.3, "dropout": 0.0
        },
        "--preset spectnet-64 --sample-rate 2000 --hop-ms 5 --blocks 2 --channels 4 --fmin 30": {
            "preset": "spectnet-64", "sample_rate": 2000, "hop_ms": 5.0,
            "n_blocks": 2, "channels": 4, "fmin": 30.0,
        },
    }.items():  # fmt: skip
        assert (
            main(["classify", "train", str(sounds), "-o", str(tmp_path / "m"), *line.split()]) == 0
        )
        assert SpectNetConfig.for_recordings(recordings, **options) == asked["m"]
    assert asked["m"].labels == LABELS and asked["m"].frontend.hop_length == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"front_end": "mfcc", "n_bands": 8}, "`n_bands` must be at least 13 with mfcc, got 8"),
        ({"hop_ms": 0.0}, "`hop_ms` must be at least one sample"),
        ({"segment_s": 601.0}, "`segment_s` must be above 0 and at most 600, got 601.0"),
        ({"n_blocks": 5}, "`n_blocks` must be 1 to 4, got 5"),
    ],
)
def test_wrong_recipes_are_refused(options, message, tmp_path):
    one, other = recordings(tmp_path, (8000, 1), (8000, 1))
    with pytest.raises(ValueError, match=message):
        SpectNetConfig.for_recordings([one, other._replace(label="b")], **options)


def test_unknown_names_are_refused():
    options = {"sample_rate": 8000, "hop_ms": 10.0, "n_bands": 8, "fmin": None}
    with pytest.raises(ValueError, match=r"`front_end` must be one of 'gammatone', .*'chroma'"):
        recipes.named_frontend.__wrapped__("chroma", **options)
    with pytest.raises(ValueError, match=r"`preset` must be one of 'spectnet-4', .*'spectnet-5'"):
        recipes.preset_sizes.__wrapped__("spectnet-5")


def test_the_label_of_a_file_is_the_vote_of_its_segments(tmp_path):
    model = SpectNet(toy_model(), rngs=nnx.Rngs(0))
    rate = model.config.frontend.sample_rate
    paths = []
    for i, label in enumerate(LABELS):
        paths.append(tmp_path / f"{label}.wav")
        io.write_audio(paths[-1], np.tile(sound(label, i), 3 + i), sample_rate=rate)
    sounds = [io.read_audio(path, sample_rate=rate) for path in paths]
    expected = [vote_mean_probability(x) for x in segment_logits(model, sounds)]
    for path, vote in zip(paths, expected, strict=True):
        label, probability, probabilities = classify_file(model, path)
        assert label == LABELS[vote.index] == next(iter(probabilities))
        assert probability == pytest.approx(vote.shares.max(), abs=1e-6)
        assert list(probabilities.values()) == sorted(probabilities.values(), reverse=True)
        shares = [probabilities[name] for name in LABELS]
        np.testing.assert_allclose(shares, vote.shares, atol=1e-6)
    (tmp_path / "bad.wav").write_text("no sound")
    reports, left = [], []
    found = list(
        classify_files(
            model,
            [str(paths[0]), str(tmp_path / "bad.wav"), str(paths[1])],
            report=lambda path, error: left.append((path, type(error))),
            progress=lambda *now: reports.append(now),
        )
    )
    assert [path for path, _ in found] == [str(paths[0]), str(paths[1])]
    assert left == [(str(tmp_path / "bad.wav"), io.AudioError)]
    assert reports == [("listening", done, 3) for done in range(3)]
    with pytest.raises(io.AudioError, match=r"bad\.wav"):
        classify_file(model, tmp_path / "bad.wav")
