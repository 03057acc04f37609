//! What is on an ISO image: paths, sizes, and where the bytes are. Nothing is mounted and nothing is written.
//!
//! ```text
//!  descriptors (ours) ──> parser (hadris-iso): records, Rock Ridge, Joliet ──> checks (ours) ──> Listing
//!                                                                                   pread <── extents
//! ```
//!
//! The parser is right about what a well-made medium says. What a hostile one says is for us to refuse: directories that
//! contain themselves, names that leave the tree, files outside of the medium, more data than there is.

mod descriptor;
mod medium;
mod walk;

pub use descriptor::{APPLICATION_USE, SECTOR, Volume};
pub use medium::{MediumFile, ReadAt};
pub use walk::{IsoFile, Listing};

#[cfg(test)]
mod tests;
