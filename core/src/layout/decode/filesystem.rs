//! Filesystems and where they are mounted.

use super::super::spec::{Filesystem, FsType, Mirror, Mount, Profile, Subvolume};
use super::{Fields, Keys, Reader};
use crate::document::Node;

pub(super) const FILESYSTEM: Keys =
    &["on", "type", "label", "uuid", "mkfs", "profile", "mount", "mirror", "subvolumes", "preserve"];
pub(super) const MOUNT: Keys = &["at", "options"];
pub(super) const SUBVOLUME: Keys = &["mount"];

impl Reader {
    pub(super) fn filesystem(&mut self, node: &Node, path: &str) -> Option<Filesystem> {
        let f = self.fields(node, path, FILESYSTEM)?;
        let on = self.reference(&f, "on");
        self.required(&f, "type");
        let kind = self.choice(&f, "type", &FsType::ALL.map(|t| (t.name(), t)));
        let label = self.optional_text(&f, "label");
        let uuid = self.optional_text(&f, "uuid");
        let mkfs = self.texts(&f, "mkfs");
        let profile = self.choice(&f, "profile", &Profile::WORDS).unwrap_or_default();
        let mount = self.mount(&f);
        let mirror = self.choice(&f, "mirror", &Mirror::WORDS);
        let subvolumes = self.map(&f, "subvolumes", |reader, node, path| {
            let f = reader.fields(node, path, SUBVOLUME)?;
            Some(Subvolume { mount: reader.mount(&f) })
        });
        let preserve = self.preserve(&f);
        let (on, kind) = (on?, kind?);
        Some(Filesystem { on, kind, label, uuid, mkfs, profile, mount, mirror, subvolumes, preserve })
    }

    fn mount(&mut self, f: &Fields<'_>) -> Option<Mount> {
        let m = self.fields(f.get("mount")?, &f.path("mount"), MOUNT)?;
        let at = self.required(&m, "at").and_then(|n| self.text(n, &m.path("at")));
        let options = self.texts(&m, "options");
        Some(Mount { at: at?, options })
    }
}
