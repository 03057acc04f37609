//! libcv-ffi
