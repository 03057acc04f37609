//! Texts of more than one line, and those that are one of a kind.

use super::super::said::{Section, Thing};
use super::super::spec::words;
use super::{At, Decoder};
use crate::document::diagnostic::{Diagnostic, Position, nearest};
use crate::document::{Node, Value};
use crate::secrets::{Class, RULES, Scan};

/// A content, a template or a script is not longer, in bytes.
pub(super) const CONTENT_LIMIT: usize = 256 << 10;

/// What a text of a kind is.
pub(super) struct Kind {
    code: &'static str,
    is: fn(&str) -> bool,
    what: &'static str,
    hint: fn(&str) -> String,
}

pub(super) const TIMEZONE: Kind = Kind {
    code: "R040",
    is: words::is_timezone,
    what: "a time zone",
    hint: |text| {
        let (region, place) = text.split_once('/').unwrap_or((text, ""));
        match nearest(region, words::ZONES.into_iter().chain(words::LONE_ZONES)) {
            Some(meant) if meant != region && place.is_empty() => format!("did you mean \"{meant}\"?"),
            Some(meant) if meant != region => format!("did you mean \"{meant}/{place}\"?"),
            _ => "write for example UTC or Europe/Berlin".to_owned(),
        }
    },
};
pub(super) const LOCALE: Kind = Kind {
    code: "R039",
    is: words::is_locale,
    what: "a locale",
    hint: |_| "write for example en_US.UTF-8 or C.UTF-8".to_owned(),
};

impl Decoder<'_> {
    pub(super) fn text(&mut self, at: &At<'_, '_>, key: &'static str, section: Section, kind: &Kind) {
        let Some(node) = at.fields.get(key) else { return };
        let path = at.fields.path(key);
        let Some(text) = self.r.text(node, &path) else { return };
        if (kind.is)(&text) {
            self.say(at, section, "", Some(Thing::Text(text)), &path, node.place);
            return;
        }
        let short: String = text.chars().take(60).collect();
        let d = Diagnostic::error(kind.code, path, format!("\"{short}\" is not {}", kind.what));
        self.r.report(d.hint((kind.hint)(&text)).at(node.place));
    }

    /// A text with as many lines as it likes.
    pub(super) fn long_text(&mut self, node: &Node, path: &str) -> Option<String> {
        match &node.value {
            Value::Text(t) if t.contains('\0') => {
                self.r.wrong("R005", path, node.place, "the text has a zero byte in it");
                None
            }
            Value::Text(t) if t.len() > CONTENT_LIMIT => {
                self.too_long(path, node.place);
                None
            }
            Value::Text(t) => Some(t.clone()),
            _ => self.r.text(node, path),
        }
    }

    pub(super) fn too_long(&mut self, path: &str, place: Position) {
        let d = Diagnostic::error("R007", path, "it is over 256 KiB long").at(place);
        self.r.report(d.hint("large files belong into a package, or into an image that the role is laid over"));
    }

    /// What is in a file beside the document.
    pub(super) fn beside(&mut self, name: &str, path: &str, place: Position) -> Option<Vec<u8>> {
        let parts = name.split('/');
        if name.len() > 1024
            || name.contains(char::is_control)
            || parts.into_iter().any(|p| matches!(p, "" | "." | ".."))
        {
            let short: String = name.chars().take(60).collect();
            let d = Diagnostic::error("R030", path, format!("\"{short}\" does not lie beside the document")).at(place);
            self.r.report(d.hint("write its name, with folders below that of the document, without . and .."));
            return None;
        }
        match (self.source)(name) {
            Ok(bytes) if bytes.len() > CONTENT_LIMIT => {
                self.too_long(path, place);
                None
            }
            Ok(bytes) => Some(bytes),
            Err(why) => {
                self.r.report(Diagnostic::error("R014", path, why).at(place));
                None
            }
        }
    }

    /// Says so when there is a secret in something. What it is is not repeated.
    pub(super) fn no_secret(&mut self, file: &str, bytes: &[u8], path: &str, place: Position) {
        let (file, mut scan) = (file.trim_start_matches('/').as_bytes(), Scan::default());
        scan.begin(bytes.len() as u64);
        scan.add(file, bytes);
        let hits = scan.end(file).iter().map(|hit| (&RULES[usize::from(hit.rule)], hit.line));
        for (rule, line) in hits.filter(|(rule, _)| rule.class == Class::Secret) {
            let within = if line > 0 { format!(" in line {line} of it") } else { String::new() };
            self.secret(path, place, &format!("{}{within}", rule.what));
        }
    }

    pub(super) fn secret(&mut self, path: &str, place: Position, what: &str) {
        let d = Diagnostic::error("R036", path, format!("a secret does not belong into a role: {what}")).at(place);
        self.r.report(d.hint("whoever has the image has it; give it to the node when it is deployed"));
    }
}
