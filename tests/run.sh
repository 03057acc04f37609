#!/bin/bash
# run.sh [--full] [GROUP...]: runs the tests, after tests/setup.sh for what they need.
# Groups: unit flow abi python s3 storage vm net sim build netboot el; without a group: all, one after the other.
# --full runs the numbers that an issue names. Each test has a log in target/test-logs, and so has each group.
# Exit: 0, or 1 when a test failed. A skip is counted, and says what to install or what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
ALL=(unit flow abi python s3 storage vm net sim build netboot el)
export FULL=0 GROUP='' LOGS=${CARGO_TARGET_DIR:-target}/test-logs PATH=$PATH:/usr/sbin:/sbin
groups=()
for arg in "$@"; do
  case $arg in
    --full) FULL=1;;
    -h|--help) sed -n '2,5s/^# //p' "$0"; exit 0;;
    *) [[ " ${ALL[*]} " == *" $arg "* ]] || { echo "run.sh: there is no group $arg (${ALL[*]})" >&2; exit 2; }
       groups+=("$arg");;
  esac
done
[ ${#groups[@]} -gt 0 ] || groups=("${ALL[@]}")
LOGS=$(realpath -m "$LOGS")
mkdir -p "$LOGS"
rm -f "$LOGS/cvctl"      # of this run only
full=()
[ "$FULL" = 0 ] || full=(--full)
tests/setup.sh "${full[@]}" "${groups[@]}" || echo "run.sh: not all could be set up; tests that need it will say so"

summary=() passed=0 failed=0 skipped=0
# Who ends this run ends the group, and that its test.
RUNNING=''
trap '[ -z "$RUNNING" ] || kill "$RUNNING"; exit 143' TERM
for GROUP in "${groups[@]}"; do
  rm -f "$LOGS/$GROUP".* "$LOGS/$GROUP"-*
  echo "== $GROUP"
  begin=$SECONDS rc=0
  # A shell of its own; at its end it writes its counts. Without them it died, and that is a failure.
  # shellcheck disable=SC2016  # expanded in there
  mkfifo "$LOGS/$GROUP.pipe"
  tee "$LOGS/$GROUP.log" < "$LOGS/$GROUP.pipe" &
  TELLING=$!
  # In the background, so that the trap above is heard; but then SIGINT would be ignored in there.
  env --default-signal=INT,QUIT bash -c 'set -uo pipefail
    . tests/lib.sh
    . "tests/groups/$GROUP.sh"
    echo "$PASSED $FAILED $SKIPPED" > "$LOGS/$GROUP.count"' < /dev/null > "$LOGS/$GROUP.pipe" 2>&1 &
  RUNNING=$!
  wait "$RUNNING" || rc=$?
  RUNNING=''
  wait "$TELLING"
  rm "$LOGS/$GROUP.pipe"
  p=0 f=1 s=0
  if [ -s "$LOGS/$GROUP.count" ]; then
    read -r p f s < "$LOGS/$GROUP.count"
  else
    printf '  FAIL  the group ended in its middle, exit %d\n' "$rc" | tee -a "$LOGS/$GROUP.log"
  fi
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  summary+=("$(printf '%-8s %7d %7d %8d %8d' "$GROUP" "$p" "$f" "$s" $((SECONDS - begin)))")
done
echo "== summary"
printf '%-8s %7s %7s %8s %8s\n' group passed failed skipped seconds
printf '%s\n' "${summary[@]}"
for GROUP in "${groups[@]}"; do sed -n "s/^  FAIL/FAIL $GROUP:/p" "$LOGS/$GROUP.log"; done
printf 'logs: %s, %d s\n' "$LOGS" "$SECONDS"
printf 'total: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
