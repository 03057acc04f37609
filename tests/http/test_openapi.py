#!/usr/bin/env python3
"""The OpenAPI document of a server that runs, and the server by it: schemathesis makes requests from it, right ones and wrong ones, and
compares what is answered with what is written."""
from __future__ import annotations

import json
import os
import subprocess
import sys

from bed import FULL, Bed, cv, get

ST = os.path.abspath(os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "venv", "bin", "st"))


def main() -> None:
    if not os.path.exists(ST):
        print(f"there is no {ST}; tests/setup.sh net makes it")
        sys.exit(77)
    with Bed(megabytes=1, files=20) as bed:
        _, url = bed.serve()
        status, body, headers = get(f"{url}/v1/openapi.json")
        document = json.loads(body)
        assert status == 200 and document["openapi"].startswith("3.1"), document
        assert get(f"{url}/v1/openapi.json", **{"If-None-Match": headers["ETag"]})[0] == 304
        # Everything that is answered beneath v1 is in it.
        for path in ("session", "has", "packs", "publish", "tags/{tag}", "orders", "orders/{id}", "list/{prefix}",
                     "distros", "distros/{name}/{path}"):
            assert f"/v1/{path}" in document["paths"], path
        node = json.loads(cv("--store", bed.store, "node", "add", "n1").stdout)["secret"]
        token = json.loads(cv("--store", bed.store, "token", "create", "--name", "far").stdout)["secret"]
        sent, ordered = "session|has|packs|publish|tags", "orders"
        check(bed.dir, url, token, f"^/v1/({sent})")
        # A right request for an order takes as long as it says: only what is at the edges.
        check(bed.dir, url, node, f"^/v1/{ordered}", "coverage")
        check(bed.dir, url, "", f"^/(?!v1/({sent}|{ordered}))")
        cv("--store", bed.store, "store", "check", "--read-data")
        assert get(f"{url}/healthz")[0] == 200


def check(place: str, url: str, secret: str, paths: str, phases: str = "coverage,fuzzing") -> None:
    header = ["--header", f"Authorization: Bearer {secret}"] if secret else []
    done = subprocess.run([ST, "run", f"{url}/v1/openapi.json", "--include-path-regex", paths, *header, "--max-examples",
                           "200" if FULL else "20", "--seed", "7", "--phases", phases, "--checks", "all",
                           "--exclude-checks", "positive_data_acceptance", "--no-color", "--request-timeout", "65", "--workers", "1"],
                          capture_output=True, text=True, timeout=600, cwd=place)
    print(paths, done.stdout[-1200:])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


main()
