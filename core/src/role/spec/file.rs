//! Files that a role brings.

use super::Keyed;
use crate::config::Content;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// A file. It has a content or is a template.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where it is in the tree, absolute.
    #[schemars(regex(pattern = "^/."))]
    pub path: String,
    /// What is in it: a text, or `{base64: …}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// What is in it, with `{{ NAME }}` where something of the build belongs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// A file beside the document that has the content; in a document only, never once it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its mode, octal.
    #[serde(default, skip_serializing_if = "Mode::is_default")]
    pub mode: Mode,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Owner::is_root")]
    pub owner: Owner,
}

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// This text, with its variables filled in; see [`super::super::template`].
    Template(&'a str),
}

impl File {
    /// What is in it.
    #[must_use]
    pub fn body(&self) -> Body<'_> {
        match (&self.template, &self.content) {
            (Some(template), _) => Body::Template(template),
            (None, Some(content)) => Body::Bytes(content.bytes()),
            (None, None) => Body::Bytes(&[]),
        }
    }
}

impl Keyed for File {
    fn id(&self) -> &str {
        &self.path
    }
}

/// The mode of a file: twelve bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(u32);

impl Default for Mode {
    fn default() -> Self {
        Self(0o644)
    }
}

impl Mode {
    /// Reads three or four octal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        u32::from_str_radix(text, 8).ok().filter(|_| octal).map(Self)
    }

    /// The bits.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl JsonSchema for Mode {
    fn schema_name() -> Cow<'static, str> {
        "Mode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // YAML takes 0644 for a number.
        json_schema!({"anyOf": [{"type": "string", "pattern": "^[0-7]{3,4}$"}, {"type": "integer", "minimum": 0}]})
    }
}

/// Whose a file is: `USER` or `USER:GROUP`, by names or numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: String,
    /// The group.
    pub group: String,
}

impl Default for Owner {
    fn default() -> Self {
        Self { user: "root".to_owned(), group: "root".to_owned() }
    }
}

impl Owner {
    /// Reads the text form; of one name the group is called the same.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (user, group) = text.split_once(':').unwrap_or((text, text));
        let good = |t: &str| super::words::is_account(t) || t.parse::<u32>().is_ok_and(|n| n < u32::MAX);
        (good(user) && good(group)).then(|| Self { user: user.to_owned(), group: group.to_owned() })
    }

    fn is_root(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.user, self.group)
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl JsonSchema for Owner {
    fn schema_name() -> Cow<'static, str> {
        "Owner".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]})
    }
}
