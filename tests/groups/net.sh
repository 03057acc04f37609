# shellcheck shell=bash
# net: networks of namespaces, and servers on loopback.
each 300 tests/net/selftest.sh
# That with guests is in `vm`.
shopt -s extglob
need_building_cvctl && each 900 tests/http/test_*.py tests/mcast/test_!(guests).py
