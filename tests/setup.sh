#!/bin/bash
# setup.sh GROUP...: installs what these groups of tests need and this machine lacks.
# On Debian 12 as root it installs packages; elsewhere it prints what is missing and leaves it to you.
# Groups: unit flow abi python storage vm net bench quickstart
set -euo pipefail
cd "$(dirname "$0")/.."
TARGET=${CARGO_TARGET_DIR:-target}

declare -A PROGRAM=(   # program -> Debian package
  [mmdebstrap]=mmdebstrap [mkfs.ext4]=e2fsprogs [chattr]=e2fsprogs [mkfs.xfs]=xfsprogs [mkfs.btrfs]=btrfs-progs
  [mkfs.vfat]=dosfstools [sgdisk]=gdisk [sfdisk]=fdisk [setfattr]=attr [setfacl]=acl [zstd]=zstd [strace]=strace
  [linux.uml]=user-mode-linux [mdadm]=mdadm [lvm]=lvm2 [qemu-system-x86_64]=qemu-system-x86 [nft]=nftables [ip]=iproute2
  [unsquashfs]=squashfs-tools [restic]=restic [g++]=g++ [cc]=gcc [objdump]=binutils [busybox]=busybox-static [cpio]=cpio [modprobe]=kmod [openssl]=openssl
)
declare -A NEEDS=(
  [unit]="mkfs.ext4 chattr mkfs.xfs mkfs.btrfs setfattr setfacl sgdisk sfdisk zstd g++"
  [flow]="mmdebstrap openssl mkfs.ext4 mkfs.xfs mkfs.vfat setfattr setfacl sgdisk sfdisk zstd strace"
  [abi]="cc g++ objdump"
  [python]=""
  [storage]="linux.uml modprobe mdadm lvm mkfs.vfat mkfs.ext4 mkfs.xfs sgdisk sfdisk"
  [vm]="qemu-system-x86_64 mmdebstrap cpio busybox sgdisk mkfs.ext4"
  [net]="ip nft"
  [bench]="mmdebstrap zstd unsquashfs restic strace mkfs.ext4 mkfs.xfs"
  [quickstart]="mmdebstrap openssl zstd qemu-system-x86_64 mkfs.ext4"
)

programs=() python=
for group in "$@"; do
  case $group in python|abi) python=1;; esac
  read -ra more <<<"${NEEDS[$group]:-}"
  programs+=(${more[@]+"${more[@]}"})
done

missing=() packages=()
PATH=$PATH:/usr/sbin:/sbin
for p in ${programs[@]+"${programs[@]}"}; do
  command -v "$p" >/dev/null || { missing+=("$p"); packages+=("${PROGRAM[$p]}"); }
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then
    export DEBIAN_FRONTEND=noninteractive
    readarray -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
    echo "setup: installing ${packages[*]}" >&2
    apt-get update -q >/dev/null 2>&1 || true
    # Services of these packages must not start on the machine that tests.
    policy=/usr/sbin/policy-rc.d
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' > $policy; chmod +x $policy; trap 'rm -f $policy' EXIT; }
    # Where qemu-utils comes from backports, the release's emulator cannot be installed beside it.
    apt-get install -y -q --no-install-recommends "${packages[@]}" >/dev/null 2>&1 ||
      apt-get install -y -q --no-install-recommends --allow-downgrades "${packages[@]}" qemu-utils/bookworm >/dev/null 2>&1 ||
      apt-get install -y -q --no-install-recommends "${packages[@]}" >&2 || echo "setup: some packages could not be installed" >&2
  else
    echo "setup: missing programs: ${missing[*]} (Debian packages: ${packages[*]})" >&2
  fi
fi

if [ -n "$python" ] && [ ! -e "$TARGET/venv/ready" ]; then
  echo "setup: making a Python environment in $TARGET/venv" >&2
  mkdir -p "$TARGET"
  python3 -m venv "$TARGET/venv"
  "$TARGET/venv/bin/pip" install -q -r tests/requirements.txt >&2
  touch "$TARGET/venv/ready"
fi
