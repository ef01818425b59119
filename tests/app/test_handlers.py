"""The handlers of the page's events, called without a page."""

import base64
import dataclasses
import io as byte_io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from app_events import DEFAULTS, UNUSABLE, names, result_of, values_with
from bad_recordings import write_text
from tone_transfer_graph import small_graph
from toy_instrument import SAMPLE_RATE, tone

from ddspx import transfer
from ddspx._progress import no_progress
from ddspx.app import _handlers, _job
from ddspx.app._controls import CONTROLS, default_of
from ddspx.app._job import LONGEST_S
from ddspx.features import track_pitch
from ddspx.instruments import pack_instrument
from ddspx.transfer import TransferConfig


def test_a_recording_is_played_reported_and_drawn(sessions, recording, instrument, folder):
    told = []
    message, result, report = result_of(
        sessions,
        recording,
        instrument,
        progress=lambda what, done, total: told.append((done / total, what)),
    )
    assert message == ""
    played, sample_rate = soundfile.read(result)
    assert (played.size, sample_rate) == (SAMPLE_RATE, SAMPLE_RATE)
    assert np.abs(played).max() > 0.01
    assert names(folder) == ["tone on toy.wav", "tone.wav"]
    # 220 Hz, an octave under the instrument.
    assert "<td>A3</td>" in report and "<td>A4</td><td>1 octave up</td>" in report
    picture = base64.b64decode(report.partition("base64,")[2].partition('"')[0])
    assert picture.startswith(b"\x89PNG")
    # Of the sound first, then of the report.
    second = told.index((0.0, "Listening to the result"))
    for part in (told[:second], told[second:]):
        shares = [share for share, _ in part]
        assert shares == sorted(shares) and shares[0] == 0 and shares[-1] <= 1
    assert len({what for _, what in told}) >= 4


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.field)
def test_every_control_reaches_the_transfer(control, sessions, recording, monkeypatch):
    """The real config of a call, of which only this field is changed."""
    seen = []

    def stand_in(recording, output, *, to, config, progress):
        seen.append(config)
        raise ValueError("that is enough.")

    monkeypatch.setattr(_job, "transfer", stand_in)
    default = default_of(control)
    another = {bool: not default, str: "chromatic"}.get(
        type(default), type(default)(1 if default != 1 else 0)
    )
    result_of(sessions, recording, values=values_with(**{control.field: another}))
    (config,) = seen
    assert config == dataclasses.replace(TransferConfig(), **{control.field: another})


def test_the_controls_change_the_sound(sessions, recording, instrument):
    """With nothing of the instrument it is the recording, else something else."""
    original = soundfile.read(recording)[0]
    differences = []
    for wet in (0, 1):
        values = values_with(wet=wet)
        _, result, _ = result_of(sessions, recording, instrument, values)
        differences.append(np.abs(soundfile.read(result)[0] - original).max())
    assert differences[0] < 1e-3 and differences[1] > 0.05


