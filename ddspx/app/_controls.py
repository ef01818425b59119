"""The controls of the page, one for each field of a TransferConfig, in a musician's words.

The page draws its controls from this table alone, and `config_of` turns their values into the
config. A test compares the table with the fields of the config and their ranges.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple

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
        ),
    ),
)
CONTROLS = tuple(control for group in GROUPS for control in group.controls)


def default_of(control: Control) -> Any:
    """Returns the initial value of a control, which is the default of its field."""
    return {field.name: field.default for field in fields(TransferConfig)}[control.field]


def config_of(values: Sequence[Any]) -> TransferConfig:
    """Makes the config from the values of the controls, in the order of `CONTROLS`.

    For a field of whole numbers 1.0 is accepted as well, because JSON does not distinguish the two.

    Raises:
      ValueError: a value is missing, out of its range, or not a whole number in such a field.
    """
    named = {}
    for control, value in zip(CONTROLS, values, strict=True):
        if value is None:
            raise ValueError(f"Give a value for “{control.label}”.")
        if isinstance(control, Slider):
            value = _number(control, value)
        elif isinstance(control, Switch) and not isinstance(value, bool):
            raise ValueError(f"“{control.label}” must be on or off, got {value!r}.")
        elif isinstance(control, Choice) and value not in [option for _, option in control.options]:
            raise ValueError(f"“{control.label}” has no option {value!r}.")
        named[control.field] = value
    return TransferConfig(**named)


def _number(control: Slider, value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"“{control.label}” takes a number, got {value!r}.")
    if not control.low <= value <= control.high:
        raise ValueError(
            f"“{control.label}” goes from {control.low:g} to {control.high:g}, got {value:g}."
        )
    if not isinstance(default_of(control), int):
        return float(value)
    if value != round(value):
        raise ValueError(f"“{control.label}” takes whole numbers, got {value:g}.")
    return round(value)
