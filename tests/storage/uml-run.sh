#!/bin/bash
# uml-run.sh: runs a command as root under a User-Mode Linux kernel: real MD, DM, partitions and filesystems, at native
# speed, without KVM.
# Call:   uml-run.sh [-m MiB] [-t SECONDS] [-d FILE[,ro|,notrim]]... [-w DIR] [-a ARGUMENT]... [-v] -- COMMAND [ARG]...
#         / is the host's root, read-only; /dev and /run are private, TMPDIR is /run/tmp. -d FILE becomes /dev/ubda,
#         /dev/ubdb, … (at most 16, 512-byte sectors, no serial numbers), with notrim one that discards nothing: in pieces
#         of 32 KiB, hundreds of gigabytes take minutes; -w DIR is writable at /mnt; -a is for the kernel's command line;
#         -v shows its messages, too. The environment does not go in; the network is that of whoever calls.
# Exit:   the command's status; 124 time limit: before it the guest says what it does; 125 the guest ended without a
#         status, such as one that panics: the end of its log is shown.
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
  *) sed -n '2,14s/^# //p' "$0" >&2; exit 2;;
esac; done
[ $# -gt 0 ] || { sed -n '2,14s/^# //p' "$0" >&2; exit 2; }
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
printf '%s' "$LIMIT" > "$RUN/limit"
# modprobe -d wants DIR/lib/modules/VERSION; they are kept elsewhere.
mkdir -p "$RUN/k/lib" "$RUN/bin"
ln -s "$KERNEL/modules" "$RUN/k/lib/modules"
printf '#!/bin/dash\nexec /sbin/modprobe -d /run/ctl/k "$@"\n' > "$RUN/bin/modprobe"
chmod +x "$RUN/bin/modprobe"
i=0
for disk in ${DISKS[@]+"${DISKS[@]}"}; do
  case $disk in
    *,ro) ARGS+=("ubd${i}r=$(realpath "${disk%,ro}")");;
    *,notrim) ARGS+=("ubd${i}t=$(realpath "${disk%,notrim}")");;
    *) ARGS+=("ubd$i=$(realpath "$disk")");;
  esac
  i=$((i + 1))
done

mkfifo "$RUN/out"
tee "$RUN/log" < "$RUN/out" |
  if [ -n "$VERBOSE" ]; then cat; else sed -u -e '0,/^@begin/d' -e '/^reboot: /d'; fi &
READER=$!
# Memory is a file in TMPDIR, which must be mounted executable. Pinned: UML has one CPU, and a system call costs half as
# much when the tracer shares one of the host's. One that no other guest has, as long as its processes hold the lock.
# --pdeathsig, twice, and --kill-child: the guest dies with this script. The kernel is not the first process of its
# namespace: that one cannot abort, so a panic would spin until the limit, and nobody would hear why.
# The host's timer ticks, rather than being set for each next event: on a busy host that kernel (6.1) now and then misses
# the signal of such a timer; it then idles, no sleep ends any more, and nothing sets the timer again.
cpu=$(($$ % $(nproc)))
for ((i = 0; i < $(nproc); i++)); do
  exec 8> "$TMP/.libcv-uml-cpu$i"
  if flock -n 8; then cpu=$i; break; fi
done
TMPDIR=/dev/shm setpriv --pdeathsig KILL timeout --foreground -s KILL "$LIMIT" \
  setpriv --pdeathsig KILL unshare --pid --fork --kill-child=KILL --mount-proc dash -c '"$@"; exit $?' - \
  taskset -c "$cpu" "$KERNEL/linux.uml" "mem=${MEM}M" root=/dev/root rootfstype=hostfs rootflags=/ ro \
  "init=$HERE/uml-init.sh" "CVRUN=$RUN" "uml_dir=$RUN/" umid=u con=null con0=null,fd:1 ssl=null quiet nohz=off highres=off \
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
