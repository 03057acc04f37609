# shellcheck shell=bash
# build: images from an ISO and roles.
skip "build" "comes with images from a distribution's ISO"
