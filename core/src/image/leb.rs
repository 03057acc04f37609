//! The primitives of every format here: shortest LEB128, zig-zag, strings with a length; and a bounded reader.

use super::FormatError;
use super::hash::Hash;

/// Appends `n` as unsigned LEB128.
pub fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends a signed number, zig-zagged.
pub fn put_signed(out: &mut Vec<u8>, n: i64) {
    put(out, ((n << 1) ^ (n >> 63)) as u64);
}

/// Appends the length and the bytes.
pub fn put_str(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads from bytes that nobody vouches for: every call checks what is left.
#[derive(Clone)]
pub struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over `bytes`; `what` names the object in errors.
    #[must_use]
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    /// The error that a rule of this object is broken.
    pub fn bad<T>(&self, why: &'static str) -> Result<T, FormatError> {
        Err(FormatError::malformed(self.what, why))
    }

    /// How many bytes are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], FormatError> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(FormatError::Truncated(self.what))?;
        self.rest = tail;
        Ok(head)
    }

    /// One byte.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn byte(&mut self) -> Result<u8, FormatError> {
        Ok(self.take(1)?[0])
    }

    /// A fixed array.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// A little-endian `u32`.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A little-endian `u64`.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A hash.
    ///
    /// # Errors
    /// `Truncated`.
    pub fn hash(&mut self) -> Result<Hash, FormatError> {
        Ok(Hash(self.array()?))
    }

    /// An unsigned LEB128 number in its shortest form.
    ///
    /// # Errors
    /// `Truncated`, or `Malformed` for a longer form or more than 64 bits.
    pub fn leb(&mut self) -> Result<u64, FormatError> {
        let (mut n, mut shift) = (0u64, 0);
        loop {
            let b = self.byte()?;
            if shift == 63 && b > 1 {
                return self.bad("a number over 64 bits");
            }
            n |= u64::from(b & 0x7f) << shift;
            if b < 0x80 {
                return if b == 0 && shift > 0 { self.bad("a number in a longer form than needed") } else { Ok(n) };
            }
            shift += 7;
        }
    }

    /// A zig-zagged signed number.
    ///
    /// # Errors
    /// As [`Reader::leb`].
    pub fn signed(&mut self) -> Result<i64, FormatError> {
        let n = self.leb()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// A number that may be at most `limit`.
    ///
    /// # Errors
    /// As [`Reader::leb`], or `Limit`.
    pub fn leb_max(&mut self, limit: u64, name: &'static str) -> Result<u64, FormatError> {
        let n = self.leb()?;
        if n > limit { Err(FormatError::Limit { what: name, limit }) } else { Ok(n) }
    }

    /// A count or small number as `usize`, at most `limit`.
    ///
    /// # Errors
    /// As [`Reader::leb_max`].
    pub fn count(&mut self, limit: usize, name: &'static str) -> Result<usize, FormatError> {
        let n = self.leb_max(limit as u64, name)?;
        usize::try_from(n).map_err(|_| FormatError::Limit { what: name, limit: limit as u64 })
    }

    /// A string of at most `limit` bytes.
    ///
    /// # Errors
    /// `Truncated` or `Limit`.
    pub fn str(&mut self, limit: usize, name: &'static str) -> Result<&'a [u8], FormatError> {
        let n = self.count(limit, name)?;
        self.take(n)
    }

    /// The magic and the version byte.
    ///
    /// # Errors
    /// `Malformed` for another magic, `Unknown` for another version.
    pub fn magic(&mut self, magic: &[u8; 4], version: u8) -> Result<(), FormatError> {
        if self.take(4)? != magic {
            return self.bad("it does not begin with the magic of its kind");
        }
        match self.byte()? {
            v if v == version => Ok(()),
            v => Err(FormatError::Unknown { what: self.what, feature: format!("version {v}") }),
        }
    }

    /// That nothing is left over.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn end(&self) -> Result<(), FormatError> {
        if self.rest.is_empty() { Ok(()) } else { self.bad("bytes are left over at the end") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(n: u64, s: i64) {
            let mut out = Vec::new();
            put(&mut out, n);
            put_signed(&mut out, s);
            let mut r = Reader::new("test", &out);
            prop_assert_eq!(r.leb().unwrap(), n);
            prop_assert_eq!(r.signed().unwrap(), s);
            r.end().unwrap();
        }

        #[test]
        fn what_is_read_is_canonical(bytes: Vec<u8>) {
            let mut r = Reader::new("test", &bytes);
            if let Ok(n) = r.leb() {
                let mut again = Vec::new();
                put(&mut again, n);
                prop_assert_eq!(&bytes[..again.len()], &again[..]);
            }
        }
    }

    #[test]
    fn longer_forms_are_refused() {
        assert!(Reader::new("t", &[0x80, 0]).leb().is_err());
        assert!(Reader::new("t", &[0xff; 10]).leb().is_err());
        assert!(Reader::new("t", &[0xff]).leb().is_err());
    }
}
