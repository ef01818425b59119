"""The conventions of CONVENTIONS.md, as tests over everything that is public."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import ddspx
from ddspx import core

# Word wanted, and the synonyms that other libraries use for it.
BANNED = {
    "sample_rate": ("sr", "fs", "rate", "sampling_rate"),
    "n_fft": ("fft_size", "fft_length", "nfft", "frame_size"),
    "hop_length": ("hop", "hop_size", "frame_step", "stride"),
    "win_length": ("window_size", "window_length"),
    "n_frames": ("num_frames", "n_timesteps", "time_steps"),
    "n_samples": ("num_samples", "n_timesteps", "length_samples"),
    "n_harmonics": ("num_harmonics", "n_partials"),
    "fmin": ("f_min", "lo_hz", "hz_min", "low_hz"),
    "fmax": ("f_max", "hi_hz", "hz_max", "high_hz"),
    "audio": ("y", "x_audio", "signal", "waveform", "wav"),
    "key": ("rng", "seed_key", "prng", "rng_key"),
    "f0_hz": ("f0", "pitch_hz"),
}
SYNONYMS = {wrong: right for right, wrongs in BANNED.items() for wrong in wrongs}


def public_functions(package):
    """The functions a package re-exports, by name."""
    return {
        name: value
        for name, value in ((name, getattr(package, name)) for name in package.__all__)
        # Also what jit and custom_vjp wrap; not classes and modules.
        if callable(value)
        and not inspect.isclass(value)
        and getattr(value, "__module__", "").startswith("ddspx.")
    }


CORE = public_functions(core)
PACKAGES = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(ddspx.__path__, "ddspx.")
    if module.ispkg and module.name != "ddspx.cli"
]
EVERYTHING = {
    f"{value.__module__}.{value.__qualname__}": value
    for package in PACKAGES
    for value in public_functions(package).values()
}
SOURCES = sorted(Path(ddspx.__file__).parent.rglob("*.py"))


def parameters(function):
    return list(inspect.signature(function).parameters.values())


def test_there_is_something_to_check():
    assert {"harmonic_synthesis", "filtered_noise", "loudness_db", "yin"} <= set(CORE)
    assert len(EVERYTHING) > len(CORE)


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_every_default_is_keyword_only(name):
    for parameter in parameters(EVERYTHING[name]):
        if parameter.default is not parameter.empty:
            assert parameter.kind is parameter.KEYWORD_ONLY, parameter.name


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_no_synonyms_in_parameters(name):
    for parameter in parameters(EVERYTHING[name]):
        assert parameter.name not in SYNONYMS, f"use {SYNONYMS.get(parameter.name)}"


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_what_is_random_takes_its_key_first(name):
    names = [parameter.name for parameter in parameters(EVERYTHING[name])]
    assert "key" not in names[1:]


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_everything_public_is_annotated(name):
    signature = inspect.signature(EVERYTHING[name])
    assert signature.return_annotation is not signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not parameter.empty, parameter.name


@pytest.mark.parametrize("name", sorted(CORE))
def test_core_never_assumes_a_rate(name):
    for parameter in parameters(CORE[name]):
        if parameter.name in ("sample_rate", "hop_length"):
            assert parameter.default in (parameter.empty, None)


@pytest.mark.parametrize("name", sorted(CORE))
def test_core_functions_say_what_they_compute_and_show_it(name):
    text = inspect.getdoc(CORE[name]) or ""
    assert re.match(r"\S[^\n]*\.(\n\n|\Z)", text), "the first line is one sentence"
    for section in ("Args:", "Returns:", "Example:"):
        assert f"\n{section}\n" in text, section
    assert ">>> " in text.partition("\nExample:\n")[2]
    arguments = text.partition("\nArgs:\n")[2].partition("\n\n")[0]
    for parameter in parameters(CORE[name]):
        assert re.search(rf"^  {parameter.name}: ", arguments, re.M), parameter.name


def test_nothing_is_left_open_and_nothing_executes_data():
    for path in SOURCES:
        found = re.findall(
            r"TODO|FIXME|NotImplementedError|import pickle|\b(?:eval|exec)\(", path.read_text()
        )
        assert not found, path.name


def test_files_and_functions_keep_to_their_budgets():
    """400 lines of code in a file, 50 in the body of a function; documentation is free."""
    too_long = []
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lines = code_lines(path, tree)
        if len(lines) > 400:
            too_long.append(f"{path.name}: {len(lines)} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                body = [n for n in lines if node.body[0].lineno <= n <= node.end_lineno]
                if len(body) > 50:
                    too_long.append(f"{path.name}, {node.name}: {len(body)} lines")
    assert not too_long


def code_lines(path, tree):
    """Numbers of the lines that hold code: not blank, comment or docstring."""
    documentation = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, str):
                documentation.update(range(node.lineno, node.end_lineno + 1))
    texts = path.read_text(encoding="utf-8").splitlines()
    return [
        number
        for number, text in enumerate(texts, start=1)
        if text.strip() and not text.lstrip().startswith("#") and number not in documentation
    ]
