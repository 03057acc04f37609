"""A node is asked, where the store lies, for its image, and then to become that image again.

    pip install libcv-provision && python nodes.py /tmp/an-empty-directory
"""

import sys
from pathlib import Path

import libcv as cv


def main(top: Path) -> None:
    root = top / "root"  # of a real node it is /
    root.mkdir()
    (root / "motd").write_text("of the node\n")

    # Where the store lies: a server, and a node that it knows.
    store = cv.Store.init(top / "store")
    server = cv.Server(store, "127.0.0.1:0")
    secret = store.add_node("n1")

    # On the node: its policy says what it may be asked for, and it asks the server for orders until it is told to end.
    policy = top / "policy.yaml"
    policy.write_text(
        f"schema: cv.policy/v1\ncapture: {{names: [login], root: {root}}}\nupdate: {{images: [login], root: {root}}}\n"
    )
    node = cv.connect_job(f"http://{server.address}", secret, policy, state=top / "state")

    # Where the store lies again.
    print("captured: generation", store.capture_node("n1", "login")["generation"])
    (root / "motd").write_text("somebody was here\n")
    print("updated:", store.update_node("n1", "login@1")["replaced"], "replaced")
    try:
        store.capture_node("n1", "other")
    except cv.Refused as e:
        print(e)
    node.cancel()
    server.stop(grace=10)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
