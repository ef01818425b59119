"""The training run: steps, now and then a look at the valid split, the best weights kept."""

import dataclasses
import hashlib
import json
import math
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rich.console import Console

from ddspx import __version__
from ddspx._typing import Array, Key
from ddspx.io import (
    Batch,
    Manifest,
    evaluation_batches,
    latest_checkpoint,
    read_manifest,
    replacing_file,
    replacing_folder,
    restore_checkpoint,
    save_checkpoint,
    training_batches,
)
from ddspx.models.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    InstrumentStatistics,
    save_autoencoder,
)
from ddspx.training._config import TrainConfig
from ddspx.training._data import check_dataset, dataset_statistics
from ddspx.training._logging import RunLog, progress_bar, summary_writer
from ddspx.training._state import TrainState, from_arrays, initial_state, to_arrays
from ddspx.training._step import (
    StepReport,
    adam,
    autoencoder_evaluation,
    autoencoder_loss,
    train_step,
)

_HEARD_EXAMPLES = 3


class Best(NamedTuple):
    """Weights that were chosen: their step, and their loss on the valid split.

    Step 0 stands for none yet; the loss is None where the dataset has no valid split.
    """

    step: int = 0
    loss: float | None = None


class TrainResult(NamedTuple):
    """Where a run ended, which weights are in `output`, and whether it took all its steps."""

    step: int
    best: Best
    finished: bool


def train(
    dataset: str | Path,
    output: str | Path,
    *,
    model: AutoencoderConfig,
    config: TrainConfig | None = None,
    console: Console | None = None,
) -> TrainResult:
    """Trains an autoencoder on a prepared dataset and writes it as a model folder.

    Every `config.evaluate_every` steps, and after the last one, the loss on the valid split is
    measured. Whenever it is the lowest so far the weights are written to `output`, so that
    folder holds the best model of the run and can be played while training goes on. The test
    split is never read. Without a valid split the newest weights are kept.

    What only the run needs is beside it, in ``<output>.run``::

        run.json              the settings and the data; a run goes on only with the same
        checkpoints/<step>/   the last few states, with the place in the data
        best/                 while `output` holds the last step of a run between two regular
                              evaluations: the model that is compared with if the run goes on
        logs/metrics.jsonl    a line per step and per evaluation
        logs/events.*         the same for TensorBoard, with a few examples to listen to

    Called again with the same arguments, a run that was cut short goes on from its newest
    checkpoint and ends in the same weights, bit for bit, as one that was not, wherever it was
    cut: Ctrl-C (or SIGTERM) and the clock end it after the current step, with a checkpoint and
    without an evaluation, and a last step between two evaluations decides what is in `output`
    only until the run goes on with more steps. Where there are several devices, each takes its
    part of every batch. Nothing is written before the data, the model and what training needs
    have been found usable, and a run that never came to a checkpoint can be begun anew with
    other settings.

    Args:
      dataset: folder that `prepare` wrote.
      output: the model folder to make.
      model: the sizes of the model. Its rates must be the dataset's.
      config: how to train; by default DDSP's numbers.
      console: where the progress bar and a line per evaluation go; by default the screen.

    Returns:
      Where the run ended.

    Raises:
      ValueError: the rates differ, the dataset's features are of another version, its contents
        are damaged, a checkpoint is, the settings are not those of the run that `output`
        belongs to, or the batch does not divide among the devices.
      FileExistsError: `output` exists and does not belong to a training run.
      FloatingPointError: the loss or its gradient is no longer finite.
      ModuleNotFoundError: what training needs is not installed.
    """
    config, console = config or TrainConfig(), console or Console()
    minutes = math.inf if config.max_minutes is None else config.max_minutes
    deadline = time.monotonic() + 60 * minutes
    run = _Run(Path(dataset), Path(output), model, config)
    if run.taken:
        console.print(f"going on from step {run.taken}")
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
                console.print(run.evaluate(log))
                run.save()
        run.settle(log)
        finished = run.taken >= config.steps
        if finished and run.evaluated < run.taken:
            console.print(run.evaluate(log))
        if run.taken > run.saved:
            run.save()
    return TrainResult(run.taken, run.kept, finished)


