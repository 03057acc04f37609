//! Tests that span packages. The beds and stories stand beside this package; `run.sh` runs them all.
