#!/bin/bash
# fuzz.sh [SECONDS [TARGET...]]: runs the fuzz targets, each for so many seconds (10), as many at once as there are
# processors. What a target found stands in core/fuzz/artifacts.
# Exit: 0; 1 when a target found something; 77 without cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")/../core"
seconds=${1:-10}
command -v cargo-fuzz > /dev/null || { echo "cargo install cargo-fuzz --locked"; exit 77; }
# The sanitizers need a nightly library; without them the targets run on the toolchain that is there.
export RUSTC_BOOTSTRAP=1
read -ra targets <<< "$(cargo fuzz list | tr '\n' ' ')"
[ $# -lt 2 ] || targets=("${@:2}")
# All of them before the first one runs: then nothing waits for the other's lock.
cargo fuzz build -s none
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

fuzz() {
  local target=$1 seconds=$2 logs=$3
  mkdir -p "fuzz/corpus/$target"
  # What is right is where the changes begin: without it nothing gets past the first check.
  if cargo fuzz run -s none "$target" "fuzz/corpus/$target" docs/vectors ../examples/layouts fuzz/seeds \
      -- -max_total_time="$seconds" -rss_limit_mb=2048 > "$logs/$target" 2>&1; then
    printf 'ok: %s: %s\n' "$target" "$(tail -n 1 "$logs/$target")"
  else
    tail -n 40 "$logs/$target"
    printf 'FAIL: %s\n' "$target"
    return 1
  fi
}
export -f fuzz
# shellcheck disable=SC2016  # expanded in there
printf '%s\0' "${targets[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'fuzz "$3" "$1" "$2"' fuzz "$seconds" "$logs"
