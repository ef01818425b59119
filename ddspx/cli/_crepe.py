"""`ddspx crepe`."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ddspx.cli._errors import say
from ddspx.models import crepe as network


def crepe(
    action: Annotated[Positional[Literal["convert"]], arg(metavar="convert")],
    source: Annotated[Positional[Path], arg(metavar="IN.h5")],
    target: Annotated[Positional[Path], arg(metavar="OUT.safetensors")],
) -> None:
    """Makes a safetensors file from CREPE's published weights, which can be read without h5py.

    Args:
      action: the action; convert is the only one.
      source: the Keras file, model-CAPACITY.h5 (needs the extra h5).
      target: the file to write; an existing file is replaced.
    """
    say(f"{target}: {network.convert_crepe(source, target)}")
