# shellcheck shell=bash
# netns.sh: networks of named namespaces on one bridge, to be sourced by a bash test.
#
#   . tests/net/netns.sh
#   net_begin                          removes what killed runs left, makes the bridge, and takes all down at exit
#   net_host a 10.99.0.1/24            a host: a namespace with eth0 on the bridge; a name has five letters at most
#   net_in a COMMAND...                runs a command there
#   net_start a COMMAND...             the same in the background; its process id is in NET_PID
#   net_shape a delay 5ms loss 2%      what tc-netem can do to what the host sends; 1 where the kernel has no netem
#   net_end                            by hand; a test with a trap of its own calls it there
#
# Everything, the bridge too, is in namespaces called cvPID-NAME, PID being that of the test: nothing of the machine's own
# network is touched, what a killed run left is known by its dead process, and tests side by side do not meet.
# Needs:  root, iproute2.    Time: 0.1 s a host.
NET=cv$$
NET_PID=''

net_begin() {
  net_sweep
  trap net_end EXIT
  ip netns add "$NET-br"
  # Without a delay, or the first datagrams are lost; without snooping, or multicast waits for a querier.
  ip -n "$NET-br" link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0
  ip -n "$NET-br" link set br0 up
}

net_host() {
  local ns=$NET-$1
  [ ${#1} -le 5 ] || { echo "netns: $1 has more than five letters" >&2; return 2; }
  ip netns add "$ns"
  ip -n "$NET-br" link add name "$1" type veth peer name eth0 netns "$ns"      # "name": ip takes "a" for "address"
  ip -n "$NET-br" link set dev "$1" master br0 up
  ip -n "$ns" link set lo up
  ip -n "$ns" addr add "$2" dev eth0
  ip -n "$ns" link set eth0 up
  ip -n "$ns" route add 224.0.0.0/4 dev eth0
}

net_in() { local host=$1; shift; ip netns exec "$NET-$host" "$@"; }

net_start() {
  local host=$1
  shift
  ip netns exec "$NET-$host" "$@" &
  # shellcheck disable=SC2034  # for the test
  NET_PID=$!
}

net_shape() { local host=$1; shift; tc -n "$NET-$host" qdisc replace dev eth0 root netem "$@" 2>/dev/null; }

net_end() {
  local ns
  for ns in $(_net_list "$NET-"); do _net_delete "$ns"; done
}

# Removes the namespaces of tests whose process is gone.
net_sweep() {
  local ns pid
  for ns in $(_net_list cv); do
    pid=${ns#cv}
    pid=${pid%%-*}
    [ -d "/proc/$pid" ] || _net_delete "$ns"
  done
}

_net_list() { ip netns list | awk -v p="$1" 'index($1, p) == 1 && $1 ~ /^cv[0-9]+-/ {print $1}'; }

# A namespace lives as long as a process in it, whatever its name does.
_net_delete() {
  local pid
  for pid in $(ip netns pids "$1"); do { kill -9 "$pid"; wait "$pid"; } 2>/dev/null || true; done
  ip netns del "$1"
}
