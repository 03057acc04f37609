#!/bin/bash
# test_layout.sh: what this machine's kernel may lack, a guest has: partitions that the kernel reads itself, and vfat. A
# layout with an EFI partition on vfat is applied with an image to a real disk; what is on it is equal; a mounted disk is
# refused; a second run writes over the first. An image that vfat cannot hold is refused.
# Call:   test_layout.sh    Needs: root, tests/beds/uml.sh, CVCTL (or cargo).    Time: 1 guest, 20 s.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)

host() {
  "$HERE/uml-run.sh" -- true || { rc=$?; [ $rc != 77 ] || exit 77; echo "the guest does not start"; exit 1; }
  [ "$(id -u)" = 0 ] || { echo "run it as root"; exit 77; }
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/libcv-storage.XXXXXX")
  trap 'rm -rf "$WORK"' EXIT
  truncate -s 2G "$WORK/disk.img"
  cp "${CVCTL:?}" "$WORK/cvctl"
  cat > "$WORK/layout.yaml" <<'Y'
schema: cv.layout/v1
name: esp
disks: {os: {wipe: signatures}}
partitions:
  os/esp:  {type: esp, size: 300MiB}
  os/root: {type: root, size: rest}
filesystems:
  esp:  {on: os/esp, type: vfat, label: ESP, mount: {at: /boot/efi}}
  root: {on: os/root, type: ext4, label: root, mount: {at: /}}
Y
  "$HERE/uml-run.sh" -t 300 -d "$WORK/disk.img" -w "$WORK" -- "$HERE/test_layout.sh" guest /dev/ubda
  sgdisk --verify "$WORK/disk.img" | grep -q 'No problems found'
  echo PASS
}

guest() {
  local cv="/mnt/cvctl -q --store /run/store" disk=$1 token rc=0
  mkdir -p /run/tree/etc /run/tree/boot/efi/EFI /run/tree/data /run/m
  echo old > /run/tree/etc/hostname; : > /run/tree/etc/fstab
  cp -a /usr/share/perl5 /run/tree/data
  # vfat holds neither owners nor links: root's plain files with even seconds are all that fits.
  echo loader > /run/tree/boot/efi/EFI/grub.cfg; chmod -R u=rwX,go=rX /run/tree/boot
  find /run/tree/boot/efi -exec touch -d '2024-02-02 02:02:02 UTC' {} +
  chmod 755 /run/tree/boot/efi/EFI/grub.cfg
  $cv store init /run/store; $cv image capture /run/tree --name t
  for round in 1 2; do
    token=$($cv -o json layout plan /mnt/layout.yaml --image t --disk os="$disk" --hostname n1 | sed 's/.*"token": *"\([^"]*\)".*/\1/;t;d' | head -n 1)
    $cv layout apply /mnt/layout.yaml --image t --disk os="$disk" --hostname n1 --confirm "$token"
    mount -o ro "${disk}2" /run/m; mount -o ro "${disk}1" /run/m/boot/efi
    [ "$(cat /run/m/etc/hostname)" = n1 ]
    grep -q '/boot/efi vfat' /run/m/etc/fstab
    grep -q ' / ext4' /run/m/etc/fstab
    cmp /run/tree/boot/efi/EFI/grub.cfg /run/m/boot/efi/EFI/grub.cfg
    diff -r /run/tree/data /run/m/data
    $cv layout apply /mnt/layout.yaml --image t --disk os="$disk" --yes 2>/run/err || rc=$?
    [ "$rc" = 16 ]
    grep -q 'in use' /run/err
    rc=0
    umount /run/m/boot/efi /run/m
    echo "ok: round $round: vfat and ext4 on partitions of the kernel; refused while mounted"
  done
}

# What vfat cannot hold is listed, and refused before a byte is written.
refuses_vfat() {
  local cv="/mnt/cvctl --store /run/store" rc=0
  ln -s data /run/tree/link; chown 7:7 /run/tree/data
  $cv -q image capture /run/tree --name links
  mkfs.vfat "${1}1" > /dev/null; mount "${1}1" /run/m
  $cv -q image extract links /run/m 2> /run/err || rc=$?
  [ "$rc" = 21 ]
  grep -q 'symbolic and hard links' /run/err
  grep -q 'owners' /run/err
  [ -z "$(ls -A /run/m)" ]
  umount /run/m
  echo "ok: vfat: $(head -n 1 /run/err)"
}

case ${1:-host} in guest) guest "$2"; refuses_vfat "$2";; *) host;; esac
