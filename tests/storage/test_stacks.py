#!/usr/bin/env python3
"""test_stacks.py [CASE...]: what is made out of partitions, with a real kernel: arrays, LUKS, LVM, and each on the other.

Each case is a line of CASES. A guest plans and applies it and compares every size with the kernel's; a second guest knows
nothing but the disks and the plan: it starts everything with the distribution's tools, finds every UUID and name, checks
the filesystems and mounts them. In both the layout is captured from the disks: the plan made again is empty, of the
document and of the captured one, and both documents mean the same on new disks. Tier 1 has a sample, --full all.
Needs: root, tests/beds/uml.sh, CVCTL.    Time: two guests a case, 6 to 10 s.
"""
from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterable, NamedTuple, TypeVar

T = TypeVar("T")
HERE = os.path.dirname(os.path.abspath(__file__))
MIB = 1 << 20


class Case(NamedTuple):
    """A layout over one set `d`: how many disks of how many MiB, partitions, then what stands on them."""

    name: str
    disks: int
    size: int
    partitions: str
    above: str
    full: bool = False


M = "d/m: {type: linux-raid, size: rest}"
L = "d/l: {type: linux-lvm, size: rest}"
FS = "filesystems: {f: {on: %s, type: %s, label: F, mount: {at: /}}}"
CASES = [
    Case("raid0", 2, 300, M, "raid: {a: {level: 0, members: [d/m], chunk: 64KiB}}\n" + FS % ("raid/a", "ext4"), full=True),
    Case("raid1-1.0", 2, 300, M, 'raid: {a: {level: 1, members: [d/m], metadata: "1.0", bitmap: none}}\n' + FS % ("raid/a", "ext4")),
    Case("raid1-zero", 2, 100, M, "raid: {a: {level: 1, members: [d/m], sync: zero}}\n" + FS % ("raid/a", "ext4"), full=True),
    Case("raid1-one", 1, 100, M, "raid: {a: {level: 1, members: [d/m]}}\n" + FS % ("raid/a", "ext4"), full=True),
    Case("raid5", 4, 200, M, "raid: {a: {level: 5, members: [d/m], spares: 1}}\n" + FS % ("raid/a", "xfs")),
    Case("raid6", 4, 300, M, "raid: {a: {level: 6, members: [d/m], chunk: 128KiB}}\n" + FS % ("raid/a", "btrfs"), full=True),
    Case("raid10-n2", 5, 300, M, "raid: {a: {level: 10, members: [d/m], spares: 1, layout: n2}}\n" + FS % ("raid/a", "xfs")),
    Case("raid10-odd", 3, 300, M, "raid: {a: {level: 10, members: [d/m], layout: f2, sync: assume-clean}}\n" + FS % ("raid/a", "ext4"), full=True),
    Case("lvm", 2, 400, L, "lvm: {v: {pvs: [d/l], reserve: 10%, lvs: {a: {size: 100MiB}, b: {size: 30%}, "
         "s: {size: 128MiB, stripes: 2, stripe-size: 32KiB}, r: {size: rest}}}}\n"
         "filesystems: {f: {on: lvm/v/a, type: ext4, mount: {at: /}}, b: {on: lvm/v/b, type: ext4}, "
         "s: {on: lvm/v/s, type: ext4, mount: {at: /s}}, r: {on: lvm/v/r, type: swap}}", full=True),
    Case("thin", 1, 600, L, "lvm: {v-g: {pvs: [d/l], lvs: {p: {kind: thin-pool, size: {min: 100MiB}}, "
         "t-1: {kind: thin, pool: p, virtual-size: 1GiB}, x: {size: 300MiB}}}}\n"
         "filesystems: {t: {on: lvm/v-g/t-1, type: ext4, mount: {at: /}}, x: {on: lvm/v-g/x, type: xfs, mount: {at: /x}}}"),
    Case("luks", 1, 400, "d/c: {type: luks, size: rest}",
         'luks: {c: {on: d/c, keys: [{secret: "ref:k/one"}, {secret: "ref:k/two"}]}}\n' + FS % ("luks/c", "xfs"), full=True),
    Case("luks-options", 1, 100, "d/c: {type: luks, size: rest}",
         'luks: {c: {on: d/c, options: [discard, tries=3], label: KEPT, keys: [{secret: "ref:k/one"}]}}\n' + FS % ("luks/c", "ext4")),
    Case("luks-tpm", 1, 200, "d/a: {type: luks, size: 90MiB}\n  d/b: {type: luks, size: rest}",
         'luks: {a: {on: d/a, keys: [{tpm2: {pcrs: [7]}}]}, b: {on: d/b, keys: [{tpm2: {pcrs: [0, 7]}}, {secret: "ref:k/one"}]}}\n'
         "filesystems: {a: {on: luks/a, type: ext4, mount: {at: /}}, b: {on: luks/b, type: ext4, mount: {at: /b}}}", full=True),
    Case("btrfs-subvolumes", 1, 400, "d/r: {type: linux, size: rest}",
         "filesystems: {f: {on: d/r, type: btrfs, label: F, subvolumes: {'@': {mount: {at: /, options: [compress=zstd]}}, "
         "'@home': {mount: {at: /home, options: [nodev]}}, 'a/b/deep': {}, 'a/b': {}}}}"),
    Case("tower", 2, 700, M, "raid: {a: {level: 1, members: [d/m], sync: frozen-until-boot}}\n"
         'luks: {c: {on: raid/a, keys: [{secret: "ref:k/one"}]}, e: {on: lvm/v/s, keys: [{secret: "ref:k/two"}]}}\n'
         "lvm: {v: {pvs: [luks/c], lvs: {r: {size: 310MiB}, s: {size: 64MiB}, w: {size: 32MiB}}}}\n"
         "filesystems: {r: {on: lvm/v/r, type: xfs, mount: {at: /}}, s: {on: luks/e, type: ext4, mount: {at: /s}}, "
         "w: {on: lvm/v/w, type: swap}}"),
    Case("mirrored-esp", 2, 500, "d/esp: {type: esp, size: 110MiB}\n  " + M,
         "raid: {a: {level: 1, members: [d/m]}}\nfilesystems: {e: {on: d/esp, type: vfat, label: ESP, mirror: sync, mount: {at: /efi}}, "
         "f: {on: raid/a, type: xfs, mount: {at: /}}}"),
    Case("many", 14, 200, M, "raid: {a: {level: 6, members: [d/m], spares: 2}}\n" + FS % ("raid/a", "xfs"), full=True),
]
# More of them, as chance will have it: so many in tier 1, and with --full. The number of one stands in its name.
GENERATED = (2, 30)
SECRETS = {"k/one": b"first secret", "k/two": b"\x00second\n"}


