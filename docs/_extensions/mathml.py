"""Formulas as MathML, which browsers draw by themselves, without a script.

Docutils translates from LaTeX; this makes it a renderer of Sphinx, named ``mathml``. A formula that
it does not understand stops the build. The font with the tables that brackets and sums need, STIX
Two Math, is that of the package ziamath, and lies beside the pages.
"""

import re
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

# LaTeX as docutils reads it: names that it knows by another one, and arguments without braces, of
# which it takes two digits for one number.
_LATEX = {
    r"\\dots(?![a-z])": r"\\ldots",
    r"\\Big(?=/)": "",
    r"(\\[td]?frac) ?([0-9A-Za-z]) ?([0-9A-Za-z])": r"\1{\2}{\3}",
}
# An index of what has an accent, which docutils puts below it.
_INDEX = r"<m[in]>[^<]*</m[in]>|<mrow>(?:(?!<mrow>).)*?</mrow>"
_ACCENT = r'<mo stretchy="false">[\u02d9\u02c9\u02c6\u02dc\u00af]</mo>'
# Space as TeX has it: none inside of bars, a little around the name of a function; and brackets
# that grow only when they are told to.
_THIN = '<mspace width="0.1667em"/>'
_APPLY = r"\s*<mo>&ApplyFunction;</mo>"
_NAMED = r"\s*(?:<msu[bp]>\s*)?<mi>(?:sin|cos|tanh|exp|ln|log|max|min|arg)</mi>"
_MATHML = {
    rf"(?s)<munderover>\s*(<mi>[^<]*</mi>)\s*({_INDEX})\s*({_ACCENT})\s*</munderover>": (
        r'<msub><mover accent="true">\1\3</mover>\2</msub>'
    ),
    r'<mo stretchy="false">\|</mo>': '<mo stretchy="false" lspace="0" rspace="0">|</mo>',
    r"<mo[^>]*>‖</mo>": '<mo stretchy="false" lspace="0" rspace="0">‖</mo>',
    r"<mo>([⟨⟩])</mo>": r'<mo stretchy="false">\1</mo>',
    rf"({_APPLY}\s*)(?=<m(?!o|row))": rf"\1{_THIN}",
    rf"(</m[in]>|</msu\w+>|[\])]</mo>)({_NAMED})": rf"\1{_THIN}\2",
}


def mathml(latex: str, *, as_block: bool = False) -> str:
    """A formula as MathML, or a MathError that says what docutils does not know in it."""
    for there, here in _LATEX.items():
        latex = re.sub(there, here, latex)
    if r"\\" in latex and not latex.lstrip().startswith(r"\begin{"):
        latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    made = tex2mathml(latex, as_block=as_block)
    for there, here in _MATHML.items():
        made = re.sub(there, here, made)
    return made


def _translated(node: nodes.Element, *, as_block: bool) -> str:
    try:
        return mathml(node.astext().strip(), as_block=as_block)
    except MathError as error:
        raise ExtensionError(f"{node.source}: {error} In the formula {node.astext()}") from None


def _visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(_translated(node, as_block=False))
    raise nodes.SkipNode


def _visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(_translated(node, as_block=True) + "</div>\n")
    raise nodes.SkipNode


def _add_font(app: Sphinx, config: Config) -> None:
    spec = find_spec("ziamath")
    if spec is None or spec.origin is None:
        raise ExtensionError("Formulas need the font of ziamath: pip install '.[docs]'.")
    font = Path(spec.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
    config.html_static_path.append(str(font))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Registers the renderer, and the font among the files of the pages."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    app.connect("config-inited", _add_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
