# shellcheck shell=bash
# el: the whole path on a real Rocky or RHEL ISO, where somebody has one.
if [ -z "${LIBCV_EL_ISO:-}" ]; then
  skip "el" "set LIBCV_EL_ISO to the path of a Rocky or RHEL ISO"
elif [ ! -e "$LIBCV_EL_ISO" ]; then
  fail "el" "LIBCV_EL_ISO is $LIBCV_EL_ISO, which is not there"
elif need_building_cvctl; then
  LIBCV_EL_ISO=$(realpath "$LIBCV_EL_ISO") && export LIBCV_EL_ISO
  each 7200 tests/el/test_*.py
fi
