//! How big a partition is to be: fixed, a share, within bounds, or what is left.

use crate::units::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::borrow::Cow;

/// The heaviest weight; with more, sharing out would be slow and no finer.
pub const WEIGHT_LIMIT: u32 = 1000;

/// The size of a partition as the document says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// This many bytes, rounded up to whole MiB.
    Fixed(ByteSize),
    /// What the others leave; the same as bounds without a maximum and with weight 1.
    Rest,
    /// Percent of the usable capacity of the disk, rounded down to whole MiB.
    Percent(u8),
    /// At least `min`; grows with its weight up to `max`.
    Flex {
        /// The least, rounded up to whole MiB.
        min: ByteSize,
        /// The most, rounded down to whole MiB; none for as much as there is.
        max: Option<ByteSize>,
        /// Its share of what is left to share, from 1 to 1000.
        weight: u32,
    },
}

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
        if let Some(number) = text.strip_suffix('%') {
            let percent = number.trim().parse::<u8>().ok().filter(|p| (1..=100).contains(p));
            return percent
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
            Self::Percent(p) => s.collect_str(&format_args!("{p}%")),
            Self::Flex { min, max, weight } => {
                let mut map = s.serialize_map(None)?;
                map.serialize_entry("min", min)?;
                if let Some(max) = max {
                    map.serialize_entry("max", max)?;
                }
                map.serialize_entry("weight", weight)?;
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
                {"type": "string", "pattern": "^(100|[1-9][0-9]?) *%$"},
                {
                    "type": "object",
                    "properties": {
                        "min": bytes.clone(),
                        "max": bytes,
                        "weight": {"type": "integer", "minimum": 1, "maximum": WEIGHT_LIMIT}
                    },
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
        assert_eq!(Size::parse("25%"), Ok(Size::Percent(25)));
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
