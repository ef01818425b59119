"""`ddspx app` in a process of its own, which may speak to nobody but this machine."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import ddspx

# Every way out of Python goes past an audit hook: what leads elsewhere is noted and refused.
_GUARDED = """
import signal, sys
from pathlib import Path

# What a script starts in the background ignores Ctrl-C, and so would all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
noted = Path(sys.argv[1])
noted.touch()

def hook(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.bind"):
        address = arguments[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        address = arguments
    else:
        return
    here = ("127.0.0.1", "localhost", "::1", None)
    if isinstance(address, tuple) and address[0] not in here:
        with noted.open("a") as file:
            print(event, address, file=file)
        raise OSError(f"{event} {address} leads away from this machine")

sys.addaudithook(hook)
from ddspx.cli import main
sys.exit(main(["app", "--port", "0"]))
"""


class Server(NamedTuple):
    """What a test needs to know of a running server."""

    address: str
    port: int
    temporary: Path
    noted: Path
    process: subprocess.Popen

    def files(self) -> list[str]:
        """The names of all files that it has written."""
        return sorted(path.name for path in self.temporary.rglob("*") if path.is_file())


@contextmanager
def served(folder: Path, **environment: str):
    """Starts the server, with `folder` for all that it may write, and ends it."""
    temporary, noted = folder / "temporary", folder / "noted.txt"
    temporary.mkdir()
    complaints = (folder / "stderr.txt").open("w")
    process = subprocess.Popen(
        [sys.executable, "-c", _GUARDED, str(noted)],
        env=os.environ
        | {
            "PYTHONPATH": str(Path(ddspx.__file__).parents[1]),
            "TMPDIR": str(temporary),
            # What the tests choose for quick compiling makes slow sounds.
            "XLA_FLAGS": "",
        }
        | environment,
        stdout=subprocess.PIPE,
        stderr=complaints,
        text=True,
        cwd=folder,
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                yield Server(found[0], int(found[1]), temporary, noted, process)
                break
        else:
            said = "".join(lines) + (folder / "stderr.txt").read_text()
            raise AssertionError(f"there was no page: {said}")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        process.stdout.close()
        complaints.close()
