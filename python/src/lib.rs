//! The Python module `libcv._native`: core's model as frozen classes.
//!
//! ```text
//!  libcv (facade, exceptions, aio, progress) ──> libcv._native ──> libcv, the crate
//!                                                    │
//!                                                    └ wait.rs: work in a thread, events and Ctrl-C here
//! ```
//!
//! One file for each concept of core, under the same name. Docstrings and types are in `libcv/_native.pyi`.

mod build;
mod change;
mod config;
mod convert;
mod distro;
mod doctor;
mod error;
mod image;
mod job;
mod layout;
mod multicast;
mod options;
mod plan;
mod role;
mod row;
mod node;
mod server;
mod sign;
mod store;
mod wait;

/// The module. What it exports is described in `_native.pyi`.
#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::build::{
        BuildOptions, build_image, build_image_job, edit_image, edit_image_job, update_image, update_image_job,
    };
    #[pymodule_export]
    use crate::change::Change;
    #[pymodule_export]
    use crate::config::configure;
    #[pymodule_export]
    use crate::distro::{
        add_distro, add_distro_job, distro_info, list_distros, remove_distro, verify_distro, verify_distro_job,
    };
    #[pymodule_export]
    use crate::doctor::{
        doctor_multicast_receive, doctor_multicast_receive_job, doctor_multicast_send, doctor_multicast_send_job,
    };
    #[pymodule_export]
    use crate::image::Image;
    #[pymodule_export]
    use crate::job::Job;
    #[pymodule_export]
    use crate::layout::Layout;
    #[pymodule_export]
    use crate::multicast::{MulticastSource, multicast_receive, multicast_receive_job};
    #[pymodule_export]
    use crate::node::connect_job;
    #[pymodule_export]
    use crate::plan::Plan;
    #[pymodule_export]
    use crate::role::Role;
    #[pymodule_export]
    use crate::row::{Row, Rows};
    #[pymodule_export]
    use crate::server::{Server, doctor_http};
    #[pymodule_export]
    use crate::sign::generate_key;
    #[pymodule_export]
    use crate::store::Store;

    /// The version of the library.
    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    /// The table of errors: code and name of each kind.
    #[pyo3::pyfunction]
    fn error_kinds() -> Vec<(i32, &'static str)> {
        libcv::ErrorKind::ALL.into_iter().map(|k| (k.code(), k.name())).collect()
    }

    /// Runs `cvctl`.
    #[cfg(feature = "cli")]
    #[pyo3::pyfunction]
    fn main(py: pyo3::Python<'_>, argv: Vec<std::ffi::OsString>) -> u8 {
        py.detach(|| libcv::cli::run(argv))
    }
}
