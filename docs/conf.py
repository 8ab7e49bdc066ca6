"""Sphinx configuration: `make docs`, or `sphinx-build -W --keep-going -n docs docs/_build/html`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from suprem import __version__

project = "suprem"
author = "The suprem developers"
copyright = "the suprem developers, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.doctest", "from_registries"]
if tags.has("online"):  # noqa: F821  # `-t online`: links into other projects' documentation, which needs the internet
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "lightning": ("https://lightning.ai/docs/pytorch/stable", None),
        "monai": ("https://docs.monai.io/en/stable", None),
    }

exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Without `-t online` there is nothing to link to outside this project; inside it every reference must resolve.
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(?!suprem\b).*",
    ),
]

html_theme = "furo"
html_favicon = "favicon.svg"
html_title = f"suprem {release}"
html_theme_options = {
    "announcement": "Research software. Not a medical device, not for clinical use.",
    "source_repository": "",
}
html_static_path: list[str] = []
