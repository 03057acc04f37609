# shellcheck shell=bash
# build: images from a distribution and roles, by the real dnf in the confined root. The miniature distribution is made once.
# cvctl with builds was made for the tests of `unit`, when they ran before.
run "cvctl with builds" 1500 cargo build --workspace --all-features --bin cvctl
run "miniature distribution" 300 bash tests/beds/distro/make.sh "$LOGS/mini"
CVCTL=$(realpath -m "${CARGO_TARGET_DIR:-target}/debug/cvctl") CV_MINI=$LOGS/mini
export CVCTL CV_MINI
each 900 tests/build/test_*.py
rm -rf "$LOGS/mini"
