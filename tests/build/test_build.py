#!/usr/bin/env python3
"""The miniature distribution in two releases: images with two roles differ as the roles say, a build that is repeated is the
same, an update brings the packages of the second release, a roll back the first; edits, and a role over what was captured."""
import os
import pty
import select
import subprocess
import termios
import time

from bed import CV, EPOCH, Bed, good

# Where Debian has the library by which programs see another time.
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"

COMMON = {
    "groups": ["core"],
    "docs": False,
    "languages": ["de"],
    "users": [{"name": "ann", "groups": ["wheel"]}],
    "files": [{"path": "/etc/motd", "template": "{{ image }} of {{ distro }} {{ system }} {{ release }}\n"}],
    "kernel_args": ["console=ttyS0", "quiet"],
    "timezone": "UTC",
    "locale": "C.UTF-8",
    # Random, and the time: what its scriptlets leave is no two times the same.
    "generalise": {"remove": ["/var/lib/beacon.seed"]},
}


def two_roles(bed: Bed) -> None:
    node = bed.role("compute", **COMMON, packages=["beacon", "kernel-core", "pinger"], units={"enable": ["beacon"]})
    login = bed.role("front", **COMMON, packages=["busybox"], modules=["webd:2/common"],
                     scripts=[{"name": "mark", "run": "test -z \"$(ls /sys)\"; echo $SOURCE_DATE_EPOCH > /etc/made"}])
    planned = bed.good("image", "build", "--distro", "rocky-9.4", "--role", node, "--name", "node", "--dry-run")
    assert planned["image"] is None and any(s["name"] == "pinger" for s in planned["transaction"]), planned
    bed.nothing_half_made()
    assert bed.cv("image", "show", "node").returncode == 10, "a dry run publishes nothing"
    made = bed.good("image", "build", "--distro", "rocky-9.4", "--role", node, "--name", "node", "--tag", "prod",
                    "--check-reproducible")
    assert made["differs"] == [] and made["epoch"] == EPOCH["9.4"], made
    assert {s["name"] for s in planned["transaction"]} == {s["name"] for s in made["transaction"]}
    bed.good("image", "build", "--distro", "rocky-9.4", "--role", login, "--name", "login")
    mine, other = bed.paths("node"), bed.paths("login")
    assert {"usr/bin/beacon", "boot/vmlinuz-5.14.0-424.el9.x86_64", "etc/systemd/system/multi-user.target.wants/beacon.service"} <= mine
    assert {"usr/share/webd/stream", "etc/made"} <= other
    assert not any(p.startswith(("usr/share/webd", "etc/made", "usr/share/doc/beacon", "usr/share/locale/fr/LC_MESSAGES/b")) for p in mine)
    assert not any(p.startswith(("usr/bin/beacon", "usr/lib/modules")) for p in other)
    assert bed.cat("login", "/etc/made") == f"{EPOCH['9.4']}\n" and bed.cat("login", "/usr/share/webd/stream") == "2\n"
    assert bed.cat("node", "/etc/motd") == "node of rocky-9.4 el9 9.4\n"
    assert bed.cat("node", "/usr/lib/libcv/kernel-args") == "console=ttyS0\nquiet\n"
    assert "ann:x:1000:1000::/home/ann:/bin/bash\n" in bed.cat("node", "/etc/passwd")
    facts = bed.good("image", "show", "node")["facts"]["build"]
    assert facts["distribution"]["name"] == "rocky-9.4" and len(facts["distribution"]["sha256"]) == 64
    shown = bed.good("role", "show", node)
    assert facts["role"]["digest"] == shown["digest"] and facts["role"]["document"]["name"] == "compute"
    beacon = next(p for p in facts["packages"] if p["name"] == "beacon")
    rpm = next(f for d, _, files in os.walk(f"{bed.mini}/tree-9.4") for f in (os.path.join(d, n) for n in files) if "/beacon-1" in f)
    digest = subprocess.run(["sha256sum", rpm], capture_output=True, text=True, check=True).stdout.split()[0]
    assert beacon["version"] == "1.4-1.el9" and beacon["digest"].endswith(digest) and beacon["repository"] == "BaseOS", beacon
    bed.nothing_half_made()
    # The same input in another store gives the same tree; the same once more in this one no new generation.
    again = bed.good("image", "build", "--distro", "rocky-9.4", "--role", node, "--name", "node")
    assert not again["image"]["changed"] and again["image"]["generation"] == 1, again


