//! How big a partition or volume is to be: fixed, a share, within bounds, or what is left.

use crate::units::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::borrow::Cow;
use std::fmt;

/// The heaviest weight; with more, sharing out would be slow and no finer.
pub const WEIGHT_LIMIT: u32 = 1000;

/// A number of hundredths, from 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u8);

impl Percent {
    /// From 1 to 100, or none.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        u8::try_from(number).ok().filter(|p| (1..=100).contains(p)).map(Self)
    }

    /// Reads the text form `25%`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::new(text.trim().strip_suffix('%')?.trim().parse().ok()?)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// This share of a number, rounded down.
    #[must_use]
    pub fn of(self, whole: u64) -> u64 {
        u64::try_from(u128::from(whole) * u128::from(self.0) / 100).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PERCENT})
    }
}

/// The text form of a percentage.
const PERCENT: &str = "^(100|[1-9][0-9]?) *%$";

/// What a size can be a share of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The memory of the machine.
    Ram,
    /// The usable capacity of the disk.
    Disk,
}

impl Base {
    /// The words of a document.
    pub const WORDS: [(&str, Self); 2] = [("ram", Self::Ram), ("disk", Self::Disk)];

    const fn name(self) -> &'static str {
        match self {
            Self::Ram => "ram",
            Self::Disk => "disk",
        }
    }
}

/// The size of a partition or volume as the document says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// This many bytes, rounded up to whole MiB.
    Fixed(ByteSize),
    /// What the others leave; the same as bounds without a maximum and with weight 1.
    Rest,
    /// A share of the usable capacity of the disk or volume group, rounded down to whole MiB or extents.
    Percent(Percent),
    /// At least `min`; grows with its weight up to `max`.
    Flex {
        /// The least, rounded up to whole MiB.
        min: ByteSize,
        /// The most, rounded down to whole MiB; none for as much as there is.
        max: Option<ByteSize>,
        /// Its share of what is left to share, from 1 to 1000.
        weight: u32,
    },
    /// A share of something, within bounds.
    Of {
        /// Of what.
        base: Base,
        /// How much of it; more than all of it can be wanted of memory.
        percent: u32,
        /// The least, rounded up.
        min: Option<ByteSize>,
        /// The most, rounded down.
        max: Option<ByteSize>,
    },
}

/// The most percent of a share.
pub const SHARE_LIMIT: u32 = 1000;

impl Size {
    /// Reads the text forms: `600MiB`, `rest`, `25%`.
    ///
    /// # Errors
    /// The code of the diagnostic, and its message.
    pub fn parse(text: &str) -> Result<Self, (&'static str, String)> {
        let text = text.trim();
        if text == "rest" {
            return Ok(Self::Rest);
        }
        if text.ends_with('%') {
            return Percent::parse(text)
                .map(Self::Percent)
                .ok_or_else(|| ("L101", format!("\"{text}\" is not a percentage from 1% to 100%")));
        }
        parse_bytes(text).map(Self::Fixed)
    }
}

/// Reads a number of bytes with its unit.
///
/// # Errors
/// The code of the diagnostic, and its message.
pub fn parse_bytes(text: &str) -> Result<ByteSize, (&'static str, String)> {
    text.parse::<ByteSize>().map_err(|e| {
        let code = if e.facts().get("code").is_some() { "L108" } else { "L101" };
        (code, e.message().to_owned())
    })
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(bytes) => bytes.serialize(s),
            Self::Rest => s.serialize_str("rest"),
            Self::Percent(p) => p.serialize(s),
            Self::Flex { min, max, weight } => {
                let mut map = s.serialize_map(None)?;
                map.serialize_entry("min", min)?;
                if let Some(max) = max {
                    map.serialize_entry("max", max)?;
                }
                map.serialize_entry("weight", weight)?;
                map.end()
            }
            Self::Of { base, percent, min, max } => {
                let mut map = s.serialize_map(None)?;
                map.serialize_entry("percent-of", base.name())?;
                map.serialize_entry("percent", percent)?;
                if let Some(min) = min {
                    map.serialize_entry("min", min)?;
                }
                if let Some(max) = max {
                    map.serialize_entry("max", max)?;
                }
                map.end()
            }
        }
    }
}

/// A size in a schema: a number with a unit.
#[must_use]
pub fn bytes_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "description": "A number with a unit: KiB MiB GiB TiB are binary, kB MB GB TB decimal, B plain.",
        "pattern": "^[0-9]+(\\.[0-9]{1,6})? *(TiB|GiB|MiB|KiB|TB|GB|MB|kB|B)$",
    })
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let bytes = bytes_schema(generator);
        json_schema!({
            "description": "A fixed size, `rest`, a percentage of the usable capacity, or bounds with a weight.",
            "anyOf": [
                bytes.clone(),
                {"const": "rest"},
                {"type": "string", "pattern": PERCENT},
                {
                    "type": "object",
                    "properties": {
                        "min": bytes.clone(),
                        "max": bytes.clone(),
                        "weight": {"type": "integer", "minimum": 1, "maximum": WEIGHT_LIMIT}
                    },
                    "additionalProperties": false
                },
                {
                    "type": "object",
                    "properties": {
                        "percent-of": {"enum": ["ram", "disk"]},
                        "percent": {"type": "integer", "minimum": 1, "maximum": SHARE_LIMIT},
                        "min": bytes.clone(),
                        "max": bytes
                    },
                    "required": ["percent-of", "percent"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_and_codes() {
        assert_eq!(Size::parse("rest"), Ok(Size::Rest));
        assert_eq!(Size::parse("25%"), Ok(Size::Percent(Percent(25))));
        assert_eq!(Size::parse("1GiB"), Ok(Size::Fixed(ByteSize::new(1 << 30))));
        assert_eq!(Size::parse("100G").unwrap_err().0, "L108");
        assert_eq!(Size::parse("100").unwrap_err().0, "L108");
        assert_eq!(Size::parse("0%").unwrap_err().0, "L101");
        assert_eq!(Size::parse("101%").unwrap_err().0, "L101");
        assert_eq!(Size::parse("99999999TiB").unwrap_err().0, "L101");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["rest", "25%", "1536MiB"] {
            assert_eq!(serde_json::to_value(Size::parse(text).unwrap()).unwrap(), text);
        }
    }
}
