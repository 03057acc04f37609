"""A store, a captured tree, a change, a second generation, what is different, and the way back.

    pip install libcv-provision && python quickstart.py /tmp/an-empty-directory
"""

import sys
from pathlib import Path

import libcv as cv


def main(top: Path) -> None:
    tree = top / "tree"
    tree.mkdir()
    store = cv.Store.init(top / "store")

    (tree / "motd").write_text("welcome\n")
    first = store.capture(tree, "node", state=top / "state", progress=cv.bar())
    print("captured", first)

    (tree / "motd").write_text("welcome, all of you\n")
    with store.capture_job(tree, "node", state=top / "state") as job:  # the same in the background
        for event in job:
            print("  ", event["kind"], event.get("stage", ""))
        second = job.result()
    print("captured again", second, "made from", first if second.parent == first.id else None)

    for change in store.diff(first, second):
        print("changed", change.path, change.kind, change.fields)

    release = store.rollback("node", to=first)
    print("rolled back, which is generation", release["generation"])

    image = store.image("node")
    done = image.extract(top / "out", verify=True)
    print("extracted", done["entries"], "entries:", [row.path for row in image.ls("/", recursive=True)])
    assert (top / "out" / "motd").read_text() == "welcome\n"

    try:
        store.image("nodes")
    except cv.NotFound as e:
        print("not found:", e)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
