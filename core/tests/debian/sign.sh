#!/bin/bash
# sign.sh DIR SUITE KEY [DATE [VERSION]]: Release, InRelease and Release.gpg for the lists in the directory SUITE, signed by KEY of
# DIR/gnupg; DATE is in seconds since 1970.
set -euo pipefail
export LC_ALL=C TZ=UTC GNUPGHOME=$1/gnupg
suite=$2 date=${4:-1714521600} arch=$(dpkg --print-architecture)
cd "$suite"
for list in main/binary-*/Packages; do
  gzip -9nkf "$list"
  xz -kf "$list"
done
{
  printf 'Origin: Debian\nLabel: Debian\nSuite: stable\nVersion: %s\nCodename: %s\n' "${5:-12.4}" "$(basename "$suite")"
  printf 'Date: %s\n' "$(date -u -d "@$date" '+%a, %d %b %Y %H:%M:%S UTC')"
  printf 'Architectures: %s\nComponents: main contrib\nDescription: Mini %s\nSHA256:\n' "$arch" "${5:-12.4}"
  for file in main/binary-*/Packages*; do
    printf ' %s %s %s\n' "$(sha256sum "$file" | cut -d' ' -f1)" "$(stat -c %s "$file")" "$file"
  done
} >Release
rm -f InRelease Release.gpg
gpg --batch --quiet --digest-algo SHA256 --pinentry-mode loopback --passphrase '' --local-user "$3@example.invalid" --clearsign --output InRelease Release
gpg --batch --quiet --digest-algo SHA256 --pinentry-mode loopback --passphrase '' --local-user "$3@example.invalid" --armor --detach-sign --output Release.gpg Release