class _Run:
    """A run between two steps: its state on the devices, its place in the data, its folder.

    Attributes:
      folder: ``<output>.run``.
      taken: steps taken.
      saved: the step of the newest checkpoint.
      evaluated: the step of the newest evaluation.
      loss: of the newest step whose report has arrived.
      best: the best of the regular evaluations, at multiples of `evaluate_every`: what a run
        of any length finds.
      kept: the weights in the model folder; other than `best` only after the last step of a
        run, if that is between two regular evaluations.
    """

    def __init__(
        self, dataset: Path, output: Path, model: AutoencoderConfig, config: TrainConfig
    ) -> None:
        self._manifest, self._config = read_manifest(dataset), config
        check_dataset(self._manifest, model)
        self._statistics = dataset_statistics(dataset, self._manifest)
        summary_writer()
        self._every, self._each = _placements(config.batch_size)
        self._dataset, self._output = dataset, output
        self.folder = output.with_name(f"{output.name}.run")
        self._best_folder = self.folder / "best"
        settings = _settings(self._manifest, model, config)
        _check_claim(self.folder, output, settings)
        self._batches = training_batches(dataset, batch_size=config.batch_size, seed=config.seed)
        if self._manifest.splits["valid"].n_examples:
            evaluation_batches(dataset, split="valid", batch_size=1)
        rate = config.learning_rate, config.decay_rate, config.decay_steps
        self._programs = _programs(model, *rate, config.clip_norm, self._every)
        params = nnx.state(Autoencoder(model, rngs=nnx.Rngs(config.seed)), nnx.Param)
        state = initial_state(nnx.to_pure_dict(params), self._programs.optimizer, seed=config.seed)
        self._state = jax.device_put(state, self._every)
        self._pending: StepReport | None = None
        self._clock: deque[float] = deque(maxlen=20)
        self.taken = self.saved = self.evaluated = 0
        self.loss, self.best, self.kept = math.nan, Best(), Best()
        self._resume()
        # Claimed when all else is known to be good: what was refused leaves nothing behind.
        _write_json(self.folder / "run.json", settings)

    def _resume(self) -> None:
        """Goes back to the newest checkpoint, if there is one."""
        checkpoints = self.folder / "checkpoints"
        if latest_checkpoint(checkpoints) is None:
            return
        step, arrays, facts = restore_checkpoint(checkpoints, to_arrays(self._state))
        self._state = jax.device_put(from_arrays(arrays), self._every)
        self._batches.set_state(facts["batches"])
        self.best, self.kept = Best(**facts["best"]), Best(**facts["kept"])
        self.loss, self.evaluated = facts["loss"], facts["evaluated"]
        self.taken = self.saved = step

    def step(self, log: RunLog) -> None:
        """Starts one step, then waits for the report of the one before it.

        Waiting for the step's own report would leave the device idle meanwhile.
        """
        batch = jax.device_put(next(self._batches), self._each)
        self._state, report = self._programs.step(self._state, batch)
        self.settle(log)
        self._pending = report
        self.taken += 1

    def settle(self, log: RunLog) -> None:
        """Waits for the last report, logs it and makes sure that it is finite."""
        if self._pending is None:
            return
        self.loss, norm = (float(value) for value in self._pending)
        self._pending = None
        self._clock.append(time.monotonic())
        if not (math.isfinite(self.loss) and math.isfinite(norm)):
            raise FloatingPointError(
                f"Training stopped at step {self.taken}: the loss is {self.loss} and the norm "
                f"of its gradient {norm}; start again with a lower learning rate."
            )
        log.scalars(self.taken, {"train/loss": self.loss, "train/gradient_norm": norm})

    @property
    def rate(self) -> float:
        """Steps per second over the last few steps, NaN before there are two."""
        if len(self._clock) < 2:
            return math.nan
        return (len(self._clock) - 1) / (self._clock[-1] - self._clock[0])

    def evaluate(self, log: RunLog) -> str:
        """Measures the loss on the valid split, keeps the weights if it is the lowest so far.

        Returns:
          What happened, in a line.
        """
        self.settle(log)
        self.evaluated = self.taken
        line = f"step {self.taken}: train {self.loss:.3f}"
        if not self._manifest.splits["valid"].n_examples:
            self._keep(Best(self.taken))
            return f"{line}, no valid split, weights kept"
        loss = self._valid_loss(log)
        log.scalars(self.taken, {"valid/loss": loss})
        line = f"{line}, valid {loss:.3f}, {self.rate:.2f} steps/s"
        self._clock.clear()
        if self.best.loss is None or loss < self.best.loss:
            self._keep(Best(self.taken, loss))
            return f"{line}, best so far"
        self._put_back()
        return line

    def save(self) -> None:
        """Writes a checkpoint."""
        facts = {
            "batches": self._batches.get_state(),
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

    def _valid_loss(self, log: RunLog) -> float:
        """Mean loss over the valid split; the first few examples are logged as sound."""
        size, losses = self._config.batch_size, []
        batches = evaluation_batches(self._dataset, split="valid", batch_size=size)
        for index, batch in enumerate(batches):
            n_examples = len(batch.audio)
            # Always the same noise, so that two evaluations differ by the weights alone.
            key = jax.random.fold_in(jax.random.key(0), index)
            padded = jax.device_put(_padded(batch, size), self._each)
            loss, audio = self._programs.evaluation(self._state.params, key, padded)
            losses.append(np.asarray(loss)[:n_examples])
            if index == 0:
                heard = min(_HEARD_EXAMPLES, n_examples)
                self._log_audio(log, batch.audio[:heard], np.asarray(audio)[:heard])
        return float(np.mean(np.concatenate(losses)))

    def _log_audio(self, log: RunLog, targets: np.ndarray, renderings: np.ndarray) -> None:
        rate = self._manifest.sample_rate
        for index, (target, rendering) in enumerate(zip(targets, renderings, strict=True)):
            if self.taken <= self._config.evaluate_every:
                log.audio(self.taken, f"valid/{index}/target", target, sample_rate=rate)
            log.audio(self.taken, f"valid/{index}/model", rendering, sample_rate=rate)

    def _keep(self, chosen: Best) -> None:
        """Writes the weights to the model folder; for good at a regular evaluation only."""
        regular = self.taken % self._config.evaluate_every == 0
        if not regular and self.best.step and self._output.exists():
            if not self._best_folder.exists():
                _copy_folder(self._output, self._best_folder)
        save_autoencoder(
            self._output,
            nnx.merge(self._programs.graphdef, self._state.params),
            statistics=self._statistics,
            provenance=_provenance(self._manifest, self._statistics, self._config)
            | {
                "selected": {
                    "by": "lowest loss on the valid split"
                    if chosen.loss is not None
                    else "last step (no valid split)",
                    "step": chosen.step,
                    "valid_loss": chosen.loss,
                    "train_loss": self.loss,
                }
            },
        )
        self.kept = chosen
        if regular:
            self.best = chosen
            shutil.rmtree(self._best_folder, ignore_errors=True)

    def _put_back(self) -> None:
        """Gives the model folder back to the best weights, where a last step is in it."""
        if self._best_folder.exists():
            _copy_folder(self._best_folder, self._output)
            shutil.rmtree(self._best_folder)
        self.kept = self.best


class _Programs(NamedTuple):
    """What is compiled for a run."""

    graphdef: nnx.GraphDef
    optimizer: optax.GradientTransformation
    step: Callable[[TrainState, Batch], tuple[TrainState, StepReport]]
    evaluation: Callable[[Any, Key, Batch], tuple[Array, Array]]


@lru_cache(maxsize=2)
def _programs(
    model: AutoencoderConfig,
    learning_rate: float,
    decay_rate: float,
    decay_steps: int,
    clip_norm: float,
    placement: NamedSharding,
) -> _Programs:
    """Kept between calls, so that going on with a run in one process does not compile again."""
    shape = nnx.eval_shape(lambda: Autoencoder(model, rngs=nnx.Rngs(0)))
    graphdef, _ = nnx.split(shape, nnx.Param)
    optimizer = adam(
        learning_rate=learning_rate,
        decay_rate=decay_rate,
        decay_steps=decay_steps,
        clip_norm=clip_norm,
    )
    return _Programs(
        graphdef,
        optimizer,
        train_step(autoencoder_loss(graphdef), optimizer, placement=placement),
        autoencoder_evaluation(graphdef),
    )


def _placements(batch_size: int) -> tuple[NamedSharding, NamedSharding]:
    """On every device a copy, and on each device its part of the first axis."""
    devices = jax.local_devices()
    if batch_size % len(devices):
        raise ValueError(
            f"`batch_size` must be a multiple of the {len(devices)} devices, got {batch_size}."
        )
    mesh = Mesh(np.array(devices), ("batch",))
    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("batch"))


