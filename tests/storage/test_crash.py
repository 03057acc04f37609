#!/usr/bin/env python3
"""test_crash.py [kills|kept|replay]: applies that end in their middle, with a real kernel: arrays, LVM, LUKS, filesystems.

  kills    User-Mode Linux dies at a random moment of an apply that installs a small image. It boots again with the same
           disks: with a journal it resumes, else the apply begins anew. Then everything is started with the distribution's
           tools, checked and compared with the image, and the plan made again is empty.
  kept     The same with a second application beside something kept: a new array and a new volume in a kept group. What is
           kept is compared by its bytes, also where the journal is gone.
  replay   dm-log-writes records an apply of RAID1 and LVM: two disks, and a third with the journal. Each state that the
           disks were in at a flush is made again from the log, and resumed or begun anew; a kill never shows a flush that
           is missing, this does.
Tier 1 has 3 kills, 2 beside something kept, and 4 flushes; FULL=1 has 20 kills, 8, and every flush. SEED=N repeats a run.
Needs: root, tests/beds/uml.sh, CVCTL.    Time: 8 s a kill, 2 s a flush.
"""
from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
UML = f"{HERE}/uml-run.sh"
MIB = 1 << 20
FULL = os.environ.get("FULL") == "1"
SECRET = b"correct horse"
SIZE = 300
DISKS = ["/dev/ubda", "/dev/ubdb"]
DOCUMENT = """\
schema: cv.layout/v1
name: crash
disks: {d: {count: 2}}
partitions:
  d/esp: {type: esp, size: 110MiB}
  d/boot: {type: linux-raid, size: 40MiB}
  d/pv: {type: linux-raid, size: rest}
raid:
  boot: {level: 1, members: [d/boot], metadata: "1.0", bitmap: none}
  pv: {level: 1, members: [d/pv]}
luks: {c: {on: lvm/v/c, keys: [{secret: "ref:k"}]}}
lvm: {v: {pvs: [raid/pv], lvs: {r: {size: 60MiB}, c: {size: 40MiB}, w: {size: 16MiB}}}}
filesystems:
  esp: {on: d/esp, type: vfat, label: ESP, mirror: sync, mount: {at: /efi}}
  boot: {on: raid/boot, type: ext4, mount: {at: /boot}}
  root: {on: lvm/v/r, type: ext4, label: root, mount: {at: /}}
  secret: {on: luks/c, type: ext4, mount: {at: /secret}}
  swap: {on: lvm/v/w, type: swap}
"""
# Deriving a key takes most of the time of an apply: the sample does without, and so does one half of all kills.
LUKS = "luks: {c: {on: lvm/v/c, keys: [{secret: \"ref:k\"}]}}\n"
PLAIN = DOCUMENT.replace(LUKS, "").replace("on: luks/c", "on: lvm/v/c")
SMALL = """\
schema: cv.layout/v1
name: small
disks: {d: {count: 2}}
partitions:
  d/s: {type: swap, size: 2MiB}
  d/m: {type: linux-raid, size: rest}
raid: {a: {level: 1, members: [d/m]}}
lvm: {v: {pvs: [raid/a], lvs: {r: {size: 16MiB}, w: {size: 8MiB}}}}
filesystems:
  r: {on: lvm/v/r, type: ext4}
  w: {on: lvm/v/w, type: swap}
"""
KEPT = """\
schema: cv.layout/v1
name: kept
disks: {d: {count: 2, preserve: if-exists}}
partitions:
  d/x: {type: linux-raid, size: 20MiB}
  d/m: {type: linux-raid, size: rest, preserve: if-exists}
raid:
  x: {level: 1, members: [d/x], metadata: "1.0", bitmap: none}
  a: {level: 1, members: [d/m], preserve: if-exists}
lvm:
  v:
    pvs: [raid/a]
    preserve: if-exists
    lvs: {data: {size: 40MiB, preserve: if-exists}, home: {size: 32MiB, preserve: if-exists}}
filesystems:
  x: {on: raid/x, type: ext4, label: TWO}
  data: {on: lvm/v/data, type: ext4, label: DATA, preserve: if-exists}
  home: {on: lvm/v/home, type: ext4, label: HOME, preserve: if-exists}
"""
FIRST = KEPT.replace("TWO", "ONE").replace(", home: {size: 32MiB, preserve: if-exists}", "").replace(
    "  home: {on: lvm/v/home, type: ext4, label: HOME, preserve: if-exists}\n", "")


