# shellcheck shell=bash
# vm: disks boot in QEMU.
each 900 tests/vm/selftest.py
need_cvctl && each 900 tests/vm/test_*
