#!/usr/bin/env python3
"""The whole path on a real ISO of Enterprise Linux: added, verified, the shipped role `node` resolved against it, an image of
`minimal` built twice, its packages, its bill of materials.

    LIBCV_EL_ISO=FILE.iso CVCTL=PROGRAM tests/el/test_iso.py

LIBCV_EL_ROLE is the role to build in place of `minimal`, LIBCV_EL_CHECK the one to resolve in place of `node`; LIBCV_EL_KEY a file
with the key that the ISO has to have. Needs root, dnf and 30 GB in TMPDIR. Time: 10 to 30 minutes."""
import json
import os
import subprocess
import sys
import tempfile
import time
from shutil import which

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "build"))
from bed import CV, cv, good, mounts_below  # noqa: E402

ISO = os.environ.get("LIBCV_EL_ISO", "")
ROLE = os.environ.get("LIBCV_EL_ROLE", "minimal")
CHECK = os.environ.get("LIBCV_EL_CHECK", "node")
KEY = os.environ.get("LIBCV_EL_KEY", "")
KNOWN = {"rocky", "rhel", "almalinux", "oracle", "centos-stream"}


def step(what: str, began: float) -> None:
    print(f"{time.monotonic() - began:7.1f} s  {what}", flush=True)


def add(store: str) -> dict:
    began = time.monotonic()
    command = ["distro", "add", ISO, *(["--key", KEY] if KEY else [])]
    added = good(store, *command)
    d = added["distribution"]
    packages = sum(r["packages"] for r in d["repositories"])
    step(f"added {added['name']}: {d['title']} {d['version']}, {packages} packages, media {d['source']['media']}", began)
    for note in added["notes"]:
        print(f"           note: {note}")
    assert d["id"] in KNOWN and d["major"] in range(8, 11) and d["keys"], d
    # The minor release comes from the package where the medium does not say it; Stream has none.
    assert d["id"] == "centos-stream" or "." in d["version"], d["version"]
    with subprocess.Popen(["sha256sum", ISO], stdout=subprocess.PIPE, text=True) as sums:
        again = good(store, *command)
        assert not again["changed"] and again["stored_bytes"] == 0, again
        assert sums.communicate()[0].split()[0] == d["source"]["sha256"]
    return added


def verify(store: str, name: str) -> None:
    began = time.monotonic()
    report = good(store, "distro", "verify", name)
    step(f"verified {report['packages']} packages; signatures {report['signatures']}", began)
    assert report["faults"] == [] and report["signatures"] == "checked", report


def resolve(store: str, name: str) -> None:
    """Every name of the role is one of the distribution, and what it wants goes together."""
    began = time.monotonic()
    done = cv(store, "image", "build", "--distro", name, "--role", CHECK, "--name", "planned", "--dry-run")
    if done.returncode:
        error = json.loads(done.stderr.strip().splitlines()[-1])["error"]
        for d in error["detail"].get("diagnostics", []):
            print(f"           {d['code']}: {d['message']}")
        sys.exit(f"{CHECK} does not fit {name}: {error['message']}")
    planned = json.loads(done.stdout)
    step(f"{CHECK} is {len(planned['transaction'])} packages", began)
    assert planned["image"] is None and planned["transaction"], planned
    for w in planned["warnings"]:
        print(f"           {w['code']}: {w['message']}")


def build(store: str, name: str) -> None:
    began = time.monotonic()
    made = good(store, "image", "build", "--distro", name, "--role", ROLE, "--name", "made", "--check-reproducible")
    step(f"{ROLE} built twice: {made['image']['entries']} entries, {len(made['transaction'])} packages", began)
    for scriptlet in made["failed"]:
        print(f"           failed, as it may: {scriptlet}")
    assert made["differs"] == [], f"a second build differs in {made['differs'][:50]}"
    facts = good(store, "image", "show", "made")["facts"]["build"]
    assert facts["distribution"]["name"] == name, facts["distribution"]


def packages(store: str) -> None:
    began = time.monotonic()
    listed = good(store, "image", "packages", "made")["packages"]
    resolved = {p["name"] for p in good(store, "image", "show", "made")["facts"]["build"]["packages"]}
    assert {p["name"] for p in listed} == resolved, {p["name"] for p in listed} ^ resolved
    for form, mark in (("cyclonedx", "components"), ("spdx", "packages")):
        argv = [CV, "-q", "--store", store, "image", "sbom", "made", "--format", form]
        document = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
        assert len(document[mark]) >= len(listed), form
    step(f"{len(listed)} packages are listed, in both bills of materials too", began)


def main() -> None:
    if not ISO:
        print("set LIBCV_EL_ISO to the path of a Rocky or RHEL ISO")
        sys.exit(77)
    if lacking := [p for p in ("dnf", "rpmkeys") if not which(p)]:
        print(f"install {' '.join(lacking)}")
        sys.exit(77)
    if os.geteuid() != 0:
        print("a build needs root")
        sys.exit(77)
    assert os.path.isfile(ISO), f"LIBCV_EL_ISO: there is no file {ISO}"
    with tempfile.TemporaryDirectory(prefix="cv-el-") as directory:
        store = f"{directory}/store"
        good(store, "store", "init", store)
        name = add(store)["name"]
        verify(store, name)
        resolve(store, name)
        build(store, name)
        packages(store)
        assert good(store, "store", "check")["faults"] == [] and mounts_below(directory) == []


if __name__ == "__main__":
    main()
