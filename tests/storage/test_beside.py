#!/usr/bin/env python3
"""test_beside.py [CASE...]: what else there is on disks and machines, and what happens meanwhile, with a real kernel.

HELD: somebody else's arrays hold the disks; STRANGERS: they stay beside what is kept; ELSEWHERE: disks changed places, or have a
part of a group; TORN: what is kept has its other half on disks that are erased; FAILED: members of a kept array failed; SWAPPED
and SECRET: something changed, or does not open, between plan and application; HALF and LEFT: an interrupted application left
something; TWICE: two applications at a time; SUBVOLUMES and RULES: what is compared, and which disks are meant.
Needs: root, tests/beds/uml.sh, CVCTL.    Time: one guest a case, 4 to 10 s.
"""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Callable

from test_keep import CALL, apply, digest, disks, given, guest, plan, refused, start
from test_stacks import expect, in_turn, run

# Disks that others hold: three of them with an array and a group on it, and one more.

WIPE = ("schema: cv.layout/v1\nname: held\ndisks: {d: {count: %d, wipe: %s}}\npartitions: {d/p: {type: linux-raid, size: rest}}\n"
        "raid: {a: {level: 1, members: [d/p]}}\nfilesystems: {f: {on: raid/a, type: ext4}}\n")


def held() -> None:
    def write(name: str, text: str) -> str:
        with open(f"/run/{name}.yaml", "w", encoding="utf-8") as f:
            f.write(text)
        return f"/run/{name}.yaml"

    run("mdadm", "--create", "/dev/md7", "--run", "--level=1", "--raid-devices=3", "--metadata=1.0", "--bitmap=none",
        *disks(3))
    run("vgcreate", "-qq", "old", "/dev/md7")
    run("lvcreate", "-qq", "-y", "-Wn", "-n", "x", "-L", "60M", "old")
    run("cryptsetup", "luksFormat", "-q", "--key-file", "-", "/dev/old/x", data=b"x")
    run("cryptsetup", "open", "--key-file", "-", "/dev/old/x", "inner", data=b"x")
    refused(write("signatures", WIPE % (3, "signatures")), given(3), "F204")
    error = refused(write("two", WIPE % (2, "all")), given(2), "F204")
    expect("why", "also stands on" in error["message"] or "also stands on" in json.dumps(error), True)
    run("mkfs.ext4", "-q", "/dev/mapper/inner")
    run("bash", "-c", "mkdir -p /run/m; mount /dev/mapper/inner /run/m")
    refused(write("all", WIPE % (3, "all")), given(3), "F204")
    run("umount", "/run/m")
    # What can be refused is refused before anything is stopped.
    done = subprocess.run([*CALL, "apply", "/run/all.yaml", *given(3), "--yes", "--journal", "/nowhere/journal"], capture_output=True, check=False)
    expect("whether it is refused", done.returncode != 0, True)
    expect("whether all of it runs on", os.path.exists("/dev/mapper/inner"), True)
    # The array is written between the plan and its confirmation: its superblocks change, and what one member copies.
    made = plan("/run/all.yaml", given(3))
    run("bash", "-c", "mount /dev/mapper/inner /run/m; echo x > /run/m/x; umount /run/m; echo repair > /sys/block/md7/md/sync_action; "
        "mdadm --wait /dev/md7; blockdev --flushbufs /dev/ubda /dev/ubdb /dev/ubdc; true")
    run(*CALL, "apply", "/run/all.yaml", *given(3), "--confirm", made["token"])
    expect("the first step", made["steps"][0]["id"], "stop")
    expect("what is stopped", len(made["steps"][0]["commands"]), 3)
    expect("what is there now", plan("/run/all.yaml", given(3))["steps"], [])
    expect("the old group", subprocess.run(["vgs", "old"], capture_output=True, check=False).returncode != 0, True)
    # An application that was killed: its array runs, and its names have the mark.
    run("mdadm", "--stop", "--scan")
    for n, disk in enumerate(disks(3)):
        run("sgdisk", "-c", "1:p~cv", disk) if shutil.which("sgdisk") else run("sfdisk", "--part-label", disk, "1", "p~cv")
        expect("whether there is a partition", os.path.exists(f"{disk}1"), True)
        del n
    run("mdadm", "--assemble", "--scan", "--run")
    done = apply("/run/signatures.yaml", given(3))
    expect("the first step of the next run", done["steps"][0]["id"], "stop")
    expect("what is there in the end", plan("/run/signatures.yaml", given(3))["steps"], [])