def run(*words: str, data: bytes | None = None) -> str:
    done = subprocess.run(words, input=data, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: exit {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return done.stdout.decode()


def document(case: Case) -> str:
    return (f"schema: cv.layout/v1\nname: stack\ndisks: {{d: {{count: {case.disks}}}}}\n"
            f"partitions:\n  {case.partitions}\n{case.above}\n")


def generated(number: int) -> Case:
    """Partitions on one to five disks, each with an array, encryption, volumes or a filesystem at once; by its number."""
    rng = random.Random(number)
    disks = rng.randint(1, 5)
    partitions, raid, luks, lvm, filesystems = [], [], [], [], []
    mounts = iter(["/", *(f"/m{n}" for n in range(20))])

    def filesystem(on: str, mib: int) -> None:
        # Swap on a thin volume would want memory when there is none.
        kind = rng.choice(["ext4", "ext4", *([] if on.endswith("/t") else ["swap"]), *(["btrfs"] if mib >= 150 else []), *(["xfs", "xfs"] if mib >= 310 else [])])
        kind = "ext4" if not filesystems else kind
        at = "" if kind == "swap" else f", mount: {{at: {next(mounts)}}}"
        filesystems.append(f"f{len(filesystems)}: {{on: {on}, type: {kind}, label: L{len(filesystems)}{at}}}")

    def volumes(i: int, on: str) -> None:
        lines, places = [], []
        for v in range(rng.randint(1, 3)):
            mib = rng.choice([40, 64, 320])
            lines.append(f"v{v}: {{size: {mib}MiB}}")
            places.append((f"lvm/g{i}/v{v}", mib))
        if rng.random() < 0.4:
            lines.append(f"pool: {{kind: thin-pool, size: {{min: 64MiB, max: 128MiB}}, chunk: {rng.choice([64, 128, 256])}KiB}}")
            lines.append("t: {kind: thin, pool: pool, virtual-size: 500MiB}")
            places.append((f"lvm/g{i}/t", 100))
        extent, reserve = rng.choice([1, 4, 8]), rng.choice(["", ", reserve: 5%"])
        lvm.append(f"g{i}: {{pvs: [{on}], extent: {extent}MiB{reserve}, lvs: {{{', '.join(lines)}}}}}")
        for place, mib in places:
            filesystem(place, mib)

    for i in range(count := rng.randint(1, 3)):
        size = "rest" if i == count - 1 else f"{rng.choice([120, 400, 1300])}MiB"
        mib = 1300 if size == "rest" else int(size[:-3])
        kind, on = "linux-raid" if disks > 1 else "linux", f"d/p{i}"
        partitions.append(f"{on}: {{type: {kind}, size: {size}}}")
        if disks > 1:
            level = rng.choice([0, 1, 1, 10, *([5] if disks > 2 else []), *([6] if disks > 3 else [])])
            least = {0: 1, 1: 1, 5: 3, 6: 4, 10: 2}[level]
            more = [f"spares: {disks - least}"] if level and disks > max(least, 2) and rng.random() < 0.3 and disks - least < 3 else []
            more += [f"chunk: {rng.choice([64, 128, 512])}KiB"] if level != 1 and rng.random() < 0.6 else []
            more += ['metadata: "1.0"'] if level == 1 and rng.random() < 0.4 else []
            more += [f"bitmap: {rng.choice(['none', 'internal'])}"] if level and rng.random() < 0.5 else []
            more += [f"layout: {rng.choice(['n2', 'f2', 'o2'])}"] if level == 10 and rng.random() < 0.6 else []
            raid.append(f"a{i}: {{{', '.join([f'level: {level}', f'members: [{on}]', *more])}}}")
            on = f"raid/a{i}"
        if rng.random() < 0.3:
            luks.append(f'c{i}: {{on: {on}, keys: [{{secret: "ref:k/{rng.choice(["one", "two"])}"}}]}}')
            on, mib = f"luks/c{i}", mib - 20
        if mib >= 1200 and rng.random() < 0.7:
            volumes(i, on)
        else:
            filesystem(on, mib - 20)
    above = [f"{name}:\n  " + "\n  ".join(lines) for name, lines in
             (("raid", raid), ("luks", luks), ("lvm", lvm), ("filesystems", filesystems)) if lines]
    return Case(f"generated-{number}", disks, 3200, "\n  ".join(partitions), "\n".join(above))


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        sys.exit(f"{what}: {found!r} instead of {wanted!r}")


# In the guest: /mnt has the program, the document and the plan.

TPM = "swtpm:path=/run/tpm"


def start_tpm() -> None:
    """A TPM whose state outlives the guest."""
    os.makedirs("/mnt/tpm", exist_ok=True)
    subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", "dir=/mnt/tpm", "--server", "type=unixio,path=/run/tpm",
                      "--ctrl", "type=unixio,path=/run/tpm.ctrl", "--flags", "startup-clear,not-need-init"], stderr=subprocess.DEVNULL)
    for _ in range(100):
        if os.path.exists("/run/tpm"):
            return
        time.sleep(0.05)
    sys.exit("swtpm does not start")


