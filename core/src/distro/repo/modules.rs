//! `modules.yaml`: streams of modules, their profiles, and which are the default.
//!
//! A stream of YAML documents of several kinds, of which two are of interest. Which streams fit together is for dnf to find
//! out.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most text of the document. AppStream 8 has 8 MiB.
pub(super) const LIMIT: u64 = 64 << 20;
/// Most text of one stream, and most nodes in it.
const DOCUMENT_LIMIT: usize = 4 << 20;
const NODE_LIMIT: usize = 200_000;
const DOCUMENTS_LIMIT: usize = 20_000;

/// A module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// The stream that is taken where none is asked for.
    pub default: Option<String>,
    /// Its streams, with their profiles.
    pub streams: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Deserialize)]
struct Document {
    document: String,
    #[serde(default)]
    data: Option<Data>,
}

/// The union of both kinds; what is not of interest is not looked at.
#[derive(Default, Deserialize)]
struct Data {
    /// Of a stream.
    name: Option<String>,
    /// Of a stream, or the default one.
    #[serde(default)]
    stream: Option<Text>,
    /// Of a default.
    module: Option<String>,
    /// Of a stream a map of profiles, of a default one of streams.
    #[serde(default)]
    profiles: BTreeMap<Text, serde::de::IgnoredAny>,
}

/// A name that looks like a number, as `stream: 1.10`, which has to stay as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        // The parser gives a plain scalar as it is written to whoever asks for text.
        String::deserialize(d).map(Self)
    }
}

/// Reads the modules, sorted by name.
///
/// # Errors
/// `Integrity` when a document cannot be read; `Limit`.
pub fn parse(text: &[u8]) -> Result<Vec<Module>> {
    let text = std::str::from_utf8(text).map_err(|_| Error::integrity("modules.yaml is not UTF-8 text"))?;
    let mut out: BTreeMap<String, Module> = BTreeMap::new();
    let mut count = 0;
    for document in documents(text) {
        count += 1;
        if document.len() > DOCUMENT_LIMIT || count > DOCUMENTS_LIMIT {
            return Err(Error::limit("modules.yaml is too large"));
        }
        let Document { document, data } = read(document)?;
        let data = data.unwrap_or_default();
        let module = |name: String| Module { name, ..Module::default() };
        match document.as_str() {
            "modulemd" => {
                let (Some(name), Some(Text(stream))) = (data.name, data.stream) else {
                    return Err(Error::integrity("modules.yaml has a stream without name"));
                };
                let known = out.entry(name.clone()).or_insert_with(|| module(name));
                known.streams.entry(stream).or_default().extend(data.profiles.into_keys().map(|p| p.0));
            }
            "modulemd-defaults" => {
                if let Some(name) = data.module {
                    out.entry(name.clone()).or_insert_with(|| module(name)).default = data.stream.map(|s| s.0);
                }
            }
            // Obsoletes, translations, packagers' documents.
            _ => {}
        }
    }
    Ok(out.into_values().collect())
}

/// The documents of a stream: `---` in the first column begins one, whatever it stands in.
fn documents(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let front = std::iter::once(0).filter(|_| text.starts_with("---"));
        let ends = front.chain(text.match_indices("\n---").map(|(n, _)| n + 1));
        let mut marks = ends.filter(|&n| text[n + 3..].starts_with(['\n', ' ', '\r']));
        let (document, after) = marks.next().map_or((text, None), |n| (&text[..n], Some(&text[n + 3..])));
        rest = after;
        Some(document)
    })
    .map(|d| d.trim().trim_end_matches("...").trim_end())
    .filter(|d| d.lines().any(|l| !matches!(l.trim(), "" | "...") && !l.starts_with(['#', '%'])))
}

fn read(text: &str) -> Result<Document> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 4 * NODE_LIMIT,
            max_nodes: NODE_LIMIT,
            max_depth: 64,
            max_documents: 2,
            max_aliases: 1000,
            max_anchors: 1000,
            max_recorded_anchor_events: NODE_LIMIT,
            max_total_scalar_bytes: DOCUMENT_LIMIT,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: NODE_LIMIT,
            max_replay_stack_depth: 32,
        },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|e| Error::integrity(format!("modules.yaml cannot be read: {}", e.without_snippet())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "---\ndocument: modulemd\nversion: 2\ndata:\n  name: webd\n  stream: 1.10\n  version: 9040\n  context: c0\n  \
        summary: a\n  profiles: {common: {rpms: [webd]}, \"9\": {}}\n...\n--- # next\ndocument: modulemd\ndata: {name: webd, stream: \"2\"}\n...\n\
        ---\ndocument: modulemd-defaults\nversion: 1\ndata: {module: webd, stream: 1.10, profiles: {\"1\": [common]}}\n...\n\
        ---\ndocument: modulemd-obsoletes\nversion: 1\ndata: {module: x, stream: y, message: z}\n";

    #[test]
    fn streams_stay_as_they_are_written() {
        let modules = parse(TEXT.as_bytes()).unwrap();
        assert_eq!(modules.len(), 1);
        assert_eq!(modules[0].default.as_deref(), Some("1.10"));
        let streams: Vec<_> = modules[0].streams.iter().map(|(s, p)| (s.as_str(), p.len())).collect();
        assert_eq!(streams, [("1.10", 2), ("2", 0)]);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert!(parse(b"").unwrap().is_empty());
        for bad in ["---\n[\n", "---\ndocument: modulemd\ndata: {stream: a}\n", "--- {a: b}\n"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
