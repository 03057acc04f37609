#!/usr/bin/env python3
"""Packages that are unsigned, forged, damaged, unresolvable, in conflict, or have scriptlets that fail or hang: each is named
with its code, and nothing half-made stays. What a package tries to do to the machine that builds does not work."""
import os

from bed import Bed

# Packages, code, what is said.
FAULTS = [
    (["fail-pretrans"], 22, "fail-pretrans"),
    (["fail-pre"], 22, "fail-pre"),
    (["fail-post"], 22, "fail-post"),
    (["fail-posttrans"], 22, "fail-posttrans"),
    (["unsigned"], 14, "unsigned"),
    (["forged"], 14, "forged"),
    (["damaged"], 14, "damaged"),
    (["needs-missing"], 11, "no-such-capability"),
    (["clash"], 11, "/etc/shells"),
    (["bacon"], 10, "beacon"),
]


def each_fault_is_named(bed: Bed) -> None:
    for packages, code, text in FAULTS:
        role = bed.role("faulty", packages=["busybox", *packages])
        bed.bad(code, text, "image", "build", "--distro", "bad", "--role", role, "--name", "x")
        bed.nothing_half_made()
        assert bed.cv("image", "show", "x").returncode == 10, f"{packages}: something was published"
    for role, code, text in [
        (bed.role("group", groups=["cor"]), 10, "core"),
        (bed.role("stream", modules=["webd:7"]), 10, "webd"),
        (bed.role("user", groups=["core"], users=[{"name": "a", "groups": ["nope"]}]), 10, "nope"),
        (bed.role("unit", groups=["core"], units={"enable": ["nope"]}), 10, "nope.service"),
        (bed.role("zone", groups=["core"], timezone="Europe/Berlin"), 10, "tzdata"),
        (bed.role("script", groups=["core"], scripts=[{"name": "s", "run": "echo said; exit 4"}]), 22, "said"),
        (bed.role("slow", groups=["core"], scripts=[{"name": "s", "run": "sleep 60", "time_limit": "2s"}]), 17, "script s"),
        (bed.role("out", packages=["busybox"], generalise={"remove": ["/etc/../../x"]}), 2, "R030"),
    ]:
        bed.bad(code, text, "image", "build", "--distro", "rocky-9.4", "--role", role, "--name", "x")
        bed.nothing_half_made()
    bed.bad(10, "rocky-9.4", "image", "build", "--distro", "rocky-9.3", "--role", "minimal", "--name", "x")


def a_scriptlet_that_hangs_is_stopped(bed: Bed) -> None:
    role = bed.role("slow", packages=["busybox", "slow-post"])
    bed.bad(17, "slow-post", "image", "build", "--distro", "bad", "--role", role, "--name", "x", "--silence", "5s")
    bed.nothing_half_made()


def what_may_fail_is_in_the_provenance(bed: Bed) -> None:
    role = bed.role("allowed", packages=["busybox", "fail-post"], allow_scriptlet_failures=["fail-post"])
    made = bed.good("image", "build", "--distro", "bad", "--role", role, "--name", "allowed")
    assert made["failed"] == ["%post of fail-post"], made
    failed = bed.good("image", "show", "allowed")["facts"]["build"]["failed"]
    assert [(f["package"], f["scriptlet"]) for f in failed] == [("fail-post", "post")], failed


def nothing_reaches_the_machine(bed: Bed) -> None:
    name = os.uname().nodename
    role = bed.role("escape", packages=["busybox", "escape"])
    bed.good("image", "build", "--distro", "bad", "--role", role, "--name", "escape")
    said = dict(line.split() for line in bed.cat("escape", "/escape.log").splitlines())
    assert said.pop("mknod") in ("yes", "no")
    assert len(said) == 7 and set(said.values()) == {"no"}, said
    assert os.uname().nodename == name
    bed.nothing_half_made()


if __name__ == "__main__":
    with Bed() as bed:
        bed.good("distro", "add", f"{bed.mini}/mini-9.4.iso")
        bed.good("distro", "add", f"{bed.mini}/bad-9.4", "--name", "bad")
        for story in (each_fault_is_named, a_scriptlet_that_hangs_is_stopped, what_may_fail_is_in_the_provenance,
                      nothing_reaches_the_machine):
            story(bed)
            print(f"{story.__name__}: good")
