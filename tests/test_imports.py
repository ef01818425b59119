"""What importing the package costs, in a process of its own, and which names that gives."""

import ast
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys

import pytest

import ddspx
from ddspx import core

HEAVY = (
    *("librosa", "numba", "soundfile", "soxr", "matplotlib", "safetensors", "optax", "orbax"),
    *("grain", "tensorboardX", "tensorflow", "torch", "scipy.signal", "sklearn"),
    *("tyro", "rich", "gradio", "fastapi", "uvicorn"),
)
# What is answered before any work: command lines, and the status that they end with.
QUICK = {
    "--help": 0,
    "--version": 0,
    "": 2,
    "resynthesize": 2,
    "classify --help": 0,
    "classify guess": 2,
    "instruments": 0,
    "instruments add": 2,
    "instruments remove --all": 2,
    "train": 2,
    "adapt": 2,
    "adapt --help": 0,
    "adapt a.wav -o b --rank 0": 2,
    "train dataset -o model --preset large": 2,
    "train dataset -o model --steps many": 2,
    "prepare --help": 0,
    "prepare a.wav -o dataset --method crepe": 2,
    "evaluate violin": 2,
    "transfer a.wav --to violin -o b.wav --pitch-shft 1": 2,
    "transfer a.wav --to violin -o b.wav --autotune 9": 2,
    "pitch a.wav --method autocorrelation": 2,
    "pitch": 2,
    "features a.wav --kind chroma": 2,
    "classify train data -o model --front-end wavelet": 2,
    "classify train data -o model --smoothing 2": 2,
    "classify predict --help": 0,
    "classify evaluate model": 2,
    "app --port high": 2,
    "crepe convert": 2,
}


def loaded_by(statement):
    """Names of the modules in memory after a statement."""
    program = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(json.loads(run.stdout))


def test_importing_the_package_loads_nothing_yet():
    loaded = loaded_by("import ddspx")
    assert {name for name in loaded if name.startswith("ddspx.")} == {
        "ddspx._exports",
        "ddspx._explain",
    }
    assert not loaded.intersection((*HEAVY, "jax", "flax", "numpy"))


@pytest.mark.parametrize(
    "statement",
    [
        "from ddspx import core, nn, models, metrics; core.stft, nn.Gru, models.spectnet.SpectNet",
        "from ddspx import io, features; io.read_audio, features.track_pitch",
        "import ddspx.app, ddspx.cli; ddspx.app.serve",
    ],
)
def test_importing_does_not_load_heavy_packages(statement):
    loaded = loaded_by(f"import flax.nnx; before = set(sys.modules); {statement}")
    brought = loaded_by("import flax.nnx")
    assert not (loaded - brought).intersection(HEAVY)


def test_lower_layers_do_not_load_higher_ones():
    loaded = loaded_by("from ddspx import core, nn, metrics; core.stft, nn.Gru, metrics.VOICED")
    assert {"ddspx.core", "ddspx.nn", "ddspx.metrics"} <= loaded
    for name in ("io", "features", "models", "training", "transfer", "app", "cli", "plot"):
        assert f"ddspx.{name}" not in loaded


def test_help_and_option_errors_do_not_load_jax(tmp_path):
    """Each in its turn, so that the first to load jax is the one that fails."""
    program = """
import contextlib, io, json, sys
from ddspx.cli import main
for line, status in json.loads(sys.argv[1]).items():
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main(line.split()) == status, line
    assert not {"jax", "numpy"} & set(sys.modules), line
"""
    subprocess.run([sys.executable, "-c", program, json.dumps(QUICK)], check=True, cwd=tmp_path)


def cpu_s(statement, *arguments, cwd):
    """CPU time of a program; the least of a few, as what else the machine does only adds to it."""
    program = f"""
import resource, sys
{statement}
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
"""
    command = [sys.executable, "-c", program, *arguments]
    runs = [
        subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd)
        for _ in range(3)
    ]
    return min(float(run.stdout.split()[-1]) for run in runs)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no resource module")
def test_help_and_option_errors_appear_quickly(tmp_path):
    """In about a third of the time that jax alone takes; most of it is Python and tyro."""
    limit = cpu_s("import jax", cwd=tmp_path)
    for line in ("--help", "instruments", "classify train --bogus"):
        statement = "from ddspx.cli import main; main(sys.argv[1:])"
        assert cpu_s(statement, *line.split(), cwd=tmp_path) < limit, line


PACKAGES = [
    ddspx,
    *(
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(ddspx.__path__, "ddspx.")
        if module.ispkg and module.name != "ddspx.cli"
    ),
]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_listed_name_exists(package):
    """In `__all__`, in `dir()`, and for type checkers, which read the imports alone."""
    tree = ast.parse(inspect.getsource(package))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {alias.asname for node in imports for alias in node.names if alias.asname}
    names = {name for name in names if not name.startswith("_")}
    assert set(package.__all__) == names and package.__all__ == sorted(names)
    assert names <= set(dir(package))
    for name in names:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="absent"):
        _ = package.absent


def test_every_folder_of_the_package_is_reachable():
    for package in PACKAGES[1:]:
        value = ddspx
        for name in package.__name__.split(".")[1:]:
            assert name in dir(value)
            value = getattr(value, name)
        assert value is package


def test_the_core_lists_its_names_by_topic():
    themes = re.findall(r"^(\w[\w ,-]+):\n((?:  .*\n?)+)", core.__doc__, re.M)
    names = [name for _, listed in themes for name in re.findall(r"\w+", listed)]
    assert sorted(names) == core.__all__
    assert len(themes) > 20


@pytest.mark.parametrize(
    ("package", "name", "answer"),
    [
        ("ddspx", "synths", "core.harmonic_synthesis"),
        ("ddspx", "spectral_ops", "core.loudness_db"),
        ("ddspx", "losses", "core.multi_scale_spectral_loss"),
        ("ddspx", "processors", "core.crossfade"),
        ("ddspx", "effects", "nn.Reverb"),
        ("ddspx", "dags", "functions compose"),
        ("ddspx", "colab", "transfer.transfer"),
        ("ddspx", "harmonic_synthesis", "it has app, cli, core,"),
        ("ddspx.training", "decoders", "nn.RnnFcDecoder"),
        ("ddspx.training", "preprocessing", "features.conditioning_features"),
        ("ddspx.models", "ddsp", "it has autoencoder, crepe, pitch, spectnet."),
    ],
)
def test_the_error_for_a_name_of_ddsp_gives_the_name_in_ddspx(package, name, answer):
    with pytest.raises(AttributeError, match=re.escape(answer)) as error:
        getattr(importlib.import_module(package), name)
    assert str(error.value).startswith(f"{package} has no {name!r}")
    # What it names is there.
    for path in re.findall(r"`((?:core|nn|io|features|transfer|training)\.\w+)`", str(error.value)):
        space, _, what = path.partition(".")
        assert hasattr(getattr(ddspx, space), what), path