@pytest.mark.parametrize(("make", "complaint"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_recording_gives_an_error_sentence(make, complaint, sessions, files, folder):
    """The error appears at once and again on Play, without a path or a trace; no file is left."""
    path = files.place("<b>mine.wav")
    make(path)
    said = sessions.receive(str(path), session="page")
    again, result, report = result_of(sessions, path)
    assert said == again and (result, report) == ("", "")
    assert complaint in said and said.count('role="alert"') == 1
    assert "&lt;b&gt;mine.wav" in said and "<b>" not in said
    assert str(folder) not in said and "Traceback" not in said
    sessions.receive(None, session="page")
    assert names(folder) == []


def test_a_length_limit_does_not_trust_the_header(sessions, files):
    """A stream that declares nothing of its length."""
    path = files.place("long.wav")
    soundfile.write(path, np.tile(tone(1.0), round(LONGEST_S) + 1), SAMPLE_RATE, "PCM_16")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="does not say how long it is"):
        said = sessions.receive(str(path), session="page")
    assert "longer than 5 minutes" in said


def test_a_missing_recording_gives_an_error_sentence(sessions):
    message, result, _ = result_of(sessions, None)
    assert "Record or upload something first." in message and result == ""


def test_a_recording_of_noise_gives_a_remark(sessions, files, instrument, folder, rng):
    path = files.place("noise.wav")
    soundfile.write(path, 0.1 * rng.standard_normal(16_000), SAMPLE_RATE)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        message, result, report = result_of(sessions, path, instrument)
    assert message.startswith('<p class="remark" role="status">noise.wav is mostly unpitched')
    assert "does not sound like a tune: it holds a note for 0%" in message
    assert str(folder) not in message
    assert result and "Report" in report


def test_an_internal_error_is_reported_without_a_stack_trace(
    sessions, recording, monkeypatch, capsys, folder
):
    def broken(*arguments, **options):
        raise KeyError(f"{folder}/secret")

    monkeypatch.setattr(_job, "transfer", broken)
    message, result, report = result_of(sessions, recording)
    assert "Something went wrong (KeyError)" in message and "secret" not in message
    assert (result, report) == ("", "")
    assert "secret" in capsys.readouterr().err, "the terminal does not say where"


def test_a_failure_removes_the_previous_result(sessions, recording, instrument, folder):
    for asked in (instrument, "kazoo"):
        message, *_ = result_of(sessions, recording, asked)
    assert "kazoo" in message
    assert names(folder) == ["tone.wav"]


def test_closing_the_page_stops_the_work_and_deletes_its_files(
    sessions, recording, instrument, folder
):
    told = []

    def close_when_playing(what, done, total):
        told.append(what)
        if len(told) == 2:
            sessions.close(session="page")

    outcome = result_of(sessions, recording, instrument, progress=close_when_playing)
    assert outcome == [None, None, None]
    assert "Playing" not in told and "Drawing" not in told
    assert not any(folder.iterdir())


def test_a_page_that_returns_is_served_again(sessions, recording, instrument, files):
    sessions.receive(str(recording), session="page")
    sessions.close(session="page")
    assert not recording.exists()
    sessions.receive(None, session="page")
    assert "does not exist" in result_of(sessions, recording, instrument)[0]


def test_the_sound_is_ready_before_its_report(sessions, recording, instrument):
    sessions.begin(session="page")
    assert sessions.state(session="page") == "playing"
    outcome = sessions.play(
        str(recording), instrument, DEFAULTS, session="page", progress=no_progress
    )
    assert soundfile.info(outcome.result).frames == SAMPLE_RATE
    assert "<table>" not in outcome.report and sessions.state(session="page") == "reporting"
    # The report is of the recording that was played, even if the page has another one by now.
    sessions.receive(None, session="page")
    report = sessions.report(session="page", progress=no_progress)
    assert report[:2] == (None, None) and "<table>" in report.report
    assert not recording.exists()


@pytest.mark.parametrize("doing", ["Listening to the recording", "Rehearsing", "Playing"])
def test_stop_ends_the_work_at_the_next_block(
    doing, sessions, files, instrument, folder, monkeypatch
):
    """After Stop no progress is reported, and the previous result is still there."""
    path = files.place("long.wav")
    soundfile.write(path, tone(10.0), SAMPLE_RATE)
    sessions.receive(str(path), session="page")
    earlier = files.place("earlier.wav")
    earlier.touch()
    files.hold("page", "result", earlier)
    told = []

    def stop_then(what, done, total):
        told.append(what)
        if what == doing and len(told) > 1:
            said = sessions.stop(session="page")
            assert "Stopped." in said.message and said.result is said.report is None

    assert result_of(sessions, path, instrument, progress=stop_then) == [None, None, None]
    assert told[-1] == doing and told.count(doing) == (2 if doing.startswith("Listen") else 1)
    assert names(folder) == ["earlier.wav", "long.wav"]


def test_stop_ends_the_report_and_keeps_the_sound(sessions, recording, instrument, folder):
    told = []

    def stop_when_judged(what, done, total):
        told.append(what)
        if what == "Listening to the result":
            said = sessions.stop(session="page")
            assert said.result is None and said.report == ""

    message, result, _ = result_of(sessions, recording, instrument, progress=stop_when_judged)
    assert told.count("Listening to the result") == 1 and "Drawing" not in told
    assert message == "" and names(folder) == ["tone on toy.wav", "tone.wav"]
    assert result.endswith("tone on toy.wav")


def test_stop_affects_only_the_job_of_its_page(sessions):
    sessions.begin(session="other")
    assert sessions.stop(session="page") == (None, None, None)
    assert sessions.state(session="other") == "playing"


def test_playing_again_ends_the_previous_job(sessions, recording, instrument):
    told = []

    def play_again(what, done, total):
        told.append(what)
        if len(told) == 2:
            sessions.begin(session="page")

    sessions.begin(session="page")
    outcome = sessions.play(
        str(recording), instrument, DEFAULTS, session="page", progress=play_again
    )
    assert outcome == (None, None, None) and len(told) == 2
    assert sessions.state(session="page") == "playing", "the second is still waited for"
    outcome = sessions.play(
        str(recording), instrument, DEFAULTS, session="page", progress=no_progress
    )
    assert outcome.result


def test_a_result_is_marked_as_outdated_while_the_settings_differ(sessions, recording, instrument):
    path = str(recording)

    def mark(recording=path, instrument=instrument, **changes):
        return sessions.mark(recording, instrument, values_with(**changes), session="page")

    assert mark() == mark(recording=None) == ""
    result_of(sessions, path, instrument)
    assert mark() == ""
    for changed in (mark(recording=None), mark(recording="b.wav"), mark(instrument="toy")):
        assert "before your last change" in changed
    assert "before your last change" in mark(wet=0.5) and mark(wet=1) == ""
    assert sessions.mark(None, instrument, DEFAULTS, session="another page") == ""
    # Without a result there is nothing to mark.
    result_of(sessions, path, "kazoo")
    assert mark(wet=0.5) == ""


def test_only_listed_instruments_are_played_or_described(sessions, recording, folder, instrument):
    for name in ("violin", str(folder), "../toy", "", "None", "x" * 5000):
        message, result, _ = result_of(sessions, recording, name)
        assert "There is no instrument" in message and result == ""
        assert "There is no instrument" in sessions.describe(name, session="page")
    assert sessions.describe(instrument, session="page").startswith("Plays from ")


def test_the_name_of_a_recording_is_escaped(sessions, recording, files, instrument):
    """Names with markup, escape codes, changes of the writing direction, and formulas."""
    name = "<img src=x onerror=a()>\x1b[31m\u202e$x^{$.wav"
    path = files.place(name)
    write_text(path)
    said = sessions.receive(str(path), session="page")
    assert "cannot be read as audio" in said and "<img" not in said
    assert said.isprintable() and said.isascii()
    recording.rename(path)
    _, result, report = result_of(sessions, path, instrument)
    assert "<table>" in report
    assert Path(result).name == "<img src=x onerror=a()>_[31m_$x^{$ on toy.wav"


def test_a_long_name_of_a_recording_is_shortened():
    for stem in ("\u4e2d" * 84, "a" * 250, "\udce9" * 200):
        name = _handlers._result_name(Path(f"{stem}.wav"), f"models/{'b' * 200}")
        assert name.endswith(f" on {'b' * 40}.wav") and len(name.encode()) <= 120 + 4 + 40 + 4


# Instruments of one's own


@pytest.fixture
def archive(files, instrument):
    """An instrument in a zip, uploaded."""
    path = files.place("My harp (1).zip")
    pack_instrument(instrument, path.with_name("harp.zip")).rename(path)
    return path


def test_an_uploaded_instrument_is_played(sessions, recording, archive, folder):
    message, own = sessions.add(str(archive), session="page")
    assert message == "" and own.name == "My_harp_1" and not archive.exists()
    assert sessions.describe(str(own), session="page").startswith("Plays from ")
    message, result, _ = result_of(sessions, recording, own)
    assert message == "" and result.endswith("tone on My_harp_1.wav")
    # It is this page's alone, and goes with it.
    assert "There is no instrument" in result_of(sessions, recording, own, session="other")[0]
    sessions.close(session="page")
    assert not own.exists()


def test_a_new_upload_replaces_the_previous_instrument(sessions, archive, files, instrument):
    _, first = sessions.add(str(archive), session="page")
    again = pack_instrument(instrument, files.place("violin.zip"))
    message, second = sessions.add(str(again), session="page")
    assert message == "" and second.name == "violin" and second.exists()
    assert not first.exists() and "no instrument" in sessions.describe(str(first), session="page")


def test_a_published_model_is_taken_too(sessions, files, folder):
    path = files.place("trumpet.zip")
    with zipfile.ZipFile(path, "w") as target:
        for name, content in small_graph().files().items():
            target.writestr(f"trumpet/{name}", content)
    message, own = sessions.add(str(path), session="page")
    assert message == "" and own.name == "trumpet"
    assert sessions.describe(str(own), session="page") == "Plays from A#2 to A#5."


def spoil(path, **changes):
    """The archive with other contents in some of its files, or with other files."""
    with zipfile.ZipFile(path) as source:
        held = {member: source.read(member) for member in source.namelist()}
    top = next(iter(held)).partition("/")[0]
    held |= {f"{top}/{name}": content for name, content in changes.items()}
    with zipfile.ZipFile(path, "w") as target:
        for name, content in held.items():
            target.writestr(name, content)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: path.write_bytes(b"no zip"), "is not a readable zip archive"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "is not a readable zip archive"),
        (lambda path: path.unlink(), "There is no folder or zip archive"),
        (lambda path: spoil(path, **{"run.py": b"import os"}), "which is no part of a model"),
        (lambda path: spoil(path, **{"../../a": b"a"}), "outside its root"),
        (lambda path: spoil(path, **{"config.json": b"{}"}), "config.json"),
        (lambda path: spoil(path, **{"config.json": b"[" * 50_000}), "config.json"),
        (lambda path: spoil(path, **{"weights.safetensors": b"x" * 99}), "weights.safetensors"),
        (lambda path: spoil(path, **{"README.md": b"x" * (1 << 21)}), "more than the 1048576"),
    ],
    ids="text cut gone stranger outside no-config deep no-weights large".split(),
)
def test_an_invalid_archive_gives_an_error_sentence(make, complaint, sessions, archive, folder):
    make(archive)
    message, own = sessions.add(str(archive), session="page")
    assert own is None and complaint in message and message.count('role="alert"') == 1
    assert str(folder) not in message and "Traceback" not in message
    assert not any(folder.rglob("*")), "something of it stayed"


