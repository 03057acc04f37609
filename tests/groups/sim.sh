# shellcheck shell=bash
# sim: thousands of simulated nodes.
skip "sim" "comes with the multicast protocol"
