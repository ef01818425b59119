"""The controls of the page, one for each field of a TransferConfig, in a musician's words.

The page draws its controls from this table alone, and `config_of` turns their values into the
config. A test compares the table with the fields of the config and their ranges.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from ddspx.io._json import FINITE
from ddspx.transfer import RANGES, TransferConfig


class Slider(NamedTuple):
    """A slider for a number."""

    field: str
    label: str
    info: str
    step: float

    @property
    def low(self) -> float:
        return float(RANGES[self.field][0])

    @property
    def high(self) -> float:
        return float(RANGES[self.field][1])


class Switch(NamedTuple):
    """A checkbox."""

    field: str
    label: str
    info: str


class Choice(NamedTuple):
    """A choice of one of a few options, which are pairs of the text shown and the value."""

    field: str
    label: str
    info: str
    options: tuple[tuple[str, str], ...]


Control = Slider | Switch | Choice


class Group(NamedTuple):
    """Controls that are shown together under a title."""

    title: str
    controls: tuple[Control, ...]


GROUPS = (
    Group(
        "Pitch",
        (
            Switch(
                "adjust",
                "Fit to the instrument",
                "Moves the melody into its range by whole octaves, and adapts your dynamics to it.",
            ),
            Slider("pitch_shift", "Octaves", "Down or up, in addition to the fit.", 1),
            Slider("autotune", "Autotune", "0: as you sang it; 1: exactly in tune.", 0.05),
            Choice(
                "scale",
                "Autotune to",
                "The major key that fits best, or all twelve notes.",
                (("major", "major"), ("chromatic", "chromatic")),
            ),
            Slider("smoothing_ms", "Smooth (ms)", "Evens out slides and vibrato.", 5),
        ),
    ),
    Group(
        "Notes",
        (
            Slider("threshold", "Note threshold", "Higher: a note has to be louder.", 0.05),
            Slider("quiet_db", "Hush (dB)", "How much softer the sound between notes is.", 1),
            Slider("confidence", "Certainty", "A less certain pitch is not played.", 0.05),
        ),
    ),
    Group(
        "Sound",
        (
            Slider("loudness_shift_db", "Dynamics (dB)", "Plays softer or louder.", 1),
            Slider("follow", "Follow", "How exactly the instrument follows your loudness.", 0.05),
            Slider("wet", "Mix", "0: only your recording; 1: only the instrument.", 0.05),
            Slider("reverb", "Room", "0: no reverb; 1: the instrument's own; 2: twice that.", 0.05),
            Slider("breath", "Breath", "0: not played; 1: breath and consonants as noise.", 0.05),
        ),
    ),
)
CONTROLS = tuple(control for group in GROUPS for control in group.controls)


def default_of(control: Control) -> Any:
    """Returns the initial value of a control, which is the default of its field."""
    return {field.name: field.default for field in fields(TransferConfig)}[control.field]


def config_of(values: Sequence[Any]) -> TransferConfig:
    """Makes the config from the values of the controls, in the order of `CONTROLS`.

    A number takes the type of its field, because JSON does not distinguish 1 and 1.0.

    Raises:
      ValueError: a value is missing, or `TransferConfig` does not allow it.
    """
    named = {}
    for control, value in zip(CONTROLS, values, strict=True):
        if value is None:
            raise ValueError(f"Give a value for “{control.label}”.")
        kind = type(default_of(control))
        if kind in (int, float) and FINITE.allows(value) and kind(value) == value:
            value = kind(value)
        named[control.field] = value
    try:
        return TransferConfig(**named)
    except (TypeError, ValueError) as error:
        sentence = str(error)
        for control in CONTROLS:
            sentence = sentence.replace(f"`{control.field}`", f"“{control.label}”")
        raise ValueError(sentence) from error
