# shellcheck shell=bash
# flow: stories with the real program on real trees; each makes its tree with tests/beds/make-root.sh.
need_cvctl && each 1500 tests/flow/test_*
