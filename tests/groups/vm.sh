# shellcheck shell=bash
# vm: disks boot in QEMU.
each 900 tests/vm/selftest.py
# With --full there are a dozen boots, and as many installations, of a minute or two each.
need_cvctl && each "$([ "$FULL" = 1 ] && echo 5400 || echo 900)" tests/vm/test_*
# The one for nodes has no multicast.
need_building_cvctl && each 900 tests/mcast/test_guests.py
