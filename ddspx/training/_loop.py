"""The training loop: steps, regular evaluations on the valid split, and the best weights kept.

One loop serves every kind of model. A `Task` holds everything that differs between them.
"""

import dataclasses
import json
import math
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rich.console import Console

from ddspx.io import (
    latest_checkpoint,
    read_json,
    replacing_file,
    replacing_folder,
    restore_checkpoint,
    save_checkpoint,
)
from ddspx.training._config import RunConfig
from ddspx.training._logging import RunLog, progress_bar, summary_writer
from ddspx.training._state import TrainState, from_arrays, to_arrays
from ddspx.training._step import StepReport, several_steps


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


class Best(NamedTuple):
    """The weights that are kept: their step, and their loss on the valid split.

    Step 0 means that no weights have been kept yet. The loss is None without a valid split.
    """

    step: int = 0
    loss: float | None = None


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
    folder = output.with_name(f"{output.name}.run")
    if output.exists() and not (folder / "run.json").is_file():
        raise FileExistsError(
            f"{output} exists and does not belong to a training run, whose folder would be "
            f"{folder}; choose another output."
        )
    run = _Run(begin(), output, folder, config)
    if run.taken:
        console.print(f"resuming from step {run.taken}")
    if summary_writer() is None:
        console.print(
            'logging to metrics.jsonl only; to log for TensorBoard: pip install "ddspx[train]"',
            soft_wrap=True,
            markup=False,
        )
    with (
        RunLog(run.folder / "logs", step=run.taken) as log,
        progress_bar(console) as bar,
        _stop_request() as stop,
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
    """A run between two steps: its state on the devices, its position in the data, its folder.

    Attributes:
      folder: ``<output>.run``.
      taken: the number of steps taken.
      saved: the step of the newest checkpoint.
      evaluated: the step of the newest evaluation.
      loss: the loss of the newest step whose report has arrived.
      best: the best weights of the regular evaluations, at multiples of `evaluate_every`. They do
        not depend on the step at which the run was ended or interrupted.
      kept: the weights in the model folder. They differ from `best` only after the last step of a
        run that ends between two regular evaluations.
    """

    def __init__(self, task: Task, output: Path, folder: Path, config: RunConfig) -> None:
        self._task, self._output, self._config = task, output, config
        self.folder, self._best_folder = folder, folder / "best"
        _check_claim(folder, output, task, config)
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
        settings = {"model": task.model, "training": config.to_json(), "data": task.data}
        _write_json(folder / "run.json", settings)

    def _resume(self) -> None:
        """Restores the newest checkpoint, if there is one."""
        checkpoints = self.folder / "checkpoints"
        if latest_checkpoint(checkpoints) is None:
            return
        step, arrays, facts = restore_checkpoint(checkpoints, to_arrays(self._state))
        self._state = jax.device_put(from_arrays(arrays), self._every)
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
        self._put_back()
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
        save_checkpoint(
            self.folder / "checkpoints",
            self.taken,
            to_arrays(self._state),
            facts,
            keep=self._config.keep_checkpoints,
        )
        self.saved = self.taken

    def _measured(self, log: RunLog) -> Measured | None:
        """Evaluates the weights on the valid split; None if there is none."""
        return self._task.measure and self._task.measure(self._state, log)

    def _keep(self, chosen: Best) -> None:
        """Writes the weights to the model folder.

        At the last step, between two regular evaluations, the best model is copied first, to be
        put back if the run is resumed.
        """
        regular = self.taken % self._config.evaluate_every == 0
        if not regular and self.best.step and self._output.exists():
            if not self._best_folder.exists():
                _copy_folder(self._output, self._best_folder)
        selected = {
            "by": "last step (no valid split)"
            if chosen.loss is None
            else "lowest loss on the valid split",
            "step": chosen.step,
            "valid_loss": chosen.loss,
            "train_loss": self.loss,
        }
        self._task.save(self._output, self._state, selected)
        self.kept = chosen
        if regular:
            self.best = chosen
            shutil.rmtree(self._best_folder, ignore_errors=True)

    def _put_back(self) -> None:
        """Puts the best weights back into the model folder, if a last step replaced them."""
        if self._best_folder.exists():
            _copy_folder(self._best_folder, self._output)
            shutil.rmtree(self._best_folder)
        self.kept = self.best


def placements(batch_size: int) -> tuple[NamedSharding, NamedSharding]:
    """Returns two shardings: a copy on every device, and the first axis split over the devices."""
    devices = jax.local_devices()
    if batch_size % len(devices):
        raise ValueError(
            f"`batch_size` must be a multiple of the {len(devices)} devices, got {batch_size}."
        )
    mesh = Mesh(np.array(devices), ("batch",))
    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("batch"))


def _check_claim(folder: Path, output: Path, task: Task, config: RunConfig) -> None:
    """Raises a ValueError if the run folder holds a run with other settings or other data."""
    path = folder / "run.json"
    is_begun = output.exists() or latest_checkpoint(folder / "checkpoints") is not None
    if not path.is_file() or not is_begun:
        return
    try:
        saved = read_json(path)
        model, training, data = saved["model"], saved["training"], saved["data"]
        if model != task.model:
            difference = "the sizes of the model differ"
        elif data != task.data:
            difference = "the dataset is another one, or the model that it starts from"
        else:
            difference = config.difference(training)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is damaged; delete {folder} to start again.") from error
    if difference:
        raise ValueError(
            f"{folder} holds a run with other settings ({difference}); use the same settings to "
            "resume it, or choose another output."
        )


def _copy_folder(source: Path, target: Path) -> None:
    with replacing_folder(target, overwrite=True) as temporary:
        shutil.copytree(source, temporary, dirs_exist_ok=True)


def _write_json(path: Path, fields: dict[str, Any]) -> None:
    with replacing_file(path) as temporary:
        temporary.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _stop_request() -> Iterator[threading.Event]:
    """Makes Ctrl-C and SIGTERM set the event that it yields, so that a step is always completed.

    A second Ctrl-C interrupts at once. Outside the main thread no handler can be set, so signals
    keep their usual effect there.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number: int, frame: Any) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