# What somebody does between the plan and its application, what lies elsewhere, what others have.


def written(name: str, text: str) -> str:
    with open(f"/run/{name}.yaml", "w", encoding="utf-8") as f:
        f.write(text)
    return f"/run/{name}.yaml"


def fails(code: str, *words: str) -> None:
    """An application that is refused."""
    done = subprocess.run([*CALL, "apply", *words], capture_output=True, check=False)
    expect("whether it is refused", done.returncode != 0, True)
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    expect(f"{error}", error["detail"].get("code"), code)


SWAP = ("schema: cv.layout/v1\nname: swap\ndisks: {d: {preserve: if-exists}}\npartitions:\n  d/x: {type: linux, size: 50MiB}\n"
        "  d/l: {type: linux-lvm, size: 300MiB, preserve: if-exists}\n"
        "lvm: {v: {pvs: [d/l], preserve: if-exists, lvs: {data: {size: 80MiB, preserve: if-exists}, root: {size: 80MiB}}}}\n"
        "filesystems: {x: {on: d/x, type: ext4, label: ONE}, r: {on: lvm/v/root, type: ext4, label: ONE}, "
        "k: {on: lvm/v/data, type: ext4, label: KEPT, preserve: if-exists}}\n")


def swapped() -> None:
    """A volume that is not the one of the plan is not removed, although it has its name."""
    def uuid() -> str:
        return run("lvs", "--noheadings", "-o", "lv_uuid", "v/root").strip()

    where = given(1)
    apply(written("one", SWAP), where)
    run("vgchange", "-qq", "-ay", "v")
    two = written("two", SWAP.replace("ONE", "TWO"))
    token = plan(two, where)["token"]
    run("bash", "-c", "lvremove -qq -y v/root; lvcreate -qq -y -Wn -Zn -n root -L 80M v")
    other = uuid()
    fails("A400", two, *where, "--confirm", token)
    expect("the volume of before", uuid(), other)
    # Later still: when the plan was looked at once more, and what ran is being stopped.
    run("mount", "-t", "tmpfs", "none", "/usr/local/sbin")
    with open("/usr/local/sbin/dmsetup", "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\n/usr/sbin/dmsetup \"$@\" || [ -e /run/swapped ] || exit 1\n[ -e /run/swapped ] && exit 0\n: > /run/swapped\n"
                "vgchange -qq -an v\nlvremove -qq -y v/root\nlvcreate -qq -y -an -Wn -Zn -n root -L 80M v\n")
    os.chmod("/usr/local/sbin/dmsetup", 0o755)
    fails("A401", two, *where, "--yes")
    run("umount", "/usr/local/sbin")
    expect("whether it was swapped", os.path.exists("/run/swapped") and uuid() != other, True)
    apply(two, where)
    run("vgchange", "-qq", "-ay", "v")
    expect("what is made in the end", run("blkid", "-o", "value", "-s", "LABEL", "/dev/v/root").strip(), "TWO")


SAFE = ("schema: cv.layout/v1\nname: safe\ndisks: {d: {preserve: if-exists}}\npartitions:\n  d/x: {type: linux, size: 60MiB}\n"
        "  d/c: {type: luks, size: 200MiB, preserve: if-exists}\n"
        'luks: {c: {on: d/c, keys: [{secret: "ref:k/one"}, {tpm2: {pcrs: [7]}}], preserve: if-exists}}\n'
        "filesystems: {x: {on: d/x, type: ext4, label: ONE}, f: {on: luks/c, type: ext4, label: ONE}}\n")


