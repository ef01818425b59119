"""`ddspx transfer`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ddspx import transfer as timbre
from ddspx.cli._progress import progress
from ddspx.io import replacing_file
from ddspx.plot import require_matplotlib


def transfer(
    recording: Annotated[Positional[Path], arg(metavar="RECORDING")],
    *,
    to: Annotated[str, arg(metavar="MODEL")],
    output: Annotated[Path, arg(aliases=["-o"], metavar="FILE")],
    octave: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None,
    loudness_db: Annotated[float, arg(metavar="X")] = 0.0,
    seed: Annotated[int, arg(metavar="N")] = 0,
    plot: Annotated[Path | None, arg(metavar="PNG", help_behavior_hint="")] = None,
) -> None:
    """Plays a recording on an instrument.

    Args:
      recording: one voice or instrument, in any format that libsndfile reads.
      to: the folder of a trained model, or an instrument's name (ddspx instruments).
      output: the .wav, .flac or .ogg file to write, as long as the recording.
      octave: octaves to move the pitch by; by default to the instrument's range.
      loudness_db: dB to add to the loudness, which is matched to the instrument's.
      seed: of the instrument's noise.
      plot: a .png file to draw both sounds in as well (needs the extra plot).
    """
    with _picture_file(plot, (recording, output)) as picture:
        with progress() as bar:
            report = timbre.transfer(
                recording,
                output,
                to=to,
                octave=octave,
                loudness_shift_db=loudness_db,
                seed=seed,
                progress=bar,
            )
            if picture is not None:
                bar("drawing", 0.0, None)
                figure = timbre.picture(recording, output, report)
                figure.savefig(picture, format="png")
        print(_summary(output, report))


@contextmanager
def _picture_file(path: Path | None, sounds: tuple[Path, Path]) -> Iterator[Path | None]:
    """A place for the picture, found before any work is done, or None if there is to be none."""
    if path is None:
        yield None
        return
    require_matplotlib()
    if path.suffix.lower() != ".png":
        raise ValueError(f"`plot` must be a .png file, got {path}.")
    if path.resolve() in [sound.resolve() for sound in sounds]:
        raise ValueError(f"`plot` must be a file of its own, got {path}, which is a sound.")
    with replacing_file(path) as temporary:
        # A folder that cannot be written to is found here.
        temporary.touch()
        yield temporary


def _summary(output: Path, report: timbre.TransferReport) -> str:
    """The report as a few lines of text."""
    seconds = report.n_samples / report.sample_rate
    lines = [
        f"{output}: {seconds:.2f} s at {report.sample_rate} Hz, peak {report.peak:.2f}",
        f"sure of the pitch in {report.confident_share:.0%} of the sounding frames, "
        f"moved by {report.octaves:+d} octaves",
    ]
    for what, unit, heard, played in (
        ("pitch", "Hz", report.source_f0_hz, report.played_f0_hz),
        ("loudness", "dB", report.source_loudness_db, report.played_loudness_db),
    ):
        if report.confident_share > 0:
            lines.append(f"{what} (5, 50, 95 %): heard {_row(heard)}, played {_row(played)} {unit}")
    return "\n".join(lines)


def _row(values: timbre.Range) -> str:
    return " ".join(f"{value:.1f}" for value in values)
