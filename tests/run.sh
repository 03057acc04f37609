#!/bin/bash
# run.sh [--full] [GROUP...]: runs the tests. Groups: unit flow abi python storage vm net sim build netboot el
# Without a group: all. --full runs the numbers that an issue names. Logs are in target/test-logs.
set -euo pipefail
cd "$(dirname "$0")/.."
export FULL=0
ALL=(unit flow abi python storage vm net sim build netboot el)
groups=()
for arg in "$@"; do
  case $arg in
    --full) FULL=1;;
    -h|--help) sed -n '2,3s/^# //p' "$0"; exit 0;;
    *) [[ " ${ALL[*]} " == *" $arg "* ]] || { echo "run.sh: there is no group $arg (${ALL[*]})" >&2; exit 2; }
       groups+=("$arg");;
  esac
done
[ ${#groups[@]} -gt 0 ] || groups=("${ALL[@]}")
tests/setup.sh "${groups[@]}"
export LOGS=${CARGO_TARGET_DIR:-target}/test-logs PATH=$PATH:/usr/sbin:/sbin
rm -rf "$LOGS"; mkdir -p "$LOGS"

summary=() failed=0
for GROUP in "${groups[@]}"; do
  export GROUP
  echo "== $GROUP"
  begin=$SECONDS
  # A group runs in a shell of its own; its last line is its count.
  set +e
  bash -c 'set -uo pipefail; . tests/lib.sh; . "tests/groups/$GROUP.sh"; echo "$PASSED $FAILED $SKIPPED" > "$LOGS/$GROUP.count"' 2>&1
  rc=$?
  set -e
  read -r p f s < "$LOGS/$GROUP.count" 2>/dev/null || { p=0 f=1 s=0; }
  [ $rc = 0 ] || f=$((f + 1))
  failed=$((failed + f))
  summary+=("$(printf '%-9s %4d passed %3d failed %3d skipped %5d s' "$GROUP" "$p" "$f" "$s" $((SECONDS - begin)))")
done
echo "== summary"
printf '%s\n' "${summary[@]}"
printf 'total %d s, %d failed\n' $SECONDS "$failed"
[ "$failed" = 0 ]
