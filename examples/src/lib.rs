//! libcv-examples
