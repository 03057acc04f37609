//! What the types cannot say: references, uniqueness, limits, what firmware and GRUB need (pass L).

use super::decode::Positions;
use super::diagnostic::{DIAGNOSTIC_LIMIT, Diagnostic, nearest};
use super::foreign;
use super::size::Size;
use super::spec::{Filesystem, Firmware, FsType, PartitionKey, Spec};
use crate::units::human;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

const MIB: u64 = 1 << 20;
/// Names of sets, partitions, filesystems and layouts.
const NAME_LIMIT: usize = 64;

/// Everything that is wrong with the document itself.
#[must_use]
pub fn validate(spec: &Spec, positions: &Positions) -> Vec<Diagnostic> {
    let mut v = Validator { spec, positions, found: Vec::new() };
    v.names();
    v.partitions();
    v.filesystems();
    v.mounts();
    v.boot();
    v.found
}

struct Validator<'a> {
    spec: &'a Spec,
    positions: &'a Positions,
    found: Vec<Diagnostic>,
}

impl Validator<'_> {
    fn report(&mut self, d: Diagnostic) {
        if self.found.len() < DIAGNOSTIC_LIMIT {
            let place = self.positions.place(&d.path);
            self.found.push(d.at(place));
        }
    }

    fn wrong(&mut self, code: &'static str, path: impl Into<String>, message: impl Into<String>) {
        self.report(Diagnostic::error(code, path, message));
    }

    fn names(&mut self) {
        let spec = self.spec;
        let mut check = |path: String, name: &str| {
            let ok = name.len() <= NAME_LIMIT
                && name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            if !ok {
                let d = Diagnostic::error("L116", path, "a name is 1 to 64 letters, digits and . _ - here");
                self.report(d.hint("it begins with a letter or a digit"));
            }
        };
        check("name".to_owned(), &spec.name);
        spec.disks.keys().for_each(|n| check(format!("disks.{n}"), n));
        spec.partitions.keys().for_each(|k| check(format!("partitions.{k}"), &k.name));
        spec.filesystems.keys().for_each(|n| check(format!("filesystems.{n}"), n));
    }

    fn partitions(&mut self) {
        let spec = self.spec;
        let mut rest: HashMap<&str, &PartitionKey> = HashMap::new();
        let mut percent: HashMap<&str, u32> = HashMap::new();
        let mut numbers: HashSet<(&str, u32)> = HashSet::new();
        let mut uuids: HashSet<Uuid> = HashSet::new();
        for (key, p) in &spec.partitions {
            let path = format!("partitions.{key}");
            if !spec.disks.contains_key(&key.set) && !self.positions.has(&format!("disks.{}", key.set)) {
                let known: Vec<&str> = spec.disks.keys().map(String::as_str).collect();
                let d = Diagnostic::error("L102", &path, format!("unknown disk set \"{}\" in \"{key}\"", key.set));
                self.report(d.hint(match nearest(&key.set, known.iter().copied()) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => format!("known are: {}", known.join(", ")),
                }));
            }
            if let Some(n) = p.number {
                if !(1..=128).contains(&n) {
                    self.wrong("L101", format!("{path}.number"), format!("{n} is not a number from 1 to 128"));
                } else if !numbers.insert((&key.set, n)) {
                    let text = format!("partition number {n} is used twice in set {}", key.set);
                    self.wrong("L111", format!("{path}.number"), text);
                }
            }
            if let Some(u) = p.uuid.filter(|u| !uuids.insert(*u)) {
                self.wrong("L119", format!("{path}.uuid"), format!("the UUID {u} is used twice"));
            }
            let name = p.name.as_deref().unwrap_or(&key.name);
            let units = name.encode_utf16().count();
            // While the disk is being made the name carries the suffix "~cv".
            if units > 36 - super::MARKER.len() {
                let text = format!("the partition name is {units} UTF-16 units long; there is room for 33");
                self.wrong("L112", format!("{path}.name"), text);
            }
            if name.ends_with(super::MARKER) || name.chars().any(char::is_control) {
                let text = "the partition name has control characters in it, or ends in ~cv";
                self.wrong("L118", format!("{path}.name"), text);
            }
            match p.size {
                Size::Rest => {
                    if let Some(first) = rest.insert(&key.set, key) {
                        let text = format!("more than one \"size: rest\" in set {}: {first} and {key}", key.set);
                        let d = Diagnostic::error("L109", format!("{path}.size"), text);
                        self.report(d.hint("give both bounds and weights: {min: 1GiB, weight: 1}"));
                    }
                }
                Size::Percent(n) => {
                    let sum = percent.entry(&key.set).or_default();
                    *sum += u32::from(n.number());
                    if *sum > 100 && *sum - u32::from(n.number()) <= 100 {
                        let text = format!("percentages in set {} add up to more than 100 %", key.set);
                        self.wrong("L110", format!("{path}.size"), text);
                    }
                }
                Size::Fixed(size) if size.bytes() == 0 => {
                    self.wrong("L101", format!("{path}.size"), "the size is zero");
                }
                Size::Fixed(_) | Size::Flex { .. } | Size::Of { .. } => {}
            }
            if p.kind.is("esp") {
                let sector = spec.disks.get(&key.set).and_then(|d| d.sector).unwrap_or(512);
                let (least, named) = if sector == 4096 { (260 * MIB, "260MiB") } else { (100 * MIB, "100MiB") };
                let given = match p.size {
                    Size::Fixed(size) => Some(size),
                    Size::Flex { min, .. } => Some(min),
                    Size::Rest | Size::Percent(_) | Size::Of { .. } => None,
                };
                if let Some(size) = given.filter(|s| s.bytes() < least) {
                    let text = format!("esp is {size}: at least {named} (260MiB on disks with 4096-byte sectors)");
                    self.report(Diagnostic::error("L122", format!("{path}.size"), text).hint("600MiB is usual"));
                }
            }
        }
    }

    fn filesystems(&mut self) {
        let spec = self.spec;
        let mut users: HashMap<String, &str> = HashMap::new();
        let mut uuids: HashSet<String> = HashSet::new();
        let known: HashMap<String, &PartitionKey> = spec.partitions.keys().map(|k| (k.to_string(), k)).collect();
        for (id, fs) in &spec.filesystems {
            let path = format!("filesystems.{id}");
            match known.get(&fs.on.to_string()).map(|key| &spec.partitions[*key]) {
                None if self.positions.has(&fs.on.path()) => {}
                None => {
                    let d = Diagnostic::error("L103", format!("{path}.on"), format!("\"{}\" does not exist", fs.on));
                    let meant = nearest(&fs.on.to_string(), known.keys().map(String::as_str));
                    self.report(match meant {
                        Some(meant) => d.hint(format!("did you mean \"{meant}\"?")),
                        None => d.hint("write SET/NAME of a partition"),
                    });
                }
                Some(p) => {
                    if p.kind.is("bios-boot") {
                        self.wrong("L105", format!("{path}.on"), format!("\"{}\" belongs to the boot loader", fs.on));
                    }
                    if let Size::Fixed(size) = p.size
                        && size.bytes() < fs.kind.minimum()
                    {
                        let least = human(fs.kind.minimum());
                        let text = format!("{} needs at least {least}, \"{}\" has {size}", fs.kind.name(), fs.on);
                        self.wrong("L126", format!("partitions.{}.size", fs.on), text);
                    }
                }
            }
            if let Some(first) = users.insert(fs.on.to_string(), id) {
                let text = format!("\"{}\" is used by both filesystems.{first} and filesystems.{id}", fs.on);
                self.report(Diagnostic::error("L105", format!("{path}.on"), text).hint("a device can have one user"));
            }
            self.label(&path, fs);
            if let Some(bad) = foreign::foreign_argument(fs.kind, &fs.mkfs) {
                let text = format!("\"{bad}\" is not handed on to the program that makes {}", fs.kind.name());
                let d = Diagnostic::error("L118", format!("{path}.mkfs"), text);
                self.report(
                    d.hint("options and values are words of their own; none may name a device, a file or a UUID"),
                );
            }
            if let Some(text) = &fs.uuid {
                if !uuid_is_right(fs.kind, text) {
                    let what = if fs.kind == FsType::Vfat { "a volume id such as 1A2B-3C4D" } else { "a UUID" };
                    self.wrong("L101", format!("{path}.uuid"), format!("\"{text}\" is not {what}"));
                } else if !uuids.insert(text.to_lowercase()) {
                    self.wrong("L119", format!("{path}.uuid"), format!("the UUID {text} is used twice"));
                }
            }
            if fs.kind == FsType::Swap && fs.mount.is_some() {
                self.wrong("L117", format!("{path}.mount"), "swap is not mounted anywhere");
            }
        }
    }

    fn label(&mut self, path: &str, fs: &Filesystem) {
        let Some(label) = &fs.label else { return };
        let limit = fs.kind.label_limit();
        if label.len() > limit {
            let text = format!("label \"{label}\" is {} bytes long; {} allows {limit}", label.len(), fs.kind.name());
            let d = Diagnostic::error("L113", format!("{path}.label"), text);
            self.report(d.hint("ext4 and swap allow 16, xfs 12, vfat 11"));
        }
        let vfat_bad = |c: char| !c.is_ascii() || c.is_ascii_lowercase() || "*?./\\|,;:+=<>[]\"".contains(c);
        let bad = label.is_empty()
            || label.chars().any(|c| c.is_control() || c == '/' || c == '"')
            || (fs.kind == FsType::Vfat && label.chars().any(vfat_bad));
        if bad {
            let d = Diagnostic::error("L118", format!("{path}.label"), "the label has characters that are not allowed");
            let vfat = fs.kind == FsType::Vfat;
            self.report(if vfat { d.hint("vfat allows capitals, digits, - and _") } else { d });
        }
    }

    fn mounts(&mut self) {
        let spec = self.spec;
        let mut places: HashMap<&str, &str> = HashMap::new();
        for (id, fs) in &spec.filesystems {
            let Some(mount) = &fs.mount else { continue };
            let path = format!("filesystems.{id}.mount");
            let at = mount.at.as_str();
            let parts = || at.split('/').skip(1);
            let clean = at == "/" || (at.starts_with('/') && parts().all(|p| !matches!(p, "" | "." | "..")));
            if !clean
                || at.len() > 1000
                || at.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\' || c == '#')
            {
                let d = Diagnostic::error("L117", format!("{path}.at"), format!("\"{at}\" is not an absolute path"));
                self.report(d.hint("without white space, //, . and .. and without a / at the end"));
            } else if let Some(top) = parts().next().filter(|p| matches!(*p, "proc" | "sys" | "dev" | "run")) {
                self.wrong("L117", format!("{path}.at"), format!("/{top} belongs to the kernel of the running system"));
            }
            if let Some(other) = places.insert(at, id) {
                let text = format!("filesystems.{other} and filesystems.{id} are both mounted at {at}");
                self.wrong("L106", format!("{path}.at"), text);
            }
            if let Some(bad) = mount.options.iter().find(|o| foreign::foreign_mount_option(o)) {
                let text = format!("\"{bad}\" would bring in another device or file");
                self.wrong("L118", format!("{path}.options"), text);
            }
            if let Some(bad) = mount.options.iter().find(|o| o.is_empty() || o.contains([',', ' ', '\t', '#'])) {
                let d = Diagnostic::error("L118", format!("{path}.options"), format!("\"{bad}\" is not one option"));
                self.report(d.hint("write options as a list, one to an item"));
            }
        }
        if spec.boot.is_some() && !places.contains_key("/") && !self.positions.has_hole("filesystems") {
            let d = Diagnostic::error("L107", "filesystems", "no filesystem is mounted at /");
            self.report(d.hint("a layout for data only has no \"boot\""));
        }
    }

    fn boot(&mut self) {
        let spec = self.spec;
        let Some(boot) = &spec.boot else { return };
        let set = &boot.install_on;
        if !spec.disks.contains_key(set) {
            if self.positions.has(&format!("disks.{set}")) {
                return;
            }
            let d = Diagnostic::error("L102", "boot.install-on", format!("unknown disk set \"{set}\""));
            let known: Vec<&str> = spec.disks.keys().map(String::as_str).collect();
            self.report(d.hint(format!("known are: {}", known.join(", "))));
            return;
        }
        if let Some(bad) = boot.cmdline.iter().find(|w| !command_line_word(w)) {
            let d =
                Diagnostic::error("L118", "boot.cmdline", format!("\"{bad}\" cannot stand on a kernel command line"));
            self.report(d.hint("write one word to an item, without spaces, quotes, $, \\, ; and braces"));
        }
        let hole = self.positions.has_hole("partitions");
        let has = |kind: &str| hole || spec.partitions.iter().any(|(k, p)| k.set == *set && p.kind.is(kind));
        let (has_esp, has_bios_boot) = (has("esp"), has("bios-boot"));
        if spec.firmware.contains(&Firmware::Uefi) {
            if !has_esp {
                let text = format!("firmware uefi needs an \"esp\" partition on the boot set {set}");
                self.wrong("L120", "firmware", text);
            }
            let d = Diagnostic::error("L005", "firmware", "this version of libcv installs GRUB for BIOS only");
            self.report(d.hint("write: firmware: [bios]"));
        } else if !has_bios_boot {
            let text = format!("firmware bios on GPT needs a \"bios-boot\" partition (1MiB) on every disk of {set}");
            let path = if spec.firmware.is_empty() { "boot.install-on" } else { "firmware" };
            self.wrong("L121", path, text);
        }
    }
}

/// Whether a word means the same in a GRUB script as it says.
pub(super) fn command_line_word(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_graphic() && !"'\"\\$;{}<>|&#`".contains(c))
}

fn uuid_is_right(kind: FsType, text: &str) -> bool {
    if kind == FsType::Vfat {
        let hex = |t: &str| t.len() == 4 && t.chars().all(|c| c.is_ascii_hexdigit());
        return text.split_once('-').is_some_and(|(a, b)| hex(a) && hex(b));
    }
    text.len() == 36 && Uuid::try_parse(text).is_ok_and(|u| !u.is_nil())
}