def run(*words: str, data: bytes | None = None) -> str:
    done = subprocess.run(words, input=data, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: exit {done.returncode}\n{done.stderr.decode(errors='replace')}{done.stdout.decode(errors='replace')}")
    return done.stdout.decode()


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        sys.exit(f"{what}: {found!r} instead of {wanted!r}")


# In the guest: /mnt has the program, the documents, the store and the journal.

def given(disks: list[str]) -> list[str]:
    return [word for disk in disks for word in ("--disk", f"d={disk}")]


def apply(*more: str) -> None:
    with open("/run/key", "wb") as f:
        f.write(SECRET)
    print("@apply", flush=True)
    run("/mnt/cvctl", "-q", "--store", "/mnt/store", "layout", "apply", "/mnt/crash.yaml", *given(DISKS), "--image", "t",
        "--hostname", "n1", "--secret", "k=/run/key", "--journal", "/mnt/journal", "--yes", *more)
    print("@applied", flush=True)


def again() -> None:
    """After a cut: resumes if the journal has a first line, else begins anew; then looks at what came of it."""
    resume = has_journal("/mnt/journal")
    print(f"@how {'resumed' if resume else 'begun anew'}", flush=True)
    apply(*(["--resume"] if resume else []))
    check()


def read(path: str) -> str:
    with open(path, encoding="utf-8") as f:
        return f.read()


def has_journal(path: str) -> bool:
    try:
        with open(path, "rb") as f:
            return b"\n" in f.read()
    except FileNotFoundError:
        return False


def check() -> None:
    run("mdadm", "--assemble", "--scan", "--run", "--config", "partitions")
    run("vgchange", "-ay")
    if LUKS in read("/mnt/crash.yaml"):
        run("cryptsetup", "open", "--key-file", "-", "/dev/mapper/v-c", "c", data=SECRET)
    plan = json.loads(run("/mnt/cvctl", "-q", "-o", "json", "layout", "plan", "/mnt/crash.yaml", *given(DISKS), "--hostname", "n1"))
    expect("differences", plan["differences"], [])
    expect("steps", plan["steps"], [])
    for disk in DISKS:
        expect(f"table of {disk}", "No problems found" in run("sgdisk", "-v", disk), True)
        expect(f"marks on {disk}", "~cv" in run("sgdisk", "-p", disk), False)
    root = "/run/root"
    os.makedirs(root)
    for fs in sorted((f for f in plan["filesystems"] if f.get("mount")), key=lambda f: f["mount"]["at"]):
        for uuid in [fs["uuid"]] + [m["uuid"] for m in fs["mirrors"]]:
            device = run("blkid", "-o", "device", "-t", f"UUID={uuid}").split()[0]
            run(*(["fsck.vfat", "-n"] if fs["type"] == "vfat" else ["e2fsck", "-fn"]), device)
        first = run("blkid", "-o", "device", "-t", f"UUID={fs['uuid']}").split()[0]
        run("mount", first, root + fs["mount"]["at"])
    with open("/mnt/sums.json", encoding="utf-8") as f:
        wanted = json.load(f)
    for path, digest in wanted.items():
        with open(root + path, "rb") as f:
            expect(f"content of {path}", hashlib.sha256(f.read()).hexdigest(), digest)
    with open(f"{root}/etc/fstab", encoding="utf-8") as f:
        expect("fstab", sorted(line.split()[0] for line in f if line.startswith("UUID=")),
               sorted(line.split()[0] for line in plan["fstab"] if line.startswith("UUID=")))
    for name in os.listdir("/sys/block"):
        if name.startswith("md"):
            with open(f"/sys/block/{name}/md/degraded", encoding="ascii") as f:
                expect(f"members missing of {name}", f.read().strip(), "0")


# Beside something kept: data is there, and a second application makes an array and a volume.

def apply_kept(file: str, *more: str) -> None:
    run("/mnt/cvctl", "-q", "layout", "apply", f"/mnt/{file}.yaml", *given(DISKS), "--yes", *more)


def kept_digest() -> str:
    """Of all bytes of the volume that is kept, from the medium."""
    os.sync()
    with open("/dev/v/data", "rb", buffering=0) as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(f, "blake2b").hexdigest()


def beside() -> None:
    apply_kept("first", "--journal", "/run/journal")
    os.makedirs("/run/m")
    run("mount", "/dev/v/data", "/run/m")
    for n in range(20):
        with open(f"/run/m/file{n}", "wb") as f:
            f.write(os.urandom(100_000))
    run("umount", "/run/m")
    with open("/mnt/kept.json", "w", encoding="utf-8") as f:
        json.dump(kept_digest(), f)
    print("@apply", flush=True)
    apply_kept("kept", "--journal", "/mnt/journal")
    print("@applied", flush=True)


def beside_again(resume: bool) -> None:
    def start() -> None:
        # 1 when nothing is left to start.
        subprocess.run(["mdadm", "--assemble", "--scan", "--run", "--config", "partitions"], capture_output=True, check=False)
        subprocess.run(["vgchange", "-qq", "-ay", "v"], capture_output=True, check=False)

    start()
    with open("/mnt/kept.json", encoding="utf-8") as f:
        wanted = json.load(f)
    expect("what is kept, after the cut", kept_digest(), wanted)
    apply_kept("kept", "--journal", "/mnt/journal", *(["--resume"] if resume else []))
    start()
    expect("what is kept, in the end", kept_digest(), wanted)
    plan = json.loads(run("/mnt/cvctl", "-q", "-o", "json", "layout", "plan", "/mnt/kept.yaml", *given(DISKS)))
    expect("differences", plan["differences"], [])
    expect("what is kept", len([v for g in plan["groups"] for v in g["volumes"] if v["kept"]]), 2)
    expect("tags", run("lvs", "--noheadings", "-o", "lv_tags", "v").split(), [])
    for device in ("/dev/v/data", "/dev/v/home", run("blkid", "-o", "device", "-t", "LABEL=TWO").split()[-1]):
        run("e2fsck", "-fn", device)
    for disk in DISKS:
        expect(f"marks on {disk}", "~cv" in run("sgdisk", "-p", disk), False)


# The record: /dev/ubda is cut into two disks and a place for the journal; /dev/ubdb takes the log.

# Not from its begin on: the kernel would see the first disk's table there, and its partitions a second time. MiB.
CUTS = [(1, 48), (49, 48), (97, 16)]


def cut_up(device: str) -> list[str]:
    """Two disks with partitions, and the journal's place: device mapper has no partitions, a loop device does."""
    parts = []
    for n, (start, length) in enumerate(CUTS):
        run("dmsetup", "create", f"part{n}", "--table", f"0 {length * 2048} linear {device} {start * 2048}")
        parts.append(f"/dev/mapper/part{n}")
    disks = [run("losetup", "--find", "--show", "--partscan", "--direct-io=on", part).strip() for part in parts[:2]]
    return disks + parts[2:]


def give_back(disks: list[str]) -> None:
    for disk in disks[:2]:
        run("losetup", "-d", disk)
    for n in range(len(CUTS)):
        run("dmsetup", "remove", "--retry", f"part{n}")


def apply_small(disks: list[str], *more: str) -> None:
    run("/mnt/cvctl", "-q", "layout", "apply", "/mnt/small.yaml", *given(disks[:2]), "--journal", "/run/j/journal", "--yes", *more)


def stop_small() -> None:
    run("vgchange", "-an", "v")
    run("mdadm", "--stop", "--scan")


def record() -> None:
    run("modprobe", "dm-log-writes")
    sectors = int(run("blockdev", "--getsz", "/dev/ubda"))
    run("dmsetup", "create", "logged", "--table", f"0 {sectors} log-writes /dev/ubda /dev/ubdb")
    disks = cut_up("/dev/mapper/logged")
    run("mkfs.ext4", "-q", disks[2])
    os.makedirs("/run/j")
    run("mount", disks[2], "/run/j")
    run("sync")
    run("dmsetup", "message", "logged", "0", "mark", "begin")
    apply_small(disks)
    run("sync")
    run("dmsetup", "message", "logged", "0", "mark", "end")
    stop_small()
    run("umount", "/run/j")
    give_back(disks)
    run("dmsetup", "remove", "--retry", "logged")


def replay(chosen: list[int]) -> None:
    """Makes the states of these flushes on /dev/ubda, one after the other, and goes on from each."""
    os.makedirs("/run/j")
    with open("/dev/ubdb", "rb") as log, open("/dev/ubda", "r+b", buffering=0) as disk:
        entries = list(read_log(log))
        outcomes = []
        for flush in chosen:
            # What the last try wrote goes: the state is made from nothing.
            run("blkdiscard", "--force", "--zeroout", "/dev/ubda")
            for sector, data in entries[:flush + 1]:
                if data is not None:
                    os.pwrite(disk.fileno(), data, sector * 512)
            os.fsync(disk.fileno())
            run("blockdev", "--flushbufs", "/dev/ubda")
            outcomes.append(go_on(flush))
        print("@outcomes " + json.dumps({o: outcomes.count(o) for o in sorted(set(outcomes))}), flush=True)


def go_on(entry: int) -> str:
    disks = cut_up("/dev/ubda")
    run("mount", disks[2], "/run/j")
    how = ["--resume"] if has_journal("/run/j/journal") else []
    call = ["/mnt/cvctl", "-q", "-o", "json", "layout", "apply", "/mnt/small.yaml", *given(disks[:2]), "--journal", "/run/j/journal", "--yes"]
    done = subprocess.run([*call, *how], capture_output=True, check=False)
    outcome = "resumed" if how else "begun anew"
    if done.returncode:
        error = json.loads(done.stderr or b"{}") if done.stderr.startswith(b"{") else {}
        sys.exit(f"entry {entry}: {how}: exit {done.returncode} {error}\n{done.stderr.decode()}{done.stdout.decode()}")
    # What was finished before the cut is not started by resuming it.
    subprocess.run(["mdadm", "--assemble", "--scan", "--run", "--config", "partitions"], capture_output=True, check=False)
    run("vgchange", "-ay", "v")
    plan = json.loads(run("/mnt/cvctl", "-q", "-o", "json", "layout", "plan", "/mnt/small.yaml", *given(disks[:2])))
    expect(f"entry {entry}: differences", plan["differences"], [])
    run("e2fsck", "-fn", "/dev/mapper/v-r")
    for disk in disks[:2]:
        expect(f"entry {entry}: table of {disk}", "No problems found" in run("sgdisk", "-v", disk), True)
    stop_small()
    for disk in disks[:2]:
        run("partx", "-d", disk)
    run("umount", "/run/j")
    give_back(disks)
    return outcome


# The log of dm-log-writes: a sector with magic, version, count of entries and sector size; then for each entry a sector
# with its place, its length, its flags and the length of a mark, and its data behind it, unless it is a discard.
# Source: Documentation/admin-guide/device-mapper/log-writes.rst and the head of drivers/md/dm-log-writes.c.

MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


def read_entries(log: Any) -> list[tuple[int, int, int, bytes | None, bytes]]:
    """Of each entry: sector, sectors, flags, data, mark."""
    magic, version, count, size = struct.unpack("<QQQI", log.read(512)[:28])
    expect("the log", (magic, version, size), (MAGIC, 1, 512))
    found = []
    for _ in range(count):
        head = log.read(512)
        sector, sectors, flags, length = struct.unpack("<QQQQ", head[:32])
        data = None if flags & DISCARD else log.read(sectors * 512)
        found.append((sector, sectors, flags, data, head[32:32 + length] if flags & MARK else b""))
    return found


def read_log(log: Any) -> list[tuple[int, bytes | None]]:
    return [(sector, data if data else (bytes(sectors * 512) if flags & DISCARD else None))
            for sector, sectors, flags, data, _ in read_entries(log)]


def flushes(path: str) -> list[int]:
    """The entries between the marks after which everything before them is on the medium."""
    with open(path, "rb") as log:
        entries = read_entries(log)
    marks = {mark.rstrip(b"\0"): n for n, (_, _, flags, _, mark) in enumerate(entries) if flags & MARK}
    return [n for n, (_, _, flags, _, _) in enumerate(entries) if flags & (FLUSH | FUA) and marks[b"begin"] <= n <= marks[b"end"]]


# On the host.

def guest(work: str, images: list[str], *what: str, limit: int = 300) -> subprocess.Popen[str]:
    flags = [word for image in images for word in ("-d", image)]
    command = [UML, "-t", str(limit), *flags, "-w", work, "--", "python3", os.path.abspath(__file__), "--guest", *what]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str], what: str) -> str:
    said, _ = process.communicate()
    if process.returncode == 77:
        print(said)
        sys.exit(77)
    if process.returncode:
        sys.exit(f"{what}: exit {process.returncode}\n{said[-6000:]}")
    return said


