//! PAX records: `length key=value\n`, as bytes.

use super::header::{device_number, malformed, owner};
use crate::image::FormatError;
use crate::image::page::{VALUE_LIMIT, XATTR_LIMIT};
use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::collections::BTreeMap;

/// Longest body of an extension header.
pub(super) const BODY_LIMIT: u64 = 80 << 20;
/// Most numbers in a sparse map that stands in records.
const MAP_LIMIT: usize = 1 << 20;

/// What records say, of one entry or of all that follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) flags: Option<Vec<u8>>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) acl_access: Option<Vec<u8>>,
    pub(super) acl_default: Option<Vec<u8>>,
    pub(super) sparse: Sparse,
}

/// The records of sparse files, in all their forms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sparse {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) count: Option<u64>,
    /// Offsets and lengths in turn.
    pub(super) map: Vec<u64>,
}

impl Pax {
    /// Reads a body. Records of a global header must not say what is of one entry only: programs differ about them.
    pub(super) fn parse(body: &[u8], global: bool) -> Result<Self, FormatError> {
        let mut out = Self::default();
        // Those of SCHILY are exact; LIBARCHIVE's say the same in base64, and count where the others are missing.
        let mut encoded = BTreeMap::new();
        let mut label = None;
        let mut rest = body;
        while !rest.is_empty() {
            // Padding that some programs count in.
            if rest.iter().all(|&c| c == 0) {
                break;
            }
            let (key, value) = record(&mut rest)?;
            if global && !matches!(key, b"comment" | b"hdrcharset" | b"uid" | b"gid" | b"mtime" | b"uname" | b"gname") {
                if matches!(key, b"atime" | b"ctime") {
                    continue;
                }
                return Err(FormatError::Unsafe {
                    path: crate::sys::confined::show(&key[..key.len().min(128)]).into_owned(),
                    rule: "a global header holds no record that is of one entry",
                });
            }
            match key {
                b"path" => out.path = some(value),
                b"linkpath" => out.link_path = some(value),
                b"size" => out.size = decimal(value)?,
                b"uid" => out.uid = decimal(value)?.map(|n| owner(n.into())).transpose()?,
                b"gid" => out.gid = decimal(value)?.map(|n| owner(n.into())).transpose()?,
                b"mtime" => out.mtime = if value.is_empty() { None } else { Some(time(value)?) },
                b"hdrcharset" => {
                    if !matches!(value, b"" | b"BINARY" | b"ISO-IR 10646 2000 UTF-8") {
                        let feature = format!("names in {}", String::from_utf8_lossy(&value[..value.len().min(64)]));
                        return Err(FormatError::Unknown { what: "tar archive", feature });
                    }
                }
                b"SCHILY.devmajor" => out.major = decimal(value)?.map(|n| device_number(n.into())).transpose()?,
                b"SCHILY.devminor" => out.minor = decimal(value)?.map(|n| device_number(n.into())).transpose()?,
                b"SCHILY.fflags" => out.flags = some(value),
                b"SCHILY.acl.access" => out.acl_access = some(value),
                b"SCHILY.acl.default" => out.acl_default = some(value),
                b"SCHILY.realsize" => {
                    let feature = "sparse files as star writes them".to_owned();
                    return Err(FormatError::Unknown { what: "tar archive", feature });
                }
                b"RHT.security.selinux" => label = some(value),
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        attribute(&mut out.xattrs, unescape(name, &[b"3D", b"25"]), value.to_vec())?;
                    } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                        let value = BASE64.decode(value).map_err(|_| malformed("an attribute is not base64"))?;
                        attribute(&mut encoded, unescape(name, &[]), value)?;
                    } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                        out.sparse.record(key, value)?;
                    }
                }
            }
        }
        for (name, value) in encoded {
            if !out.xattrs.contains_key(&name) {
                attribute(&mut out.xattrs, name, value)?;
            }
        }
        if let Some(mut label) = label {
            // The kernel keeps its end.
            label.push(0);
            out.xattrs.entry(b"security.selinux".to_vec()).or_insert(label);
        }
        Ok(out)
    }

    /// What a later global header adds.
    pub(super) fn update(&mut self, later: &Self) {
        self.uid = later.uid.or(self.uid);
        self.gid = later.gid.or(self.gid);
        self.mtime = later.mtime.or(self.mtime);
    }
}

