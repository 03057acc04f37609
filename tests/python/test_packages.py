"""Packages of images, and bills of materials that other programs accept."""

from __future__ import annotations

import json
import sqlite3
import struct
from pathlib import Path

import libcv as cv
import pytest
from conftest import Capture
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

STATUS = """Package: bash
Status: install ok installed
Version: 5.2-2
Architecture: amd64
Maintainer: Somebody <somebody@example.invalid>

"""
# As they stand in packages: an expression, words, several lines and quotes, none.
LICENSES = ["MIT AND GPL-2.0-only", "GPLv2+ with exceptions and (LGPLv2+ or MIT)", 'Public "Domain"\nand more', ""]


def header(name: str, version: str, license: str, epoch: int = 0) -> bytes:
    """What rpm keeps of an installed package."""
    texts = {1000: name, 1001: version, 1002: "1.el9", 1011: "Mini", 1014: license, 1022: "x86_64", 1044: f"{name}.src.rpm"}
    texts |= {273: "ab" * 32, 5096: "stream:1:2:c0ffee"}
    index, data = b"", b""
    for tag, text in texts.items():
        index += struct.pack(">4I", tag, 6, len(data), 1)
        data += text.encode() + b"\0"
    index += struct.pack(">4I", 1003, 4, len(data), 1)
    data += struct.pack(">I", epoch)
    return struct.pack(">2I", len(texts) + 1, len(data)) + index + data


def install(tree: Path, *headers: bytes) -> None:
    """Gives the tree a database of rpm with these packages."""
    place = tree / "var" / "lib" / "rpm"
    place.mkdir(parents=True, exist_ok=True)
    (place / "rpmdb.sqlite").unlink(missing_ok=True)
    with sqlite3.connect(place / "rpmdb.sqlite") as database:
        database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
        database.executemany("INSERT INTO Packages (blob) VALUES (?)", [(h,) for h in headers])
    database.close()


@pytest.fixture
def image(tree: Path, capture: Capture) -> cv.Image:
    """One with packages of both kinds."""
    names = ["libstdc++", "perl-Foo", "a_b", "plain"]
    # A package twice, as a damaged database has it.
    headers = [header(n, "1.0~rc1^2", l, epoch=i) for i, (n, l) in enumerate(zip(names, LICENSES))]
    install(tree, *headers, headers[0])
    (tree / "var" / "lib" / "dpkg").mkdir(parents=True)
    (tree / "var" / "lib" / "dpkg" / "status").write_text(STATUS)
    (tree / "etc" / "os-release").write_text("ID=rocky\n")
    return capture()


def test_packages_are_listed_and_compared(image: cv.Image, tree: Path, capture: Capture) -> None:
    packages = {p["name"]: p for p in image.packages()}
    assert sorted(packages) == ["a_b", "bash", "libstdc++", "perl-Foo", "plain"]
    assert packages["a_b"]["epoch"] == 2 and packages["a_b"]["license"] == LICENSES[2]
    assert (packages["bash"]["kind"], packages["bash"]["version"]) == ("deb", "5.2-2")
    assert "license" not in packages["plain"]
    install(tree, header("plain", "2", "MIT"), header("new", "1", "MIT"))
    changes = image.diff_packages(capture())
    assert [p["name"] for p in changes["added"]] == ["new"]
    assert {p["name"] for p in changes["removed"]} == {"a_b", "libstdc++", "perl-Foo"}
    assert [(c["old"]["version"], c["new"]["version"]) for c in changes["changed"]] == [("1.0~rc1^2", "2")]
    heard: list[str] = []
    image.packages(progress=lambda event: heard.append(event["kind"]))
    assert heard


def test_images_without_packages_and_damaged_ones(tree: Path, capture: Capture) -> None:
    with pytest.raises(cv.NotFound):
        capture().packages()
    place = tree / "var" / "lib" / "rpm"
    place.mkdir(parents=True)
    (place / "Packages").write_bytes(b"bdb")
    with pytest.raises(cv.Unsupported) as caught:
        capture().sbom("spdx")
    assert caught.value.detail["database"] == "bdb"
    (place / "rpmdb.sqlite").write_bytes(b"x" * 8192)
    with pytest.raises(cv.Integrity):
        capture().packages()
    with pytest.raises(cv.Invalid):
        capture().sbom("swid")  # type: ignore[arg-type]


def test_a_cyclonedx_document_is_one(image: cv.Image) -> None:
    text = image.sbom("cyclonedx")
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    document = json.loads(text)
    assert document["metadata"]["component"]["version"] == image.id
    assert len(document["components"]) == 6 and image.sbom("cyclonedx") == text
    broken = text.replace('"components"', '"component"')
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(broken) is not None


def test_an_spdx_document_is_one(image: cv.Image, tmp_path: Path) -> None:
    file = tmp_path / "image.spdx.json"
    file.write_text(image.sbom("spdx"))
    document = parse_file(str(file))
    assert validate_full_spdx_document(document, "SPDX-2.3") == []
    assert len(document.packages) == 7
    file.write_text(image.sbom("spdx").replace("NOASSERTION", "", 1))
    with pytest.raises(Exception):
        assert validate_full_spdx_document(parse_file(str(file)), "SPDX-2.3") == []
