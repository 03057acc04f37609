#!/bin/sh
# The C library as C sees it: header, symbols, soname, NULLs, the example; under AddressSanitizer as well.
#
#   tests/abi/test_c.sh [DIRECTORY WITH libcv.so.0 | --debug]
#
# Without an argument: the debug build of the whole workspace, which the other tests have made; with FULL=1 the release build of
# scripts/build-lib.sh, when target/venv has the tools for it. --debug: the debug build of the library alone. The last line says "N passed, M failed, K skipped".
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$top/target}
if [ $# -ge 1 ] && [ "$1" != --debug ]; then
    lib=$(cd "$1" && pwd)
elif [ $# = 0 ] && [ "${FULL:-0}" = 1 ] && [ -x "$target/venv/bin/cargo-zigbuild" ]; then
    "$top/scripts/build-lib.sh" || exit 1
    lib=$target/dist
else
    if [ $# = 0 ]; then set -- --workspace --all-features --lib; else set -- -p libcv-ffi; fi
    (cd "$top" && cargo build -q "$@") || exit 1
    lib=$target/abi
    mkdir -p "$lib" && cp "$target/debug/libcv.so" "$lib/libcv.so.0" && cp "$target/debug/libcv.a" "$lib/" || exit 1
    ln -sf libcv.so.0 "$lib/libcv.so"
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/cv-abi.XXXXXX")
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0

check() { # NAME COMMAND…
    name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $name"
    else
        failed=$((failed + 1))
        echo "FAILED  $name"
        sed 's/^/        /' "$work/log"
    fi
}
skip() {
    skipped=$((skipped + 1))
    echo "skipped: $1: $2"
}

strict="-Wall -Wextra -Werror -pedantic -I$top/include"
link="-L$lib -Wl,-rpath,$lib -lcv -lpthread"

printf '#include <libcv.h>\nint main(void) { return cv_version() == 0; }\n' >"$work/h.c"
cp "$work/h.c" "$work/h.cc"
check "the header is C99" cc -std=c99 $strict -o "$work/h" "$work/h.c" $link
check "the header is C++17" c++ -std=c++17 $strict -o "$work/hh" "$work/h.cc" $link
check "a C++ program runs" "$work/hh"

symbols() {
    # A build without link-time optimisation also shows what dependencies have for C.
    if [ -e "$lib/libcv.pc" ]; then own=.; else own='^cv_'; fi
    nm -D --defined-only "$lib/libcv.so.0" | awk '{print $3}' | grep "$own" | sort >"$work/symbols"
    diff "$top/tests/abi/symbols.txt" "$work/symbols"
}
check "exported are the symbols of symbols.txt and no others" symbols
soname() { readelf -d "$lib/libcv.so.0" | grep 'SONAME.*\[libcv.so.0\]'; }
check "the soname is libcv.so.0" soname
glibc() {
    newest=$(objdump -T "$lib/libcv.so.0" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1)
    echo "newest: $newest"
    [ "$(printf '%s\nGLIBC_2.28\n' "$newest" | sort -V | tail -1)" = GLIBC_2.28 ]
}
if [ -e "$lib/libcv.pc" ]; then
    check "no glibc newer than 2.28 is needed" glibc
    pc() { PKG_CONFIG_PATH=$lib pkg-config --exists --print-errors "libcv >= 0.1"; }
    if command -v pkg-config >/dev/null; then check "pkg-config finds libcv" pc; else skip "pkg-config" "apt-get install pkg-config"; fi
else
    skip "no glibc newer than 2.28 is needed" "tests/run.sh --full abi"
fi

run() { # PROGRAM: in an empty directory
    rm -rf "$work/run" && mkdir "$work/run" && "$1" "$work/run"
}
example=$top/examples/c/quickstart.c
for story in quickstart versions plan build packages mirrors send nodes multicast; do
    check "the example $story compiles" cc -std=c99 $strict -o "$work/$story" "$top/examples/c/$story.c" $link
    # A build needs a distribution: tests/build/test_examples.py runs that one.
    [ "$story" = build ] || check "the example $story runs" run "$work/$story"
done
check "the example links statically" \
    cc -std=c99 $strict -o "$work/static" "$example" "$lib/libcv.a" -lgcc_s -lutil -lrt -lpthread -lm -ldl
check "the static example runs" run "$work/static"
check "null/ compiles" cc -std=c11 $strict -o "$work/null" "$top"/tests/abi/null/*.c $link
check "NULL is an error, never a crash" run "$work/null"
check "derived.c compiles" cc -std=c99 $strict -o "$work/derived" "$top/tests/abi/derived.c" $link
check "derived files are signed, imports report, repairs tell" run "$work/derived"
check "packages.c compiles" cc -std=c99 $strict -o "$work/packages" "$top/tests/abi/packages.c" $link
check "packages are listed, compared, and written down" run "$work/packages"
check "distro.c compiles" cc -std=c99 $strict -o "$work/distro" "$top/tests/abi/distro.c" $link
check "a distribution is added, listed, verified, removed" run "$work/distro"
check "multicast.c compiles" cc -std=c99 $strict -o "$work/multicast-test" "$top/tests/abi/multicast.c" $link
check "an image is sent to many and received, or not" run "$work/multicast-test"
check "doctor.c compiles" cc -std=c99 $strict -o "$work/doctor" "$top/tests/abi/doctor.c" $link
check "the doctor of multicast finds both ends, nobody, and what cannot be" run "$work/doctor"
check "layout.c compiles" cc -std=c99 $strict -o "$work/layout" "$top/tests/abi/layout.c" $link
if command -v mkfs.ext4 >/dev/null || [ -x /sbin/mkfs.ext4 ]; then
    check "layouts are captured, planned elsewhere, and want their secrets" run "$work/layout"
else
    skip "layouts are captured, planned elsewhere, and want their secrets" "it needs mkfs.ext4"
fi
check "deploy.c compiles" cc -std=c99 $strict -o "$work/deploy" "$top/tests/abi/deploy.c" $link
if [ "$(id -u)" = 0 ] && [ -e /dev/loop-control ] && command -v mkfs.ext4 >/dev/null; then
    check "a plan from C is for one image, and is deployed" run "$work/deploy"
else
    skip "a plan from C is for one image, and is deployed" "it needs root, loop devices and mkfs.ext4"
fi
asan="-fsanitize=address,undefined -g"
if cc $asan -o "$work/h" "$work/h.c" -I"$top/include" $link 2>/dev/null; then
    check "the example compiles for AddressSanitizer" cc -std=c99 $asan $strict -o "$work/qa" "$example" $link
    check "the example runs under AddressSanitizer" run "$work/qa"
    check "the example of versions compiles for AddressSanitizer" \
        cc -std=c99 $asan $strict -o "$work/va" "$top/examples/c/versions.c" $link
    ASAN_OPTIONS=detect_leaks=0 check "the example of versions runs under AddressSanitizer" run "$work/va"
    check "the example of mirrors compiles for AddressSanitizer" \
        cc -std=c99 $asan $strict -o "$work/mia" "$top/examples/c/mirrors.c" $link
    ASAN_OPTIONS=detect_leaks=0 check "the example of mirrors runs under AddressSanitizer" run "$work/mia"
    if [ "$(id -u)" = 0 ] && [ -e /dev/loop-control ]; then
        check "deploy.c compiles for AddressSanitizer" cc -std=c99 $asan $strict -o "$work/da" "$top/tests/abi/deploy.c" $link
        check "deploy.c runs under AddressSanitizer" run "$work/da"
    fi
    check "derived.c compiles for AddressSanitizer" cc -std=c99 $asan $strict -o "$work/dea" "$top/tests/abi/derived.c" $link
    check "derived.c runs under AddressSanitizer" run "$work/dea"
    check "packages.c compiles for AddressSanitizer" cc -std=c99 $asan $strict -o "$work/pa" "$top/tests/abi/packages.c" $link
    check "packages.c runs under AddressSanitizer" run "$work/pa"
    check "distro.c compiles for AddressSanitizer" cc -std=c99 $asan $strict -o "$work/dia" "$top/tests/abi/distro.c" $link
    check "distro.c runs under AddressSanitizer" run "$work/dia"
    check "multicast.c compiles for AddressSanitizer" cc -std=c99 $asan $strict -o "$work/mua" "$top/tests/abi/multicast.c" $link
    check "multicast.c runs under AddressSanitizer" run "$work/mua"
    check "doctor.c compiles for AddressSanitizer" cc -std=c99 $asan $strict -o "$work/doa" "$top/tests/abi/doctor.c" $link
    check "doctor.c runs under AddressSanitizer" run "$work/doa"
    check "null/ compiles for AddressSanitizer" cc -std=c11 $asan $strict -o "$work/na" "$top"/tests/abi/null/*.c $link
    check "null/ runs under AddressSanitizer" run "$work/na"
else
    skip "AddressSanitizer" "apt-get install libasan8 libubsan1"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