def secret() -> None:
    """A secret that opens nothing is told before the first write; and what is kept needs no TPM."""
    plain = SAFE.replace(", {tpm2: {pcrs: [7]}}", "")
    made = apply(written("one", plain), given(1))
    run("cryptsetup", "close", made["encrypted"][0]["name"])
    two = written("two", SAFE.replace("ONE", "TWO"))
    with open("/run/wrong", "wb") as f:
        f.write(b"wrong")
    os.sync()
    before = digest(disks(1)[0])
    fails("F236", two, *given(1), "--yes", "--secret", "k/one=/run/wrong")
    expect("the disk", digest(disks(1)[0]), before)
    apply(two, given(1))


AWAY = ("schema: cv.layout/v1\nname: away\ndisks: {o: {}, d: {preserve: if-exists}}\npartitions:\n  o/os: {type: linux, size: rest}\n"
        "  d/data: {type: linux, size: 100MiB, preserve: if-exists}\n"
        "filesystems: {n: {on: o/os, type: ext4}, k: {on: d/data, type: ext4, label: KEPT, preserve: if-exists}}\n")


def elsewhere() -> None:
    """Disks that changed places are not installed over, and neither is a part of a group that nobody started."""
    away = written("away", AWAY)
    apply(away, [*given(1, "o"), *given(1, "d", 1)])
    refused(away, [*given(1, "o", 1), *given(1, "d")], "F227")
    for disk in disks(2):
        run("wipefs", "-qa", disk)
    run("vgcreate", "-qq", "old", *disks(2))
    run("lvcreate", "-qq", "-y", "-Wn", "-n", "x", "-L", "60M", "old")
    run("vgchange", "-qq", "-an", "old")
    refused(written("half", WIPE % (1, "signatures")), given(1), "F229")
    plan(written("all", WIPE % (1, "all")), given(1))
    plan(written("both", WIPE % (2, "signatures")), given(2))
    # One of its parts is in an array.
    for disk in disks(2):
        run("wipefs", "-qa", disk)
    run("mdadm", "--create", "/dev/md7", "--run", "--force", "--level=1", "--raid-devices=1", disks(1)[0])
    run("vgcreate", "-qq", "old", "/dev/md7", disks(2)[1])
    run("vgchange", "-qq", "-an", "old")
    run("mdadm", "--stop", "/dev/md7")
    for own in (0, 1):
        error = refused("/run/half.yaml", given(1, first=own), "F229")
        expect("what is said", 'the volume group \\"old\\"' in json.dumps(error), True)


def strangers() -> None:
    """An array of others beside what is kept is stopped, which the plan says, and is what it was."""
    where = given(1)
    text = SWAP.replace("d/l: {type: linux-lvm", "d/l: {type: linux-lvm, number: 2")
    apply(written("one", text), where)
    run("vgchange", "-qq", "-an", "v")
    run("sfdisk", "-q", "--append", disks(1)[0], data=b"start=420MiB, size=20MiB, name=other\n")
    run("mdadm", "--create", "/dev/md9", "--run", "--force", "--level=1", "--raid-devices=1", f"{disks(1)[0]}3")
    run("mkfs.ext4", "-q", "/dev/md9")
    os.sync()
    before = digest("/dev/md9")
    made = plan(written("two", text.replace("ONE", "TWO")), where)
    expect(f"the warnings {made['warnings']}", [w["code"] for w in made["warnings"]], ["F235", "F237"])
    expect("who is stopped", "md9" in made["warnings"][1]["message"], True)
    apply("/run/two.yaml", where)
    run("mdadm", "--assemble", "/dev/md9", f"{disks(1)[0]}3", "--run")
    expect("the array of others", digest("/dev/md9"), before)


