#!/usr/bin/env python3
"""From packages of Debian to a login: the suite of this machine's mirror is added, an image is built by a role, updated by one more package,
deployed onto two disks in a RAID1, and the disks boot in QEMU: with the array, sshd with keys of its own, and no unit that
failed. With FULL=1 the role is built on the `node` that comes with libcv, and twice, and the trees are the same.

Needs: root, CVCTL, what `tests/setup.sh build` installs, a mirror.  Time: 2 to 4 minutes.
"""
import glob
import os
import re
import subprocess
import sys

from bed import Bed

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vm"))
from vm import Guest  # noqa: E402

FULL = os.environ.get("FULL") == "1"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
LAYOUT = """
schema: cv.layout/v1
name: mirror
firmware: [bios]
disks: {os: {count: 2}}
partitions:
  os/biosboot: {type: bios-boot, size: 1MiB}
  os/root:     {type: linux-raid, size: rest}
raid:
  root: {level: 1, members: [os/root], bitmap: none, sync: assume-clean}
filesystems:
  root: {on: raid/root, type: ext4, mount: {at: /}}
boot: {loader: grub2, install-on: os}
"""
PASSWORD = "$6$cvcvcvcv$tc62BqTVnHexJ6s9enxynDBq.Ko9G6c5ZPftOrnfEvPjt3CTjF9Yl6EBHybb7gygkPv/Z8qIbAiZj3LBIfpsc/"
PACKAGES = ["grub-pc-bin", "grub2-common", "mdadm", "openssh-server", "e2fsprogs"]
# What is not there in QEMU, and starts in vain: sensors, disks with SMART, a network that somebody has configured.
QUIET = ["smartmontools.service", "lm-sensors.service", "ipmievd.service", "systemd-networkd-wait-online.service"]


def suite() -> str:
    """The newest suite of Debian that apt of this machine knows, as a URL."""
    listed = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT) $(CREATED_BY)"],
                            capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        site, release, component, kind = line.split()
        if kind == "Packages" and component == "main" and re.fullmatch(r"https?://\S+/debian/?", site) and "-" not in release:
            return f"{site.rstrip('/')}/dists/{release}"
    print("apt of this machine knows no mirror of Debian")
    sys.exit(77)


def built(bed: Bed) -> None:
    said = {
        "kernel_args": ["console=ttyS0,115200n8"],
        # For the test only: a password stands in no role. `cv`, with a salt that is the same in each build.
        "scripts": [{"name": "login", "run": f"echo 'root:{PASSWORD}' | chpasswd -e"}],
        "files": [{"path": "/etc/ssh/sshd_config.d/9-test.conf", "content": "UseDNS no\n"}],
        "for": {"debian": {"packages": ["-linux-image-amd64", "linux-image-cloud-amd64"]}},
    }
    if FULL:
        role = bed.role("debian-node", extends="node", units={"mask": QUIET}, **said)
    else:
        role = bed.role("debian-node", extends="minimal", packages=PACKAGES, **said)
    more = ["--check-reproducible"] if FULL else []
    made = bed.good("image", "build", "--distro", "debian-12", "--role", role, "--name", "node", *more)
    assert not FULL or made["differs"] == [], made["differs"]
    names = {s["name"] for s in made["transaction"]}
    assert {"linux-image-cloud-amd64", "systemd-sysv", "openssh-server", "mdadm"} <= names, names
    assert bed.cat("node", "/etc/machine-id") == ""
    paths = bed.paths("node")
    assert not {"etc/hostname", "etc/ssh/ssh_host_ed25519_key", "etc/apt/apt.conf", "usr/sbin/policy-rc.d"} & paths
    # That of this machine is not in it; a link is what the image's own resolver makes.
    resolver = [e for e in bed.good("image", "ls", "node", "/etc")["entries"] if e["path"] == "/etc/resolv.conf"]
    assert all(e["kind"] == "link" for e in resolver), resolver
    updated = bed.good("image", "update", "node", "--packages", "hello")
    assert [s["name"] for s in updated["transaction"]] == ["hello"], updated["transaction"]
    packages = {p["name"]: p["version"] for p in bed.good("image", "packages", "node")["packages"]}
    assert packages["hello"] and len(packages) == len(names) + 1, sorted(set(packages) ^ names)
    facts = bed.good("image", "show", "node")["facts"]["build"]
    hello = next(p for p in facts["packages"] if p["name"] == "hello")
    assert hello["digest"].startswith("sha256:") and hello["repository"] == "main", hello


def boots(bed: Bed) -> None:
    disks = [f"{bed.dir}/disk{n}.img" for n in (1, 2)]
    for disk in disks:
        with open(disk, "wb") as f:
            f.truncate(4 << 30)
    layout = f"{bed.dir}/mirror.yaml"
    with open(layout, "w", encoding="utf-8") as f:
        f.write(LAYOUT)
    arguments = ["layout", "apply", layout, "--image", "node", *(a for d in disks for a in ("--disk", f"os={d}")), "--hostname", "deb1",
                 "--backend", "offline", "--yes"]
    bed.good(*arguments)
    with Guest(disks, memory=1024) as g:
        g.wait(r"deb1 login: ", 400)
        g.login("root", "cv")
        assert g.command("hostname") == "deb1"
        assert "console=ttyS0,115200n8" in g.command("cat /proc/cmdline")
        assert "[UU]" in g.command("cat /proc/mdstat")
        assert g.command("findmnt -no SOURCE,FSTYPE /").split()[1] == "ext4"
        # It makes its keys first, which takes long in an emulated machine.
        g.command("for i in $(seq 90); do systemctl is-active -q ssh && break; sleep 1; done", 120)
        assert g.command("systemctl is-active ssh") == "active"
        assert "ED25519" in g.command("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
        assert g.command("hello") == "Hello, world!"
        assert g.command("systemctl --failed --plain --no-legend") == ""
        g.power_off()


if __name__ == "__main__":
    if not os.path.exists(KEYRING):
        print("install debian-archive-keyring")
        sys.exit(77)
    url = suite()
    with Bed(distribution=False) as bed:
        added = bed.good("distro", "add", url, "--key", KEYRING, "--name", "debian-12")
        assert added["distribution"]["id"] == "debian", added
        for story in (built, boots):
            story(bed)
            print(f"{story.__name__}: good", flush=True)
        assert not glob.glob(f"{bed.store}/tmp/build-*")
