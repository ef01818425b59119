"""What is made before the pages are read: names, curves, the gallery, and executed notebooks.

The names and the curves take no time and are always made. Sounds and notebooks are executed when
the library, the notebooks or the gallery have changed, three at a time. ``DDSPX_DOCS_REUSE=1``
takes what there is, to see a page of words without waiting.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import curves
import names
import notebooks
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

HERE = Path(__file__).parents[1]
MADE, PAGES = HERE / "_made", HERE / "notebooks"
SOUNDS = MADE / "extra" / "sounds"
_AT_A_TIME = 3

_logger = logging.getLogger(__name__)


def _state() -> str:
    """A digest of everything that the sounds and the outputs depend on."""
    root = HERE.parent
    files = [
        *sorted((root / "ddspx").rglob("*.py")),
        *(notebooks.COLAB / f"{name}.ipynb" for name in notebooks.NAMES),
        HERE / "gallery.py",
        HERE / "notebooks.py",
    ]
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()


def _execute() -> None:
    """Makes the gallery and runs the notebooks; the first error of one is that of the build."""
    shutil.rmtree(SOUNDS, ignore_errors=True)
    for folder in (SOUNDS, PAGES):
        folder.mkdir(parents=True, exist_ok=True)

    def notebook(name: str) -> None:
        with tempfile.TemporaryDirectory() as work:
            notebooks.execute(name, PAGES, SOUNDS, Path(work))
        _logger.info("made notebooks/%s", name)

    def gallery() -> None:
        made = subprocess.run(
            [sys.executable, HERE / "gallery.py", MADE],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
        )
        if made.returncode:
            raise RuntimeError(f"docs/gallery.py failed:\n{made.stderr}")
        _logger.info("made gallery")

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        longest_first = ("synthesis", "train_autoencoder", "timbre_transfer", "audio_features")
        jobs = [pool.submit(gallery), *(pool.submit(notebook, name) for name in longest_first)]
        for job in jobs:
            job.result()


def _make(app: Sphinx, config: Config) -> None:
    names.write(MADE / "names")
    curves.draw(MADE / "degradations.svg")
    made, state = MADE / "state", _state()
    is_made = made.is_file() and made.read_text(encoding="utf-8") == state
    if is_made or os.environ.get("DDSPX_DOCS_REUSE") == "1":
        SOUNDS.mkdir(parents=True, exist_ok=True)
        return
    _execute()
    made.write_text(state, encoding="utf-8")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Makes them before Sphinx looks for pages."""
    app.connect("config-inited", _make, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
