"""`ddspx instruments`: list, add, import, pack, remove."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tyro.conf import Positional, arg

from ddspx import instruments as library
from ddspx._text import printable
from ddspx.cli._errors import SkippedInputError, complain, say
from ddspx.instruments import InstrumentCard, InstrumentScores
from ddspx.instruments._mixture import check_is_no_source

if TYPE_CHECKING:
    from ddspx.metrics import Reverberation

# The length of tenor_saxophone, so that no shipped name wraps.
_LONGEST_SHIPPED = 15
# The column of the licence, and the width of Apache-2.0.
_LICENCE, _LEAST_LICENCE = 4, 10
_SCORES = ("spectral_loss", "loudness_l1_db", "f0_l1_semitones")
_CAPTION = (
    "Measured on recordings kept from training: spectral loss, loudness L1 in dB, "
    "f0 L1 in semitones; lower is better."
)
_TIMBRES = (
    "The model of any instrument plays a recording (--to RECORDING), or what is between two or "
    "more timbres (--to violin+flute:0.3). Its timbres:"
)


def instruments() -> None:
    """Lists the shipped and the installed instruments, whose names --to accepts.

    For each instrument it prints the lowest and the highest note, the sample rate, the number and
    the duration of its recordings, their licence, the scores, and the authors to credit.
    """
    names, cards = library.instrument_names(), []
    for name in names:
        try:
            cards.append(library.describe_instrument(name))
        except (OSError, ValueError) as error:
            complain("ddspx instruments", error)
    console = Console()
    if shipped := [card for card in cards if card.is_shipped]:
        _print(console, "Instruments that ship with ddspx", shipped)
    if timbres := library.timbre_names():
        console.print(f"{_TIMBRES} {', '.join(map(printable, timbres))}\n", markup=False)
    if own := [card for card in cards if not card.is_shipped]:
        _print(console, f"Your own, in {printable(library.instruments_folder())}", own)
    if any(card.scores for card in cards):
        console.print(_CAPTION)
    if len(cards) < len(names):
        raise SkippedInputError(f"left out {len(names) - len(cards)} of {len(names)} instruments.")


def add(
    source: Annotated[Positional[Path], arg(metavar="FOLDER-OR-ZIP")],
    *,
    name: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None,
    overwrite: bool = False,
) -> None:
    """Installs a trained model as one of your own instruments, under a name.

    An archive is checked before any file is written, and a model that cannot be loaded is not
    installed. Your instruments are in the folder that the environment variable DDSPX_INSTRUMENTS
    names, or else in the system's folder for user data.

    Args:
      source: a folder that ddspx train wrote, or an archive that instruments pack wrote.
      name: name of the instrument; by default that of the folder or the archive.
      overwrite: replace your instrument of that name if there is one already.
    """
    folder = library.install_instrument(source, name=name, overwrite=overwrite)
    say(f"{folder}: play it with --to {folder.name}")


def import_(
    source: Annotated[Positional[Path], arg(metavar="FOLDER-OR-ZIP")],
    *,
    name: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None,
    overwrite: bool = False,
) -> None:
    """Makes an instrument of a model that others have published, and installs it under a name.

    docs/howto/published_models.md lists the models. Nothing in the files is executed, and no other
    framework is needed. A model of ddspx is installed as instruments add does it.

    Args:
      source: the folder or archive of the model.
      name: name of the instrument; by default that of the folder or the archive.
      overwrite: replace your instrument of that name if there is one already.
    """
    folder = library.import_instrument(source, name=name, overwrite=overwrite)
    say(f"{folder}: play it with --to {folder.name}")


def pack(
    model: Annotated[Positional[str], arg(metavar="MODEL")],
    *,
    output: Annotated[Path, arg(aliases=["-o"], metavar="ZIP")],
) -> None:
    """Makes an archive of a model, which instruments add installs on another machine.

    Args:
      model: the folder of a trained model, or an instrument's name.
      output: the file to write, NAME.zip, where NAME is the name of the instrument there.
    """
    archive = library.pack_instrument(model, output)
    say(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB")


def room(
    model: Annotated[Positional[str], arg(metavar="MODEL")],
    *,
    output: Annotated[Path, arg(aliases=["-o"], metavar="FILE")],
) -> None:
    """Writes the impulse response of an instrument's room, for reverbs of other programs.

    Prints how long the room rings in each octave: the time in which it falls by 60 dB.

    Args:
      model: the folder of a trained model, or an instrument's name.
      output: the sound file to write (.wav, .flac, .ogg).
    """
    check_is_no_source(output, model)
    instrument = library.load_instrument(model)
    path = library.export_room(instrument, output)
    if (measured := library.measure_room(instrument.model)) is not None:
        say(f"{path}: {_ringing(measured)}")


def remove(name: Annotated[Positional[str], arg(metavar="NAME")]) -> None:
    """Deletes one of your own instruments.

    Args:
      name: name of the instrument.
    """
    library.remove_instrument(name)
    say(f"{name} is removed")


def _print(console: Console, title: str, cards: Sequence[InstrumentCard]) -> None:
    """Prints a table with a row for each instrument, then the authors to credit."""
    console.print(f"[bold]{escape(title)}[/bold]")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    rows = [[printable(cell) for cell in _cells(card)] for card in cards]
    headings = ("name", "notes", "rate", "trained on", "licence", "scores")
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    widths[0] = min(widths[0], _LONGEST_SHIPPED)
    # Long names and licences wrap; licences get the width that the numbers leave.
    left = console.width - sum(widths) + widths[_LICENCE] - len(widths) - 1
    widths[_LICENCE] = max(_LEAST_LICENCE, min(widths[_LICENCE], left))
    for heading, width in zip(headings, widths, strict=True):
        table.add_column(heading, overflow="fold", min_width=width, max_width=width)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
    for card in cards:
        if card.attribution is not None:
            console.print(
                f"{card.name}: {printable(card.attribution)}", markup=False, highlight=False
            )
        for how, base in (("adapted from", card.adapted_from), ("made with", card.made_with)):
            if base is not None:
                text = f"{card.name}: {how} {printable(base)}"
                console.print(text, markup=False, highlight=False)
    console.print()


def _cells(card: InstrumentCard) -> list[str]:
    minutes = card.duration_s / 60
    trained = f"{minutes:.1f} min" if minutes >= 1 else f"{card.duration_s:.0f} s"
    trained = trained if minutes > 0 else "not stated"
    if card.n_recordings is not None:
        trained = f"{card.n_recordings} files, {trained}"
    return [
        card.name,
        "-".join(card.notes),
        f"{card.sample_rate / 1000:g} kHz",
        trained,
        card.licence or "not stated",
        _scores(card.scores),
    ]


def _ringing(room: "Reverberation") -> str:
    times = (
        f"{band_hz:g} Hz " + ("does not decay evenly" if math.isnan(time_s) else f"{time_s:.2f} s")
        for band_hz, time_s in zip(room.bands_hz, room.t60_s, strict=True)
    )
    return f"level {room.level_db:.1f} dB, falls by 60 dB in: " + ", ".join(times)


def _scores(scores: InstrumentScores | None) -> str:
    if scores is None:
        return "not measured"
    values = (getattr(scores, name) for name in _SCORES)
    return " / ".join("-" if value is None else f"{value:.2f}" for value in values)
