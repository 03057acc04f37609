//! What is made out of partitions: arrays, encrypted devices, volume groups.

use super::super::diagnostic::Diagnostic;
use super::super::size::Percent;
use super::super::spec::{
    Adopt, Bitmap, Degraded, Key, Level, Luks, Metadata, Raid, Raid10Layout, Resync, Volume, VolumeGroup, VolumeKind,
};
use super::{Keys, Reader};
use crate::document::{Node, Value};

pub(super) const RAID: Keys =
    &["level", "members", "spares", "metadata", "layout", "chunk", "bitmap", "sync", "name", "adopt", "preserve"];
pub(super) const ADOPT: Keys = &["name", "uuid", "degraded"];
pub(super) const LUKS: Keys = &["on", "version", "keys", "options", "label", "preserve"];
const KEY: Keys = &["secret", "tpm2"];
const TPM2: Keys = &["pcrs"];
pub(super) const GROUP: Keys = &["pvs", "extent", "reserve", "lvs", "preserve"];
pub(super) const VOLUME: Keys =
    &["kind", "size", "stripes", "stripe-size", "chunk", "pool", "virtual-size", "optional", "preserve"];
/// More spares than this are a mistake.
const SPARE_LIMIT: u32 = 1000;
/// A TPM has so many registers.
const REGISTERS: u32 = 24;

impl Reader {
    pub(super) fn raid(&mut self, node: &Node, path: &str) -> Option<Raid> {
        let f = self.fields(node, path, RAID)?;
        self.required(&f, "level");
        let level = self.number(&f, "level").and_then(|n| {
            let level = Level::from_number(n);
            if level.is_none() {
                let place = f.get("level").map(|n| n.place).unwrap_or_default();
                self.wrong("L101", &f.path("level"), place, format!("{n} is not a level: 0, 1, 5, 6 or 10"));
            }
            level
        });
        let members = self.references(&f, "members");
        let spares = self.number_in(&f, "spares", 0..=SPARE_LIMIT).unwrap_or_default();
        let metadata = self.choice(&f, "metadata", &Metadata::WORDS).unwrap_or_default();
        let layout = self.parsed(&f, "layout", "a layout such as n2, f2 or o3", Raid10Layout::parse);
        let chunk = self.bytes(&f, "chunk");
        let bitmap = self.choice(&f, "bitmap", &Bitmap::WORDS);
        let sync = self.choice(&f, "sync", &Resync::WORDS).unwrap_or_default();
        let name = self.optional_text(&f, "name");
        let adopt = f.get("adopt").and_then(|n| {
            let a = self.fields(n, &f.path("adopt"), ADOPT)?;
            let (name, uuid) = (self.optional_text(&a, "name"), self.optional_text(&a, "uuid"));
            let degraded = self.choice(&a, "degraded", &Degraded::WORDS).unwrap_or_default();
            Some(Adopt { name, uuid, degraded })
        });
        let preserve = self.preserve(&f);
        let (level, members) = (level?, members?);
        Some(Raid { level, members, spares, metadata, layout, chunk, bitmap, sync, name, adopt, preserve })
    }

    pub(super) fn luks(&mut self, node: &Node, path: &str) -> Option<Luks> {
        let f = self.fields(node, path, LUKS)?;
        let on = self.reference(&f, "on");
        let version = self.number_in(&f, "version", 2..=2).unwrap_or(2);
        let keys = self.required(&f, "keys").map(|n| {
            let path = f.path("keys");
            super::items(Some(n)).iter().filter_map(|n| self.key(n, &path)).collect::<Vec<_>>()
        });
        let options = self.texts(&f, "options");
        let label = self.optional_text(&f, "label");
        let preserve = self.preserve(&f);
        Some(Luks { on: on?, version, keys: keys?, options, label, preserve })
    }

    fn key(&mut self, node: &Node, path: &str) -> Option<Key> {
        // What stands there instead may be a passphrase: it is not repeated.
        let Value::Map(_) = node.value else {
            let d = Diagnostic::error("L140", path, "a passphrase does not belong into a document").at(node.place);
            self.report(d.hint("write {secret: \"ref:NAME\"} and give the secret when the plan is applied"));
            return None;
        };
        let f = self.fields(node, path, KEY)?;
        match (f.get("secret"), f.get("tpm2")) {
            (Some(n), None) => {
                let named = matches!(&n.value, Value::Text(t) if is_secret_name(t));
                if !named {
                    let d = Diagnostic::error("L140", f.path("secret"), "this is not the name of a secret").at(n.place);
                    self.report(d.hint("write \"ref:NAME\", where NAME has letters, digits and . _ - /"));
                    return None;
                }
                self.optional_text(&f, "secret").map(Key::Secret)
            }
            (None, Some(n)) => {
                let t = self.fields(n, &f.path("tpm2"), TPM2)?;
                let at = t.path("pcrs");
                let registers = super::items(self.required(&t, "pcrs"));
                let register = |text: &str| text.parse::<u32>().ok().filter(|r| *r < REGISTERS);
                let read = |n: &Node| self.parsed_item(n, &at, "a register from 0 to 23", register);
                Some(Key::Tpm2 { pcrs: registers.iter().filter_map(read).collect() })
            }
            _ => {
                self.wrong("L101", path, node.place, "a key is either a secret or the TPM");
                None
            }
        }
    }

    pub(super) fn volume_group(&mut self, node: &Node, path: &str) -> Option<VolumeGroup> {
        let f = self.fields(node, path, GROUP)?;
        let pvs = self.references(&f, "pvs");
        let extent = self.bytes(&f, "extent").unwrap_or(VolumeGroup::EXTENT);
        let reserve = self.parsed(&f, "reserve", "a percentage from 1% to 100%", Percent::parse);
        let lvs = self.map(&f, "lvs", Self::volume);
        let preserve = self.preserve(&f);
        Some(VolumeGroup { pvs: pvs?, extent, reserve, lvs, preserve })
    }

    fn volume(&mut self, node: &Node, path: &str) -> Option<Volume> {
        let f = self.fields(node, path, VOLUME)?;
        Some(Volume {
            kind: self.choice(&f, "kind", &VolumeKind::WORDS).unwrap_or_default(),
            size: match f.get("size") {
                Some(n) => Some(self.size(n, &f.path("size"))?),
                None => None,
            },
            stripes: self.number_in(&f, "stripes", 1..=128),
            stripe_size: self.bytes(&f, "stripe-size"),
            chunk: self.bytes(&f, "chunk"),
            pool: self.optional_text(&f, "pool"),
            virtual_size: self.bytes(&f, "virtual-size"),
            optional: self.flag(&f, "optional"),
            preserve: self.preserve(&f),
        })
    }
}

fn is_secret_name(text: &str) -> bool {
    let name = text.strip_prefix("ref:").unwrap_or_default();
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c))
}
