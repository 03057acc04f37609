#!/bin/bash
# make.sh: a miniature distribution as Enterprise Linux is one, on ISO images, for tests of distributions and of images
# that are built from them.
#
# Call:   make.sh WORK [VERSION...]     9.4 and 9.5 unless said otherwise; the last lines on stdout are the ISO images
#   WORK/tree-V/     what the ISO holds: .treeinfo .discinfo media.repo BaseOS/ AppStream/ EFI/ images/ RPM-GPG-KEY-Mini
#   WORK/mini-V.iso  Rock Ridge, Joliet, El Torito for EFI, with the checksum of media
#   WORK/bad-V/      a tree with BaseOS, and a repository Faulty: packages that are unsigned, of a forger, damaged, cannot be
#                    resolved, clash, or have scriptlets that fail, hang, or try to leave their root
#   WORK/keys/       mini.asc, which signed the packages, and forger.asc
# Packages are made from specs/. A static busybox is the only program, so that scriptlets run in a root without a C library.
# What is the same in two releases is the same file. The same call with the same WORK/gnupg gives the same bytes: all times
# come from the release.
#
# Environment: KERNEL   kernel to package, MODULES its directory of modules (else 4 MiB of text, and none)
#              BIG_MIB  payload of the package bigfile (8)
#              HUGE_MIB adds images/huge.bin of this size, sparse in the tree; over 4096 it has two extents on the ISO (0)
# Needs:  rpmbuild, rpmsign, createrepo_c, xorriso, implantisomd5, busybox (static), gpg, openssl.  Time: 10 to 20 s.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
WORK=${1:?the directory to work in}
shift
[ $# -gt 0 ] || set -- 9.4 9.5
mkdir -p "$WORK" && WORK=$(cd "$WORK" && pwd)
BIG_MIB=${BIG_MIB:-8} HUGE_MIB=${HUGE_MIB:-0} KERNEL=${KERNEL:-} MODULES=${MODULES:-}
export LC_ALL=C TZ=UTC GNUPGHOME=$WORK/gnupg HOME=$WORK
umask 022
trap 'gpgconf --kill all 2>/dev/null || true' EXIT
# shellcheck source=metadata.sh
. "$here/metadata.sh"

# Releases are half a year apart.
epoch_of() { date -ud "2024-05-01 + $((6 * (${1#*.} - 4))) months" +%s; }

# logged NAME COMMAND...: quiet, unless it fails.
logged() {
  local log=$WORK/$1.log
  shift
  "$@" > "$log" 2>&1 || { tail -n 30 "$log" >&2; echo "make.sh: ${1##*/} failed" >&2; return 1; }
}

# A key that signs, and one that nobody trusts; both older than what they sign.
make_keys() {
  local who
  mkdir -p "$WORK/keys"
  if [ ! -d "$GNUPGHOME" ]; then
    install -d -m 700 "$GNUPGHOME"
    for who in mini forger; do
      logged gpg gpg --batch --quiet --faked-system-time '20200101T000000!' --pinentry-mode loopback --passphrase '' \
        --quick-generate-key "$who <$who@example.invalid>" rsa2048 sign never
    done
  fi
  for who in mini forger; do gpg --armor --export "$who@example.invalid" > "$WORK/keys/$who.asc"; done
}

# What the specs package, in $src.
make_sources() {
  mkdir -p "$src"
  cp "$(command -v busybox)" "$src/busybox"
  cp "$WORK/keys/mini.asc" "$src/RPM-GPG-KEY-Mini"
  if [ -n "$KERNEL" ]; then cp "$KERNEL" "$src/vmlinuz"; else head -c 4194304 < <(yes "kernel $V") > "$src/vmlinuz"; fi
  [ -z "$MODULES" ] || { mkdir -p "$src/modules" && cp -r "$MODULES/." "$src/modules/"; }
  # Bytes that do not compress, the same each time.
  head -c $((BIG_MIB << 20)) < <(openssl enc -aes-128-ctr -nosalt -pass pass:mini -md sha256 < /dev/zero 2>/dev/null) > "$src/big"
}

# build DIR SPEC [OPTION...]
build() {
  local dir=$1 spec=$2
  shift 2
  mkdir -p "$dir"
  # Debian's rpm runs scripts with dash; static programs of two packages would have the same build id.
  logged rpmbuild rpmbuild -bb --target x86_64-linux --define "_topdir $WORK/rpmbuild" --define "_dbpath $WORK/rpmdb" \
    --define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' --define '_buildshell /bin/bash' \
    --define '_binary_payload w3.zstdio' --define '_buildhost build.mini' --define 'debug_package %{nil}' \
    --define '_build_id_links none' --define '__os_install_post %{nil}' --define '__find_requires %{nil}' \
    --define '__find_provides %{nil}' --define '_use_internal_dependency_generator 0' \
    --define 'use_source_date_epoch_as_buildtime 1' --define 'clamp_mtime_to_source_date_epoch 1' --define 'vendor Mini' \
    --define "src $src" --define "version_id $V" --define "minor ${V#*.}" --define "krel 42${V#*.}" \
    --define "module_version $(module_version "$V")" --define "_rpmdir $dir" "$@" "$here/specs/$spec.spec"
}

# sign WHO FILE...
sign() {
  local who=$1
  shift
  logged rpmsign rpmsign --addsign --define "_gpg_name $who@example.invalid" --define "__gpg $(command -v gpg)" \
    --define "_gpg_path $GNUPGHOME" \
    --define "_gpg_sign_cmd_extra_args --faked-system-time $SOURCE_DATE_EPOCH! --pinentry-mode loopback" "$@"
}

# shelve DIR: Packages/k/kernel-core….rpm, as media have it.
shelve() {
  local file name
  for file in "$1"/*.rpm; do
    name=${file##*/}
    mkdir -p "$1/Packages/${name:0:1}" && mv "$file" "$1/Packages/${name:0:1}/"
  done
}