def size_of(device: str) -> int:
    return int(run("blockdev", "--getsize64", device))


def disks(case: Case) -> list[str]:
    return [f"/dev/ubd{chr(ord('a') + n)}" for n in range(case.disks)]


def apply(case: Case) -> None:
    given = [word for disk in disks(case) for word in ("--disk", f"d={disk}")]
    # The seed is that of the first: the second plan is for the disks as they are then.
    call = ["/mnt/cvctl", "-q", "-o", "json", "layout"]
    plan = json.loads(run(*call, "plan", "/mnt/layout.yaml", *given, "--seed", "5" * 32))
    for name, secret in SECRETS.items():
        with open(f"/run/{name.replace('/', '-')}", "wb") as f:
            f.write(secret)
    secrets = [word for name in SECRETS for word in ("--secret", f"{name}=/run/{name.replace('/', '-')}")]
    if "tpm2" in case.above:
        refused = subprocess.run([*call, "apply", "/mnt/layout.yaml", *given, "--seed", "5" * 32, "--yes", *secrets],
                                 capture_output=True, check=False)
        expect("the code without a TPM", b"F231" in refused.stdout + refused.stderr, True)
        start_tpm()
        secrets += ["--tpm2-device", TPM]
    run(*call, "apply", "/mnt/layout.yaml", *given, "--seed", "5" * 32, "--confirm", plan["token"], *secrets)
    for array in plan["arrays"]:
        device = next(d for d in os.listdir("/dev/md") if d == array["uuid"].replace(":", ""))
        expect(f"size of {array['id']}", size_of(f"/dev/md/{device}"), array["size"])
    for crypt in plan["encrypted"]:
        expect(f"size of {crypt['id']}", size_of(f"/dev/mapper/{crypt['name']}"), crypt["size"])
    for group in plan["groups"]:
        found = json.loads(run("vgs", "--reportformat", "json", "-o", "vg_extent_count,vg_free_count", group["name"]))
        row = found["report"][0]["vg"][0]
        expect(f"extents of {group['name']}", int(row["vg_extent_count"]), group["extents"])
        expect(f"free extents of {group['name']}", int(row["vg_free_count"]), group["free"])
        for volume in group["volumes"]:
            if volume["kind"] != "thin-pool":
                expect(f"size of {volume['name']}", size_of(volume["device"]), volume["size"])
    with open("/mnt/plan.json", "w", encoding="utf-8") as f:
        json.dump(plan, f)
    look_again(case, plan, "applied")
    os.sync()


