#!/usr/bin/env python3
"""test_keep.py [CASE...]: what a layout keeps is kept, to the byte, with a real kernel.

Each case is a line of CASES: a layout is applied, files are written into what it keeps, everything is started as a running
machine has it, and the layout is applied once more with one change beside what is kept. Then every kept device, and every
byte of the kept partitions that nobody but the kernel may write, is what it was; identities stay; a third plan is empty.
CLASHES are layouts that must be refused before a byte is written. What else happens to such disks: test_beside.py.
Needs: root, tests/beds/uml.sh, CVCTL.    Time: one guest a case, 4 to 8 s.
"""
from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any, Callable, NamedTuple

from test_stacks import HERE, MIB, SECRETS, expect, in_turn, run

M = "d/m: {type: linux-raid, size: 200MiB, preserve: if-exists}"
X = "d/x: {type: linux, size: 60MiB}"


class Case(NamedTuple):
    """A set `d` with something kept, and one disk `o` that is made anew; where ONE is TWO the second time, that is as well.

    `kept` are the devices to compare, `raw` partitions that nobody writes, not even the kernel.
    """

    name: str
    disks: int
    partitions: str
    above: str
    filesystems: str
    kept: list[str]
    raw: list[str] = []
    full: bool = False


K = "k: {on: %s, type: %s, label: KEPT, mount: {at: /k}, preserve: if-exists}"
CASES = [
    Case("partition", 1, X + "\n  d/data: {type: linux, size: 120MiB, preserve: if-exists}\n  d/end: {type: linux, size: rest}", "",
         "x: {on: d/x, type: ext4, label: ONE}, e: {on: d/end, type: ext4, label: ONE}, " + K % ("d/data", "ext4"), ["d/data"], ["d/data"]),
    Case("raid10", 5, X + "\n  " + M, "raid: {a: {level: 10, layout: n2, members: [d/m], spares: 1, adopt: {name: any:a}, preserve: if-exists}}",
         K % ("raid/a", "xfs"), ["raid/a"]),
    Case("luks", 1, X + "\n  d/c: {type: luks, size: 200MiB, preserve: if-exists}",
         'luks: {c: {on: d/c, keys: [{secret: "ref:k/one"}], preserve: if-exists}}',
         "x: {on: d/x, type: ext4, label: ONE}, " + K % ("luks/c", "ext4"), ["luks/c"], ["d/c"]),
    Case("volume", 2, X + "\n  d/l: {type: linux-lvm, size: 200MiB, preserve: if-exists}",
         "lvm: {v: {pvs: [d/l], preserve: if-exists, lvs: {data: {size: 120MiB, preserve: if-exists}, root: {size: 80MiB}}}}",
         "r: {on: lvm/v/root, type: ext4, label: ONE}, " + K % ("lvm/v/data", "ext4"), ["lvm/v/data"]),
    Case("group", 2, M, "raid: {a: {level: 1, members: [d/m], preserve: if-exists}}\n"
         "lvm: {v: {pvs: [raid/a], preserve: if-exists, lvs: {data: {size: rest, preserve: if-exists}}}}",
         K % ("lvm/v/data", "ext4"), ["lvm/v/data"], full=True),
    Case("thin", 1, X + "\n  d/l: {type: linux-lvm, size: 300MiB, preserve: if-exists}",
         "lvm: {v: {pvs: [d/l], preserve: if-exists, lvs: {p: {kind: thin-pool, size: 100MiB, preserve: if-exists}, "
         "t: {kind: thin, pool: p, virtual-size: 500MiB, preserve: if-exists}, n: {size: 40MiB}}}}",
         "r: {on: lvm/v/n, type: ext4, label: ONE}, " + K % ("lvm/v/t", "ext4"), ["lvm/v/t"], full=True),
    Case("btrfs", 1, X + "\n  d/data: {type: linux, size: 150MiB, preserve: if-exists}", "",
         "k: {on: d/data, type: btrfs, label: KEPT, preserve: if-exists, subvolumes: {home: {mount: {at: /k}}, a/b: {}, a: {}}}", ["d/data"]),
    Case("new-inside", 2, M, "raid: {a: {level: 1, members: [d/m], preserve: if-exists}}",
         "y: {on: raid/a, type: ext4, label: ONE}", [], full=True),
]


