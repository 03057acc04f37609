# shellcheck shell=bash
# build: images from an ISO and roles.
skip "build" "distributions, roles and the build root are in unit; images from them are not made yet"
