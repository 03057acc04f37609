#!/bin/bash
# selftest.sh: the namespace bed itself: a file goes from one host to another; what a killed run left is removed.
set -euo pipefail
cd "$(dirname "$0")"
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
ip netns add cvprobe$$ 2>/dev/null && ip netns del cvprobe$$ || { echo "needs network namespaces"; exit 77; }
# A run that is killed in the middle.
bash -c '. ./netns.sh; net_begin; net_host a 10.99.0.1/24; kill -9 $$' || true
ip netns list | grep -q '^cv[0-9]*-a' || { echo "nothing was left to clean: the test shows nothing"; exit 1; }
. ./netns.sh
net_begin
[ "$(ip netns list | grep -c '^cv[0-9]*-')" = 0 ] || { echo "leftovers were not removed"; exit 1; }
net_host a 10.99.0.1/24
net_host b 10.99.0.2/24
WORK=$(mktemp -d); trap 'net_end; rm -rf "$WORK"' EXIT
head -c 3000000 /dev/urandom > "$WORK/file"
(cd "$WORK" && exec ip netns exec "$NET-a" python3 -m http.server 8080 --bind 10.99.0.1) >/dev/null 2>&1 &
server=$!
for _ in $(seq 50); do net_in b bash -c 'exec 3<>/dev/tcp/10.99.0.1/8080' 2>/dev/null && break; sleep 0.1; done
net_in b python3 -c 'import sys, urllib.request; open(sys.argv[1], "wb").write(urllib.request.urlopen("http://10.99.0.1:8080/file").read())' "$WORK/copy"
kill $server
cmp "$WORK/file" "$WORK/copy"
echo PASS
