#!/bin/sh
# Builds the C library for release into target/dist: libcv.so.0, libcv.so, libcv.a, libcv.h, libcv.pc.
#
# With cargo-zigbuild and ziglang (tests/setup.sh puts them into target/venv) the library needs no glibc newer than
# 2.28, so that it loads on EL8; without them it needs that of this machine, and says so.
#
#   scripts/build-lib.sh [PREFIX]      PREFIX for libcv.pc; without, libcv.pc points to target/dist itself
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$top/target}
dist=$target/dist
host=$(rustc -vV | sed -n 's/^host: //p')
cd "$top"
if [ -x "$target/venv/bin/cargo-zigbuild" ]; then
    PATH=$target/venv/bin:$PATH
    cargo zigbuild --release -p libcv-ffi --target "$host.2.28"
    built=$target/$host/release
else
    echo "build-lib: no cargo-zigbuild in target/venv: the library will need the glibc of this machine" >&2
    cargo build --release -p libcv-ffi
    built=$target/release
fi
mkdir -p "$dist"
install -m 755 "$built/libcv.so" "$dist/libcv.so.0"
ln -sf libcv.so.0 "$dist/libcv.so"
install -m 644 "$built/libcv.a" "$dist/libcv.a"
install -m 644 include/libcv.h "$dist/libcv.h"
if [ $# -ge 1 ]; then
    prefix=$1 libdir="\${prefix}/lib" includedir="\${prefix}/include"
else
    prefix=$dist libdir="\${prefix}" includedir="\${prefix}"
fi
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
sed -e "s|@prefix@|$prefix|" -e "s|@libdir@|$libdir|" -e "s|@includedir@|$includedir|" -e "s|@version@|$version|" \
    ffi/libcv.pc.in >"$dist/libcv.pc"
ls -l "$dist"
