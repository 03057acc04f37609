#!/bin/bash
# selftest.sh: the bed of namespaces itself. A file goes from one host to another, a datagram to a group reaches all, what
# a killed run left is removed with its processes, and a run beside this one is left alone.
# Needs:  root, iproute2, python3.    Time: 2 s.
set -euo pipefail
cd "$(dirname "$0")"
[ "$(id -u)" = 0 ] || { echo "run it as root"; exit 77; }
ip netns add "cvprobe$$" 2>/dev/null || { echo "this system has no network namespaces, or no iproute2"; exit 77; }
ip netns del "cvprobe$$"
# shellcheck source=tests/net/netns.sh
. ./netns.sh
WORK=$(mktemp -d)
die() { echo "$*"; exit 1; }

# A run that is killed in its middle, with a process in a host; and one that goes on.
cat > "$WORK/other.sh" <<'OTHER'
. ./netns.sh
net_begin
net_host a 10.99.0.1/24
net_start a sleep 300
echo "$NET_PID" > "$1.new"
mv "$1.new" "$1"
wait
OTHER
bash "$WORK/other.sh" "$WORK/dead" 2>/dev/null & dead=$!
bash "$WORK/other.sh" "$WORK/alive" 2>/dev/null & alive=$!
trap 'kill $alive 2>/dev/null || true; net_end; rm -rf "$WORK"' EXIT
for _ in $(seq 100); do [ ! -s "$WORK/dead" ] || [ ! -s "$WORK/alive" ] || break; sleep 0.1; done
{ kill -9 $dead; wait $dead; } 2>/dev/null || true
ip netns list | grep -q "^cv$dead-a" || die "the killed run left nothing: this shows nothing"
net_begin
trap 'kill $alive 2>/dev/null || true; net_end; rm -rf "$WORK"' EXIT
! ip netns list | grep -q "^cv$dead-" || die "what the killed run left was not removed"
for _ in $(seq 30); do kill -0 "$(cat "$WORK/dead")" 2>/dev/null || break; sleep 0.1; done      # until somebody reaps it
! kill -0 "$(cat "$WORK/dead")" 2>/dev/null || die "the killed run's process was not ended"
ip netns list | grep -q "^cv$alive-a" || die "a run that goes on was taken down"
kill $alive; wait $alive 2>/dev/null || true
! ip netns list | grep -q "^cv$alive-" || die "a run that was asked to end left something"
echo "ok: leftovers go, others stay"

net_host a 10.99.0.1/24
net_host b 10.99.0.2/24
net_host c 10.99.0.3/24
head -c 3000000 /dev/urandom > "$WORK/file"
net_start a python3 -m http.server 8080 --bind 10.99.0.1 --directory "$WORK" 2>/dev/null
cat > "$WORK/get.py" <<'GET'
import shutil, sys, time, urllib.request
for _ in range(100):
    try:
        with urllib.request.urlopen(sys.argv[1]) as r, open(sys.argv[2], "wb") as f:
            shutil.copyfileobj(r, f)
        break
    except OSError:
        time.sleep(0.1)
GET
net_in b python3 "$WORK/get.py" http://10.99.0.1:8080/file "$WORK/copy"
cmp "$WORK/file" "$WORK/copy"
echo "ok: a file by HTTP"

cat > "$WORK/group.py" <<'GROUP'
import socket, struct, sys
group, port = "239.1.2.3", 9999
if sys.argv[1] == "send":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(50):
        s.sendto(b"to all", (group, port))
        __import__("time").sleep(0.1)
else:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((group, port))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4s", socket.inet_aton(group), socket.inet_aton(sys.argv[1])))
    s.settimeout(10)
    assert s.recv(100) == b"to all"
GROUP
net_start b python3 "$WORK/group.py" 10.99.0.2; b=$NET_PID
net_start c python3 "$WORK/group.py" 10.99.0.3; c=$NET_PID
net_start a python3 "$WORK/group.py" send
wait $b || die "b heard nothing"
wait $c || die "c heard nothing"
echo "ok: a datagram to a group"

if net_shape a loss 100%; then
  ! net_in b timeout 2 bash -c ': < /dev/tcp/10.99.0.1/8080' 2>/dev/null || die "a network that loses all let something through"
  echo "ok: a network that loses"
else
  echo "skipped: this kernel has no netem: networks that lose or delay cannot be tried"
fi
net_end
[ -z "$(_net_list "$NET-")" ] || die "something is left"
echo PASS
