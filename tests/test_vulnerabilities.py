"""A release fails at a known vulnerability, by name and with the remedy: `make release`.

The scanner is real. In the database's place a server on this machine has one recorded advisory, for requests.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from serving import serving
from vulnerabilities import ALLOWED, Allowed, Finding, judge, read_allowed, why_unreachable

ROOT = Path(__file__).resolve().parent.parent
ADVISORY = {
    "id": "GHSA-9hjg-9r4m-mvj7",
    "schema_version": "1.7.3",
    "aliases": ["CVE-2024-47081"],
    "summary": "Requests vulnerable to .netrc credentials leak via malicious URLs",
    "published": "2025-06-09T19:06:08Z",
    "affected": [
        {
            "package": {"name": "requests", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.32.4"}]}],
        }
    ],
}


class _Database(BaseHTTPRequestHandler):
    """It has the advisory for requests 2.32.3, and one without a fix for old-thing."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        package, found = asked["package"]["name"], {}
        if (package, asked["version"]) == ("requests", "2.32.3"):
            found = {"vulns": [ADVISORY]}
        if package == "old-thing":
            unfixed = {"package": {"name": package, "ecosystem": "PyPI"}, "ranges": []}
            found = {"vulns": [{"id": "PYSEC-2026-1", "summary": "All is lost", "affected": [unfixed]}]}
        answer = json.dumps(found).encode()
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def database() -> Iterator[ThreadingHTTPServer]:
    with serving(server := ThreadingHTTPServer(("127.0.0.1", 0), _Database)):
        server.status = 200  # type: ignore[attr-defined]
        yield server


def scan(folder: Path, url: str, installed: dict[str, str], allowed: str = "") -> subprocess.CompletedProcess[str]:
    """Run the tool on an environment that has these packages."""
    for name, version in installed.items():
        metadata = folder / "lib" / "python3.11" / "site-packages" / f"{name}-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir(parents=True)
        metadata.write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    (folder / "allowed.toml").write_text(allowed, encoding="utf-8")
    command = [sys.executable, "scripts/vulnerabilities.py", folder, "--database", url]
    command += ["--allowed", folder / "allowed.toml"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def url_of(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/v1/query"


def allowed(until: date, name: str = "CVE-2024-47081", package: str = "requests") -> Allowed:
    return Allowed(name, package, "no .netrc here", until)


LEAK = Finding("requests", "2.32.3", ("CVE-2024-47081", "GHSA-9hjg-9r4m-mvj7"), "Requests leaks", ("2.32.4",))
TODAY = date(2026, 11, 28)
TOMORROW, YESTERDAY = TODAY + timedelta(days=1), TODAY - timedelta(days=1)


# --- The real scanner -------------------------------------------------------------------------------------------------


def test_a_vulnerable_release_fails_with_the_advisory_and_the_remedy(
    tmp_path: Path, database: ThreadingHTTPServer
) -> None:
    installed = {"requests": "2.32.3", "old-thing": "1.0", "idna": "3.10"}
    entry = f'[[allowed]]\nid = "PYSEC-2026-2"\npackage = "idna"\nreason = "none here"\nuntil = {date.max}\n'
    done = scan(tmp_path, url_of(database), installed, entry)
    assert done.returncode == 1
    assert "requests 2.32.3: CVE-2024-47081, GHSA-9hjg-9r4m-mvj7: Requests vulnerable to .netrc" in done.stderr
    assert "fixed in 2.32.4: run `python scripts/pin_dependencies.py --upgrade-package requests`" in done.stderr
    assert "old-thing 1.0: PYSEC-2026-1: All is lost" in done.stderr
    assert "no release has a fix: do without old-thing, or allow it in" in done.stderr
    assert "idna" not in done.stderr
    assert "idna no longer has PYSEC-2026-2: remove it from" in done.stdout


def test_a_database_that_cannot_be_reached_is_one_sentence_and_no_failure(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/v1/query"
    done = scan(tmp_path, url, {"requests": "2.32.3"})
    assert done.returncode == 0
    assert done.stdout == f"Not scanned for known vulnerabilities: {url} cannot be reached (ConnectError).\n"


def test_a_database_that_is_ill_counts_as_not_reached(database: ThreadingHTTPServer) -> None:
    assert why_unreachable(url_of(database)) is None
    database.status = 503  # type: ignore[attr-defined]
    assert why_unreachable(url_of(database)) == "HTTPStatusError"


# --- What may stay ----------------------------------------------------------------------------------------------------


def test_what_is_allowed_passes_until_its_last_day_by_any_of_its_names() -> None:
    for name in LEAK.ids:
        for until in (TODAY, TOMORROW):
            wrong, [note] = judge([LEAK], [allowed(until, name)], TODAY)
            assert wrong == []
            assert note == f"requests 2.32.3: {name} is allowed until {until}: no .netrc here"
    [wrong], _ = judge([LEAK], [allowed(YESTERDAY)], TODAY)
    assert wrong == f"{LEAK}\n  It was allowed until {YESTERDAY}: no .netrc here"


def test_an_entry_for_another_package_or_advisory_allows_nothing() -> None:
    for other in (allowed(TOMORROW, package="urllib3"), allowed(TOMORROW, "CVE-2024-35195")):
        wrong, [note] = judge([LEAK], [other], TODAY)
        assert wrong == [str(LEAK)]
        assert note.startswith(f"{other.package} no longer has {other.id}: remove it from")


def test_an_entry_without_a_reason_or_a_date_is_refused(tmp_path: Path) -> None:
    full = {"id": '"CVE-1"', "package": '"requests"', "reason": '"because"', "until": "2026-12-31"}
    file = tmp_path / "allowed.toml"
    for changed in ({}, {"reason": '" "'}, {"reason": None}, {"until": '"later"'}, {"until": None}, {"id": None}):
        values = {name: value for name, value in {**full, **changed}.items() if value}
        file.write_text("[[allowed]]\n" + "".join(f"{k} = {v}\n" for k, v in values.items()), encoding="utf-8")
        if not changed:
            assert read_allowed(file) == [Allowed("CVE-1", "requests", "because", date(2026, 12, 31))]
            continue
        with pytest.raises(SystemExit, match="each entry needs id, package, reason and until"):
            read_allowed(file)


def test_the_repositorys_own_list_can_be_read() -> None:
    read_allowed(ALLOWED)
