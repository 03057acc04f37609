# shellcheck shell=bash
# netboot: firmware boots from the network.
skip "netboot" "comes with network boot"