def look_again(case: Case, plan: dict[str, Any], when: str) -> None:
    """The layout is captured, and there is nothing to do: for the document, and for the captured one."""
    given = [word for disk in disks(case) for word in ("--disk", f"d={disk}")]
    call = ["/mnt/cvctl", "-q", "-o", "json", "layout"]
    again = json.loads(run(*call, "plan", "/mnt/layout.yaml", *given))
    expect(f"differences, {when}", again["differences"], [])
    expect(f"steps, {when}", again["steps"], [])
    expect(f"fstab, {when}", again["fstab"], plan["fstab"])
    expect(f"mdadm.conf, {when}", again["mdadm"], plan["mdadm"])
    expect(f"crypttab, {when}", again["crypttab"], plan["crypttab"])
    if case.name == "raid1-1.0":
        # Named or not: a disk that carries a member of an array is none.
        with open("/run/never.yaml", "w", encoding="utf-8") as f:
            f.write(document(case) + 'policy: {never-touch: [{signature: linux_raid_member}]}\n')
        refused = subprocess.run([*call, "plan", "/run/never.yaml", *given], capture_output=True, check=False)
        expect(f"the code of never-touch, {when}", b"F204" in refused.stdout + refused.stderr, True)
    os.makedirs("/run/root/etc", exist_ok=True)
    for name in ("fstab", "crypttab"):
        with open(f"/run/root/etc/{name}", "w", encoding="utf-8") as f:
            f.write("".join(line + "\n" for line in plan[name]))
    only = [word for disk in disks(case) for word in ("--disk", disk)]
    captured = json.loads(run(*call, "capture", *only, "--root", "/run/root", "--output", f"/mnt/{when}.yaml"))
    expect(f"what is not in the document, {when}", captured["unsupported"], [])
    if "tpm2" in case.above:
        keys = sorted(([list(key) for key in luks["keys"]] for luks in captured["layout"]["luks"].values()), key=len)
        expect(f"keys of the captured document, {when}", keys, [[["tpm2"]], [["tpm2"], ["secret"]]])
    sets = captured["observed"]
    given = [word for name, list_ in sets.items() for d in list_ for word in ("--disk", f"{name}={d.split(',')[0]}")]
    again = json.loads(run(*call, "plan", f"/mnt/{when}.yaml", *given))
    expect(f"differences from the captured document, {when}", again["differences"], [])
    expect(f"fstab of the captured document, {when}", sorted(again["fstab"]), sorted(plan["fstab"]))
    with open(f"/mnt/{when}.sets", "w", encoding="utf-8") as f:
        json.dump({name: [disks(case).index(d.split(",")[0]) for d in list_] for name, list_ in sets.items()}, f)


