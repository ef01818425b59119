"""The code and the links in the documents of the models work."""

import re
from pathlib import Path

import pytest
from modules import of_parts

from ddspx import instruments
from ddspx.models import autoencoder
from ddspx.models.autoencoder import Autoencoder

FOLDER = Path(autoencoder.__file__).parent
SHIPPED = Path(instruments.__file__).parent / "shipped"
DOCUMENTS = [FOLDER / "README.md", *SHIPPED.glob("*/README.md")]


def test_the_python_in_the_readme_runs(monkeypatch):
    # Without `of_parts`, the code in the README would compile two hundred operations one by one.
    monkeypatch.setattr(Autoencoder, "__call__", of_parts(Autoencoder.__call__))
    (code,) = re.findall(r"^```python\n(.*?)^```", DOCUMENTS[0].read_text(), re.M | re.S)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["audio"].shape == (2 * names["model"].config.sample_rate,)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.parent.name)
def test_links_lead_to_files(document):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
        assert (document.parent / target).is_file(), target