TREE = ("schema: cv.layout/v1\nname: tree\ndisks: {d: {preserve: if-exists}}\npartitions:\n  d/x: {type: linux, size: 60MiB}\n"
        "  d/data: {type: linux, size: 200MiB, preserve: if-exists}\n"
        "filesystems: {x: {on: d/x, type: ext4, label: ONE}, k: {on: d/data, type: btrfs, label: KEPT, preserve: if-exists, "
        "subvolumes: {home: {mount: {at: /k}}%s}}}\n")


def subvolumes() -> None:
    """Subvolumes of what is kept are compared, wherever they lie."""
    where = given(1)
    apply(written("one", TREE % ""), where)
    refused(written("more", TREE % ", srv: {}"), where, "F227")
    os.makedirs("/run/m")
    run("mount", run("blkid", "-o", "device", "-t", "LABEL=KEPT").split()[0], "/run/m")
    os.makedirs("/run/m/home/d/e")
    for path in ("srv", "home/d/e/inner"):
        run("btrfs", "-q", "subvolume", "create", f"/run/m/{path}")
    for n in range(400):    # more than fits into one block of the tree
        os.makedirs(f"/run/m/home/d/{n:04}" + "x" * 200)
    run("umount", "/run/m")
    made = apply(written("two", TREE.replace("ONE", "TWO") % ", srv: {}, home/d/e/inner: {mount: {at: /i}}"), where)
    expect("whether it is kept", made["filesystems"][1]["kept"], True)


# A volume that an interrupted application left in a group that is kept.

GROUP = ("schema: cv.layout/v1\nname: half\ndisks: {d: {preserve: if-exists}}\npartitions: {d/l: {type: linux-lvm, size: rest, preserve: if-exists}}\n"
         "lvm: {v: {pvs: [d/l], preserve: if-exists, lvs: {data: {size: 120MiB, preserve: if-exists}, home: {size: 80MiB, preserve: if-exists}}}}\n"
         "filesystems:\n  data: {on: lvm/v/data, type: ext4, label: KEPT, preserve: if-exists}\n"
         "  home: {on: lvm/v/home, type: ext4, label: HOME, preserve: if-exists}\n")


def half() -> None:
    with open("/run/half.yaml", "w", encoding="utf-8") as f:
        f.write(GROUP)
    apply("/run/half.yaml", given(1))

    def state() -> list[str]:
        return [run("blkid", "-o", "value", "-s", "UUID", f"/dev/v/{name}").strip() for name in ("data", "home")]

    data, home = state()
    expect("tags", run("lvs", "--noheadings", "-o", "lv_tags", "v").split(), [])
    expect("what is left to do", plan("/run/half.yaml", given(1))["steps"], [])
    run("lvchange", "-qq", "--addtag", "cv-unfinished", "v/home")
    made = apply("/run/half.yaml", given(1))
    expect("what is lost", [line for step in made["steps"] for line in step["lost"]],
           ["volume v/home", 'ext4 "HOME" on volume v/home, left unfinished'])
    expect("tags", run("lvs", "--noheadings", "-o", "lv_tags", "v").split(), [])
    expect("what is kept", state()[0], data)
    expect("whether the other one is new", state()[1] != home, True)
    run("e2fsck", "-fn", "/dev/v/home")
    expect("what is left to do", plan("/run/half.yaml", given(1))["steps"], [])


RULES = ("schema: cv.layout/v1\nname: rules\ndisks: {d: {match: {transport: ubd}, count: 2, pick: smallest}}\n"
         "partitions: {d/m: {type: linux-raid, size: rest}}\nraid: {a: {level: 1, members: [d/m]}}\n"
         "filesystems: {f: {on: raid/a, type: ext4, label: ONE, mount: {at: /f}}}\n")


