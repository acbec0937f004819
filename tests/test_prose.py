"""The linter of words: it names retired expressions with their lines, and does not judge code."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from example_files import REPOSITORY, load_module

PAGE = """# A page

The delivery goes
on. There is no file, and it is no problem.

`mend` is code, and so is:

```python
whose = "mend"
```

<!-- generated: a table -->
| mended |
<!-- end of generated: a table -->

Look it up, go on strike, and mend
the row.
"""


#: Both as a module of the package and as one of the tests, where the message is not judged.
MODULE = '''"""Tell of it.

It stays
so, but ``whose`` is code.
"""

import os

X = 1
#: The delivery goes
#: on
#: without it.


def mended_rows() -> str:
    """Ones that are no longer there."""
    wish = "code is not judged"
    return f"{X} rows {wish}: mend them, and go on"  # see `whose`
'''


@pytest.fixture
def prose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_module(REPOSITORY / "scripts" / "prose.py")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def test_retired_words_are_named_with_their_lines_and_code_is_not_judged(prose: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert list(prose.findings(page)) == [
        "page.md:3: 'goes on'; rather: continue, resume",
        "page.md:4: 'is no'; rather: is not a",
        "page.md:16: 'mend'; rather: correct, fix",
    ]


def test_comments_and_texts_of_an_example_are_judged(prose: ModuleType, tmp_path: Path) -> None:
    example = tmp_path / "example.py"
    example.write_text('"""Tell of it."""\n\n# A row whose value\nX = 1\n')
    assert [found.split("; ")[0] for found in prose.findings(example)] == [
        "example.py:1: 'Tell of'",
        "example.py:3: 'whose'",
    ]


def test_docstrings_comments_and_names_of_a_module_are_judged_and_messages_of_the_package(
    prose: ModuleType, tmp_path: Path
) -> None:
    texts = ["1: 'Tell of'", "3: 'stays so'", "10: 'goes on'", "15: 'mended'"]
    messages = ["18: 'mend'", "18: 'go on'"]
    for folder, found in (("airflow_provider_adjust", [*texts, *messages]), ("tests", texts), ("scripts", texts)):
        module = tmp_path / folder / "module.py"
        module.parent.mkdir()
        module.write_text(MODULE)
        judged = [line.partition(":")[2].split("; ")[0] for line in prose.findings(module)]
        assert sorted(judged, key=lambda line: int(line.split(":")[0])) == found, folder


def test_it_fails_where_there_is_a_finding(
    prose: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.md").write_text("All is well.\n")
    with pytest.raises(SystemExit) as ended:
        prose.main()
    assert not ended.value.code
    (tmp_path / "docs" / "guides").mkdir(parents=True)
    (tmp_path / "docs" / "guides" / "bad.md").write_text("Mend it.\n")
    with pytest.raises(SystemExit) as ended:
        prose.main()
    assert ended.value.code
    assert capsys.readouterr().out.endswith("docs/guides/bad.md:1: 'Mend'; rather: correct, fix\n")
