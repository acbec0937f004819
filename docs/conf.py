"""How Sphinx makes a site of the Markdown in this folder: `make docs`.

The pages are written for GitHub and stay as they are. Their order in the site is that of the table in index.md.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

from airflow_provider_adjust import __version__

project = "airflow-provider-adjust"
author = "the authors of airflow-provider-adjust"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"{project} {release}"
exclude_patterns = ["images"]
nitpicky = True
# Classes of Airflow's and of Python's, which have no page here.
nitpick_ignore_regex = [("py:.*", r"(?!airflow_provider_adjust).*")]

# The anchors of headings that GitHub gives, so that a link works in both places.
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_default_options = {"member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
suppress_warnings = ["config.cache"]

_LINK = re.compile(r"^\| \[[^\]]*\]\(([\w-]+)\.(?:md|rst)\) \|", re.MULTILINE)


def add_navigation(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give the front page what GitHub would show as code: the list of pages that makes the menu."""
    if docname == "index":
        pages = _LINK.findall(source[0])
        source[0] += "\n".join(["", "```{toctree}", ":hidden:", *pages, "```", ""])


def leave_the_folder(app: Sphinx, docname: str, source: list[str]) -> None:
    """The README is the front page of the repository, not a page of the site."""
    source[0] = source[0].replace("[README](../README.md)", "README")


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_navigation)
    app.connect("source-read", leave_the_folder)
