//! Images from and to other formats.
//!
//! ```text
//!  tar ────────────────────────┐                      ┌─> tar, cpio, erofs        own writers, streams
//!  OCI: layers ──> whiteouts ──┼─> Builder ─> image ──┼─> OCI: layout, archive
//!  squashfs ──> sqfs2tar ──────┘              │       └─> tar ──> tar2sqfs ──> squashfs
//!                                             └─> derive: squashfs, erofs or cpio, once, into the store
//! ```
//!
//! [`import`] tells the format by content, [`export`] writes a file or directory that has its name only when it is
//! whole. What a format cannot hold is in the report. The normative texts are `core/docs/tar.md`, `oci.md` and
//! `formats.md`.

mod aside;
mod bring;
pub(crate) mod build;
mod cpio;
mod derive;
mod erofs;
mod export;
mod input;
pub mod oci;
mod rows;
mod squashfs;
pub mod tar;

pub use bring::{ImportOptions, Imported};
pub use derive::{Derivation, DeriveKind, DeriveOptions, derive, derive_to, write_derived};
pub use export::{ExportOptions, Exported, Format, export, export_to};
pub use input::import;
