//! libcv-python
