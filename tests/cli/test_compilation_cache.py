"""A command uses the programs that an earlier command has compiled."""

import os
import subprocess
import sys

import pytest
from bad_recordings import ENVIRONMENT
from toy_instrument import SAMPLE_RATE, tone

from ddspx import io
from ddspx.cli._compilation_cache import keep_programs

# The command twice; for the second time everything has to be compiled again.
TWICE = """
import sys
from pathlib import Path
from ddspx.cli._compilation_cache import keep_programs
keep_programs()
import jax
from ddspx.cli import main

found = []
jax.monitoring.register_event_listener(
    lambda event, **_: found.append(event) if event.endswith("compilation_cache/cache_hits") else 0
)
folder, kept = sys.argv.pop(1), []
for _ in range(2):
    assert main() == 0
    kept.append({path.name for path in Path(folder).rglob("*-cache")})
    jax.clear_caches()
    print(len(kept[-1]), len(found))
assert kept[0] == kept[1]
"""


def test_compiled_programs_are_stored_and_reused(tmp_path):
    io.write_audio(tmp_path / "tone.wav", tone(0.5), sample_rate=SAMPLE_RATE)
    command = [tmp_path / "cache/ddspx/jax", "features", tmp_path / "tone.wav"]
    options = ["--kind", "rms", "-o", tmp_path / "out"]
    inherited = {k: v for k, v in ENVIRONMENT.items() if not k.startswith("JAX_")}
    run = subprocess.run(
        [sys.executable, "-c", TWICE, *map(str, (*command, *options))],
        env=inherited | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    first, second = (line.split() for line in run.stdout.splitlines() if line[0].isdigit())
    assert int(first[0]) > 0
    assert second[0] == first[0] and int(second[1]) - int(first[1]) >= int(first[0])


@pytest.fixture
def folder_of_programs(monkeypatch):
    """Where JAX, which reads this when it is imported, would keep programs."""
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.setenv(name, "")  # so that it is as it was afterwards
        monkeypatch.delenv(name)
    return lambda: os.environ.get("JAX_COMPILATION_CACHE_DIR")


def test_a_cache_folder_of_the_user_is_used(folder_of_programs, tmp_path, monkeypatch):
    own = str(tmp_path / "own")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", own)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    keep_programs()
    assert folder_of_programs() == own
    assert not (tmp_path / "cache").exists()


@pytest.mark.skipif(os.name == "nt", reason="files stand in the way of folders elsewhere too")
def test_commands_run_without_a_cache_folder(folder_of_programs, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_programs()
    assert folder_of_programs() is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    keep_programs()
    assert folder_of_programs() == str(tmp_path / "cache/ddspx/jax")


def test_nothing_is_cached_without_a_home(folder_of_programs, homeless):
    keep_programs()
    assert folder_of_programs() is None
