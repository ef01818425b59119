"""How much of its time a training waits for its input."""

import time
from typing import Any


class TimedBatches:
    """Batches, and the time that was spent waiting for them.

    Args:
      batches: an iterator of batches whose position can be saved, as `io.training_batches` returns.
    """

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        self.restart()

    def __next__(self) -> Any:
        began = time.perf_counter()
        try:
            return next(self._batches)
        finally:
            self._waited_s += time.perf_counter() - began

    def restart(self) -> None:
        """Begins to measure anew."""
        self._began, self._waited_s = time.perf_counter(), 0.0

    def waiting_share(self) -> float:
        """The share of the time since the start that was spent waiting."""
        return self._waited_s / max(time.perf_counter() - self._began, self._waited_s, 1e-9)

    def get_state(self) -> dict[str, Any]:
        """Returns the position of the batches."""
        return self._batches.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from a saved position."""
        self._batches.set_state(state)

    def recordings(self, step: int) -> tuple[str, ...]:
        """Returns the names of the recordings in the batch of a step."""
        return self._batches.recordings(step)
