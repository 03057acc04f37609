# shellcheck shell=bash
# python: the wheel, its types, its behaviour.
each 1500 tests/python/run.sh
