#!/bin/bash
# uml-run.sh: runs a command as root under a User-Mode Linux kernel: real MD, DM, partitions and filesystems, at native
# speed, without KVM.
# Call:   uml-run.sh [-m MiB] [-t SECONDS] [-d FILE[,ro]]... [-w DIR] [-v] -- COMMAND [ARG]...
#         / is the host's root, read-only; /dev and /run are private. -d FILE becomes /dev/ubda, /dev/ubdb, …;
#         -w DIR is writable at /mnt; -v shows the kernel's messages. Exit: the command's; 124 time limit; 125 no status.
# Needs:  user-mode-linux.    Time: 2.2 s for "true".
set -euo pipefail
MEM=1024 LIMIT=120 SHARE='' VERBOSE='' ARGS=() DISKS=()
while [ $# -gt 0 ]; do case $1 in
  -m) MEM=$2; shift 2;;  -t) LIMIT=$2; shift 2;;  -d) DISKS+=("$2"); shift 2;;  -w) SHARE=$(realpath "$2"); shift 2;;
  -v) VERBOSE=1; shift;;  --) shift; break;;  *) sed -n '2,8s/^# //p' "$0" >&2; exit 2;;
esac; done
RUN=$(realpath "$(mktemp -d "${TMPDIR:-/tmp}/libcv-uml.XXXXXX")")
trap 'rm -rf "$RUN"' EXIT
printf '%q ' "$@" > "$RUN/cmd"
# modprobe -d wants DIR/lib/modules/VERSION; the package keeps them elsewhere.
mkdir -p "$RUN/k/lib" "$RUN/bin"; ln -s /usr/lib/uml/modules "$RUN/k/lib/modules"
printf '#!/bin/dash\nexec /sbin/modprobe -d /run/ctl/k "$@"\n' > "$RUN/bin/modprobe"
cat > "$RUN/init" <<INIT
#!/bin/dash
export PATH=/run/ctl/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TERM=dumb LC_ALL=C.UTF-8 TMPDIR=/run/tmp
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs run /run; mkdir -p /run/lock /run/tmp /run/ctl
mount -t devtmpfs dev /dev 2>/dev/null; mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
ln -sfn /proc/self/fd /dev/fd; mount -t hostfs -o $RUN none /run/ctl
echo /run/ctl/bin/modprobe > /proc/sys/kernel/modprobe         # the kernel loads what a mount or mdadm asks for
modprobe -a md_mod dm_mod loop 2>/dev/null; ip link set lo up 2>/dev/null
# There is no udev: without these, mdadm and lvm wait for it.
export MDADM_NO_UDEV=1 DM_DISABLE_UDEV=1
[ -d /etc/lvm ] && mount -t tmpfs lvm /etc/lvm && cat > /etc/lvm/lvm.conf <<LVM
devices { obtain_device_list_from_udev=0 use_devicesfile=0 external_device_info_source="none" }
activation { udev_sync=0 udev_rules=0 monitoring=0 verify_udev_operations=0 }
backup { backup=0 archive=0 }
LVM
${SHARE:+mount -t hostfs -o $SHARE none /mnt}
cd "$PWD" || cd /; echo "@begin"
bash -c "\$(cat /run/ctl/cmd)"; echo \$? > /run/ctl/rc; sync; halt -f -p >/dev/null 2>&1
INIT
chmod +x "$RUN/init" "$RUN/bin/modprobe"
i=0
for d in ${DISKS[@]+"${DISKS[@]}"}; do
  case $d in *,ro) ARGS+=("ubd${i}r=$(realpath "${d%,ro}")");; *) ARGS+=("ubd$i=$(realpath "$d")");; esac
  i=$((i + 1))
done
set +e
# Pinned: UML has one CPU, and a system call costs half as much when the tracer shares one of the host's.
TMPDIR=/dev/shm timeout -k 5 "$LIMIT" taskset -c "$(($$ % $(nproc)))" linux.uml "mem=${MEM}M" root=/dev/root \
  rootfstype=hostfs rootflags=/ ro "init=$RUN/init" "uml_dir=$RUN/" umid=u con=null con0=null,fd:1 ssl=null quiet \
  ${ARGS[@]+"${ARGS[@]}"} </dev/null 2>&1 | tee "$RUN/log" |
  if [ -n "$VERBOSE" ]; then cat; else sed -u -e '1,/^@begin/d' -e '/^reboot: System halted/d'; fi
rc=${PIPESTATUS[0]}
[ "$rc" = 124 ] || [ "$rc" = 137 ] && exit 124
[ -s "$RUN/rc" ] && exit "$(cat "$RUN/rc")"
[ -n "$VERBOSE" ] || tail -20 "$RUN/log" >&2
exit 125
