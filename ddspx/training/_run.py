"""The folder of a run, and the model folder that it makes: all that a run writes but its log."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ddspx.io import (
    Checkpoint,
    latest_checkpoint,
    read_json,
    replacing_file,
    replacing_folder,
    restore_checkpoint,
    save_checkpoint,
)
from ddspx.training._config import RunConfig
from ddspx.training._state import TrainState, from_arrays, to_arrays


class Best(NamedTuple):
    """The weights that are kept: their step, and their loss on the valid split.

    Step 0 means that no weights have been kept yet. The loss is None without a valid split.
    """

    step: int = 0
    loss: float | None = None


class RunFolder:
    """The files of one run: ``<output>.run``, and the model folder `output` itself.

    Attributes:
      path: ``<output>.run``.
      output: the model folder.
    """

    def __init__(self, output: Path) -> None:
        self.output, self.path = output, output.with_name(f"{output.name}.run")
        self._settings, self._checkpoints = self.path / "run.json", self.path / "checkpoints"
        self._best = self.path / "best"

    def check_output(self) -> None:
        """Raises a FileExistsError if there is an output that no run has made."""
        if self.output.exists() and not self._settings.is_file():
            raise FileExistsError(
                f"{self.output} exists and does not belong to a training run, whose folder would "
                f"be {self.path}; choose another output."
            )

    def check_claim(self, model: Mapping[str, Any], data: str, config: RunConfig) -> None:
        """Raises a ValueError if the folder holds a run with other settings or other data."""
        is_begun = self.output.exists() or latest_checkpoint(self._checkpoints) is not None
        if not self._settings.is_file() or not is_begun:
            return
        try:
            saved = read_json(self._settings)
            saved_model, training, saved_data = saved["model"], saved["training"], saved["data"]
            if saved_model != model:
                difference = "the sizes of the model differ"
            elif saved_data != data:
                difference = "the dataset is another one, or the model that it starts from"
            else:
                difference = config.difference(training)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"{self._settings} is damaged; delete {self.path} to start again."
            ) from error
        if difference:
            raise ValueError(
                f"{self.path} holds a run with other settings ({difference}); use the same "
                "settings to resume it, or choose another output."
            )

    def claim(self, model: Mapping[str, Any], data: str, config: RunConfig) -> None:
        """Writes the settings by which the run is known when it is resumed."""
        settings = {"model": model, "training": config.to_json(), "data": data}
        with replacing_file(self._settings) as temporary:
            temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def restore(self, like: TrainState) -> Checkpoint | None:
        """The newest checkpoint, with a state in the place of its arrays; None if there is none."""
        if latest_checkpoint(self._checkpoints) is None:
            return None
        found = restore_checkpoint(self._checkpoints, to_arrays(like))
        return found._replace(arrays=from_arrays(found.arrays))

    def save(self, step: int, state: TrainState, facts: Mapping[str, Any], *, keep: int) -> None:
        """Writes a checkpoint."""
        save_checkpoint(self._checkpoints, step, to_arrays(state), facts, keep=keep)

    def publish(self, write: Callable[[Path], object], *, regular: bool, best: Best) -> None:
        """Writes the model folder.

        Args:
          write: writes the weights to a folder.
          regular: whether they are those of a regular evaluation. If they are not, the best model
            is copied first, to be put back if the run is resumed.
          best: the best weights of the regular evaluations so far.
        """
        if not regular and best.step and self.output.exists() and not self._best.exists():
            _copy_folder(self.output, self._best)
        write(self.output)
        if regular:
            shutil.rmtree(self._best, ignore_errors=True)

    def put_back(self) -> None:
        """Puts the best weights back into the model folder, if a last step replaced them."""
        if self._best.exists():
            _copy_folder(self._best, self.output)
            shutil.rmtree(self._best)


def _copy_folder(source: Path, target: Path) -> None:
    with replacing_folder(target, overwrite=True) as temporary:
        shutil.copytree(source, temporary, dirs_exist_ok=True)
