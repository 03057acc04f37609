//! Where filesystems and subvolumes are mounted.

use super::Validator;
use crate::layout::diagnostic::Diagnostic;
use crate::layout::foreign;
use crate::layout::spec::{FsType, Mount};
use std::collections::HashMap;

/// The longest path of a mount point.
const PATH_LIMIT: usize = 1000;
/// What the kernel and systemd mount themselves.
const OF_THE_KERNEL: [&str; 4] = ["proc", "sys", "dev", "run"];

impl Validator<'_> {
    pub(super) fn mounts(&mut self) {
        let spec = self.spec;
        let mut places: HashMap<&str, String> = HashMap::new();
        for (id, fs) in &spec.filesystems {
            let path = format!("filesystems.{id}");
            if let Some(mount) = &fs.mount {
                if fs.kind == FsType::Swap {
                    self.wrong("L117", format!("{path}.mount"), "swap is not mounted anywhere");
                }
                self.mount(&path, mount, false, &mut places);
            }
            for (name, subvolume) in &fs.subvolumes {
                if let Some(mount) = &subvolume.mount {
                    self.mount(&format!("{path}.subvolumes.{name}"), mount, true, &mut places);
                }
            }
        }
        let unread = self.positions.is_faulty("filesystems");
        if spec.boot.is_some() && !spec.policy.no_root && !places.contains_key("/") && !unread {
            let d = Diagnostic::error("L107", "filesystems", "no filesystem is mounted at /");
            self.report(d.hint("a layout for data only has no \"boot\", or says policy: {no-root: true}"));
        }
    }

    fn mount<'m>(&mut self, owner: &str, mount: &'m Mount, subvolume: bool, places: &mut HashMap<&'m str, String>) {
        let path = format!("{owner}.mount");
        let at = mount.at.as_str();
        let parts = || at.split('/').skip(1);
        let clean = at == "/" || (at.starts_with('/') && parts().all(|p| !matches!(p, "" | "." | "..")));
        let odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\' || c == '#';
        if !clean || at.len() > PATH_LIMIT || at.chars().any(odd) {
            let d = Diagnostic::error("L117", format!("{path}.at"), format!("\"{at}\" is not an absolute path"));
            self.report(d.hint("without white space, //, . and .. and without a / at the end"));
        } else if let Some(top) = parts().next().filter(|p| OF_THE_KERNEL.contains(p)) {
            self.wrong("L117", format!("{path}.at"), format!("/{top} belongs to the kernel of the running system"));
        }
        match places.get(at) {
            Some(other) => {
                self.wrong("L106", format!("{path}.at"), format!("{other} and {owner} are both mounted at {at}"));
            }
            None => drop(places.insert(at, owner.to_owned())),
        }
        let of_subvolume = |o: &str| subvolume && matches!(o.split('=').next(), Some("subvol" | "subvolid"));
        let foreign = |o: &&String| foreign::foreign_mount_option(o) || of_subvolume(o);
        if let Some(bad) = mount.options.iter().find(foreign) {
            let text = format!("\"{bad}\" would bring in another device or file");
            self.wrong("L118", format!("{path}.options"), text);
        } else if let Some(bad) = mount.options.iter().find(|o| o.is_empty() || o.contains([',', ' ', '\t', '#'])) {
            let d = Diagnostic::error("L118", format!("{path}.options"), format!("\"{bad}\" is not one option"));
            self.report(d.hint("write options as a list, one to an item"));
        }
    }
}
