"""The pages: every public name has its place, and what they name and show is there."""

import ast
import importlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from ddspx._names import CORE_NAMES, KAPRE_NAMES, LIBROSA_NAMES, SCIPY_NAMES, TORCHAUDIO_NAMES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MODULES = (
    "core",
    "nn",
    "nn.compat",
    "models",
    "models.autoencoder",
    "models.spectnet",
    "models.crepe",
    "models.pitch",
    "metrics",
    "io",
    "features",
    "instruments",
    "training",
    "transfer",
    "plot",
    "app",
    "cli",
)


def public_names(module):
    """What a module gives: the names in `__all__`, or those that it defines; not its modules."""
    package = importlib.import_module(f"ddspx.{module}")
    names = getattr(package, "__all__", None)
    if names is None:
        names = [
            name
            for name, value in vars(package).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == package.__name__
        ]
    return {name for name in names if f"{module}.{name}" not in MODULES}


def documented_names(module):
    """The names that the pages of a module document."""
    pages = [DOCS / "reference" / f"{module}.rst", *(DOCS / "reference" / module).glob("*.rst")]
    names = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.search(rf"^\.\. (currentmodule|automodule):: ddspx\.{module}$", text, re.M) or (
            page.stem == "core"
        ), page
        names += re.findall(r"^\.\. auto(?:function|class|data|exception):: (\w+)$", text, re.M)
    return names


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_on_one_page_of_its_module(module):
    names = documented_names(module)
    assert sorted(names) == sorted(public_names(module))


def test_every_page_is_in_a_table_of_contents():
    pages = {
        page.relative_to(DOCS).with_suffix("").as_posix()
        for suffix in ("md", "rst")
        for page in DOCS.rglob(f"*.{suffix}")
        if page.relative_to(DOCS).parts[0] not in ("_made", "_extensions")
    }
    listed = {"index"}
    for page in pages:
        file = next(path for path in (DOCS / f"{page}.md", DOCS / f"{page}.rst") if path.is_file())
        text = file.read_text(encoding="utf-8")
        for tree in re.findall(r"toctree(?:}|::)\n(.*?)(?:```|\Z)", text, re.S):
            entries = re.findall(r"^ *([\w./]+)$", tree, re.M)
            listed |= {(Path(page).parent / entry).as_posix() for entry in entries}
    assert pages <= listed


def test_the_names_of_other_libraries_are_not_ours_already():
    """Where names agree there is no row, and the pages' tables are those of the messages."""
    core = importlib.import_module("ddspx.core")
    for names in (LIBROSA_NAMES, SCIPY_NAMES, TORCHAUDIO_NAMES, KAPRE_NAMES):
        assert names and not set(names) & set(core.__all__)
    for page, groups in (
        ("librosa", ("librosa", "scipy", "io", "arguments")),
        ("torchaudio", ("torchaudio", "kapre", "nn", "io", "arguments")),
    ):
        text = (DOCS / "howto" / f"{page}.md").read_text(encoding="utf-8")
        assert set(re.findall(r"_made/names/(\w+)\.md", text)) == set(groups)


def test_the_gallery_has_at_least_24_sounds():
    tree = ast.parse((DOCS / "gallery.py").read_text(encoding="utf-8"))
    sounds = [
        [argument.value for argument in node.decorator_list[0].args]
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and node.decorator_list
        and getattr(node.decorator_list[0].func, "id", None) == "sound"
    ]
    titles = [title for _, title, _ in sounds]
    assert len(titles) >= 24 and len(set(titles)) == len(titles)
    # A section is begun once.
    sections = [section for section, _, _ in sounds]
    assert sections == sorted(sections, key=list(dict.fromkeys(sections)).index)


def test_the_measures_on_the_page_grow_with_the_degradations(monkeypatch, tmp_path):
    """But for those that cannot hear them; and the picture of the page is drawn from its table."""
    monkeypatch.syspath_prepend(DOCS)
    curves = importlib.import_module("curves")
    table = curves.read()
    assert len(table) == 6 and all(len(measures) == 10 for measures in table.values())
    for degradation, measures in table.items():
        for name, values in measures.items():
            assert len(values) == 4
            if name.startswith(("f0", "pitch")) and not degradation.startswith("detune"):
                continue
            steps = np.diff(values) * (-1 if name.endswith("*") else 1)
            assert np.all(steps > 0), (degradation, name)
    curves.draw(tmp_path / "degradations.svg")
    assert "</svg>" in (tmp_path / "degradations.svg").read_text(encoding="utf-8")


PAGES = [
    *sorted(DOCS.glob("start/*.md")),
    *sorted(DOCS.glob("howto/*.md")),
    DOCS / "extending.md",
    DOCS / "derivations.md",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_on_a_page_parses_and_its_imports_exist(page):
    for code in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("ddspx"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_on_a_page_exist(page):
    text = page.read_text(encoding="utf-8")
    found = re.findall(
        r"(?<![\w./])(core|nn|io|features|transfer|training|instruments|metrics|plot|models\.\w+)"
        r"\.([A-Za-z]\w*)",
        re.sub(r"^(import|from) .*$", "", text, flags=re.M),
    )
    for module, name in found:
        # A page shows what a name of another library is answered with.
        if name in CORE_NAMES:
            continue
        assert hasattr(importlib.import_module(f"ddspx.{module}"), name), f"{module}.{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:ddspx|tests|docs|examples|colab)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", ["start/researcher", "howto/ddsp", "howto/librosa", "howto/torchaudio"]
)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    """From top to bottom, with a recording where a page reads one."""
    shutil.copy(ROOT / "examples" / "melody" / "melody.flac", tmp_path / "recording.flac")
    monkeypatch.chdir(tmp_path)
    text, names = (DOCS / f"{page}.md").read_text(encoding="utf-8"), {}
    for code in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        exec(compile(code, page, "exec"), names)
