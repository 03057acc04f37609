//! The checksum that a medium carries in itself: says that it is undamaged, and nothing about where it comes from.
//!
//! ```text
//!  application use of the primary descriptor:  ISO MD5SUM = <32 hex>;SKIPSECTORS = 15;RHLISOSTATUS=1;FRAGMENT SUMS = …;
//!  the sum is of: all bytes but the last 15 sectors, the 512 of the field itself being blanks
//! ```
//!
//! What `implantisomd5` writes and `checkisomd5` checks. Fields are found by name.

use super::digest::Sum;
use super::iso::{APPLICATION_USE, SECTOR, Volume};
use super::md5::{BLOCK, Md5};
use crate::error::{Error, Result};

/// A sum as it stands on a medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaSum {
    /// 32 hex digits, in small letters.
    pub md5: String,
    /// Sectors at the end that do not count.
    pub skipped: u64,
}

impl MediaSum {
    /// Reads the field; `None` when there is no sum in it.
    #[must_use]
    pub fn parse(application: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(application);
        let field = |name: &str| {
            let fields = text.split(';').filter_map(|f| f.split_once('='));
            fields.map(|(k, v)| (k.trim(), v.trim())).find(|(k, _)| *k == name).map(|(_, v)| v.to_owned())
        };
        let md5 = field("ISO MD5SUM").filter(|m| m.len() == 32 && m.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let skipped = field("SKIPSECTORS").and_then(|n| n.parse().ok())?;
        Some(Self { md5: md5.to_ascii_lowercase(), skipped })
    }
}

/// The sum of a medium that is read from front to back.
pub(super) struct Summing {
    expected: MediaSum,
    sum: Md5,
    /// The bytes that count as blanks.
    blank: std::ops::Range<u64>,
    end: u64,
    at: u64,
}

impl Summing {
    /// Begins to sum a medium of so many bytes; `None` when it carries no sum.
    pub(super) fn of(volume: &Volume, length: u64) -> Option<Self> {
        let expected = MediaSum::parse(&volume.application)?;
        // The sum is of the volume: what follows it in the file came later.
        let end = volume.size.min(length).checked_sub(expected.skipped.checked_mul(SECTOR)?)?;
        let from = volume.offset + APPLICATION_USE.0 as u64;
        Some(Self { expected, sum: Md5::new(), blank: from..from + APPLICATION_USE.1 as u64, end, at: 0 })
    }

    /// Adds the next bytes.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let left = usize::try_from(self.end - self.at.min(self.end)).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(left)];
        let inside = |n: u64| usize::try_from(n.saturating_sub(self.at)).unwrap_or(usize::MAX).min(bytes.len());
        let (from, to) = (inside(self.blank.start), inside(self.blank.end));
        self.sum.update(&bytes[..from]);
        self.sum.update(&vec![b' '; to - from]);
        self.sum.update(&bytes[to..]);
        self.at += bytes.len() as u64;
    }

    /// Adds the next bytes here and to another sum. Block by block: MD5 waits for itself most of the time, and a processor
    /// makes the SHA-256 of the same bytes meanwhile, which then costs a quarter of what it does alone.
    pub(super) fn add_beside(&mut self, bytes: &[u8], other: &mut Sum) {
        let plain = self.at >= self.blank.end && self.at + bytes.len() as u64 <= self.end;
        if !plain {
            self.add(bytes);
            return other.add(bytes);
        }
        for block in bytes.chunks(BLOCK) {
            self.sum.update(block);
            other.add(block);
        }
        self.at += bytes.len() as u64;
    }

    /// Compares.
    ///
    /// # Errors
    /// `Integrity` when the medium is damaged.
    pub(super) fn finish(self) -> Result<()> {
        let actual = hex(&self.sum.finalize());
        if actual == self.expected.md5 && self.at == self.end {
            return Ok(());
        }
        Err(Error::integrity("the medium is damaged: its bytes do not give the checksum that it carries")
            .hint("copy or download it again")
            .fact("expected", self.expected.md5)
            .fact("actual", actual))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use md5::Digest;

    #[test]
    fn fields_are_found_by_name() {
        let good = "ISO MD5SUM = 00112233445566778899AABBccddeeff;SKIPSECTORS = 15;RHLISOSTATUS=1;FRAGMENT SUMS = 12;";
        let sum = MediaSum::parse(good.as_bytes()).unwrap();
        assert_eq!(sum, MediaSum { md5: "00112233445566778899aabbccddeeff".into(), skipped: 15 });
        let other = "SKIPSECTORS=15;X;ISO MD5SUM=00112233445566778899aabbccddeeff   ";
        assert_eq!(MediaSum::parse(other.as_bytes()).unwrap(), sum);
        for bad in ["", "ISO MD5SUM = 0011;SKIPSECTORS = 15", "ISO MD5SUM = 00112233445566778899aabbccddeeff", "\0\0"] {
            assert_eq!(MediaSum::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn the_field_counts_as_blanks_however_the_bytes_come() {
        let mut medium = vec![7; 60 << 10];
        let application = "ISO MD5SUM = 00000000000000000000000000000000;SKIPSECTORS = 2";
        let volume = |md5: &str| Volume {
            name: String::new(),
            size: medium.len() as u64,
            offset: 32768,
            application: application.replace(&"0".repeat(32), md5).into_bytes(),
        };
        let plain = {
            let mut blanked = medium.clone();
            blanked[32768 + 883..][..512].fill(b' ');
            hex(&md5::Md5::digest(&blanked[..medium.len() - 4096]))
        };
        for step in [1, 511, 33_000, 1 << 20] {
            let mut summing = Summing::of(&volume(&plain), medium.len() as u64).unwrap();
            medium.chunks(step).for_each(|part| summing.add(part));
            summing.finish().unwrap();
            // Beside another one, which sees the bytes as they are.
            let (mut summing, mut beside, mut alone) =
                (Summing::of(&volume(&plain), medium.len() as u64).unwrap(), Sum::sha256(), Sum::sha256());
            medium.chunks(step).for_each(|part| summing.add_beside(part, &mut beside));
            summing.finish().unwrap();
            alone.add(&medium);
            assert_eq!(beside.finish(), alone.finish());
        }
        let damaged = volume(&plain);
        medium[5] = 8;
        let mut summing = Summing::of(&damaged, medium.len() as u64).unwrap();
        summing.add(&medium);
        assert_eq!(summing.finish().unwrap_err().kind(), crate::ErrorKind::Integrity);
    }
}
