"""The server of the page: on 127.0.0.1, in a temporary folder that goes when it ends."""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ddspx.app._middleware import Guard
from ddspx.app._session_files import Files

_HOST = "127.0.0.1"
# What gradio and what it brings read, so that nothing is told, looked up or kept elsewhere.
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

    The page is there for the browsers of this machine: the server listens on 127.0.0.1 alone,
    answers only its own page, and sends nothing anywhere. Recordings and results are in a
    temporary folder, where each is deleted when its page needs it no more, and all at the end.

    Args:
      models: model folders to choose from, beside the instruments that ship with ddspx.
      port: where to listen; 0 for any port that is free.
      on_ready: told the address of the page.

    Raises:
      ModuleNotFoundError: gradio is not installed.
      FileNotFoundError, ValueError: a model cannot be used, `port` is no port or another
        program's, or there is nothing to choose from.
    """
    for name in ("gradio", "matplotlib", "librosa"):
        if find_spec(name) is None:
            raise ModuleNotFoundError(
                f"The page needs {name}; install it with `pip install 'ddspx[app]'`.", name=name
            )
    with _listening(port) as listener, _temporary_folder() as folder:
        import uvicorn
        from fastapi import FastAPI

        from ddspx.app._page import mount
        from ddspx.app._wire import Wire

        bare = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app, events = mount(bare, Files(folder), models)
        port = listener.getsockname()[1]
        config = uvicorn.Config(
            Guard(app, folder=folder, port=port, events=events),
            http=Wire,
            # The guard says what is odd or fails; a browser that is there to the end is no error.
            log_level="critical",
            ws="none",
            # The page holds a connection open for as long as it is shown.
            timeout_graceful_shutdown=1,
        )
        on_ready(f"http://{_HOST}:{port}")
        uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """A socket on this machine's own address."""
    if not 0 <= port <= 65535:
        raise ValueError(f"`port` must be from 0 to 65535, got {port}.")
    with socket.socket() as listener:
        # The port of a server that has just ended can be had again.
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError as error:
            raise ValueError(
                f"`port` {port} cannot be used ({error.strerror}); choose another, or 0 for any "
                "that is free."
            ) from error
        # A browser that is quicker than the server waits.
        listener.listen()
        yield listener


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder for everything that is written meanwhile, by gradio and by Python too."""
    with tempfile.TemporaryDirectory(prefix="ddspx-app-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        # Settings of other gradio apps could open this one: all are set aside.
        before = {key: value for key, value in os.environ.items() if key.startswith("GRADIO_")}
        before |= {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
        ours = _ENVIRONMENT | {
            "GRADIO_TEMP_DIR": str(folder),
            "GRADIO_EXAMPLES_CACHE": str(folder / "examples"),
        }
        for key in before:
            del os.environ[key]
        os.environ.update(ours)
        usual, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = usual
            for key in ours:
                os.environ.pop(key, None)
            os.environ.update(before)
