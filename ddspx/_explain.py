"""Error messages for calls with wrong arguments and for names that a package does not have.

Most users come from DDSP, librosa or torch. If they write `sr=`, the error says `sample_rate`; if
they look for `compute_loudness`, it says `loudness_db`. The foreign names are only explained, never
accepted: there is one name for each thing. A correct call costs one pass over its arguments, which
converts NumPy's integers to Python's so that they do not influence dtypes.
"""

import difflib
import functools
import inspect
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

# Names of arguments in other libraries, and candidates for the name in ddspx. The first candidate
# that the called function has is suggested.
SYNONYMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("sr", "fs", "rate", "sampling_rate", "samplerate", "sample_rate_hz", "Fs"),
        ("sample_rate", "target_rate"),
    ),
    **dict.fromkeys(("orig_sr", "orig_freq", "source_rate"), ("orig_rate",)),
    **dict.fromkeys(("target_sr", "new_freq", "new_rate"), ("target_rate",)),
    **dict.fromkeys(
        ("hop", "hop_size", "frame_step", "frame_shift", "stride", "hop_len", "frame_rate"),
        ("hop_length",),
    ),
    **dict.fromkeys(
        ("fft_size", "fft_length", "nfft", "NFFT", "frame_size", "n_ffts", "fft_sizes"),
        ("n_fft", "n_ffts", "frame_length"),
    ),
    "frame_length": ("win_length", "n_fft"),
    **dict.fromkeys(
        ("window_size", "window_length", "win_size", "window"), ("win_length", "frame_length")
    ),
    **dict.fromkeys(("num_mels", "mel_bins", "n_mel", "num_mel_bins", "bins"), ("n_mels",)),
    **dict.fromkeys(("num_mfccs", "n_mfccs", "mfcc_bins", "numcep"), ("n_mfcc",)),
    **dict.fromkeys(("num_frames", "n_timesteps", "time_steps"), ("n_frames", "n_samples")),
    **dict.fromkeys(("num_samples", "length", "n_sample", "reverb_length"), ("n_samples",)),
    **dict.fromkeys(("num_harmonics", "n_partials"), ("n_harmonics",)),
    **dict.fromkeys(("f_min", "lo_hz", "hz_min", "low_hz", "lower_edge_hertz"), ("fmin",)),
    **dict.fromkeys(("f_max", "hi_hz", "hz_max", "high_hz", "upper_edge_hertz"), ("fmax",)),
    **dict.fromkeys(
        ("y", "x", "signal", "waveform", "wav", "x_audio", "samples", "input"),
        ("audio", "x", "target", "features", "path"),
    ),
    **dict.fromkeys(
        ("S", "mel", "spec", "spectrogram", "magnitude"),
        ("spectrogram", "energies", "magnitudes", "levels", "power", "amplitude", "features"),
    ),
    **dict.fromkeys(("f0", "pitch_hz", "pitch", "fundamental"), ("f0_hz",)),
    **dict.fromkeys(
        ("frequency", "frequencies", "freq", "freqs", "hz", "f", "cutoff", "cutoff_frequency"),
        ("frequency_hz", "frequencies_hz", "cutoff_hz", "f0_hz"),
    ),
    **dict.fromkeys(("loudness", "ld"), ("loudness_db",)),
    **dict.fromkeys(("amps", "amp", "harmonic_amplitudes", "amplitude"), ("amplitudes",)),
    **dict.fromkeys(("harm_dist", "distribution", "harmonics"), ("harmonic_distribution",)),
    **dict.fromkeys(("ir", "impulse", "taps", "kernel"), ("impulse_response",)),
    **dict.fromkeys(("rng", "seed", "prng", "rng_key", "random_state", "PRNGKey"), ("key", "rngs")),
    **dict.fromkeys(("y_true", "target_audio", "reference", "ref"), ("target", "ref_db")),
    **dict.fromkeys(
        ("y_pred", "audio_pred", "estimate", "pred", "prediction", "output"), ("predicted",)
    ),
    **dict.fromkeys(("trough_threshold", "thresh"), ("threshold",)),
    **dict.fromkeys(("Q", "quality"), ("q",)),
    **dict.fromkeys(("gain", "db"), ("gain_db",)),
    **dict.fromkeys(("btype", "filter_type", "type"), ("kind",)),
    **dict.fromkeys(("n_filters", "num_bands", "n_mels"), ("n_bands",)),
    "amplitude_resample_method": ("amplitude_upsampling",),
    "padding": ("mode",),
    "add_endpoint": ("n_samples",),
    "filename": ("path",),
    "file": ("path",),
}

