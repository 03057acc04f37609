skip "netboot" "comes with network boot"
