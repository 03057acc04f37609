# shellcheck shell=bash
# net: networks of namespaces.
each 300 tests/net/selftest.sh tests/net/test_*
