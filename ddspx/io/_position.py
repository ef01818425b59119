"""Where batches go on: their position, and what it is a position in."""

from collections.abc import Mapping
from typing import Any


def position_of(state: Mapping[str, Any], facts: Mapping[str, Any]) -> Any:
    """The position in a saved state.

    Args:
      state: what `get_state` of a batch iterator returned.
      facts: what the iterator was made of, which the state has to agree with.

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
