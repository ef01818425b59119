"""Signatures as the source has them.

At run time an annotation such as ``Float[ArrayLike, "*batch frames"]`` is a union of a dozen
types, and a function is a wrapper that answers wrong calls; the source is what a reader wants.
"""

import ast
import inspect
import textwrap
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata


def signature_of(function: Any, *, is_method: bool = False) -> tuple[str, str | None] | None:
    """The parameters of a function and what it returns, as written; None if there is no source."""
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
        (node,) = ast.parse(source).body
    except (OSError, TypeError, SyntaxError):
        return None
    if not isinstance(node, ast.FunctionDef):
        return None
    if is_method and node.args.args:
        del node.args.args[0]
    returns = ast.unparse(node.returns) if node.returns else None
    return f"({ast.unparse(node.args)})", returns


def _as_written(app: Sphinx, what: str, name: str, value: Any, *_: object) -> Any:
    if what in ("function", "method"):
        bound = what == "method" and not isinstance(inspect.unwrap(value), staticmethod)
        return signature_of(value, is_method=bound)
    if what == "class":
        init = vars(value).get("__init__")
        if init is not None and inspect.isfunction(inspect.unwrap(init)):
            written = signature_of(init, is_method=True)
            return written and (written[0], None)
    return None


def setup(app: Sphinx) -> ExtensionMetadata:
    """Listens to autodoc."""
    app.connect("autodoc-process-signature", _as_written)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
