#!/bin/bash
# quickstart.sh: the whole story on one machine, as root: a real Debian root is captured, changed, captured again, rolled
# back, put on a disk image with a layout, and that disk boots to its login prompt.
# It installs what is missing on Debian 12, and calls sudo itself if it must. It builds in target/ and works in
# WORKDIR. A WORKDIR with the file .libcv-quickstart is of an earlier run: it is removed with all that is in it. Another
# that is not empty is refused.
# Call:   examples/quickstart.sh [WORKDIR]      default: target/quickstart
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || exec sudo -E env "PATH=$PATH" "$0" "$@"
WORK=$(realpath -m "${1:-${CARGO_TARGET_DIR:-target}/quickstart}")
MARK=$WORK/.libcv-quickstart
if [ -e "$MARK" ]; then rm -rf --one-file-system "$WORK"; fi
if [ -e "$WORK" ] && [ -n "$(ls -A "$WORK")" ]; then
  echo "quickstart.sh: $WORK is not empty, and no quickstart made it: remove it, or name another WORKDIR" >&2; exit 2
fi
mkdir -p "$WORK"; touch "$MARK"
BEGIN=$SECONDS STEP=$SECONDS NAME=
step() { [ -z "$NAME" ] || printf '   %s: %d s\n' "$NAME" $((SECONDS - STEP)); NAME=$1 STEP=$SECONDS; printf '\n== %s\n' "$1"; }

step "install what is missing"
tests/setup.sh quickstart
step "build cvctl"
cargo build -q --release -p libcv --features cli,build --bin cvctl
cv=$(realpath "${CARGO_TARGET_DIR:-target}/release/cvctl")
step "make a Debian root with a kernel"
TREE=$(tests/beds/make-root.sh | tail -n 1)
cp -a "$TREE" "$WORK/root"          # the story changes it

export CV_STORE=$WORK/store CV_STATE=$WORK/state
step "capture it"
"$cv" store init "$CV_STORE"
"$cv" image capture "$WORK/root" --name debian --tag first
step "change it and capture again"
echo "made by the quickstart" > "$WORK/root/etc/motd"
chroot "$WORK/root" useradd --create-home --shell /bin/bash alice
"$cv" image capture "$WORK/root" --name debian
step "what changed"
"$cv" image diff debian:first debian
step "roll back"
"$cv" image rollback debian --to debian:first
"$cv" image log debian
step "look at the plan"
truncate -s 4G "$WORK/disk.img"
"$cv" layout plan examples/layouts/bios-ext4.yaml --image debian --disk "os=$WORK/disk.img" --hostname node001
"$cv" layout plan examples/layouts/bios-ext4.yaml --image debian --disk "os=$WORK/disk.img" --hostname node001 -o svg > "$WORK/plan.svg"
step "deploy onto a disk image"
"$cv" layout apply examples/layouts/bios-ext4.yaml --image debian --disk "os=$WORK/disk.img" --hostname node001 --yes
step "boot it to the login prompt"
python3 tests/vm/vm.py --disk "$WORK/disk.img" --until 'node001 login:' --login root:cv --run hostname --run 'findmnt -rno TARGET,FSTYPE -t ext4,vfat,xfs' --log "$WORK/console.log"
step "check the store"
"$cv" store check --read-data
step "done"
printf '   all: %d s. The store is %s, the disk %s, a picture of its plan %s.\n' $((SECONDS - BEGIN)) "$CV_STORE" "$WORK/disk.img" "$WORK/plan.svg"
