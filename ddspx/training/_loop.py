"""The training loop: steps, regular evaluations on the valid split, and the best weights kept.

One loop serves every kind of model. A `Task` holds everything that differs between them.
"""

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rich.console import Console

from ddspx.training._config import RunConfig
from ddspx.training._logging import RunLog, progress_bar, summary_writer
from ddspx.training._run import Best, RunFolder
from ddspx.training._state import TrainState
from ddspx.training._step import StepReport, several_steps
from ddspx.training._stopping import stop_request


@runtime_checkable
class Batches(Protocol):
    """An endless iterator of training batches, whose position can be saved.

    A batch is a tree of arrays whose first axis is the examples.
    """

    def __next__(self) -> Any: ...

    def get_state(self) -> dict[str, Any]:
        """Returns the position as a dict that JSON can hold."""
        ...

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from a saved position."""
        ...


class Measured(NamedTuple):
    """The measures of a step's weights on the valid split.

    The weights with the lowest `loss` are kept; `others` are logged by their names.
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
        first sharding of `placements`.
      measure: evaluates the weights of a state on the valid split, and may log more; None if there
        is no valid split.
      save: writes the weights of a state as a model folder. The last argument, a dict for the
        provenance, tells the step and its losses.
    """

    model: Mapping[str, Any]
    data: str
    batches: Batches
    state: TrainState
    step: Callable[[TrainState, Any], tuple[TrainState, StepReport]]
    measure: Callable[[TrainState, RunLog], Measured] | None
    save: Callable[[Path, TrainState, dict[str, Any]], None]


class TrainResult(NamedTuple):
    """The step at which a run ended, the weights in `output`, and whether all steps were taken."""

    step: int
    best: Best
    finished: bool


def run_task(
    begin: Callable[[], Task],
    output: str | Path,
    *,
    config: RunConfig,
    console: Console | None = None,
) -> TrainResult:
    """Runs a task from its first step, or resumes it where it was interrupted.

    Args:
      begin: makes the task; called after `output` has been found to be unused, or of a run.
      output: the model folder to make.
      config: the settings of the training.
      console: where the progress bar and a line per evaluation are printed; by default the screen.

    Returns:
      The step at which the run ended, and the weights that are in `output`.

    Raises:
      ValueError: a checkpoint is damaged, the settings are not those of the run that `output`
        belongs to, or the batch cannot be divided among the devices.
      FileExistsError: `output` exists and does not belong to a training run.
      FloatingPointError: the loss or its gradient is not finite any more.
      ModuleNotFoundError: a package that training needs is not installed.
    """
    output, console = Path(output), console or Console()
    minutes = math.inf if config.max_minutes is None else config.max_minutes
    deadline = time.monotonic() + 60 * minutes
    folder = RunFolder(output)
    folder.check_output()
    run = _Run(begin(), folder, config)
    if run.taken:
        console.print(f"resuming from step {run.taken}")
    if summary_writer() is None:
        console.print(
            'logging to metrics.jsonl only; to log for TensorBoard: pip install "ddspx[train]"',
            soft_wrap=True,
            markup=False,
        )
    with (
        RunLog(folder.path / "logs", step=run.taken) as log,
        progress_bar(console) as bar,
        stop_request() as stop,
    ):
        task = bar.add_task(
            "train", total=config.steps, completed=run.taken, loss=run.loss, rate=run.rate
        )
        while run.taken < config.steps and not stop.is_set() and time.monotonic() < deadline:
            run.step(log)
            bar.update(task, completed=run.taken, loss=run.loss, rate=run.rate)
            if run.taken % config.evaluate_every == 0:
                console.print(run.evaluate(log), soft_wrap=True)
                run.save()
        run.settle(log)
        finished = run.taken >= config.steps
        if finished and run.evaluated < run.taken:
            console.print(run.evaluate(log), soft_wrap=True)
        if run.taken > run.saved:
            run.save()
    return TrainResult(run.taken, run.kept, finished)


class _Run:
    """A run between two steps: its state on the devices, and its position in the data.

    Attributes:
      taken: the number of steps taken.
      saved: the step of the newest checkpoint.
      evaluated: the step of the newest evaluation.
      loss: the loss of the newest step whose report has arrived.
      best: the best weights of the regular evaluations, at multiples of `evaluate_every`. They do
        not depend on the step at which the run was ended or interrupted.
      kept: the weights in the model folder. They differ from `best` only after the last step of a
        run that ends between two regular evaluations.
    """

    def __init__(self, task: Task, folder: RunFolder, config: RunConfig) -> None:
        self._task, self._folder, self._config = task, folder, config
        folder.check_claim(task.model, task.data, config)
        self._every, self._each = placements(config.batch_size)
        # Several batches, of which each has its examples split over the devices.
        self._stack = NamedSharding(self._each.mesh, PartitionSpec(None, *self._each.spec))
        self._state = jax.device_put(task.state, self._every)
        self._pending: StepReport | None = None
        self._clock: deque[tuple[float, int]] = deque(maxlen=20)
        self.taken = self.saved = self.evaluated = 0
        self.loss, self.best, self.kept = math.nan, Best(), Best()
        self._resume()
        # Written last, after all checks, so that a refused run leaves no file behind.
        folder.claim(task.model, task.data, config)

    def _resume(self) -> None:
        """Restores the newest checkpoint, if there is one."""
        found = self._folder.restore(self._state)
        if found is None:
            return
        step, state, facts = found
        self._state = jax.device_put(state, self._every)
        self._task.batches.set_state(facts["batches"])
        self.best, self.kept = Best(**facts["best"]), Best(**facts["kept"])
        self.loss, self.evaluated = facts["loss"], facts["evaluated"]
        self.taken = self.saved = step

    def step(self, log: RunLog) -> None:
        """Starts one step or several, then waits for the report of those before.

        The device would be idle if the host waited for a step's report before starting the next.
        """
        count = self._config.steps_per_dispatch
        if count > self._until_a_pause():
            count = 1
        batches = [next(self._task.batches) for _ in range(count)]
        if count == 1:
            batch = jax.device_put(batches[0], self._each)
            self._state, report = self._task.step(self._state, batch)
        else:
            stacked = jax.tree.map(lambda *each: np.stack(each), *batches)
            steps = several_steps(self._task.step, self._every)
            self._state, report = steps(self._state, jax.device_put(stacked, self._stack))
        self.settle(log)
        self._pending = report
        self.taken += count

    def _until_a_pause(self) -> int:
        """The number of steps until the next evaluation or the last step."""
        every = self._config.evaluate_every
        return min(self._config.steps - self.taken, every - self.taken % every)

    def settle(self, log: RunLog) -> None:
        """Waits for the last reports, logs them, and raises a FloatingPointError if not finite."""
        if self._pending is None:
            return
        losses, norms = (np.atleast_1d(value) for value in self._pending)
        self._pending = None
        self._clock.append((time.monotonic(), self.taken))
        first = self.taken - len(losses) + 1
        for step, (loss, norm) in enumerate(zip(losses, norms, strict=True), first):
            self.loss, norm = float(loss), float(norm)
            if not (math.isfinite(self.loss) and math.isfinite(norm)):
                raise FloatingPointError(
                    f"Training stopped at step {step}: the loss is {self.loss} and the norm "
                    f"of its gradient {norm}; start again with a lower learning rate."
                )
            log.scalars(step, {"train/loss": self.loss, "train/gradient_norm": norm})

    @property
    def rate(self) -> float:
        """Steps per second over the last few reports; NaN before the second one."""
        if len(self._clock) < 2:
            return math.nan
        (began, before), (ended, after) = self._clock[0], self._clock[-1]
        return (after - before) / (ended - began)

    def evaluate(self, log: RunLog) -> str:
        """Measures the loss on the valid split, and keeps the weights if it is the lowest so far.

        Returns:
          One line of text about it.
        """
        self.settle(log)
        self.evaluated = self.taken
        line = f"step {self.taken}: train {self.loss:.3f}"
        measured = self._measured(log)
        if measured is None:
            self._keep(Best(self.taken))
            return f"{line}, no valid split, weights saved"
        scalars = {"loss": measured.loss, **measured.others}
        log.scalars(self.taken, {f"valid/{name}": value for name, value in scalars.items()})
        others = ", ".join(f"{name} {value:.3f}" for name, value in measured.others.items())
        line = f"{line}, valid {measured.loss:.3f}" + (f" ({others})" if others else "")
        if not math.isnan(self.rate):
            line = f"{line}, {self.rate:.2f} steps/s"
        self._clock.clear()
        if self.best.loss is None or measured.loss < self.best.loss:
            self._keep(Best(self.taken, measured.loss))
            return f"{line}, best so far"
        self._folder.put_back()
        self.kept = self.best
        return line

    def save(self) -> None:
        """Writes a checkpoint."""
        facts = {
            "batches": self._task.batches.get_state(),
            "best": self.best._asdict(),
            "kept": self.kept._asdict(),
            "evaluated": self.evaluated,
            "loss": self.loss,
        }
        keep = self._config.keep_checkpoints
        self._folder.save(self.taken, self._state, facts, keep=keep)
        self.saved = self.taken

    def _measured(self, log: RunLog) -> Measured | None:
        """Evaluates the weights on the valid split; None if there is none."""
        return self._task.measure and self._task.measure(self._state, log)

    def _keep(self, chosen: Best) -> None:
        """Writes the weights to the model folder."""
        regular = self.taken % self._config.evaluate_every == 0
        selected = {
            "by": "last step (no valid split)"
            if chosen.loss is None
            else "lowest loss on the valid split",
            "step": chosen.step,
            "valid_loss": chosen.loss,
            "train_loss": self.loss,
        }
        self._folder.publish(
            lambda output: self._task.save(output, self._state, selected),
            regular=regular,
            best=self.best,
        )
        self.kept = chosen
        if regular:
            self.best = chosen


def placements(batch_size: int) -> tuple[NamedSharding, NamedSharding]:
    """Returns two shardings: a copy on every device, and the first axis split over the devices."""
    devices = jax.local_devices()
    if batch_size % len(devices):
        raise ValueError(
            f"`batch_size` must be a multiple of the {len(devices)} devices, got {batch_size}."
        )
    mesh = Mesh(np.array(devices), ("batch",))
    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("batch"))
