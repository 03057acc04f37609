//! What udev noted about a block device: `run/udev/data/b8:0`.
//!
//! Lines are `S:` and a link below `/dev`, or `E:` and a property, as udev's own database has them.

use super::tree::Tree;
use crate::sys::sysfs::DeviceNumber;

/// An entry of the database; empty when there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    links: Vec<String>,
    properties: Vec<(String, String)>,
}

impl Entry {
    pub(super) fn read(tree: &Tree, number: DeviceNumber) -> Self {
        tree.text(&format!("run/udev/data/b{number}")).map_or_else(Self::default, |text| Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut entry = Self::default();
        for line in text.lines() {
            match line.split_once(':') {
                Some(("S", link)) => entry.links.push(link.to_owned()),
                Some(("E", property)) => {
                    entry.properties.extend(property.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())));
                }
                _ => {}
            }
        }
        entry.links.sort();
        entry
    }

    /// The names in a directory below `/dev`, such as `disk/by-id`, sorted.
    pub(super) fn names(&self, directory: &str) -> Vec<String> {
        let inside = |l: &String| l.strip_prefix(directory)?.strip_prefix('/').map(str::to_owned);
        self.links.iter().filter_map(inside).collect()
    }

    /// Whether this link below `/dev` is one of the device.
    pub(super) fn has_link(&self, link: &str) -> bool {
        self.links.iter().any(|l| l == link)
    }

    pub(super) fn property(&self, key: &str) -> Option<&str> {
        self.properties.iter().find(|(k, v)| k == key && !v.is_empty()).map(|(_, v)| v.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_properties() {
        let e = Entry::parse("S:disk/by-id/b\nI:1\nS:disk/by-id/a\nE:MD_NAME=any:pv\nE:EMPTY=\nnothing\n");
        assert_eq!(e.names("disk/by-id"), ["a", "b"]);
        assert_eq!(e.property("MD_NAME"), Some("any:pv"));
        assert_eq!(e.property("EMPTY"), None);
        assert!(e.has_link("disk/by-id/a") && !e.has_link("disk/by-path/a"));
    }
}
