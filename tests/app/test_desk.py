"""What the page's buttons do, without a page."""

import base64
import dataclasses
import io as byte_io
import warnings

import numpy as np
import pytest
import soundfile
from bad_recordings import SPOILT, write_cut_short, write_samples, write_text
from toy_instrument import SAMPLE_RATE, tone

from ddspx import transfer
from ddspx.app import _play
from ddspx.app._controls import CONTROLS, default_of
from ddspx.app._play import LONGEST_S
from ddspx.features import track_pitch
from ddspx.transfer import TransferConfig

DEFAULTS = [default_of(control) for control in CONTROLS]


def silent(share, what):
    pass


def values_with(**changes):
    return [
        changes.get(control.field, value) for control, value in zip(CONTROLS, DEFAULTS, strict=True)
    ]


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_recording_is_played_reported_and_drawn(desk, recording, instrument, folder):
    told = []
    message, result, report = desk.play(
        str(recording),
        instrument,
        DEFAULTS,
        session="page",
        tell=lambda share, what: told.append((share, what)),
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
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and 0 <= shares[0] and shares[-1] <= 1
    assert len({what for _, what in told}) >= 4


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.field)
def test_every_control_reaches_the_transfer(control, desk, recording, monkeypatch):
    """The real config of a call, of which only this field is changed."""
    seen = []

    def stand_in(recording, output, *, to, config, progress):
        seen.append(config)
        raise ValueError("that is enough.")

    monkeypatch.setattr(_play, "transfer", stand_in)
    default = default_of(control)
    another = {bool: not default, str: "chromatic"}.get(
        type(default), type(default)(1 if default != 1 else 0)
    )
    desk.play(
        str(recording),
        "toy",
        values_with(**{control.field: another}),
        session="page",
        tell=silent,
    )
    (config,) = seen
    assert config == dataclasses.replace(TransferConfig(), **{control.field: another})


def test_the_controls_are_heard(desk, recording, instrument):
    """With nothing of the instrument it is the recording, else something else."""
    original = soundfile.read(recording)[0]
    differences = []
    for wet in (0, 1):
        values = values_with(wet=wet)
        _, result, _ = desk.play(str(recording), instrument, values, session="page", tell=silent)
        differences.append(np.abs(soundfile.read(result)[0] - original).max())
    assert differences[0] < 1e-3 and differences[1] > 0.05


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: None, "does not exist"),
        (write_text, "cannot be read as audio"),
        (write_cut_short, "cannot be read as audio"),
        (write_samples(np.zeros(0)), "holds no samples"),
        (write_samples(tone(0.05)), "is too short"),
        (write_samples(SPOILT), "NaN or infinite"),
        (write_samples(np.zeros(20_000)), "silent from end to end"),
        (write_samples(np.tile(tone(1.0), round(LONGEST_S) + 1), "PCM_16"), "than 5 minutes"),
    ],
    ids=["missing", "text", "cut-short", "no-samples", "too-short", "nan", "silence", "too-long"],
)
def test_what_cannot_be_played_is_a_sentence_on_the_page(make, complaint, desk, files, folder):
    """At once, and again if it is played all the same; no path, no trace, no file stays."""
    path = files.place("<b>mine.wav")
    make(path)
    said = desk.receive(str(path), session="page")
    again, result, report = desk.play(str(path), "toy", DEFAULTS, session="page", tell=silent)
    assert said == again and (result, report) == (None, "")
    assert complaint in said and said.count('role="alert"') == 1
    assert "&lt;b&gt;mine.wav" in said and "<b>" not in said
    assert str(folder) not in said and "Traceback" not in said
    desk.receive(None, session="page")
    assert names(folder) == []


def test_a_length_limit_does_not_trust_the_header(desk, files):
    """A stream that declares nothing of its length."""
    path = files.place("long.wav")
    soundfile.write(path, np.tile(tone(1.0), round(LONGEST_S) + 1), SAMPLE_RATE, "PCM_16")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert "longer than 5 minutes" in desk.receive(str(path), session="page")


def test_nothing_to_play_is_said(desk):
    message, result, _ = desk.play(None, "toy", DEFAULTS, session="page", tell=silent)
    assert "Record or upload something first." in message and result is None


def test_noise_is_remarked_on_by_its_name(desk, files, instrument, folder, rng):
    path = files.place("noise.wav")
    soundfile.write(path, 0.1 * rng.standard_normal(16_000), SAMPLE_RATE)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        message, result, report = desk.play(
            str(path), instrument, DEFAULTS, session="page", tell=silent
        )
    assert message.startswith('<p class="remark" role="status">noise.wav is mostly unpitched')
    assert str(folder) not in message
    assert result is not None and "Report" in report


def test_what_is_not_the_users_fault_is_said_without_a_trace(
    desk, recording, monkeypatch, capsys, folder
):
    def broken(*arguments, **options):
        raise KeyError(f"{folder}/secret")

    monkeypatch.setattr(_play, "transfer", broken)
    message, result, report = desk.play(
        str(recording), "toy", DEFAULTS, session="page", tell=silent
    )
    assert "Something went wrong (KeyError)" in message and "secret" not in message
    assert (result, report) == (None, "")
    assert "secret" in capsys.readouterr().err, "the terminal does not say where"


def test_a_failure_takes_the_result_before_it_away(desk, recording, instrument, folder):
    for asked in (instrument, "kazoo"):
        message, *_ = desk.play(str(recording), asked, DEFAULTS, session="page", tell=silent)
    assert "kazoo" in message
    assert names(folder) == ["tone.wav"]


def test_closing_the_page_stops_the_work_and_leaves_nothing(desk, recording, instrument, folder):
    told = []

    def close_when_playing(share, what):
        told.append(what)
        if len(told) == 2:
            desk.close(session="page")

    message, result, report = desk.play(
        str(recording), instrument, DEFAULTS, session="page", tell=close_when_playing
    )
    assert (message, result, report) == ("", None, "")
    assert "Drawing" not in told
    assert not any(folder.iterdir())


def test_the_example_is_what_it_is_called(desk):
    """A hummed phrase, with its highest note in the middle."""
    audio, sample_rate = soundfile.read(desk.example(), dtype="float32")
    assert 5 < audio.size / sample_rate < 7 and 0.1 < np.abs(audio).max() < 0.9
    f0_hz, confidence = track_pitch(audio, sample_rate=sample_rate, hop_length=160)
    sure = confidence > 0.5
    assert sure.mean() > 0.8
    midi = 69 + 12 * np.log2(f0_hz[sure] / 440)
    assert abs(np.percentile(midi, 5) - 57) < 0.5 and abs(midi.max() - 66) < 1


def test_the_report_of_a_file_is_readable_as_a_picture(desk, recording, instrument):
    from matplotlib.image import imread

    *_, report = desk.play(str(recording), instrument, DEFAULTS, session="page", tell=silent)
    png = base64.b64decode(report.partition("base64,")[2].partition('"')[0])
    height, width, _ = imread(byte_io.BytesIO(png)).shape
    assert width > 1000 and 0.5 < height / width < 0.7


def test_the_stand_in_has_the_signature_of_transfer():
    import inspect

    assert {"to", "config", "progress"} <= set(inspect.signature(transfer.transfer).parameters)
