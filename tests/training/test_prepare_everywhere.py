"""The same dataset from one process, from several, after kills, and by Apache Beam."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from helpers import PEAK_KB

from ddspx import cli, io
from ddspx._progress import no_progress
from ddspx.features import Features

pytestmark = pytest.mark.slow

RATE = 8000
OPTIONS = ["--sample-rate", "8000", "--hop-length", "80", "--example-s", "0.5"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of recordings, of which three cannot be used, and the dataset that they become."""
    place = tmp_path_factory.mktemp("everywhere")
    folder, rng = place / "in", np.random.default_rng(0)
    folder.mkdir()
    for i in range(6):
        time_s = np.arange(RATE * (2 + i)) / RATE
        tone = np.sin(2 * np.pi * 220 * 2 ** (i / 12) * time_s) * (np.sin(2.5 * time_s) > -0.9)
        audio = 0.3 * tone + 0.001 * rng.standard_normal(time_s.size)
        io.write_audio(folder / f"{i}.flac", audio, sample_rate=RATE)
    (folder / "copy.flac").write_bytes((folder / "1.flac").read_bytes())
    (folder / "notes.txt").write_text("no sound")
    io.write_audio(folder / "silent.wav", np.zeros(RATE), sample_rate=RATE)
    status, lines, _ = run(place, "one", "--workers", "1")
    assert status == 0 and sum(line.startswith("skipped: ") for line in lines) == 3
    return place


def command(place, output, *options):
    names = [str(place / "in"), "-o", str(place / output)]
    return [sys.executable, "-m", "ddspx.cli", "prepare", *names, *OPTIONS, *options]


