# shellcheck shell=bash
# fuzz: each fuzz target for 10 s, with --full for two minutes.
run "fuzz" 3600 tests/fuzz.sh "$([ "$FULL" = 1 ] && echo 120 || echo 10)"
