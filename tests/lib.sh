# shellcheck shell=bash
# lib.sh: what the groups share. Sourced by tests/run.sh for each group; counts what passed, failed and was skipped.
#
#   run NAME SECONDS COMMAND...    a test: exit 0 passes, 77 skips (the last line says why), all else fails
#   each SECONDS FILE...           `run` for each file, which must be executable; nothing there is a skip
#   pass NAME [TEXT], fail NAME TEXT, skip NAME REASON
# A test may count skips of its own with lines "skipped: REASON".
PASSED=0 FAILED=0 SKIPPED=0 RUNNING=''
GROUP=${GROUP:-x}
LOGS=${LOGS:-${CARGO_TARGET_DIR:-target}/test-logs}
mkdir -p "$LOGS"
# A test is in a process group of its own, so a key press does not reach it.
trap '[ -z "$RUNNING" ] || kill "$RUNNING"; trap - INT; kill -INT $$' INT
trap '[ -z "$RUNNING" ] || kill "$RUNNING"; exit 143' TERM

pass() { PASSED=$((PASSED + 1)); printf '  pass  %-42s %s\n' "$1" "${2:-}"; }
fail() { FAILED=$((FAILED + 1)); printf '  FAIL  %-42s %s\n' "$1" "$2"; }
skip() { SKIPPED=$((SKIPPED + 1)); printf '  skip  %-42s %s\n' "$1" "$2"; }

run() {
  local name=$1 limit=$2 log rc=0 begin=$SECONDS
  shift 2
  log=$LOGS/$GROUP-${name//[^A-Za-z0-9._-]/_}.log
  # In the background, so that the traps above are heard; but then SIGINT would be ignored in there, and tests send it.
  timeout -k 10 "$limit" env --default-signal=INT,QUIT "$@" < /dev/null > "$log" 2>&1 &
  RUNNING=$!
  wait "$RUNNING" || rc=$?
  RUNNING=''
  case $rc in
    0) pass "$name" "$((SECONDS - begin)) s";;
    77) skip "$name" "$(tail -n 1 "$log")"; return;;
    124|137) fail "$name" "over its limit of $limit s; $log"; tail -n 15 "$log" | sed 's/^/        /';;
    *) fail "$name" "exit $rc after $((SECONDS - begin)) s; $log"
       # What failed may stand far from the end.
       { grep -E '^test .* FAILED$|^error|^FAILED|panicked at|Error: ' "$log" | head -n 15; tail -n 15 "$log"; } | sed 's/^/        /';;
  esac
  closing_lines "$log"
  local reason
  while IFS= read -r reason; do skip "$name" "$reason"; done < <(sed -n 's/^skipped: //p' "$log" | sort -u)
}

# What the runners that we know say at their end.
closing_lines() {
  awk '/^test result:/ {passed += $4; failed += $6; ignored += $8; seen = 1}
       /^[0-9]+ passed, [0-9]+ failed/ || /^=* ?[0-9]+ (passed|failed).* in [0-9.]+s/ {last = $0}
       END {if (seen) printf "test result: %s. %d passed; %d failed; %d ignored\n", failed ? "FAILED" : "ok", passed, failed, ignored
            if (last) print last}' "$1"
}

each() {
  local limit=$1 file any=''
  shift
  for file in "$@"; do
    [ -e "$file" ] || continue      # a pattern that matched nothing
    any=1
    if [ -x "$file" ]; then run "${file##*/}" "$limit" "$file"; else fail "${file##*/}" "it is not executable"; fi
  done
  [ -n "$any" ] || skip "$GROUP" "there are no tests of this group yet"
}

# Builds cvctl and exports CVCTL, unless this run has built one; what is in CVCTL already is taken as it is.
need_cvctl() {
  if [ -n "${CVCTL:-}" ]; then
    [ -x "$CVCTL" ] || { fail "cvctl" "CVCTL is $CVCTL, which is no program"; return 1; }
  elif [ -s "$LOGS/cvctl" ]; then
    CVCTL=$(< "$LOGS/cvctl")
  else
    CVCTL=$(realpath -m "${CARGO_TARGET_DIR:-target}/release/cvctl")
    local before=$FAILED
    run "build cvctl" 1500 cargo build --release -p libcv --features cli,s3,build,server --bin cvctl
    [ "$FAILED" = "$before" ] || return 1
  fi
  export CVCTL
}

# As need_cvctl, but with builds in it, which the one for nodes has not: that of the tests of Rust, which `unit` makes.
need_building_cvctl() {
  local before=$FAILED
  run "cvctl with builds" 1500 cargo build --workspace --all-features --lib --bin cvctl --example build
  [ "$FAILED" = "$before" ] || return 1
  CVCTL=$(realpath -m "${CARGO_TARGET_DIR:-target}/debug/cvctl")
  export CVCTL
}
