//! Layouts that build on others.
//!
//! ```text
//! first base ─ overlaid by ─> next base ─ overlaid by ─> … ─ overlaid by ─> the document that names them
//!              maps merge by key; lists and scalars replace; null takes away
//! ```
//!
//! A key that was there keeps its place in the order, a new one comes last: order means something for sets, partitions
//! and volumes.

use super::FORM;
use super::diagnostic::Diagnostic;
use crate::document::extends::{self, Find, Join, Merged, Opened};
use crate::document::{Key, Node, Position, Value};
use std::collections::HashMap;
use std::path::Path;

/// Reads a document and all that it extends.
pub(super) fn read(bytes: &[u8], name: &str, directory: Option<&Path>, find: &Find<'_>) -> Merged {
    extends::read(&FORM, &mut Overlay, bytes, name, directory, find)
}

struct Overlay;

impl Join for Overlay {
    type Part = Node;

    fn own(&mut self, node: Node, document: &Opened<'_>, found: &mut Vec<Diagnostic>) -> Option<Node> {
        if let Value::Map(entries) = &node.value
            && (document.number > 0 || document.extends)
        {
            header(entries, node.place, found);
        }
        Some(node)
    }

    fn beside(&mut self, first: Node, second: Node) -> Node {
        overlay(first, second)
    }

    fn over(&mut self, below: Node, own: Node, _: &mut Vec<Diagnostic>) -> Node {
        overlay(below, own)
    }
}

/// What each document says of itself; another that it is merged with cannot say it instead.
fn header(entries: &[(Key, Node)], place: Position, found: &mut Vec<Diagnostic>) {
    for key in ["schema", "name"] {
        if !entries.iter().any(|(k, _)| k.name == key) {
            found.push(Diagnostic::error("L004", key, format!("the key \"{key}\" is missing")).at(place));
        }
    }
    let schema = entries.iter().find(|(k, _)| k.name == "schema").map(|(_, node)| node);
    if let Some(Node { value: Value::Text(text), place }) = schema
        && text != FORM.schema
    {
        let text: String = text.chars().take(60).collect();
        let d = Diagnostic::error("L006", "schema", format!("\"{text}\" is not a schema that this version reads"));
        found.push(d.hint("write: schema: cv.layout/v1").at(*place));
    }
}

/// `above` laid over `below`.
fn overlay(below: Node, above: Node) -> Node {
    let place = above.place;
    match (below.value, above.value) {
        (Value::Map(below), Value::Map(above)) => Node { value: Value::Map(overlay_maps(below, above)), place },
        (_, value) => Node { value, place },
    }
}

