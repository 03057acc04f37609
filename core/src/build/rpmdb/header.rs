//! The header of an installed package: what rpm keeps of it. Bytes in, values out.
//!
//! ```text
//!  entries u32 │ bytes u32 │ entries × (tag u32, type u32, offset u32, count u32) │ bytes of data        all big endian
//! ```
//!
//! What is in the data is only looked at when it is asked for, and never beyond its end.

use crate::build::packages::{Kind, Package};
use crate::error::{Error, Result};

/// rpm's own limits.
const ENTRIES: usize = 0xffff;
const DATA: usize = 0x0fff_ffff;
const ENTRY: usize = 16;

const INT32: u32 = 4;
const STRING: u32 = 6;
const ARRAY: u32 = 8;
const TRANSLATED: u32 = 9;

/// Tags of a header.
pub mod tag {
    /// SHA-256 of the immutable region, in hex.
    pub const SHA256: u32 = 273;
    /// The name.
    pub const NAME: u32 = 1000;
    /// The version.
    pub const VERSION: u32 = 1001;
    /// The release.
    pub const RELEASE: u32 = 1002;
    /// The epoch.
    pub const EPOCH: u32 = 1003;
    /// When it was built, in seconds since 1970.
    pub const BUILD_TIME: u32 = 1006;
    /// When it was installed.
    pub const INSTALL_TIME: u32 = 1008;
    /// Who made it.
    pub const VENDOR: u32 = 1011;
    /// The licence.
    pub const LICENSE: u32 = 1014;
    /// The architecture.
    pub const ARCH: u32 = 1022;
    /// The file name of the source package.
    pub const SOURCE: u32 = 1044;
    /// The module stream.
    pub const MODULE: u32 = 5096;
}

/// A header, borrowed from its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    index: &'a [u8],
    data: &'a [u8],
}

