"""How Sphinx makes a site of the Markdown in this folder: `make docs`.

The pages are written for GitHub and stay as they are. Their order in the site is that of the tables in index.md.
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

#: A section of the index, and in it the rows of its table, which name pages.
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_ROW = re.compile(r"^\| \[[^\]]*\]\(([\w/-]+)\.(?:md|rst)\) \|", re.MULTILINE)


def make_it_a_site(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give the index what GitHub would show as code: the lists of pages, section by section, that are the site's menu."""
    if docname != "index":
        return
    text = source[0]
    _, *sections = _SECTION.split(text)
    for heading, body in zip(sections[::2], sections[1::2], strict=True):
        if pages := _ROW.findall(body):
            text += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {heading}", "", *pages, "```", ""])
    # Files of the repository are not pages of the site.
    source[0] = re.sub(r"\[[^\]]*\]\(\.\./(\w+\.md)\)", r"`\1`", text)


def setup(app: Sphinx) -> None:
    app.connect("source-read", make_it_a_site)