fn overlay_maps(below: Vec<(Key, Node)>, above: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    let places: HashMap<String, usize> = below.iter().enumerate().map(|(i, (k, _))| (k.name.clone(), i)).collect();
    let mut merged: Vec<Option<(Key, Node)>> = below.into_iter().map(Some).collect();
    for (key, value) in above {
        match places.get(&key.name).map(|at| &mut merged[*at]) {
            Some(slot) if value.value == Value::Null => *slot = None,
            Some(slot) => *slot = slot.take().map(|(_, under)| (key, overlay(under, value))),
            // Nothing to take away: it stays, and whoever reads the value says that there is none.
            None => merged.push(Some((key, value))),
        }
    }
    merged.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::extends::Found;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn merged(documents: &[(&str, &str)], main: &str) -> Merged {
        let known: BTreeMap<&str, &str> = documents.iter().copied().collect();
        let find = |name: &str, _: Option<&Path>| {
            Ok(known.get(name).map(|text| Found {
                name: name.to_owned(),
                directory: None,
                bytes: text.as_bytes().to_vec(),
            }))
        };
        read(main.as_bytes(), "main", None, &find)
    }

    fn head(name: &str, rest: &str) -> String {
        format!("schema: cv.layout/v1\nname: {name}\n{rest}")
    }

    fn codes(merged: &Merged) -> Vec<(&'static str, Option<String>, u32)> {
        merged
            .found
            .iter()
            .cloned()
            .map(|d| d.within(&merged.documents))
            .map(|d| (d.code, d.document.map(String::from), d.line))
            .collect()
    }

    /// A node without its places, as JSON would show it.
    fn text(node: &Node) -> String {
        match &node.value {
            Value::Map(entries) => {
                let entries = entries.iter().map(|(k, v)| format!("{}:{}", k.name, text(v)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
            }
            Value::List(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(",")),
            Value::Null => "null".into(),
            Value::Bool(b) => b.to_string(),
            Value::Number(t) | Value::Text(t) => t.clone(),
        }
    }

    #[test]
    fn maps_merge_lists_replace_and_null_takes_away() {
        let a = head("a", "m: {x: 1, y: 2, z: 3}\nl: [1, 2]\nd: 1\n");
        let b = head("b", "m: {y: 20}\nn: 1\n");
        let main = head("main", "extends: [a, b]\nm: {z: null, w: 4}\nl: [3]\nd: {q: 1}\n");
        let whole = merged(&[("a", &a), ("b", &b)], &main);
        assert_eq!(codes(&whole), []);
        let root = whole.root.unwrap();
        assert_eq!(text(&root), "{schema:cv.layout/v1,name:main,m:{x:1,y:20,w:4},l:[3],d:{q:1},n:1}");
        assert_eq!(whole.documents, ["main", "a", "b"]);
        let Value::Map(entries) = &root.value else { panic!() };
        let Value::Map(m) = &entries[2].1.value else { panic!() };
        let from: Vec<u16> = m.iter().map(|(key, _)| key.place.document).collect();
        assert_eq!(from, [1, 2, 0], "each key knows the document that it was written in");
    }

    #[test]
    fn what_cannot_be_merged_is_said_where_it_is_named() {
        let main = head("main", "extends: [none, ../up, {a: 1}, broken, bare]\n");
        let bare = "schema: cv.layout/v7\n";
        let whole = merged(&[("broken", "a: [1\n"), ("bare", bare)], &main);
        assert!(whole.root.is_none());
        let (broken, bare) = (Some("broken".to_owned()), Some("bare".to_owned()));
        assert_eq!(
            codes(&whole),
            [
                ("L116", None, 3),
                ("L101", None, 3),
                ("L008", None, 3),
                ("L001", broken, whole.found[3].line),
                ("L004", bare.clone(), 1),
                ("L006", bare, 1)
            ]
        );
    }

    #[test]
    fn a_document_that_says_nothing_is_no_base() {
        for base in ["", "# only a comment\n", "hello world\n", "42\n", "null\n", "- a\n"] {
            let merged = merged(&[("t", base)], &head("main", "extends: t\n"));
            assert!(merged.root.is_none(), "{base:?}");
            let [(code, document, _)] = &codes(&merged)[..] else { panic!("{base:?}: {:?}", merged.found) };
            assert_eq!((*code, document.as_deref()), ("L101", Some("t")), "{base:?}");
        }
    }

    #[test]
    fn circles_and_depths_end() {
        let (a, b) = (head("a", "extends: b\n"), head("b", "extends: a\n"));
        let whole = merged(&[("a", &a), ("b", &b)], &head("main", "extends: a\n"));
        assert_eq!(codes(&whole), [("L009", Some("b".to_owned()), 3)]);
        assert_eq!(whole.found[0].message, "a → b → a: documents extend each other in a circle");
        let chain: Vec<(String, String)> =
            (0..10).map(|i| (format!("d{i}"), head("x", &format!("extends: d{}\n", i + 1)))).collect();
        let mut known: Vec<(&str, &str)> = chain.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        let last = head("last", "");
        known.push(("d10", &last));
        assert_eq!(codes(&merged(&known, &head("main", "extends: d3\n"))), []);
        assert_eq!(codes(&merged(&known, &head("main", "extends: d2\n"))), [("L009", Some("d9".to_owned()), 3)]);
    }

    #[test]
    fn the_limits_hold_for_the_whole() {
        let fill = head("fill", &format!("description: {}\n", "x".repeat(400_000)));
        assert_eq!(codes(&merged(&[("f", &fill)], &head("m", "extends: [f, f]\n"))), []);
        let over = merged(&[("f", &fill)], &head("m", "extends: [f, f, f]\n"));
        assert_eq!((over.found.len(), over.found[0].code), (1, "L007"));
        // Each level names the next a hundred times: work ends with the limit, not after a hundred to the eighth.
        let list = |n: usize| format!("extends: [{}]\n", vec![format!("w{n}"); 100].join(", "));
        let wide: Vec<(String, String)> = (0..7).map(|i| (format!("w{i}"), head("w", &list(i + 1)))).collect();
        let mut known: Vec<(&str, &str)> = wide.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        let last = head("w7", "");
        known.push(("w7", &last));
        let begun = std::time::Instant::now();
        assert_eq!(merged(&known, &head("m", &list(0))).found[0].code, "L007");
        assert!(begun.elapsed().as_secs() < 5);
    }

    proptest! {
        /// Overlaying with nothing changes nothing; overlaying twice with the same is overlaying once.
        #[test]
        fn overlaying_is_idempotent(below in any_map(), above in any_map()) {
            let once = overlay(below.clone(), above.clone());
            prop_assert_eq!(text(&overlay(below.clone(), Node { value: Value::Map(Vec::new()), ..below.clone() })), text(&below));
            prop_assert_eq!(text(&overlay(once.clone(), above)), text(&once));
        }
    }

    /// Maps of texts, lists and maps; without null, which would take away what it brought.
    fn any_map() -> impl Strategy<Value = Node> {
        let node = |value| Node { value, place: Position::default() };
        let leaf = "[a-c]{1,2}".prop_map(move |t| node(Value::Text(t)));
        let any = leaf.prop_recursive(3, 24, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(move |l| node(Value::List(l))),
                proptest::collection::btree_map("[a-d]", inner, 0..4).prop_map(move |m| {
                    let key = |name| Key { name, place: Position::default() };
                    node(Value::Map(m.into_iter().map(|(k, v)| (key(k), v)).collect()))
                }),
            ]
        });
        proptest::collection::btree_map("[a-d]", any, 0..4).prop_map(move |m| {
            let key = |name| Key { name, place: Position::default() };
            node(Value::Map(m.into_iter().map(|(k, v)| (key(k), v)).collect()))
        })
    }
}
