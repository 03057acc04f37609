#!/bin/bash
# uml-run.sh: runs a command as root under a User-Mode Linux kernel: real MD, DM, partitions and filesystems, at native
# speed, without KVM.
# Call:   uml-run.sh [-m MiB] [-t SECONDS] [-d FILE[,ro]]... [-w DIR] [-a ARGUMENT]... [-v] -- COMMAND [ARG]...
#         / is the host's root, read-only; /dev and /run are private, TMPDIR is /run/tmp. -d FILE becomes /dev/ubda,
#         /dev/ubdb, … (at most 16, 512-byte sectors, no serial numbers); -w DIR is writable at /mnt; -a is for the
#         kernel's command line; -v shows its messages, too. The environment does not go in.
# Exit:   the command's status; 124 time limit; 125 the guest ended without a status: the end of its log is shown.
# A cut of the power is kill -9 of this script: the guest dies with it, and loses what its page cache held.
# Needs:  root, and what tests/beds/uml.sh makes.    Time: 2.2 s for "true" on a quiet machine. System calls are slow (20 us), computing
#         and large reads are native: prefer few large programs to many small ones.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
TARGET=${CARGO_TARGET_DIR:-$HERE/../../target}
KERNEL=$(realpath "${LIBCV_UML:-$TARGET/beds/uml}")
MEM=1024 LIMIT=120 SHARE='' VERBOSE='' ARGS=() DISKS=()
while [ $# -gt 0 ]; do case $1 in
  -m) MEM=$2; shift 2;;
  -t) LIMIT=$2; shift 2;;
  -d) DISKS+=("$2"); shift 2;;
  -w) SHARE=$(realpath "$2"); shift 2;;
  -a) ARGS+=("$2"); shift 2;;
  -v) VERBOSE=1; shift;;
  --) shift; break;;
  *) sed -n '2,12s/^# //p' "$0" >&2; exit 2;;
esac; done
[ $# -gt 0 ] || { sed -n '2,12s/^# //p' "$0" >&2; exit 2; }
[ -x "$KERNEL/linux.uml" ] || { echo "uml-run: no kernel at $KERNEL: tests/setup.sh storage" >&2; exit 77; }

TMP=${TMPDIR:-/tmp}
for old in "$TMP"/libcv-uml-*; do      # of runs that were killed
  pid=${old##*libcv-uml-}; [ ! -d "$old" ] || [ -d "/proc/${pid%%.*}" ] || rm -rf "$old"
done
RUN=$(realpath "$(mktemp -d "$TMP/libcv-uml-$$.XXXXXX")")
GUEST=''
# The guest is in a namespace of processes: when its first one goes, all go. UML's helpers hold the disks otherwise.
# shellcheck disable=SC2317  # called by the trap
finish() { [ -z "$GUEST" ] || { kill -9 "$GUEST"; wait "$GUEST"; } 2>/dev/null || true; rm -rf "$RUN"; }
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

printf '%q ' "$@" > "$RUN/cmd"
printf '%s' "$PWD" > "$RUN/cwd"
printf '%s' "$SHARE" > "$RUN/share"
# modprobe -d wants DIR/lib/modules/VERSION; they are kept elsewhere.
mkdir -p "$RUN/k/lib" "$RUN/bin"
ln -s "$KERNEL/modules" "$RUN/k/lib/modules"
printf '#!/bin/dash\nexec /sbin/modprobe -d /run/ctl/k "$@"\n' > "$RUN/bin/modprobe"
chmod +x "$RUN/bin/modprobe"
i=0
for disk in ${DISKS[@]+"${DISKS[@]}"}; do
  case $disk in
    *,ro) ARGS+=("ubd${i}r=$(realpath "${disk%,ro}")");;
    *) ARGS+=("ubd$i=$(realpath "$disk")");;
  esac
  i=$((i + 1))
done

mkfifo "$RUN/out"
tee "$RUN/log" < "$RUN/out" |
  if [ -n "$VERBOSE" ]; then cat; else sed -u -e '0,/^@begin/d' -e '/^reboot: /d'; fi &
READER=$!
# Memory is a file in TMPDIR, which must be mounted executable. Pinned: UML has one CPU, and a system call costs half as
# much when the tracer shares one of the host's. --pdeathsig, twice, and --kill-child: the guest dies with this script.
TMPDIR=/dev/shm setpriv --pdeathsig KILL timeout --foreground -s KILL "$LIMIT" \
  setpriv --pdeathsig KILL unshare --pid --fork --kill-child=KILL --mount-proc \
  taskset -c "$(($$ % $(nproc)))" "$KERNEL/linux.uml" "mem=${MEM}M" root=/dev/root rootfstype=hostfs rootflags=/ ro \
  "init=$HERE/uml-init.sh" "CVRUN=$RUN" "uml_dir=$RUN/" umid=u con=null con0=null,fd:1 ssl=null quiet \
  ${ARGS[@]+"${ARGS[@]}"} < /dev/null > "$RUN/out" 2>&1 &
GUEST=$!
# In the background and waited for: so this shell hears a signal while the guest runs.
rc=0
wait "$GUEST" || rc=$?
GUEST=''
wait "$READER" || true
case $rc in 124|137) echo "uml-run: over its limit of $LIMIT s" >&2; exit 124;; esac
[ ! -s "$RUN/rc" ] || exit "$(cat "$RUN/rc")"
[ -n "$VERBOSE" ] || tail -n 20 "$RUN/log" >&2
exit 125
