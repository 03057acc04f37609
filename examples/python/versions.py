"""Signed versions, a copy of the store, damage and its repair, a node that goes from one version to the next, a collection.

    pip install libcv-provision && python versions.py /tmp/an-empty-directory
"""

import shutil
import sys
from pathlib import Path

import libcv as cv


def main(top: Path) -> None:
    tree, key = top / "tree", top / "site.key"
    tree.mkdir()
    print("key", cv.generate_key(key))

    # Who captures signs.
    store = cv.Store.init(top / "store").signing(key)
    for text in ("one\n", "two\n", "three\n"):
        (tree / "motd").write_text(text)
        print("captured", store.capture(tree, "node", state=top / "state"))

    # A second copy; a run that is cut off goes on where it was.
    copy = cv.Store.init(top / "copy")
    print("copied", store.sync(copy)["generations"])

    # Who deploys believes signed releases only, and none that is older than what it saw before.
    trusting = copy.trusting([f"{key}.pub"], state=top / "state")
    trusting.image("node@1").extract(top / "node")
    done = trusting.image("node").update(top / "node")
    print("updated:", done["replaced"], "replaced,", done["verdict"])
    assert (top / "node" / "motd").read_text() == "three\n"

    # A sector is lost, and comes back from the copy.
    shutil.rmtree(next((top / "store" / "packs").iterdir()))
    print("faults:", len(store.check(read_data=True)["faults"]))
    healed = cv.Store.open_to_repair(top / "store").repair(copy)
    print(healed["found"], "found,", len(healed["faults"]), "left")

    # Only the newest version is kept. What that frees is found now, and deleted by a run a week later, or at once.
    print("removed", store.gc(keep_last=1, grace=0)["removed"])
    print("deleted", store.gc(keep_last=1, grace=0)["deleted"], "objects")
    assert store.check(read_data=True)["faults"] == []


if __name__ == "__main__":
    main(Path(sys.argv[1]))