def check(case: Case) -> None:
    with open("/mnt/plan.json", encoding="utf-8") as f:
        plan = json.load(f)
    if plan["mdadm"]:
        with open("/run/mdadm.conf", "w", encoding="utf-8") as f:
            f.write("\n".join(plan["mdadm"]) + "\n")
        # Also without the configuration: by what the superblocks say.
        run("mdadm", "--assemble", "--scan", "--config", "/run/mdadm.conf", "--run")
    if "tpm2" in case.above:
        start_tpm()
    todo = [("crypt", c) for c in plan["encrypted"]] + [("group", g) for g in plan["groups"]]
    secrets = list(SECRETS.values())
    while todo:    # whatever stands on what: until nothing more starts
        left = []
        for kind, x in todo:
            if kind == "group":
                started = subprocess.run(["vgchange", "-ay", x["name"]], capture_output=True, check=False).returncode == 0
            else:
                device = run("blkid", "-o", "device", "-t", f"UUID={x['uuid']}").split() if subprocess.run(
                    ["blkid", "-t", f"UUID={x['uuid']}"], capture_output=True, check=False).returncode == 0 else []
                started = bool(device)
                by_tpm = any("tpm2" in key for key in x["keys"])
                if started and by_tpm:
                    run("/lib/systemd/systemd-cryptsetup", "attach", x["name"], device[0], "-", f"headless=1,tpm2-device={TPM}")
                    slots = json.loads(run("cryptsetup", "luksDump", "--dump-json-metadata", device[0]))["keyslots"]
                    expect("slots with a key", len(slots), len(x["keys"]))
                elif started:
                    secret = SECRETS[x["keys"][-1]["secret"].removeprefix("ref:")]
                    run("cryptsetup", "open", "--key-file", "-", device[0], x["name"], data=secret)
            if not started:
                left.append((kind, x))
        if len(left) == len(todo):
            sys.exit(f"these do not start: {left}, {secrets and ''}")
        todo = left
    os.makedirs("/run/m", exist_ok=True)
    for fs in plan["filesystems"]:
        places = [(fs["uuid"], 1)] + [(m["uuid"], 1) for m in fs["mirrors"]]
        for uuid, _ in places:
            device = run("blkid", "-o", "device", "-t", f"UUID={uuid}").split()
            expect(f"type of {fs['id']}", run("blkid", "-o", "value", "-s", "TYPE", device[0]).strip(), fs["type"])
            if fs["type"] == "swap":
                continue
            run("mount", device[0], "/run/m")
            with open("/run/m/x", "w", encoding="utf-8") as f:
                f.write("x" * 100000)
            run("umount", "/run/m")
            for part in fs["subvolumes"]:
                run("mount", "-o", f"subvol=/{part['name']}", device[0], "/run/m")
                expect(f"subvolume {part['name']}", os.stat("/run/m").st_ino, 256)
                run("umount", "/run/m")
            if fs["type"] == "ext4":
                run("e2fsck", "-fn", device[0])
            elif fs["type"] == "xfs":
                run("xfs_repair", "-n", device[0])
    look_again(case, plan, "started")
    for array in plan["arrays"]:
        shown = run("mdadm", "--detail", f"/dev/md/{array['name']}")
        expect("the array's UUID", array["uuid"] in shown, True)
        expect("the array's state", "degraded" not in shown, True)


# On the host.

