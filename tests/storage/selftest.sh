#!/bin/bash
# selftest.sh: the bed of User-Mode Linux itself. GPT, RAID1, vfat and ext4 are made on two disk files, stopped, assembled
# by a second guest, and the content is equal; what a cut of the power loses and keeps; a status, a time limit, a
# panic and a restart come back as they should; a killed run leaves nothing.
# Call:   selftest.sh    Needs: root, tests/beds/uml.sh, mdadm.    Time: 10 guests, 40 to 50 s.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
uml() { "$HERE/uml-run.sh" "$@"; }
expect() { [ "$2" = "$3" ] || { echo "$1: $2 instead of $3"; exit 1; }; echo "ok: $1"; }

host() {
  "$HERE/uml-run.sh" -- true || { rc=$?; [ $rc != 77 ] || exit 77; echo "the guest does not start"; exit 1; }
  [ "$(id -u)" = 0 ] || { echo "run it as root"; exit 77; }
  local rc guest
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/libcv-storage.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  truncate -s 256M "$WORK/a.img" "$WORK/b.img"
  uml -d "$WORK/a.img" -d "$WORK/b.img" -w "$WORK" -- "$HERE/selftest.sh" create /dev/ubda /dev/ubdb
  uml -d "$WORK/a.img" -d "$WORK/b.img" -w "$WORK" -- "$HERE/selftest.sh" check /dev/ubda
  echo "ok: GPT, RAID1, ext4 and vfat, content equal after a restart"
  uml -d "$WORK/b.img" -w "$WORK" -- "$HERE/selftest.sh" check /dev/ubda degraded
  echo "ok: one disk alone has it, too"

  rc=0; uml -- bash -c 'exit 7' || rc=$?
  expect "the command's status" $rc 7
  rc=0; uml -t 5 -- sleep 60 2>/dev/null || rc=$?
  expect "a time limit" $rc 124
  rc=0; uml -t 20 -- bash -c 'sleep 300 & wait' > "$WORK/late" 2>/dev/null || rc=$?
  expect "what hangs is told" "$rc $(grep -o '^ .* sleep 300' "$WORK/late" | awk 'END {print $NF}')" "124 300"
  rc=0; uml -t 60 -- bash -c 'echo c > /proc/sysrq-trigger' > "$WORK/panic" 2>&1 || rc=$?
  expect "a guest that panics" "$rc $(grep -o 'not syncing: sysrq' "$WORK/panic" | tail -n 1)" "125 not syncing: sysrq"
  rc=0; uml -d "$WORK/a.img,notrim" -- blkdiscard -f /dev/ubda > /dev/null 2>&1 || rc=$?
  expect "a disk that discards nothing" $rc 1
  rc=0; uml -t 60 -- reboot -f >/dev/null 2>&1 || rc=$?
  expect "a guest that restarts" $rc 125

  "$HERE/uml-run.sh" -d "$WORK/a.img" -w "$WORK" -- "$HERE/selftest.sh" cut /dev/ubda & guest=$!
  for _ in $(seq 300); do [ ! -e "$WORK/cut-now" ] || break; sleep 0.1; done
  { kill -9 $guest; wait $guest; } 2>/dev/null || true
  sleep 0.3
  ! pgrep -f "ubd0=$WORK/a.img" >/dev/null || { echo "the guest outlived its script"; exit 1; }
  uml -d "$WORK/a.img" -- "$HERE/selftest.sh" after-cut /dev/ubda
  echo "ok: a cut of the power keeps what was synced, and nothing runs on"
  echo PASS
}

create() {
  for disk in "$1" "$2"; do      # sfdisk, one call a disk: every sgdisk call ends with a sleep of a second
    printf '%s\n' 'label: gpt' 'size=64MiB, type=U' 'type=R' | sfdisk -q --no-tell-kernel "$disk"
    blockdev --rereadpt "$disk"
  done
  mdadm -q --create /dev/md/root --run --assume-clean --homehost=any --level=1 --raid-devices=2 --metadata=1.2 \
    --bitmap=internal "${1}2" "${2}2"
  mkfs.vfat -F32 "${1}1" >/dev/null
  mkfs.vfat -F32 "${2}1" >/dev/null
  mkfs.ext4 -q /dev/md/root
  mkdir -p /run/m
  mount /dev/md/root /run/m
  cp -a /usr/share/perl5 /run/m/data
  (cd /run/m && find . -type f -print0 | sort -z | xargs -0 sha256sum) > /mnt/sums
  [ -s /mnt/sums ]
  umount /run/m
  for disk in "$1" "$2"; do mount "${disk}1" /run/m; cp /usr/bin/bash /run/m/; umount /run/m; done
  mdadm -q --stop /dev/md/root
}

check() {
  mdadm -q --assemble --scan --run --homehost=any 2>/dev/null || true
  if [ "${2:-}" = degraded ]; then grep -q '\[U_\]\|\[_U\]' /proc/mdstat; else grep -q '\[UU\]' /proc/mdstat; fi
  mkdir -p /run/m
  mount -o ro /dev/md/root /run/m; (cd /run/m && sha256sum --quiet -c /mnt/sums); umount /run/m
  mount -o ro "${1}1" /run/m; cmp /usr/bin/bash /run/m/bash; umount /run/m
  mdadm -q --stop /dev/md/root
}

cut() {
  mkfs.ext4 -q -F "${1}1" >/dev/null
  mkdir -p /run/m; mount "${1}1" /run/m
  echo synced > /run/m/kept; sync /run/m/kept
  head -c 1000000 /dev/zero > /run/m/lost
  : > /mnt/cut-now
  sleep 60
}

after_cut() {
  mkdir -p /run/m; mount "${1}1" /run/m
  [ "$(cat /run/m/kept)" = synced ]
  [ ! -s /run/m/lost ]
}

case ${1:-host} in
  host) host;;
  after-cut) shift; after_cut "$@";;
  *) "$@";;
esac
