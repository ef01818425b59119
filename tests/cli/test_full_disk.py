"""Every command that writes, while no file can grow: a sentence, nothing left, and then it works.

The limit of the size of files fails the same writes as a full disk, and needs no disk.
"""

import shutil
from contextlib import contextmanager

import numpy as np
import pytest

from ddspx import io
from ddspx.cli import main

resource = pytest.importorskip("resource", reason="Windows has no limit of file sizes")


@contextmanager
def files_up_to(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# The arguments, the outputs, and sizes up to which files can be written.
QUICK = {
    "features": ("features RECORDING --kind mel -o OUT", ["tone.mel.npz"], (0, 1000, 52_000)),
    "pack": ("instruments pack MODEL -o OUT/a.zip", ["a.zip"], (0, 200, 4000)),
    "add": ("instruments add MODEL --name mine", ["mine"], (0, 600, 4000)),
}
SLOW = {
    "pitch": ("pitch RECORDING --method yin --plot -o OUT", ["tone.csv", "tone.png"], (0, 5000)),
    "room": ("instruments room MODEL -o OUT/a.flac", ["a.flac"], (0, 100)),
    "transfer": (
        "transfer RECORDING --to MODEL -o OUT/a.wav --report OUT/a.png",
        ["a.png", "a.wav"],
        (0, 30_000),
    ),
}


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_a_write_that_fails_names_the_output_and_leaves_nothing(
    name, instrument, recording, tmp_path, capsys, monkeypatch
):
    call, outputs, sizes = (QUICK | SLOW)[name]
    folder = tmp_path / "out"
    folder.mkdir()
    monkeypatch.setenv("DDSPX_INSTRUMENTS", str(folder))
    places = {"RECORDING": recording, "MODEL": instrument, "OUT": folder}
    for word, place in places.items():
        call = call.replace(word, str(place))
    # Compiled and loaded before, so that nothing but the output is written.
    assert main(call.split()) == 0
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    capsys.readouterr()
    for size in sizes:
        with files_up_to(size):
            assert main(call.split()) in (1, 2)
        said = capsys.readouterr().err
        assert str(folder) in said and "None" not in said and "stopped by" not in said
        assert "cannot be written" in said and not list(folder.iterdir())
    assert main(call.split()) == 0
    assert sorted(path.name for path in folder.iterdir()) == outputs


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_a_sound_without_its_end_is_not_taken_for_whole(suffix, tmp_path):
    path, sound = tmp_path / f"a.{suffix}", np.random.default_rng(0).uniform(-0.5, 0.5, 6000)
    io.write_audio(path, sound, sample_rate=16_000)
    whole = path.stat().st_size
    path.unlink()
    for size in (0, 50, 100, whole // 2, whole - 100):
        with files_up_to(size), pytest.raises(OSError, match=f"{path} cannot be written"):
            io.write_audio(path, sound, sample_rate=16_000)
        assert not list(tmp_path.iterdir())
