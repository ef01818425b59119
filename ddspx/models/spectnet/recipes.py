"""Front-ends and sizes by name, and what the files of recordings suggest."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from ddspx._checks import hop_length_of, one_of
from ddspx.nn import FrontendConfig, Log1pCompression, LogCompression, PcenCompression

# A command's wrong options are answered without reading files or NumPy.
if TYPE_CHECKING:
    from ddspx.io import Recording

FrontEnd = Literal[
    "gammatone",
    "gammatone-pcen",
    "log-mel",
    "mel-pcen",
    "mfcc",
    "sincnet",
    "leaf",
    "spectnet",
    "spectnet-static",
]
"""A front-end by name."""

Preset = Literal[
    "spectnet-4",
    "spectnet-8",
    "spectnet-16",
    "spectnet-32",
    "spectnet-46",
    "spectnet-64",
    "spectnet-128",
    "spectnet-149",
]
"""Published sizes by name; the number is that of the filters."""

# Speech and most machines, animals and hearts say what they are below 8 kHz.
_HIGHEST_RATE = 16_000
_LONGEST_S = 2.5
_PUBLISHED = {"channels": 16, "sample_rate": 1000}
_SIZES: dict[str | None, dict[str, int]] = {
    None: {"n_bands": 40, "n_blocks": 3, "channels": 8},
    **{f"spectnet-{n}": {"n_bands": n, "n_blocks": 3} | _PUBLISHED for n in (4, 8, 16, 32, 46)},
    **{f"spectnet-{n}": {"n_bands": n, "n_blocks": 4} | _PUBLISHED for n in (64, 128, 149)},
}
# Of a recording at an RMS of 0.1, what lies 40 dB below counts as silence.
_FLOOR = 1e-6
_LOG = {"compression": Log1pCompression(_FLOOR)}
_LEARNED_LOG = {"compression": Log1pCompression(_FLOOR, trainable=True)}
_LEARNED_PCEN = {"compression": PcenCompression(_FLOOR, trainable=True)}
_N_MFCC = 13


def _static_spectnet(**changes: Any) -> FrontendConfig:
    """SpectNet's front-end, of which nothing learns."""
    return FrontendConfig.spectnet(**changes).fixed()


# How each is made, and what is not its default there.
_FRONT_ENDS: dict[str | None, tuple[Callable[..., FrontendConfig], dict[str, Any]]] = {
    "gammatone": (FrontendConfig.learnable, _LEARNED_LOG),
    "gammatone-pcen": (FrontendConfig.learnable, _LEARNED_PCEN),
    "log-mel": (FrontendConfig.log_mel, _LOG),
    "mel-pcen": (FrontendConfig.pcen_mel, _LEARNED_PCEN),
    "mfcc": (FrontendConfig.mfcc, {"compression": LogCompression(_FLOOR), "n_mfcc": _N_MFCC}),
    "sincnet": (FrontendConfig.sincnet, _LOG),
    "leaf": (FrontendConfig.leaf, {}),
    "spectnet": (FrontendConfig.spectnet, {}),
    "spectnet-static": (_static_spectnet, {}),
    # That of a preset, at any rate.
    None: (FrontendConfig.spectnet_scaled, {}),
}


def preset_sizes(preset: Preset | None) -> dict[str, int]:
    """`n_bands`, `n_blocks` and `channels` of a preset and its `sample_rate`, or without one."""
    if preset is not None:
        one_of("preset", preset, get_args(Preset))
    return dict(_SIZES[preset])


def named_frontend(
    name: FrontEnd | None, *, sample_rate: int, hop_ms: float, n_bands: int, fmin: float | None
) -> FrontendConfig:
    """The front-end of a name, or that of the presets; a window is two and a half hops."""
    if name is not None:
        one_of("front_end", name, get_args(FrontEnd))
    make, changes = _FRONT_ENDS[name]
    if name == "mfcc" and n_bands < _N_MFCC:
        raise ValueError(f"`n_bands` must be at least {_N_MFCC} with mfcc, got {n_bands}.")
    hop_length = hop_length_of(hop_ms, sample_rate)
    lowest = {} if fmin is None else {"fmin": fmin}
    return make(
        sample_rate=sample_rate,
        hop_length=hop_length,
        win_length=round(2.5 * hop_length),
        n_bands=n_bands,
        **changes,
        **lowest,
    )


def suggested_sample_rate(recordings: "Sequence[Recording]") -> int:
    """The rate that most recordings have, at most 16 kHz.

    Args:
      recordings: as `io.labelled_recordings` gives them; only what their files declare is read.

    Returns:
      Samples per second; 16 kHz where no file declares a rate.
    """
    from ddspx.io import declared_sample_rate

    declared = (declared_sample_rate(recording.path) for recording in recordings)
    rates = Counter(rate for rate in declared if rate)
    # Of equally frequent ones the highest, whatever the order of the files.
    common = max(rates, key=lambda rate: (rates[rate], rate), default=_HIGHEST_RATE)
    return min(common, _HIGHEST_RATE)


def suggested_segment_s(recordings: "Sequence[Recording]") -> float:
    """How long nine of ten recordings are at most, in steps of 10 ms, but no more than 2.5 s.

    Args:
      recordings: as `io.labelled_recordings` gives them; only what their files declare is read.

    Returns:
      Seconds; 2.5 where no file declares its length.
    """
    import numpy as np

    from ddspx.io import declared_duration_s

    durations = [declared_duration_s(recording.path) for recording in recordings]
    known = [duration for duration in durations if duration]
    longest = float(np.quantile(known, 0.9)) if known else _LONGEST_S
    return min(max(round(longest, 2), 0.1), _LONGEST_S)
