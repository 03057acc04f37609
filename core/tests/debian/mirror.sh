#!/bin/bash
# mirror.sh DIR: a mirror with one suite of small packages, signed by a throw-away key, to install into an empty root.
#
#   DIR/mirror/dists/bookworm   InRelease, Release, Release.gpg, Packages plain, with gzip and with xz
#   DIR/mirror/pool             base-files libc6 dpkg busybox: a root that runs; others with one fault each
#   DIR/extra                   another mirror, signed by another key
#   DIR/KEY KEY.gpg             the key of the first, armoured and not; DIR/OTHER that of the other
# Programs and libraries are those of this machine. Needs (Debian names): dpkg apt gpg gpg-agent xz-utils busybox-static.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mkdir -p "$1" && cd "$1" && pwd)
export LC_ALL=C TZ=UTC GNUPGHOME=$dir/gnupg SOURCE_DATE_EPOCH=1714521600
umask 022
trap 'gpgconf --kill all 2>/dev/null || true' EXIT
arch=$(dpkg --print-architecture)

install -d -m 700 "$GNUPGHOME"
for who in mini other; do
  gpg --batch --quiet --faked-system-time '20200101T000000!' --pinentry-mode loopback --passphrase '' \
    --quick-generate-key "$who <$who@example.invalid>" rsa2048 sign never 2>>"$dir/log"
done
gpg --armor --export mini@example.invalid >"$dir/KEY"
gpg --export mini@example.invalid >"$dir/KEY.gpg"
gpg --armor --export other@example.invalid >"$dir/OTHER"

begin() { # begin NAME [FIELD…]: work goes on in $p, its tree
  name=$1 p=$dir/build/$1
  shift
  mkdir -p "$p/DEBIAN"
  { printf 'Package: %s\nVersion: 1:1.0-1\nArchitecture: %s\nMaintainer: Mini <mini@example.invalid>\nDescription: %s\n' "$name" "$arch" "$name"
    for field; do printf '%s\n' "$field"; done; } >"$p/DEBIAN/control"
}
script() { # script NAME: from stdin
  { printf '#!/bin/sh\nset -e\n'; cat; } >"$p/DEBIAN/$1"
  chmod 755 "$p/DEBIAN/$1"
}
finish() { # finish [MIRROR]
  find "$p" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  mkdir -p "$dir/${1:-mirror}/pool"
  dpkg-deb --root-owner-group -Zgzip --build "$p" "$dir/${1:-mirror}/pool/${name}_1.0-1_$arch.deb" >>"$dir/log"
}

begin base-files 'Essential: yes'
mkdir -p "$p"/{etc,home,root,usr/bin,usr/sbin,usr/lib,var/lib,var/log,var/cache,var/tmp,usr/share/doc/base-files}
printf 'ID=mini\n' >"$p/usr/lib/os-release"
echo text >"$p/usr/share/doc/base-files/copyright"
echo text >"$p/usr/share/doc/base-files/README"
script postinst <<'S'
[ -e /etc/passwd ] || printf 'root:x:0:0:root:/root:/bin/sh\n' >/etc/passwd
[ -e /etc/group ] || printf 'root:x:0:\n' >/etc/group
: >/etc/machine-id
S
finish

programs="/usr/bin/dpkg /usr/bin/dpkg-deb /usr/bin/dpkg-query /usr/bin/dpkg-split /usr/bin/dpkg-trigger /usr/bin/dpkg-divert"
begin libc6 'Essential: yes'
mkdir -p "$p/lib64"
for file in $(ldd $programs /bin/tar | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u); do
  mkdir -p "$p/usr$(dirname "${file#/usr}")"
  cp -L "$file" "$p/usr${file#/usr}"
done
for loader in $(ldd /usr/bin/dpkg | sed -n 's/^[[:space:]]*\(\/lib[^ ]*ld-linux[^ ]*\) .*/\1/p'); do
  mkdir -p "$p$(dirname "$loader")"
  cp -L "$loader" "$p$loader"
done
finish

begin dpkg 'Essential: yes' 'Pre-Depends: libc6'
mkdir -p "$p/usr/bin" "$p/var/lib/dpkg" "$p/etc/dpkg"
cp $programs /bin/tar "$p/usr/bin"
finish

begin busybox 'Essential: yes' 'Provides: mini-shell (= 1), awk'
mkdir -p "$p/usr/bin"
cp "$(command -v busybox)" "$p/usr/bin/busybox"
for n in $(busybox --list | grep -vx -e busybox -e dpkg -e dpkg-deb -e tar); do ln -s busybox "$p/usr/bin/$n"; done
ln -s busybox "$p/usr/bin/ldconfig"
finish

begin hello 'Depends: greeting'
mkdir -p "$p/usr/bin" "$p/usr/share/doc/hello" "$p/usr/share/locale/de" "$p/usr/share/locale/fr"
printf '#!/bin/sh\necho hello\n' >"$p/usr/bin/hello"
chmod 755 "$p/usr/bin/hello"
touch "$p/usr/share/doc/hello/README" "$p/usr/share/locale/de/hello.mo" "$p/usr/share/locale/fr/hello.mo"
script postinst <<'S'
# What a package can see and do of the machine that it is installed on.
{ hostname; ls /etc/resolv.conf /etc/hostname 2>/dev/null || echo none
  # A network of its own has a loopback device and no other.
  [ "$(grep -c : /proc/net/dev)" = 1 ] && grep -q lo: /proc/net/dev && echo no-net || echo net
  [ -x /usr/sbin/policy-rc.d ] && { /usr/sbin/policy-rc.d hello start || echo "policy $?"; }
  env | grep -i -e proxy -e SUDO -e SSH || echo plain; } >/var/lib/hello
echo $SOURCE_DATE_EPOCH >/var/lib/hello-epoch
S
finish
begin greeting 'Recommends: garnish'
mkdir -p "$p/usr/share"
echo hi >"$p/usr/share/greeting"
finish
begin garnish
finish
begin wants-missing 'Depends: hello, not-there (>= 2)'
finish
begin bad-preinst
script preinst <<<'echo before; exit 4'
finish
begin bad-postinst
script postinst <<<'echo "what it said"; exit 3'
finish
begin hangs
script postinst <<<'echo begun; sleep 1000'
finish
begin clash 'Depends: greeting'
mkdir -p "$p/usr/share"
echo other >"$p/usr/share/greeting"
finish
begin damaged
finish
begin vanished
finish

publish() { # publish MIRROR CODENAME KEY
  local suite=$dir/$1/dists/$2
  mkdir -p "$suite/main/binary-$arch"
  (cd "$dir/$1" && for deb in pool/*.deb; do
    dpkg-deb --field "$deb"
    printf 'Filename: %s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat -c %s "$deb")" "$(sha256sum "$deb" | cut -d' ' -f1)"
  done) >"$suite/main/binary-$arch/Packages"
  bash "$here/sign.sh" "$dir" "$suite" "$3"
}
publish mirror bookworm mini

begin addition
mkdir -p "$p/usr/share"
echo more >"$p/usr/share/addition"
finish extra
publish extra extra other
mkdir -p "$dir/extra/dists/extra/main/binary-$arch"

# Of the same size, so that only its sum tells it.
deb=$dir/mirror/pool/damaged_1.0-1_$arch.deb
printf 'XXXX' | dd of="$deb" bs=1 seek=100 conv=notrunc status=none
rm "$dir/mirror/pool/vanished_1.0-1_$arch.deb"
rm -r "$dir/build"