def blank(work: str, count: int, mib: int) -> list[str]:
    images = [f"{work}/{n}.img" for n in range(count)]
    for image in images:
        with open(image, "wb") as f:
            f.truncate(mib * MIB)
    return images


def until(process: subprocess.Popen[str], mark: str) -> None:
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(mark):
            return
    process.wait()
    if process.returncode == 77:
        print("".join(lines))
        sys.exit(77)
    sys.exit(f"the guest ended before {mark}: {process.returncode}\n{''.join(lines)[-4000:]}")


def make_image(work: str, rng: random.Random) -> None:
    tree, sums = f"{work}/tree", {}
    os.makedirs(f"{tree}/etc")
    for n in range(60):
        path = f"/{('boot', 'efi', 'secret', 'usr', 'etc')[n % 5]}/file{n}"
        os.makedirs(os.path.dirname(tree + path), exist_ok=True)
        data = rng.randbytes(rng.randrange(1, 200000))
        with open(tree + path, "wb") as f:
            f.write(data)
        sums[path] = hashlib.sha256(data).hexdigest()
    with open(f"{work}/sums.json", "w", encoding="utf-8") as f:
        json.dump(sums, f)
    run(f"{work}/cvctl", "-q", "store", "init", f"{work}/store")
    run(f"{work}/cvctl", "-q", "--store", f"{work}/store", "image", "capture", tree, "--name", "t")


