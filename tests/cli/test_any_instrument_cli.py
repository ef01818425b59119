"""Recordings and mixtures as instruments from the command line, and `ddspx adapt`."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from toy_any_instrument import save_toy_any_instrument, ship
from toy_instrument import SAMPLE_RATE, tone

from ddspx import io
from ddspx.cli import _evaluate, main
from ddspx.cli._adapt import _say_if_unchanged
from ddspx.instruments import load_instrument
from ddspx.nn import TimbreEncoder
from ddspx.training import Best, TrainResult


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_toy_any_instrument(tmp_path_factory.mktemp("shipped") / "any_instrument")


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Runs a command line with the toy in place of what ships; returns status, stdout, stderr."""
    ship(monkeypatch, folder)

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture(scope="module")
def kazoo(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "kazoo.wav"
    io.write_audio(path, tone(6.0, f0_hz=330.0), sample_rate=SAMPLE_RATE)
    return path


@pytest.mark.slow
def test_a_recording_is_played_on_another_and_on_mixtures(run, recording, kazoo, tmp_path):
    sounds = {}
    for name, to in (
        ("kazoo", kazoo),
        ("voice", "voice"),
        ("end", "voice+flute:0"),
        ("between", "voice+flute:0.5"),
        ("both", f"{kazoo}:0.5+voice"),
    ):
        status, _, said = run("transfer", recording, "--to", to, "-o", tmp_path / f"{name}.wav")
        assert (status, said) == (0, "")
        sounds[name], rate = soundfile.read(tmp_path / f"{name}.wav")
        assert rate == SAMPLE_RATE and sounds[name].size == SAMPLE_RATE
        assert np.abs(sounds[name]).max() > 1e-4
    np.testing.assert_array_equal(sounds["voice"], sounds["end"])
    for name in ("kazoo", "between", "both"):
        assert not np.array_equal(sounds[name], sounds["voice"])


@pytest.mark.parametrize(
    ("to", "sentence"),
    [
        ("violin+oboe", "no timbre or recording 'oboe'"),
        ("violin+flute:1.2", "'flute' must be from 0 to 1, got 1.2"),
        ("violin:0.5+flute:0.2", "add up to 0.7, not to 1"),
        ("RECORDING", "a clear pitch was found in 1.0 s of 1.0 s, and 3 s are needed"),
        ("SILENCE", "silent from end to end"),
        ("any_instrument", "no instrument by itself"),
    ],
)
def test_what_cannot_be_an_instrument_is_said_in_a_line(run, recording, tmp_path, to, sentence):
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(4 * SAMPLE_RATE), SAMPLE_RATE)
    to = {"RECORDING": recording, "SILENCE": silence}.get(to, to)
    status, out, said = run("transfer", recording, "--to", to, "-o", tmp_path / "no.wav")
    assert (status, out) == (2, "") and len(said.splitlines()) == 1 and sentence in said
    assert [path.name for path in tmp_path.iterdir()] == ["silence.wav"]


def test_no_output_replaces_a_recording_of_the_instrument(run, recording, kazoo):
    before = kazoo.read_bytes()
    again = kazoo.parent / "." / kazoo.name
    for to in (kazoo, f"{kazoo}:0.5+voice", f"voice + {kazoo}"):
        for command in (("transfer", recording, "--to", to), ("instruments", "room", to)):
            status, out, said = run(*command, "-o", again)
            assert (status, out) == (2, "") and "is a recording of the instrument" in said
    assert kazoo.read_bytes() == before


