# shellcheck shell=bash
# unit: formatting, lints, the feature matrix, all Rust tests, licences. With --full the properties of the
# solver and the matcher on 100,000 inputs, a thousand nodes planned, every cut, 300 layouts.
run "cargo fmt" 120 cargo fmt --all --check
run "cargo clippy" 1200 cargo clippy -q --workspace --all-targets --all-features -- -D warnings
# With cli alone cvctl-node is built, without any feature the C library. One test beside the library: with it dependencies
# have the features that they have in the whole workspace, and are not built again.
run "features s3" 900 cargo check -q -p libcv --lib --test vectors --no-default-features --features s3
# Later groups take this one rather than build another: it is what runs on nodes.
before=$FAILED
run "cvctl-node" 1500 scripts/build-node.sh
[ "$FAILED" != "$before" ] || realpath "${CARGO_TARGET_DIR:-target}/dist/cvctl-node" > "$LOGS/cvctl"
# --show-output: what a test that passed says, too, for it may have skipped something.
run "cargo test" 1800 env FULL=0 cargo test --workspace --all-features --no-fail-fast -- --show-output
if [ "$FULL" = 1 ]; then
  # The numbers of properties and of planning are those of a build with optimisation; every cut, 500 flipped bits in each
  # kind of object and 300 layouts are quicker there, too.
  large=(cargo test --release -p libcv --features "cli,s3,build,server")
  run "solver, 100,000 inputs" 3600 env PROPTEST_CASES=100000 "${large[@]}" --lib solve::tests -- --show-output
  run "matcher and planning, 100,000 inputs" 3600 env PROPTEST_CASES=100000 "${large[@]}" --test machines -- --show-output --test-threads=1
  run "every cut of an apply" 3600 "${large[@]}" --lib crashes -- --show-output
  run "300 layouts" 3600 "${large[@]}" --test generated -- --show-output
  run "stores, large numbers" 5400 "${large[@]}" --test copies --test crash --test distro --test update -- --show-output
fi

if command -v cargo-deny >/dev/null; then
  run "cargo deny" 300 cargo deny check licenses bans sources
else
  skip "cargo deny" "cargo install cargo-deny --locked"
fi
