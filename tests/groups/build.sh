# shellcheck shell=bash
# build: images from a distribution and roles, by the real dnf and apt in the confined root. The miniature distribution is made
# once.
if need_building_cvctl; then
  run "miniature distribution" 300 bash tests/beds/distro/make.sh "$LOGS/mini"
  export CV_MINI=$LOGS/mini
  each 1500 tests/build/test_*.py
  rm -rf "$LOGS/mini"
fi