def meaning(plan: dict[str, Any]) -> dict[str, Any]:
    """What a plan makes, without the names and identities that nothing but a document gives."""
    numbers = {p["key"]: p["number"] for d in plan["disks"] for p in d["partitions"]}
    arrays = {f"raid/{a['id']}": a["name"] for a in plan["arrays"]}
    crypts = {f"luks/{c['id']}": c["on"] for c in plan["encrypted"]}

    def on(reference: str) -> object:
        if reference in numbers:
            return ["partition", numbers[reference]]
        if reference in arrays:
            return ["array", arrays[reference]]
        return ["crypt", on(crypts[reference])] if reference in crypts else reference

    def pick(of: dict[str, Any], *keys: str) -> dict[str, Any]:
        return {key: of[key] for key in keys}

    place = ("number", "type", "name", "start", "length", "attributes")
    array = ("name", "level", "spares", "metadata", "chunk", "layout", "bitmap", "data_offset", "component", "size")
    return {
        "disks": [[pick(p, *place) for p in d["partitions"]] for d in plan["disks"]],
        "arrays": [{**pick(a, *array), "members": len(a["members"])} for a in plan["arrays"]],
        "encrypted": sorted(([on(c["on"]), c["data_offset"], c["size"]] for c in plan["encrypted"]), key=str),
        "groups": [{**pick(g, "name", "extent", "extents", "free"), "pvs": [on(p["on"]) for p in g["pvs"]],
                    "volumes": sorted(({**v, "stripes": v["stripes"] or 1} for v in g["volumes"]), key=lambda v: v["name"])} for g in plan["groups"]],
        "filesystems": sorted(([on(f["on"]), f["type"], f["label"], f["mount"] and f["mount"]["at"], len(f["mirrors"])]
                               for f in plan["filesystems"]), key=str),
        "fstab": sorted(line.split(" ", 1)[1] for line in plan["fstab"]),
    }


def compare(work: str, case: Case) -> None:
    """The captured documents mean on new disks what the document means."""
    for n in range(case.disks):
        with open(f"{work}/new{n}.img", "wb") as f:
            f.truncate(case.size * MIB)

    def planned(name: str, sets: dict[str, list[int]]) -> dict[str, Any]:
        given = [w for s, places in sets.items() for n in places for w in ("--disk", f"{s}={work}/new{n}.img")]
        return meaning(json.loads(run(f"{work}/cvctl", "-q", "-o", "json", "layout", "plan", f"{work}/{name}.yaml", *given)))

    wanted = planned("layout", {"d": list(range(case.disks))})
    for when in ("applied", "started"):
        with open(f"{work}/{when}.sets", encoding="utf-8") as f:
            sets = json.load(f)
        expect(f"{case.name}: the captured document, {when}", planned(when, sets), wanted)


def guest(work: str, case: Case, what: str) -> None:
    images = [word for n in range(case.disks) for word in ("-d", f"{work}/{n}.img")]
    command = [f"{HERE}/uml-run.sh", "-t", "200", *images, "-w", work, "--", "python3", os.path.abspath(__file__), "--guest", what, case.name]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode == 77:
        print(done.stdout.decode() + done.stderr.decode())
        sys.exit(77)
    if done.returncode:
        sys.exit(f"{case.name}: {what}: exit {done.returncode}\n{done.stdout.decode(errors='replace')[-4000:]}{done.stderr.decode(errors='replace')[-2000:]}")


def main() -> None:
    args = sys.argv[1:]
    cases = {c.name: c for c in CASES}
    cases |= {a: generated(int(a.removeprefix("generated-"))) for a in args if a.startswith("generated-")}
    if args[:1] == ["--guest"]:
        {"apply": apply, "check": check}[args[1]](cases[args[2]])
        return
    if os.geteuid():
        print("run it as root")
        sys.exit(77)
    full = os.environ.get("FULL") == "1"
    chosen = [cases[a] for a in args] or [*(c for c in CASES if full or not c.full), *map(generated, range(GENERATED[full]))]
    in_turn(chosen, one)
    print("PASS")


def one(case: Case) -> None:
    work = tempfile.mkdtemp(prefix="libcv-stacks.", dir="/dev/shm")
    try:
        shutil.copy(os.environ["CVCTL"], f"{work}/cvctl")
        with open(f"{work}/layout.yaml", "w", encoding="utf-8") as f:
            f.write(document(case))
        for n in range(case.disks):
            with open(f"{work}/{n}.img", "wb") as f:
                f.truncate(case.size * MIB)
        guest(work, case, "apply")
        guest(work, case, "check")
        compare(work, case)
        print(f"ok: {case.name}", flush=True)
    finally:
        shutil.rmtree(work)


def in_turn(cases: Iterable[T], one: Callable[[T], None]) -> None:
    """Each case, as many at once as there are processors: a guest has one. The first that fails is told."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in [pool.submit(one, case) for case in cases]:
            try:
                done.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


if __name__ == "__main__":
    main()
