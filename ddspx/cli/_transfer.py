"""`ddspx transfer`."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

import ddspx
from ddspx import io, transfer as timbre
from ddspx.cli._errors import say
from ddspx.cli._progress import progress

_DEFAULTS = timbre.TransferConfig()


def transfer(
    recording: Annotated[Positional[Path], arg(metavar="RECORDING")],
    *,
    to: Annotated[str, arg(metavar="INSTRUMENT")],
    output: Annotated[Path, arg(aliases=["-o"], metavar="FILE")],
    config: Annotated[timbre.TransferConfig, arg(name="")] = _DEFAULTS,
    seed: Annotated[int, arg(metavar="N")] = 0,
    report: Annotated[Path | None, arg(metavar="PNG", help_behavior_hint="")] = None,
) -> None:
    """Plays a recording on an instrument.

    Args:
      recording: one voice or instrument, in any format that libsndfile reads.
      to: the folder of a trained model, an instrument's name (ddspx instruments), the folder or
        archive of a model that others have published; a recording of one instrument, which is
        then played; or what is between several timbres and recordings, such as violin+flute:0.3,
        where weights are from 0 to 1 and names without one share the rest.
      output: the .wav, .flac or .ogg file to write, as long as the recording.
      config: the musician's settings.
      seed: seed of the instrument's noise.
      report: a .png file for a plot of both sounds. The command then also measures how well the
        result follows the recording, and prints it (needs the extra plot).
    """
    with _picture_file(report, (recording, output)) as picture:
        quality = None
        with progress() as bar:
            done = timbre.transfer(recording, output, to=to, config=config, seed=seed, progress=bar)
            if picture is not None:
                bar("measuring", 0.0, None)
                quality = timbre.evaluate_transfer(output, done)
                bar("drawing", 0.0, None)
                figure = timbre.plot_transfer(recording, output, done)
                figure.savefig(picture, format="png")
        for line in _summary(output, done):
            say(line)
        if quality is not None:
            for line in _quality_lines(quality):
                say(line)


@contextmanager
def _picture_file(path: Path | None, sounds: tuple[Path, Path]) -> Iterator[Path | None]:
    """Checks the picture's path before any work; yields a temporary file for it, or None."""
    if path is None:
        yield None
        return
    ddspx.plot.require_plotting()
    if path.suffix.lower() != ".png":
        raise ValueError(f"`report` must be a .png file, got {path}.")
    if os.path.realpath(path) in map(os.path.realpath, sounds):
        raise ValueError(f"`report` must be a file of its own, got {path}, which is a sound.")
    with io.replacing_file(path) as temporary:
        # Raises an error now if the folder cannot be written to.
        temporary.touch()
        yield temporary


def _summary(output: Path, report: "timbre.TransferReport") -> list[str]:
    """Returns a transfer's report as lines of text."""
    seconds = report.n_samples / report.sample_rate
    lines = [
        f"{output}: {seconds:.2f} s at {report.sample_rate} Hz, peak {report.peak:.2f}",
        f"confident pitch in {report.confident_share:.0%} of the audible frames, "
        f"moved by {report.octaves:+d} octaves, tuned {100 * report.played.tuning:+.0f} cents",
    ]
    if report.played.refitted_share > 0:
        lines.append(
            f"{report.played.refitted_share:.1%} of the notes moved on their own, into the "
            "instrument's range"
        )
    for name, unit, source, played in (
        ("pitch", "Hz", report.source_f0_hz, report.played_f0_hz),
        ("loudness", "dB", report.source_loudness_db, report.played_loudness_db),
    ):
        if report.confident_share > 0:
            values = f"recording {_row(source)}, played {_row(played)}"
            lines.append(f"{name} (5, 50, 95 %): {values} {unit}")
    return lines


def _quality_lines(quality: "timbre.TransferQuality") -> list[str]:
    """Returns the measures of how well the result follows the recording as lines of text."""
    if math.isnan(quality.f0_cents):
        return ["the result has no note with a pitch to measure"]
    return [
        f"pitch against the requested pitch: {quality.f0_cents:.1f} cents (median), "
        f"{quality.octave_error_share:.1%} octave errors, "
        f"no pitch in {1 - quality.pitched_share:.1%} of the notes",
        f"loudness against the recording's: correlation {quality.loudness_correlation:.2f}",
        _counted("clicks", quality.click_times_s),
        _counted("squeaks", quality.squeak_times_s),
    ]


def _counted(name: str, times_s: tuple[float, ...]) -> str:
    """Returns the number of some faults, and the times of the first five."""
    times = ", ".join(f"{time_s:.2f}" for time_s in times_s[:5])
    return f"{name}: {len(times_s)}" + (f" (at {times} s)" if times_s else "")


def _row(values: "timbre.Percentiles") -> str:
    return " ".join(f"{value:.1f}" for value in values)
