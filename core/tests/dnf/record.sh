#!/bin/bash
# record.sh: runs dnf into empty roots with the packages of packages.sh and writes NAME.txt beside itself: what it said.
# Run as root; it mounts nothing and only writes to a scratch directory.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d /tmp/cv-record-XXXXXX)
trap 'rm -rf "$work"' EXIT
bash "$here/packages.sh" "$work"
mkdir -p "$work"/{home,repos,vars}
printf '%%_dbpath /var/lib/rpm\n%%_db_backend sqlite\n%%_install_langs en_US\n' >"$work/home/.rpmmacros"
cat >"$work/dnf.conf" <<END
[main]
gpgcheck=1
plugins=0
reposdir=$work/repos
varsdir=$work/vars
cachedir=/run/cv-build/cache
logdir=/run/cv-build/log
persistdir=/var/lib/dnf
install_weak_deps=0
tsflags=nodocs
metadata_expire=-1
skip_if_unavailable=0
color=never
module_platform_id=platform:el9
END
repositories() {
  for r in good bad; do
    printf '[%s]\nname=%s\nbaseurl=file://%s\ngpgcheck=1\ngpgkey=file://%s\n' $r $r "$work/$r" "$work/KEY"
  done >"$work/repos/all.repo"
}
repositories
record() { # record NAME ARGUMENT...
  local name=$1 root=$work/root status=0
  shift
  rm -rf "$root" && mkdir -p "$root/dev" && mknod -m 666 "$root/dev/urandom" c 1 9
  {
    env -i PATH="$PATH" HOME="$work/home" LC_ALL=C.UTF-8 TZ=UTC SOURCE_DATE_EPOCH=1714521600 dnf --config="$work/dnf.conf" \
      --installroot="$root" --releasever=9 --forcearch=x86_64 --noplugins "$@" 2> >(sed -u 's/^/! /' >&3) | sed -u 's/^/| /' >&3
    status=${PIPESTATUS[0]}
  } 3>"$work/said" || true
  # Times, places and the key are other ones each time.
  sed -E "s,$work,/work,g; s, +[0-9.]+ .?B/s \| [ 0-9.]+ .?B +[0-9:]+ *, (fetched),; s,[0-9A-F]{8}:$,01234567:,; s,\(0x[0-9A-F]{8}\),(0x01234567),; \
    s,Fingerprint: .*,Fingerprint: 0123 4567 89AB CDEF 0123 4567 89AB CDEF 0123 4567," "$work/said" >"$here/$name.txt"
}
record resolved --assumeno install base beacon
record good -y install base beacon
record weak -y --setopt=install_weak_deps=1 install beacon
for fault in fail-pretrans fail-pre fail-post fail-posttrans killed-post unsigned forged damaged needs-missing clash; do
  record "$fault" -y install base $fault
done
record missing -y install base no-such-a no-such-b
record group -y install @no-such-group
record stream -y install @base:7
record excluded -y --exclude=beacon install needs-beacon
printf x | dd of="$(ls "$work"/bad/repodata/*primary.xml.*)" bs=1 seek=100 conv=notrunc status=none
record damaged-metadata -y install base
rm -r "$work/bad/repodata"
record no-metadata -y install base
# A disk of six MiB: the first is seen before anything is installed.
mkdir "$work/small"
unshare -m bash -s <<END
set -e
mkdir -p "$work/root"
$(declare -f record)
work=$work here=$here
mount -t tmpfs -o size=2m none "$work/small"
rm() { find "\$2" -mindepth 1 -delete; }
mount --bind "$work/small" "$work/root"
: >"$work/repos/all.repo"
printf '[good]\nname=good\nbaseurl=file://$work/good\ngpgcheck=1\ngpgkey=file://$work/KEY\n' >"$work/repos/all.repo"
record full -y install base || true
END
