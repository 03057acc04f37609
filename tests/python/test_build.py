"""Images are made: a role over what was captured, edits, what is not there. Builds from packages are tests of the group `build`."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import libcv as cv
import libcv.aio
import pytest

ROLE = """
schema: cv.role/v1
name: site
files: [{path: /etc/site, content: "ours"}]
scripts: [{name: s, run: "echo $NAME > /etc/said"}]
"""


@pytest.fixture
def store(tmp_path: Path) -> cv.Store:
    """One with the image `golden`: a static busybox that says it is Rocky Linux."""
    busybox = shutil.which("busybox")
    if os.geteuid() != 0 or busybox is None:
        pytest.skip("needs root and busybox-static")
    for name in ("usr/bin", "etc"):
        (tmp_path / "tree" / name).mkdir(parents=True)
    shutil.copy(busybox, tmp_path / "tree/usr/bin/busybox")
    (tmp_path / "tree/bin").symlink_to("usr/bin")
    for name in ("sh", "touch", "false"):
        (tmp_path / "tree/usr/bin" / name).symlink_to("busybox")
    (tmp_path / "tree/etc/os-release").write_text('ID="rocky"\nVERSION_ID="9.4"\n')
    store = cv.Store.init(tmp_path / "store")
    store.capture(tmp_path / "tree", "golden", exact=True)
    return store


def test_a_role_is_laid_over_an_image(store: cv.Store) -> None:
    role = cv.Role.parse(ROLE)
    stages: list[str] = []
    made = cv.build_image(
        store,
        "site",
        role,
        image="golden",
        options=cv.BuildOptions(tag="t", environment={"NAME": "value"}, time_limit="1min", silence=30),
        progress=lambda e: stages.append(e["stage"]) if e["kind"] == "stage" else None,
    )
    assert made["image"] is not None and made["image"]["name"] == "site" and made["transaction"] == []
    image = store.image("site:t")
    assert (image.cat("/etc/site"), image.cat("/etc/said")) == (b"ours", b"value\n")
    assert "generalise" in stages
    facts = image.info()["facts"]
    assert facts is not None
    build = facts["build"]
    assert build["role"]["digest"] == role.digest and build["base"] == store.image("golden").id
    dry = cv.build_image(store, "other", role, image="golden", options=cv.BuildOptions(dry_run=True))
    assert dry["image"] is None
    with pytest.raises(cv.NotFound):
        store.image("other")


def test_a_program_runs_in_an_image(store: cv.Store) -> None:
    made = cv.edit_image(store, "golden", ["/bin/touch", "/etc/edited"], name="edited")
    assert made["image"] is not None and made["image"]["generation"] == 1
    assert store.image("edited").cat("/etc/edited") == b""
    with pytest.raises(cv.PluginError, match="exit status 1"):
        cv.edit_image(store, "edited", ["/bin/false"])
    assert store.image("edited").generation == 1
    job = cv.edit_image_job(store, "edited", ["/bin/touch", "/etc/more"])
    again = job.result()
    assert again["image"] is not None and again["image"]["generation"] == 2
    asyncio.run(libcv.aio.edit_image(store, "edited", ["/bin/touch", "/etc/third"]))
    assert store.image("edited").generation == 3


def test_what_is_not_there_is_said(store: cv.Store) -> None:
    role = cv.Role.parse(ROLE)
    with pytest.raises(cv.NotFound, match="rocky-9.4"):
        cv.build_image(store, "n", role, distro="rocky-9.4")
    with pytest.raises(cv.Invalid):
        cv.build_image(store, "n", role)
    with pytest.raises(cv.Refused, match="golden"):
        cv.update_image(store, "golden")
    with pytest.raises(cv.Invalid):
        cv.BuildOptions(time_limit="soon")
    packages = cv.Role.parse("schema: cv.role/v1\nname: r\npackages: [bash]\n")
    with pytest.raises(cv.Refused):
        cv.build_image_job(store, "n", packages, image="golden").result()
