"""An image is sent to two nodes at once, which write it while it comes. Nobody without the key can add anything.

    pip install libcv-provision && python multicast.py /tmp/an-empty-directory
"""

import os
import sys
from pathlib import Path

import libcv as cv

INTERFACE = "lo"  # of a cluster it is the one that its nodes are on, such as eth0


def main(top: Path) -> None:
    tree = top / "tree"
    tree.mkdir()
    (tree / "motd").write_text("welcome\n")
    store = cv.Store.init(top / "store")
    image = store.capture(tree, "node", state=top / "state")

    # What the sender and its nodes share: as `openssl rand -hex 32 > key`.
    key = top / "key"
    key.write_bytes(os.urandom(32))

    # Each node waits for the image of this name.
    nodes = [cv.multicast_receive_job(top / n, INTERFACE, name="node", key_file=key) for n in ("first", "second")]

    # It begins when both are there.
    report = image.multicast(INTERFACE, receivers=2, mode="tag", key_file=key)
    done = sum(r["standing"] == "done" for r in report["receivers"])
    print(done, "of", len(report["receivers"]), "nodes have", report["bytes"], "bytes")
    for node in nodes:
        delivered = node.result()
        print(f"{delivered['name']}@{delivered['generation']}: {delivered['extracted']['entries']} entries")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
