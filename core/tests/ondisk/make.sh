#!/bin/bash
# make.sh: makes the fixtures beside it, by the real mdadm, lvm and kernel. Runs in User-Mode Linux, from the top of the
# repository:
#   tests/storage/uml-run.sh -w core/tests/ondisk -- bash core/tests/ondisk/make.sh
#
# raid1-0.90, raid1-1.0, raid1-1.1, raid1-1.2   second member of a mirror with a bitmap, each version of the superblock
# raid10-1.2, raid5-1.2, raid0-1.0              a member of a level with chunks
# spare-1.2                                     the spare of raid10-1.2
#   .img.zst: the member, 40 MiB, empty but for its metadata; .txt: what `mdadm --examine` says about it
# vg.txt    the metadata of a volume group with every type of segment, as vgcfgbackup writes it
set -euo pipefail
cd /run/tmp
for n in 1 2 3 4 5 6; do truncate -s "$((n < 5 ? 40 : 200))M" m$n; losetup /dev/loop$n m$n; done

# member NAME LOOP: keeps a member.
member() {
  sync
  mdadm --examine "/dev/loop$2" > "/mnt/$1.txt"
  zstd -q -19 -f "m$2" -o "/mnt/$1.img.zst"
}
# array NAME OPTION...: makes an array and stops it.
array() {
  mdadm --create /dev/md/t --run --assume-clean --homehost=any --name="$1" "${@:2}" 2>&1
  mdadm --wait-clean /dev/md/t || true
  mdadm --stop /dev/md/t
}
forget() { mdadm --zero-superblock "$@"; for n in 1 2 3 4; do blkdiscard -z -f /dev/loop$n 2>/dev/null || dd if=/dev/zero of=m$n bs=1M count=40 conv=notrunc status=none; done; }

for version in 1.0 1.1 1.2 0.90; do
  array pair --metadata=$version --level=1 --raid-devices=2 --bitmap=internal /dev/loop1 /dev/loop2
  member raid1-$version 2
  forget /dev/loop1 /dev/loop2
done
array ten --metadata=1.2 --level=10 --chunk=64 --raid-devices=3 --spare-devices=1 --bitmap=none /dev/loop{1,2,3,4}
member raid10-1.2 3
member spare-1.2 4
forget /dev/loop{1,2,3,4}
array five --metadata=1.2 --level=5 --chunk=128 --raid-devices=3 --bitmap=none /dev/loop{1,2,3}
member raid5-1.2 2
forget /dev/loop{1,2,3}
array zero --metadata=1.0 --level=0 --chunk=64 --raid-devices=2 /dev/loop1 /dev/loop2
member raid0-1.0 1

modprobe -a dm-raid dm-thin-pool dm-snapshot dm-cache dm-cache-smq
pvcreate /dev/loop5 /dev/loop6
vgcreate --addtag tag1 vgtest /dev/loop5 /dev/loop6
lvcreate -y -Wn -Zn -n lin -L 16M vgtest
lvcreate -y -Wn -Zn -n str -i 2 -I 64k -L 16M vgtest
lvcreate -y -Wn -Zn --type raid1 -m 1 -n mir -L 16M vgtest
lvcreate -y -Zn --type thin-pool -n pool -L 32M vgtest
lvcreate -y -n thin1 -V 64M --thinpool pool vgtest
lvcreate -y -s -n snap vgtest/thin1
lvcreate -y -Wn -Zn -n slow -L 16M vgtest /dev/loop5
lvcreate -y --type cache-pool -n fast -L 16M vgtest /dev/loop6
lvconvert -y --type cache --cachepool vgtest/fast vgtest/slow
vgcfgbackup -f /mnt/vg.txt vgtest
