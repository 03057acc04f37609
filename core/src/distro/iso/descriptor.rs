//! The volume descriptors, read before the parser sees the medium: it believes in their sizes, we do not.
//!
//! ```text
//!  sector 16   1 CD001  primary: name of the volume, its size, path table, application use
//!         17…  0, 2, 3  boot record, Joliet, partitions
//!              255      the end
//! ```
//!
//! ECMA-119 §8.

use super::medium::ReadAt;
use crate::error::{Error, Result};

/// Bytes of a sector.
pub const SECTOR: u64 = 2048;
const FIRST: u64 = 16;
/// A list without an end is none.
const DESCRIPTORS_LIMIT: u64 = 64;
/// Directories of a medium with a million of them need no more.
const PATH_TABLE_LIMIT: u64 = 16 << 20;

/// Where the application use field stands in a descriptor, and how long it is; of it the media checksum takes 512 bytes.
pub const APPLICATION_USE: (usize, usize) = (883, 512);

/// What a primary descriptor says.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Name of the volume.
    pub name: String,
    /// Bytes that the volume says it has.
    pub size: u64,
    /// Where its descriptor stands.
    pub offset: u64,
    /// The application use field.
    pub application: Vec<u8>,
}

impl Volume {
    /// Reads the descriptors.
    ///
    /// # Errors
    /// `Integrity` when there are none or the medium ends before; `UnsafeInput` when their list does not end, or a table
    /// stands outside of the medium.
    pub fn read(medium: &dyn ReadAt) -> Result<Self> {
        let mut sector = [0; SECTOR as usize];
        let mut primary = None;
        for n in FIRST..FIRST + DESCRIPTORS_LIMIT {
            let offset = n * SECTOR;
            medium.read_exact_at(&mut sector, offset).map_err(|e| match e.kind() {
                std::io::ErrorKind::UnexpectedEof if n == FIRST => none(),
                std::io::ErrorKind::UnexpectedEof => Error::integrity("the medium ends within its descriptors"),
                _ => Error::io("read", "the medium", e),
            })?;
            if &sector[1..6] != b"CD001" {
                return Err(if n == FIRST { none() } else { Error::integrity("the list of descriptors is damaged") });
            }
            match sector[0] {
                255 => return primary.ok_or_else(|| Error::integrity("the medium has no primary descriptor")),
                1 => {
                    let volume = Self::primary(&sector, offset, medium.length())?;
                    primary.get_or_insert(volume);
                }
                _ => {}
            }
        }
        Err(Error::unsafe_input(format!("the list of descriptors has no end within {DESCRIPTORS_LIMIT} sectors")))
    }

    fn primary(sector: &[u8], offset: u64, length: u64) -> Result<Self> {
        let number =
            |at: usize| u64::from(u32::from_le_bytes([sector[at], sector[at + 1], sector[at + 2], sector[at + 3]]));
        let size = number(80) * SECTOR;
        let (table, at) = (number(132), number(140) * SECTOR);
        if table > PATH_TABLE_LIMIT {
            return Err(Error::unsafe_input(format!("the path table says that it has {table} bytes")));
        }
        if at + table > length {
            return Err(outside("the path table", length, size));
        }
        let name = String::from_utf8_lossy(&sector[40..72]).trim_end().to_owned();
        let (from, n) = APPLICATION_USE;
        Ok(Self { name, size, offset, application: sector[from..from + n].to_vec() })
    }
}

fn none() -> Error {
    Error::integrity("this is not an ISO 9660 image")
}

/// Something reaches beyond the end of the file: because the end was cut off, or because it lies.
pub(super) fn outside(what: &str, length: u64, volume: u64) -> Error {
    let e = if length < volume {
        Error::integrity(format!("the medium is truncated: {what} is beyond its end")).hint("copy or download it again")
    } else {
        Error::unsafe_input(format!("{what} lies outside of the medium"))
    };
    e.fact("bytes", length).fact("expected", volume)
}
