"""An image from the ISO of a distribution and a role, and its next version with one more package. Needs root and dnf.

    pip install libcv-provision && python build.py /tmp/a-store Rocky-9.4-x86_64-dvd.iso our-node.yaml htop
"""

import sys

import libcv as cv


def main(place: str, iso: str, role: str, package: str) -> None:
    store = cv.Store.init(place)
    added = cv.add_distro(store, iso, progress=cv.bar())
    print(added["name"], "signed with", [key["fingerprint"] for key in added["distribution"]["keys"]])

    # The role says what is in the image; it names no distribution and no disk.
    options = cv.BuildOptions(check_reproducible=True, tag="prod")
    made = cv.build_image(store, "node", cv.Role.find(role), distro=added["name"], options=options, progress=cv.bar())
    print(len(made["transaction"]), "packages; differs each time:", made["differs"])

    # The next version needs no file of the first one: the role stands in its manifest.
    cv.update_image(store, "node", packages=[package])
    changes = store.image("node@1").diff_packages(store.image("node"))
    print("added", [p["name"] for p in changes["added"]])
    store.rollback("node", "node:prod")


if __name__ == "__main__":
    main(*sys.argv[1:5])