# index DIR [OPTION...]: its repodata. Times of packages are in there.
index() {
  local dir=$1
  shift
  find "$dir" -exec touch -hd "@$(epoch_of 9.4)" {} +
  logged createrepo createrepo_c --quiet --set-timestamp-to-revision --revision "$SOURCE_DATE_EPOCH" --unique-md-filenames \
    --no-database "$@" "$dir"
}

# Enough for a medium that looks as if it boots; there is no boot loader on it.
boot_files() {
  mkdir -p "$tree/EFI/BOOT" "$tree/images/pxeboot"
  echo "menuentry 'Install Mini $V' { linuxefi /images/pxeboot/vmlinuz }" > "$tree/EFI/BOOT/grub.cfg"
  cp "$src/vmlinuz" "$tree/images/pxeboot/vmlinuz"
  truncate -s 2M "$tree/images/efiboot.img"
  echo stage2 > "$tree/images/install.img"
  [ "$HUGE_MIB" = 0 ] || { truncate -s "${HUGE_MIB}M" "$tree/images/huge.bin" && printf end >> "$tree/images/huge.bin"; }
}

make_packages() {
  local now=$SOURCE_DATE_EPOCH spec stream
  # What did not change since the first release is built and signed at its time, so it is the same file in both.
  SOURCE_DATE_EPOCH=$(epoch_of 9.4)
  for spec in filesystem setup busybox; do build "$tree/BaseOS" $spec; done
  for spec in pinger bigfile; do build "$tree/AppStream" $spec; done
  sign mini "$tree"/*/*.rpm && shelve "$tree/BaseOS" && shelve "$tree/AppStream"
  SOURCE_DATE_EPOCH=$now
  for spec in mini-release kernel-core beacon; do build "$tree/BaseOS" $spec; done
  for stream in 1 2; do build "$tree/AppStream" webd --define "stream $stream"; done
  sign mini "$tree"/*/*.rpm && shelve "$tree/BaseOS" && shelve "$tree/AppStream"
}

make_tree() {
  local name
  rm -rf "$tree" && mkdir -p "$tree"
  make_packages
  comps core:filesystem,setup,busybox,mini-release standard:beacon > "$src/comps-BaseOS.xml"
  comps core:filesystem,setup,busybox,mini-release oddities:pinger,+bigfile > "$src/comps-AppStream.xml"
  for name in BaseOS AppStream; do index "$tree/$name" --groupfile "$src/comps-$name.xml"; done
  modules "$V" > "$src/modules.yaml"
  logged modifyrepo modifyrepo_c --mdtype=modules "$src/modules.yaml" "$tree/AppStream/repodata"
  # modifyrepo_c writes the time of the day.
  sed -i "s,<timestamp>.*</timestamp>,<timestamp>$SOURCE_DATE_EPOCH</timestamp>," "$tree"/*/repodata/repomd.xml
  cp "$src/RPM-GPG-KEY-Mini" "$tree/"
  boot_files
  disc_info "$tree"
  tree_info "$tree" AppStream BaseOS
  find "$tree" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
}

make_bad() {
  local faulty=$bad/Faulty
  rm -rf "$bad" && mkdir -p "$bad"
  cp -a "$tree/BaseOS" "$tree/RPM-GPG-KEY-Mini" "$bad/"
  build "$faulty" faulty
  sign mini "$faulty"/[!uf]*.rpm "$faulty"/fail-*.rpm    # not unsigned, not forged
  sign forger "$faulty"/forged-*.rpm
  shelve "$faulty"
  index "$faulty"
  printf x | dd of="$(echo "$faulty"/Packages/d/damaged-*.rpm)" bs=1 seek=3000 conv=notrunc status=none
  tree_info "$bad" BaseOS Faulty
  find "$bad" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
}

make_iso() {
  logged xorriso xorriso -as mkisofs -quiet -iso-level 3 -R -J -joliet-long -V "Mini-${V/./-}-x86_64-dvd" \
    --modification-date="$(date -ud "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S00)" \
    -eltorito-alt-boot -e images/efiboot.img -no-emul-boot -o "$WORK/mini-$V.iso" "$tree"
  logged implantisomd5 implantisomd5 --supported-iso "$WORK/mini-$V.iso"
}

make_keys
for V; do
  SOURCE_DATE_EPOCH=$(epoch_of "$V") && export SOURCE_DATE_EPOCH
  src=$WORK/src-$V tree=$WORK/tree-$V bad=$WORK/bad-$V
  make_sources
  make_tree
  make_bad
  make_iso
done
for V; do echo "$WORK/mini-$V.iso"; done
