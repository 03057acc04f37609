//! Machines that were recorded: what the inventory says of them, and which disks a layout gets.
//!
//! The trees stand in `core/tests/golden/sysfs`, with the program that records them; what is expected of each stands
//! in `core/tests/golden/inventory`. `LIBCV_BLESS=1` writes the expectations anew.

mod matching;
mod planning;
mod properties;
mod reading;
mod recorded;