def another_day(bed: Bed) -> None:
    """The same in another store, 400 days later: the same tree."""
    if not os.path.exists(FAKETIME):
        print("skipped: another_day: it needs the package libfaketime")
        return
    later = {**os.environ, "LD_PRELOAD": FAKETIME, "FAKETIME": "+400d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    there = ["--env", "LD_PRELOAD", "--env", "FAKETIME"]
    store = f"{bed.dir}/later"
    for args in (["store", "init", store], ["--store", store, "distro", "add", f"{bed.mini}/mini-9.4.iso"],
                 ["--store", store, "image", "build", "--distro", "rocky-9.4", "--role", f"{bed.dir}/compute.json", "--name", "node", *there]):
        subprocess.run([CV, "-q", *args], check=True, stdout=subprocess.DEVNULL, env=later)
    log = good(store, "image", "log", "node")["generations"][0]
    today = bed.good("image", "log", "node")["generations"][-1]
    assert log["created"][:4] != today["created"][:4], "it was not another day"
    assert log["tree"] == today["tree"], (log, today)


def update_and_back(bed: Bed) -> None:
    made = bed.good("image", "update", "node", "--distro", "rocky-9.5", "--packages", "bigfile")
    assert made["image"]["generation"] == 2 and made["epoch"] == EPOCH["9.5"], made
    installed = {s["name"]: s["version"] for s in made["transaction"] if s["action"] == "install"}
    assert installed["beacon"] == "1.5-1.el9" and "bigfile" in installed and "busybox" not in installed, installed
    assert bed.cat("node", "/etc/motd") == "node of rocky-9.5 el9 9.5\n"
    quiet = bed.good("image", "update", "node", "--dry-run")
    assert quiet["transaction"] == [], quiet
    facts = bed.good("image", "show", "node")["facts"]["build"]
    assert (facts["how"], facts["wanted"], facts["distribution"]["name"]) == ("update", ["bigfile"], "rocky-9.5"), facts
    diff = bed.good("image", "diff", "node@1", "node@2", "--packages")
    packages = diff["packages"]
    assert [p["name"] for p in packages["added"]] == ["bigfile", "kernel-core"] and packages["removed"] == [], packages
    assert [(p["old"]["version"], p["new"]["version"]) for p in packages["changed"]] == [("1.4", "1.5"), ("9.4", "9.5")], packages
    log = bed.good("image", "log", "node")["generations"]
    assert [g["reason"] for g in log] == ["build", "build"], log
    bed.good("image", "rollback", "node", "--to", "node@1")
    assert bed.cat("node", "/etc/motd") == "node of rocky-9.4 el9 9.4\n"
    bed.nothing_half_made()


def edits(bed: Bed) -> None:
    before = bed.good("image", "show", "login")
    made = bed.good("image", "edit", "login", "--", "/bin/sh", "-c", "echo edited > /etc/edited; rm /etc/motd; touch /root/.ash_history")
    assert made["image"]["generation"] == 2, made
    changes = {(c["kind"], c["path"]) for c in bed.good("image", "diff", "login@1", "login@2")["changes"]}
    assert ("added", "/etc/edited") in changes and ("removed", "/etc/motd") in changes, changes
    assert not any("rpmdb" in path for _, path in changes), "the package database was not touched"
    facts = bed.good("image", "show", "login")
    assert facts["facts"]["build"]["how"] == "edit" and facts["facts"]["build"]["base"] == before["image"], facts
    assert bed.good("image", "log", "login")["generations"][0]["reason"] == "edit"
    bed.bad(22, "exit status 3", "image", "edit", "login", "--", "/bin/sh", "-c", "echo why >&2; exit 3")
    bed.bad(2, "--name", "image", "edit", before["image"], "--", "/bin/true")
    bed.good("image", "edit", before["image"], "--name", "other", "--", "/bin/true")
    assert bed.good("image", "show", "other")["tree"] == before["tree"], "nothing was done, and nothing is changed"
    bed.nothing_half_made()


def a_shell(bed: Bed) -> None:
    """Somebody sits at a terminal: what is typed is done, and the terminal is as before."""
    # What is called bash there is a busybox without one.
    bed.good("image", "edit", "login", "--name", "typed", "--", "/bin/rm", "/usr/bin/bash")
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    shell = subprocess.Popen([CV, "--store", bed.store, "image", "edit", "typed"],
                             stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    drawn = b""
    end = time.monotonic() + 60
    for typed, answer in ((b"", b"# "), (b"echo $((6*7)) > /etc/answer; echo o$()k\n", b"ok\r\n"), (b"sleep 50\n", b"sleep 50"),
                          (b"\x03", b"# "), (b"exit\n", b"typed@2")):
        os.write(master, typed)
        seen = len(drawn)
        while answer not in drawn[seen:]:
            assert time.monotonic() < end, drawn
            if select.select([master], [], [], 0.2)[0]:
                drawn += os.read(master, 4096)
    assert shell.wait(timeout=30) == 0, drawn
    assert termios.tcgetattr(slave) == before, "the terminal is as it was"
    assert bed.cat("typed", "/etc/answer") == "42\n"
    bed.bad(2, "terminal", "image", "edit", "login")
    bed.nothing_half_made()


def over_what_was_captured(bed: Bed) -> None:
    tree = f"{bed.dir}/captured"
    subprocess.run([CV, "-q", "--store", bed.store, "image", "extract", "login", tree], check=True, stdout=subprocess.DEVNULL)
    bed.good("image", "capture", tree, "--name", "golden", "--exact")
    files = bed.role("files", files=[{"path": "/etc/site", "content": "ours\n", "mode": "0600"}])
    made = bed.good("image", "build", "--from", "golden", "--role", files, "--name", "site")
    assert bed.cat("site", "/etc/site") == "ours\n" and made["transaction"] == []
    more = bed.role("more", packages=["pinger"])
    bed.bad(16, "--distro", "image", "build", "--from", "golden", "--role", more, "--name", "site")
    bed.bad(16, "--distro", "image", "update", "golden")
    made = bed.good("image", "build", "--from", "golden", "--distro", "rocky-9.4", "--role", more, "--role", files, "--name", "site")
    assert [s["name"] for s in made["transaction"]] == ["pinger"], made
    assert {"usr/bin/pinger", "etc/site"} <= bed.paths("site")
    bed.nothing_half_made()


if __name__ == "__main__":
    with Bed() as bed:
        for version in EPOCH:
            bed.good("distro", "add", f"{bed.mini}/mini-{version}.iso")
        for story in (two_roles, another_day, update_and_back, edits, a_shell, over_what_was_captured):
            story(bed)
            print(f"{story.__name__}: good")
