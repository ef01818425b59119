"""Executes the notebooks of ``colab/`` for the pages: real outputs, and players that play.

Sounds are taken out of the outputs and put beside the pages as FLAC, so that a page is no heavier
than its pictures. ``DDSPX_SMOKE`` is set as in the tests: training takes a few steps.
"""

import base64
import io
import os
import re
from pathlib import Path

import nbformat
import soundfile
from nbclient import NotebookClient

COLAB = Path(__file__).parents[1] / "colab"
NAMES = ("audio_features", "synthesis", "timbre_transfer", "train_autoencoder")

_NOTE = """\
:::{{note}}
This page shows the notebook after a run with the short settings of a test, in which a training
takes a few steps. To run it yourself, open `colab/{name}.ipynb` in Jupyter or in Google Colab.
:::
"""
_PLAYER = re.compile(
    r"<audio.*?src=\"data:audio/wav;base64,(?P<samples>[^\"]*)\".*?</audio>", re.DOTALL
)


def execute(name: str, pages: Path, sounds: Path, work: Path) -> None:
    """Runs a notebook in the folder `work` and writes it, with its outputs, to `pages`."""
    notebook = nbformat.read(COLAB / f"{name}.ipynb", as_version=4)
    path = os.pathsep.join([str(COLAB.parent), os.environ.get("PYTHONPATH", "")])
    environment = {
        "DDSPX_SMOKE": "1",
        "DDSPX_INSTRUMENTS": str(work),
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": path.rstrip(os.pathsep),
    }
    resources = {"metadata": {"path": str(work)}}
    client = NotebookClient(notebook, timeout=600, resources=resources)
    client.execute(env=os.environ | environment)
    for cell in notebook.cells:
        if said := [out.text for out in cell.get("outputs", []) if out.get("name") == "stderr"]:
            raise RuntimeError(f"colab/{name}.ipynb warns: {said}")
        if "cellView" in cell.metadata:
            # A form of Colab's: what is filled in is set, its program is folded.
            cell.metadata["tags"] = ["hide-input"]
        if cell.source.startswith("# @title Install"):
            cell.metadata["tags"] = ["remove-cell"]
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(_NOTE.format(name=name)))
    _take_sounds_out(notebook, name, sounds)
    nbformat.write(notebook, pages / f"{name}.ipynb")


def _take_sounds_out(notebook: nbformat.NotebookNode, name: str, sounds: Path) -> None:
    count = 0

    def player(match: re.Match) -> str:
        nonlocal count
        count += 1
        audio, rate = soundfile.read(io.BytesIO(base64.b64decode(match["samples"])))
        soundfile.write(sounds / f"{name}-{count}.flac", audio, rate, subtype="PCM_16")
        source = f"../sounds/{name}-{count}.flac"
        return f'<audio controls preload="metadata" src="{source}"></audio>'

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                data["text/html"] = _PLAYER.sub(player, data["text/html"])
