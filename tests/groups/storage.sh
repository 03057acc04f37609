# shellcheck shell=bash
# storage: real MD, partitions and filesystems, in User-Mode Linux.
each 600 tests/storage/selftest.sh
# With --full the crashes take a quarter of an hour.
need_cvctl && each 1800 tests/storage/test_*
