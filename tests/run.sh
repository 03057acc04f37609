#!/bin/bash
# run.sh [--full] [--jobs N] [GROUP...]: runs the tests, after tests/setup.sh for what they need.
# Groups: unit flow abi python s3 storage vm net sim build netboot el fuzz; without a group: all, after `unit` two at a time.
# --full runs the numbers that an issue names, and --jobs so many groups at a time. Each test has a log in target/test-logs, and so
# has each group, which is printed at its end; alone it can be watched.
# Exit: 0, or 1 when a test failed. A skip is counted, and says what to install or what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
# The first two build on all processors, and make what the others take. Most of those use one; the longest come first, and s3, which takes
# the wheel of python, late.
ALL=(unit fuzz storage abi python vm build flow s3 net sim netboot el)
export FULL=0 LOGS=${CARGO_TARGET_DIR:-target}/test-logs PATH=$PATH:/usr/sbin:/sbin
groups=() at_once=''
while [ $# -gt 0 ]; do
  case $1 in
    --full) FULL=1;;
    --jobs) at_once=${2:-}; shift
       [[ $at_once =~ ^[1-9]$ ]] || { echo "run.sh: --jobs takes 1 to 9" >&2; exit 2; };;
    -h|--help) sed -n '2,6s/^# //p' "$0"; exit 0;;
    *) [[ " ${ALL[*]} " == *" $1 "* ]] || { echo "run.sh: there is no group $1 (${ALL[*]})" >&2; exit 2; }
       [[ " ${groups[*]} " == *" $1 "* ]] || groups+=("$1");;
  esac
  shift
done
if [ ${#groups[@]} -eq 0 ]; then
  groups=("${ALL[@]}")
  # Large numbers are measured, each alone.
  [ "$FULL" = 1 ] || at_once=${at_once:-2}
fi
at_once=${at_once:-1}
LOGS=$(realpath -m "$LOGS")
mkdir -p "$LOGS"
rm -f "$LOGS/cvctl"      # of this run only
full=()
[ "$FULL" = 0 ] || full=(--full)
tests/setup.sh "${full[@]}" "${groups[@]}" || echo "run.sh: not all could be set up; tests that need it will say so"

summary=() passed=0 failed=0 skipped=0
# Processes of groups that run, and when they began.
declare -A running=() began=()
# Who ends this run ends the groups, and those their tests.
trap '[ ${#running[@]} = 0 ] || kill "${!running[@]}" || true; exit 143' TERM

# Begins a group: a shell of its own, which at its end writes its counts.
begin() {
  local group=$1
  rm -f "$LOGS/$group".* "$LOGS/$group"-*
  : > "$LOGS/$group.log"
  # In the background, so that the trap above is heard; but then SIGINT would be ignored in there.
  # shellcheck disable=SC2016  # expanded in there
  GROUP=$group env --default-signal=INT,QUIT bash -c 'set -uo pipefail
    . tests/lib.sh
    . "tests/groups/$GROUP.sh"
    echo "$PASSED $FAILED $SKIPPED" > "$LOGS/$GROUP.count"' < /dev/null >> "$LOGS/$group.log" 2>&1 &
  running[$!]=$group began[$group]=$SECONDS
  echo "== $group"
}

# Waits for the end of one of them.
finish() {
  local pid rc=0 group p=0 f=1 s=0 watching=''
  if [ "$at_once" = 1 ]; then
    tail -n +1 -f -s 0.5 --pid="${!running[*]}" "$LOGS/${running[${!running[*]}]}.log" &
    watching=$!
  fi
  wait -n -p pid "${!running[@]}" || rc=$?
  group=${running[$pid]}
  unset "running[$pid]"
  if [ -n "$watching" ]; then
    wait "$watching"
  else
    echo "== $group has ended"
    cat "$LOGS/$group.log"
  fi
  # Without its counts it died, and that is a failure.
  if [ -s "$LOGS/$group.count" ]; then
    read -r p f s < "$LOGS/$group.count"
  else
    printf '  FAIL  the group ended in its middle, exit %d\n' "$rc" | tee -a "$LOGS/$group.log"
  fi
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  summary+=("$(printf '%-8s %7d %7d %8d %8d' "$group" "$p" "$f" "$s" $((SECONDS - began[$group])))")
}

for group in "${groups[@]}"; do
  [ ${#running[@]} -lt "$at_once" ] || finish
  begin "$group"
  # What it makes is for the others; it and the fuzz targets take all processors.
  while [[ " ${running[*]} " =~ \ (unit|fuzz)\  ]]; do finish; done
done
while [ ${#running[@]} -gt 0 ]; do finish; done
echo "== summary"
printf '%-8s %7s %7s %8s %8s\n' group passed failed skipped seconds
printf '%s\n' "${summary[@]}"
for group in "${groups[@]}"; do sed -n "s/^  FAIL/FAIL $group:/p" "$LOGS/$group.log"; done
printf 'logs: %s, %d s\n' "$LOGS" "$SECONDS"
printf 'total: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
