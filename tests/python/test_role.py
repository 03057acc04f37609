"""Roles: what is in an image."""

from __future__ import annotations

from pathlib import Path

import libcv as cv
import pytest

OWN = """
schema: cv.role/v1
name: own
extends: node
packages: [htop, -tcpdump]
files: [{path: /etc/motd, source: motd}]
"""


def test_a_role_is_read_with_all_that_it_extends(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    (tmp_path / "motd").write_text("welcome\n")
    role = cv.Role.load(tmp_path / "own.yaml")
    assert role.name == "own" and repr(role) == "<libcv.Role own>"
    el9 = role.to_dict("el9")
    assert "kernel" in el9["packages"] and "tcpdump" not in el9["packages"] and "for" not in el9
    assert {"path": "/etc/motd", "content": "welcome\n"} in el9["files"]
    again = cv.Role.parse(role.to_yaml())
    assert (again.digest, again.to_dict()) == (role.digest, role.to_dict())
    assert cv.Role.find("own", search=[tmp_path]).digest == role.digest
    assert cv.Role.find_all(["own"], search=[tmp_path]).digest == role.digest
    both = cv.Role.find_all(["own", "storage"], search=[tmp_path])
    assert both.name == "own-storage"
    with pytest.raises(cv.NotFound):
        cv.Role.find_all(["own", "storge"], search=[tmp_path])
    with pytest.raises(cv.Invalid):
        cv.Role.find_all([])
    assert cv.Role.check_file(tmp_path / "own.yaml") == []
    with pytest.raises(cv.Invalid):
        role.to_dict("rocky")


def test_everything_that_is_wrong_is_said() -> None:
    found = cv.Role.check(OWN.replace("htop", "h top"))
    assert [(d["code"], d["line"]) for d in found] == [("R045", 5), ("R014", 6)]
    with pytest.raises(cv.Invalid) as caught:
        cv.Role.parse(OWN)
    assert caught.value.detail["diagnostics"][0]["code"] == "R014"
    with pytest.raises(cv.NotFound):
        cv.Role.find("nod")
    assert cv.Role.schema()["$id"] == "cv.role/v1"
