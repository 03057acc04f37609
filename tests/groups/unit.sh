# shellcheck shell=bash
# unit: formatting, lints, the feature matrix, all Rust tests, licences, and each fuzz target for 10 s. With --full the
# properties of the solver and the matcher on 100,000 inputs, and a thousand nodes planned.
run "cargo fmt" 120 cargo fmt --all --check
run "cargo clippy" 1200 cargo clippy -q --workspace --all-targets --all-features -- -D warnings
# With cli alone cvctl-node is built, without any feature the C library. One test beside the library: with it dependencies
# have the features that they have in the whole workspace, and are not built again.
run "features s3" 900 cargo check -q -p libcv --lib --test vectors --no-default-features --features s3
# Later groups take this one rather than build another: it is what runs on nodes.
before=$FAILED
run "cvctl-node" 1500 scripts/build-node.sh
[ "$FAILED" != "$before" ] || realpath "${CARGO_TARGET_DIR:-target}/dist/cvctl-node" > "$LOGS/cvctl"
if [ "$FULL" = 1 ]; then
  # The numbers of properties and of planning are those of a build with optimisation.
  run "solver, 100,000 inputs" 3600 env PROPTEST_CASES=100000 cargo test --release -p libcv --features cli,s3 --lib solve::tests -- --show-output
  run "matcher and planning, 100,000 inputs" 3600 env PROPTEST_CASES=100000 cargo test --release -p libcv --features cli,s3 --test machines -- --show-output --test-threads=1
fi
# --show-output: what a test that passed says, too, for it may have skipped something.
# With --full 500 bits are flipped in each kind of object, in a build for debugging.
run "cargo test" "$([ "${FULL:-0}" = 1 ] && echo 5400 || echo 1800)" cargo test --workspace --all-features --no-fail-fast -- --show-output

if command -v cargo-deny >/dev/null; then
  run "cargo deny" 300 cargo deny check licenses bans sources
else
  skip "cargo deny" "cargo install cargo-deny --locked"
fi

run "fuzz" 3600 tests/fuzz.sh "$([ "$FULL" = 1 ] && echo 120 || echo 10)"
