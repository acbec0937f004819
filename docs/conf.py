"""How Sphinx makes a site of the Markdown in this folder: `make docs`.

The pages are written for GitHub and stay as they are. Their order in the site is that of the table in index.md.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

from airflow_provider_adjust import __version__

# The reference is taken from modules that import Airflow, which makes a home for itself.
os.environ["AIRFLOW_HOME"] = str(Path(__file__).parent.parent / "build" / "airflow")

project = "airflow-provider-adjust"
author = "the authors of airflow-provider-adjust"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"{project} {release}"

# The anchors that GitHub gives to headings, so that a link works in both places.
myst_heading_anchors = 4

nitpicky = True
# What the signatures name, but the reference has no page for: other people's classes, and the inside of our own.
nitpick_ignore_regex = [
    ("py:.*", r"(?!airflow_provider_adjust).*"),
    ("py:class", r"airflow_provider_adjust\.(s2s\.(answers|delivery|events)|sandbox\.config|adjust_api\.reports)\..*"),
]
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True

#: A row of the index's table, and the page that it names.
_ROW = re.compile(r"^\| \[[^\]]*\]\(([\w-]+)\.(?:md|rst)\) \|", re.MULTILINE)


def make_it_a_site(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give the index what GitHub would show as code: the list of pages that is the site's menu."""
    if docname == "index":
        menu = "\n".join(["", "```{toctree}", ":hidden:", *_ROW.findall(source[0]), "```", ""])
        # The README is the front page of the repository, not a page of the site.
        source[0] = source[0].replace("[README](../README.md)", "README") + menu


def setup(app: Sphinx) -> None:
    app.connect("source-read", make_it_a_site)
