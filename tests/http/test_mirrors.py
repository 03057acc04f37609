#!/usr/bin/env python3
"""Sixteen clients (256 with FULL=1) extract one image from ours, our mirror and nginx, while ours is killed, one more mirror sends
corrupt bytes and another one a byte in a second: all finish with the right tree, and each failed attempt stands in the events. With
FULL=1 they may take 1.5 times as long as from three healthy ones."""
import json
import os
import subprocess
import sys
import time

from bed import CVCTL, FULL, NGINX, Bed, cv, eventually

CLIENTS = 256 if FULL else 16


def main() -> None:
    if not NGINX:
        print("nginx is not installed (apt-get install nginx-light)")
        sys.exit(77)
    with Bed(megabytes=6) as bed:
        ours, url = bed.serve()
        mirror = f"{bed.dir}/mirror"
        _, mirrored = bed.serve(mirror, "--mirror-of", url)
        static = bed.nginx(mirror)
        healthy = [url, mirrored, static]
        examined = json.loads(cv("doctor", "http", *healthy).stdout)["servers"]
        assert len({server["store"] for server in examined}) == 1, examined
        done = cv("doctor", "http", url, "http://127.0.0.1:1", check=False)
        assert done.returncode == 18 and "BAD" in subprocess.run([CVCTL, "doctor", "http", "http://127.0.0.1:1"], capture_output=True,
                                                                 text=True).stdout
        copy = f"{bed.dir}/copy"
        assert json.loads(cv("--store", static, "store", "mirror", "--to", copy, check=False).stderr)["error"]["code"] == 21
        assert json.loads(cv("--store", mirrored, "store", "mirror", "--to", copy).stdout)["packs"] == 1
        assert json.loads(cv("--store", copy, "store", "check", "--read-data").stdout)["faults"] == []
        bed.clients(2, healthy)
        took, said = bed.clients(CLIENTS, healthy)
        print(f"healthy: {took:.1f} s, {len(said)} failed attempts")
        corrupt, stall = bed.nginx(bed.damaged()), bed.nginx(bed.store, "limit_rate 1;")
        def kill() -> None:
            time.sleep(min(1.0, took / 4))
            ours.kill()
        hurt, said = bed.clients(CLIENTS, [*healthy, corrupt, stall], kill)
        print(f"one killed, one corrupt, one stalled: {hurt:.1f} s, {len(said)} failed attempts")
        for bad in (corrupt, stall):
            assert any(bad in line for line in said), f"nothing is told of {bad}"
        # Of those that are whole nothing worse is told than that they were late, where so many ask at a time.
        told = [line for line in said if (mirrored in line or static in line) and "took too long" not in line]
        assert not told, told[:20]
        if FULL:
            assert hurt <= 1.5 * took + 1, f"{hurt:.1f} s instead of {took:.1f} s"
        # What is left is enough.
        bed.clients(2, [url, static])
        assert any("cannot be reached" in line for line in said if url in line) or not FULL, said[:20]
    assert not os.path.exists(bed.dir)
    eventually("all is gone", lambda: not os.path.exists(bed.dir), 1)


main()
