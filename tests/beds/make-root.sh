#!/bin/bash
# make-root.sh: a real Debian root that boots: kernel, generic initramfs, systemd, GRUB for BIOS, a login on ttyS0.
# Call:   make-root.sh    the last line on stdout is the path of the tree
# The tree is made once a week and kept in ${LIBCV_CACHE:-target/beds}; a second call waits for the first.
# Needs:  root, mmdebstrap, a Debian mirror.    Time: about 80 s of one core.
set -euo pipefail
cd "$(dirname "$0")/../.."
CACHE=$(realpath -m "${LIBCV_CACHE:-${CARGO_TARGET_DIR:-target}/beds}")
mkdir -p "$CACHE"
NAME=root-$(cat "$0" <(date +%G-%V) | sha256sum | cut -c1-12)
ROOT=$CACHE/$NAME
exec 9> "$CACHE/lock"; flock 9
if [ ! -e "$ROOT" ]; then
  rm -rf "$CACHE"/root-*                      # last week's, and what a killed run left
  TMP=$CACHE/root-tmp
  PACKAGES=systemd-sysv,udev,dbus,kmod,iproute2,zstd,cpio,linux-image-cloud-amd64,initramfs-tools,grub-pc-bin,grub2-common
  PACKAGES+=,e2fsprogs,xfsprogs,btrfs-progs,dosfstools,util-linux,passwd,login,acl,attr,libpam-modules,procps,busybox
  # The settings are there before the packages, so that the initramfs is built once.
  cat > "$CACHE/early.sh" <<'HOOK'
set -e
mkdir -p "$1/etc/initramfs-tools/conf.d"
printf 'COMPRESS=zstd\nCOMPRESSLEVEL=3\nMODULES=most\n' > "$1/etc/initramfs-tools/conf.d/libcv"
HOOK
  # A mount namespace of its own: whatever is mounted in there goes with it, after a kill, too.
  unshare -m --propagation private mmdebstrap --quiet --variant=minbase --mode=root --format=directory \
    --include="$PACKAGES" --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
    --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --essential-hook="sh $CACHE/early.sh \"\$1\"" bookworm "$TMP" >&2
  rm -f "$CACHE/early.sh"
  # The password is "cv": this tree is for tests.
  HASH=$(openssl passwd -6 -salt libcvtest cv 2>/dev/null || printf '%s' '*')
  sed -i "s|^root:[^:]*:|root:$HASH:|" "$TMP/etc/shadow"
  ln -sf /dev/null "$TMP/etc/systemd/system/apt-daily.timer"
  ln -sf /dev/null "$TMP/etc/systemd/system/apt-daily-upgrade.timer"
  mv "$TMP" "$ROOT"
fi
echo "$ROOT"