def undisturbed(work: str, document: str) -> float:
    """How long an apply takes; and that the check finds no fault with it."""
    with open(f"{work}/crash.yaml", "w", encoding="utf-8") as f:
        f.write(document)
    images = blank(work, 2, SIZE)
    process = guest(work, images, "apply")
    until(process, "@apply")
    begin = time.monotonic()
    until(process, "@applied")
    takes = time.monotonic() - begin
    finish(process, "undisturbed")
    finish(guest(work, images, "check"), "undisturbed, looked at")
    return takes


def fresh(work: str) -> list[str]:
    """Two blank disks, and no journal."""
    for name in ("journal", "journal.old"):
        if os.path.exists(f"{work}/{name}"):
            os.unlink(f"{work}/{name}")
    return blank(work, 2, SIZE)


def kill(work: str, when: float | str) -> str:
    """Kills an apply after so many seconds, or as soon as its journal says this, and goes on with it; gives how."""
    images = fresh(work)
    process = guest(work, images, "apply")
    until(process, "@apply")
    begin = time.monotonic()
    while (time.monotonic() < begin + when) if isinstance(when, float) else (when not in noted(work) and process.poll() is None):
        time.sleep(0.01)
    after = time.monotonic() - begin
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = "no journal"
    if has_journal(f"{work}/journal"):
        with open(f"{work}/journal", encoding="utf-8") as f:
            last = json.loads([line for line in f if line.endswith("\n")][-1])
        left = f"{last['state']} {last.get('step', '')}".strip()
    said = finish(guest(work, images, "again"), f"killed after {after:.2f} s, at {left}")
    how = next(line for line in said.splitlines() if line.startswith("@how "))[5:]
    print(f"ok: killed after {after:.2f} s, at {left}: {how}", flush=True)
    return how


