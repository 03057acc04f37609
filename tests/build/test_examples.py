#!/usr/bin/env python3
"""The examples of a build, in Rust and in C, with the miniature distribution. That in Python is checked with the package."""
import os
import subprocess
import sys

from bed import CV, HERE, Bed

TARGET = os.path.dirname(os.path.realpath(CV))


def main() -> None:
    with Bed() as bed:
        role = bed.role("r", packages=["beacon"], generalise={"remove": ["/var/lib/beacon.seed"]})
        top, rust, c = f"{HERE}/../..", f"{TARGET}/examples/build", f"{bed.dir}/built"
        if not os.path.exists(rust) or not os.path.exists(f"{TARGET}/libcv.so"):
            print("the examples are made by cargo test")
            sys.exit(77)
        os.symlink(f"{TARGET}/libcv.so", f"{bed.dir}/libcv.so.0")
        subprocess.run(["cc", "-Wall", "-Werror", f"-I{top}/include", "-o", c, f"{top}/examples/c/build.c", f"-L{TARGET}", "-lcv",
                        f"-Wl,-rpath,{bed.dir}"], check=True)
        for n, program in enumerate((rust, c)):
            store = f"{bed.dir}/store{n}"
            done = subprocess.run([program, store, f"{bed.mini}/mini-9.4.iso", role, "pinger"], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert "pinger" in done.stdout and "differs each time" not in done.stdout, done.stdout
            show = subprocess.run([CV, "-q", "--store", store, "image", "log", "node"], capture_output=True, text=True, check=True).stdout
            assert "rollback" in show and "prod" in show, show
            print(f"{os.path.basename(program)}: good")


if __name__ == "__main__":
    main()
