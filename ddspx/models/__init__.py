"""Models, one folder each."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy

if TYPE_CHECKING:
    from ddspx.models import (
        autoencoder as autoencoder,
        crepe as crepe,
        pitch as pitch,
        spectnet as spectnet,
    )
else:
    __getattr__, __dir__, __all__ = lazy(__name__, "autoencoder", "crepe", "pitch", "spectnet")
