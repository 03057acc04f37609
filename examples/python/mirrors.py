"""A store that is handed out, a mirror that follows, a node that reads from both, and goes on with the one that is left.

    pip install libcv-provision && python mirrors.py /tmp/an-empty-directory
"""

import sys
from pathlib import Path

import libcv as cv

ANY = "127.0.0.1:0"  # any port of this machine


def main(top: Path) -> None:
    tree = top / "tree"
    tree.mkdir()
    (tree / "motd").write_text("welcome\n")
    store = cv.Store.init(top / "store")
    store.capture(tree, "node", state=top / "state")

    # The origin, and a mirror, which listens when it has all and has compared all of it.
    origin = cv.Server(store, ANY)
    url = f"http://{origin.address}"
    mirror = cv.Server.mirror(top / "mirror", ANY, url)
    print("origin at", origin.address, "mirror at", mirror.address)

    # A node asks both, and believes neither.
    image = cv.Store.open(url, mirrors=[f"http://{mirror.address}=2"]).image("node")
    image.extract(top / "first")

    # The origin finishes what it does, and goes. One is enough.
    origin.stop(grace=10)
    image.extract(top / "second")
    print("the node says:", (top / "second" / "motd").read_text().rstrip())
    print(sum(line.startswith("libcv_http_answers_total") for line in mirror.metrics().splitlines()), "kinds of answers")
    mirror.stop(grace=10)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
