"""What the tests of builds share: the program, the miniature distribution, a store that has both of its releases."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
CV = os.environ.get("CVCTL") or sys.exit("CVCTL is not set")
# Made once for all tests of a run; a test alone makes its own.
MINI = os.environ.get("CV_MINI", "")
EPOCH = {"9.4": 1714521600, "9.5": 1730419200}


def cv(store: str, *args: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run([CV, "-q", "-o", "json", "--store", store, *args], capture_output=True, text=True, check=False, **more)


def good(store: str, *args: str) -> dict:
    done = cv(store, *args)
    assert done.returncode == 0, f"{args}: {done.returncode} {done.stderr}"
    return json.loads(done.stdout) if done.stdout.strip() else {}


def bad(code: int, text: str, store: str, *args: str) -> dict:
    """The command fails with this code, and what it says has the text in it."""
    done = cv(store, *args)
    assert done.returncode == code, f"{args}: {done.returncode}, not {code}: {done.stderr}"
    error = json.loads(done.stderr.strip().splitlines()[-1])["error"] if done.stderr.lstrip().startswith("{") else {"message": done.stderr}
    assert text in json.dumps(error), f"{args}: {text!r} is not in {error}"
    return error


def missing() -> list[str]:
    programs = ["dnf", "rpmbuild", "rpmsign", "createrepo_c", "xorriso", "implantisomd5", "busybox", "gpg", "openssl"]
    return [p for p in programs if not shutil.which(p)]


class Bed:
    """A directory with a store and the distribution; everything is gone at its end."""

    def __init__(self, distribution: bool = True) -> None:
        self.distribution = distribution
        if distribution and (lacking := missing()):
            print(f"install {' '.join(lacking)}")
            sys.exit(77)
        if os.geteuid() != 0:
            print("a build needs root")
            sys.exit(77)
        self.dir = tempfile.mkdtemp(prefix="cv-build-")
        self.store = f"{self.dir}/store"
        self.mini = MINI or f"{self.dir}/mini"

    def __enter__(self) -> "Bed":
        if self.distribution and not os.path.exists(f"{self.mini}/mini-9.5.iso"):
            make = os.path.join(HERE, "..", "beds", "distro", "make.sh")
            subprocess.run(["bash", make, self.mini], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([CV, "-q", "store", "init", self.store], check=True, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_) -> None:
        shutil.rmtree(self.dir, ignore_errors=True)

    def cv(self, *args: str, **more) -> subprocess.CompletedProcess:
        return cv(self.store, *args, **more)

    def good(self, *args: str) -> dict:
        return good(self.store, *args)

    def bad(self, code: int, text: str, *args: str) -> dict:
        return bad(code, text, self.store, *args)

    def role(self, name: str, **said) -> str:
        """Writes a role of this name, and says where it is."""
        path = f"{self.dir}/{name}.json"
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"schema": "cv.role/v1", "name": name, **said}, f)
        return path

    def cat(self, ref: str, path: str) -> str:
        done = subprocess.run([CV, "-q", "--store", self.store, "image", "cat", ref, path], capture_output=True, check=True)
        return done.stdout.decode()

    def paths(self, ref: str) -> set[str]:
        listed = self.good("image", "ls", "-r", ref)
        return {e["path"].lstrip("/") for e in listed["entries"]}

    def nothing_half_made(self) -> None:
        """No root of a build is left, nothing of ours is mounted, and the store is in order."""
        left = [n for n in os.listdir(f"{self.store}/tmp") if n.startswith("build")] if os.path.isdir(f"{self.store}/tmp") else []
        assert left == [], left
        assert mounts_below(self.dir) == []
        assert self.good("store", "check")["faults"] == []


def mounts_below(path: str) -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return [line.split()[4] for line in f if path in line]
