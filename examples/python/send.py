"""A node sends its tree to a server, twice: all of it, and then what has changed.

    pip install libcv-provision && python send.py /tmp/an-empty-directory
"""

import sys
from pathlib import Path

import libcv as cv


def main(top: Path) -> None:
    tree = top / "tree"
    tree.mkdir()
    (tree / "motd").write_text("welcome\n")
    (tree / "issue").write_text("node\n")

    # Where the store lies: a server, and a token for each generation that somebody may send.
    store = cv.Store.init(top / "store")
    server = cv.Server(store, "127.0.0.1:0")

    def token() -> str:
        return store.create_token("login", max_size=20 << 30, expires="1h")

    # On the node: the same capture as into a store of its own.
    def send(secret: str) -> cv.Image:
        far = cv.Store.open(f"http://{server.address}", token=secret)
        return far.capture(tree, "login", state=top / "state")

    send(token())
    (tree / "motd").write_text("welcome back\n")
    send(token())
    print("generations:", [entry["generation"] for entry in store.log("login")])
    print("the store says:", store.image("login").cat("motd").decode().rstrip())
    print(sum(t["used"] for t in store.tokens()), "tokens were used")
    server.stop(grace=10)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
