"""The controls of the page, one for each field of a TransferConfig, in a musician's words.

This table is all that the page knows of them: it draws what is here, and `config_of` turns the
values it gets back into the config. A test holds it against the fields and their ranges.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from ddspx.transfer import RANGES, TransferConfig


class Slider(NamedTuple):
    """A number that is set by dragging."""

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
    """What is on or off."""

    field: str
    label: str
    info: str


class Choice(NamedTuple):
    """One of a few; `options` are pairs of what is read and what is meant."""

    field: str
    label: str
    info: str
    options: tuple[tuple[str, str], ...]


Control = Slider | Switch | Choice


class Group(NamedTuple):
    """Controls that belong together."""

    title: str
    controls: tuple[Control, ...]


GROUPS = (
    Group(
        "Pitch",
        (
            Switch(
                "adjust",
                "Fit to the instrument",
                "Moves what is out of its range by whole octaves, and your dynamics to its own.",
            ),
            Slider("pitch_shift", "Octaves", "Down or up, beside the fit.", 1),
            Slider("autotune", "Autotune", "0 as you sang it, 1 exactly in tune.", 0.05),
            Choice(
                "scale",
                "Autotune to",
                "In the key that fits best, or all notes.",
                (("major", "major"), ("chromatic", "chromatic")),
            ),
            Slider("smoothing_ms", "Smooth (ms)", "Evens out slides and vibrato.", 5),
        ),
    ),
    Group(
        "Notes",
        (
            Slider("threshold", "Note threshold", "Higher: a note has to be louder.", 0.05),
            Slider("quiet_db", "Hush (dB)", "How much softer it is between notes.", 1),
            Slider("confidence", "Certainty", "A less certain pitch is not played.", 0.05),
        ),
    ),
    Group(
        "Sound",
        (
            Slider("loudness_shift_db", "Dynamics (dB)", "Played softer or louder.", 1),
            Slider("follow", "Follow", "How exactly it keeps to your loudness.", 0.05),
            Slider("wet", "Mix", "0 is your recording, 1 the instrument.", 0.05),
            Slider("reverb", "Room", "0 is dry, 1 its own room, 2 twice that.", 0.05),
        ),
    ),
)
CONTROLS = tuple(control for group in GROUPS for control in group.controls)


def default_of(control: Control) -> Any:
    """What a control says before it is touched: the default of its field."""
    return {field.name: field.default for field in fields(TransferConfig)}[control.field]


def config_of(values: Sequence[Any]) -> TransferConfig:
    """The config that the controls say, from their values in the order of `CONTROLS`.

    A page's 1 may arrive as 1.0, where only whole numbers are meant too.

    Raises:
      ValueError: a value is missing, out of its range, or between whole numbers.
    """
    named = {}
    for control, value in zip(CONTROLS, values, strict=True):
        if value is None:
            raise ValueError(f"Give a value for “{control.label}”.")
        if isinstance(control, Slider):
            value = _number(control, value)
        elif isinstance(control, Switch) and not isinstance(value, bool):
            raise ValueError(f"“{control.label}” is on or off, got {value!r}.")
        elif isinstance(control, Choice) and value not in [meant for _, meant in control.options]:
            raise ValueError(f"“{control.label}” has no choice {value!r}.")
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