def _padded(batch: Batch, size: int) -> Batch:
    """The batch filled up to `size` with copies of its first example, for one compilation."""
    missing = size - len(batch.audio)
    return Batch(*(np.concatenate([a, np.repeat(a[:1], missing, axis=0)]) for a in batch))


def _settings(manifest: Manifest, model: AutoencoderConfig, config: TrainConfig) -> dict[str, Any]:
    """What makes a run the same run."""
    data = json.dumps(dataclasses.asdict(manifest), sort_keys=True).encode()
    return {
        "model": model.to_json(),
        "training": config.to_json(),
        "data": hashlib.sha256(data).hexdigest(),
    }


def _provenance(
    data: Manifest, statistics: InstrumentStatistics, config: TrainConfig
) -> dict[str, Any]:
    """Where a model comes from, as far as it is known before training."""
    return {
        "ddspx": __version__,
        "jax": jax.__version__,
        "data": {
            "licence": data.licence,
            "attribution": data.attribution,
            "sources": [dataclasses.asdict(source) for source in data.sources],
            "prepared": {
                "sample_rate": data.sample_rate,
                "hop_length": data.hop_length,
                "example_length": data.example_length,
                **statistics.pitch_range_hz,
                "feature_version": data.feature_version,
            },
            "splits": {
                name: {"n_examples": split.n_examples, "duration_s": split.duration_s}
                for name, split in data.splits.items()
            },
        },
        "training": config.to_json(),
    }


