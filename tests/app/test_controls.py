"""The table of controls against the config that it is for."""

import dataclasses
import re

import pytest

from ddspx.app._controls import CONTROLS, Choice, Slider, config_of, default_of
from ddspx.transfer import TransferConfig

FIELDS = {field.name: field.default for field in dataclasses.fields(TransferConfig)}
DEFAULTS = [default_of(control) for control in CONTROLS]


def another_value(control):
    """A value that the control can take and does not have at first."""
    if isinstance(control, Slider):
        return control.high if default_of(control) != control.high else control.low
    if isinstance(control, Choice):
        return next(value for _, value in control.options if value != default_of(control))
    return not default_of(control)


def with_another(control):
    """The values of all controls, one of them changed."""
    return [
        another_value(control) if other is control else default
        for other, default in zip(CONTROLS, DEFAULTS, strict=True)
    ]


def test_every_field_has_one_control():
    assert sorted(control.field for control in CONTROLS) == sorted(FIELDS)


def test_the_default_values_give_the_default_config():
    assert config_of(DEFAULTS) == TransferConfig()


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.field)
def test_a_control_sets_its_field_and_no_other(control):
    changed = dataclasses.asdict(config_of(with_another(control)))
    assert changed == FIELDS | {control.field: another_value(control)}
    assert {name: type(value) for name, value in changed.items()} == {
        name: type(value) for name, value in FIELDS.items()
    }


@pytest.mark.parametrize(
    "control",
    [control for control in CONTROLS if isinstance(control, Slider)],
    ids=lambda control: control.field,
)
def test_a_slider_reaches_both_ends_and_its_default(control):
    """The page's steps start at the lowest value."""
    for value in (control.high, default_of(control)):
        steps = (value - control.low) / control.step
        assert steps == pytest.approx(round(steps), abs=1e-9)
    values = with_another(control)
    for wrong in (control.low - control.step, control.high + control.step):
        values[CONTROLS.index(control)] = wrong
        with pytest.raises(ValueError, match=r"“.+” must be from .+ to .+, got"):
            config_of(values)


def test_floats_are_accepted_for_whole_numbers():
    values = [float(value) if type(value) is int else value for value in DEFAULTS]
    assert type(config_of(values).pitch_shift) is int


def test_an_empty_control_is_an_error_that_names_it():
    index = next(i for i, control in enumerate(CONTROLS) if control.field == "wet")
    with pytest.raises(ValueError, match="Give a value for “Mix”"):
        config_of([None if i == index else value for i, value in enumerate(DEFAULTS)])


def test_half_an_octave_is_refused(monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    index = next(i for i, control in enumerate(CONTROLS) if control.field == "pitch_shift")
    values = [0.5 if i == index else value for i, value in enumerate(DEFAULTS)]
    with pytest.raises(ValueError, match="“Octaves” must be a whole number"):
        config_of(values)


@pytest.mark.parametrize("strange", ["x", [1], True, float("nan"), float("inf")])
def test_a_wrong_value_is_an_error_that_names_its_control(strange, monkeypatch):
    """Whatever the page's own checks let through."""
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    for i, control in enumerate(CONTROLS):
        if type(strange) is type(default_of(control)) and strange is True:
            continue
        with pytest.raises(ValueError, match=rf"“{re.escape(control.label)}” must be .+\.$"):
            config_of([*DEFAULTS[:i], strange, *DEFAULTS[i + 1 :]])
