//! Gives the shared library its soname, which rises with any break of the ABI.
#![allow(missing_docs)]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcv.so.0");
}