def rules() -> None:
    """On the running system the disks that rules mean are in use, and a plan has nothing to do; another one is refused."""
    one, two = written("one", RULES), written("two", RULES.replace("ONE", "TWO"))
    apply(one, [])
    start(plan(one, given(2)))
    run("bash", "-c", "mkdir -p /run/m; mount LABEL=ONE /run/m")
    again = plan(one, [])
    expect("what is left to do", (again["steps"], again["differences"]), ([], []))
    refused(two, [], "F204")
    run("umount", "/run/m")
    expect("what is left to do", plan(one, [])["steps"], [])


# What is kept, or stays beside it, has its other half on a disk that is made anew.

TORN = ("schema: cv.layout/v1\nname: torn\ndisks: {d: {preserve: if-exists}, o: {}}\npartitions:\n"
        "  d/home: {type: home, size: 310MiB, preserve: if-exists}\n  d/z: {type: linux, size: 60MiB}\n  o/w: {type: linux, size: rest}\n"
        "filesystems:\n  home: {on: d/home, type: %s, label: KEPT, preserve: if-exists}\n  z: {on: d/z, type: ext4}\n  w: {on: o/w, type: ext4}\n")
HOME = "933AC7E1-2EB4-4F13-B844-0E14E2AEF915"


def torn() -> None:
    one, other = disks(2)
    where = ["--disk", f"d={one}", "--disk", f"o={other}"]

    def begin() -> None:
        for disk in (one, other):
            for part in (f"{disk}1", f"{disk}2", disk):
                if os.path.exists(part):
                    run("wipefs", "-qa", part)
        run("sfdisk", "-q", one, data=f"label: gpt\nsize=310MiB,type={HOME},name=home\nsize=40MiB,name=r\n".encode())
        run("sfdisk", "-q", other, data=b"label: gpt\nsize=200MiB,name=more\nsize=40MiB,name=r\n")

    begin()
    run("mkfs.btrfs", "-q", "-f", "-d", "single", "-m", "raid1", "-L", "KEPT", f"{one}1", f"{other}1")
    refused(written("btrfs", TORN % "btrfs"), where, "F228")
    begin()
    run("mkfs.xfs", "-q", "-f", "-L", "KEPT", "-l", f"logdev={other}1,size=70m", f"{one}1")
    refused(written("xfs", TORN % "xfs"), where, "F228")
    begin()
    run("mke2fs", "-q", "-F", "-b", "4096", "-O", "journal_dev", f"{other}1")
    run("mkfs.ext4", "-q", "-F", "-b", "4096", "-L", "KEPT", "-J", f"device={other}1", f"{one}1")
    refused(written("ext4", TORN % "ext4"), where, "F228")
    # Beside what is kept, and not in the layout.
    begin()
    run("mkfs.ext4", "-q", "-F", "-L", "KEPT", f"{one}1")
    run("vgcreate", "-qq", "old", f"{one}2", f"{other}2")
    run("vgchange", "-qq", "-an", "old")
    refused("/run/ext4.yaml", where, "F229")
    for part in (f"{one}2", f"{other}2"):
        run("wipefs", "-qa", part)
    run("mdadm", "--create", "/dev/md9", "--run", "--level=0", "--raid-devices=2", f"{one}2", f"{other}2")
    refused("/run/ext4.yaml", where, "F204")
    run("mdadm", "--stop", "/dev/md9")
    refused("/run/ext4.yaml", where, "F229")
    for part in (f"{one}2", f"{other}2"):
        run("wipefs", "-qa", part)
    made = apply("/run/ext4.yaml", where)
    expect("whether it is kept", made["filesystems"][0]["kept"], True)


# Members that failed, and halves that went on without each other.

MIRROR = ("schema: cv.layout/v1\nname: mirror\ndisks: {d: {count: 2, preserve: if-exists}}\npartitions:\n  d/x: {type: linux, size: ONEMiB}\n"
          "  d/m: {type: linux-raid, size: 200MiB, preserve: if-exists}\n"
          "raid: {a: {level: 1, members: [d/m], adopt: {name: any:a%s}, preserve: if-exists}}\n"
          "filesystems: {k: {on: raid/a, type: ext4, label: KEPT, preserve: if-exists}}\n")


