//! Images from and to other formats.

pub mod tar;