impl<'a> Header<'a> {
    /// Takes the bytes of the column `blob`.
    ///
    /// # Errors
    /// `Integrity` when they are no header.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let bad = |what: &str| Error::integrity(format!("a header of the package database {what}"));
        let word = |at| word(bytes, at).ok_or_else(|| bad("is cut off"));
        let (entries, length) = (word(0)? as usize, word(4)? as usize);
        if entries == 0 || entries > ENTRIES || length > DATA {
            return Err(bad("has an impossible size"));
        }
        let rest = &bytes[8..];
        if rest.len() != entries * ENTRY + length {
            return Err(bad("has another length than it says"));
        }
        let (index, data) = rest.split_at(entries * ENTRY);
        Ok(Self { index, data })
    }

    /// The text of a tag, the first one where there are several; `None` when it is not there, or is no text.
    #[must_use]
    pub fn text(&self, tag: u32) -> Option<&'a str> {
        let (kind, offset, _) = self.find(tag)?;
        if ![STRING, ARRAY, TRANSLATED].contains(&kind) {
            return None;
        }
        let bytes = self.data.get(offset..)?;
        std::str::from_utf8(&bytes[..memchr::memchr(0, bytes)?]).ok()
    }

    /// The first number of a tag; `None` when it is not there, or is none of 32 bits.
    #[must_use]
    pub fn number(&self, tag: u32) -> Option<u32> {
        let (kind, offset, count) = self.find(tag)?;
        if kind == INT32 && count > 0 { word(self.data, offset) } else { None }
    }

    /// The package; `None` for a key, which rpm keeps as if it were one.
    ///
    /// # Errors
    /// `Integrity` when it has no name or version.
    pub fn package(&self) -> Result<Option<Package>> {
        let need = |tag, what| {
            self.text(tag).ok_or_else(|| Error::integrity(format!("a header of the package database has no {what}")))
        };
        let name = need(tag::NAME, "name")?;
        if name == "gpg-pubkey" {
            return Ok(None);
        }
        let optional = |tag| self.text(tag).filter(|t| !t.is_empty()).map(str::to_owned);
        Ok(Some(Package {
            kind: Kind::Rpm,
            name: name.to_owned(),
            epoch: self.number(tag::EPOCH),
            version: need(tag::VERSION, "version")?.to_owned(),
            release: Some(need(tag::RELEASE, "release")?.to_owned()),
            arch: need(tag::ARCH, "architecture")?.to_owned(),
            license: optional(tag::LICENSE),
            source: optional(tag::SOURCE),
            vendor: optional(tag::VENDOR),
            header_sha256: optional(tag::SHA256),
            module: optional(tag::MODULE),
        }))
    }

    /// Type, offset and count of a tag.
    fn find(&self, tag: u32) -> Option<(u32, usize, u32)> {
        let entry = self.index.chunks_exact(ENTRY).find(|e| word(e, 0) == Some(tag))?;
        Some((word(entry, 4)?, word(entry, 8)? as usize, word(entry, 12)?))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_be_bytes(bytes.get(at..end)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header with these texts and numbers.
    fn header(texts: &[(u32, &str)], numbers: &[(u32, u32)]) -> Vec<u8> {
        let (mut index, mut data) = (Vec::new(), Vec::new());
        let mut entry = |words: [u32; 4]| index.extend(words.iter().flat_map(|w| w.to_be_bytes()));
        for (tag, text) in texts {
            entry([*tag, STRING, data.len() as u32, 1]);
            data.extend(text.as_bytes());
            data.push(0);
        }
        for (tag, number) in numbers {
            entry([*tag, INT32, data.len() as u32, 1]);
            data.extend(number.to_be_bytes());
        }
        let count = (texts.len() + numbers.len()) as u32;
        [count.to_be_bytes().to_vec(), (data.len() as u32).to_be_bytes().to_vec(), index, data].concat()
    }

    const BASE: [(u32, &str); 4] =
        [(tag::NAME, "base"), (tag::VERSION, "2.5"), (tag::RELEASE, "3.el9"), (tag::ARCH, "x86_64")];

    #[test]
    fn a_package_is_read_and_a_key_is_none() {
        let bytes = header(&[&BASE[..], &[(tag::LICENSE, "MIT"), (tag::MODULE, "")]].concat(), &[(tag::EPOCH, 1)]);
        let p = Header::parse(&bytes).unwrap().package().unwrap().unwrap();
        assert_eq!(
            (p.to_string(), p.license.as_deref(), p.module),
            ("base-1:2.5-3.el9.x86_64".into(), Some("MIT"), None)
        );
        let mut key = BASE;
        key[0].1 = "gpg-pubkey";
        assert_eq!(Header::parse(&header(&key, &[])).unwrap().package().unwrap(), None);
    }

    #[test]
    fn what_points_outside_is_not_there() {
        let mut bytes = header(&BASE, &[(tag::EPOCH, 1)]);
        let at = |entry: usize, word: usize| 8 + entry * ENTRY + word * 4;
        bytes[at(4, 2)..at(4, 3)].copy_from_slice(&u32::MAX.to_be_bytes());
        bytes[at(0, 2)..at(0, 3)].copy_from_slice(&0xffff_u32.to_be_bytes());
        let h = Header::parse(&bytes).unwrap();
        assert_eq!((h.text(tag::NAME), h.number(tag::EPOCH)), (None, None));
        assert!(h.package().is_err());
        for cut in [0, 4, 7, bytes.len() - 1] {
            assert!(Header::parse(&bytes[..cut]).is_err());
        }
        let huge = [u32::MAX.to_be_bytes(), u32::MAX.to_be_bytes()].concat();
        assert!(Header::parse(&huge).is_err());
    }

    proptest! {
        /// No bytes make it panic; whatever is changed in a good one, it is read or refused.
        #[test]
        fn any_bytes_are_read_or_refused(at in 0usize..200, byte in any::<u8>(), other in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut bytes = header(&BASE, &[(tag::EPOCH, 1)]);
            let n = bytes.len();
            bytes[at % n] = byte;
            for bytes in [&bytes, &other] {
                if let Ok(h) = Header::parse(bytes) {
                    let _ = h.package();
                }
            }
        }
    }
}
