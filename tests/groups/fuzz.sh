# shellcheck shell=bash
# fuzz: with --full each fuzz target for two minutes. Otherwise they are only checked: to build them, instrumented and in a workspace of their own,
# takes a fifth of the time of all tests, and the properties of the formats run in `unit`.
if [ "$FULL" = 1 ]; then
  run "fuzz" 7200 tests/fuzz.sh 120
else
  run "fuzz targets are whole" 900 env RUSTC_BOOTSTRAP=1 cargo check -q --bins --manifest-path core/fuzz/Cargo.toml
  skip "fuzz" "runs with --full, or by itself: tests/fuzz.sh [SECONDS [TARGET...]]"
fi
