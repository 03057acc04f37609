#!/bin/bash
# make-tree.sh: a real Debian tree of about 2 GB and 61,000 files, as a compute node with compilers has it.
# Call:   make-tree.sh [CACHE]    the last line on stdout is the path of the tree; nobody may change it
# CACHE is ${LIBCV_CACHE:-target/beds}. The tree is made once for each version of this file; a call meanwhile waits. A
# killed call leaves no mount, only a folder that the next one removes.
# Needs:  root, mmdebstrap, a Debian mirror.    Time: 2 to 5 minutes.
set -euo pipefail
SELF=$(realpath "$0")
cd "$(dirname "$SELF")/.."
CACHE=$(realpath -m "${1:-${LIBCV_CACHE:-${CARGO_TARGET_DIR:-target}/beds}}")
TREE=$CACHE/tree-$(sha256sum < "$SELF" | cut -c1-12)

# Many small files (headers, Python, Perl, R), some large ones (compilers, a kernel), all of it shipped by a distribution.
PACKAGES=systemd-sysv,udev,linux-image-amd64,linux-headers-amd64,build-essential,gfortran,git,perl,gdb,python3-numpy
PACKAGES+=,python3-scipy,libboost-dev,libopenmpi-dev,openmpi-bin,clang,r-base-core

mkdir -p "$CACHE"
exec 9> "$CACHE/tree.lock"; flock 9
if [ ! -e "$TREE" ]; then
  NEW=$CACHE/tree-new
  find "$CACHE" -maxdepth 1 -name 'tree-*' -type d -exec rm -rf {} +
  # A mount namespace of its own: whatever is mounted in there goes with its processes, after a kill, too.
  unshare --mount --propagation private mmdebstrap --quiet --variant=minbase --mode=root --format=directory \
    --include="$PACKAGES" --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io bookworm "$NEW" >&2
  rm -rf "$NEW"/var/cache/apt/archives "$NEW"/var/lib/apt/lists
  mv "$NEW" "$TREE"
fi
printf 'make-tree: %s MB, %s files, %s entries\n' "$(du -sm --apparent-size "$TREE" | cut -f1)" \
  "$(find "$TREE" -type f | wc -l)" "$(find "$TREE" | wc -l)" >&2
echo "$TREE"
