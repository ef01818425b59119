"""The log of a run: one line a step, whatever was interrupted, and events that can be read."""

import json
import math
import struct
from io import StringIO

import numpy as np
import pytest
import soundfile
from rich.console import Console

from ddspx.training._logging import RunLog, progress_bar

pytest.importorskip("tensorboardX", reason="the train extra is not installed")


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def events(folder):
    """The summaries in TensorBoard's files: records of a length, a checksum, data, a checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("events.*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            event = Event.FromString(data[place + 12 : place + 12 + length])
            yield from ((event.step, value) for value in event.summary.value)
            place += 12 + length + 4


def test_numbers_and_sounds_are_logged(tmp_path):
    with RunLog(tmp_path) as log:
        log.scalars(1, {"train/loss": 0.5})
        log.audio(1, "valid/0/model", np.linspace(-2, 2, 800), sample_rate=8000)
    (line,) = lines(tmp_path)
    assert line["step"] == 1 and line["train/loss"] == 0.5
    by_tag = {value.tag: (step, value) for step, value in events(tmp_path)}
    assert by_tag["train/loss"][0] == 1 and by_tag["train/loss"][1].simple_value == 0.5
    step, value = by_tag["valid/0/model"]
    assert (step, value.audio.sample_rate, value.audio.length_frames) == (1, 8000.0, 800)
    audio, rate = soundfile.read(tmp_path / "audio" / "valid-0-model-000001.wav")
    assert rate == 8000
    np.testing.assert_allclose(audio, np.clip(np.linspace(-2, 2, 800), -1, 1), atol=1e-6)


def test_a_resumed_log_has_every_step_once(tmp_path):
    with RunLog(tmp_path) as log:
        for step in (1, 2, 3, 4):
            log.scalars(step, {"train/loss": float(step)})
            log.audio(step, "valid/0/model", np.zeros(80), sample_rate=8000)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "tra')
    with RunLog(tmp_path, step=2) as log:
        log.scalars(3, {"train/loss": 30.0})
    assert [(line["step"], line["train/loss"]) for line in lines(tmp_path)] == [
        (1, 1.0),
        (2, 2.0),
        (3, 30.0),
    ]
    kept = sorted(path.name for path in (tmp_path / "audio").iterdir())
    assert kept == ["valid-0-model-000001.wav", "valid-0-model-000002.wav"]


def test_damaged_lines_are_dropped_and_others_kept(tmp_path):
    with RunLog(tmp_path) as log:
        for step in (1, 2, 3):
            log.scalars(step, {"train/loss": float(step)})
    path = tmp_path / "metrics.jsonl"
    first, second, third = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([first, b"\xff\x00" + second, b"[]", b'{"step": "2"}', third, b""]))
    with RunLog(tmp_path, step=3):
        pass
    assert [line["step"] for line in lines(tmp_path)] == [1, 3]


def test_a_log_is_replaced_completely_or_not_at_all(tmp_path, monkeypatch):
    with RunLog(tmp_path) as log:
        log.scalars(1, {"train/loss": 1.0})
    before = (tmp_path / "metrics.jsonl").read_bytes()

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr("ddspx.io._files.os.replace", fail)
    with pytest.raises(OSError, match="full"):
        RunLog(tmp_path, step=0)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_the_progress_bar_shows_the_latest_numbers():
    console = Console(file=StringIO(), force_terminal=True, width=120)
    bar = progress_bar(console)
    task = bar.add_task("train", total=5, loss=math.nan, rate=math.nan)

    def shown():
        with console.capture() as capture:
            console.print(bar.get_renderable())
        return capture.get()

    assert "compiling" in shown() and "nan" not in shown()
    bar.update(task, loss=1.5)
    assert "loss 1.500" in shown() and "nan" not in shown() and "compiling" not in shown()
    bar.update(task, rate=2.0)
    assert "loss 1.500  2.00 steps/s" in shown()
