#!/bin/bash
# packages.sh DIR: two repositories of small packages, signed by a throw-away key, to install into an empty root.
#
#   DIR/good    a root that runs: directories, a static busybox, users; a service that differs from build to build
#   DIR/bad     packages with one fault each
#   DIR/KEY     the key of both; that of `forged` is another one
# Needs (Debian names): rpm createrepo-c busybox-static gpg gpg-agent. The same inputs and key give the same packages.
set -euo pipefail
dir=$(mkdir -p "$1" && cd "$1" && pwd)
export LC_ALL=C TZ=UTC GNUPGHOME=$dir/gnupg SOURCE_DATE_EPOCH=1714521600
umask 022
trap 'gpgconf --kill all 2>/dev/null || true' EXIT

install -d -m 700 "$GNUPGHOME"
for who in mini forger; do
  gpg --batch --quiet --faked-system-time '20200101T000000!' --pinentry-mode loopback --passphrase '' \
    --quick-generate-key "$who <$who@example.invalid>" rsa2048 sign never 2>>"$dir/log"
done
gpg --armor --export mini@example.invalid >"$dir/KEY"

header() { # header NAME [VERSION RELEASE ARCH]
  printf 'Name: %s\nVersion: %s\nRelease: %s\nSummary: %s\nLicense: MIT\n%%description\n%s\n' "$1" "${2:-1.0}" "${3:-1}" "$1" "$1"
}

