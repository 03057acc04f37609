# shellcheck shell=bash
# abi: the header, the library, C programs.
each 1200 tests/abi/test_*.sh
