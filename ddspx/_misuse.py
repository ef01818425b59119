"""Errors that a library or Python raises in a public function, as sentences about its arguments.

What a function checks itself it says itself. All else, such as a word in the place of an array or
shapes that do not go together, fails in a library or in an expression, whose message knows nothing
of the arguments. The wrapper of :mod:`ddspx._explain` asks here, after such a failure only, so that
a call that succeeds costs nothing.
"""

import inspect
import opcode
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from types import NoneType, TracebackType
from typing import Any, get_args

_PACKAGE = str(Path(__file__).parent) + os.sep
# Where the arguments of a call end up. What a function of the caller raises is the caller's.
_LIBRARIES = (
    sysconfig.get_path("stdlib") + os.sep,
    "<frozen ",
    # The `__init__` that `dataclass` writes.
    "<string>",
    *(
        os.path.join(sysconfig.get_path("purelib"), name, "")
        for name in ("flax", "jax", "jaxlib", "numpy", "optax", "scipy")
    ),
)
_RAISE = opcode.opmap["RAISE_VARARGS"]
_KINDS = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError)
_LONGEST_VALUE, _LONGEST_REASON = 60, 160


def sentence(
    error: Exception, shown: str, signature: inspect.Signature, args: Any, kwargs: Mapping[str, Any]
) -> Exception | None:
    """The error to raise in the place of one that knows nothing of the arguments.

    Args:
      error: what a call raised.
      shown: the name of the function.
      signature: its signature.
      args: the arguments by position.
      kwargs: the arguments by name.

    Returns:
      A TypeError, ValueError or MemoryError; None if `error` is one that ddspx raised itself, or
      that has another cause than the arguments.
    """
    is_too_large = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
    if not (is_too_large or isinstance(error, _KINDS)) or not _is_foreign(error.__traceback__):
        return None
    given = signature.bind(*args, **kwargs).arguments
    for name, value in given.items():
        if problem := _problem(signature.parameters[name].annotation, value):
            return TypeError(f"{shown}: `{name}` {problem}.")
    listed = ", ".join(f"`{name}` {_described(value)}" for name, value in given.items())
    if is_too_large:
        return MemoryError(f"{shown} needs more memory than there is for {listed}.")
    reason = (str(error).strip().splitlines() or [""])[0][:_LONGEST_REASON].rstrip(".: ")
    kind = TypeError if isinstance(error, TypeError | AttributeError) else ValueError
    return kind(
        f"{shown} cannot use its arguments together, or one of their values: {listed} "
        f"({type(error).__name__}: {reason})."
    )


def _is_foreign(traceback: TracebackType | None) -> bool:
    """Whether an error is from an expression in ddspx or from a library, not from our `raise`."""
    is_raised_here = True
    while traceback is not None:
        code = traceback.tb_frame.f_code
        is_here = code.co_filename.startswith(_PACKAGE)
        if not is_here and not code.co_filename.startswith(_LIBRARIES):
            return False
        is_raised_here = is_here and code.co_code[traceback.tb_lasti] == _RAISE
        traceback = traceback.tb_next
    return not is_raised_here


def _problem(annotation: Any, value: Any) -> str | None:
    """Why a value cannot be what an annotation asks for, as the end of a sentence, or None."""
    parts = get_args(annotation) or (annotation,)
    if any(isinstance(part, type) and issubclass(part, PurePath) for part in parts):
        fits = isinstance(value, str | os.PathLike) or (value is None and NoneType in parts)
        return None if fits else f"must be a path, got {_described(value)}"
    kinds = list(_array_kinds(annotation))
    if not kinds:
        return None
    jax = sys.modules["jax"]
    if isinstance(value, jax.core.Tracer):
        return None
    if isinstance(value, list | tuple):
        return "must be an array, got a " + type(value).__name__ + "; make one with jnp.asarray"
    dtype = value.dtype if _is_array(value) else None
    if dtype is None and not isinstance(value, bool | int | float | complex):
        return f"must be an array of numbers, got {_described(value)}"
    if dtype is not None and not (
        jax.numpy.issubdtype(dtype, jax.numpy.number) or str(dtype) == "bool" or _is_key(dtype)
    ):
        return f"must be an array of numbers, got an array of {dtype}"
    if dtype is not None and all(str(dtype) not in kind.dtypes for kind in kinds):
        return f"must be an array of {_named(kinds)}, got {_described(value)}"
    return None


def _array_kinds(annotation: Any) -> Iterator[Any]:
    """The jaxtyping classes of an annotation, which say what dtypes an array may have."""
    if isinstance(getattr(annotation, "dtypes", None), list | tuple):
        yield annotation
    for part in get_args(annotation):
        yield from _array_kinds(part)


def _is_array(value: Any) -> bool:
    # Some objects, such as `nnx.Rngs`, have every attribute that they are asked for.
    return isinstance(getattr(value, "shape", None), tuple) and hasattr(value, "dtype")


def _is_key(dtype: Any) -> bool:
    jax = sys.modules["jax"]
    return jax.numpy.issubdtype(dtype, jax.dtypes.prng_key)


def _named(kinds: list[Any]) -> str:
    """What the dtypes of annotations have in common, such as `floating point`."""
    first = {dtype.rstrip("0123456789") for kind in kinds for dtype in kind.dtypes}
    words = {"float": "floating point", "bfloat": "floating point", "complex": "complex numbers"}
    names = {words.get(name, f"{name}s") for name in first if "float8" not in name}
    return " or ".join(sorted(names)[:3])


def _described(value: Any) -> str:
    """A value in few words: dtype and shape of an array, else itself."""
    if _is_array(value):
        return f"{value.dtype} {tuple(value.shape)}"
    try:
        text = repr(value)
    except Exception:  # somebody's own class may raise anything
        text = object.__repr__(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
