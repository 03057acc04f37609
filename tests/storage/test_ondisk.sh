#!/bin/bash
# test_ondisk.sh: arrays and volume groups that libcv wrote without a kernel are taken by one: every array starts whole and
# clean, a check finds no difference, its bitmap is used, a filesystem on it survives a second start; a volume group is
# activated and its linear and striped volumes carry filesystems.
# Call:   test_ondisk.sh    Needs: root, user-mode-linux, mdadm, lvm2, cargo.    Time: 1 guest, 20 s.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)

host() {
  command -v linux.uml >/dev/null || { echo "tests/setup.sh storage (Debian package user-mode-linux)"; exit 77; }
  [ "$(id -u)" = 0 ] || { echo "run it as root"; exit 77; }
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/libcv-storage.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  # With the flags of the group unit, whose build this is then.
  (cd "$HERE/../.." &&
    LIBCV_TEST_ONDISK_OUT=$WORK cargo test -q --workspace --all-features --test ondisk members_for_a_kernel)
  "$HERE/uml-run.sh" -t 300 -w "$WORK" -- "$HERE/test_ondisk.sh" guest
  echo PASS
}

# attach FILE...: loop devices of copies in memory, in LOOPS.
attach() {
  LOOPS=()
  for file in "$@"; do
    cp --sparse=always "$file" /run/tmp/
    LOOPS+=("$(losetup -f --show "/run/tmp/${file##*/}")")
  done
}
detach() { losetup -d "${LOOPS[@]}"; rm -f /run/tmp/*; }

array() {
  local name=$1 sys=/sys/block/md127/md
  attach "/mnt/$name.0" "/mnt/$name.1"
  mdadm --assemble /dev/md127 "${LOOPS[@]}"
  case $name in
    *-0-*) ;;
    *) grep -q '\[UU\]' /proc/mdstat
       [ "$(cat $sys/sync_action)" = idle ]
       echo check > $sys/sync_action
       while [ "$(cat $sys/sync_action)" != idle ]; do sleep 0.2; done
       [ "$(cat $sys/mismatch_cnt)" = 0 ];;
  esac
  case $name in
    *-true) grep -q bitmap: /proc/mdstat;;
    *) if grep -q bitmap: /proc/mdstat; then exit 1; fi;;
  esac
  mkfs.ext4 -q /dev/md127
  mdadm --stop /dev/md127
  mdadm --assemble /dev/md127 "${LOOPS[@]}"
  e2fsck -fn /dev/md127 > /run/fsck 2>&1 || { cat /run/fsck; exit 1; }
  echo "ok: $name: $(blockdev --getsize64 /dev/md127) bytes"
  mdadm --stop /dev/md127
  detach
}

guest() {
  for first in /mnt/*.0; do first=${first##*/}; array "${first%.0}"; done
  attach /mnt/pv0 /mnt/pv1
  vgchange -ay made
  for volume in root fast; do
    mkfs.ext4 -q /dev/made/$volume
    e2fsck -fn /dev/made/$volume > /run/fsck 2>&1 || { cat /run/fsck; exit 1; }
  done
  dmsetup table | grep -q 'made-fast: .* striped 2 128 '
  [ "$(lvs --noheadings --units m --nosuffix -o lv_size made/root | tr -d ' ')" = 15.00 ]
  lvextend -q -L +4M made/root
  vgchange -an made
  echo "ok: volume group: $(vgs --noheadings made)"
  detach
}

case ${1:-host} in guest) guest;; *) host;; esac
