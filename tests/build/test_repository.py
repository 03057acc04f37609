#!/usr/bin/env python3
"""Repositories of a role, in a directory and over HTTP, with a key of their own: their packages are fetched before anything of a
package runs, and nothing that runs sees a network. And a release whose rpm has no SQLite gets its database from its own rpm:
here a stand-in that keeps the headers as they come, for the tests have no Enterprise Linux 8."""
import functools
import http.server
import os
import re
import shutil
import subprocess
import threading

from bed import Bed

SPEC = """
Name: {name}
Version: 4.14
Release: 1.site
Summary: {name}
License: MIT
BuildArch: noarch
Requires: busybox
%description
{name}
%install
mkdir -p %{{buildroot}}/usr/bin
{install}
%post
ping -c 1 -W 1 127.0.0.1 >/dev/null 2>&1 && touch /has-network || true
%files
/usr/bin/*
"""
# What the rpm of Enterprise Linux 8 does with the headers, but for its own format.
RPMDB = """cat > %{buildroot}/usr/bin/rpmdb <<'X'
#!/bin/sh -e
case $1 in --initdb) rm -rf /var/lib/rpm/*;; --importdb) cat > /var/lib/rpm/Packages;; esac
X
cat > %{buildroot}/usr/bin/rpm <<'X'
#!/bin/sh -e
xxd -p /var/lib/rpm/Packages | tr -d '\\n' | grep -o 8eade80100000000
X
chmod 755 %{buildroot}/usr/bin/*"""
FORGETFUL = RPMDB.replace("cat > /var/lib/rpm/Packages", "head -c 1000 > /var/lib/rpm/Packages")


def repository(bed: Bed, name: str, packages: dict[str, str]) -> str:
    """A signed repository; gives its directory, in which KEY is what it is signed with."""
    place, home = f"{bed.dir}/{name}", f"{bed.dir}/gnupg"
    os.makedirs(place)
    env = {**os.environ, "HOME": bed.dir, "GNUPGHOME": home, "LC_ALL": "C"}
    run = functools.partial(subprocess.run, check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if not os.path.isdir(home):
        os.mkdir(home, 0o700)
        run(["gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key", "site <s@example.invalid>",
             "rsa2048", "sign", "never"])
    for package, install in packages.items():
        spec = f"{bed.dir}/{package}.spec"
        with open(spec, "w", encoding="utf-8") as f:
            f.write(SPEC.format(name=package, install=install))
        run(["rpmbuild", "-bb", "--define", f"_topdir {bed.dir}/rpmbuild", "--define", f"_rpmdir {place}", "--define", f"_dbpath {bed.dir}/rpmdb",
             "--define", "_buildshell /bin/bash", "--define", "__find_requires %{nil}", "--define", "_use_internal_dependency_generator 0", spec])
    files = [os.path.join(d, f) for d, _, names in os.walk(place) for f in names]
    run(["rpmsign", "--addsign", "--define", "_gpg_name s@example.invalid", "--define", f"__gpg {shutil.which('gpg')}",
         "--define", f"_gpg_path {home}", *files])
    run(["createrepo_c", "--quiet", place])
    with open(f"{place}/KEY", "wb") as f:
        f.write(subprocess.run(["gpg", "--armor", "--export", "s@example.invalid"], check=True, env=env, capture_output=True).stdout)
    run(["gpgconf", "--kill", "all"])
    return place


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


def key(place: str) -> str:
    with open(f"{place}/KEY", encoding="utf-8") as f:
        return f.read()


def of_a_role(bed: Bed) -> None:
    place = repository(bed, "site", {"site-tool": "echo x > %{buildroot}/usr/bin/site-tool"})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=place))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        for n, address in enumerate((f"file://{place}", url)):
            role = bed.role("site", packages=["busybox", "site-tool"], repositories=[{"name": "site", "url": address, "key": key(place)}])
            made = bed.good("image", "build", "--distro", "rocky-9.4", "--role", role, "--name", f"site{n}")
            tool = next(s for s in made["transaction"] if s["name"] == "site-tool")
            assert tool["repository"] == "site", made
            assert "usr/bin/site-tool" in bed.paths(f"site{n}") and "has-network" not in bed.paths(f"site{n}")
        with open(f"{bed.mini}/keys/forger.asc", encoding="utf-8") as f:
            other = f.read()
        for address in (f"file://{place}", url):
            role = bed.role("other", packages=["site-tool"], repositories=[{"name": "site", "url": address, "key": other}])
            bed.bad(14, "site-tool", "image", "build", "--distro", "rocky-9.4", "--role", role, "--name", "x")
        role = bed.role("none", packages=["no-such-thing"], repositories=[{"name": "site", "url": url, "key": key(place)}])
        bed.bad(10, "no-such-thing", "image", "build", "--distro", "rocky-9.4", "--role", role, "--name", "x")
    finally:
        server.shutdown()
        server.server_close()
    role = bed.role("gone", packages=["site-tool"], repositories=[{"name": "site", "url": url, "key": key(place)}])
    bed.bad(18, "site", "image", "build", "--distro", "rocky-9.4", "--role", role, "--name", "x")
    bed.nothing_half_made()


