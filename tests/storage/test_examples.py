#!/usr/bin/env python3
"""test_examples.py [DOCUMENT...]: what is captured from disks that a document of examples/layouts made means what the document
means. Each is a line of CASES, with disks for it that are sparse files, and what must be there before.

A guest applies it, with the resync of its arrays held still, and captures the layout: the plan made again is empty, of the
document and of the captured one. On blank disks of the same sizes both documents then give the same plan, but for what
capture cannot know: rules for disks, how they are wiped, what is kept, arguments of mkfs, how an array becomes equal, the
boot loader where no image was deployed. Sizes are compared by what becomes of them. Tier 1 has one document, --full all.
Needs: root, tests/beds/uml.sh, CVCTL.    Time: one guest a document, 10 to 20 s.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple

import test_stacks
from test_stacks import expect, run

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.realpath(f"{HERE}/../../examples/layouts")
GIB = 1 << 30
CALL = ["/mnt/cvctl", "-q", "-o", "json", "layout"]
SECRETS = {"head/luks-recovery": b"a secret for recovery"}


class Case(NamedTuple):
    """A document, and the disks of each of its sets: how many, of how many GiB."""

    name: str
    sets: dict[str, tuple[int, int]]
    # Laid over the document for blank disks, where nothing is to be kept.
    blank: str = ""
    # Commands in the guest, before anything else.
    before: tuple[str, ...] = ()
    tpm: bool = False
    full: bool = True

    def disks(self) -> list[tuple[str, int]]:
        return [(name, size) for name, (count, size) in self.sets.items() for _ in range(count)]


CASES = [
    Case("compute-2nvme-mirror", {"os": (2, 210)}, full=False),
    Case("single-sata", {"os": (1, 80)}),
    Case("data-raid10", {"os": (1, 80), "data": (5, 100)}),
    # The array that is kept is made by hand, with the UUID that the document adopts.
    Case("head-node", {"os": (2, 460), "images": (4, 100)}, tpm=True,
         blank="disks: {images: {count: {min: 4}, preserve: if-exists}}\npartitions: {images/member: {preserve: if-exists}}\n"
               "raid: {images: {preserve: if-exists}}\nfilesystems: {images: {preserve: if-exists}}\n",
         before=("for d in c d e f; do sgdisk -n 1:2048:+102398M -t 1:fd00 -c 1:member /dev/ubd$d; done",
                 "mdadm --create /dev/md/images --run --level=6 --raid-devices=4 --homehost=any --metadata=1.2 --bitmap=internal --assume-clean "
                 "--uuid=7fe1895e:34dcb6dc:d1bcbb9c:f3e05134 /dev/ubd[cdef]1",
                 "mkfs.xfs -q /dev/md/images", "mdadm --stop /dev/md/images")),
]


def given(case: Case, disks: list[str]) -> list[str]:
    return [word for (name, _), disk in zip(case.disks(), disks, strict=True) for word in ("--disk", f"{name}={disk}")]


# In the guest: /mnt has the program, the documents, and takes what was captured.

def guest(case: Case) -> None:
    # Whole disks would be copied otherwise: they are sparse files of the host.
    for limit in ("max", "min"):
        with open(f"/proc/sys/dev/raid/speed_limit_{limit}", "w", encoding="ascii") as f:
            f.write("1")
    nodes = [f"/dev/ubd{chr(ord('a') + n)}" for n in range(len(case.disks()))]
    for command in case.before:
        run("bash", "-c", command)
    words, secrets = given(case, nodes), []
    for name, secret in SECRETS.items():
        path = f"/run/{name.replace('/', '-')}"
        with open(path, "wb") as f:
            f.write(secret)
        secrets += ["--secret", f"{name}={path}"]
    if case.tpm:
        test_stacks.start_tpm()
        secrets += ["--tpm2-device", test_stacks.TPM]
    plan = json.loads(run(*CALL, "plan", "/mnt/layout.yaml", *words))
    run(*CALL, "apply", "/mnt/layout.yaml", *words, "--confirm", plan["token"], *secrets)
    again = json.loads(run(*CALL, "plan", "/mnt/layout.yaml", *words))
    expect(f"{case.name}: differences after it was applied", again["differences"], [])
    expect(f"{case.name}: steps after it was applied", again["steps"], [])
    os.makedirs("/run/root/etc")
    for name in ("fstab", "crypttab"):
        with open(f"/run/root/etc/{name}", "w", encoding="utf-8") as f:
            f.write("".join(line + "\n" for line in again[name]))
    # The whole machine, as a user does it: no disk is named.
    captured = json.loads(run(*CALL, "capture", "--root", "/run/root", "--output", "/mnt/captured.yaml",
                              "--inventory-out", "/mnt/inventory.json"))
    expect(f"{case.name}: what is not in the document", captured["unsupported"], [])
    expect(f"{case.name}: notes that something must be changed", [n for n in captured["notes"] if "to be changed" in n], [])
    if case.tpm:
        keys = [sorted(key) for luks in captured["layout"]["luks"].values() for key in luks["keys"]]
        expect(f"{case.name}: keys of the captured document", sorted(keys), [["secret"], ["tpm2"]])
    observed = {name: [d.split(",")[0] for d in list_] for name, list_ in captured["observed"].items()}
    found = [word for name, list_ in observed.items() for d in list_ for word in ("--disk", f"{name}={d}")]
    of_captured = json.loads(run(*CALL, "plan", "/mnt/captured.yaml", *found))
    expect(f"{case.name}: differences from the captured document", of_captured["differences"], [])
    attached(case, again)
    with open("/mnt/sets.json", "w", encoding="utf-8") as f:
        json.dump({name: [nodes.index(d) for d in list_] for name, list_ in observed.items()}, f)
    os.sync()


def attached(case: Case, plan: dict[str, Any]) -> None:
    """An image that is captured with its layout has the document, which is right and changes nothing here."""
    cvctl = ["/mnt/cvctl", "-q", "-o", "json", "--store", "/run/store"]
    run(*cvctl, "store", "init", "/run/store")
    run(*cvctl, "image", "capture", "/run/root", "--name", "node", "--with-layout")
    shown = json.loads(run(*cvctl, "image", "show", "node"))
    with open("/run/attached.yaml", "w", encoding="utf-8") as f:
        f.write(json.dumps(shown["layout"]) if isinstance(shown["layout"], dict) else shown["layout"])
    run(*CALL, "check", "/run/attached.yaml")
    names = [fs["mount"]["at"] for fs in plan["filesystems"] if fs["mount"]]
    with open("/run/attached.yaml", encoding="utf-8") as f:
        text = f.read()
    expect(f"{case.name}: mounts in the attached document", [n for n in names if n not in text], [])


# On the host.

def compare(work: str, case: Case) -> None:
    blank = []
    for n, (_, size) in enumerate(case.disks()):
        blank.append(f"{work}/new{n}.img")
        with open(blank[-1], "wb") as f:
            f.truncate(size * GIB)
    with open(f"{work}/sets.json", encoding="utf-8") as f:
        sets = json.load(f)

    def planned(name: str, words: list[str]) -> dict[str, Any]:
        plan = json.loads(run(f"{work}/cvctl", "-q", "-o", "json", "layout", "plan", f"{work}/{name}.yaml", *words))
        meaning = test_stacks.meaning(plan)
        # In one order: sets of both documents divide the machine alike, but need not be called, or stand, the same.
        places = [blank.index(d["disk"]["path"]) for d in plan["disks"]]
        meaning["disks"] = [meaning["disks"][places.index(n)] for n in range(len(places))]
        return meaning

    with open(f"{work}/wanted.yaml", "w", encoding="ascii") as f:
        f.write(f"schema: cv.layout/v1\nname: wanted\nextends: layout\n{case.blank}")
    wanted = planned("wanted", given(case, blank))
    found = planned("captured", [w for s, places in sets.items() for n in places for w in ("--disk", f"{s}={blank[n]}")])
    # The share of the memory is that of the machine where the plan is made; the captured size is that of the guest.
    for key in wanted:
        expect(f"{case.name}: {key} of the captured document", found[key], wanted[key])
    divided = sorted(sorted(places) for places in sets.values())
    expect(f"{case.name}: sets", divided, sorted(places_of(case)))
    run(f"{work}/cvctl", "-q", "layout", "check", f"{work}/captured.yaml")


def places_of(case: Case) -> list[list[int]]:
    found: dict[str, list[int]] = {}
    for n, (name, _) in enumerate(case.disks()):
        found.setdefault(name, []).append(n)
    return list(found.values())


def one(case: Case) -> bool:
    """False where this version does not plan the document yet."""
    work = tempfile.mkdtemp(prefix="libcv-examples.", dir=os.environ.get("TMPDIR", "/tmp"))
    try:
        shutil.copy(os.environ["CVCTL"], f"{work}/cvctl")
        for name in os.listdir(EXAMPLES):
            shutil.copy(f"{EXAMPLES}/{name}", work)
        ram = "lvm: {sys: {lvs: {swap: {size: 256MiB}}}}\n" if case.name == "compute-2nvme-mirror" else ""
        with open(f"{work}/layout.yaml", "w", encoding="ascii") as f:
            f.write(f"schema: cv.layout/v1\nname: example\nextends: {case.name}\n{ram}")
        images = []
        for n, (_, size) in enumerate(case.disks()):
            images.append(f"{work}/{n}.img")
            with open(images[-1], "wb") as f:
                f.truncate(size * GIB)
        words = given(case, images)
        looked = subprocess.run([f"{work}/cvctl", "-q", "-o", "json", "layout", "plan", f"{work}/layout.yaml", *words],
                                capture_output=True, text=True, check=False)
        if looked.returncode == 21 and json.loads(looked.stderr)["error"]["detail"]["code"] == "L005":
            print(f"skipped: {case.name}: this version does not plan it yet")
            return False
        # mkfs would discard hundreds of gigabytes, and there is nothing to discard.
        disks = [word for image in images for word in ("-d", f"{image},notrim")]
        command = [f"{HERE}/uml-run.sh", "-t", "300", *disks, "-w", work, "--", "python3", os.path.abspath(__file__), "--guest", case.name]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode == 77:
            print(done.stdout.decode() + done.stderr.decode())
            sys.exit(77)
        if done.returncode:
            sys.exit(f"{case.name}: exit {done.returncode}\n{done.stdout.decode(errors='replace')[-4000:]}{done.stderr.decode(errors='replace')[-2000:]}")
        compare(work, case)
    finally:
        shutil.rmtree(work)
    print(f"ok: {case.name}", flush=True)
    return True


def main() -> None:
    args = sys.argv[1:]
    cases = {c.name: c for c in CASES}
    if args[:1] == ["--guest"]:
        guest(cases[args[1]])
        return
    if os.geteuid():
        print("run it as root")
        sys.exit(77)
    full = os.environ.get("FULL") == "1"
    chosen = [cases[a] for a in args] or [c for c in CASES if full or not c.full]
    for case in chosen:
        one(case)
    print("PASS")


if __name__ == "__main__":
    main()
