"""What the documents say is so."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import ddspx
from ddspx import core, features, models, nn, transfer

README = Path(__file__).parents[1] / "README.md"
CONVENTIONS = Path(ddspx.__file__).parent / "CONVENTIONS.md"
NAMESPACES = {
    "jax": jax,
    "jnp": jnp,
    "core": core,
    "nn": nn,
    "features": features,
    "transfer": transfer,
    "models": models,
}


def test_the_python_in_the_readme_runs():
    (code,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.M | re.S)
    exec(compile(code, "README.md", "exec"), {})


def test_the_readme_opens_with_two_commands():
    commands = re.findall(r"^pip install .*&&.*$", README.read_text(), re.M)
    assert commands == [
        "pip install . && ddspx transfer examples/melody/melody.flac --to violin -o violin.wav",
        'pip install ".[test]" && pytest',
    ]


@pytest.mark.parametrize("document", [README, CONVENTIONS], ids=lambda path: path.name)
def test_links_lead_to_files(document):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
        assert (document.parent / target).is_file(), target


def test_the_names_in_the_table_from_ddsp_exist():
    table = CONVENTIONS.read_text().partition("## From DDSP to ddspx")[2]
    cells = [row.split("|")[2] for row in table.splitlines() if row.startswith("| `")]
    names = [name for cell in cells for name in re.findall(r"`([a-z]+(?:\.\w+)+)", cell)]
    assert len(names) > 20
    for name in names:
        first, *rest = name.split(".")
        value = NAMESPACES[first]
        for part in rest:
            value = getattr(value, part)
