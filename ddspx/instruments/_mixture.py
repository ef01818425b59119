"""The text that names several timbres with their weights, such as "violin+flute:0.3"."""

import os
from collections.abc import Mapping
from pathlib import Path

from ddspx._checks import number

# Weights are written with a few decimals, and their sum is rounded.
_SLACK = 1e-6


def parse_mixture(text: str) -> dict[str, float]:
    """Reads "NAME[:WEIGHT]+NAME[:WEIGHT]..."; names without a weight share the rest alike.

    A name may hold a colon, as paths on Windows do: what follows the last one is a weight only if
    it is a number.

    Returns:
      The weight of each name; they add up to 1.

    Raises:
      ValueError: a name is missing or given twice, a weight is not from 0 to 1, or the weights do
        not add up to 1.
    """
    given: dict[str, float | None] = {}
    for part in text.split("+"):
        name, weight = _part(part.strip())
        if not name:
            raise ValueError(
                f"{text!r} lacks a name beside a + or a weight; write it like violin+flute:0.3."
            )
        if name in given:
            raise ValueError(f"{text!r} names {name!r} twice; give it once, with one weight.")
        if weight is not None:
            _check(name, weight)
        given[name] = weight
    total = sum(weight for weight in given.values() if weight is not None)
    n_open = sum(weight is None for weight in given.values())
    if total > 1 + _SLACK or (not n_open and total < 1 - _SLACK):
        raise ValueError(
            f"The weights in {text!r} add up to {total:g}, not to 1; leave one out, and it gets "
            "what the others leave."
        )
    rest = max(0.0, 1 - total) / max(1, n_open)
    return {name: rest if weight is None else weight for name, weight in given.items()}


def check_is_no_source(output: str | Path, source: str | Path) -> None:
    """Raises a ValueError if writing `output` would replace a file that `source` names.

    That is the recording or archive of an instrument, or a recording of a mixture.
    """
    parts = (_part(part.strip())[0] for part in str(source).split("+"))
    if os.path.realpath(output) in map(os.path.realpath, filter(None, (str(source), *parts))):
        raise ValueError(f"{output} is a recording of the instrument; choose another output.")


def check_weights(weights: Mapping[str, float]) -> None:
    """Raises a TypeError or ValueError unless all are numbers from 0 to 1 that add up to 1."""
    for name, weight in weights.items():
        number(f"weights[{name!r}]", weight, least=0, most=1)
    if not abs(sum(weights.values()) - 1) <= _SLACK:
        raise ValueError(f"`weights` must add up to 1, got {dict(weights)}.")


def _check(name: str, weight: float) -> None:
    if not 0 <= weight <= 1:
        raise ValueError(f"The weight of {name!r} must be from 0 to 1, got {weight:g}.")


def _part(part: str) -> tuple[str, float | None]:
    """The name and the weight of a part."""
    name, colon, number = part.rpartition(":")
    if colon:
        try:
            return name.strip(), float(number)
        except ValueError:
            pass
    return part, None
