"""List the libraries that are bundled in wheels: `make release`.

    python scripts/bundled_libraries.py .venv-runtime

pip knows packages only. A wheel may hold shared libraries too, such as pycurl's libcurl and OpenSSL, and their licences and
vulnerabilities concern whoever installs it. Each has its name, version, licence and digest here. One that LIBRARIES does
not have fails, so that nobody ships a licence unseen.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePath
from typing import Any, NamedTuple


class Project(NamedTuple):
    """Who makes a library, under which licence (SPDX), and how its file says its release."""

    name: str
    licence: str
    release: str | None = None


BROTLI = Project("brotli", "MIT")  # its files are numbered as its releases are
KRB5 = Project("krb5", "MIT", r"krb5-(\d+\.\d+(?:\.\d+)?)")
OPENSSL = Project("openssl", "Apache-2.0", r"OpenSSL (\d+\.\d+\.\d+)")
GNU = "LGPL-3.0-or-later OR GPL-2.0-or-later"  # a file of its own, which whoever likes may replace
#: The libraries that wheels may bundle, by the name of the file without `lib` and suffixes.
LIBRARIES = {
    "brotlicommon": BROTLI,
    "brotlidec": BROTLI,
    "brotlienc": BROTLI,
    "com_err": KRB5,
    "crypto": OPENSSL,
    "curl": Project("curl", "curl", r"libcurl/(\d+\.\d+\.\d+)"),
    "gssapi_krb5": KRB5,
    "idn2": Project("libidn2", GNU, r"\0(2\.\d+\.\d+)\0"),
    "k5crypto": KRB5,
    "krb5": KRB5,
    "krb5support": KRB5,
    "nghttp2": Project("nghttp2", "MIT", r"\0(1\.\d+\.\d+)\0"),
    "nghttp3": Project("nghttp3", "MIT", r"\0(1\.\d+\.\d+)\0"),
    "ngtcp2": Project("ngtcp2", "MIT", r"\0(1\.\d+\.\d+)\0"),
    "ngtcp2_crypto_ossl": Project("ngtcp2", "MIT"),
    "psl": Project("libpsl", "MIT", r"\0(0\.\d+\.\d+)[ \0]"),
    "sfparse": Project("sfparse", "MIT"),
    "ssh2": Project("libssh2", "BSD-3-Clause", r"(?:SSH-2\.0-libssh2_|sh2-)(\d+\.\d+\.\d+)"),
    "ssl": OPENSSL,
    "unistring": Project("libunistring", GNU),
    "z": Project("zlib", "Zlib", r"flate (\d+\.\d+(?:\.\d+)*)"),
    "zstd": Project("zstd", "BSD-3-Clause"),
}
_FILE = re.compile(
    r"(?:lib)?(?P<name>\w+?)(?:-[0-9a-f]{8,})?[.-](?:(?P<dylib>[\d.]*)\.?dylib|so\.?(?P<so>[\d.]*)|.*dll)$"
)
_SHARED = re.compile(r"lib.+\.(so(\.[\d.]+)?|dylib)$|.+\.dll$")


class Bundled(NamedTuple):
    """A shared library in a wheel."""

    package: str
    package_version: str
    path: str
    project: Project | None
    version: str | None
    #: Whether the version is the release, and not the number of the file's interface.
    is_release: bool
    sha256: str


def _is_bundled(file: PurePath) -> bool:
    folders = file.parts[:-1]
    return any(folder.endswith((".libs", ".dylibs")) for folder in folders) or bool(_SHARED.match(file.name))


def _described(distribution: Distribution, file: PurePath) -> Bundled:
    content = Path(str(distribution.locate_file(file))).read_bytes()
    found = _FILE.match(file.name)
    project = LIBRARIES.get(found["name"]) if found else None
    number = (found["so"] or found["dylib"]) if found else None
    release = None
    if project and project.release:
        release = re.search(project.release.encode(), content)
    return Bundled(
        distribution.metadata["Name"],
        distribution.version,
        file.as_posix(),
        project,
        release[1].decode() if release else number or None,
        release is not None or (project is BROTLI and bool(number)),
        hashlib.sha256(content).hexdigest(),
    )


def bundled(site_packages: Path) -> list[Bundled]:
    """Return each shared library of the installed wheels. The files of one project in one wheel are of one release."""
    found = [
        _described(distribution, file)
        for distribution in distributions(path=[str(site_packages)])
        for file in distribution.files or ()
        if _is_bundled(file)
    ]
    releases = {(one.package, one.project.name): one.version for one in found if one.project and one.is_release}
    for number, one in enumerate(found):
        if one.project and (release := releases.get((one.package, one.project.name))):
            found[number] = one._replace(version=release, is_release=True)
    return sorted(found)


def unknown(found: list[Bundled]) -> list[str]:
    """Return a sentence for each library without a checked licence."""
    return [
        f"{one.path} of {one.package} {one.package_version} is a library that scripts/bundled_libraries.py does not have: "
        "find out its project and licence, and add it to LIBRARIES if it may be passed on"
        for one in found
        if one.project is None
    ]


def components(site_packages: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield CycloneDX components of what the wheels bring inside themselves, each with the `name==version` of its wheel.

    Libraries that are linked into a module are not seen in its file. Of those, the wheel's own bills of materials are taken
    (PEP 770), which its maker wrote: OpenSSL in cryptography, the crates of what is written in Rust.
    """
    for one in bundled(site_packages):
        wheel = f"{one.package}=={one.package_version}"
        yield wheel, _component(one, f"{wheel}#{one.path}")
    for distribution in distributions(path=[str(site_packages)]):
        wheel = f"{distribution.metadata['Name']}=={distribution.version}"
        for file in distribution.files or ():
            if file.parts[0].endswith(".dist-info") and file.parts[1] == "sboms" and file.suffix == ".json":
                inner = json.loads(Path(str(distribution.locate_file(file))).read_text(encoding="utf-8"))
                for number, part in enumerate(inner.get("components", ())):
                    kept = {key: part[key] for key in ("name", "version", "purl", "licenses", "hashes") if key in part}
                    yield wheel, {"type": "library", "bom-ref": f"{wheel}#{file.as_posix()}:{number}", **kept}