def of_an_address(bed: Bed) -> None:
    """A distribution is fetched: its medium, its tree; what is cut off, is not there, or has no key leaves nothing."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=bed.mini))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url, pin = f"http://127.0.0.1:{server.server_address[1]}", f"{bed.mini}/keys/mini.asc"
    try:
        tree = bed.good("distro", "add", f"{url}/tree-9.5", "--key", pin)
        assert (tree["name"], tree["distribution"]["source"]["url"]) == ("rocky-9.5", f"{url}/tree-9.5"), tree
        iso = bed.good("distro", "add", f"{url}/mini-9.4.iso", "--name", "fetched", "--key", pin)
        assert iso["distribution"]["source"]["media"] == "undamaged" and iso["image"], iso
        assert bed.good("distro", "verify", "rocky-9.5")["faults"] == []
        bed.bad(2, "--key", "distro", "add", f"{url}/tree-9.5", "--name", "x")
        bed.bad(10, "repomd.xml", "distro", "add", f"{url}/keys", "--name", "x", "--key", pin)
        bed.bad(10, "none.iso", "distro", "add", f"{url}/none.iso", "--name", "x")
    finally:
        server.shutdown()
        server.server_close()
    bed.bad(18, "127.0.0.1", "distro", "add", f"{url}/mini-9.4.iso", "--name", "x")
    role = bed.role("fetched", packages=["beacon"])
    bed.good("image", "build", "--distro", "rocky-9.5", "--role", role, "--name", "fetched")
    bed.nothing_half_made()


def older_rpm(bed: Bed) -> None:
    tree = f"{bed.dir}/tree-8"
    shutil.copytree(f"{bed.mini}/tree-9.4", tree)
    with open(f"{tree}/.treeinfo", encoding="utf-8") as f:
        text = f.read()
    # Without its modules, which are for another platform.
    shutil.rmtree(f"{tree}/AppStream")
    text = re.sub(r"\[variant-AppStream\].*?\n\n", "", text, flags=re.S).replace("AppStream,BaseOS", "BaseOS")
    text = re.sub(r"(?m)^AppStream/.*\n", "", text).replace("= AppStream", "= BaseOS")
    with open(f"{tree}/.treeinfo", "w", encoding="utf-8") as f:
        f.write(text.replace("version = 9.4", "version = 8.10"))
    added = bed.good("distro", "add", tree, "--name", "rocky-8.10")
    assert added["distribution"]["major"] == 8, added
    for name, install, code in (("good", RPMDB, 0), ("forgetful", FORGETFUL, 21)):
        place = repository(bed, name, {"rpm": install})
        role = bed.role("el8", packages=["busybox", "rpm"], repositories=[{"name": name, "url": f"file://{place}", "key": key(place)}])
        command = ("image", "build", "--distro", "rocky-8.10", "--role", role, "--name", name)
        if code:
            bed.bad(code, "package database", *command)
        else:
            bed.good(*command)
    files = {p for p in bed.paths("good") if p.startswith("var/lib/rpm/")}
    assert files == {"var/lib/rpm/Packages"}, files
    packages = bed.good("image", "show", "good")["facts"]["build"]["packages"]
    assert {"busybox", "rpm"} <= {p["name"] for p in packages}, packages
    bed.bad(21, "anew", "image", "update", "good", "--packages", "pinger")
    bed.good("image", "edit", "good", "--", "/bin/touch", "/etc/x")
    bed.nothing_half_made()


if __name__ == "__main__":
    with Bed() as bed:
        bed.good("distro", "add", f"{bed.mini}/mini-9.4.iso")
        for story in (of_a_role, of_an_address, older_rpm):
            story(bed)
            print(f"{story.__name__}: good")