def kept(work: str, rng: random.Random) -> None:
    for name, document in (("first", FIRST), ("kept", KEPT)):
        with open(f"{work}/{name}.yaml", "w", encoding="utf-8") as f:
            f.write(document)
    # Where a volume was made and nothing tells that it is empty; where one disk may be finished and the other one not.
    moments = ['"begin","step":"mkfs:x"', '"begin","step":"commit"', '"end","step":"table:d#0"', '"begin","step":"mkfs:home"'] if FULL else [
        '"begin","step":"mkfs:x"', '"begin","step":"commit"']
    resumes = [False, True]
    for moment, resume in [(m, r) for m in moments for r in resumes] if FULL else zip(moments, rng.sample(resumes, 2)):
        images = fresh(work)
        process = guest(work, images, "beside")
        until(process, "@apply")
        while moment not in noted(work) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        how = "resumed" if resume else "begun anew"
        finish(guest(work, images, "resumed" if resume else "anew"), f"killed at {moment}, {how}")
        print(f"ok: killed beside something kept at {moment}: {how}", flush=True)


def noted(work: str) -> str:
    return read(f"{work}/journal") if os.path.exists(f"{work}/journal") else ""


# A key takes so long that random moments seldom meet what comes after it.
AFTER_KEYS = ['"end","step":"luks:c"', '"end","step":"mkfs:boot"', '"begin","step":"install"', '"begin","step":"commit"']


