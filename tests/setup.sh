#!/bin/bash
# setup.sh [--full] GROUP...: installs what these groups of tests need and this machine lacks, and nothing else.
#
# Groups: unit flow abi python s3 storage vm net build el fuzz bench quickstart; others need nothing.
# On Debian, as root, packages are installed without recommendations (mdadm would bring a mail server) and none of their
# services is started. On another system the missing programs are printed and the exit status is 0: the tests that need
# them skip, or say what they miss. `python` and `abi` also get a Python environment in target/venv, with the versions of
# tests/requirements.txt, and so does `s3`; `fuzz` with --full gets cargo-fuzz; `s3` and `bench` get the server s3s-fs in target/tools,
# and with --full `s3` gets the server garage, too.
# Time: nothing when all is there; about 40 s for all packages, 45 s for the environment, 2 minutes for s3s-fs, 10 for
# garage.
set -euo pipefail
cd "$(dirname "$0")/.."
TARGET=${CARGO_TARGET_DIR:-target}
PATH=$PATH:/usr/sbin:/sbin

# What a group needs: a program, or a file where no program tells. Then the Debian package that has it.
declare -A NEEDS=(
  [unit]="cc g++ mkfs.ext4 mkfs.xfs mkfs.btrfs setfattr setfacl sgdisk sfdisk zstd tar2sqfs cpio umoci skopeo openssl mmdebstrap
    mcopy mdadm lvm cryptsetup mkfs.vfat mkfs.exfat mkfs.ntfs mkfs.reiserfs mkfs.jfs mkfs.nilfs2 mkfs.f2fs mkfs.gfs2 mkfs.ocfs2
    make-bcache mkudffs genisoimage mksquashfs mkfs.erofs
    rpmbuild rpmsign rpmkeys dnf createrepo_c xorriso implantisomd5 busybox gpg gpg-agent gpgv curl
    /usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
  [flow]="python3 mmdebstrap mkfs.ext4 mkfs.xfs mkfs.btrfs mkfs.vfat setfattr setfacl sgdisk sfdisk zstd strace jq"
  [abi]="cc g++ objdump pkg-config python3"
  [fuzz]="cc g++"
  [python]="cc python3 busybox"
  [s3]="cc python3"
  [storage]="linux.uml patchelf modprobe mdadm lvm cryptsetup mcopy mkfs.vfat mkfs.ext4 mkfs.xfs mkfs.btrfs sgdisk sfdisk swtpm systemd-cryptenroll ps"
  [vm]="python3 qemu-system-x86_64 /usr/share/OVMF/OVMF_CODE_4M.fd mmdebstrap busybox cpio zstd modprobe sgdisk mkfs.ext4 ip ethtool"
  [net]="python3 ip nft ethtool openssl curl /usr/sbin/nginx"
  [build]="python3 rpmbuild rpmsign rpmkeys dnf createrepo_c xorriso implantisomd5 genisoimage busybox gpg gpg-agent gpgv openssl
    qemu-system-x86_64 mkfs.ext4 sgdisk cpio zstd /usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
  [el]="python3 dnf rpmkeys"
  [bench]="python3 mmdebstrap zstd unsquashfs restic rsync strace mkfs.ext4 mkfs.xfs setfattr openssl umoci skopeo borg
    bsdtar dnf rpmbuild rpmsign createrepo_c xorriso implantisomd5 busybox gpg gpg-agent curl /usr/sbin/nginx
    /usr/lib/openssh/sftp-server ip nft ethtool cc udp-sender uftp"
  [quickstart]="python3 mmdebstrap zstd qemu-system-x86_64 mkfs.ext4 mkfs.xfs mkfs.vfat sfdisk"
)
# A program that is not named here is in the package of its name.
declare -A PACKAGE=(
  [mkfs.ext4]=e2fsprogs [mkfs.xfs]=xfsprogs [mkfs.btrfs]=btrfs-progs [mkfs.vfat]=dosfstools [sgdisk]=gdisk
  [sfdisk]=fdisk [setfattr]=attr [setfacl]=acl [linux.uml]=user-mode-linux [lvm]=lvm2 [cryptsetup]=cryptsetup-bin
  [qemu-system-x86_64]=qemu-system-x86 [/usr/share/OVMF/OVMF_CODE_4M.fd]=ovmf [nft]=nftables [ip]=iproute2
  [unsquashfs]=squashfs-tools [bsdtar]=libarchive-tools [borg]=borgbackup [cc]="gcc libc6-dev" [objdump]=binutils [busybox]=busybox-static
  [mcopy]=mtools [tar2sqfs]=squashfs-tools-ng [mkfs.exfat]=exfatprogs [mkfs.ntfs]=ntfs-3g
  [mkfs.reiserfs]=reiserfsprogs [mkfs.jfs]=jfsutils [mkfs.nilfs2]=nilfs-tools [mkfs.f2fs]=f2fs-tools
  [mkfs.gfs2]=gfs2-utils [mkfs.ocfs2]=ocfs2-tools [make-bcache]=bcache-tools [mkudffs]=udftools
  [mksquashfs]=squashfs-tools [mkfs.erofs]=erofs-utils [swtpm]="swtpm libtss2-tcti-swtpm0 tpm2-tools"
  [/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1]=libfaketime
  [rpmbuild]=rpm [rpmsign]=rpm [rpmkeys]=rpm [createrepo_c]=createrepo-c [implantisomd5]=isomd5sum
  [systemd-cryptenroll]=systemd [modprobe]=kmod [ps]=procps [python3]="python3 python3-venv" [/usr/sbin/nginx]=nginx-light
  [/usr/lib/openssh/sftp-server]=openssh-sftp-server [udp-sender]=udpcast
)