def document(case: Case, beside: bool) -> str:
    text = (f"schema: cv.layout/v1\nname: keep\ndisks: {{o: {{}}, d: {{count: {case.disks}, preserve: if-exists}}}}\n"
            f"partitions:\n  o/os: {{type: linux, size: rest}}\n  {case.partitions}\n{case.above}\n"
            f"filesystems: {{n: {{on: o/os, type: ext4, label: ONE, mount: {{at: /}}}}, {case.filesystems}}}\n")
    return text.replace("ONE", "TWO") if beside else text


def disks(count: int, first: int = 0) -> list[str]:
    return [f"/dev/ubd{chr(ord('a') + n)}" for n in range(first, first + count)]


def given(count: int, name: str = "d", first: int = 0) -> list[str]:
    return [word for disk in disks(count, first) for word in ("--disk", f"{name}={disk}")]


def secrets() -> list[str]:
    for name, secret in SECRETS.items():
        with open(f"/run/{name.replace('/', '-')}", "wb") as f:
            f.write(secret)
    return [word for name in SECRETS for word in ("--secret", f"{name}=/run/{name.replace('/', '-')}")]


CALL = ["/mnt/cvctl", "-q", "-o", "json", "layout"]


def plan(file: str, where: list[str]) -> dict[str, Any]:
    return json.loads(run(*CALL, "plan", file, *where))


def apply(file: str, where: list[str]) -> dict[str, Any]:
    made = plan(file, where)
    run(*CALL, "apply", file, *where, "--confirm", made["token"], *secrets())
    return made


def refused(file: str, where: list[str], code: str) -> dict[str, Any]:
    done = subprocess.run([*CALL, "plan", file, *where], capture_output=True, check=False)
    expect(f"{file}: whether it is refused", done.returncode != 0, True)
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    expect(f"{file}: {error}", error["detail"]["code"], code)
    return error


def node(made: dict[str, Any], reference: str) -> str:
    """Where a device of the plan is now."""
    kind, _, name = reference.partition("/")
    if kind == "raid":
        array = next(a for a in made["arrays"] if a["id"] == name)
        uuid = array["uuid"].replace(":", "")
        for md in sorted(os.listdir("/sys/block")):
            path = f"/sys/block/{md}/md/uuid"
            if md.startswith("md") and os.path.exists(path) and open(path, encoding="utf-8").read().strip().replace("-", "") == uuid:
                return f"/dev/{md}"
            if md.startswith("md") and array["uuid"] in run("mdadm", "--detail", f"/dev/{md}"):
                return f"/dev/{md}"
        sys.exit(f"{reference} does not run")
    if kind == "luks":
        return f"/dev/mapper/{next(c for c in made['encrypted'] if c['id'] == name)['name']}"
    if kind == "lvm":
        return f"/dev/{name}"
    sys.exit(reference)


def kept_node(made: dict[str, Any], reference: str) -> str:
    if reference.startswith("d/"):
        return run("blkid", "-o", "device", "-t", "LABEL=KEPT").split()[0]
    return node(made, reference)


def start(made: dict[str, Any]) -> None:
    """Starts everything with the distribution's tools, as far as it does not run."""
    if made["arrays"]:
        subprocess.run(["mdadm", "--assemble", "--scan", "--run"], capture_output=True, check=False)
    for crypt in made["encrypted"]:
        if not os.path.exists(f"/dev/mapper/{crypt['name']}"):
            device = run("blkid", "-o", "device", "-t", f"UUID={crypt['uuid']}").split()[0]
            run("cryptsetup", "open", "--key-file", "-", device, crypt["name"], data=SECRETS["k/one"])
    for group in made["groups"]:
        run("vgchange", "-qq", "-ay", group["name"])


