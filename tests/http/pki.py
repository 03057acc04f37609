"""Certificates for the tests, made by openssl."""
import subprocess


def authority(place: str, name: str) -> None:
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                    f"/CN={name}", "-keyout", f"{place}/{name}.key", "-out", f"{place}/{name}.pem"], check=True, capture_output=True)


def certificate(place: str, ca: str, name: str, extensions: str) -> None:
    subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout",
                    f"{place}/{name}.key", "-out", f"{place}/{name}.csr"], check=True, capture_output=True)
    with open(f"{place}/{name}.ext", "w", encoding="ascii") as f:
        f.write(extensions)
    subprocess.run(["openssl", "x509", "-req", "-in", f"{place}/{name}.csr", "-CA", f"{place}/{ca}.pem", "-CAkey", f"{place}/{ca}.key",
                    "-CAcreateserial", "-days", "2", "-extfile", f"{place}/{name}.ext", "-out", f"{place}/{name}.pem"], check=True,
                   capture_output=True)
