"""Calls public functions with arguments that are nobody's, and lists what does not answer well.

Run: ``python tests/garbage.py core 0 3``: a package, a seed, and how many calls for each argument
of each function. It runs by itself rather than in a test, because the types of arguments are
checked in tests before a function sees them. A call may return, or raise a sentence of ddspx. It
may not raise anything else, take long, or need more memory than the limit that is set here.
"""

import contextlib
import doctest
import functools
import importlib
import inspect
import io as text_io
import itertools
import json
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import hypothesis
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

LONGEST_S = 20.0
MEMORY_BYTES = 16 << 30
MOST_CALLS = 3


def nested(depth):
    value = 1.0
    for _ in range(depth):
        value = [value]
    return value


# What stands where an array or a number should; none is what any argument expects by accident.
VALUES = {
    "None": None,
    "word": "a.wav",
    "bytes": b"RIFF",
    "empty list": [],
    "list": [0.1, 0.2],
    "ragged list": [[1.0], [1.0, 2.0]],
    "deep list": nested(40),
    "tuple": (1, 2),
    "dict": {"a": 1},
    "set": {1.0},
    "object": object(),
    "function": len,
    "class": dict,
    "nan": float("nan"),
    "inf": float("inf"),
    "minus inf": -float("inf"),
    "minus one": -1,
    "zero": 0,
    "huge int": 2**70,
    "large int": 2**31 - 1,
    "huge float": 1e300,
    "complex": 1j,
    "True": True,
    "scalar of words": np.array("x"),
    "words": np.array(["a", "b"]),
    "objects": np.array([None, 1], object),
    "dates": np.array(["2026-01-01"], "datetime64[D]"),
    "records": np.zeros(2, [("a", "f4")]),
    "no samples": np.zeros(0, np.float32),
    "no batch": np.zeros((0, 3), np.float32),
    "NaNs": np.full((2, 3), np.nan, np.float32),
    "ten axes": np.zeros((1,) * 10, np.float32),
    "trailing one": np.zeros((2, 50, 1), np.float32),
    "complex array": np.zeros((2, 4), np.complex64),
    "int array": np.arange(6).reshape(2, 3),
    "bool array": np.zeros((2, 4), bool),
    "half": np.zeros((2, 4), np.float16),
    "jax ints": jnp.arange(3),
    "path": Path("a.wav"),
    "generator": (i for i in range(3)),
}


def calls(package):
    """Correct calls, as the examples of the docstrings make them: (name, function, args, options).

    A class counts as a function that makes its objects.
    """
    public = {name: getattr(package, name) for name in package.__all__}
    public = {name: value for name, value in public.items() if callable(value)}
    recorded = {name: [] for name in public}

    def recorder(name, function):
        def call(*args, **kwargs):
            recorded[name].append((args, kwargs))
            return function(*args, **kwargs)

        return functools.wraps(function)(call)

    # Files that examples make stay for the calls that come.
    tempfile.TemporaryDirectory.cleanup = lambda self: None
    for name, value in public.items():
        if not inspect.isclass(value):
            setattr(package, name, recorder(name, value))
    inits = {}
    for name, value in public.items():
        if inspect.isclass(value) and "__init__" in vars(value):
            inits[value] = value.__init__
            value.__init__ = recorder(name, value.__init__)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    for name, value in public.items():
        for test in doctest.DocTestFinder(recurse=True).find(value, name, module=False, globs={}):
            with contextlib.redirect_stdout(text_io.StringIO()):
                runner.run(test)
    for name, value in public.items():
        setattr(package, name, value)
    for value, init in inits.items():
        value.__init__ = init
    for name, found in recorded.items():
        for args, kwargs in found[:MOST_CALLS]:
            yield name, public[name], args[inspect.isclass(public[name]) :], kwargs


def answered(error, shown, function):
    """Whether an error is a sentence that names an argument, the function or a file."""
    names = [shown, "`", *inspect.signature(function).parameters]
    is_ours = type(error).__module__.startswith("ddspx.") or isinstance(error, OSError)
    is_named = is_ours or any(name in str(error) for name in names)
    is_kind = isinstance(error, (TypeError, ValueError, OSError, MemoryError))
    return is_kind and is_named and str(error).endswith((".", ")"))


def outcome(shown, function, arguments, options):
    """How a call ended, and what was raised if it is not as it should be."""
    began = time.process_time()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(text_io.StringIO()):
            warnings.simplefilter("ignore")
            result = function(*arguments, **options)
            # What is computed later fails later.
            for _ in itertools.islice(result, 3) if isinstance(result, Iterator) else ():
                pass
        kind, error = "returned", None
    except Exception as caught:
        kind, error = (
            ("sentence", None) if answered(caught, shown, function) else ("foreign", caught)
        )
    if time.process_time() - began > LONGEST_S:
        return "long", error
    return kind, error


def main():
    package, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    # An argument of a function is tried with one of the calls that the examples have of it.
    places = {
        (shown, place): (function, arguments, options)
        for shown, function, arguments, options in calls(
            importlib.import_module(f"ddspx.{package}")
        )
        for place in [*range(len(arguments)), *options]
    }
    found, kinds = {}, Counter()

    def tried(where):
        @hypothesis.settings(
            max_examples=count,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        @hypothesis.seed(f"{seed} {where}")
        @hypothesis.given(st.sampled_from(sorted(VALUES)))
        def call(what):
            (shown, place), (function, arguments, options) = where, places[where]
            arguments, options = list(arguments), dict(options)
            into = arguments if isinstance(place, int) else options
            into[place] = VALUES[what]
            kind, error = outcome(shown, function, arguments, options)
            kinds[kind] += 1
            if kind not in ("returned", "sentence"):
                reason = f"{kind}: {type(error).__name__}: {str(error)[:300]}"
                found[f"{shown}({place}={what})"] = reason

        call()

    for where in places:
        tried(where)
    functions = len({shown for shown, _ in places})
    print(json.dumps({"functions": functions, "calls": kinds, "found": found}, indent=1))


if __name__ == "__main__":
    main()
