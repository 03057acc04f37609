#!/bin/bash
# uml.sh DIR: puts a User-Mode Linux into DIR (linux.uml, modules, lib) that runs on this processor, and prints DIR.
#
# Up to 6.12 that kernel keeps the floating point state of a process in a fixed space, which that of a processor with AMX
# does not fit. So where the machine's own (Debian package user-mode-linux) does not start, the one of Debian's unstable
# distribution is taken, with the C library that it wants. apt fetches and verifies both, with lists of its own; nothing
# of the machine is changed.
# Needs: Debian, patchelf, user-mode-linux or a network.    Time: 2 s, or 30 s and 200 MB for the other one.
# Exit: 0; 1 when there is none that runs, with the reason.
set -euo pipefail
OUT=$(realpath -m "${1:?call it with a directory}")
SUITE=sid

# Without a disk it stops early, and has then run more than the processor's state needs: it panics for want of a root.
runs() { local said; said=$(timeout -s KILL 20 "$1" mem=64M root=/dev/root rootfstype=hostfs rootflags=/ ro init=/bin/true \
  con=null con0=null,fd:1 quiet 2>&1 < /dev/null) || true; [[ $said != *put_fp_registers* && $said == *"Attempted to kill init"* ]]; }

[ ! -x "$OUT/linux.uml" ] || { echo "$OUT"; exit 0; }
mkdir -p "${OUT%/*}"
exec 9> "$OUT.lock"
flock 9
[ ! -x "$OUT/linux.uml" ] || { echo "$OUT"; exit 0; }
rm -rf "$OUT.part"
mkdir -p "$OUT.part/lists/partial" "$OUT.part/archives/partial"
own=$(command -v linux.uml || true)
if [ -n "$own" ] && runs "$own"; then
  ln -s "$own" "$OUT.part/linux.uml"
  ln -s /usr/lib/uml/modules "$OUT.part/modules"
else
  command -v patchelf > /dev/null || { echo "uml.sh: install patchelf" >&2; exit 1; }
  cd "$OUT.part"
  # From where this machine has its own packages.
  from=$(apt-get indextargets --format '$(SITE) $(REPO_URI) $(ORIGIN) $(LABEL)' | awk '$3 == "Debian" && $4 == "Debian" {print $2; exit}')
  [ -n "$from" ] || { echo "uml.sh: this machine has no packages of Debian" >&2; exit 1; }
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $from $SUITE main" > sources
  apt=(apt-get -q -o "Dir::Etc::SourceList=$PWD/sources" -o "Dir::Etc::SourceParts=/dev/null" -o "Dir::State::Lists=$PWD/lists"
    -o "Dir::Cache=$PWD" -o "Dir::Cache::Archives=$PWD/archives" -o "Dir::State::Status=/dev/null" -o "APT::Sandbox::User=root")
  { "${apt[@]}" update && "${apt[@]}" download user-mode-linux libc6; } > log 2>&1 ||
    { tail -n 5 log >&2; echo "uml.sh: the packages of $SUITE could not be fetched" >&2; exit 1; }
  for package in *.deb; do dpkg-deb -x "$package" root; done
  mv root/usr/lib/uml/modules modules
  mv root/usr/lib/x86_64-linux-gnu lib
  mv root/usr/bin/linux.uml linux.uml
  # Where it will be, not where it is made.
  patchelf --set-interpreter "$OUT/lib/ld-linux-x86-64.so.2" --set-rpath "$OUT/lib" linux.uml
  rm -rf root lists archives sources log ./*.deb ./*.bin
fi
rm -rf "$OUT"
mv "$OUT.part" "$OUT"
runs "$OUT/linux.uml" || { rm -rf "$OUT"; echo "uml.sh: User-Mode Linux does not run on this processor" >&2; exit 1; }
echo "$OUT"
