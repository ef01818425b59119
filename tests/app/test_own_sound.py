"""A sound of one's own as the instrument, on a page."""

import numpy as np
import pytest
from app_events import UNUSABLE, names, result_of
from bad_recordings import write_samples
from toy_any_instrument import save_toy_any_instrument, ship
from toy_instrument import SAMPLE_RATE, tone

from ddspx import io
from ddspx._progress import no_progress
from ddspx.app import _handlers, _job
from ddspx.instruments import load_instrument
from ddspx.nn import StoredTimbre


@pytest.fixture(autouse=True, scope="module")
def model(tmp_path_factory):
    folder = save_toy_any_instrument(tmp_path_factory.mktemp("shipped") / "any_instrument")
    with pytest.MonkeyPatch.context() as patch:
        ship(patch, folder)
        yield folder


@pytest.fixture
def sound(files):
    """Five seconds, uploaded."""
    path = files.place("<b>My kazoo.flac")
    io.write_audio(path, tone(5.0), sample_rate=SAMPLE_RATE)
    return path


def heard(sessions, path, *, session="page", progress=no_progress):
    return sessions.hear(None if path is None else str(path), session=session, progress=progress)


def test_a_sound_is_an_instrument_of_its_page(sessions, sound, recording, files, monkeypatch):
    told, played = [], []

    def stand_in(recording, output, *, to, config, progress):
        played.append((load_instrument(to).model, output.name))
        raise ValueError("that is enough.")

    monkeypatch.setattr(_job, "transfer", stand_in)
    message, own = heard(sessions, sound, progress=lambda what, *_: told.append(what))
    assert message == "" and own.name == "b_My_kazoo"
    assert len(told) == 1 and told[0].startswith("Listening to your sound")
    assert sessions.own(session="page") == [(own, "your sound")]
    story = sessions.describe(str(own), session="page")
    assert story == "Plays from A3 to A3, as heard in 5.0 seconds of &lt;b&gt;My kazoo.flac."
    assert "that is enough" in result_of(sessions, recording, own)[0]
    [(network, name)] = played
    assert isinstance(network.encoder, StoredTimbre) and name == "tone on b_My_kazoo.wav"
    # It is this page's alone, and goes with its sound.
    assert "There is no instrument" in result_of(sessions, recording, own, session="other")[0]
    assert sessions.own(session="other") == []
    again = files.place("voice.wav")
    io.write_audio(again, tone(5.0, f0_hz=330.0), sample_rate=SAMPLE_RATE)
    _, other = heard(sessions, again)
    assert not own.exists() and not sound.exists() and other.name == "voice"
    assert sessions.describe(str(other), session="page").startswith("Plays from E4 to E4")
    assert "There is no instrument" in sessions.describe(str(own), session="page")
    assert heard(sessions, None) == ("", None)
    assert not other.exists() and sessions.own(session="page") == []


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        *UNUSABLE.values(),
        (write_samples(tone(2.0)), "clear pitch was found in 2.0 s of 2.0 s, and 3 s are needed"),
        (write_samples(0.1 * np.random.default_rng(0).standard_normal(65_000)), "was found in 0.0"),
    ],
    ids=[*UNUSABLE, "two-seconds", "noise"],
)
def test_an_unusable_sound_gives_a_sentence_and_no_instrument(
    make, complaint, sessions, files, folder
):
    path = files.place("<b>mine.wav")
    make(path)
    said, own = heard(sessions, path)
    assert own is None and complaint in said and said.count('role="alert"') == 1
    assert "&lt;b&gt;mine.wav" in said and str(folder) not in said and "Traceback" not in said
    heard(sessions, None)
    assert names(folder) == [] and not any(folder.iterdir())


def test_two_voices_are_an_instrument_with_a_remark(sessions, files, folder):
    path = files.place("duet.wav")
    write_samples(0.5 * tone(5.0) + 0.5 * tone(5.0, f0_hz=311.0))(path)
    said, own = heard(sessions, path)
    assert own is not None and said.startswith('<p class="remark" role="status">duet.wav has more')
    assert "%" in said and str(folder) not in said


def test_a_page_that_is_closed_meanwhile_keeps_nothing(sessions, sound, folder, monkeypatch):
    hear = _handlers.hear

    def closing(*arguments, **options):
        remarks = hear(*arguments, **options)
        sessions.close(session="page")
        return remarks

    monkeypatch.setattr(_handlers, "hear", closing)
    assert heard(sessions, sound) == ("", None)
    assert not any(folder.iterdir())


def test_without_the_model_a_sound_gives_a_sentence(sessions, sound, tmp_path, monkeypatch):
    ship(monkeypatch, tmp_path / "any_instrument")
    said, own = heard(sessions, sound)
    assert own is None and "missing from this copy of ddspx" in said


def test_only_a_model_of_one_instrument_is_offered(model):
    for name in ("violin+flute:0.3", "cello.wav", 300 * "x"):
        with pytest.raises(FileNotFoundError, match="a sound of your own is chosen on the page"):
            _job.check_model(name)
    with pytest.raises(ValueError, match="plays with a timbre: adapt it"):
        _job.check_model(str(model))
    _job.check_model("Violin")
