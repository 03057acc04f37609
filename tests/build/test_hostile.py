#!/usr/bin/env python3
"""What a role, a package or an image leaves in its root leads nobody out of it who works there from outside: links, devices, FIFOs.
Names of distributions, repositories and releases are not mixed up; of two who make the next version at once one is told."""
import os
import shutil
import subprocess

from bed import CV, Bed


def script(name: str, run: str, **more) -> dict:
    return {"name": name, "run": run, **more}


def build(bed: Bed, role: str, name: str = "x") -> tuple:
    return ("image", "build", "--distro", "rocky-9.4", "--role", role, "--name", name)


def roles(bed: Bed) -> None:
    host = f"{bed.dir}/host-file"
    role = bed.role("links", packages=["busybox"], scripts=[
        script("aa", f"for n in script-bb cache.key headers; do ln -s {host} /run/cv-build/$n; done; mkfifo /run/cv-build/updated"),
        script("bb", "echo second"), script("net", "true", net=True)])
    bed.good(*build(bed, role))
    assert not os.path.lexists(host), "a script of the role wrote a file of this machine"
    for n, make in enumerate(("mkfifo /usr/lib/modules/1.0/vmlinuz", "mknod /usr/lib/modules/1.0/vmlinuz c 1 5")):
        role = bed.role(f"kernel{n}", packages=["busybox"], scripts=[script("k", f"mkdir -p /usr/lib/modules/1.0 /boot; {make}")])
        bed.bad(15, "kernel 1.0", *build(bed, role))
    for n, make in enumerate(("mknod /etc/shadow c 1 5", "mkfifo /etc/shadow")):
        role = bed.role(f"shadow{n}", packages=["busybox"], scripts=[script("s", f"rm -f /etc/shadow; {make}")])
        bed.bad(15, "/etc/shadow", *build(bed, role))
    bed.nothing_half_made()


def images(bed: Bed) -> None:
    tree = f"{bed.dir}/tree"
    os.makedirs(f"{tree}/var/lib/dpkg")
    os.makedirs(f"{tree}/usr/bin")
    os.makedirs(f"{tree}/etc")
    shutil.copy(shutil.which("busybox"), f"{tree}/usr/bin/busybox")
    os.symlink("usr/bin", f"{tree}/bin")
    os.symlink("busybox", f"{tree}/usr/bin/true")
    os.symlink("busybox", f"{tree}/usr/bin/sh")
    with open(f"{tree}/etc/os-release", "w", encoding="utf-8") as f:
        f.write("ID=debian\nVERSION_ID=12\n")
    os.symlink("../run/systemd/resolve/stub-resolv.conf", f"{tree}/etc/resolv.conf")
    with open(f"{tree}/etc/fixed", "w", encoding="utf-8") as f:
        f.write("x")
    for n, target in enumerate(("/var/lib/dpkg/status", "/dev/zero")):
        if os.path.lexists(f"{tree}/var/lib/dpkg/status"):
            os.unlink(f"{tree}/var/lib/dpkg/status")
        os.symlink(target, f"{tree}/var/lib/dpkg/status")
        bed.good("image", "capture", tree, "--name", f"dpkg{n}", "--exact")
        done = bed.cv("image", "edit", f"dpkg{n}", "--", "/bin/true", timeout=60)
        if done.returncode == 0:
            assert bed.good("image", "show", f"dpkg{n}")["facts"]["build"]["packages"] == []
    os.unlink(f"{tree}/var/lib/dpkg/status")
    subprocess.run(["chattr", "+i", f"{tree}/etc/fixed"], check=True)
    try:
        bed.good("image", "capture", tree, "--name", "fixed", "--exact")
        role = bed.role("plain", files=[{"path": "/etc/motd", "content": "x"}], scripts=[script("s", "true", net=True)])
        bed.good("image", "build", "--from", "fixed", "--role", role, "--name", "over")
        assert "etc/resolv.conf" in bed.paths("over"), "the link to what the running system makes stays"
        bed.nothing_half_made()
        # Packages of another family do not go over it.
        role = bed.role("rpm", packages=["pinger"])
        bed.bad(11, "debian12", "image", "build", "--from", "fixed", "--distro", "rocky-9.4", "--role", role, "--name", "x")
    finally:
        subprocess.run(["chattr", "-i", f"{tree}/etc/fixed"], check=True)
    bed.nothing_half_made()


def names(bed: Bed) -> None:
    role = bed.role("one", packages=["busybox"])
    for verb in (build(bed, role, "distro.x"), ("image", "update", "distro.rocky-9.4", "--distro", "rocky-9.4"),
                 ("image", "edit", "distro.rocky-9.4", "--", "/bin/true"), ("image", "capture", bed.dir, "--name", "distro.x"),
                 ("image", "build", "--from", "distro.rocky-9.4", "--role", role, "--name", "x")):
        bed.bad(2, "distro", *verb)
    assert [d["name"] for d in bed.good("distro", "list")["distributions"]] == ["rocky-9.4"]
    with open(f"{bed.mini}/keys/mini.asc", encoding="utf-8") as f:
        key = f.read()
    own = {"name": "BaseOS", "url": f"file://{bed.mini}/tree-9.4/BaseOS", "key": key}
    bed.bad(11, "BaseOS", *build(bed, bed.role("mixed", packages=["busybox"], repositories=[own])))
    # The same packages, of another repository: they are not said to be the distribution's.
    role = bed.role("other", packages=["beacon"], repositories=[{**own, "name": "ours", "priority": 1}])
    bed.good(*build(bed, role, "other"))
    packages = bed.good("image", "show", "other")["facts"]["build"]["packages"]
    assert {(p["repository"], "digest" in p) for p in packages} == {("ours", False)}, packages
    # Two files of one name are two roles.
    for place, package in ("a", "busybox"), ("b", "beacon"):
        os.makedirs(f"{bed.dir}/{place}")
        shutil.copy(bed.role("same", packages=[package]), f"{bed.dir}/{place}/same.json")
    bed.good(*build(bed, f"{bed.dir}/a/same.json", "both"), "--role", f"{bed.dir}/b/same.json")
    names = {p["name"] for p in bed.good("image", "show", "both")["facts"]["build"]["packages"]}
    assert {"busybox", "beacon"} <= names, names


def two_at_once(bed: Bed) -> None:
    bed.good(*build(bed, bed.role("base", packages=["busybox"]), "shared"))
    edits = [subprocess.Popen([CV, "-q", "--store", bed.store, "image", "edit", "shared", "--", "/bin/sh", "-c", f"sleep 2; touch /etc/by-{n}"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for n in range(2)]
    assert sorted(e.wait(timeout=60) for e in edits) == [0, 11], "the one overtook the other"
    bed.nothing_half_made()


if __name__ == "__main__":
    with Bed() as bed:
        bed.good("distro", "add", f"{bed.mini}/mini-9.4.iso")
        for story in (roles, images, names, two_at_once):
            story(bed)
            print(f"{story.__name__}: good")