# The packages whose functions depend on nothing but their arguments and files. What fails in
# others, such as a training, is seldom the fault of an argument.
_OF_ARRAYS = ("core", "nn", "features", "io", "metrics")
_TABLE = "ddspx/CONVENTIONS.md has the table"


def answer(
    namespace: MutableMapping[str, Any],
    *,
    names: Mapping[str, str] | None = None,
    hints: Mapping[str, str] | None = None,
) -> None:
    """Makes a package's public functions and classes explain calls with wrong arguments.

    Args:
      namespace: ``globals()`` of the package, at its end.
      names: names from other libraries, and what replaces each here. Access to an attribute that
        the package does not have raises an AttributeError, which mentions the replacement.
      hints: for functions whose name means something else in another library, a sentence that is
        added to the error.
    """
    package = namespace["__name__"]
    for name, value in list(namespace.items()):
        if not name.startswith("_"):
            namespace[name] = answering(value, package, name, hint=(hints or {}).get(name, ""))

    def missing(name: str) -> Any:
        here = (names or {}).get(name)
        raise AttributeError(
            f"{package} has no {name!r}" + (f": it is {here} ({_TABLE})." if here else "."),
            name=name,
            obj=sys.modules.get(package),
        )

    namespace["__getattr__"] = missing


def answering(value: Any, package: str, name: str, *, hint: str = "") -> Any:
    """Returns `value` with explained errors if the package defines it, else unchanged."""
    if not str(getattr(value, "__module__", "")).startswith(f"{package}."):
        return value
    if inspect.isfunction(inspect.unwrap(value)):
        return _answering(value, package, name, hint)
    if inspect.isclass(value) and inspect.isfunction(value.__dict__.get("__init__")):
        value.__init__ = _answering(value.__init__, package, name)
    return value


def _answering(function: Callable, package: str, name: str, hint: str = "") -> Callable:
    """Wraps a function so that wrong arguments are explained under its public name."""
    is_init = function.__name__ == "__init__"

    @functools.wraps(function)
    def call(*args, **kwargs):
        args = [_plain(arg) for arg in args]
        kwargs = {key: _plain_option(value) for key, value in kwargs.items()}
        if "rngs" in kwargs and not hasattr(kwargs["rngs"], "params"):
            raise TypeError(
                f"`rngs` must be flax.nnx.Rngs, got {kwargs['rngs']!r}; make them from a seed "
                "with flax.nnx.Rngs(0)."
            )
        try:
            return function(*args, **kwargs)
        except Exception as error:
            shown = f"{package.removeprefix('ddspx.')}.{name}"
            better = _better(error, shown, function, args, kwargs, hint)
            if better is None:
                raise
        raise better

    # Skip the wrapper that a runtime type checker may have put around the function.
    call.__wrapped__ = inspect.unwrap(function)
    if not is_init:
        # The wrapper is pickled by its name, and documentation shows it under the public one.
        call.__module__, call.__qualname__ = package, name
    return call


