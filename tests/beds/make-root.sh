#!/bin/bash
# make-root.sh: a real Debian root that boots: kernel, generic initramfs, systemd, GRUB for BIOS and UEFI with shim, MD,
# LVM, LUKS, a login on ttyS0.
# Call:   make-root.sh [CACHE]    the last line on stdout is the path of the tree; nobody may change it: copy it
# User and password: root, cv. No host name, no machine id. CACHE is ${LIBCV_CACHE:-target/beds}.
# A tree is made once a week for all tests; a call meanwhile waits. A killed call leaves no mount, only a folder that the
# next one removes.
# Needs:  root, mmdebstrap, a Debian mirror.    Time: 50 to 100 s. Size: 430 MB, 11,500 entries.
set -euo pipefail
SELF=$(realpath "$0")
cd "$(dirname "$SELF")/../.."
CACHE=$(realpath -m "${1:-${LIBCV_CACHE:-${CARGO_TARGET_DIR:-target}/beds}}")
ROOT=$CACHE/root-$(cat "$SELF" <(date +%G-%V) | sha256sum | cut -c1-12)

PACKAGES=systemd,systemd-sysv,udev,dbus,kmod,iproute2,zstd,cpio,linux-image-cloud-amd64,initramfs-tools,grub-pc-bin
PACKAGES+=,grub2-common,e2fsprogs,xfsprogs,btrfs-progs,dosfstools,util-linux,passwd,login,acl,attr,libpam-modules,procps
PACKAGES+=,busybox,grub-efi-amd64-bin,grub-efi-amd64-signed,shim-signed,mdadm,lvm2,cryptsetup,cryptsetup-initramfs

make_tree() {
  # A mount namespace of its own: whatever is mounted in there goes when its processes go, after a kill, too. The
  # settings are there before the packages, so that the initramfs is built once.
  # shellcheck disable=SC2016  # $1 is for the hooks
  unshare --mount --propagation private mmdebstrap --quiet --variant=minbase --mode=root --format=directory \
    --include="$PACKAGES" --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
    --dpkgopt=force-unsafe-io --dpkgopt=force-confold --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"' \
    --essential-hook='printf "%s\n" COMPRESS=zstd COMPRESSLEVEL=3 MODULES=most > "$1/etc/initramfs-tools/conf.d/libcv"' \
    --essential-hook='mkdir -p "$1/etc/cryptsetup-initramfs"; echo CRYPTSETUP=y > "$1/etc/cryptsetup-initramfs/conf-hook"' \
    bookworm "$1" >&2
}

settle() {
  # The password is "cv", with a fixed salt: two trees of one week are equal here.
  local hash="\$6\$libcvtest\$Ap8hapaoVtwrGHfsdE0/VfccgDEEKEcaPnaPsMqheay4M39g9AgW86XNKisz6kaBUltkEqWCOlp1DsZWCdxUQ." units=$1/etc/systemd/system
  sed -i "s|^root:[^:]*:|root:$hash:|" "$1/etc/shadow"
  rm -f "$1/etc/hostname" "$1/etc/resolv.conf"      # they came from the machine that built
  : > "$1/etc/machine-id"
  echo 'LANG=C.UTF-8' > "$1/etc/default/locale"
  mkdir -p "$units/getty.target.wants"
  ln -sf /lib/systemd/system/serial-getty@.service "$units/getty.target.wants/serial-getty@ttyS0.service"
  local timer
  for timer in apt-daily.timer apt-daily-upgrade.timer; do ln -sf /dev/null "$units/$timer"; done
}

mkdir -p "$CACHE"
# The lock is inherited by mmdebstrap: when this script is killed and it goes on, the next call waits for its end.
exec 9> "$CACHE/root.lock"; flock 9
if [ ! -e "$ROOT" ]; then
  TMP=$CACHE/root-new
  rm -rf "$TMP"
  find "$CACHE" -maxdepth 1 -name 'root-*' -mtime +7 -exec rm -rf {} +      # not those that a test of today reads
  make_tree "$TMP" || { echo "make-root: once more, the mirror may have been busy" >&2; rm -rf "$TMP"; make_tree "$TMP"; }
  settle "$TMP"
  touch "$TMP"
  mv "$TMP" "$ROOT"
fi
echo "$ROOT"
