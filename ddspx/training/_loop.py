"""The training loop: steps, regular evaluations on the valid split, and the best weights kept.

One loop serves every kind of model. A `Task` holds everything that differs between them.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import Progress as Bar

from ddspx._text import printable
from ddspx._typing import Array, Bool
from ddspx.training._config import RunConfig
from ddspx.training._devices import (
    gathered,
    is_writer,
    placements,
    put_batches,
    put_state,
)
from ddspx.training._logging import NoLog, RunLog, console_here, has_tensorboard, progress_bar
from ddspx.training._processes import Condition, check_alike, in_turn, together
from ddspx.training._run import Best, RunFacts, RunFolder, owned_run, run_path
from ddspx.training._state import TrainState
from ddspx.training._step import StepReport, several_steps
from ddspx.training._stopping import interruptible, raise_if_stopped, stop_request
from ddspx.training._task import Measured, Task
from ddspx.training._waiting import TimedBatches

# Recordings of a batch that an error names.
_NAMED = 8
# Steps in a row that are skipped before the run ends; more can be no chance.
_MOST_SKIPPED = 100


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

    The run belongs to this process until it ends (`io.owned`). What the result says of `output` is
    what that folder holds: it is written again if it is gone, or not as the run wrote it. If the
    newest checkpoint is damaged, the newest one that is whole is taken, and a line says so.

    Args:
      begin: makes the task; called when the run belongs to this process, and `output` has been
        found to be unused, or of a run.
      output: the model folder to make.
      config: the settings of the training.
      console: where the progress bar and a line per evaluation are printed; by default the screen.

    Returns:
      The step at which the run ended, and the weights that are in `output`.

    Raises:
      OwnedError: another process is training to `output`.
      ValueError: the settings are not those of the run that `output` belongs to, or the batch
        cannot be divided among the devices.
      FileExistsError: `output` exists and does not belong to a training run.
      OSError: a file cannot be written, because the disk is full, for example.
      FloatingPointError: the loss, its gradient or the weights are not finite any more. The newest
        checkpoint is from before.
      ModuleNotFoundError: a package that training needs is not installed.
    """
    with together() as agreed:
        return _trained(begin, Path(output), config, console_here(console), agreed)


def _trained(
    begin: Callable[[], Task],
    output: Path,
    config: RunConfig,
    console: Console,
    agreed: Callable[[Condition], Condition],
) -> TrainResult:
    minutes = math.inf if config.max_minutes is None else config.max_minutes
    deadline = time.monotonic() + 60 * minutes
    say = partial(console.print, soft_wrap=True, markup=False)
    with owned_run(output) as ownership:
        task = in_turn(begin)
        run = _Run(task, RunFolder(output, ownership, task, config, say), config)
        if run.taken:
            say(f"resuming from step {run.taken}")
        run.mend_model()
        if not has_tensorboard():
            say('logging to metrics.jsonl only; to log for TensorBoard: pip install "ddspx[train]"')
        with (
            RunLog(run_path(output) / "logs", step=run.taken) if is_writer() else NoLog() as log,
            progress_bar(console) as bar,
            stop_request() as stop,
        ):
            is_stopped = agreed(stop.is_set)
            is_late = agreed(lambda: time.monotonic() >= deadline)
            with interruptible(is_stopped):
                _take_steps(run, log, bar, say, lambda: is_stopped() or is_late())
            run.settle(log)
            if run.taken > run.saved:
                run.save()
            run.mend_model()
    return TrainResult(run.taken, run.facts.kept, run.is_finished)


def _take_steps(
    run: "_Run",
    log: RunLog,
    bar: Bar,
    say: Callable[[str], object],
    is_over: Callable[[], bool],
) -> None:
    """Takes the steps and evaluations that are left, until the last one or `is_over`."""
    shown = partial(bar.update, bar.add_task("train", total=run.steps, **run.shown()))
    while True:
        if run.is_due:
            say(run.evaluate(log))
        if run.taken >= run.steps or is_over():
            return
        run.step(log)
        shown(**run.shown())


