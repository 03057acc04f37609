//! Streams of modules.

use super::Keyed;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// A stream of a module: `NAME:STREAM`, with a profile `NAME:STREAM/PROFILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The module.
    pub name: String,
    /// The stream that is enabled.
    pub stream: String,
    /// The profile whose packages are installed.
    pub profile: Option<String>,
}

/// What [`Module::parse`] reads.
const PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._+-]*:[A-Za-z0-9][A-Za-z0-9._+-]*(/[A-Za-z0-9][A-Za-z0-9._+-]*)?$";

impl Module {
    /// Reads the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once(':')?;
        let (stream, profile) = match rest.split_once('/') {
            Some((stream, profile)) => (stream, Some(profile)),
            None => (rest, None),
        };
        let is_word = |t: &str| {
            t.len() <= 128
                && t.starts_with(|c: char| c.is_ascii_alphanumeric())
                && t.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c))
        };
        let good = is_word(name) && is_word(stream) && profile.is_none_or(is_word);
        good.then(|| Self { name: name.to_owned(), stream: stream.to_owned(), profile: profile.map(str::to_owned) })
    }
}

impl Keyed for Module {
    fn id(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.stream)?;
        self.profile.iter().try_for_each(|p| write!(f, "/{p}"))
    }
}

impl Serialize for Module {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl JsonSchema for Module {
    fn schema_name() -> Cow<'static, str> {
        "Module".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN})
    }
}
