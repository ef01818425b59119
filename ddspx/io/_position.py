"""Saved positions of batch iterators, and checks that they belong to the same data and settings."""

from collections.abc import Mapping
from typing import Any


def position_of(state: Mapping[str, Any], facts: Mapping[str, Any]) -> Any:
    """The position in a saved state, after a check that the state fits the iterator.

    Args:
      state: result of `get_state` of a batch iterator.
      facts: data and settings of the iterator, which must be the same in the state.

    Raises:
      ValueError: the state was saved with other data or settings.
    """
    for name, value in facts.items():
        if state.get(name) != value:
            raise ValueError(
                f"`state` was saved with {name} {state.get(name)!r}, but these batches "
                f"have {value!r}; resume with the settings of the first run."
            )
    return state["position"]
