#!/bin/bash
# make-tree.sh: a real Debian tree of about 2 GB and 60,000 to 70,000 entries, as a compute node with compilers has it.
# Call:   make-tree.sh    the last line on stdout is the path. Kept in ${LIBCV_CACHE:-target/beds}.
# Needs:  root, mmdebstrap, a Debian mirror.    Time: about 3 minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
CACHE=$(realpath -m "${LIBCV_CACHE:-${CARGO_TARGET_DIR:-target}/beds}")
mkdir -p "$CACHE"
TREE=$CACHE/tree-$(sha256sum < "$0" | cut -c1-12)
exec 9> "$CACHE/tree.lock"; flock 9
if [ ! -e "$TREE" ]; then
  rm -rf "$CACHE"/tree-*/ "$CACHE/tree-tmp"
  PACKAGES=systemd-sysv,udev,linux-image-amd64,linux-headers-amd64,build-essential,gfortran,git,vim-nox,perl,gdb
  PACKAGES+=,python3-numpy,python3-scipy,python3-sympy,libboost-dev,libopenmpi-dev,openmpi-bin,clang,r-base-core,valgrind,emacs-nox,initramfs-tools
  unshare -m --propagation private mmdebstrap --quiet --variant=minbase --mode=root --format=directory \
    --include="$PACKAGES" --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io bookworm "$CACHE/tree-tmp" >&2
  mv "$CACHE/tree-tmp" "$TREE"
fi
printf 'make-tree: %s MB, %s entries\n' "$(du -smx --apparent-size "$TREE" | cut -f1)" "$(find "$TREE" -xdev | wc -l)" >&2
echo "$TREE"