impl Sparse {
    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), FormatError> {
        match key {
            b"major" => self.major = decimal(value)?,
            b"minor" => self.minor = decimal(value)?,
            b"name" => self.name = some(value),
            b"size" | b"realsize" => self.size = decimal(value)?,
            b"numblocks" => self.count = decimal(value)?,
            b"offset" if self.map.len().is_multiple_of(2) => self.push(value)?,
            b"numbytes" if !self.map.len().is_multiple_of(2) => self.push(value)?,
            b"offset" | b"numbytes" => return Err(malformed("the records of a sparse map are out of order")),
            b"map" => value.split(|&c| c == b',').filter(|v| !v.is_empty()).try_for_each(|v| self.push(v))?,
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, value: &[u8]) -> Result<(), FormatError> {
        if self.map.len() == MAP_LIMIT {
            return Err(FormatError::Limit { what: "a sparse map", limit: MAP_LIMIT as u64 / 2 });
        }
        self.map.push(decimal(value)?.ok_or(malformed("a sparse map has an empty number"))?);
        Ok(())
    }
}

/// libarchive leaves the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Takes one record off the front.
fn record<'b>(rest: &mut &'b [u8]) -> Result<(&'b [u8], &'b [u8]), FormatError> {
    let bad = || malformed("a PAX record is malformed");
    let space = rest.iter().take(20).position(|&c| c == b' ').ok_or_else(bad)?;
    let length = decimal(&rest[..space])?.ok_or_else(bad)?;
    let length = usize::try_from(length).ok().filter(|&n| n > space + 2 && n <= rest.len()).ok_or_else(bad)?;
    let (whole, after) = rest.split_at(length);
    let inner = whole[space + 1..].strip_suffix(b"\n").ok_or_else(bad)?;
    let equals = inner.iter().position(|&c| c == b'=').filter(|&i| i > 0).ok_or_else(bad)?;
    *rest = after;
    Ok((&inner[..equals], &inner[equals + 1..]))
}

/// Adds a record to a body; its length counts itself.
pub(super) fn put(body: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    body.extend_from_slice(format!("{length} ").as_bytes());
    body.extend_from_slice(key);
    body.push(b'=');
    body.extend_from_slice(value);
    body.push(b'\n');
}

/// A key holds no `=`; GNU tar writes it as `%3D`, and `%` as `%25`.
pub(super) fn escape_name(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for &c in name {
        match c {
            b'=' => out.extend_from_slice(b"%3D"),
            b'%' => out.extend_from_slice(b"%25"),
            c => out.push(c),
        }
    }
    out
}

