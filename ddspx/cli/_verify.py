"""`ddspx verify`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ddspx import io
from ddspx.cli._errors import SkippedInputError, complain, explained, say
from ddspx.models._config import DIGESTS, check_digests


def verify(
    folders: Annotated[
        Positional[tuple[Path, ...]], arg(metavar="FOLDER", help_behavior_hint="(required)")
    ],
) -> None:
    """Reads the sound of datasets and what models play by, and compares digests.

    A training checks what it reads of a dataset, and a model is checked when it is loaded; this
    finds damage before, such as after a copy to another machine.

    Args:
      folders: datasets of ddspx prepare, and model folders.
    """
    if not folders:
        raise ValueError("name at least one FOLDER; see ddspx verify --help.")
    n_damaged = 0
    for folder in folders:
        try:
            say(folder, _as_written(folder))
        except (OSError, ValueError) as error:
            n_damaged += 1
            complain("ddspx verify", explained(error)[0])
    if n_damaged:
        raise SkippedInputError(f"{n_damaged} of {len(folders)} not as written.")


def _as_written(folder: Path) -> str:
    """What is in a folder, in words; an error if it is not as it was written."""
    if io.is_dataset(folder):
        manifest = io.verify_dataset(folder)
        shards = [shard.name for split in manifest.splits.values() for shard in split.shards]
        n_bytes = sum((folder / name).stat().st_size for name in shards)
        return f"a dataset of {len(shards)} files, {n_bytes / 1e6:.1f} MB, as written"
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist; check the name.")
    if not (folder / DIGESTS).is_file():
        raise ValueError(f"{folder} is neither a dataset nor a model folder with {DIGESTS}.")
    return f"a model of {', '.join(check_digests(folder))}, as written"
