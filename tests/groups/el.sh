# shellcheck shell=bash
# el: a real Rocky or RHEL ISO, where somebody has one.
if [ -n "${LIBCV_EL_ISO:-}" ]; then
  skip "el" "images from an ISO come later; $LIBCV_EL_ISO was not used"
else
  skip "el" "set LIBCV_EL_ISO to the path of a Rocky or RHEL ISO"
fi
