//! Lists whose items have a name, by which they are one and the same in all documents.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use std::borrow::Cow;

/// What has a name in a list.
pub trait Keyed {
    /// The name: of a file its path, of a text the text itself.
    fn id(&self) -> &str;
}

impl Keyed for String {
    fn id(&self) -> &str {
        self
    }
}

/// An item, or that there is none of this name.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<T> {
    /// There is.
    Is(T),
    /// What others have of this name is taken away; in documents `-NAME`. Only in a part for some systems, once all is
    /// merged.
    Not(String),
}

/// A list, without order but where the document says so; no name stands twice in it.
#[derive(Clone, Debug, PartialEq)]
pub struct List<T>(pub Vec<Item<T>>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> List<T> {
    /// What there is.
    pub fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.0.iter().filter_map(|item| match item {
            Item::Is(value) => Some(value),
            Item::Not(_) => None,
        })
    }

    /// Whether nothing stands in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Keyed> List<T> {
    /// What there is of this name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&T> {
        self.iter().find(|item| item.id() == key)
    }

    /// By name, for lists whose order means nothing.
    pub(crate) fn sort(&mut self) {
        self.0.sort_by(|a, b| a.id().cmp(b.id()));
    }
}

impl<T: Keyed> Item<T> {
    /// The name.
    pub fn id(&self) -> &str {
        match self {
            Self::Is(value) => value.id(),
            Self::Not(name) => name,
        }
    }
}

impl<T: Serialize> Serialize for Item<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Is(value) => value.serialize(s),
            Self::Not(name) => s.collect_str(&format_args!("-{name}")),
        }
    }
}

impl<T: Serialize> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(&self.0)
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("ListOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T>();
        // A text takes away what others have of this name.
        let away = schemars::json_schema!({"type": "string", "pattern": "^-"});
        if item.get("type").is_some_and(|t| t == "string") {
            return schemars::json_schema!({"type": "array", "items": item});
        }
        schemars::json_schema!({"type": "array", "items": {"anyOf": [item, away]}})
    }
}
