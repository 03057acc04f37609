#!/bin/sh
# Builds cvctl-node for release into target/dist: the program cvctl as one static file of at most 11 MB, without server,
# databases and S3. It runs in an initramfs, in a rescue system, and on any distribution.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$top/target}
host=$(rustc -vV | sed -n 's/^host: //p')
cd "$top"
# A node waits for no runtime: what it reads from servers it reads on threads.
crates=$(cargo tree -q -p libcv -e normal --features cli,http,mcast --prefix none)
case $crates in
*tokio*) echo "build-node: there is an asynchronous runtime in it" >&2; exit 1 ;;
*ureq*) ;;
*) echo "build-node: what is in it cannot be told" >&2; exit 1 ;;
esac
# linux_raw: a static glibc does not find getrandom, and an early initramfs has no /dev/urandom to fall back to.
# --target: build scripts and macros stay dynamic.
# A program at a fixed address needs no relocations.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static -C relocation-model=static --cfg getrandom_backend=\"linux_raw\"" \
    cargo build --profile node -p libcv --features cli,http,mcast --bin cvctl --target "$host"
mkdir -p "$target/dist"
install -m 755 "$target/$host/node/cvctl" "$target/dist/cvctl-node"
size=$(stat -c %s "$target/dist/cvctl-node")
echo "$target/dist/cvctl-node: $size bytes"
if ldd "$target/dist/cvctl-node" >/dev/null 2>&1 && ! ldd "$target/dist/cvctl-node" 2>&1 | grep -q 'statically linked'; then
    echo "build-node: it is not static" >&2
    exit 1
fi
if [ "$size" -gt 11000000 ]; then
    echo "build-node: it is over 11 MB" >&2
    exit 1
fi
