"""`ddspx transfer`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ddspx import transfer as timbre
from ddspx.features import conditioning_features
from ddspx.io import read_audio, replacing_file
from ddspx.plot import Sound, plot_sounds, require_matplotlib


def transfer(
    recording: Annotated[Positional[Path], arg(metavar="RECORDING")],
    *,
    to: Annotated[str, arg(metavar="MODEL")],
    output: Annotated[Path, arg(aliases=["-o"], metavar="FILE")],
    octave: Annotated[int | None, arg(metavar="N")] = None,
    loudness_db: Annotated[float, arg(metavar="X")] = 0.0,
    seed: int = 0,
    plot: Annotated[Path | None, arg(metavar="PNG")] = None,
) -> None:
    """Plays a recording on an instrument.

    Args:
      recording: one voice or instrument, in any format that libsndfile reads.
      to: the folder of a trained model, or an instrument's name (`ddspx instruments`).
      output: the .wav, .flac or .ogg file to write, as long as the recording.
      octave: octaves to move the pitch by; by default to the instrument's range.
      loudness_db: dB to add to the loudness, which is matched to the instrument's.
      seed: of the instrument's noise.
      plot: a picture of both sounds to draw as well (needs the extra `plot`).
    """
    if plot is not None:
        require_matplotlib()
    report = timbre.transfer(
        recording, output, to=to, octave=octave, loudness_shift_db=loudness_db, seed=seed
    )
    print(_summary(output, report))
    if plot is not None:
        _draw(plot, (recording, output), report)


def _draw(picture: Path, paths: tuple[Path, Path], report: timbre.TransferReport) -> None:
    """Both sounds side by side, with features measured as the model hears them."""
    sounds = []
    for path in paths:
        audio = read_audio(path, sample_rate=report.sample_rate)
        features = conditioning_features(
            audio, sample_rate=report.sample_rate, hop_length=report.hop_length
        )
        sounds.append(Sound(path.name, audio, *features))
    figure = plot_sounds(sounds, sample_rate=report.sample_rate)
    with replacing_file(picture) as temporary:
        figure.savefig(temporary, format="png")


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