def test_no_upload_gives_no_instrument(sessions):
    assert sessions.add(None, session="page") == ("", None)


def test_the_example_is_a_hummed_phrase(sessions):
    """A hummed phrase, with its highest note in the middle."""
    audio, sample_rate = soundfile.read(sessions.example(), dtype="float32")
    assert 5 < audio.size / sample_rate < 7 and 0.1 < np.abs(audio).max() < 0.9
    f0_hz, confidence = track_pitch(audio, sample_rate=sample_rate, hop_length=160)
    sure = confidence > 0.5
    assert sure.mean() > 0.8
    midi = 69 + 12 * np.log2(f0_hz[sure] / 440)
    assert abs(np.percentile(midi, 5) - 57) < 0.5 and abs(midi.max() - 66) < 1


def test_the_picture_in_the_report_is_readable(sessions, recording, instrument):
    from matplotlib.image import imread

    *_, report = result_of(sessions, recording, instrument)
    png = base64.b64decode(report.partition("base64,")[2].partition('"')[0])
    height, width, _ = imread(byte_io.BytesIO(png)).shape
    assert width > 1000 and 0.5 < height / width < 0.7


def test_the_stand_in_has_the_signature_of_transfer():
    import inspect

    assert {"to", "config", "progress"} <= set(inspect.signature(transfer.transfer).parameters)
