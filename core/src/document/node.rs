//! YAML or JSON as a tree of nodes that know their place in the text.
//!
//! The tree is typed by a [`super::reader`] afterwards, so that one reading finds every mistake and not only the first.
//! Scalars keep their text: `0755`, `1.0` and `no` are what was written, whatever YAML takes them for.
//!
//! Limits: a text of 1 MiB, 32 levels (each is a call in a call, on whatever stack the caller has),
//! 40,000 nodes, and as many copied by aliases.

use super::Codes;
use super::diagnostic::{Diagnostic, Position};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error as YamlError, Location, Spanned};
use std::fmt;

/// The longest document, in bytes.
pub const TEXT_LIMIT: usize = 1 << 20;
/// The biggest sensible document has about 5,000.
pub const NODE_LIMIT: usize = 40_000;

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it begins.
    pub place: Position,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, as in `key:`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was written.
    Number(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in document order; keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The text.
    pub name: String,
    /// Where it stands.
    pub place: Position,
}

impl Value {
    /// What it is, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        let short = |t: &str| t.chars().take(60).collect::<String>();
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(b) => b.to_string(),
            Self::Number(n) => short(n),
            Self::Text(t) => format!("\"{}\"", short(t)),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map".to_owned(),
        }
    }
}

impl Node {
    /// How many nodes it has, itself included.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Self::count).sum::<usize>(),
            Value::Map(entries) => entries.iter().map(|(_, node)| 1 + node.count()).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => 0,
        }
    }
}

/// Reads one document.
///
/// # Errors
/// One diagnostic, of the codes `text`, `twice` or `limit`.
pub fn read(bytes: &[u8], codes: &Codes) -> Result<Node, Diagnostic> {
    read_as(bytes, 0, codes)
}

/// Reads one document, whose places are in the document of this number.
///
/// # Errors
/// As [`read`].
pub fn read_as(bytes: &[u8], document: u16, codes: &Codes) -> Result<Node, Diagnostic> {
    parse(bytes, document, codes).map_err(|d| {
        let (line, column) = (d.line, d.column);
        d.at(Position { document, line, column })
    })
}

fn parse(bytes: &[u8], document: u16, codes: &Codes) -> Result<Node, Diagnostic> {
    if bytes.len() > TEXT_LIMIT {
        let text = "the document is over 1 MiB long";
        return Err(Diagnostic::error(codes.limit, "", text));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = &bytes[..e.valid_up_to()];
        let line = 1 + before.iter().filter(|c| **c == b'\n').count();
        let place = Position { document, line: u32::try_from(line).unwrap_or(u32::MAX), column: 1 };
        Diagnostic::error(codes.text, "", "the document is not UTF-8 text").at(place)
    })?;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 4 * NODE_LIMIT,
            max_nodes: NODE_LIMIT,
            max_depth: 32,
            max_documents: 2,
            max_aliases: 1000,
            max_anchors: 1000,
            max_recorded_anchor_events: NODE_LIMIT,
            max_total_scalar_bytes: 4 * TEXT_LIMIT,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: NODE_LIMIT,
            max_replay_stack_depth: 32,
        },
        strict_booleans: true,
        with_snippet: false,
    };
    let raw: Raw = serde_saphyr::from_str_with_options(text, options).map_err(|e| explain(&e, codes))?;
    Ok(raw.into_node(text, document))
}

fn explain(error: &YamlError, codes: &Codes) -> Diagnostic {
    let mut inner = error.without_snippet();
    while let YamlError::AliasError { error, .. } = inner {
        inner = error.without_snippet();
    }
    let place = error.location().map(|at| position(at, 0)).unwrap_or_default();
    let found = match inner {
        YamlError::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("?");
            Diagnostic::error(codes.twice, "", format!("the key \"{key}\" stands here a second time"))
                .hint("remove one of them, or give it another name")
        }
        YamlError::Budget { .. }
        | YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. }
        | YamlError::AliasReplayCounterOverflow { .. } => {
            Diagnostic::error(codes.limit, "", "the document is too deep, or its aliases stand for too much")
        }
        other => {
            let text = other.to_string();
            let first = text.lines().next().unwrap_or_default();
            // Its own texts end in " at line L, column C", which stands in the diagnostic already.
            let first = first.split(" at line ").next().unwrap_or(first);
            Diagnostic::error(
                codes.text,
                "",
                format!("this is not YAML: {}", first.chars().take(200).collect::<String>()),
            )
        }
    };
    found.at(place)
}

fn position(at: Location, document: u16) -> Position {
    let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Position { document, line: small(at.line()), column: small(at.column()) }
}

/// A node before its scalars have their text.
struct Raw(Spanned<RawValue>);

enum RawValue {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Raw>),
    Map(Vec<(Spanned<String>, Raw)>),
}

