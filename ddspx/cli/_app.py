"""`ddspx app`."""

import webbrowser
from contextlib import ExitStack
from typing import Annotated

from tyro.conf import Positional, arg

from ddspx import app as page
from ddspx.cli._progress import progress


def app(
    models: Annotated[
        Positional[tuple[str, ...]], arg(metavar="MODEL", help_behavior_hint="")
    ] = (),
    *,
    port: Annotated[int, arg(metavar="N")] = 7860,
    open: Annotated[bool, arg(help_behavior_hint="")] = False,
) -> None:
    """Serves a page that plays recordings on instruments (needs the extra app).

    Only browsers on this machine can open the page, and nothing is sent to other machines.
    Recordings and results are deleted when their page is closed, and at the latest when this
    command ends. Ctrl-C ends it.

    Args:
      models: folders of your own models, in addition to the shipped and installed instruments.
      port: port of the page on 127.0.0.1; 0 for any free port.
      open: open the page in the browser too.
    """
    with ExitStack() as stack:
        stack.enter_context(progress())("starting", 0.0, None)

        def ready(address: str) -> None:
            stack.close()
            print(f"The page is at {address} (Ctrl-C ends it).", flush=True)
            if open:
                webbrowser.open(address)

        page.serve(models=models, port=port, on_ready=ready)
