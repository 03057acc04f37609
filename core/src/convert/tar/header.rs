//! One block of header: fields, numbers, checksum.

use super::BLOCK;
use crate::image::FormatError;
use tar::Header;

/// The largest number in a size or time field of eleven octal digits.
pub(super) const OCTAL_11: u64 = 0o77_777_777_777;
/// The largest number in an owner or device field of seven octal digits.
pub(super) const OCTAL_7: u64 = 0o7_777_777;

/// A checked header block.
pub(super) struct Raw {
    header: Header,
    ustar: bool,
}

pub(super) fn malformed(why: &'static str) -> FormatError {
    FormatError::Malformed { what: "tar archive", why }
}

impl Raw {
    /// Takes a block that is not all zeros.
    pub(super) fn new(block: [u8; BLOCK]) -> Result<Self, FormatError> {
        let said = number(&block[148..156])?;
        let blank = |i: usize| (148..156).contains(&i);
        let bytes = || block.iter().enumerate().map(|(i, &b)| if blank(i) { b' ' } else { b });
        let unsigned: i128 = bytes().map(i128::from).sum();
        // Some old programs summed signed characters.
        let signed: i128 = bytes().map(|b| i128::from(b as i8)).sum();
        if said != unsigned && said != signed {
            return Err(malformed("a header has a wrong checksum"));
        }
        let mut header = Header::new_old();
        *header.as_mut_bytes() = block;
        // Some write the magic of ustar without its version.
        let ustar = &block[257..263] == b"ustar\0";
        Ok(Self { header, ustar })
    }

    pub(super) fn kind(&self) -> u8 {
        self.header.as_old().linkflag[0]
    }

    /// The name with its prefix, where the dialect has one.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.header.as_old().name);
        let prefix = if self.ustar { text(&self.header.as_bytes()[345..500]) } else { b"" };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn link_name(&self) -> Vec<u8> {
        text(&self.header.as_old().linkname).to_vec()
    }

    pub(super) fn size(&self) -> Result<u64, FormatError> {
        let n = number(&self.header.as_old().size)?;
        u64::try_from(n).map_err(|_| malformed("a size is negative"))
    }

    pub(super) fn mode(&self) -> Result<u32, FormatError> {
        // Some put the kind in as well.
        Ok((number(&self.header.as_old().mode)? & 0o7777) as u32)
    }

    pub(super) fn uid(&self) -> Result<u32, FormatError> {
        owner(number(&self.header.as_old().uid)?)
    }

    pub(super) fn gid(&self) -> Result<u32, FormatError> {
        owner(number(&self.header.as_old().gid)?)
    }

    pub(super) fn mtime(&self) -> Result<i64, FormatError> {
        i64::try_from(number(&self.header.as_old().mtime)?).map_err(|_| malformed("a time is out of range"))
    }

    /// Major and minor number; the old format has none.
    pub(super) fn device(&self) -> Result<(u32, u32), FormatError> {
        if &self.header.as_bytes()[257..262] != b"ustar" {
            return Err(malformed("a device has no number"));
        }
        let bytes = self.header.as_bytes();
        Ok((device_number(number(&bytes[329..337])?)?, device_number(number(&bytes[337..345])?)?))
    }

    /// The header as that of a sparse file of GNU's old format.
    pub(super) fn gnu(&self) -> Option<&tar::GnuHeader> {
        self.header.as_gnu()
    }
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&c| c == 0).next().unwrap_or_default()
}

/// A number: octal digits between blanks, or GNU's two's complement after a first bit of 1. An empty field is 0; what follows
/// the digits counts for nobody.
pub(super) fn number(field: &[u8]) -> Result<i128, FormatError> {
    let bad = || malformed("a field is not a number");
    if field[0] & 0x80 != 0 {
        // The second bit is the sign; fields have at most 12 bytes.
        let first = i128::from(field[0] & 0x7f) - if field[0] & 0x40 == 0 { 0 } else { 0x80 };
        return Ok(field[1..].iter().fold(first, |n, &b| n << 8 | i128::from(b)));
    }
    let blank = |c: &u8| *c == b' ' || *c == 0;
    let start = field.iter().position(|c| !blank(c)).unwrap_or(field.len());
    let digits = field[start..].split(blank).next().unwrap_or_default();
    digits.iter().try_fold(
        0,
        |n, c| {
            if (b'0'..b'8').contains(c) { Ok(n << 3 | i128::from(c - b'0')) } else { Err(bad()) }
        },
    )
}

/// The largest id is what `chown` takes for "leave it".
pub(super) fn owner(n: i128) -> Result<u32, FormatError> {
    let limit = u64::from(u32::MAX - 1);
    match u32::try_from(n) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ if n < 0 => Err(malformed("an owner is negative")),
        _ => Err(FormatError::Limit { what: "an owner", limit }),
    }
}

/// Linux has 12 bits of major and 20 of minor number.
pub(super) fn device_number(n: i128) -> Result<u32, FormatError> {
    match u32::try_from(n) {
        Ok(n) => Ok(n),
        _ if n < 0 => Err(malformed("a device number is negative")),
        _ => Err(FormatError::Limit { what: "a device number", limit: u64::from(u32::MAX) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_dialects() {
        assert_eq!(number(b"0000644\0").unwrap(), 0o644);
        assert_eq!(number(b"   644 \0").unwrap(), 0o644);
        assert_eq!(number(b"\0\0\0\0\0\0\0\0").unwrap(), 0);
        assert_eq!(number(b"77777777777 ").unwrap(), i128::from(OCTAL_11));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe").unwrap(), -2);
        assert_eq!(number(b"\x80\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00").unwrap(), 1 << 33);
        for bad in [&b"8"[..], b"-1", b"0x1", b"1\xff"] {
            assert!(number(bad).is_err());
        }
    }
}