def kills(work: str, rng: random.Random) -> None:
    make_image(work, rng)
    hows: list[str] = []
    for document, count in ((PLAIN, 10), (DOCUMENT, 10)) if FULL else ((PLAIN, 3),):
        takes = undisturbed(work, document)
        # Each kill in a part of its own, so that all of the apply is met.
        moments: list[float | str] = [takes * (n + rng.random()) / count for n in range(count)]
        if document == DOCUMENT:
            moments[-len(AFTER_KEYS):] = AFTER_KEYS
        hows += [kill(work, moment) for moment in moments]
    print(f"ok: {len(hows)} kills: { {how: hows.count(how) for how in sorted(set(hows))} }", flush=True)


def replays(work: str, rng: random.Random) -> None:
    [disk] = blank(work, 1, 1 + sum(length for _, length in CUTS))
    log = f"{work}/log"
    with open(log, "wb") as f:
        f.truncate(256 * MIB)
    finish(guest(work, [disk, log], "record"), "record")
    points = flushes(log)
    expect("flushes of an apply are many", len(points) > 40, True)
    chosen = points if FULL else sorted(rng.sample(points, 4))
    # Each guest has its share, so that none runs for long.
    outcomes: dict[str, int] = {}
    for at in range(0, len(chosen), 40):
        share = chosen[at:at + 40]
        with open(f"{work}/chosen.json", "w", encoding="utf-8") as f:
            json.dump(share, f)
        said = finish(guest(work, [disk, log], "replay", limit=600), f"replay of entries {share[0]} to {share[-1]}")
        found = json.loads(next(line for line in said.splitlines() if line.startswith("@outcomes "))[10:])
        for outcome, n in found.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + n
    print(f"ok: {len(chosen)} of {len(points)} flushes: {outcomes}", flush=True)


def main() -> None:
    args = sys.argv[1:]
    if args[:1] == ["--guest"]:
        if args[1] == "replay":
            with open("/mnt/chosen.json", encoding="utf-8") as f:
                replay(json.load(f))
            return
        {"apply": apply, "again": again, "check": check, "record": record, "beside": beside,
         "resumed": lambda: beside_again(True), "anew": lambda: beside_again(False)}[args[1]]()
        return
    if os.geteuid():
        print("run it as root")
        sys.exit(77)
    seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
    print(f"SEED={seed}", flush=True)
    rng = random.Random(seed)
    for name in args or ["kills", "kept", "replay"]:
        work = tempfile.mkdtemp(prefix="libcv-crash.", dir="/dev/shm")
        try:
            shutil.copy(os.environ["CVCTL"], f"{work}/cvctl")
            with open(f"{work}/small.yaml", "w", encoding="utf-8") as f:
                f.write(SMALL)
            {"kills": kills, "kept": kept, "replay": replays}[name](work, rng)
        finally:
            shutil.rmtree(work)
    print("PASS")


if __name__ == "__main__":
    main()
