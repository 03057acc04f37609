#!/bin/bash
# make-iso.sh: a medium as large as those of Enterprise Linux, whose bytes do not compress any further.
#
# Call:   make-iso.sh WORK MIB     the last line on stdout is the ISO image, WORK/big-9.4.iso
# The miniature distribution of tests/beds/distro, and copies of its packages with random payloads behind their headers: 1.5
# MB in the mean, as on a DVD. The repodata are of createrepo_c. What was made already stays.
# Needs:  what tests/beds/distro/make.sh needs.  Time: 10 s, and as long as 4 times MIB take to write.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
WORK=${1:?the directory to work in} MIB=${2:?the size in MiB}
iso=$WORK/big-9.4.iso beds=$here/../tests/beds/distro
if [ ! -e "$iso" ]; then
  mkdir -p "$WORK"
  "$beds/make.sh" "$WORK" 9.4 >&2
  tree=$WORK/tree-9.4
  python3 - "$tree" "$MIB" <<'END'
import os, random, sys
tree, left = sys.argv[1], int(sys.argv[2]) << 20
chance = random.Random(1)
fronts = []
for at, _, names in os.walk(tree):
    for name in sorted(names):
        if name.endswith(".rpm"):
            with open(f"{at}/{name}", "rb") as f:
                fronts.append((at, name[:-4], f.read(64 << 10)))
fronts.sort()
n = 0
while left > 0:
    at, name, front = fronts[n % len(fronts)]
    n += 1
    size = min(200 << 20, int(chance.lognormvariate(12.2, 2)))
    with open(f"{at}/{name}.{n}.rpm", "wb") as f:
        f.write(front + os.urandom(size))
    left -= len(front) + size
END
  export SOURCE_DATE_EPOCH=1714521600 V=9.4 LC_ALL=C TZ=UTC
  # shellcheck source=../tests/beds/distro/metadata.sh
  . "$beds/metadata.sh"
  for name in BaseOS AppStream; do
    createrepo_c --quiet --unique-md-filenames --no-database --groupfile "$WORK/src-9.4/comps-$name.xml" "$tree/$name" >&2
  done
  modifyrepo_c --mdtype=modules "$WORK/src-9.4/modules.yaml" "$tree/AppStream/repodata" >&2
  tree_info "$tree" AppStream BaseOS
  xorriso -as mkisofs -quiet -iso-level 3 -R -J -joliet-long -V Big-9-4-x86_64-dvd -o "$iso.part" "$tree" >&2
  implantisomd5 --supported-iso "$iso.part" >&2
  mv "$iso.part" "$iso"
  rm -rf "$tree" "$WORK"/bad-*
fi
echo "$iso"
