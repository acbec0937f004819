"""How Sphinx makes a site of the Markdown in this folder: `make docs`.

The pages are written for GitHub and stay as they are. Their order in the site is that of the tables in index.md.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from sphinx.application import Sphinx

from airflow_provider_adjust import __version__

# The reference is taken from modules that import Airflow, which makes a home for itself.
os.environ["AIRFLOW_HOME"] = str(Path(__file__).parent.parent / "build" / "airflow")

project = "airflow-provider-adjust"
author = "the authors of airflow-provider-adjust"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
html_theme = "furo"
html_title = f"{project} {release}"
html_favicon = "images/favicon.svg"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_domain_indices = False

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
#: A link to a file of the repository that is not a page.
_FILE = re.compile(r"\[[^\]]*\]\((?:\.\./)+([A-Z_]+\.md)\)")
_ROW = re.compile(r"^\| \[[^\]]*\]\(([\w/-]+)\.(?:md|rst)\) \|", re.MULTILINE)


def make_it_a_site(app: Sphinx, docname: str, source: list[str]) -> None:
    """Give the index what GitHub would show as code: the lists of pages, section by section, that are the site's menu."""
    # Files of the repository are not pages of the site.
    text = _FILE.sub(r"`\1`", source[0])
    source[0] = text
    if docname != "index":
        return
    _, *sections = _SECTION.split(text)
    for heading, body in zip(sections[::2], sections[1::2], strict=True):
        if pages := _ROW.findall(body):
            text += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {heading}", "", *pages, "```", ""])
    source[0] = text


#: A picture of a light page, alone on its line.
_LIGHT = re.compile(r"^!\[([^\]]*)\]\((\S+)-light\.(png|svg)\)$", re.MULTILINE)


def show_dark_pictures(app: Sphinx, docname: str, source: list[str]) -> None:
    """In the dark theme, show the dark picture of the same name, where there is one."""
    folder = Path(app.srcdir, docname).parent

    def both(match: re.Match[str]) -> str:
        alt, path, form = match.groups()
        if not (folder / f"{path}-dark.{form}").is_file():
            return match[0]
        return "\n\n".join(
            f"```{{image}} {path}-{theme}.{form}\n:alt: {alt}\n:class: only-{theme}\n```" for theme in ("light", "dark")
        )

    source[0] = _LIGHT.sub(both, source[0])


def make_it_accessible(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Let the keyboard scroll what is wide, name the column in each cell for phones, and say how deep the menu's heads are."""
    if "body" not in context:
        return
    body = BeautifulSoup(context["body"], "html.parser")
    for wide in body.select("pre, div.table-wrapper"):
        wide["tabindex"] = "0"
    for table in body.select("table.docutils"):
        heads = [head.get_text(" ", strip=True) for head in table.select("thead th")]
        for row in table.select("tbody tr"):
            for head, cell in list(zip(heads, row.find_all("td"), strict=False))[1:]:
                cell["data-label"] = head
    context["body"] = str(body)
    if menu := context.get("furo_navigation_tree"):
        context["furo_navigation_tree"] = menu.replace('role="heading"', 'role="heading" aria-level="2"')


def write_llms_txt(app: Sphinx, error: Exception | None) -> None:
    """Write the list of pages for readers that are programs, as llmstxt.org has it: the index with links to the sources."""
    if error is not None or app.builder.name != "html":
        return
    head, _, rest = Path(app.srcdir, "index.md").read_text(encoding="utf-8").partition("\n## ")
    _, title, summary, *_ = re.split(r"^# (.+)\n\n((?:.+\n)+)", head, maxsplit=1, flags=re.MULTILINE)
    lines = [f"# {title}", "", f"> {' '.join(summary.split())}"]
    for section in rest.split("\n## "):
        heading, _, body = section.partition("\n")
        if rows := re.findall(r"^\| \[([^\]]*)\]\(([\w/.-]+)\) \| (.+) \|$", body, re.MULTILINE):
            lines += ["", f"## {heading}", ""]
            lines += [f"- [{name}](_sources/{path}.txt): {answers}" for name, path, answers in rows]
    Path(app.outdir, "llms.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("source-read", make_it_a_site)
    app.connect("source-read", show_dark_pictures)
    # After the theme has made its menu.
    app.connect("html-page-context", make_it_accessible, priority=900)
    app.connect("build-finished", write_llms_txt)
