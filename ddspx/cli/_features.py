"""`ddspx features`."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

import ddspx
from ddspx import features as spectra, io
from ddspx._checks import hop_length_of, size
from ddspx._progress import Progress
from ddspx._text import printable
from ddspx.cli._batch import make_each, output_files, writable_place
from ddspx.features import SpectralKind
from ddspx.io._replacing import write_errors

# Imported where it is used, so that an error in the options is reported without loading NumPy.
if TYPE_CHECKING:
    import numpy as np

_BLOCK_LENGTH = 1 << 16


def features(
    recordings: Annotated[
        Positional[tuple[Path, ...]], arg(metavar="RECORDING", help_behavior_hint="(required)")
    ],
    *,
    kind: SpectralKind,
    output: Annotated[Path, arg(aliases=["-o"], metavar="DIR")] = Path("."),
    sample_rate: Annotated[int, arg(metavar="HZ")] = 16_000,
    hop_ms: Annotated[float, arg(metavar="MS")] = 10.0,
    n_fft: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None,
    n_bands: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None,
    n_mfcc: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None,
    fmin: Annotated[float | None, arg(metavar="HZ", help_behavior_hint="")] = None,
    fmax: Annotated[float | None, arg(metavar="HZ", help_behavior_hint="")] = None,
    plot: Annotated[bool, arg(help_behavior_hint="")] = False,
    workers: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None,
) -> None:
    """Writes spectral features of recordings as NumPy arrays, and draws them.

    NAME.wav becomes NAME.KIND.npz, for np.load. It holds the array of features, frames first
    (spectrogram, mel, log_mel_db, mfcc, pcen, loudness_db, rms, centroid_hz, bandwidth_hz,
    rolloff_hz or flatness), times_s of the frames, frequencies_hz of the bins or of the centres of
    the bands if the kind has them, sample_rate and hop_length. Recordings are processed in blocks
    and may have any length. Levels in dB are therefore at least -100, and not, as in librosa, at
    least 80 below the loudest. A recording that cannot be used is reported and left out, and the
    exit status is then 1.

    Args:
      recordings: audio files; their channels are averaged, unless they would cancel.
      kind: the feature; mel is a power, log-mel its level in dB, and mfcc the coefficients of that
        level.
      output: the folder to write to, by default the current one; existing files are replaced, but
        never a recording.
      sample_rate: the rate that the recordings are resampled to.
      hop_ms: milliseconds from one frame to the next, to the nearest sample.
      n_fft: samples of a frame, by default the power of two nearest to 64 ms.
      n_bands: mel bands, 128 if not given.
      n_mfcc: coefficients of mfcc, 20 if not given.
      fmin: lower corner of the first mel band, 0 if not given.
      fmax: upper corner of the last mel band, half of sample_rate if not given.
      plot: draw NAME.KIND.png too (needs the extra plot).
      workers: processes, by default one for each 8 recordings, at most one for each core.
    """
    if not recordings:
        raise ValueError("name at least one RECORDING; see ddspx features --help.")
    if workers is not None:
        size("workers", workers)
    if plot:
        ddspx.plot.require_plotting()
    sizes = {"n_fft": n_fft, "n_bands": n_bands, "n_mfcc": n_mfcc, "fmin": fmin, "fmax": fmax}
    config = _config(kind, sample_rate, hop_ms, sizes)
    suffixes = (f".{kind}.npz", f".{kind}.png") if plot else (f".{kind}.npz",)
    outputs = output_files(recordings, output, suffixes)
    write = partial(_write, config=config, place=writable_place(output))
    make_each("ddspx features", recordings, outputs, write, workers=workers)


def _config(
    kind: SpectralKind, sample_rate: int, hop_ms: float, sizes: dict[str, Any]
) -> "spectra.SpectralConfig":
    """Makes the config; raises a ValueError for a size that the kind does not depend on."""
    options = {name: value for name, value in sizes.items() if value is not None}
    config = spectra.SpectralConfig(
        kind,
        sample_rate=sample_rate,
        hop_length=hop_length_of(hop_ms, sample_rate),
        **{"n_fft": spectra.default_n_fft(sample_rate)} | options,
    )
    for name in options:
        if name not in config.sizes:
            raise ValueError(f"`{name}` must not be given, because {kind} does not depend on it.")
    return config


def _write(
    recording: Path,
    files: Sequence[Path],
    bar: Progress,
    *,
    config: "spectra.SpectralConfig",
    place: Path,
) -> str:
    """Makes the files of one recording, all or none; returns the line to print."""
    import numpy as np

    with ExitStack() as stack:
        blocks = io.stream_audio(
            recording, sample_rate=config.sample_rate, block_length=_BLOCK_LENGTH
        )
        total_s, n_samples = io.declared_duration_s(recording), 0

        def counted() -> "Iterator[np.ndarray]":
            nonlocal n_samples
            for block in blocks:
                n_samples += block.size
                bar("listening to", n_samples / config.sample_rate, total_s)
                yield block

        # On disk, because the features of a long recording may not fit into memory.
        file = stack.enter_context(TemporaryFile(dir=place))
        values = _spooled(spectra.stream_spectral_features(counted(), config), file, place)
        bar("writing", 0.0, None)
        # The folder is made only now, after the recording has been read without an error.
        table, *pictures = (stack.enter_context(io.replacing_file(path)) for path in files)
        with table.open("wb") as archive:
            np.savez(archive, **_arrays(values, config))
        for picture in pictures:
            _draw(values, config, printable(recording.name)).savefig(picture, format="png")
    shape = " x ".join(map(str, values.shape))
    return f"{files[0]}: {n_samples / config.sample_rate:.2f} s, {config.name} {shape}"


def _spooled(chunks: "Iterator[np.ndarray]", file: IO[bytes], place: Path) -> "np.ndarray":
    """Writes chunks of frames to a file in a place, and returns them as one array, read from it."""
    import numpy as np

    features: tuple[int, ...] = ()
    for chunk in chunks:
        features = chunk.shape[1:]
        with write_errors(place):
            file.write(chunk.tobytes())
            file.flush()
    return np.memmap(file, np.float32, "r").reshape(-1, *features)


def _arrays(values: "np.ndarray", config: "spectra.SpectralConfig") -> dict[str, Any]:
    """Returns the arrays of an archive by name."""
    import numpy as np

    arrays = {
        config.name: values,
        "times_s": np.arange(len(values)) * config.hop_length / config.sample_rate,
        "sample_rate": config.sample_rate,
        "hop_length": config.hop_length,
    }
    if config.frequencies_hz is not None:
        arrays["frequencies_hz"] = config.frequencies_hz
    return arrays


def _draw(values: "np.ndarray", config: "spectra.SpectralConfig", title: str) -> Any:
    linear: dict[str, Literal["amplitude", "power"]] = {"spectrogram": "amplitude", "mel": "power"}
    return ddspx.plot.plot_features(
        values,
        title=title,
        label=config.label,
        sample_rate=config.sample_rate,
        hop_length=config.hop_length,
        frequencies_hz=config.frequencies_hz,
        level_of=linear.get(config.kind),
    )