def run(place, output, *options):
    """Status, lines on stdout, and what is on stderr."""
    done = subprocess.run(command(place, output, *options), capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines(), done.stderr


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_workers_give_the_same_bytes(place):
    status, lines, errors = run(place, "two", "--workers", "2")
    assert (status, errors) == (0, "")
    assert contents(place / "two") == contents(place / "one")
    assert lines[0] == "[1/9] 0.flac: kept 2.0 s of 2.0 s"
    skipped = (place / "two" / "skipped.txt").read_text().splitlines()
    assert [f"skipped: {sentence}" for sentence in skipped] == [
        line for line in lines if line.startswith("skipped")
    ]
    assert [Path(sentence.split()[0]).name for sentence in skipped] == [
        "copy.flac",
        "notes.txt",
        "silent.wav",
    ]
    assert not (place / "two.work").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_killed_preparation_goes_on(place):
    """A kill of the first process, one of a worker, and Ctrl-C; then the dataset is as ever."""
    work, found = place / "killed.work", set()
    for kill in (signal.SIGKILL, None, signal.SIGINT):
        arguments = command(place, "killed", "--workers", "2")
        process = subprocess.Popen(arguments, stdout=-3, stderr=subprocess.PIPE, text=True)
        while len(found) == len(new := set(work.glob("*.json"))) and process.poll() is None:
            time.sleep(0.001)
        # What was computed before is not computed again, and goes when the dataset is complete.
        assert found <= new or (place / "killed").exists()
        # The process may have ended by itself by now, or its workers.
        with suppress(ProcessLookupError, FileNotFoundError, IndexError):
            if kill is None:
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
                os.kill(int(children.split()[-1]), signal.SIGKILL)
            else:
                process.send_signal(kill)
        _, errors = process.communicate(timeout=60)
        if process.returncode == 0:
            break
        found = set(work.glob("*.json"))
        expected = {
            signal.SIGKILL: "",
            signal.SIGINT: "interrupted.",
            None: "use fewer workers",
        }
        # It may have been interrupted before Python could say so.
        is_said = process.returncode != -signal.SIGINT
        assert not is_said or expected[kill] in errors
        assert "Traceback" not in errors
    else:
        assert run(place, "killed", "--workers", "1")[0] == 0
    assert contents(place / "killed") == contents(place / "one")
    assert not work.exists()


PEAK_MEMORY = f"""
import resource, sys
from ddspx.cli import main
assert main(["prepare", *sys.argv[1:]]) == 0
print(max({PEAK_KB}, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_a_long_recording_takes_the_memory_of_a_short_one(tmp_path):
    def peak_megabytes(seconds):
        path, rng = tmp_path / f"{seconds}.wav", np.random.default_rng(0)
        time_s = np.arange(10 * RATE) / RATE
        with io.AudioWriter(path, sample_rate=RATE) as writer:
            for _ in range(seconds // 10):
                f0_hz = rng.uniform(100, 1000)
                writer.write(0.3 * np.sin(2 * np.pi * f0_hz * time_s))
        script = [sys.executable, "-c", PEAK_MEMORY, str(path), "-o", str(tmp_path / f"{seconds}")]
        done = subprocess.run([*script, *OPTIONS[:2]], capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1]) / 1024

    # Twenty minutes are 38 MB of audio, and before they were streamed took 200 MB.
    # What is mapped of a spool counts too. Three hours take little more than twenty minutes.
    assert peak_megabytes(1200) - peak_megabytes(60) < 100


BEAM = {
    "one process": [],
    "two processes": ["--direct_running_mode", "multi_processing", "--direct_num_workers", "2"],
}


@pytest.mark.parametrize("mode", BEAM)
def test_beam_gives_the_same_bytes(place, mode):
    pytest.importorskip("apache_beam", reason="the beam extra is not installed")
    status, lines, errors = run(place, mode, "--runner", "DirectRunner", "--", *BEAM[mode])
    assert status == 0, errors
    assert contents(place / mode) == contents(place / "one")
    assert len(lines) == 10 and not (place / f"{mode}.work").exists()


def decode_and_fail(blocks, **options):
    """In place of the features: what is silent is refused before it fails."""
    assert not list(blocks)


def test_beam_reads_and_writes_other_file_systems(place, tmp_path, monkeypatch, capsys):
    """Recordings, spools and dataset in a store of objects; a resumed run computes nothing."""
    pytest.importorskip("apache_beam", reason="the beam extra is not installed")
    from beam_bucket import OBJECTS

    for path in (place / "in").iterdir():
        OBJECTS[f"bucket://b/in/{path.name}"] = path.read_bytes()
    OBJECTS["bucket://b/in/.hidden/x.flac"] = b"never read"
    local, remote = tmp_path / "local", "bucket://b/out"
    arguments = [*OPTIONS, "--method", "yin"]
    assert cli.main(["prepare", str(place / "in"), "-o", str(local), *arguments]) == 0
    said = capsys.readouterr().out
    command = ["prepare", "bucket://b/in", "-o", remote, *arguments, "--runner", "DirectRunner"]
    with monkeypatch.context() as patch:
        patch.setattr("ddspx.training._prepare.DatasetWriter", None)
        assert cli.main(command) == 1
    assert sum(name.endswith(".f32") for name in OBJECTS) == 6
    capsys.readouterr()
    with monkeypatch.context() as patch:
        # In this process.
        patch.setenv("NPROC", "1")
        patch.setattr("ddspx.training._spool.stream_features", decode_and_fail)
        assert cli.main(command) == 0
    repeated = capsys.readouterr().out.replace(remote, str(local))
    assert repeated.replace("bucket://b", str(place)) == said
    names = [name for name in OBJECTS if name.startswith("bucket://b/out")]
    for name in ("manifest.json", "train-00000.f32", "valid-00000.f32", "test-00000.f32"):
        assert OBJECTS[f"{remote}/{name}"] == (local / name).read_bytes()
    assert len(names) == len(list(local.iterdir()))
    assert cli.main(command) == 2
    assert "already exists" in capsys.readouterr().err
    for name in ("missing", "in/notes.txt"):
        assert cli.main(["prepare", f"bucket://b/{name}", *command[2:], "--overwrite"]) == 2
        assert f"bucket://b/{name}" in capsys.readouterr().err
    assert [name for name in OBJECTS if name.startswith("bucket://b/out")] == names


@pytest.fixture
def bucket():
    """The objects of the store, and a runner that writes to it."""
    pytest.importorskip("apache_beam", reason="the beam extra is not installed")
    from beam_bucket import OBJECTS

    from ddspx.training._beam import BeamRunner

    def runner(*, overwrite=False):
        options = {"runner": "DirectRunner", "options": [], "progress": no_progress}
        return BeamRunner("bucket://c/out", overwrite=overwrite, **options)

    OBJECTS.clear()
    yield OBJECTS, runner
    OBJECTS.clear()


def written(runner):
    """Writes the files that a dataset has."""
    with runner.dataset() as folder:
        for name in ("manifest.json", "skipped.txt", "test-00000.f32", "train-00000.f32"):
            (folder / name).write_text(name)


@pytest.mark.parametrize("function", ["copy_from", "delete"])
def test_a_remote_dataset_of_which_the_copy_was_interrupted_is_replaced(
    bucket, monkeypatch, function
):
    from ddspx.training import _beam

    objects, runner = bucket
    whole, calls = getattr(_beam, function), []

    def failing(*arguments):
        if len(calls) == most:
            raise TimeoutError("killed")
        calls.append(arguments)
        whole(*arguments)

    for most in range(4 if function == "copy_from" else 3):
        objects.clear()
        if function == "delete":
            written(runner())
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(_beam, function, failing)
            with pytest.raises(TimeoutError):
                written(runner(overwrite=True))
        # The same command, which is allowed to replace what is whole.
        is_whole = "bucket://c/out/manifest.json" in objects
        assert is_whole == (function == "delete" and most < 2)
        written(runner(overwrite=is_whole))
        assert len(objects) == 4
    with pytest.raises(FileExistsError):
        written(runner())
    del objects["bucket://c/out/manifest.json"]
    objects["bucket://c/out/thesis.txt"] = b"mine"
    with pytest.raises(io.DatasetError, match="is not a dataset"):
        written(runner(overwrite=True))


def test_a_damaged_remote_spool_is_computed_again(bucket, tmp_path, monkeypatch):
    from ddspx.training import _beam_spools, _recordings, _spool

    def constant(blocks, **options):
        n_frames = 1 + sum(map(len, blocks)) // 80
        yield Features(*(np.full(n_frames, x, np.float32) for x in (220, 1, -20)))

    # In this process.
    monkeypatch.setenv("NPROC", "1")
    monkeypatch.setattr(_spool, "stream_features", constant)
    objects, runner = bucket
    work, config = "bucket://c/out.work", _spool.SpoolConfig(RATE, 80, 50, 50.0, 1000.0, "yin")
    time_s = np.arange(RATE) / RATE
    path = tmp_path / "a.wav"
    io.write_audio(path, 0.3 * np.sin(2 * np.pi * 220 * time_s), sample_rate=RATE)

    def run(paths, config, prefix):
        found = _beam_spools.spooled_anywhere(*paths, work, config)
        _beam_spools.write(f"{prefix}-0", _beam_spools.to_json(0, found))

    def collected():
        beam, listed = runner(), [_recordings.Listed(path, "a.wav", None, True)]
        monkeypatch.setattr(beam, "_run", run)
        with beam.dataset() as folder:
            (outcome,) = beam.outcomes(listed, config)
            (spool,) = beam.spools.iterdir()
            data = spool.read_bytes()
            (folder / "manifest.json").touch()
        del objects["bucket://c/out/manifest.json"]
        return outcome, data

    expected = collected()
    spool, summary = sorted(objects)
    assert objects[spool] == expected[1]
    for name in (spool, summary):
        objects[name] = objects[name][:99] + b"5" + objects[name][100:]
        assert collected() == expected and objects[spool] == expected[1]
    del objects[spool]
    assert collected() == expected
    # Only what preparations have put there is deleted.
    objects[f"{work}/mine.txt"] = objects[f"{work}/beam-temp-outcomes-0123abcd-x/y"] = b""
    runner().sweep()
    assert list(objects) == [f"{work}/mine.txt"]
    # Beam tries again after an error that says nothing of the file.
    for error, is_fault in ((PermissionError("no"), True), (OSError("the disk is full"), False)):

        def failing(name, path, error=error):
            raise error

        monkeypatch.setattr(_beam_spools, "copy_to", failing)
        if is_fault:
            assert (
                "cannot be read" in _beam_spools.spooled_anywhere("bucket://x", work, config).fault
            )
        else:
            with pytest.raises(OSError, match="full"):
                _beam_spools.spooled_anywhere("bucket://x", work, config)
