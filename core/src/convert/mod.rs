//! Images from and to other formats.

mod build;
pub mod tar;
