"""What is trained: all that differs between the training of one kind of model and another."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ddspx.training._logging import RunLog
from ddspx.training._state import TrainState
from ddspx.training._step import StepReport


@runtime_checkable
class Batches(Protocol):
    """An endless iterator of training batches, whose position can be saved.

    A batch is a tree of arrays whose first axis is the examples. Of several processes each has only
    its rows of a batch: those that follow the rows of the process before it.
    """

    def __next__(self) -> Any: ...

    def get_state(self) -> dict[str, Any]:
        """Returns the position as a dict that JSON can hold."""
        ...

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from a saved position."""
        ...

    def recordings(self, step: int) -> tuple[str, ...]:
        """Returns the names of the recordings in the batch of a step; the first step is 1."""
        ...


class Measured(NamedTuple):
    """The measures of a step's weights on the valid split.

    The weights with the lowest `loss` are kept; `others` are logged by their names. A loss that is
    not finite ends the run, or is never the lowest with `RunConfig.skip_nonfinite`.
    """

    loss: float
    others: Mapping[str, float] = {}


@dataclasses.dataclass(frozen=True)
class Task:
    """All that differs between the training of one kind of model and another.

    Attributes:
      model: the sizes of the model, as JSON; a run can be resumed only with the same sizes.
      data: a hash of the data; a run can be resumed only with the same data.
      batches: the batches of the training steps.
      state: the state before the first step, on the host.
      step: compiled function of (state, batch) that takes a step; the state it returns has the
        first sharding of `placements`. Of a step that is not finite it must return the weights
        unchanged, as that of `train_step` does.
      measure: evaluates the weights of a state on the valid split, and may log more; None if there
        is no valid split.
      save: writes the weights of a state as a model folder. The last argument, a dict for the
        provenance, tells the step and its losses. It must write the same whenever it is called
        with the same, because a model folder that is gone is written again.
    """

    model: Mapping[str, Any]
    data: str
    batches: Batches
    state: TrainState
    step: Callable[[TrainState, Any], tuple[TrainState, StepReport]]
    measure: Callable[[TrainState, RunLog], Measured] | None
    save: Callable[[Path, TrainState, dict[str, Any]], None]
