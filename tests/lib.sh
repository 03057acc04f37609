# lib.sh: what the groups share. Sourced by tests/run.sh and by each group; counts what passed, failed and was skipped.
PASSED=0 FAILED=0 SKIPPED=0
LOGS=${LOGS:-${CARGO_TARGET_DIR:-target}/test-logs}
mkdir -p "$LOGS"
pass() { PASSED=$((PASSED + 1)); printf '  pass  %-42s %s\n' "$1" "${2:-}"; }
fail() { FAILED=$((FAILED + 1)); printf '  FAIL  %-42s %s\n' "$1" "${2:-}"; }
skip() { SKIPPED=$((SKIPPED + 1)); printf '  skip  %-42s %s\n' "$1" "$2"; }

# run NAME SECONDS COMMAND...: pass or fail by exit status; 77 is a skip whose reason is the last line of output.
run() {
  local name=$1 limit=$2 log rc=0 begin=$SECONDS
  shift 2
  log=$LOGS/${GROUP:-x}-$(printf '%s' "$name" | tr -c 'A-Za-z0-9._-' '_').log
  timeout -k 10 "$limit" "$@" > "$log" 2>&1 || rc=$?
  case $rc in
    0) pass "$name" "$((SECONDS - begin)) s";;
    77) skip "$name" "$(tail -n 1 "$log")";;
    124|137) fail "$name" "over its limit of $limit s; see $log"; tail -n 15 "$log" | sed 's/^/        /';;
    *) fail "$name" "exit $rc; see $log"; tail -n 25 "$log" | sed 's/^/        /';;
  esac
}

# Skips that the tests themselves counted: lines "skipped: REASON" in the log of a runner.
count_skips() {
  local log=$LOGS/${GROUP:-x}-$(printf '%s' "$1" | tr -c 'A-Za-z0-9._-' '_').log reason
  while read -r reason; do skip "$1" "$reason"; done < <(sed -n 's/^.*skipped: //p' "$log" 2>/dev/null | sort -u)
}

# each NAME-PREFIX SECONDS FILE...: runs executables; a pattern that matches nothing is a skip.
each() {
  local limit=$1 file any=
  shift
  for file in "$@"; do
    [ -x "$file" ] || continue
    any=1
    run "$(basename "$file")" "$limit" "$file"
  done
  [ -n "$any" ] || skip "${GROUP:-x}" "no tests of this group yet"
}

# cvctl for the stories: built once.
cvctl_path() {
  [ -z "${CVCTL:-}" ] || { echo "$CVCTL"; return; }
  cargo build -q --release -p libcv --features cli --bin cvctl >&2
  realpath "${CARGO_TARGET_DIR:-target}/release/cvctl"
}
