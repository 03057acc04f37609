#!/bin/sh
# Builds cvctl-node_VERSION_ARCH.deb and cvctl-node-VERSION-1.ARCH.rpm into target/dist, from the static program of build-node.sh.
#
#   scripts/build-packages.sh [PROGRAM]       without one: target/dist/cvctl-node, built when it is not there
#
# Needs dpkg-deb and rpmbuild. The same program gives the same packages (SOURCE_DATE_EPOCH, else the last commit).
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$top/target}
program=${1:-$target/dist/cvctl-node}
[ $# -gt 0 ] || [ -x "$program" ] || "$top/scripts/build-node.sh"
version=$("$program" --version | awk '{print $2}')
machine=$(uname -m)
case $machine in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
*) arch=$machine ;;
esac
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$top" log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
work=$(mktemp -d "${TMPDIR:-/tmp}/cv-packages.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root
install -D -m 755 "$program" "$root/usr/bin/cvctl-node"
install -D -m 644 "$top/packaging/cvctl-node.service" "$root/usr/lib/systemd/system/cvctl-node.service"
install -d -m 700 "$root/etc/libcv"
install -m 600 "$top/packaging/policy.yaml" "$top/packaging/node.env" "$root/etc/libcv/"
"$program" -q man "$work/man" > /dev/null
mkdir -p "$root/usr/share/man/man1"
for page in "$work"/man/*.1; do
    gzip -9n < "$page" > "$root/usr/share/man/man1/$(basename "$page" | sed 's/^cvctl/cvctl-node/').gz"
done
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$target/dist"

cp -a "$root" "$work/deb"
install -d "$work/deb/DEBIAN"
cat > "$work/deb/DEBIAN/control" <<END
Package: cvctl-node
Version: $version
Architecture: $arch
Maintainer: libcv <libcv@localhost>
Installed-Size: $(du -sk "$root" | cut -f1)
Section: admin
Priority: optional
Description: Images, disk layouts and deployment of Linux nodes: the program for nodes
 cvctl as one static file, and a service through which a server can ask this
 node for a capture or an update, as far as the policy of the node allows it.
END
printf '/etc/libcv/policy.yaml\n/etc/libcv/node.env\n' > "$work/deb/DEBIAN/conffiles"
cat > "$work/deb/DEBIAN/postinst" <<'END'
#!/bin/sh
set -e
[ ! -d /run/systemd/system ] || systemctl daemon-reload || :
[ ! -d /run/systemd/system ] || [ -z "$2" ] || systemctl try-restart cvctl-node.service || :
END
cat > "$work/deb/DEBIAN/prerm" <<'END'
#!/bin/sh
set -e
[ "$1" != remove ] || [ ! -d /run/systemd/system ] || systemctl disable --now cvctl-node.service || :
END
chmod 755 "$work/deb/DEBIAN/postinst" "$work/deb/DEBIAN/prerm"
dpkg-deb --root-owner-group -Zxz -z2 --build "$work/deb" "$target/dist/cvctl-node_${version}_$arch.deb" >/dev/null

mkdir "$work/rpm"
rpmbuild -bb --quiet --target "$machine" --define "_topdir $work/rpm" --define "cv_root $root" --define "cv_version $version" \
    --define "_rpmdir $work/out" --define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1" \
    --define "_buildhost localhost" --define "_binary_payload w7.zstdio" "$top/packaging/cvctl-node.spec"
cp "$work/out/$machine/cvctl-node-$version-1.$machine.rpm" "$target/dist/"
ls -l "$target/dist/cvctl-node_${version}_$arch.deb" "$target/dist/cvctl-node-$version-1.$machine.rpm"
