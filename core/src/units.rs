//! Units: sizes with a mandatory unit, so that bytes, sectors and percentages cannot be mixed.

use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes. The text form needs a unit: `KiB MiB GiB TiB` are binary, `kB MB GB TB` decimal, `B` plain.
///
/// ```
/// use libcv::units::ByteSize;
/// assert_eq!("1GiB".parse::<ByteSize>().unwrap().bytes(), 1 << 30);
/// assert!("100G".parse::<ByteSize>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// One mebibyte, the alignment of partitions.
    pub const MIB: ByteSize = ByteSize(1 << 20);

    /// This many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The sum, or [`crate::ErrorKind::Limit`] on overflow.
    ///
    /// # Errors
    /// `Limit` when the sum does not fit 64 bits.
    pub fn checked_add(self, other: Self) -> Result<Self> {
        self.0.checked_add(other.0).map(Self).ok_or_else(|| Error::limit("a size is over 2^64 bytes"))
    }
}

impl FromStr for ByteSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = (&text[..digits], text[digits..].trim());
        if number.is_empty() {
            return Err(Error::invalid(format!("\"{text}\" is not a size")));
        }
        let Some(&(_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(Error::invalid(format!("sizes need a unit such as GiB or GB: \"{text}\" could mean either"))
                .fact("code", "L108"));
        };
        let bad = || Error::invalid(format!("\"{text}\" is not a size"));
        let bytes = match number.split_once('.') {
            None => number.parse::<u64>().map_err(|_| bad())?.checked_mul(factor),
            // A fraction is exact integer arithmetic: 1.5GiB is three halves, never a float.
            Some((whole, frac)) if !frac.is_empty() && frac.len() <= 6 && !whole.is_empty() => {
                let scale = 10u128.pow(u32::try_from(frac.len()).unwrap_or(0));
                let digits: u128 = format!("{whole}{frac}").parse().map_err(|_| bad())?;
                let total = digits.checked_mul(u128::from(factor)).ok_or_else(bad)?;
                if total % scale != 0 {
                    return Err(Error::invalid(format!("\"{text}\" is not a whole number of bytes")));
                }
                u64::try_from(total / scale).ok()
            }
            Some(_) => return Err(bad()),
        };
        bytes.map(Self).ok_or_else(|| Error::invalid(format!("\"{text}\" is over 2^64 bytes")))
    }
}

impl fmt::Display for ByteSize {
    /// The largest binary unit that divides the size without a rest, so that text and size are one to one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, factor) =
            UNITS[..4].iter().find(|(_, n)| self.0 >= *n && self.0.is_multiple_of(*n)).copied().unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / factor)
    }
}

/// A size for people: `1.4 GiB`. Not for parsing.
#[must_use]
pub fn human(bytes: u64) -> String {
    let unit = UNITS[..4].iter().find(|(_, n)| bytes >= *n);
    match unit {
        None => format!("{bytes} B"),
        Some((name, n)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*n);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(|e: Error| serde::de::Error::custom(e.message()))
    }
}

/// A span of time with a unit, such as `7d`, `12h` or `0s`. A day has 24 hours.
///
/// # Errors
/// `Invalid` when it is none, or negative.
pub fn duration(text: &str) -> Result<Duration> {
    let bad =
        || Error::invalid(format!("\"{text}\" is not a time")).hint("write a number and a unit: 7d, 12h, 30min, 0s");
    let span: jiff::Span = text.parse().map_err(|_| bad())?;
    let exact = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| bad())?;
    exact.try_into().map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_or_letter_is_refused() {
        for bad in ["100", "100G", "1k", "GiB", "-1MiB", "1.GiB", "1.3B", "99999999TiB", "1e3MiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
        // The unit is there.
        assert_eq!("-1MiB".parse::<ByteSize>().unwrap_err().message(), "\"-1MiB\" is not a size");
    }

    #[test]
    fn text_and_size_are_one_to_one() {
        for good in ["1MiB", "600MiB", "1536MiB", "513B", "4TiB", "0B"] {
            assert_eq!(good.parse::<ByteSize>().unwrap().to_string(), good);
        }
        assert_eq!("1.5GiB".parse::<ByteSize>().unwrap().to_string(), "1536MiB");
        assert_eq!("1TB".parse::<ByteSize>().unwrap().bytes(), 1_000_000_000_000);
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("7d").unwrap().as_secs(), 7 * 24 * 3600);
        assert_eq!(duration("1h 30m").unwrap().as_secs(), 5400);
        assert_eq!(duration("0s").unwrap(), Duration::ZERO);
        for bad in ["", "7", "7 parsecs", "-1h", "1000000000000d"] {
            assert_eq!(duration(bad).unwrap_err().kind(), crate::ErrorKind::Invalid, "{bad}");
        }
    }
}
