"""The scores of each way of deciding, and the recordings that a classifier may be tested on."""

from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from labelled_data import LABELS, RATE, toy_model, write_sounds

from ddspx import io
from ddspx.models.spectnet import SpectNet, segment_logits, vote_majority
from ddspx.training import evaluate_classifier, recordings_to_test


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """An untrained model, which is often wrong, and recordings of two sessions."""
    folder = write_sounds(tmp_path_factory.mktemp("data") / "sounds", each=6)
    recordings = [
        recording._replace(group=f"session {i % 2}")
        for i, recording in enumerate(io.labelled_recordings(folder))
    ]
    model = SpectNet(toy_model(), rngs=nnx.Rngs(1))
    return model, recordings, evaluate_classifier(model, recordings)


def test_segments_and_votes_are_counted_as_defined(evaluated):
    model, recordings, found = evaluated
    sounds = [io.read_audio(recording.path, sample_rate=RATE) for recording in recordings]
    targets = [LABELS.index(recording.label) for recording in recordings]
    logits = list(segment_logits(model, sounds))
    segments = [np.mean(each.argmax(-1) == t) for each, t in zip(logits, targets, strict=True)]
    sizes = [len(each) for each in logits]
    assert len(set(sizes)) > 1
    expected = {
        "segments": np.average(segments, weights=sizes),
        "majority": np.mean([vote_majority(each).index for each in logits] == np.array(targets)),
        "mean_probability": np.mean(found.probabilities.argmax(-1) == targets),
    }
    for name, accuracy in expected.items():
        assert found.scores[name].accuracy.value == pytest.approx(accuracy)
        by_group = [scores for _, scores in found.groups[name]]
        assert [group for group, _ in found.groups[name]] == ["session 0", "session 1"]
        assert sum(scores.confusion for scores in by_group).tolist() == (
            found.scores[name].confusion.tolist()
        )
    assert found.scores["segments"].n_examples == sum(sizes)
    np.testing.assert_allclose(found.probabilities.sum(-1), 1, rtol=1e-6)


def test_groups_are_reported_only_if_they_hold_several_recordings(evaluated):
    model, recordings, _ = evaluated
    alone = [recording._replace(group=recording.name) for recording in recordings[:3]]
    assert evaluate_classifier(model, alone).groups["segments"] == ()


def test_a_bad_recording_is_raised_or_reported(evaluated, tmp_path):
    model, recordings, _ = evaluated
    (tmp_path / "bad.wav").write_text("no sound")
    bad = io.Recording(tmp_path / "bad.wav", "bad.wav", "low", "test", "bad.wav")
    with pytest.raises(io.AudioError, match=r"bad.wav cannot be read"):
        evaluate_classifier(model, [recordings[0], bad])
    said = []
    found = evaluate_classifier(model, [bad, recordings[0]], report=said.append)
    assert found.recordings == (recordings[0],) and len(said) == 1
    with pytest.raises(io.AudioError, match="None of the recordings can be read"):
        evaluate_classifier(model, [bad], report=said.append)


def named(name, split, sha256):
    return io.Recording(Path(name), name, "low", split, name, sha256)


def test_the_parts_of_a_collection_follow_the_training_data():
    provenance = {"data": {"sha256": {"train": ["1"], "valid": ["2"]}}}
    recordings = [named("a", "train", "1"), named("b", "", "2"), named("c", "train", "3")]
    recordings += [named("d", "test", "4"), named("e", "", "")]

    def names(part):
        return "".join(r.name for r in recordings_to_test(recordings, provenance, part=part))

    # Recordings are recognized by their contents. A new file of a speaker in the training counts as
    # used in training, too.
    assert names("unheard") == "cde"
    provenance["data"]["groups"] = ["d"]
    assert names("unheard") == "ce"
    with pytest.raises(io.DatasetError, match="but the model was trained on its group 'd'"):
        names("test")
    provenance["data"]["groups"] = ["other"]
    assert (names("train"), names("test"), names("all")) == ("ac", "d", "abcde")
    with pytest.raises(io.DatasetError, match="no recording in the part 'valid'"):
        names("valid")
    with pytest.raises(io.DatasetError, match="There is no unheard recording"):
        recordings_to_test(recordings[:2], provenance)
    with pytest.raises(
        io.DatasetError, match="f is in the test split, but the model was trained on it"
    ):
        recordings_to_test([named("f", "test", "2")], provenance, part="test")
    assert len(recordings_to_test(recordings, {})) == 5
    for damaged in (None, {"sha256": []}, {"sha256": {"train": 3}}, {"groups": [{}]}):
        with pytest.raises(ValueError, match=r"model's provenance must .* Copy the whole"):
            recordings_to_test(recordings, {"data": damaged})
    # Two recordings without a hash are not taken for the same recording.
    provenance["data"]["sha256"]["train"] = [""]
    assert names("unheard") == "acde"
