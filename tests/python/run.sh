#!/bin/sh
# The Python package as its users see it: installed from a wheel, type-checked, tested.
#
#   tests/python/run.sh [WHEEL | --release] [PYTEST ARGUMENTS]
#
# Without a wheel a debug one is built; with --release that of scripts/build-wheel.sh.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$top/target}
venv=$target/venv
if ! [ -x "$venv/bin/maturin" ]; then
    echo "skipped: there is no $venv/bin/maturin; tests/setup.sh python makes it"
    exit 77
fi
case ${1:-} in
--release) shift; "$top/scripts/build-wheel.sh"; wheel=$(ls "$target"/dist/libcv_provision-*.whl) ;;
*.whl) wheel=$1; shift ;;
*) "$top/scripts/build-wheel.sh" --debug; wheel=$(ls "$target"/wheel-debug/*.whl) ;;
esac
"$venv/bin/pip" install -q --force-reinstall --no-deps --no-index "$wheel"
cd "$top/tests/python"
"$venv/bin/python" -m mypy --config-file "$top/python/pyproject.toml" --strict -p libcv
"$venv/bin/python" -m mypy --config-file "$top/python/pyproject.toml" --strict "$top/tests/python" "$top/examples/python"
"$venv/bin/python" -m mypy.stubtest --mypy-config-file "$top/python/pyproject.toml" libcv
"$venv/bin/python" -m pytest -q -p no:cacheprovider "$@" .