cat >"$dir/base.spec" <<'SPEC'
Name: base
Version: 2.5
Release: 3.el9
Summary: Directories, users, a shell
License: MIT AND GPL-2.0-only
Provides: /bin/sh
%description
Directories, users, a shell.
%pretrans -p <lua>
posix.mkdir("/usr")
posix.mkdir("/usr/bin")
posix.symlink("usr/bin", "/bin")
%install
cd %{buildroot}
mkdir -p usr/bin usr/share/doc etc dev proc sys run tmp root home var/lib var/log var/cache var/tmp
ln -s usr/bin bin
cp /bin/busybox usr/bin/busybox
for n in $(/bin/busybox --list | grep -vx -e busybox -e rpm); do ln -s busybox usr/bin/$n; done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/sbin/nologin\n' >etc/passwd
printf 'root:x:0:\nnobody:x:65534:\n' >etc/group
printf 'root:*:19000:0:99999:7:::\n' >etc/shadow
: >etc/machine-id
%files
/bin
/usr/bin/*
%dir /etc
%dir /dev
%dir /run
%dir /home
%dir /usr/share/doc
%attr(555,root,root) %dir /proc
%attr(555,root,root) %dir /sys
%attr(1777,root,root) %dir /tmp
%attr(550,root,root) %dir /root
%dir /var/lib
%dir /var/log
%dir /var/cache
%attr(1777,root,root) %dir /var/tmp
%config(noreplace) /etc/passwd
%config(noreplace) /etc/group
%attr(000,root,root) %config(noreplace) /etc/shadow
%attr(444,root,root) %config(noreplace) /etc/machine-id
SPEC

cat >"$dir/beacon.spec" <<'SPEC'
# What makes two builds differ: the day in /etc/shadow, a random seed, a log, a machine id, a key.
Name: beacon
Epoch: 1
Version: 1.4
Release: 1.el9
Summary: A service
License: MIT
Requires: base
Recommends: beacon-with-a-name-that-no-column-of-a-table-can-hold-in-full
%description
A service.
%package -n beacon-with-a-name-that-no-column-of-a-table-can-hold-in-full
Summary: A weak dependency
%description -n beacon-with-a-name-that-no-column-of-a-table-can-hold-in-full
Wanted, not needed.
%install
cd %{buildroot}
mkdir -p usr/bin usr/share/doc/beacon usr/share/beacon usr/share/locale/de etc
cp /bin/busybox usr/bin/beacon
echo Read me >usr/share/doc/beacon/README
echo de >usr/share/locale/de/beacon.mo
echo extra >usr/share/beacon/extra
%pre
echo 'beacon:x:990:990::/:/sbin/nologin' >>/etc/passwd
# DAYS: a test pretends that it is another day.
echo "beacon:!:$(($(date +%%s) / 86400 + ${DAYS:-0}))::::::" >>/etc/shadow
%post
head -c 16 /dev/urandom | od -An -tx1 >/var/lib/beacon.seed
date >/var/log/beacon.log
echo kept >/var/lib/beacon.kept
touch -d @$(($(date +%%s) + ${DAYS:-0} * 86400)) /var/lib/beacon.kept
mkdir -p /etc/ssh /var/lib/systemd /var/lib/dbus /var/cache/ldconfig
head -c 16 /dev/urandom | od -An -tx1 | tr -d ' ' >/etc/machine-id
cp /etc/machine-id /var/lib/dbus/machine-id
for n in rsa_key rsa_key.pub ed25519_key; do echo "key $(date)" >/etc/ssh/ssh_host_$n; done
echo 'PermitRootLogin no' >/etc/ssh/sshd_config
head -c 512 /dev/urandom >/var/lib/systemd/random-seed
date >/var/cache/ldconfig/aux-cache
echo build-host >/etc/hostname
%files
%attr(755,root,root) %caps(cap_net_raw=ep) /usr/bin/beacon
%doc /usr/share/doc/beacon/README
%lang(de) /usr/share/locale/de/beacon.mo
%files -n beacon-with-a-name-that-no-column-of-a-table-can-hold-in-full
/usr/share/beacon/extra
SPEC

fault() { # fault NAME REQUIRES [SCRIPTLET TEXT [FILE]]
  local file=${5:-/usr/share/$1}
  {
    header "$1" | sed "/^License/a Requires: $2"
    printf '%%install\nmkdir -p %%{buildroot}%s\necho %s >%%{buildroot}%s\n' "${file%/*}" "$1" "$file"
    [ -z "${3:-}" ] || printf '%s\n%s\n' "$3" "$4"
    printf '%%files\n%s\n' "$file"
  } >"$dir/$1.spec"
}
fault fail-pretrans base '%pretrans -p <lua>' 'error("pretrans says no")'
fault fail-pre base '%pre' $'echo "pre says no" >&2\nexit 3'
fault fail-post base '%post' $'echo "post says no" >&2\nexit 3'
fault fail-posttrans base '%posttrans' $'echo "posttrans says no" >&2\nexit 3'
fault killed-post base '%post' 'kill -9 $$'
fault slow-post base '%post' $'echo waiting\nsleep 600'
fault unsigned base
fault forged base
fault damaged base
fault needs-missing 'no-such-capability >= 2'
fault needs-beacon beacon
fault clash base '' '' /etc/machine-id

build() { # build OUT NAME
  rpmbuild -bb --target x86_64-linux --define "_topdir $dir/rpmbuild" --define "_dbpath $dir/rpmdb" --define "_rpmdir $dir/$1" \
    --define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' --define '_buildshell /bin/bash' --define '_build_id_links none' \
    --define '_binary_payload w3.zstdio' --define '_buildhost build.mini' --define 'debug_package %{nil}' --define '__os_install_post %{nil}' \
    --define '__find_requires %{nil}' --define '__find_provides %{nil}' --define '_use_internal_dependency_generator 0' \
    --define 'use_source_date_epoch_as_buildtime 1' --define 'clamp_mtime_to_source_date_epoch 1' --define 'vendor Mini' \
    "$dir/$2.spec" >>"$dir/log" 2>&1 || { tail -n 30 "$dir/log" >&2; exit 1; }
}
sign() { # sign WHO FILE...
  local who=$1
  shift
  rpmsign --addsign --define "_gpg_name $who@example.invalid" --define '__gpg /usr/bin/gpg' --define "_gpg_path $GNUPGHOME" \
    --define "_gpg_sign_cmd_extra_args --faked-system-time $SOURCE_DATE_EPOCH! --pinentry-mode loopback" "$@" >>"$dir/log" 2>&1 ||
    { tail -n 30 "$dir/log" >&2; exit 1; }
}
for name in base beacon; do build good $name; done
for name in fail-pretrans fail-pre fail-post fail-posttrans killed-post slow-post unsigned forged damaged needs-missing needs-beacon clash; do
  build bad $name
done
sign mini "$dir"/good/*.rpm "$dir"/bad/{fail,killed,slow,damaged,needs,clash}-*.rpm
sign forger "$dir"/bad/forged-*.rpm
for repo in good bad; do
  find "$dir/$repo" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
  createrepo_c --quiet --set-timestamp-to-revision --revision "$SOURCE_DATE_EPOCH" --no-database "$dir/$repo"
done
printf x | dd of="$(ls "$dir"/bad/damaged-*.rpm)" bs=1 seek=3000 conv=notrunc status=none
