# vm: disks boot in QEMU.
CVCTL=$(cvctl_path) && export CVCTL || fail "cvctl" "does not build"
each 900 tests/vm/selftest.py tests/vm/test_*
