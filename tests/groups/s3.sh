# shellcheck shell=bash
# s3: stores in S3, beside real servers: the whole suite of stores, and the same with a server that fails.
suite() {
  local name=$1
  shift
  run "$name" 900 tests/s3/serve.py "$@"
}
suite_binary() {
  cargo test -q --workspace --all-features --test s3 --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\/s3-[0-9a-f]*\)".*/\1/p' | tail -n 1
}
run "build" 1500 cargo test -q --workspace --all-features --test s3 --no-run
if binary=$(suite_binary) && [ -n "$binary" ]; then
  suite "s3s-fs" s3s "$binary" --show-output
  suite "garage" garage "$binary" --show-output
  suite "faults before moto" --faults moto "$binary" --show-output nothing_is_lost
  if [ "$FULL" = 1 ]; then
    suite "moto" moto "$binary" --show-output
    suite "faults before s3s-fs" --faults s3s "$binary" --show-output nothing_is_lost
  fi
else
  fail "suite" "the test program s3 was not built"
fi
# The same from Python, where the group python has installed the wheel.
python=${CARGO_TARGET_DIR:-target}/venv/bin/python
if "$python" -c 'import libcv' 2>/dev/null; then
  suite "python" s3s "$python" -m pytest -q -p no:cacheprovider tests/python/test_s3.py
else
  skip "python" "the wheel is not installed: tests/run.sh python s3"
fi
