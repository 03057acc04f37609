//! A tree on a filesystem: walked, read, extracted, compared.

pub mod compare;
pub mod entry;
pub mod extract;
pub mod pattern;
pub mod read;
pub mod walk;

pub use entry::{Entry, Tree};
