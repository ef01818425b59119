"""The local web page: timbre transfer in a browser on the same machine (extra `app`)."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy

if TYPE_CHECKING:
    from ddspx.app._serve import serve as serve
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        _serve="serve",
    )