impl Raw {
    fn into_node(self, source: &str, document: u16) -> Node {
        let Spanned { value, referenced, defined } = self.0;
        let value = match value {
            RawValue::Null => Value::Null,
            RawValue::Bool(b) => Value::Bool(b),
            RawValue::Number(n) => Value::Number(written(defined, source).map_or(n, ToOwned::to_owned)),
            RawValue::Text(t) => Value::Text(t),
            RawValue::List(items) => Value::List(items.into_iter().map(|i| i.into_node(source, document)).collect()),
            RawValue::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(k, v)| {
                        let place = position(k.referenced, document);
                        (Key { name: k.value, place }, v.into_node(source, document))
                    })
                    .collect(),
            ),
        };
        Node { value, place: position(referenced, document) }
    }
}

/// The text of a scalar as it stands in the source.
fn written(at: Location, source: &str) -> Option<&str> {
    let start = usize::try_from(at.span().byte_offset()?).ok()?;
    let length = usize::try_from(at.span().byte_len()?).ok()?;
    source.get(start..start.checked_add(length)?).map(str::trim).filter(|t| !t.is_empty())
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Spanned::deserialize(d).map(Raw)
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_bool<E: de::Error>(self, b: bool) -> Result<RawValue, E> {
        Ok(RawValue::Bool(b))
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<RawValue, E> {
        Ok(RawValue::Number(n.to_string()))
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<RawValue, E> {
        Ok(RawValue::Number(n.to_string()))
    }

    fn visit_i128<E: de::Error>(self, n: i128) -> Result<RawValue, E> {
        Ok(RawValue::Number(n.to_string()))
    }

    fn visit_u128<E: de::Error>(self, n: u128) -> Result<RawValue, E> {
        Ok(RawValue::Number(n.to_string()))
    }

    fn visit_f64<E: de::Error>(self, n: f64) -> Result<RawValue, E> {
        Ok(RawValue::Number(n.to_string()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawValue, E> {
        Ok(RawValue::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(RawValue::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(RawValue::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::FORM;
    use std::time::{Duration, Instant};

    fn map(node: &Node) -> &[(Key, Node)] {
        match &node.value {
            Value::Map(m) => m,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn scalars_keep_their_text_and_places() {
        let doc = read(b"a: 0755\nb:\n  c: 1.0\n  d: no\ne: [true, \"7\"]\n", &FORM.codes).unwrap();
        let m = map(&doc);
        assert_eq!(m[0].1.value, Value::Number("0755".into()));
        let inner = map(&m[1].1);
        assert_eq!(inner[0].1.value, Value::Number("1.0".into()));
        assert_eq!(inner[1].1.value, Value::Text("no".into()));
        assert_eq!(inner[1].0.place, Position { document: 0, line: 4, column: 3 });
        assert_eq!(inner[1].1.place, Position { document: 0, line: 4, column: 6 });
        let Value::List(l) = &m[2].1.value else { panic!() };
        assert_eq!((&l[0].value, &l[1].value), (&Value::Bool(true), &Value::Text("7".into())));
    }

    #[test]
    fn json_is_read_too() {
        let doc = read(br#"{"a": {"b": [1, null]}}"#, &FORM.codes).unwrap();
        let Value::List(l) = &map(&map(&doc)[0].1)[0].1.value else { panic!() };
        assert_eq!((&l[0].value, &l[1].value), (&Value::Number("1".into()), &Value::Null));
    }

    #[test]
    fn bad_texts_have_codes_and_places() {
        let e = read(b"a: 1\nb: 2\na: 3\n", &FORM.codes).unwrap_err();
        assert_eq!((e.code, e.line), ("L002", 3));
        let e = read(b"a: [1, 2\nb: }\n", &FORM.codes).unwrap_err();
        assert_eq!(e.code, "L001");
        assert!(e.line > 0);
        assert_eq!(read(b"a: \xff\n", &FORM.codes).unwrap_err().code, "L001");
        assert_eq!(read(&vec![b' '; TEXT_LIMIT + 1], &FORM.codes).unwrap_err().code, "L007");
        assert_eq!(read(b"a: 1\n---\nb: 2\n", &FORM.codes).unwrap_err().code, "L001");
    }

    #[test]
    fn bombs_end_soon() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..20 {
            let list = vec![format!("*a{}", i - 1); 9].join(", ");
            laughs.push_str(&format!("a{i}: &a{i} [{list}]\n"));
        }
        let deep = "[".repeat(100_000);
        let keys: String = (0..15_000).map(|i| format!("k{i}: {i}\n")).collect();
        let begun = Instant::now();
        assert_eq!(read(laughs.as_bytes(), &FORM.codes).unwrap_err().code, "L007");
        assert!(matches!(read(deep.as_bytes(), &FORM.codes).unwrap_err().code, "L001" | "L007"));
        assert_eq!(map(&read(keys.as_bytes(), &FORM.codes).unwrap()).len(), 15_000);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