def _component(one: Bundled, reference: str) -> dict[str, Any]:
    assert one.project is not None  # noqa: S101, `unknown` was asked before
    component: dict[str, Any] = {"type": "library", "bom-ref": reference, "name": one.project.name}
    if one.version:
        component["version"] = one.version
    if one.version and one.is_release:
        component["purl"] = f"pkg:generic/{one.project.name}@{one.version}"
    single = " " not in one.project.licence
    component["licenses"] = [
        {"license": {"id": one.project.licence}} if single else {"expression": one.project.licence}
    ]
    component["hashes"] = [{"alg": "SHA-256", "content": one.sha256}]
    component["properties"] = [
        {"name": "bundled:file", "value": one.path},
        {"name": "bundled:version", "value": "release" if one.is_release else "number of the file's interface"},
    ]
    return component


def site_packages_of(environment: Path) -> Path:
    """Return where a virtual environment has its packages."""
    [found] = environment.glob("lib/python*/site-packages")
    return found


def main() -> None:
    found = bundled(site_packages_of(Path(sys.argv[1])))
    if wrong := unknown(found):
        raise SystemExit("\n".join(wrong))
    print("| Wheel | Library in it | Version | License |\n|---|---|---|---|")
    for one in found:
        version = one.version if one.is_release else f"file {one.version or 'without a number'}"
        name, licence = (one.project.name, one.project.licence) if one.project else ("", "")
        print(f"| {one.package} {one.package_version} | {name}: {PurePath(one.path).name} | {version} | {licence} |")


if __name__ == "__main__":
    main()
