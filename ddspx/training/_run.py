"""The folder of a run, and the model folder that it makes: all that a run writes but its log.

The checkpoints are the truth about a run. Each holds the settings, the position in the data, and
which weights are kept, whose own checkpoint stays on the disk. The model folder is written after
the checkpoint that says so, and can be made from it again at any time.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ddspx.io import (
    Ownership,
    owned,
    read_json,
    replacing_file,
    replacing_folder,
    restore_checkpoint,
    save_checkpoint,
)
from ddspx.io._checkpoints import (
    checkpoint_facts,
    checkpoint_steps,
    digests_of,
    whole_checkpoint,
)
from ddspx.io._leftovers import is_temporary, sweep_owned
from ddspx.io._replacing import write_errors
from ddspx.training._config import RunConfig
from ddspx.training._devices import is_writer, of_this_process, on_host
from ddspx.training._processes import all_gather
from ddspx.training._state import TrainState, from_arrays, to_arrays
from ddspx.training._task import Task

# It changes after training, when the model is evaluated; `selected` in it does not.
_PROVENANCE = "provenance.json"


class Best(NamedTuple):
    """The weights that are kept: their step, and their loss on the valid split.

    Step 0 means that no weights have been kept yet. The loss is None without a valid split.
    """

    step: int = 0
    loss: float | None = None


class RunFacts(NamedTuple):
    """What a checkpoint says about a run, beside the state.

    Attributes:
      batches: the position in the data.
      best: the best weights of the regular evaluations, at multiples of `evaluate_every`. They do
        not depend on the step at which the run was ended or interrupted.
      kept: the weights in the model folder. They differ from `best` only after the last step of a
        run that ends between two regular evaluations.
      evaluated: the step of the newest evaluation.
      loss: the loss of the newest step whose loss was finite; None before the first one.
      skipped: how many steps were skipped, because they were not finite.
    """

    batches: dict[str, Any]
    best: Best = Best()
    kept: Best = Best()
    evaluated: int = 0
    loss: float | None = None
    skipped: int = 0

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "RunFacts":
        """Makes the facts of what `to_json` returned."""
        best, kept = (Best(**fields[name]) for name in ("best", "kept"))
        return cls(**{name: fields[name] for name in cls._fields})._replace(best=best, kept=kept)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a dict that JSON can hold."""
        return self._asdict() | {"best": self.best._asdict(), "kept": self.kept._asdict()}

    def selected(self) -> dict[str, Any]:
        """What the provenance says about the weights that are kept, while they are the newest."""
        no_valid = self.kept.loss is None
        return {
            "by": "last step (no valid split)" if no_valid else "lowest loss on the valid split",
            "step": self.kept.step,
            "valid_loss": self.kept.loss,
            "train_loss": self.loss,
            "skipped_steps": self.skipped,
        }


def run_path(output: Path) -> Path:
    """The folder of the run that makes a model folder."""
    return output.with_name(f"{output.name}.run")


@contextmanager
def owned_run(output: Path) -> Iterator[Ownership | None]:
    """Makes this process the only one that trains to `output`, until the ``with`` block ends.

    Yields:
      The ownership of the run's folder; None in all but one of several processes of a run.

    Raises:
      OwnedError: another process is training to `output`.
      FileExistsError: `output` exists and does not belong to a training run.
    """
    path = run_path(output)
    if not is_writer():
        yield None
        return
    with owned(path, what="training") as ownership:
        is_run = (path / "run.json").is_file() or bool(checkpoint_steps(path / "checkpoints"))
        if output.exists() and not (is_run and output.is_dir()):
            raise FileExistsError(
                f"{output} exists and does not belong to a training run, whose folder would be "
                f"{path}; choose another output."
            )
        sweep_owned(path.parent, [output.name, path.name])
        for folder in (path, path / "checkpoints", path / "logs"):
            sweep_owned(folder)
        yield ownership