def failed() -> None:
    where = given(2)
    one, two = (f"{disk}2" for disk in disks(2))
    first = written("one", MIRROR.replace("ONE", "60") % "")
    second = written("two", MIRROR.replace("ONE", "50") % "")
    allowed = written("allowed", MIRROR.replace("ONE", "50") % ", degraded: allow")

    def arrays() -> list[str]:
        with open("/proc/mdstat", encoding="ascii") as f:
            return ["/dev/" + line.split()[0] for line in f if line.startswith("md")]

    def stop() -> None:
        for array in arrays():
            run("mdadm", "--stop", array)

    def begin(*members: str) -> None:
        run("mdadm", "--assemble", "--run", "/dev/md8", *members)
        # Until something is written it would tell its members nothing.
        run("mdadm", "--readwrite", "/dev/md8")

    def whole() -> None:
        for _ in range(600):
            with open("/proc/mdstat", encoding="ascii") as f:
                if "[UU]" in f.read():
                    return
            time.sleep(0.1)
        sys.exit("the array does not become whole")

    apply(first, where)
    stop()
    begin(one, two)
    whole()
    expect("what is left to do", plan(first, where)["steps"], [])
    # While it runs, and afterwards.
    run("mdadm", "/dev/md8", "--fail", one)
    for file in (first, second):
        refused(file, where, "F220")
    stop()
    for file in (first, second):
        refused(file, where, "F220")
    # Where it may lack a member it is started with the other one.
    begin(two)
    run("mdadm", "/dev/md8", "--add", one)
    whole()
    run("mdadm", "/dev/md8", "--fail", one)
    apply(allowed, where)
    stop()
    # Each half alone.
    run("mdadm", "--zero-superblock", one)
    begin(two)
    run("mdadm", "/dev/md8", "--add", one)
    whole()
    stop()
    os.makedirs("/run/m")
    for half_of_it in (one, two):
        begin(half_of_it)
        run("mount", "/dev/md8", "/run/m")
        with open("/run/m/alone", "w", encoding="ascii") as f:
            f.write(half_of_it)
        run("umount", "/run/m")
        stop()
    for file in (first, second, allowed):
        refused(file, where, "F228")
    begin(one)
    refused(second, where, "F228")


LEFT = ("schema: cv.layout/v1\nname: left\ndisks: {d: {count: 2, preserve: if-exists}}\n"
        "partitions: {d/x: {type: linux, size: 50MiB}, d/m: {type: linux-raid, size: 100MiB, preserve: if-exists}}\n"
        "raid: {a: {level: 1, members: [d/m], preserve: if-exists}}\n"
        "filesystems: {a: {on: raid/a, type: ext4, label: KEPT, preserve: if-exists}}\n")


def left() -> None:
    """What the last moment of an application left may be whole: before it is made anew that is said, and how it stays."""
    where, file = given(2), written("left", LEFT)
    apply(file, where)
    os.makedirs("/run/m")

    def mounted() -> list[str]:
        # 1 when all of it runs already.
        subprocess.run(["mdadm", "--assemble", "--scan", "--run", "--config", "partitions"], capture_output=True, check=False)
        run("mount", run("blkid", "-o", "device", "-t", "LABEL=KEPT").split()[-1], "/run/m")
        return sorted(os.listdir("/run/m"))

    mounted()
    with open("/run/m/work", "w", encoding="utf-8") as f:
        f.write("a year of it")
    run("umount", "/run/m")
    run("mdadm", "--stop", "--scan")
    number = next(p["number"] for p in plan(file, where)["disks"][1]["partitions"] if p["key"] == "d/m")
    # One disk was finished, the other one was not.
    run("sgdisk", "-c", f"{number}:m~cv", "/dev/ubdb")
    made = plan(file, where)
    told = [w for w in made["warnings"] if w["code"] == "F241"]
    expect("what is told", [w["path"] for w in told], ["filesystems.a"])
    expect("whether it is lost", [line for s in made["steps"] if s["id"] == "mkfs:a" for line in s["lost"]], ['ext4 "KEPT" on array a, left unfinished'])
    error = refused(written("required", LEFT.replace("100MiB, preserve: if-exists", "100MiB, preserve: require")), where, "F226")
    expect(f"{error}: a hint that loses it", "if-exists" in error["hint"], False)
    # What the hint says is done.
    mark = f"sgdisk -c {number}:m /dev/ubdb"
    expect(f"{told[0]['hint']} has {mark}", told[0]["hint"].endswith(mark) and error["hint"].endswith(mark), True)
    run(*mark.split())
    expect("what is left to do", plan(file, where)["steps"], [])
    expect("what is there", mounted(), ["lost+found", "work"])


