#!/usr/bin/env python3
"""Names that are relative to where somebody stands: of a store, a tree, each kind of exported file, and a directory that an
image is compared with.

Needs: CVCTL, and for squashfs tar2sqfs.  Time: 2 s.
"""
import os
import shutil
import tempfile

from test_kill import cv, good


def two_packs(at: tuple[str, ...]) -> None:
    """The store opens more files while a tree is looked at, on the same threads: pages that did not change lie in an older
    pack than those that did."""
    for first, last, content in ((0, 60, "before"), (50, 60, "after!")):
        for d in range(first, last):
            os.makedirs(f"many/{d}", exist_ok=True)
            for n in range(200):
                with open(f"many/{d}/{n}", "w", encoding="ascii") as f:
                    f.write(f"{content} {d} {n}")
        good(*at, "image", "capture", "many", "--name", "many", "--exact")
    good(*at, "image", "extract", "many@1", "node")
    assert len(good(*at, "image", "diff", "many@2", "node")["changes"]) >= 2000
    assert good(*at, "image", "extract", "many@2", "node", "--update", "--exact")["replaced"] == 2000
    assert good(*at, "image", "diff", "many@2", "node")["changes"] == []


def main() -> None:
    work = tempfile.mkdtemp(prefix="libcv-relative-")
    os.chdir(work)
    try:
        os.mkdir("tree")
        with open("tree/f", "w", encoding="ascii") as f:
            f.write("content\n")
        good("store", "init", "s")
        at = ("--store", "s")
        good(*at, "image", "capture", "tree", "--name", "t", "--exact")
        kinds = ["tar", "oci", "oci-archive", "erofs", "cpio"]
        if shutil.which("tar2sqfs"):
            kinds.append("squashfs")
        else:
            print("skipped: squashfs: there is no tar2sqfs")
        for kind in kinds:
            good(*at, "image", "export", "t", "--format", kind, "--output", f"o.{kind}")
            assert os.path.exists(f"o.{kind}"), kind
        for kind in set(kinds) - {"erofs", "cpio"}:
            good(*at, "image", "import", f"o.{kind}", "--name", kind)
        # As the other argument a directory is a directory, unless an image has that name.
        assert good(*at, "image", "diff", "t", "tree")["changes"] == []
        os.mkdir("tar")
        good(*at, "image", "extract", "t", "out")
        assert "to" in good(*at, "image", "diff", "t", "tar")
        assert good(*at, "image", "diff", "t", "./out")["changes"] == []
        assert cv(*at, "image", "diff", "t", "nothing").returncode == 10
        two_packs(at)
    finally:
        os.chdir("/")
        shutil.rmtree(work)
    print("PASS")


if __name__ == "__main__":
    main()
