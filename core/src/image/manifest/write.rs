//! A manifest becomes bytes.

use super::*;
use crate::image::leb::{put, put_str};

impl Manifest {
    /// The canonical bytes, whose BLAKE3 is the image id.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        let mut field = |tag: u64, value: &[u8]| {
            put(&mut out, tag);
            put_str(&mut out, value);
        };
        // serde_json's maps are sorted by key and its compact form has no white space: the canonical JSON.
        let json = |v: &Option<Value>| v.as_ref().map(|v| v.to_string().into_bytes());
        field(TAG_PAGES, &page_table(&self.pages));
        field(TAG_TOTALS, &totals(&self.totals));
        for (tag, value) in [
            (TAG_POLICY, json(&self.policy)),
            (TAG_FACTS, json(&self.facts)),
            (TAG_PARENT, self.parent.map(|h| h.0.to_vec())),
            (TAG_NAMES, json(&self.names)),
            (TAG_LAYOUT, self.layout.clone()),
        ] {
            if let Some(value) = value {
                field(tag, &value);
            }
        }
        out
    }
}

pub(super) fn page_table(pages: &[PageRef]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pages.len() * 80);
    put(&mut out, pages.len() as u64);
    for p in pages {
        put_str(&mut out, &p.first);
        out.extend_from_slice(&p.hash.0);
        put(&mut out, u64::from(p.rows));
        put(&mut out, u64::from(p.bytes));
    }
    out
}

fn totals(t: &Totals) -> Vec<u8> {
    let mut out = Vec::new();
    for n in [t.rows, t.directories, t.files, t.links, t.special, t.groups, t.size, t.data] {
        put(&mut out, n);
    }
    out
}
