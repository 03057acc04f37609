#!/bin/sh
# Builds the wheel for release into target/dist.
#
# With maturin and ziglang (tests/setup.sh puts them into target/venv) it is manylinux_2_28, one for Python 3.9 and
# later; without ziglang it is for this machine's glibc, and says so.
#
#   scripts/build-wheel.sh [--debug]      --debug: quickly, for tests, into target/wheel-debug
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$top/target}
venv=$target/venv
PATH=$venv/bin:$PATH
VIRTUAL_ENV=$venv
export PATH VIRTUAL_ENV
cd "$top/python"
if [ "${1:-}" = --debug ]; then
    rm -rf "$target/wheel-debug"
    exec maturin build --quiet --profile dev --compatibility linux --auditwheel skip --out "$target/wheel-debug"
fi
rm -f "$target"/dist/libcv_provision-*.whl
if "$venv/bin/python" -c 'import ziglang' 2>/dev/null; then
    maturin build --release --zig --compatibility manylinux_2_28 --out "$target/dist"
else
    echo "build-wheel: no ziglang in target/venv: the wheel will need the glibc of this machine" >&2
    maturin build --release --out "$target/dist"
fi
ls -l "$target"/dist/*.whl