def _better(
    error: Exception,
    shown: str,
    function: Callable,
    args: list,
    kwargs: dict,
    hint: str,
) -> Exception | None:
    """The error to raise in the place of another, or None: about names, then about values."""
    signature, is_init = inspect.signature(function), function.__name__ == "__init__"
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        reason = _misfit(shown, signature, args[is_init:], kwargs, is_init)
        return TypeError(f"{reason} {hint}".rstrip())
    if shown.partition(".")[0] not in _OF_ARRAYS:
        return None
    # Needed after a failure only.
    from ddspx import _misuse

    better = _misuse.sentence(error, shown, signature, args, kwargs)
    if better is not None:
        better.__cause__ = error
    return better


def _plain(value: Any) -> Any:
    """Converts NumPy integers to Python's, which do not influence the dtype of a result."""
    if _is_numpy(value, "iub"):
        return value.item()
    return tuple(map(_plain, value)) if type(value) is tuple else value


def _plain_option(value: Any) -> Any:
    """Like `_plain`, for keyword arguments, whose NumPy floats and 0-d arrays are converted too."""
    if _is_numpy(value, "f") or _is_numpy(value, "iub", or_array=True):
        return value.item()
    return _plain(value)


def _is_numpy(value: Any, kinds: str, *, or_array: bool = False) -> bool:
    """Whether this is a NumPy scalar (or a 0-d array); decided without importing NumPy."""
    if type(value).__module__ != "numpy" or getattr(value, "ndim", 1):
        return False
    return value.dtype.kind in kinds and (or_array or type(value).__name__ != "ndarray")


def _misfit(
    shown: str, signature: inspect.Signature, args: list, kwargs: dict, is_init: bool
) -> str:
    """One sentence that says why the arguments do not match the signature."""
    parameters = list(signature.parameters.values())[is_init:]
    by_name = [p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY]
    unknown = [name for name in kwargs if name not in by_name]
    positional = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    if unknown:
        suggestions = {name: _suggestion(name, by_name, kwargs) for name in unknown}
        passed = {*positional[: len(args)], *kwargs, *suggestions.values()}
        missing = _missing(parameters, passed)
        explained = " and ".join(
            f"`{name}`" + (f" (here it is `{suggestion}`)" if suggestion else "")
            for name, suggestion in suggestions.items()
        )
        hint = "" if all(suggestions.values()) else f"; its arguments are {_listed(by_name)}"
        more = f"; it needs {_listed(missing)} too" if missing else ""
        return f"{shown} has no argument {explained}{hint}{more}."
    if len(args) > len(positional):
        needed = _missing(parameters, {*positional, *kwargs})
        rest = needed or [name for name in by_name if name not in {*positional, *kwargs}]
        names = f": {', '.join(f'{name}=...' for name in rest)}" if rest else ""
        return (
            f"{shown} takes {_listed(positional) or 'nothing'} by position and the rest by name, "
            f"got {len(args)} by position; pass the others by name{names}."
        )
    twice = [name for name in positional[: len(args)] if name in kwargs]
    if twice:
        return f"{shown} got {_listed(twice)} twice, by position and by name; give it once."
    missing = _missing(parameters, {*positional[: len(args)], *kwargs})
    if positional[:1] == ["key"] and set(missing) & set(positional):
        return (
            f"{shown} needs {_listed(missing)}, and its first argument is `key`, a JAX random "
            "key, for example jax.random.key(0)."
        )
    names = [name for name in missing if name not in positional]
    how = f"; pass {', '.join(f'{name}=...' for name in names)} by name" if names else ""
    return f"{shown} needs {_listed(missing)}{how}."


def _suggestion(name: str, parameters: list[str], passed: Mapping[str, Any]) -> str | None:
    """The parameter that another library's name stands for, or one with a similar spelling."""
    free = [parameter for parameter in parameters if parameter not in passed]
    for candidate in SYNONYMS.get(name, ()):
        if candidate in free:
            return candidate
    return next(iter(difflib.get_close_matches(name, free, 1, 0.7)), None)


def _missing(parameters: list[inspect.Parameter], passed: set) -> list[str]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in variadic and p.name not in passed
    ]


def _listed(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