/// The other way round; with no `codes` every code counts, as libarchive writes them.
fn unescape(name: &[u8], codes: &[&[u8; 2]]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::with_capacity(name.len()), 0);
    while at < name.len() {
        let code = name
            .get(at + 1..at + 3)
            .filter(|c| name[at] == b'%' && (codes.is_empty() || codes.contains(&&[c[0], c[1]])));
        let byte = code.and_then(|c| u8::from_str_radix(std::str::from_utf8(c).ok()?, 16).ok());
        out.push(byte.unwrap_or(name[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    out
}

fn attribute(set: &mut BTreeMap<Vec<u8>, Vec<u8>>, name: Vec<u8>, value: Vec<u8>) -> Result<(), FormatError> {
    if name.is_empty() || name.len() > 255 || name.contains(&0) {
        return Err(malformed("the name of an attribute is malformed"));
    }
    if value.len() > VALUE_LIMIT {
        return Err(FormatError::Limit { what: "the value of an attribute", limit: VALUE_LIMIT as u64 });
    }
    if set.len() >= XATTR_LIMIT && !set.contains_key(&name) {
        return Err(FormatError::Limit { what: "the number of attributes", limit: XATTR_LIMIT as u64 });
    }
    set.insert(name, value);
    Ok(())
}

/// An empty value takes a record back.
fn some(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

pub(super) fn decimal(text: &[u8]) -> Result<Option<u64>, FormatError> {
    if text.is_empty() {
        return Ok(None);
    }
    let digit = |n: Option<u64>, c: &u8| n?.checked_mul(10)?.checked_add(u64::from(*c - b'0'));
    if !text.iter().all(u8::is_ascii_digit) {
        return Err(malformed("a number is malformed"));
    }
    let n = text.iter().fold(Some(0), digit);
    n.map(Some).ok_or(FormatError::Limit { what: "a number", limit: u64::MAX })
}

/// Seconds with a fraction; beneath the nanosecond it is cut off towards the past, as the kernel does.
fn time(text: &[u8]) -> Result<(i64, u32), FormatError> {
    let bad = || malformed("a time is malformed");
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |t| (true, t));
    let mut parts = text.splitn(2, |&c| c == b'.');
    let whole = decimal(parts.next().unwrap_or_default())?.ok_or_else(bad)?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    let digit = |i: usize| fraction.get(i).map_or(0, |c| u32::from(c - b'0'));
    let mut nanos = (0..9).fold(0, |n, i| n * 10 + digit(i));
    let mut seconds = i128::from(whole);
    if negative {
        let cut = fraction.iter().skip(9).any(|&c| c != b'0');
        seconds = -seconds;
        nanos += u32::from(cut);
        if nanos > 0 {
            seconds -= 1;
            nanos = 1_000_000_000 - nanos;
        }
    }
    let seconds = i64::try_from(seconds).map_err(|_| malformed("a time is out of range"))?;
    Ok((seconds, nanos))
}

/// A time as a record says it: `-1.5` for half past the second before.
pub(super) fn time_text((seconds, nanos): (i64, u32)) -> String {
    if nanos == 0 {
        return seconds.to_string();
    }
    let (sign, whole, nanos) = if seconds < 0 {
        ("-", -(i128::from(seconds) + 1), 1_000_000_000 - nanos)
    } else {
        ("", seconds.into(), nanos)
    };
    let text = format!("{sign}{whole}.{nanos:09}");
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back() {
        for t in
            [(0, 0), (1, 5), (-1, 0), (-1, 999_999_999), (-2, 500_000_000), (1 << 40, 1), (i64::MIN, 0), (i64::MIN, 1)]
        {
            assert_eq!(time(time_text(t).as_bytes()).unwrap(), t, "{}", time_text(t));
        }
        assert_eq!(time(b"1.0000000019").unwrap(), (1, 1));
        assert_eq!(time(b"-0.0000000001").unwrap(), (-1, 999_999_999));
        for bad in [&b""[..], b"1.x", b"--1", b"1e5", b"99999999999999999999", b"9223372036854775808"] {
            assert!(time(bad).is_err());
        }
    }

    #[test]
    fn records_count_themselves() {
        for n in 0..1200 {
            let (mut body, value) = (Vec::new(), vec![b'\n'; n]);
            put(&mut body, b"SCHILY.xattr.user.a", &value);
            let read = Pax::parse(&body, false).unwrap();
            assert_eq!(read.xattrs[&b"user.a"[..]], value);
        }
        for bad in [
            &b"5 a=b\n"[..],
            b"6 a=b",
            b"6 a=b\n7 c=d\n",
            b"x a=b\n",
            b"5 abc\n",
            b"999999999999999999999 a=b\n",
            b"6 =ab\n",
        ] {
            assert!(Pax::parse(bad, false).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn attributes_of_both_makers() {
        let mut body = Vec::new();
        put(&mut body, b"LIBARCHIVE.xattr.user.a%20b", b"aGVsbG8");
        put(&mut body, b"LIBARCHIVE.xattr.user.c", b"d3Jvbmc=");
        put(&mut body, b"SCHILY.xattr.user.c", b"right");
        put(&mut body, b"SCHILY.xattr.user.x%3Dy%25z%41", b"");
        put(&mut body, b"RHT.security.selinux", b"a:b:c");
        let x = Pax::parse(&body, false).unwrap().xattrs;
        assert_eq!(x[&b"user.a b"[..]], b"hello");
        assert_eq!(x[&b"user.c"[..]], b"right");
        assert_eq!(x[&b"user.x=y%z%41"[..]], b"");
        assert_eq!(x[&b"security.selinux"[..]], b"a:b:c\0");
        assert!(Pax::parse(&body, true).is_err());
    }
}
