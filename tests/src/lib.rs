//! libcv-tests
