#!/usr/bin/env python3
"""TLS and mutual TLS: who is believed, who is let in, and what is said to those who are not."""
import json
import os

from bed import Bed, cv
from pki import authority, certificate


def main() -> None:
    with Bed(megabytes=2) as bed:
        p = f"{bed.dir}/pki"
        os.mkdir(p)
        authority(p, "ca")
        authority(p, "other")
        certificate(p, "ca", "server", "subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        certificate(p, "ca", "elsewhere", "subjectAltName=DNS:elsewhere.example\n")
        certificate(p, "ca", "node7", "extendedKeyUsage=clientAuth\n")
        certificate(p, "other", "stranger", "extendedKeyUsage=clientAuth\n")
        events = f"{bed.dir}/access"
        tls = ["--tls-cert", f"{p}/server.pem", "--tls-key", f"{p}/server.key"]
        _, url = bed.serve(bed.store, *tls)
        assert url.startswith("https://")

        def show(where: str, *args: str) -> int:
            done = cv("--store", where, *args, "image", "show", "node", check=False)
            assert done.returncode == 0 or json.loads(done.stderr.splitlines()[-1])["error"]["code"] == done.returncode, done.stderr
            return done.returncode

        assert show(url, "--ca", f"{p}/ca.pem") == 0
        assert show(url, "--ca", f"{p}/other.pem") == 18, "a certificate of somebody else was believed"
        assert show(url) == 18, "a certificate of nobody was believed"
        assert show(url.replace("https", "http"), "--ca", f"{p}/ca.pem") == 18
        _, wrong = bed.serve(bed.store, "--tls-cert", f"{p}/elsewhere.pem", "--tls-key", f"{p}/elsewhere.key")
        assert show(wrong, "--ca", f"{p}/ca.pem") == 18, "the certificate of another host was believed"
        # Beside a good one it does no harm.
        assert show(wrong, "--mirror", url, "--ca", f"{p}/ca.pem") == 0

        _, mutual = bed.serve(bed.store, *tls, "--client-ca", f"{p}/ca.pem", "--events", events)
        own = ["--client-cert", f"{p}/node7.pem", "--client-key", f"{p}/node7.key"]
        assert show(mutual, "--ca", f"{p}/ca.pem", *own) == 0
        assert show(mutual, "--ca", f"{p}/ca.pem") == 18, "somebody without a certificate was let in"
        strange = ["--client-cert", f"{p}/stranger.pem", "--client-key", f"{p}/stranger.key"]
        assert show(mutual, "--ca", f"{p}/ca.pem", *strange) == 18, "somebody with a certificate of others was let in"
        with open(events, encoding="utf-8") as f:
            said = [json.loads(line) for line in f]
        assert {e["kind"] for e in said} == {"access"} and all(len(e["identity"]) == 64 for e in said), said
        assert any(e["path"] == "/store.json" and e["status"] == 200 and e["complete"] and e["bytes"] > 50 for e in said), said
        # A key that is not that of the certificate, and what is none.
        for cert, key in (("server.pem", "ca.key"), ("ca.key", "server.key"), ("server.pem", "server.pem"), ("none", "server.key")):
            done = cv("--store", bed.store, "serve", "--listen", "127.0.0.1:0", "--tls-cert", f"{p}/{cert}", "--tls-key", f"{p}/{key}",
                      check=False, timeout=20)
            assert done.returncode in (2, 10), (cert, key, done)


main()