TWICE = ("schema: cv.layout/v1\nname: twice\ndisks: {d: {count: 2}}\n"
         "partitions: {d/m: {type: linux-raid, size: 100MiB}, d/n: {type: linux-raid, size: 100MiB}}\n"
         "raid: {one: {level: 1, members: [d/m]}, two: {level: 1, members: [d/n]}}\n"
         "filesystems: {a: {on: raid/one, type: ext4}, b: {on: raid/two, type: ext4}}\n")


def twice() -> None:
    """While disks are made a second application of them stops nothing, and leaves the journal of the first alone."""
    def noted() -> bytes:
        if not os.path.exists("/run/j"):
            return b""
        with open("/run/j", "rb") as f:
            return f.read()

    words = [written("twice", TWICE), *given(2), "--yes"]
    first = subprocess.Popen([*CALL, "apply", *words, "--journal", "/run/j"], stdout=subprocess.DEVNULL)
    try:
        while b'"end","step":"raid:two"' not in noted():
            expect("whether it goes on", first.poll(), None)
            time.sleep(0.005)
        first.send_signal(signal.SIGSTOP)
        os.waitpid(first.pid, os.WUNTRACED)
        before = noted()
        expect("whether it is in its middle", b'"state":"done"' in before, False)
        for journal in (["--journal", "/run/other"], ["--journal", "/run/j"], ["--journal", "/run/j", "--resume"]):
            done = subprocess.run([*CALL, "apply", *words, *journal], capture_output=True, check=False)
            error = json.loads(done.stderr.splitlines()[-1])["error"]
            expect(f"{error}", (error["detail"]["code"], error["message"].endswith("another program has locked it")), ("F204", True))
            expect("arrays that run", run("cat", "/proc/mdstat").count("active raid1"), 2)
            expect("the journal", noted() == before, True)
        expect("journals of what was refused", sorted(n for n in os.listdir("/run") if n.startswith(("j.", "other"))), [])
        first.send_signal(signal.SIGCONT)
        expect("the first one", first.wait(), 0)
    finally:
        first.kill()
    expect("whether it is done", b'"state":"done"' in noted(), True)
    expect("what is left to do", plan(words[0], given(2))["steps"], [])


CASES: dict[str, tuple[int, Callable[[], None]]] = {
    "held": (3, held), "half": (1, half), "swapped": (1, swapped), "secret": (1, secret), "elsewhere": (2, elsewhere),
    "strangers": (1, strangers), "subvolumes": (1, subvolumes), "rules": (2, rules), "torn": (2, torn), "failed": (2, failed),
    "left": (2, left), "twice": (2, twice),
}


def main() -> None:
    args = sys.argv[1:]
    if args[:1] == ["--guest"]:
        CASES[args[1]][1]()
        return
    if os.geteuid():
        print("run it as root")
        sys.exit(77)
    in_turn(args or list(CASES), lambda name: guest(__file__, name, CASES[name][0], {}))
    print("PASS")


if __name__ == "__main__":
    main()
