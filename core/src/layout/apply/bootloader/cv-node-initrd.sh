#!/bin/sh
# Appends what is this node's own (arrays, LUKS volumes) to every initramfs in /boot that does not end with it. Installed
# by libcv, run before update-grub: the menu that libcv wrote names the archive beside each initramfs, the menu that
# update-grub writes does not. An initramfs may be several archives one after the other.
set -eu
node=/boot/libcv-node.cpio
[ -s "$node" ] || exit 0
size=$(wc -c < "$node")
for image in /boot/initrd.img-*; do
  [ -f "$image" ] || continue
  case $image in *.cv-new|*.bak|*.dpkg-*) continue ;; esac
  tail -c "$size" "$image" | cmp -s - "$node" && continue
  cp -p "$image" "$image.cv-new"
  # Archives begin at multiples of four bytes.
  head -c $(( (4 - $(wc -c < "$image") % 4) % 4 )) /dev/zero >> "$image.cv-new"
  cat "$node" >> "$image.cv-new"
  sync "$image.cv-new" 2>/dev/null || sync
  mv -f "$image.cv-new" "$image"
done
