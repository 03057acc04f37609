# shellcheck shell=bash
# storage: real MD, partitions and filesystems, in User-Mode Linux.
each 600 tests/storage/selftest.sh
need_cvctl && each 900 tests/storage/test_*