def digest(path: str, begin: int = 0, length: int | None = None) -> str:
    found = hashlib.blake2b()
    with open(path, "rb", buffering=0) as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        f.seek(begin)
        left = length
        while left is None or left > 0:
            piece = f.read(min(8 * MIB, left) if left is not None else 8 * MIB)
            if not piece:
                break
            found.update(piece)
            left = None if left is None else left - len(piece)
    return found.hexdigest()


def parts(made: dict[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
    return [(d["disk"]["path"], p) for d in made["disks"] for p in d["partitions"] if p["key"] == key]


def kept_state(case: Case, made: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = {}
    os.sync()
    for reference in case.kept:
        if reference.startswith("d/"):
            state[reference] = [digest(path, p["start"], p["length"]) for path, p in parts(made, reference)]
        else:
            state[reference] = digest(node(made, reference))
    for key in case.raw:
        state[f"raw {key}"] = [digest(path, p["start"], p["length"]) for path, p in parts(made, key)]
    # What the members hold of the array's data; superblock and bitmap are the kernel's to write.
    for array in made["arrays"] if case.kept else ():
        places = [(path, p["start"] + array["data_offset"], p["length"] - array["data_offset"]) for path, p in parts(made, "d/m")]
        state["data of d/m"] = [digest(*place) for place in places]
    state["entries"] = [(d["guid"], [{k: v for k, v in p.items() if k != "kept"} for p in d["partitions"] if p["key"] in KEPT])
                        for d in made["disks"] if d["set"] == "d"]
    return state


KEPT = ("d/data", "d/c", "d/l", "d/m")


def keep(case: Case) -> None:
    where = [*given(1, "o"), *given(case.disks, first=1)]
    made = apply("/mnt/one.yaml", where)
    expect("what is kept the first time", made["kept"], [])
    start(made)
    os.makedirs("/run/m", exist_ok=True)
    for array in made["arrays"]:    # 1 when there is nothing to wait for
        subprocess.run(["mdadm", "--wait", node(made, f"raid/{array['id']}")], capture_output=True, check=False)
    for reference in case.kept:
        run("mount", kept_node(made, reference), "/run/m")
        for n in range(40):
            with open(f"/run/m/file{n}", "wb") as f:
                f.write(os.urandom(20_000))
        run("umount", "/run/m")
    before = kept_state(case, made)
    same = plan("/mnt/one.yaml", where)
    expect("differences when all of it is there", same["differences"], [])
    expect("steps when all of it is there", same["steps"], [])
    again = apply("/mnt/two.yaml", where)
    expect("whether something was done", again["steps"] != [], True)
    for key in KEPT:
        for _, p in parts(again, key):
            expect(f"{key} is kept", p["kept"], True)
    for step in again["steps"]:
        for line in step["lost"]:
            lost = [key for key in KEPT if f'"{key.removeprefix("d/")}"' in line]
            expect(f"whether what is kept is lost: {line}", lost, [])
    if case.kept:
        expect("fstab of what is kept", [x for x in again["fstab"] if " /k " in x], [x for x in made["fstab"] if " /k " in x])
    expect("mdadm.conf", again["mdadm"], made["mdadm"])
    expect("crypttab", again["crypttab"], made["crypttab"])
    start(again)
    after = kept_state(case, again)
    for name, value in before.items():
        expect(f"{name} afterwards", after[name], value)
    for reference in case.kept:
        run("mount", "-o", "ro", kept_node(again, reference), "/run/m")
        expect("the files", len([f for f in os.listdir("/run/m") if f.startswith("file")]), 40)
        run("umount", "/run/m")
    third = plan("/mnt/two.yaml", where)
    expect("differences of the third plan", third["differences"], [])
    expect("steps of the third plan", third["steps"], [])


# Refusals: a mirror is there, and a document means something else.

HEAD = "schema: cv.layout/v1\nname: clash\ndisks: {d: {count: 2, preserve: %s}}\npartitions:\n  d/os: {type: linux, size: 100MiB}\n  %s\n"
MIRROR = "raid: {a: {level: 1, members: [d/m], preserve: if-exists}}\nfilesystems: {k: {on: raid/a, type: ext4, label: K, preserve: if-exists}}\n"
BASE = HEAD % ("if-exists", M) + MIRROR
CLASHES: list[tuple[str, str, Callable[[str], str], str]] = [
    ("level", "F227", lambda t: t.replace("level: 1", "level: 0"), ""),
    ("type", "F227", lambda t: t.replace("type: ext4, label: K", "type: btrfs, label: K"), ""),
    ("size", "F227", lambda t: t.replace("size: 200MiB", "size: 240MiB"), ""),
    ("absent", "F226", lambda t: t.replace("count: 2, preserve: if-exists", "count: 2, preserve: true").replace(
        "d/os:", "d/z: {type: linux, size: 10MiB, preserve: require}\n  d/os:"), ""),
    ("wipe", "L135", lambda t: t.replace("preserve: if-exists}}\npart", "preserve: if-exists, wipe: all}}\npart"), ""),
    ("chain", "L134", lambda t: t.replace("200MiB, preserve: if-exists", "200MiB"), ""),
    ("mounted", "F204", lambda t: t.replace("100MiB", "50MiB"), "mdadm --assemble --scan; mkdir -p /run/k; mount LABEL=K /run/k"),
    ("degraded", "F220", lambda t: t.replace("100MiB", "50MiB"),
     "umount /run/k; mdadm --stop --scan; mdadm --zero-superblock /dev/ubdb2; mdadm --assemble --scan --run"),
]


def clash() -> None:
    with open("/run/base.yaml", "w", encoding="utf-8") as f:
        f.write(BASE)
    apply("/run/base.yaml", given(2))
    run("mdadm", "--stop", "--scan")
    for name, code, change, prepare in CLASHES:
        if prepare:
            run("bash", "-c", prepare)
        os.sync()
        before = [digest(d) for d in disks(2)]
        with open(f"/run/{name}.yaml", "w", encoding="utf-8") as f:
            f.write(change(BASE))
        refused(f"/run/{name}.yaml", given(2), code)
        os.sync()
        # Of an array that runs the kernel writes the superblocks when it likes.
        if not prepare:
            expect(f"{name}: the disks", [digest(d) for d in disks(2)], before)


def guest(file: str, name: str, disks: int, documents: dict[str, str]) -> None:
    """Runs a case of a test program in a guest with so many disks, its documents in /mnt."""
    work = tempfile.mkdtemp(prefix="libcv-keep.", dir="/dev/shm")
    try:
        shutil.copy(os.environ["CVCTL"], f"{work}/cvctl")
        images = []
        for n in range(disks):
            images += ["-d", f"{work}/{n}.img"]
            with open(images[-1], "wb") as f:
                f.truncate(450 * MIB)
        for document_name, text in documents.items():
            with open(f"{work}/{document_name}.yaml", "w", encoding="utf-8") as f:
                f.write(text)
        command = [f"{HERE}/uml-run.sh", "-t", "200", *images, "-w", work, "--", "python3", os.path.abspath(file), "--guest", name]
        done = subprocess.run(command, capture_output=True, check=False)
        said = done.stdout.decode(errors="replace")[-4000:] + done.stderr.decode(errors="replace")[-2000:]
        if done.returncode == 77:
            print(said)
            sys.exit(77)
        if done.returncode:
            sys.exit(f"{name}: exit {done.returncode}\n{said}")
        print(f"ok: {name}", flush=True)
    finally:
        shutil.rmtree(work)


def one(name: str) -> None:
    if name == "clash":
        guest(__file__, name, 2, {})
        return
    case = next(c for c in CASES if c.name == name)
    guest(__file__, name, 1 + case.disks, {"one": document(case, False), "two": document(case, True)})


def main() -> None:
    args = sys.argv[1:]
    if args[:1] == ["--guest"]:
        if args[1] == "clash":
            clash()
        else:
            keep(next(c for c in CASES if c.name == args[1]))
        return
    if os.geteuid():
        print("run it as root")
        sys.exit(77)
    full = os.environ.get("FULL") == "1"
    in_turn(args or [*(c.name for c in CASES if full or not c.full), "clash"], one)
    print("PASS")


if __name__ == "__main__":
    main()
