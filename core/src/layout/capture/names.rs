//! Names for what has none that a document could use: after what it is for, the same every time.

use super::Draft;
use crate::layout::observed::{Filesystem, Node};
use crate::layout::spec::Ref;

/// Whether a text can be a name of a document.
pub(super) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// `text`, or with a number behind it where that is taken.
pub(super) fn unique(text: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|n| format!("{text}{n}"));
    std::iter::once(text.to_owned()).chain(numbered).find(|name| !is_taken(name)).unwrap_or_default()
}

/// A name for a mount point: `/` is root, `/var/lib` is var-lib.
pub(super) fn of_mount(at: &str) -> Option<String> {
    match at {
        "/" => return Some("root".to_owned()),
        "/boot/efi" | "/efi" => return Some("esp".to_owned()),
        _ => {}
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = at.trim_matches('/').chars().map(plain).take(40).collect();
    is_name(&name).then_some(name)
}

impl Draft<'_> {
    /// What a device is for: the mount point or label of what is on it, the name of what it is a part of.
    pub(super) fn purpose(&self, node: Node) -> Option<String> {
        let own = |f: &Filesystem| {
            let mounted = self.mounts_of(node).first().and_then(|m| of_mount(&m.at));
            let label = || f.label.as_ref().map(|l| l.to_lowercase()).filter(|l| is_name(l));
            match f.kind.as_str() {
                "swap" => Some("swap".to_owned()),
                _ => mounted.or_else(label),
            }
        };
        if let Some(fs) = self.observed.filesystem_on(node) {
            return own(fs);
        }
        if let Some(array) = self.observed.arrays.iter().find(|a| a.members.iter().any(|m| m.on == node)) {
            return Some(array.short_name().to_owned()).filter(|n| is_name(n));
        }
        if let Some(group) = self.observed.groups.iter().find(|g| g.pvs.iter().any(|p| p.on == Some(node))) {
            return Some(group.name.clone()).filter(|n| is_name(n));
        }
        let open = self.observed.crypts.iter().position(|c| c.on == node)?;
        self.purpose(Node::Crypt(open)).or_else(|| Some("crypt".to_owned()))
    }
}

/// Whether the first word of references can be a set of this name.
pub(super) fn is_set_name(name: &str) -> bool {
    is_name(name) && !Ref::RESERVED.contains(&name)
}