class _Run:
    """A run between two steps: its state on the devices, and its position in the data.

    Attributes:
      taken: the number of steps taken.
      saved: the step of the newest checkpoint.
      facts: what its next checkpoint says.
    """

    def __init__(self, task: Task, folder: RunFolder, config: RunConfig) -> None:
        self._task, self._folder, self._config = task, folder, config
        check_alike(model=task.model, data=task.data, config=config.to_json())
        self._every, self._each = placements(config.batch_size)
        self._batches = TimedBatches(task.batches)
        self._pending: StepReport | None = None
        self._clock: deque[tuple[float, int]] = deque(maxlen=20)
        self.taken = self.saved = self._skipped_in_a_row = 0
        state, self.facts = task.state, RunFacts(batches={})
        found = folder.resume()
        if found is not None:
            self.taken, state, self.facts = found
            self.saved = self.taken
            self._batches.set_state(self.facts.batches)
        self._state = put_state(state, self._every, shard_optimizer=config.shard_optimizer)

    @property
    def steps(self) -> int:
        """The number of steps of the whole run."""
        return self._config.steps

    @property
    def is_due(self) -> bool:
        """Whether the weights are to be evaluated, and have not been."""
        is_regular = self.taken % self._config.evaluate_every == 0
        return self.taken > self.facts.evaluated and (is_regular or self.taken >= self.steps)

    @property
    def is_finished(self) -> bool:
        """Whether all steps have been taken, and the last one evaluated."""
        return self.taken >= self.steps and not self.is_due

    def shown(self) -> dict[str, Any]:
        """What the progress bar shows."""
        loss = math.nan if self.facts.loss is None else self.facts.loss
        fields = {"loss": loss, "rate": self.rate, "skipped": self.facts.skipped}
        return {"completed": self.taken, **fields}

    def step(self, log: RunLog) -> None:
        """Starts one step or several, then waits for the report of those before.

        The device would be idle if the host waited for a step's report before starting the next.
        """
        count = self._config.steps_per_dispatch
        if count > self._until_a_pause():
            count = 1
        batches = [next(self._batches) for _ in range(count)]
        take = self._task.step
        if count > 1:
            take = several_steps(take, self._every, shard_optimizer=self._config.shard_optimizer)
        self._state, report = take(self._state, put_batches(batches, self._each))
        self.settle(log)
        self._pending = report
        self.taken += count

    def _until_a_pause(self) -> int:
        """The number of steps until the next evaluation or the last step."""
        every = self._config.evaluate_every
        return min(self.steps - self.taken, every - self.taken % every)

    def settle(self, log: RunLog) -> None:
        """Waits for the last reports and logs them.

        Raises:
          FloatingPointError: a step is not finite, and such steps are not to be skipped, or too
            many in a row have been.
        """
        if self._pending is None:
            return
        losses, norms = (np.atleast_1d(value) for value in self._pending)
        self._pending = None
        self._clock.append((time.monotonic(), self.taken))
        first = self.taken - len(losses) + 1
        for step, (loss, norm) in enumerate(zip(losses, norms, strict=True), first):
            loss, norm = float(loss), float(norm)
            if math.isfinite(loss) and math.isfinite(norm):
                self.facts = self.facts._replace(loss=loss)
                self._skipped_in_a_row = 0
                log.scalars(step, {"train/loss": loss, "train/gradient_norm": norm})
            elif self._config.skip_nonfinite:
                self.facts = self.facts._replace(skipped=self.facts.skipped + 1)
                log.scalars(step, {"train/skipped_steps": float(self.facts.skipped)})
                self._skipped_in_a_row += 1
                if self._skipped_in_a_row >= _MOST_SKIPPED:
                    reason = f"{_MOST_SKIPPED} steps in a row were not finite, and were skipped"
                    raise self._diverged(step, f"{reason}; the last had {self._recordings(step)}")
            else:
                reason = f"the loss is {loss} and the norm of its gradient {norm}"
                raise self._diverged(step, f"{reason}, for {self._recordings(step)}")

    def _recordings(self, step: int) -> str:
        names = self._batches.recordings(step)
        others = f" and {len(names) - _NAMED} others" if len(names) > _NAMED else ""
        return f"a batch of {', '.join(map(printable, names[:_NAMED]))}{others}"

    def _diverged(self, step: int, reason: str) -> FloatingPointError:
        newest = f"the newest checkpoint is that of step {self.saved}" if self.saved else ""
        skip = ", or leave such steps out by `skip_nonfinite` (--skip-nonfinite)"
        return FloatingPointError(
            f"Training stopped at step {step}: {reason}; {newest or 'there is no checkpoint yet'}. "
            f"Start again with a lower learning rate{'' if self._config.skip_nonfinite else skip}."
        )

    @property
    def rate(self) -> float:
        """Steps per second over the last few reports; NaN before the second one."""
        if len(self._clock) < 2:
            return math.nan
        (began, before), (ended, after) = self._clock[0], self._clock[-1]
        return (after - before) / (ended - began) if ended > began else math.nan

    def evaluate(self, log: RunLog) -> str:
        """Measures the loss on the valid split, and keeps the weights if it is the lowest so far.

        The checkpoint that says so is written before the model folder.

        Returns:
          One line of text about it.

        Raises:
          StopRequested: the run is to end.
          FloatingPointError: the weights or their loss on the valid split are not finite.
        """
        self.settle(log)
        waited = self._batches.waiting_share()
        log.scalars(self.taken, {"train/input_wait": waited})
        raise_if_stopped()
        measured, before = self._measured(log), self.facts.best
        loss = None if measured is None else measured.loss
        if not (loss is None or math.isfinite(loss) or self._config.skip_nonfinite):
            raise self._diverged(self.taken, f"the loss on the valid split is {loss}")
        is_best = loss is None or before.loss is None or loss < before.loss
        if is_best and (loss is None or math.isfinite(loss)):
            kept = Best(self.taken, loss)
        else:
            kept = before
        is_regular = self.taken % self._config.evaluate_every == 0
        best = kept if is_regular else before
        self.facts = self.facts._replace(evaluated=self.taken, best=best, kept=kept)
        self.save()
        if kept.step == self.taken:
            self._folder.write_model(self._state, self.facts)
        else:
            self.mend_model()
        line = self._line(measured, waited, log)
        self._clock.clear()
        self._batches.restart()
        return line

    def _measured(self, log: RunLog) -> Measured | None:
        """Evaluates the weights on the valid split; None if there is none."""
        return self._task.measure and self._task.measure(self._state, log)

    def _line(self, measured: Measured | None, waited: float, log: RunLog) -> str:
        """Logs an evaluation, and describes it."""
        loss, skipped = self.facts.loss, self.facts.skipped
        line = f"step {self.taken}: train {math.nan if loss is None else loss:.3f}"
        if skipped:
            line = f"{line}, {skipped} steps skipped"
        if measured is None:
            return f"{line}, no valid split, weights saved"
        scalars = {"loss": measured.loss, **measured.others}
        log.scalars(self.taken, {f"valid/{name}": value for name, value in scalars.items()})
        others = ", ".join(f"{name} {value:.3f}" for name, value in measured.others.items())
        line = f"{line}, valid {measured.loss:.3f}" + (f" ({others})" if others else "")
        if not math.isnan(self.rate):
            line = f"{line}, {self.rate:.2f} steps/s, {waited:.0%} waiting for input"
        return f"{line}, best so far" if self.facts.kept.step == self.taken else line

    def save(self) -> None:
        """Writes a checkpoint, unless the state is not finite.

        Raises:
          FloatingPointError: the weights, or what belongs to them, are not finite.
        """
        if not gathered(_is_finite(self._state)):
            raise self._diverged(self.taken, "the weights are not finite")
        self.facts = self.facts._replace(batches=self._batches.get_state())
        self._folder.save(self.taken, self._state, self.facts)
        self.saved = self.taken

    def mend_model(self) -> None:
        """Writes the model folder again, unless it holds the weights that are kept."""
        self._folder.mend_model(self.facts.kept)


@jax.jit
def _is_finite(state: TrainState) -> Bool[Array, ""]:
    """Whether all numbers of a state are finite."""
    numbers = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.isfinite(x).all() for x in numbers]))