def _check_claim(folder: Path, output: Path, settings: dict[str, Any]) -> None:
    """Makes sure that a run folder is free, or that its run is the one to go on with."""
    path = folder / "run.json"
    if not path.is_file() and output.exists():
        raise FileExistsError(
            f"{output} exists and is not of a run in {folder}; choose another output."
        )
    is_begun = output.exists() or latest_checkpoint(folder / "checkpoints") is not None
    if not path.is_file() or not is_begun:
        return
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        theirs = saved["model"], saved["training"], saved["data"]
        config = TrainConfig(**settings["training"])
        if theirs[0] != settings["model"]:
            difference = "the sizes of the model differ"
        elif theirs[2] != settings["data"]:
            difference = "the dataset is another one"
        else:
            difference = config.difference(theirs[1])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is damaged; delete {folder} to train anew.") from error
    if difference:
        raise ValueError(
            f"{folder} holds a run with other settings ({difference}); use those to go on "
            "with it, or choose another output."
        )


def _copy_folder(source: Path, target: Path) -> None:
    with replacing_folder(target, overwrite=True) as temporary:
        shutil.copytree(source, temporary, dirs_exist_ok=True)


def _write_json(path: Path, fields: dict[str, Any]) -> None:
    with replacing_file(path) as temporary:
        temporary.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _stop_request() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that a step is never cut in half.

    A second Ctrl-C interrupts at once. Outside the main thread signals are left alone.
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
