#!/bin/dash
# uml-init.sh: the first process of a guest of uml-run.sh; nobody else calls it. CVRUN comes from the kernel's command
# line: the run's directory on the host, with the files cmd, cwd, share (a path, or empty) and the wrapper bin/modprobe.
RUN=$CVRUN
unset CVRUN
export PATH=/run/ctl/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/run TERM=dumb LC_ALL=C.UTF-8 TMPDIR=/run/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mkdir -p /run/lock /run/tmp /run/ctl
mount -t devtmpfs dev /dev 2>/dev/null     # the kernel may have done it
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
ln -sfn /proc/self/fd /dev/fd
mount -t hostfs -o "$RUN" none /run/ctl
[ ! -e /run/ctl/booted ] || halt -f -p      # a restart would run the command again, for ever
: > /run/ctl/booted
# The kernel loads what a mount, mdadm or dmsetup asks for, through a wrapper that knows where the modules are.
echo /run/ctl/bin/modprobe > /proc/sys/kernel/modprobe
modprobe -a md_mod dm_mod loop dm_thin_pool dm_crypt 2>/dev/null     # lvm asks modprobe itself, not the kernel
ip link set lo up 2>/dev/null
# There is no udev: mdadm and lvm would wait for it.
export MDADM_NO_UDEV=1 DM_DISABLE_UDEV=1
if [ -d /etc/lvm ]; then
  mount -t tmpfs lvm /etc/lvm
  cat > /etc/lvm/lvm.conf <<'LVM'
devices { obtain_device_list_from_udev=0 use_devicesfile=0 external_device_info_source="none" }
activation { udev_sync=0 udev_rules=0 monitoring=0 verify_udev_operations=0 }
backup { backup=0 archive=0 }
LVM
fi
share=$(cat /run/ctl/share)
[ -z "$share" ] || mount -t hostfs -o "$share" none /mnt
cd "$(cat /run/ctl/cwd)" || cd /
# Nobody can look into a guest that is killed at its limit: shortly before it says itself what it does.
late() {
  limit=$(cat /run/ctl/limit)
  [ "$limit" -gt 15 ] || return
  sleep $((limit - (limit > 100 ? limit / 5 : 15)))
  exec > /dev/console 2>&1
  echo "@late: near its limit, these run or wait:"
  ps -e --sort pid -o pid,stat,time,wchan:24,args | awk 'NR == 1 || $5 !~ /^\[/ || $2 ~ /^[DR]/'
  for task in $(ps -e -o pid,stat | awk '$2 ~ /^D/ {print $1}'); do echo "$task $(cat "/proc/$task/comm"):"; cat "/proc/$task/stack"; done
  cat /proc/mdstat
  dmesg | tail -n 20
}
late &
echo @begin
bash /run/ctl/cmd
echo $? > /run/ctl/rc
sync
halt -f -p >/dev/null 2>&1
