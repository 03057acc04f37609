# shellcheck shell=bash
# storage: real MD, partitions and filesystems, in User-Mode Linux.
# Its kernel keeps the floating point state of a process in a fixed space, which that of processors with AMX does not fit.
said=$(tests/storage/uml-run.sh -v -t 20 -- true 2>&1)
if [[ $said == *put_fp_registers* ]]; then
  skip "storage" "User-Mode Linux does not run on this processor: the state of its registers is larger than that kernel knows"
else
  each 600 tests/storage/selftest.sh
  need_cvctl && each 600 tests/storage/test_*.sh
fi
