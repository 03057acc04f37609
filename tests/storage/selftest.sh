#!/bin/bash
# selftest.sh: the UML bed itself: GPT, RAID1, vfat and ext4 on two disk files; stopped, assembled again, content equal.
# Two boots, about 10 s.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
case ${1:-host} in
host)
  command -v linux.uml >/dev/null || { echo "apt install user-mode-linux"; exit 77; }
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/libcv-storage.XXXXXX"); trap 'rm -rf "$WORK"' EXIT
  truncate -s 512M "$WORK/a.img" "$WORK/b.img"
  "$HERE/uml-run.sh" -d "$WORK/a.img" -d "$WORK/b.img" -w "$WORK" -- bash "$HERE/selftest.sh" create /dev/ubda /dev/ubdb
  "$HERE/uml-run.sh" -d "$WORK/a.img" -d "$WORK/b.img" -w "$WORK" -- bash "$HERE/selftest.sh" check
  ! "$HERE/uml-run.sh" -- false || { echo "the exit status does not come back"; exit 1; }
  echo PASS;;
create)
  for d in "$2" "$3"; do
    printf '%s\n' 'label: gpt' 'size=64MiB, type=U' 'type=R' | sfdisk -q --no-tell-kernel "$d"; blockdev --rereadpt "$d"
  done
  mdadm -q --create /dev/md/root --run --assume-clean --homehost=any --level=1 --raid-devices=2 --metadata=1.2 --bitmap=internal "${2}2" "${3}2"
  mkfs.vfat -F32 "${2}1" >/dev/null 2>&1; mkfs.ext4 -q /dev/md/root
  mkdir -p /run/m; mount /dev/md/root /run/m; cp -a /usr/share/perl5 /run/m/data
  (cd /run/m && find . -type f -print0 | sort -z | xargs -0 sha256sum) > /mnt/sums
  umount /run/m; mount -t vfat "${2}1" /run/m; cp /usr/bin/bash /run/m/; umount /run/m; mdadm -q --stop /dev/md/root;;
check)
  mdadm -q --assemble --scan --run --homehost=any 2>/dev/null || true
  mkdir -p /run/m; mount /dev/md/root /run/m; (cd /run/m && sha256sum --quiet -c /mnt/sums)
  grep -q '\[UU\]' /proc/mdstat; umount /run/m; mdadm -q --stop /dev/md/root;;
esac