class RunFolder:
    """The files of one run: ``<output>.run``, and the model folder `output` itself.

    Args:
      output: the model folder.
      ownership: from `owned_run`; a process without it writes nothing.
      task: what is trained.
      config: the settings of the training.
      say: prints a line of text.
    """

    def __init__(
        self,
        output: Path,
        ownership: Ownership | None,
        task: Task,
        config: RunConfig,
        say: Callable[[str], object],
    ) -> None:
        self._output, self._ownership, self._say = output, ownership, say
        self._task, self._config, self._path = task, config, run_path(output)
        self._settings, self._checkpoints = self._path / "run.json", self._path / "checkpoints"
        self._written = self._path / "model.json"
        kinds = jax.eval_shape(to_arrays, task.state)
        self._like = jax.tree.map(lambda kind: np.empty(kind.shape, kind.dtype), kinds)

    def resume(self) -> tuple[int, TrainState, RunFacts] | None:
        """Restores the newest checkpoint that is whole, and puts newer ones, damaged, aside.

        Returns:
          The step, the state and the facts; None if the run starts from the beginning.

        Raises:
          ValueError: the folder holds a run with other settings or other data; or no checkpoint is
            whole; or another process of the run has restored one that this one does not see.
        """
        if self._ownership is not None:
            found = self._newest()
            all_gather("0" if found is None else str(found[0]))
            return found
        step = int(all_gather("")[0])
        try:
            return self._restored(step) if step else None
        except ValueError as error:
            raise ValueError(
                f"process 0 has restored the checkpoint of step {step}, which process "
                f"{jax.process_index()} cannot ({str(error).rstrip('.')}); the output must be on a "
                "file system that all processes share."
            ) from error

    def _newest(self) -> tuple[int, TrainState, RunFacts] | None:
        damaged: dict[int, str] = {}
        step = whole_checkpoint(self._checkpoints, report=lambda *each: damaged.update([each]))
        found = None
        if step is not None:
            facts = checkpoint_facts(self._checkpoints, step)
            self._check_claim(facts.get("settings"))
            found = self._restored(step)
        elif damaged:
            newest = max(damaged)
            raise ValueError(
                f"{self._path} has checkpoints, and all are damaged (that of step {newest}: "
                f"{damaged[newest]}); {self._how_to_start_again()}."
            )
        elif self._output.exists():
            self._check_claim(self._read_settings())
        # Nothing is changed before all checks, so that a refused run leaves all as it was.
        for newer, damage in damaged.items():
            self._put_aside(newer, damage)
        self._write_json(self._settings, self._claim(self._config.to_json()))
        return found

    def _restored(self, step: int) -> tuple[int, TrainState, RunFacts]:
        _, arrays, facts = restore_checkpoint(self._checkpoints, self._like, step=step)
        return step, from_arrays(arrays), RunFacts.from_json(facts)

    def save(self, step: int, state: TrainState, facts: RunFacts) -> None:
        """Writes a checkpoint, and deletes those that no other needs any more."""
        arrays = on_host(to_arrays(state))
        if self._ownership is None:
            return
        self._ownership.check()
        keep, needed = self._config.keep_checkpoints, {facts.best.step, facts.kept.step}
        before = [other for other in checkpoint_steps(self._checkpoints) if other < step]
        for other in before[max(0, len(before) + 1 - keep) :]:
            # A damaged one needs none.
            with suppress(OSError, ValueError, TypeError, KeyError):
                theirs = RunFacts.from_json(checkpoint_facts(self._checkpoints, other))
                needed |= {theirs.best.step, theirs.kept.step}
        save_checkpoint(
            self._checkpoints,
            step,
            arrays,
            facts.to_json() | {"settings": self._claim(self._config.deciding())},
            keep=keep,
            also_keep=needed,
            overwrite=True,
        )

    def write_model(self, state: TrainState, facts: RunFacts) -> None:
        """Writes the model folder, in which files of others stay.

        Args:
          state: the weights that are kept.
          facts: those of a checkpoint of this state.
        """
        if self._ownership is None:
            return
        self._ownership.check()
        selected = facts.selected()
        with replacing_folder(self._output, overwrite=True) as staged:
            staged.rmdir()
            self._task.save(staged, of_this_process(state), selected)
            digests = digests_of(staged)
            for path in self._output.rglob("*"):
                name = path.relative_to(self._output)
                if any(map(is_temporary, name.parts)) or name.as_posix() in digests:
                    continue
                if path.is_file():
                    (staged / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, staged / name)
        self._write_json(self._written, {"selected": selected, "sha256": digests})

    def mend_model(self, kept: Best) -> None:
        """Writes the model folder again from a checkpoint, unless it holds the kept weights.

        Raises:
          ValueError: the checkpoint of these weights is damaged too.
        """
        if self._ownership is None or not kept.step or self._holds(kept):
            return
        try:
            _, state, facts = self._restored(kept.step)
        except ValueError as error:
            raise ValueError(
                f"{self._output} does not hold the weights of step {kept.step}, and they cannot "
                f"be restored; {self._how_to_start_again()}. ({error})"
            ) from error
        self.write_model(state, facts)
        self._say(f"{self._output} holds the weights of step {kept.step} again")

    def _holds(self, kept: Best) -> bool:
        """Whether the model folder is as it was written with the kept weights."""
        try:
            written = read_json(self._written)
            selected, digests = written["selected"], dict(written["sha256"])
            found = digests_of(self._output)
            changed = {name for name, digest in digests.items() if found.get(name) != digest}
            if changed == {_PROVENANCE}:
                provenance = read_json(self._output / _PROVENANCE)
                changed = set() if provenance["selected"] == selected else changed
            return not changed and (selected["step"], selected["valid_loss"]) == kept
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _claim(self, training: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": self._task.model, "training": training, "data": self._task.data}

    def _read_settings(self) -> Any:
        try:
            return read_json(self._settings)
        except (OSError, ValueError) as error:
            raise self._damaged_settings() from error

    def _damaged_settings(self) -> ValueError:
        return ValueError(f"{self._settings} is damaged; {self._how_to_start_again()}.")

    def _how_to_start_again(self) -> str:
        # What is there without its run is never replaced.
        also = f", and move {self._output} elsewhere" if self._output.exists() else ""
        return f"delete {self._path} to start again{also}"

    def _check_claim(self, saved: Any) -> None:
        """Raises a ValueError if the run was begun with other settings or other data."""
        try:
            if saved["model"] != self._task.model:
                difference = "the sizes of the model differ"
            elif saved["data"] != self._task.data:
                difference = "the dataset is another one, or the model that it starts from"
            else:
                difference = self._config.difference(saved["training"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._damaged_settings() from error
        if difference:
            raise ValueError(
                f"{self._path} holds a run with other settings ({difference}); use the same "
                "settings to resume it, or choose another output."
            )

    def _put_aside(self, step: int, damage: str) -> None:
        aside = self._checkpoints / f"{step}.damaged"
        with write_errors(aside):
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(self._checkpoints / str(step), aside)
        self._say(f"the checkpoint of step {step} is damaged ({damage}); it is now {aside}")

    def _write_json(self, path: Path, fields: dict[str, Any]) -> None:
        with replacing_file(path) as temporary:
            temporary.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
