"""Front-ends and sizes by name, and defaults that are derived from the files of recordings."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from ddspx._checks import hop_length_of, one_of
from ddspx.nn import FrontendConfig, Log1pCompression, LogCompression, PcenCompression

# Imported only where it is used, so that commands report wrong options quickly.
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
"""The name of a front-end."""

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
"""The name of a published size; the number is that of its filters."""

# Speech, and the sounds of most machines, animals and hearts, can be told apart below 8 kHz.
_HIGHEST_RATE = 16_000
_LONGEST_S = 2.5
_PUBLISHED = {"channels": 16, "sample_rate": 1000}
_SIZES: dict[str | None, dict[str, int]] = {
    None: {"n_bands": 40, "n_blocks": 3, "channels": 8},
    **{f"spectnet-{n}": {"n_bands": n, "n_blocks": 3} | _PUBLISHED for n in (4, 8, 16, 32, 46)},
    **{f"spectnet-{n}": {"n_bands": n, "n_blocks": 4} | _PUBLISHED for n in (64, 128, 149)},
}
# The energy that counts as silence: 40 dB below a recording with an RMS of 0.1.
_FLOOR = 1e-6
_LOG = {"compression": Log1pCompression(_FLOOR)}
_LEARNED_LOG = {"compression": Log1pCompression(_FLOOR, trainable=True)}
_LEARNED_PCEN = {"compression": PcenCompression(_FLOOR, trainable=True)}
_N_MFCC = 13


def _static_spectnet(**changes: Any) -> FrontendConfig:
    """SpectNet's front-end, without trainable parameters."""
    return FrontendConfig.spectnet(**changes).fixed()


# For each name: the preset of the front-end, and the fields in which it differs.
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
    # The front-end of the presets `spectnet-N`, at any sample rate.
    None: (FrontendConfig.spectnet_scaled, {}),
}


def preset_sizes(preset: Preset | None) -> dict[str, int]:
    """The sizes of a preset, with its `sample_rate`; or, for None, the default sizes."""
    if preset is not None:
        one_of("preset", preset, get_args(Preset))
    return dict(_SIZES[preset])


def named_frontend(
    name: FrontEnd | None,
    *,
    sample_rate: int,
    hop_ms: float | None,
    n_bands: int,
    fmin: float | None,
) -> FrontendConfig:
    """The front-end of a name, or for None that of the presets; its window is 2.5 hops."""
    if name is not None:
        one_of("front_end", name, get_args(FrontEnd))
    make, changes = _FRONT_ENDS[name]
    if name == "mfcc" and n_bands < _N_MFCC:
        raise ValueError(f"`n_bands` must be at least {_N_MFCC} with mfcc, got {n_bands}.")
    hop_length = hop_length_of(10.0 if hop_ms is None else hop_ms, sample_rate)
    lowest = {} if fmin is None else {"fmin": fmin}
    return make(
        sample_rate=sample_rate,
        hop_length=hop_length,
        win_length=round(2.5 * hop_length),
        n_bands=n_bands,
        **changes,
        **lowest,
    )


def check_sizes(
    frontend: FrontendConfig,
    *,
    sample_rate: int | None,
    hop_ms: float | None,
    n_bands: int | None,
    fmin: float | None,
) -> None:
    """Raises a ValueError if a size is given, not None, that is not the front-end's."""
    rate = frontend.sample_rate
    if hop_ms is not None and hop_length_of(hop_ms, rate) == frontend.hop_length:
        # It need not be the same number, because it is rounded to samples.
        hop_ms = None
    given = {"sample_rate": sample_rate, "hop_ms": hop_ms, "n_bands": n_bands, "fmin": fmin}
    own_hop_ms = 1000 * frontend.hop_length / rate
    own = {"sample_rate": rate, "hop_ms": own_hop_ms} | {
        name: getattr(frontend, name) for name in ("n_bands", "fmin")
    }
    for name, value in given.items():
        if value is not None and value != own[name]:
            raise ValueError(
                f"`{name}` must be that of the given front-end, {own[name]:g}, got {value}; leave "
                "it out, or train another front-end."
            )


def suggested_sample_rate(recordings: "Sequence[Recording]") -> int:
    """The most frequent sample rate of the recordings, at most 16 kHz.

    Args:
      recordings: from `io.labelled_recordings`; only the headers of their files are read.

    Returns:
      Sample rate in Hz; 16 kHz if no header has one.
    """
    from ddspx.io import declared_sample_rate

    declared = (declared_sample_rate(recording.path) for recording in recordings)
    rates = Counter(rate for rate in declared if rate)
    # Of equally frequent rates the highest, so that the result does not depend on the file order.
    common = max(rates, key=lambda rate: (rates[rate], rate), default=_HIGHEST_RATE)
    return min(common, _HIGHEST_RATE)


def suggested_segment_s(recordings: "Sequence[Recording]") -> float:
    """The 90th percentile of the durations of the recordings, in steps of 10 ms, at most 2.5 s.

    Args:
      recordings: from `io.labelled_recordings`; only the headers of their files are read.

    Returns:
      Duration in seconds; 2.5 if no header has one.
    """
    import numpy as np

    from ddspx.io import declared_duration_s

    durations = [declared_duration_s(recording.path) for recording in recordings]
    known = [duration for duration in durations if duration]
    longest = float(np.quantile(known, 0.9)) if known else _LONGEST_S
    return min(max(round(longest, 2), 0.1), _LONGEST_S)
