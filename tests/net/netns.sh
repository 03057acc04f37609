# netns.sh: networks of namespaces, to be sourced. Everything is named cvN-…, N being the pid of the test, so that what a
# killed run left is recognised and removed by the next.
# Call:   . netns.sh; net_begin; net_host a 10.99.0.1/24; net_host b 10.99.0.2/24; net_in a COMMAND…
# Needs:  root, ip.    Time: 0.1 s a host.
NET=cv$$
net_begin() {
  local ns pid
  # Names of namespaces and bridges of tests whose process is gone.
  for ns in $(ip netns list 2>/dev/null | awk '/^cv[0-9]+-/ {print $1}'); do
    pid=${ns#cv}; pid=${pid%%-*}; [ -d "/proc/$pid" ] || ip netns del "$ns"
  done
  for ns in $(ip -o link show type bridge 2>/dev/null | awk -F': ' '$2 ~ /^cv[0-9]+-br/ {print $2}'); do
    pid=${ns#cv}; pid=${pid%%-*}; [ -d "/proc/$pid" ] || ip link del "$ns"
  done
  ip link add "$NET-br" type bridge forward_delay 0
  ip link set "$NET-br" up
  trap net_end EXIT
}
net_host() {
  ip netns add "$NET-$1"
  ip link add "$NET-$1" type veth peer name eth0 netns "$NET-$1"
  ip link set "$NET-$1" master "$NET-br" up
  ip -n "$NET-$1" link set lo up
  ip -n "$NET-$1" addr add "$2" dev eth0
  ip -n "$NET-$1" link set eth0 up
}
net_in() { local host=$1; shift; ip netns exec "$NET-$host" "$@"; }
net_end() {
  local ns
  for ns in $(ip netns list | awk -v p="$NET-" 'index($1, p) == 1 {print $1}'); do ip netns del "$ns"; done
  ip link del "$NET-br" 2>/dev/null || true
}
