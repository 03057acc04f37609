//! Invariant: any bytes give entries or an error, never a panic and never more memory than the limits allow; entries
//! that come out can be written, and are the same when they are read again.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| libcv::convert::tar::fuzz(bytes));
