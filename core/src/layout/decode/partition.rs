//! Partitions, and sizes of whatever has one.

use super::super::size::{Base, SHARE_LIMIT, Size, WEIGHT_LIMIT};
use super::super::spec::{Attribute, Partition, PartitionType, Side};
use super::{Keys, Reader};
use crate::document::{Node, Value};
use uuid::Uuid;

pub(super) const PARTITION: Keys =
    &["number", "type", "size", "name", "uuid", "attrs", "start", "at", "leave-free", "optional", "min", "preserve"];
const FLEX: Keys = &["min", "max", "weight"];
const SHARE: Keys = &["percent-of", "percent", "min", "max"];

impl Reader {
    pub(super) fn partition(&mut self, node: &Node, path: &str) -> Option<Partition> {
        let f = self.fields(node, path, PARTITION)?;
        let number = self.number(&f, "number");
        let kind = self.required(&f, "type").and_then(|n| {
            let at = f.path("type");
            let text = self.text(n, &at)?;
            PartitionType::parse(&text).or_else(|| {
                let words: Vec<(&'static str, ())> = PartitionType::names().map(|w| (w, ())).collect();
                self.word(n, &at, &words)?;
                None
            })
        });
        let size = self.required(&f, "size").and_then(|n| self.size(n, &f.path("size")));
        let uuid = |text: &str| Uuid::try_parse(text).ok().filter(|u| !u.is_nil());
        let attributes = Attribute::ALL.map(|a| (a.name(), a));
        let name = self.optional_text(&f, "name");
        let uuid = self.parsed(&f, "uuid", "a UUID", uuid);
        let attrs = self.choices(&f, "attrs", &attributes);
        let start = self.bytes(&f, "start");
        let at = self.choice(&f, "at", &Side::WORDS).unwrap_or_default();
        let leave_free = self.bytes(&f, "leave-free");
        let optional = self.flag(&f, "optional");
        let min = self.bytes(&f, "min");
        let preserve = self.preserve(&f);
        let (kind, size) = (kind?, size?);
        Some(Partition { number, kind, size, name, uuid, attrs, start, at, leave_free, optional, min, preserve })
    }

    pub(super) fn size(&mut self, node: &Node, path: &str) -> Option<Size> {
        let Value::Map(entries) = &node.value else {
            let text = self.text(node, path)?;
            return Size::parse(&text).map_err(|(code, message)| self.wrong(code, path, node.place, message)).ok();
        };
        let size = if entries.iter().any(|(k, _)| k.name.starts_with("percent")) {
            let f = self.fields(node, path, SHARE)?;
            self.required(&f, "percent-of");
            self.required(&f, "percent");
            let base = self.choice(&f, "percent-of", &Base::WORDS);
            let percent = self.number_in(&f, "percent", 1..=SHARE_LIMIT);
            let (min, max) = (self.bytes(&f, "min"), self.bytes(&f, "max"));
            Size::Of { base: base?, percent: percent?, min, max }
        } else {
            let f = self.fields(node, path, FLEX)?;
            let min = self.bytes(&f, "min").unwrap_or_default();
            let max = self.bytes(&f, "max");
            let weight = match f.get("weight") {
                None => 1,
                Some(_) => self.number_in(&f, "weight", 1..=WEIGHT_LIMIT)?,
            };
            Size::Flex { min, max, weight }
        };
        let bounds = match size {
            Size::Flex { min, max, .. } => (Some(min), max),
            Size::Of { min, max, .. } => (min, max),
            Size::Fixed(_) | Size::Rest | Size::Percent(_) => (None, None),
        };
        if bounds.0.zip(bounds.1).is_some_and(|(min, max)| max < min) {
            self.wrong("L101", path, node.place, "max is less than min");
            return None;
        }
        Some(size)
    }
}
