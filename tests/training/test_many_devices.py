"""Devices and processes change nothing but rounding, and none outlives or awaits a lost one."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from labelled_data import write_sounds
from training_data import write_dataset

TESTS = Path(__file__).parents[1]
PROGRAM = Path(__file__).with_name("device_program.py")
# The command, with less patience and a smaller model.
COMMAND = """
import sys
from training_data import small_model
from ddspx.cli import main
from ddspx.models.autoencoder import AutoencoderConfig
from ddspx.training import _processes
AutoencoderConfig.tiny = lambda **_: small_model()
_processes._SILENCE_S = 10.0
sys.exit(main())
"""
FLAGS, MOST_S = os.environ.get("XLA_FLAGS", ""), 120


def environment(tmp_path, devices, **more):
    path = [TESTS.parent, TESTS, TESTS / "training", *os.environ.get("PYTHONPATH", "").split(":")]
    return os.environ | {
        "PYTHONPATH": ":".join(map(str, path)),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{FLAGS} --xla_force_host_platform_device_count={devices}",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        **more,
    }


def free_port():
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return each.getsockname()[1]


def started(arguments, tmp_path, name, devices=1, **more):
    """A process, whose output goes to a file."""
    with (tmp_path / f"{name}.txt").open("wb") as file:
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env=environment(tmp_path, devices, **more),
            stdout=file,
            stderr=file,
        )


def said(tmp_path, name):
    return (tmp_path / f"{name}.txt").read_text(errors="replace")


# equality


def run_part(tmp_path, part, devices, processes=1):
    where = f"127.0.0.1:{free_port()}"
    each = [
        started(
            [PROGRAM, tmp_path, part, *([where, i] if processes > 1 else [])],
            tmp_path,
            f"{part} {i}",
            devices,
            JAX_ENABLE_X64="1",
        )
        for i in range(processes)
    ]
    for i, process in enumerate(each):
        assert process.wait(MOST_S * 5) == 0, said(tmp_path, f"{part} {i}")
        # A library may have said something before.
        counts = f"[{processes}, {processes * devices}]"
        assert counts in said(tmp_path, f"{part} {i}").splitlines()


def losses_of(tmp_path, name):
    lines = (tmp_path / f"{name}.run" / "logs" / "metrics.jsonl").read_text().splitlines()
    losses = {}
    for line in map(json.loads, lines):
        losses |= {(line["step"], k): v for k, v in line.items() if k.endswith("/loss")}
    return losses


@pytest.mark.slow
def test_devices_and_processes_take_the_same_steps_and_resume_each_other(tmp_path, capsys):
    run_part(tmp_path, "alone", 8)
    run_part(tmp_path, "pair", 2, processes=2)
    run_part(tmp_path, "alone_again", 8)
    lines = []
    for kind in ("autoencoder", "classifier"):
        expected = np.load(tmp_path / f"{kind} 1 False.npz")
        gradient, losses = expected["gradient"], expected["losses"]
        for devices in ("1", "8", "2x2"):
            for sharded in (False, True)[: 1 + (devices != "1")]:
                found = np.load(tmp_path / f"{kind} {devices} {sharded}.npz")
                error = np.linalg.norm(found["gradient"] - gradient) / np.linalg.norm(gradient)
                drift = np.max(np.abs(found["losses"] / losses - 1))
                lines.append(f"{kind:12} {devices:4} sharded {sharded!s:5} {error:.1e} {drift:.1e}")
                assert error < 1e-6 and drift < 1e-5, lines[-1]
    expected = losses_of(tmp_path, "straight")
    assert expected.keys() >= {(4, "train/loss"), (4, "valid/loss")}
    for before in ("1", "8", "2x2"):
        for after in {"1", "8", "2x2"} - {before}:
            found = losses_of(tmp_path, f"{before} then {after}")
            assert found.keys() == expected.keys()
            drift = max(abs(found[key] / expected[key] - 1) for key in expected)
            lines.append(f"run of {before} resumed by {after}: losses to {drift:.1e}")
            # Adam makes a whole step of a gradient near zero, in whichever direction it is rounded.
            assert drift < 1e-4, lines[-1]
    with capsys.disabled():
        print("", *lines, sep="\n")


# deaths


class Pair:
    """Two processes that train together, and what they say."""

    def __init__(self, tmp_path, name, *, steps=100_000):
        self.folder, self.name, self.output = tmp_path, name, tmp_path / name
        where = f"127.0.0.1:{free_port()}"
        self.each = [
            started(
                [
                    *("-c", COMMAND, "train", tmp_path / "dataset", "-o", self.output),
                    *("--preset", "tiny", "--steps", steps, "--batch-size", 2),
                    *("--evaluate-every", 5, "--coordinator", where),
                    *("--processes", 2, "--process-id", index),
                ],
                tmp_path,
                f"{name} {index}",
            )
            for index in (0, 1)
        ]

    def steps(self):
        path = self.output.with_name(f"{self.name}.run") / "logs" / "metrics.jsonl"
        return path.read_text().count("train/loss") if path.exists() else 0

    def wait_for_steps(self, count):
        began = time.monotonic()
        while self.steps() < count:
            assert time.monotonic() - began < MOST_S, self.said()
            assert all(process.poll() is None for process in self.each), self.said()
            time.sleep(0.05)

    def seconds_until_ended(self, indices, most_s):
        began = time.monotonic()
        for index in indices:
            self.each[index].wait(most_s)
        return time.monotonic() - began

    def said(self, index=None):
        texts = [said(self.folder, f"{self.name} {i}") for i in (0, 1)]
        return "\n".join(texts) if index is None else texts[index]

    def end(self):
        for process in self.each:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def pair(tmp_path):
    pairs = []
    write_dataset(tmp_path / "dataset", {"train": 4, "valid": 1})

    def make(name, **options):
        pairs.append(Pair(tmp_path, name, **options))
        return pairs[-1]

    yield make
    for each in pairs:
        each.end()


def checkpoints(output):
    names = (p.name for p in output.with_name(f"{output.name}.run").glob("checkpoints/*"))
    return sorted(int(name) for name in names if name.isdigit())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP")
def test_no_process_outlives_or_awaits_a_lost_one(pair, capsys):
    lines = []
    cases = [
        ("SIGKILL of process 1", 1, signal.SIGKILL, r"process 1 on \S+ has given no sign for"),
        (
            "SIGKILL of process 0",
            0,
            signal.SIGKILL,
            r"(?:process 0 cannot be reached any more|JAX has lost process 0)",
        ),
        ("SIGSTOP of process 1", 1, signal.SIGSTOP, r"process 1 on \S+ has given no sign for"),
        ("SIGSTOP of process 0", 0, signal.SIGSTOP, r"process 0 has not answered for"),
    ]
    for name, index, number, sentence in cases:
        both = pair(name)
        both.wait_for_steps(7)
        both.each[index].send_signal(number)
        seconds = both.seconds_until_ended([1 - index], 30)
        text = both.said(1 - index)
        assert both.each[1 - index].returncode == 1, text
        (line,) = re.findall(rf"ddspx: ({sentence}.*)", text)
        assert "Traceback" not in text
        lines.append(f"{name}: {seconds:.1f} s, {line}")
        both.end()
        assert max(checkpoints(both.output)) >= 5
    with capsys.disabled():
        print("", *lines, sep="\n")


@pytest.mark.slow
def test_sigterm_of_one_process_ends_all_after_the_same_step(pair, tmp_path):
    both = pair("out")
    both.wait_for_steps(3)
    both.each[1].terminate()
    assert both.seconds_until_ended([0, 1], 30) < 20
    assert [process.returncode for process in both.each] == [0, 0], both.said()
    (step,) = map(int, re.findall(r"Ended at step (\d+)", both.said(0)))
    assert checkpoints(both.output)[-1] == step
    assert "step" not in both.said(1)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "index"), [("train", 1), ("classify train", 0)])
def test_a_process_that_fails_before_the_training_ends_the_other(tmp_path, command, index):
    """It alone does not find the data, and the other, which does, would wait for it."""
    if command == "train":
        write_dataset(tmp_path / "data", {"train": 4, "valid": 1})
    else:
        write_sounds(tmp_path / "data", each=4)
    where = f"127.0.0.1:{free_port()}"
    words = ["-m", "ddspx.cli", *command.split(), "-o", tmp_path / "out", "--coordinator", where]
    words += ["--processes", 2, "--process-id"]
    places = [tmp_path / ("nothing" if i == index else "data") for i in (0, 1)]
    each = [started([*words, i, places[i]], tmp_path, f"process {i}") for i in (0, 1)]
    try:
        each[index].wait(MOST_S)
        each[1 - index].wait(8)
    finally:
        for process in each:
            process.kill()
    assert [each[index].returncode, each[1 - index].returncode] == [2, 1]
    lines = said(tmp_path, f"process {1 - index}").split("\n")
    (line,) = [line for line in lines if line.startswith("ddspx: ")]
    assert re.match(rf"ddspx: process {index} on \S+ has stopped \(.*nothing", line)
    assert "Traceback" not in "".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_a_process_that_waits_for_others_in_vain_says_so(tmp_path, index):
    words = ["-m", "ddspx.cli", "train", tmp_path, "-o", tmp_path / "out", "--processes", 2]
    where = ["--coordinator", f"127.0.0.1:{free_port()}", "--process-id", index]
    process = started([*words, *where, "--start-timeout-s", 2], tmp_path, "alone")
    assert process.wait(60) == 2
    assert "the 2 processes did not meet at 127.0.0.1:" in said(tmp_path, "alone")
