skip "sim" "comes with the multicast protocol"
