"""The conventions of CONVENTIONS.md, as tests over everything that is public."""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args, get_origin

import jax

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


def test_public_functions_are_found():
    assert {"harmonic_synthesis", "filtered_noise", "loudness_db", "yin"} <= set(CORE)
    assert len(EVERYTHING) > len(CORE)


def broken(functions, rule):
    """What a rule finds wrong with each function: one line for each that breaks it."""
    return [f"{name}: {wrong}" for name in sorted(functions) if (wrong := rule(functions[name]))]


def test_only_functions_named_stream_return_iterators():
    """And what joins the blocks together is not called so."""

    def rule(function):
        kind = get_origin(function.__annotations__["return"])
        yields = isinstance(kind, type) and issubclass(kind, Iterator)
        return [] if yields == function.__name__.startswith("stream_") else kind or "no kind"

    functions = {
        name: function
        for name, function in EVERYTHING.items()
        if name.rpartition(".")[2].startswith(("stream_", "blockwise_"))
    }
    assert len(functions) >= 5 and broken(functions, rule) == []


def test_every_default_is_keyword_only():
    def rule(function):
        return [
            parameter.name
            for parameter in parameters(function)
            if parameter.default is not parameter.empty
            and parameter.kind is not parameter.KEYWORD_ONLY
        ]

    assert not broken(EVERYTHING, rule)


def test_no_synonyms_in_parameters():
    def rule(function):
        names = [parameter.name for parameter in parameters(function)]
        return [f"{name} is called {SYNONYMS[name]}" for name in names if name in SYNONYMS]

    assert not broken(EVERYTHING, rule)


def test_random_functions_take_the_key_first():
    def rule(function):
        names = [parameter.name for parameter in parameters(function)]
        return "`key` is not the first parameter" if "key" in names[1:] else None

    assert not broken(EVERYTHING, rule)


def test_everything_public_is_annotated():
    def rule(function):
        signature = inspect.signature(function)
        bare = [p.name for p in signature.parameters.values() if p.annotation is p.empty]
        return bare + ["return"] * (signature.return_annotation is signature.empty)

    assert not broken(EVERYTHING, rule)


def arrays_of(annotation):
    """The types of array (JAX's, NumPy's) that an annotation names, but for those of functions."""
    if get_origin(annotation) is Callable:
        return set()
    kinds = {getattr(annotation, "array_type", None)}
    return kinds.union(*map(arrays_of, get_args(annotation))) - {None}


def test_numpy_arrays_are_accepted_wherever_jax_arrays_are():
    def rule(function):
        return [
            parameter.name
            for parameter in parameters(function)
            if parameter.name != "key" and arrays_of(parameter.annotation) == {jax.Array}
        ]

    assert not broken(EVERYTHING, rule)


def test_core_functions_have_no_default_sample_rate():
    def rule(function):
        return [
            parameter.name
            for parameter in parameters(function)
            if parameter.name in ("sample_rate", "hop_length")
            and parameter.default not in (parameter.empty, None)
        ]

    assert not broken(CORE, rule)


def test_core_functions_document_a_formula_and_an_example():
    def rule(function):
        text = inspect.getdoc(function) or ""
        if not re.match(r"\S[^\n]*\.(\n\n|\Z)", text):
            return "the first line is not one sentence"
        sections = [s for s in ("Args:", "Returns:", "Example:") if f"\n{s}\n" not in text]
        if sections or ">>> " not in text.partition("\nExample:\n")[2]:
            return f"lacks {sections or 'code in its example'}"
        arguments = text.partition("\nArgs:\n")[2].partition("\n\n")[0]
        names = [parameter.name for parameter in parameters(function)]
        return [name for name in names if not re.search(rf"^  {name}: ", arguments, re.M)]

    assert not broken(CORE, rule)


def test_sources_have_no_todo_pickle_eval_or_exec():
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
