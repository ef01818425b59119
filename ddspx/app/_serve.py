"""The page's server: it listens on 127.0.0.1, and its files are in a temporary folder."""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ddspx.app._middleware import RequestFilter
from ddspx.app._session_files import Files

_HOST = "127.0.0.1"
# Variables that keep gradio and its dependencies from sending data and from network requests.
_ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}


def serve(
    *,
    models: Sequence[str] = (),
    port: int = 7860,
    on_ready: Callable[[str], object] = print,
) -> None:
    """Serves the page of timbre transfer until the process is interrupted.

    Only browsers on this machine can use the page: the server listens on 127.0.0.1 alone, answers
    only requests of its own page, and sends nothing to other hosts. Recordings and results are in
    a temporary folder. Each is deleted when its page does not need it any more, and all of them
    at the end.

    Args:
      models: model folders to choose from, in addition to the shipped and installed instruments.
      port: the port to listen on; 0 for any free port.
      on_ready: called with the address of the page.

    Raises:
      ModuleNotFoundError: gradio, matplotlib or librosa is not installed.
      FileNotFoundError, ValueError: a model cannot be used, `port` is out of range or in use, or
        there is no instrument.
    """
    for name in ("gradio", "matplotlib", "librosa"):
        if find_spec(name) is None:
            raise ModuleNotFoundError(
                f"The page needs {name}; install it with `pip install 'ddspx[app]'`.", name=name
            )
    with _listening(port) as listener, _temporary_folder() as folder:
        import uvicorn
        from fastapi import FastAPI

        from ddspx.app._connection import TimedConnection
        from ddspx.app._page import mount

        bare = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app, events = mount(bare, Files(folder), models)
        port = listener.getsockname()[1]
        config = uvicorn.Config(
            RequestFilter(app, folder=folder, port=port, events=events),
            http=TimedConnection,
            # The filter reports failures itself. uvicorn would report a browser that is still
            # connected at the end as an error.
            log_level="critical",
            ws="none",
            # An open page keeps a connection open, which must not delay the end.
            timeout_graceful_shutdown=1,
        )
        on_ready(f"http://{_HOST}:{port}")
        uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """Opens a listening socket on 127.0.0.1."""
    if not 0 <= port <= 65535:
        raise ValueError(f"`port` must be from 0 to 65535, got {port}.")
    with socket.socket() as listener:
        # Lets a new server use the port of one that has just ended.
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError as error:
            raise ValueError(
                f"`port` {port} cannot be used ({error.strerror}); choose another one, or 0 for "
                "any free port."
            ) from error
        # A browser that connects before the server has started waits, and is not refused.
        listener.listen()
        yield listener


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Makes a folder for all files that gradio and `tempfile` write, and deletes it at the end."""
    with tempfile.TemporaryDirectory(prefix="ddspx-app-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        # Settings that are meant for other gradio apps could open this one to other machines, so
        # all GRADIO_ variables are removed and restored at the end.
        before = {key: value for key, value in os.environ.items() if key.startswith("GRADIO_")}
        before |= {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
        settings = _ENVIRONMENT | {
            "GRADIO_TEMP_DIR": str(folder),
            "GRADIO_EXAMPLES_CACHE": str(folder / "examples"),
        }
        for key in before:
            del os.environ[key]
        os.environ.update(settings)
        usual, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = usual
            for key in settings:
                os.environ.pop(key, None)
            os.environ.update(before)
