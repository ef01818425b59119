"""Sphinx: ``sphinx-build -W docs OUT`` builds the pages, without a network.

What is made rather than written lies in folders that git ignores: the notebooks with their outputs
(`notebooks.py`), the gallery (`gallery.py`), and tables of names and options (`names.py`).
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "_extensions"), str(HERE.parent)]

import ddspx

project = "ddspx"
author = copyright = "The ddspx authors"
version = release = ddspx.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "mathml",
    "signatures",
    "made",
]
exclude_patterns = ["_extensions", "_made"]
# A name of ours that leads nowhere is an error; the types in signatures are many libraries'.
nitpicky = True
nitpick_ignore_regex = [("py:class", ".*")]
default_role = "code"

# Docstrings are Google's, with a section of their own for what holds of a function. What is
# returned is a sentence, in which a colon does not end the name of a type.
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_custom_sections = ["Properties", "Returns", "Yields", ("Attributes", "params_style")]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
maximum_signature_line_length = 88
python_display_short_literal_types = True

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
# Notebooks are executed by `notebooks.py`, once for each state of the library.
nb_execution_mode = "off"
nb_code_prompt_show, nb_code_prompt_hide = "Show the program", "Hide the program"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"ddspx {release}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["ddspx.css"]
html_extra_path = ["_made/extra"]
html_copy_source = html_show_sphinx = False
