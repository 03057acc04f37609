# shellcheck shell=bash
# sim: multicast sessions in virtual time, out of 500 seeds; with --full out of 10,000, and with 1,000 receivers.
if [ "$FULL" = 1 ]; then
  run "10,000 sessions" 5400 env SEEDS=10000 RECEIVERS=1000 STRIPES=700 cargo test --release --workspace --all-features --test sim -- --nocapture
else
  run "500 sessions" 1200 env SEEDS=500 cargo test --workspace --all-features --test sim -- --nocapture
fi
