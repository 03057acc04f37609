# flow: stories with the real program on real trees.
CVCTL=$(cvctl_path) && export CVCTL || fail "cvctl" "does not build"
each 1500 tests/flow/test_*
