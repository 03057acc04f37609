"""What is installed in two versions of an image, what changed between them, and a bill of materials.

    pip install libcv-provision && python packages.py /tmp/an-empty-directory
"""

import sys
from pathlib import Path

import libcv as cv

# What dpkg keeps of two packages in the place of a system with hundreds.
PACKAGE = "Package: {}\nStatus: install ok installed\nVersion: {}\nArchitecture: amd64\n\n"
VERSIONS = [{"bash": "5.2-1", "nano": "7.2-1"}, {"bash": "5.2-2", "vim": "2:9.0-1"}]


def main(top: Path) -> None:
    status = top / "tree" / "var" / "lib" / "dpkg" / "status"
    status.parent.mkdir(parents=True)
    store = cv.Store.init(top / "store")
    images = []
    for version in VERSIONS:
        status.write_text("".join(PACKAGE.format(*p) for p in version.items()))
        images.append(store.capture(top / "tree", "node", state=top / "state"))

    # Whatever made an image: its packages are read from the database that it has, of rpm or of dpkg.
    before, after = images
    for package in after.packages():
        print("installed", package["name"], package["version"])
    changes = before.diff_packages(after)
    print("added", [p["name"] for p in changes["added"]])
    print("removed", [p["name"] for p in changes["removed"]])
    for c in changes["changed"]:
        print("changed", c["old"]["name"], c["old"]["version"], "->", c["new"]["version"])

    # The same version gives the same document each time.
    (top / "node.cdx.json").write_text(after.sbom("cyclonedx"), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
