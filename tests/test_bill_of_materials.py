"""A release's bill of materials names what is in the wheel beside Python: `make release` makes and validates the whole."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from bill_of_materials import completed
from bundled_libraries import bundled, components, unknown


def of_an_environment() -> dict[str, object]:
    """A bill as cyclonedx-py makes it, with one dependency."""
    root = {"bom-ref": "root-component", "name": "airflow-provider-adjust", "type": "library"}
    requests = {"bom-ref": "requests==2.32.0", "name": "requests", "type": "library", "version": "2.32.0"}
    return {
        "metadata": {"component": root},
        "components": [requests],
        "dependencies": [{"ref": "root-component", "dependsOn": ["requests==2.32.0"]}, {"ref": "requests==2.32.0"}],
    }


def test_the_bill_says_which_release_it_is_of() -> None:
    bill = completed(of_an_environment(), "1.2.3")
    assert bill["metadata"]["component"]["version"] == "1.2.3"
    assert bill["metadata"]["component"]["purl"] == "pkg:pypi/airflow-provider-adjust@1.2.3"


# --- Libraries inside other wheels ------------------------------------------------------------------------------------


def environment_with(folder: Path, files: dict[str, bytes]) -> Path:
    """A virtual environment's folder with one installed wheel, `fast-tls` 1.0, that has these files."""
    site_packages = folder / "lib" / "python3.11" / "site-packages"
    metadata = b"Metadata-Version: 2.4\nName: fast-tls\nVersion: 1.0\n"
    files = {**files, "fast_tls-1.0.dist-info/METADATA": metadata}
    for name, content in files.items():
        (site_packages / name).parent.mkdir(parents=True, exist_ok=True)
        (site_packages / name).write_bytes(content)
    record = "".join(f"{name},,\n" for name in files)
    (site_packages / "fast_tls-1.0.dist-info" / "RECORD").write_text(record, encoding="utf-8")
    return site_packages


def test_a_library_in_a_wheel_is_listed_with_its_project_release_licence_and_digest(tmp_path: Path) -> None:
    """As auditwheel and delocate lay them out; the number in a file's name is often that of an interface."""
    tls = b"\x7fELF\0OpenSSL 3.5.1 1 Jul 2025\0"
    found = environment_with(
        tmp_path,
        {
            "fast_tls.libs/libssl-0123abcd.so.3": tls,
            "fast_tls.libs/libcrypto-0123abcd.so.3": b"\x7fELF",  # of the same release, and does not say it
            "fast_tls/.dylibs/libz.1.3.1.dylib": b"\0 deflate 1.3.1 Copyright\0",
            "fast_tls.libs/libbrotlidec-0123abcd.so.1.2.0": b"",
            "fast_tls.libs/libunistring-0123abcd.so.5.1.0": b"",
            "fast_tls/_tls.cpython-311-x86_64-linux-gnu.so": b"the module itself",
        },
    )
    libraries = {Path(one.path).name: one for one in bundled(found)}
    assert {
        name: (one.project and (one.project.name, one.project.licence), one.version, one.is_release)
        for name, one in libraries.items()
    } == {
        "libssl-0123abcd.so.3": (("openssl", "Apache-2.0"), "3.5.1", True),
        "libcrypto-0123abcd.so.3": (("openssl", "Apache-2.0"), "3.5.1", True),
        "libz.1.3.1.dylib": (("zlib", "Zlib"), "1.3.1", True),
        "libbrotlidec-0123abcd.so.1.2.0": (("brotli", "MIT"), "1.2.0", True),
        "libunistring-0123abcd.so.5.1.0": (
            ("libunistring", "LGPL-3.0-or-later OR GPL-2.0-or-later"),
            "5.1.0",
            False,
        ),
    }
    assert libraries["libssl-0123abcd.so.3"].sha256 == hashlib.sha256(tls).hexdigest()
    assert unknown(bundled(found)) == []


def test_an_unchecked_library_fails_the_licence_check_by_name(tmp_path: Path) -> None:
    """Wherever the wheel has it, and whatever its file is called."""
    names = ("fast_tls.libs/libviral-0123abcd.so.2", "fast_tls/.dylibs/viral", "fast_tls/lib/libviral.so", "viral.dll")
    found = environment_with(tmp_path, dict.fromkeys(names, b""))
    script = Path(__file__).parent.parent / "scripts" / "bundled_libraries.py"
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    assert len(unknown(bundled(found))) == len(names)
    for name in names:
        assert f"{name} of fast-tls 1.0 is a library that scripts/bundled_libraries.py does not have" in done.stderr


def test_the_bill_has_each_library_below_its_wheel_and_what_the_wheel_itself_declares(tmp_path: Path) -> None:
    crate = {"name": "ring", "version": "0.17.14", "purl": "pkg:cargo/ring@0.17.14", "author": "somebody"}
    declared = json.dumps({"components": [crate]}).encode()
    found = environment_with(
        tmp_path,
        {
            "fast_tls.libs/libcurl-0123abcd.so.4.8.0": b"libcurl/8.15.0",
            "fast_tls-1.0.dist-info/sboms/rust.cdx.json": declared,
        },
    )
    before = of_an_environment()
    before["dependencies"].append({"ref": "fast-tls==1.0"})  # type: ignore[attr-defined]
    bill = completed(before, "1.2.3", components(found))
    curl, ring = bill["components"][-2:]
    assert (curl["name"], curl["purl"], curl["licenses"]) == (
        "curl",
        "pkg:generic/curl@8.15.0",
        [{"license": {"id": "curl"}}],
    )
    assert curl["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(b"libcurl/8.15.0").hexdigest()}]
    assert ring["purl"] == "pkg:cargo/ring@0.17.14"
    [of_wheel] = [entry for entry in bill["dependencies"] if entry["ref"] == "fast-tls==1.0"]
    assert of_wheel["dependsOn"] == [curl["bom-ref"], ring["bom-ref"]]


def test_the_libraries_of_the_installed_pycurl_are_all_known() -> None:
    found = [one for path in sys.path if path.endswith("site-packages") for one in bundled(Path(path))]
    of_pycurl = [one for one in found if one.package == "pycurl"]
    if not of_pycurl:
        pytest.skip("this pycurl uses the system's libraries")
    assert unknown(of_pycurl) == []
    assert {"curl", "openssl"} <= {one.project.name for one in of_pycurl if one.project and one.is_release}
