#!/bin/sh
# Keeps the EFI system partitions of this machine alike: the mounted one is copied to the others. Installed by libcv.
# Call: cv-esp-sync            all that /etc/cv-esp-sync.conf names; a disk that is gone is left out
#       cv-esp-sync FROM TO    one directory to another
# A file comes under another name, is flushed, then renamed: after a cut of the power it is the old one or the new one.
set -eu
umask 077
PATH=/usr/sbin:/usr/bin:/sbin:/bin
CONF=/etc/cv-esp-sync.conf

copy() {
  from=$1 to=$2
  (cd "$from" && find . -type d) | while IFS= read -r d; do mkdir -p "$to/$d"; done
  # The loader of the fallback path comes last.
  (cd "$from" && find . -type f ! -iname bootx64.efi; find . -type f -iname bootx64.efi) | while IFS= read -r f; do
    cmp -s "$from/$f" "$to/$f" && continue
    cp "$from/$f" "$to/$f.cv-new"
    sync "$to/$f.cv-new" 2>/dev/null || sync
    mv -f "$to/$f.cv-new" "$to/$f"
  done
  # What only the other has stays where its directory is its own.
  (cd "$to" && find . -type f) | while IFS= read -r f; do
    [ -e "$from/$f" ] || [ ! -d "$from/$(dirname "$f")" ] || rm -f "$to/$f"
  done
  sync -f "$to" 2>/dev/null || sync
}

if [ $# -eq 2 ]; then
  copy "$1" "$2"
  exit
fi
[ -r "$CONF" ] || exit 0
exec 9>/run/cv-esp-sync.lock
flock 9
esp=$(sed -n 's/^mount //p' "$CONF")
# One that is not mounted, or is empty, is not copied over one that starts the machine.
mountpoint -q "$esp" || exit 0
[ -e "$esp/EFI/BOOT" ] || exit 0
mounted=$(findmnt -no PARTUUID --mountpoint "$esp")
status=0
for id in $(sed -n 's/^partition //p' "$CONF"); do
  device=/dev/disk/by-partuuid/$id
  [ "$id" != "$mounted" ] && [ -b "$device" ] || continue
  at=$(mktemp -d /run/cv-esp-XXXXXX)
  if mount -t vfat -o umask=0077,nodev,nosuid,noexec "$device" "$at"; then
    (copy "$esp" "$at") || status=1
    umount "$at"
  else
    status=1
  fi
  rmdir "$at"
done
exit "$status"
