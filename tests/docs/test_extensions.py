"""What the pages are made with: formulas, signatures, tables of names."""

import ast
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("sphinx", reason="the docs extra is not installed")

DOCS = Path(__file__).parents[2] / "docs"
sys.path[:0] = [str(DOCS), str(DOCS / "_extensions")]

from docutils.utils.math import MathError  # noqa: E402
from mathml import mathml  # noqa: E402
from names import write  # noqa: E402
from signatures import signature_of  # noqa: E402

from ddspx import core, nn  # noqa: E402

NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"


def tree(latex):
    """The elements of a formula, with the names that MathML gives them."""
    # An entity of MathML that XML alone does not know.
    text = mathml(latex).replace("&ApplyFunction;", "\u2061")
    return ElementTree.fromstring(text)


@pytest.mark.parametrize(
    ("latex", "parts"),
    [
        (r"\frac12 x", ["1", "2"]),
        (r"\tfrac L2", ["L", "2"]),
        (r"\frac1K", ["1", "K"]),
        (r"\frac{10}{2}", ["10", "2"]),
    ],
)
def test_a_fraction_has_the_two_parts_that_latex_gives_it(latex, parts):
    (fraction,) = tree(latex).iter(f"{NAMESPACE}mfrac")
    assert ["".join(part.itertext()).strip() for part in fraction] == parts


def test_an_index_stands_beside_what_has_an_accent():
    (indexed,) = tree(r"\bar a_{tk}").iter(f"{NAMESPACE}msub")
    accented, index = indexed
    assert accented.tag == f"{NAMESPACE}mover"
    assert "".join("".join(index.itertext()).split()) == "tk"


def test_bars_have_no_space_inside_and_names_of_functions_have_some():
    bars = [mo for mo in tree("|k|").iter(f"{NAMESPACE}mo") if mo.text == "|"]
    assert [(bar.get("lspace"), bar.get("rspace")) for bar in bars] == [("0", "0")] * 2
    assert len(list(tree(r"a \sin x").iter(f"{NAMESPACE}mspace"))) == 2
    assert not list(tree(r"\sin(x)").iter(f"{NAMESPACE}mspace"))


def test_rows_are_a_table():
    assert len(list(tree(r"a &= b \\ c &= d").iter(f"{NAMESPACE}mtr"))) == 2


def test_invalid_latex_is_an_error():
    with pytest.raises(MathError, match="nothing"):
        mathml(r"\nothing")


def test_every_formula_of_a_docstring_is_understood():
    block = re.compile(r"^( *)\.\. math::(.*(?:\n(?:\1 +.*| *$))*)", re.MULTILINE)
    found = 0
    for path in (DOCS.parent / "ddspx").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            text = node.value if isinstance(node, ast.Constant) else None
            if not isinstance(text, str):
                continue
            formulas = re.findall(r":math:`([^`]*)`", text)
            formulas += [
                latex for match in block.finditer(text) for latex in match[2].split("\n\n")
            ]
            for latex in filter(str.strip, formulas):
                mathml(latex.strip(), as_block=True)
                found += 1
    assert found > 300


def test_signatures_are_those_of_the_source():
    parameters, returns = signature_of(core.stft)
    assert parameters.startswith("(audio: Float[ArrayLike, ")
    assert returns.startswith("Complex[Array, ")
    parameters, _ = signature_of(nn.Gru.__call__, is_method=True)
    assert parameters.startswith("(inputs: Float[ArrayLike, '*batch frames features'], carry")
    assert signature_of(len) is None


def test_tables_hold_every_name_and_every_command(tmp_path):
    write(tmp_path)
    text = (tmp_path / "librosa.md").read_text(encoding="utf-8")
    assert "| `melspectrogram` | `core.mel_spectrogram` |" in text
    commands = (tmp_path / "commands.rst").read_text(encoding="utf-8")
    assert "ddspx transfer\n--------------" in commands and "--autotune" in commands