def test_the_model_of_any_instrument_is_measured_by_its_folder(run, folder, monkeypatch):
    """Only the network is looked at here; tests of `ddspx evaluate` have its numbers."""
    loaded, _ = _evaluate._loaded(str(folder))
    assert isinstance(loaded.encoder, TimbreEncoder)
    kept = []
    measures = dict.fromkeys(_evaluate._COLUMNS, SimpleNamespace(value=1.0))
    row = SimpleNamespace(n_examples=1, **measures)
    monkeypatch.setattr(_evaluate, "_loaded", lambda model: (None, None))
    monkeypatch.setattr(_evaluate, "_table", lambda *_: "")
    monkeypatch.setattr(_evaluate, "_plain", lambda _: [])
    monkeypatch.setattr(_evaluate.training, "evaluate_autoencoder", lambda *_, **__: [row])
    monkeypatch.setattr(_evaluate.instruments, "store_scores", lambda name, _: kept.append(name))
    for model in (str(folder), "Violin", "violin", "violin+flute", 300 * "x"):
        _evaluate._scores(model, folder, "test", False, 0, None)
    assert kept == [str(folder), "Violin", "violin"]


def test_the_list_names_the_timbres_and_not_their_model(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, text, _ = run("instruments")
    assert status == 0 and "Its timbres: violin, flute, voice" in " ".join(text.split())
    assert "any_instrument" not in text


@pytest.mark.slow
def test_a_model_is_adapted_listed_and_played(run, recording, kazoo, tmp_path, monkeypatch):
    pytest.importorskip("grain", reason="the train extra is not installed")
    monkeypatch.setenv("DDSPX_INSTRUMENTS", str(tmp_path / "library"))
    monkeypatch.setenv("COLUMNS", "80")
    output = tmp_path / "my-kazoo"
    arguments = ["adapt", kazoo, "-o", output, "--steps", 2, "--batch-size", 1, "--rank", 2]
    arguments += ["--decoder-after", 1, "--licence", "CC0-1.0", "--attribution", "Who hummed"]
    status, text, said = run(*arguments)
    assert (status, said) == (0, "")
    ending = " ".join(text.split())
    assert "Of 6.0 s, 4.0 s were trained on, and 2.0 s chose the step" in ending
    assert f"Play it with --to {output}" in ending and "Only the timbre" not in ending
    provenance = json.loads((output / "provenance.json").read_text())
    assert provenance["started_from"]["name"] == "any_instrument"
    assert run("instruments", "add", output)[0] == 0
    text = run("instruments")[1].partition("Your own")[2]
    assert "1 files, 4 s" in text
    assert "my-kazoo: Who hummed; Who played the violin" in " ".join(text.split())
    digest = provenance["started_from"]["weights_sha256"][:12]
    assert f"my-kazoo: adapted from any_instrument {digest}" in text
    assert run("transfer", recording, "--to", "my-kazoo", "-o", tmp_path / "played.wav")[0] == 0
    assert load_instrument("my-kazoo").model.reverb is not None
    # The same command goes on where it ended: here, there is nothing left to do.
    assert "resuming from step 2" in run(*arguments)[1]
    status, _, said = run("adapt", kazoo, "-o", tmp_path / "x", "--start", tmp_path / "no")
    assert status == 2 and "no model of any instrument in" in said


@pytest.mark.parametrize(
    ("best", "step", "finished", "words"),
    [
        (101, 300, True, ""),
        (50, 300, True, "did not fit the recordings better"),
        (20, 20, True, "take more --steps"),
        (50, 60, False, "the run has not come that far"),
    ],
)
def test_the_ending_says_why_the_decoder_is_not_adapted(capsys, best, step, finished, words):
    _say_if_unchanged(TrainResult(step, Best(best, 1.0), finished), 100)
    said = " ".join(capsys.readouterr().out.split())
    assert words in said and bool(said) == bool(words)


@pytest.mark.parametrize(
    ("where", "words"), [("", "no recording is given"), ("empty", "no usable")]
)
def test_nothing_to_adapt_to_is_a_line_and_leaves_nothing(run, tmp_path, where, words):
    pytest.importorskip("grain", reason="the train extra is not installed")
    (tmp_path / "empty").mkdir()
    given = [tmp_path / where] if where else []
    status, out, said = run("adapt", *given, "-o", tmp_path / "bad")
    assert (status, out) == (2, "") and len(said.splitlines()) == 1 and words in said
    assert "shorter" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