there() { case $1 in /*) [ -e "$1" ];; *) command -v "$1" >/dev/null;; esac; }

install_packages() {
  local log policy=/usr/sbin/policy-rc.d options=(-y -q --no-install-recommends -o DPkg::Lock::Timeout=120)
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  if [ ! -e $policy ]; then    # 101: no package may start its service on the machine that tests
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod 755 $policy
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  # First with the lists that are there; when that fails they may be old, or missing. And where qemu-utils comes from
  # backports, the emulator of the release cannot be installed beside it.
  apt-get install "${options[@]}" "$@" >"$log" 2>&1 ||
    { apt-get update -q >>"$log" 2>&1 || { sleep 5; apt-get update -q >>"$log" 2>&1; } || true
      apt-get install "${options[@]}" "$@" >>"$log" 2>&1; } ||
    { [[ " $* " == *" qemu-system-x86 "* ]] &&
      apt-get install "${options[@]}" --allow-downgrades "$@" qemu-utils/bookworm >>"$log" 2>&1; } ||
    { tail -n 20 "$log" >&2; echo "setup: could not install $*; see $log" >&2; return 1; }
  rm -f "$log"
}

make_environment() {
  local want
  want=$(sha256sum < tests/requirements.txt)
  mkdir -p "$TARGET"
  exec 9> "$TARGET/venv.lock"; flock 9
  if [ "$(cat "$TARGET/venv/ready" 2>/dev/null)" != "$want" ]; then
    echo "setup: making a Python environment in $TARGET/venv" >&2
    rm -rf "$TARGET/venv"
    if python3 -m venv "$TARGET/venv" &&
      "$TARGET/venv/bin/pip" install -q --disable-pip-version-check -r tests/requirements.txt >&2; then
      printf '%s\n' "$want" > "$TARGET/venv/ready"
    else
      echo "setup: the Python environment could not be made" >&2
      return 1
    fi
  fi
  exec 9>&-
}

# server NAME VERSION OPTION...: a program of the crate registry, into target/tools.
server() {
  local name=$1 version=$2
  shift 2
  [ ! -x "$TARGET/tools/bin/$name" ] || return 0
  there cargo || { echo "setup: without cargo there is no $name" >&2; return 1; }
  echo "setup: building $name $version" >&2
  CARGO_TARGET_DIR="$TARGET/tools/build" \
    cargo install -q "$name" --version "$version" --locked --root "$TARGET/tools" "$@" ||
    { echo "setup: $name could not be built" >&2; return 1; }
  rm -rf "$TARGET/tools/build"
}

full=''
if [ "${1:-}" = --full ]; then full=1; shift; fi
missing=() packages=() environment='' fuzz='' status=0
for group in "$@"; do
  case $group in python|abi|s3|net) environment=1;; fuzz) fuzz=$full;; esac
  for what in ${NEEDS[$group]:-}; do
    there "$what" && continue
    missing+=("${what##*/}")
    read -ra names <<<"${PACKAGE[$what]:-$what}"
    packages+=("${names[@]}")
  done
done
# Debian splits venv from python3; without ensurepip it makes an environment that has no pip.
[ -z "$environment" ] || python3 -c 'import ensurepip' 2>/dev/null || { missing+=("python3 venv"); packages+=(python3-venv); }

if [ ${#missing[@]} -gt 0 ]; then
  readarray -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
  if [ -e /etc/debian_version ] && [ "$(id -u)" = 0 ]; then
    echo "setup: installing ${packages[*]}" >&2
    install_packages "${packages[@]}" || status=1
  else
    echo "setup: missing: ${missing[*]} (Debian packages: ${packages[*]})" >&2
  fi
fi
[ -z "$environment" ] || make_environment || status=1
if [ -n "$fuzz" ] && there cargo && ! there cargo-fuzz; then
  echo "setup: installing cargo-fuzz" >&2
  cargo install -q cargo-fuzz --locked || { echo "setup: cargo-fuzz could not be installed" >&2; status=1; }
fi
case " $* " in *" storage "*) tests/beds/uml.sh "$TARGET/beds/uml" > /dev/null || status=1;; esac
case " $* " in *" s3 "*|*" bench "*) server s3s-fs 0.14.1 --features binary || status=1;; esac
case "$full $* " in "1 "*" s3 "*|"1 s3 "*)
  # Quick to build rather than quick: it serves tests only.
  export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
  server garage 2.5.0 --no-default-features --features bundled-libs,sqlite || status=1;;
esac
exit $status
