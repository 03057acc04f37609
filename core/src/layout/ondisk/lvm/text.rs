//! The metadata of a volume group: what it says in LVM's configuration language (`config.rs`).
//!
//! ```text
//! vg0 {                          section
//!   id = "Zf..-.."               value: text, number, or a list
//!   extent_size = 8192           in sectors
//!   physical_volumes { pv0 {..} }
//!   logical_volumes { root { segment1 { type = "striped" stripes = ["pv0", 0] } } }
//! }
//! contents = "Text Format Volume Group"
//! ```

use super::config::{self, Section};

/// A volume group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeGroup {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uuid: String,
    /// Counts its changes.
    pub seqno: u64,
    /// Its states, such as `RESIZEABLE`, `READ`, `WRITE`, `EXPORTED`.
    pub status: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The size of an extent in bytes.
    pub extent_size: u64,
    /// Its disks.
    pub physical: Vec<Physical>,
    /// Its volumes, hidden ones included.
    pub logical: Vec<Logical>,
}

/// A physical volume, as its group knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Physical {
    /// The name that segments use: `pv0`, `pv1`.
    pub name: String,
    /// Its identity.
    pub uuid: String,
    /// The device that it was on; no more than a hint.
    pub device: String,
    /// Its states: `ALLOCATABLE`, `MISSING`.
    pub status: Vec<String>,
    /// The size of its device in bytes.
    pub size: u64,
    /// Where its first extent begins, in bytes.
    pub start: u64,
    /// How many extents it has.
    pub extents: u64,
}

/// A logical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logical {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uuid: String,
    /// Its states: `VISIBLE`, `READ`, `WRITE`.
    pub status: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its pieces, in order.
    pub segments: Vec<Segment>,
}

/// A piece of a logical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its first extent in the volume.
    pub start: u64,
    /// How many extents it has.
    pub extents: u64,
    /// Where they come from.
    pub mapping: Mapping,
}

/// Extents on a physical volume, or of another logical one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct On {
    /// The name of the volume.
    pub volume: String,
    /// The first extent there.
    pub extent: u64,
}

/// How a segment is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// One stretch.
    Linear(On),
    /// Several, in turn.
    Striped {
        /// The piece that goes to each, in bytes.
        stripe: u64,
        /// Where they are.
        on: Vec<On>,
    },
    /// RAID of hidden volumes, or the older mirror.
    Raid {
        /// As LVM calls it: `raid1`, `raid5_ls`, `raid10`, `raid0`, `mirror`.
        level: String,
        /// The hidden volumes with data.
        images: Vec<String>,
        /// Those with metadata; none for `raid0`.
        metadata: Vec<String>,
        /// The piece that goes to each, in bytes; 0 where there are no stripes.
        stripe: u64,
        /// What one bit of its bitmap stands for, in bytes.
        region: u64,
    },
    /// A pool for thin volumes.
    ThinPool {
        /// The hidden volume with data.
        data: String,
        /// The one with metadata.
        metadata: String,
        /// What is allocated at once, in bytes.
        chunk: u64,
        /// Whether chunks are zeroed before they are used.
        zero: bool,
        /// What becomes of discards: `passdown`, `nopassdown`, `ignore`.
        discards: Option<String>,
    },
    /// A thin volume.
    Thin {
        /// Its pool.
        pool: String,
        /// Its number in it.
        device: u64,
        /// The volume that it is a snapshot of.
        origin: Option<String>,
    },
    /// A cached volume.
    Cache {
        /// The pool or volume that caches.
        pool: String,
        /// The hidden volume that is cached.
        origin: String,
    },
    /// A pool for caches.
    CachePool {
        /// The hidden volume with data.
        data: String,
        /// The one with metadata.
        metadata: String,
        /// What is cached at once, in bytes.
        chunk: u64,
        /// `writethrough`, `writeback`, `passthrough`.
        mode: Option<String>,
    },
    /// Something else, by its type.
    Other(String),
}

impl VolumeGroup {
    /// A logical volume.
    #[must_use]
    pub fn volume(&self, name: &str) -> Option<&Logical> {
        self.logical.iter().find(|l| l.name == name)
    }

    /// The size of a logical volume in bytes.
    #[must_use]
    pub fn size_of(&self, volume: &Logical) -> u64 {
        volume.extents().saturating_mul(self.extent_size)
    }

    /// Extents that no segment uses, over all physical volumes.
    #[must_use]
    pub fn free_extents(&self) -> u64 {
        let all: u64 = self.physical.iter().fold(0, |sum, p| sum.saturating_add(p.extents));
        let areas = self.logical.iter().flat_map(|l| &l.segments).flat_map(Segment::areas);
        let on_disk = areas.filter(|(on, _)| self.physical.iter().any(|p| p.name == on.volume));
        all.saturating_sub(on_disk.fold(0, |sum, (_, extents)| sum.saturating_add(extents)))
    }
}

impl Segment {
    /// The extents that a linear or striped one takes, each with how many.
    pub fn areas(&self) -> impl Iterator<Item = (&On, u64)> {
        let (each, on) = match &self.mapping {
            Mapping::Linear(on) => (self.extents, std::slice::from_ref(on)),
            Mapping::Striped { on, .. } => (self.extents / (on.len() as u64).max(1), on.as_slice()),
            _ => (0, Default::default()),
        };
        on.iter().map(move |on| (on, each))
    }
}

impl Logical {
    /// How many extents it has.
    #[must_use]
    pub fn extents(&self) -> u64 {
        self.segments.iter().fold(0, |sum, s| sum.saturating_add(s.extents))
    }

    /// Whether people see it; the parts of others are hidden.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.status.iter().any(|s| s == "VISIBLE")
    }
}

/// Reads the text of a metadata area.
///
/// # Errors
/// What is wrong with it, as a sentence for people.
pub fn parse(text: &[u8]) -> Result<VolumeGroup, String> {
    let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
    let root = config::read(&text[..end])?;
    if root.text("contents") != Some("Text Format Volume Group") {
        return Err("the metadata is not that of a volume group".to_owned());
    }
    if root.number("version") != Some(1) {
        return Err("the metadata is of an unknown version".to_owned());
    }
    let mut groups = root.sections();
    let (Some((name, group)), None) = (groups.next(), groups.next()) else {
        return Err("the metadata does not describe exactly one volume group".to_owned());
    };
    decode(name, group).ok_or_else(|| format!("the metadata of volume group {name} lacks what it needs"))
}

fn decode(name: &str, group: &Section) -> Option<VolumeGroup> {
    let physical = group.sub("physical_volumes").map(Section::sections).into_iter().flatten().map(|(name, s)| {
        Some(Physical {
            name: name.to_owned(),
            uuid: s.text("id")?.to_owned(),
            device: s.text("device").unwrap_or_default().to_owned(),
            status: s.texts("status"),
            size: s.sectors("dev_size").unwrap_or(0),
            start: s.sectors("pe_start")?,
            extents: s.number("pe_count")?,
        })
    });
    let logical = group.sub("logical_volumes").map(Section::sections).into_iter().flatten().map(|(name, s)| {
        let segments = s.sections().filter(|(name, _)| name.starts_with("segment")).map(|(_, s)| segment(s));
        Some(Logical {
            name: name.to_owned(),
            uuid: s.text("id")?.to_owned(),
            status: s.texts("status"),
            tags: s.texts("tags"),
            segments: segments.collect::<Option<_>>()?,
        })
    });
    Some(VolumeGroup {
        name: name.to_owned(),
        uuid: group.text("id")?.to_owned(),
        seqno: group.number("seqno")?,
        status: group.texts("status"),
        tags: group.texts("tags"),
        extent_size: group.sectors("extent_size").filter(|s| *s > 0)?,
        physical: physical.collect::<Option<_>>()?,
        logical: logical.collect::<Option<_>>()?,
    })
}

fn segment(s: &Section) -> Option<Segment> {
    let own = |key: &str| s.text(key).map(str::to_owned);
    let size = |key: &str| s.sectors(key).unwrap_or(0);
    // Flags of newer versions follow the type: "cache+CACHE_USES_CACHEVOL".
    let kind = s.text("type")?.split('+').next().unwrap_or_default();
    let mapping = match kind {
        "striped" => match <[On; 1]>::try_from(s.areas("stripes")?) {
            Ok([one]) => Mapping::Linear(one),
            Err(on) => Mapping::Striped { stripe: size("stripe_size"), on },
        },
        "mirror" => Mapping::Raid {
            level: kind.to_owned(),
            images: s.areas("mirrors")?.into_iter().map(|on| on.volume).collect(),
            metadata: own("mirror_log").into_iter().collect(),
            stripe: 0,
            region: size("region_size"),
        },
        _ if kind.starts_with("raid") => {
            let volumes = if s.value("raids").is_some() { s.texts("raids") } else { s.texts("raid0_lvs") };
            let count = usize::try_from(s.number("device_count").or_else(|| s.number("stripe_count"))?).ok()?;
            let (images, metadata) = match volumes.len() {
                n if n == count => (volumes, Vec::new()),
                // Metadata and data take turns.
                n if n == count.checked_mul(2)? => {
                    let odd = volumes.iter().skip(1).step_by(2).cloned().collect();
                    (odd, volumes.into_iter().step_by(2).collect())
                }
                _ => return None,
            };
            let (stripe, region) = (size("stripe_size"), size("region_size"));
            Mapping::Raid { level: kind.to_owned(), images, metadata, stripe, region }
        }
        "thin-pool" => Mapping::ThinPool {
            data: own("pool")?,
            metadata: own("metadata")?,
            chunk: size("chunk_size"),
            zero: s.number("zero_new_blocks") == Some(1),
            discards: own("discards"),
        },
        "thin" => Mapping::Thin { pool: own("thin_pool")?, device: s.number("device_id")?, origin: own("origin") },
        "cache" => Mapping::Cache { pool: own("cache_pool")?, origin: own("origin")? },
        "cache-pool" => Mapping::CachePool {
            data: own("data")?,
            metadata: own("metadata")?,
            chunk: size("chunk_size"),
            mode: own("cache_mode"),
        },
        other => Mapping::Other(other.to_owned()),
    };
    Some(Segment { start: s.number("start_extent")?, extents: s.number("extent_count")?, mapping })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::layout::ondisk::lvm::export::{Written, export};
    use proptest::prelude::*;

    pub(crate) fn group() -> VolumeGroup {
        let on = |volume: &str, extent| On { volume: volume.into(), extent };
        let status = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let volume = |name: &str, digit: &str, segments| Logical {
            name: name.into(),
            uuid: crate::layout::ondisk::lvm::hyphened(&digit.repeat(32)),
            status: status(&["READ", "WRITE", "VISIBLE"]),
            tags: vec![],
            segments,
        };
        let physical = |name: &str, digit: &str| Physical {
            name: name.into(),
            uuid: crate::layout::ondisk::lvm::hyphened(&digit.repeat(32)),
            device: format!("/dev/{name}"),
            status: status(&["ALLOCATABLE"]),
            size: 8 << 20,
            start: 1 << 20,
            extents: 7,
        };
        VolumeGroup {
            name: "vg-0.a".into(),
            uuid: crate::layout::ondisk::lvm::hyphened(&"v".repeat(32)),
            seqno: 3,
            status: status(&["RESIZEABLE", "READ", "WRITE"]),
            tags: vec!["one".into(), "two".into()],
            extent_size: 1 << 20,
            physical: vec![physical("pv0", "p"), physical("pv1", "q")],
            logical: vec![
                volume(
                    "root",
                    "r",
                    vec![
                        Segment { start: 0, extents: 2, mapping: Mapping::Linear(on("pv0", 0)) },
                        Segment { start: 2, extents: 1, mapping: Mapping::Linear(on("pv1", 3)) },
                    ],
                ),
                volume(
                    "fast",
                    "s",
                    vec![Segment {
                        start: 0,
                        extents: 4,
                        mapping: Mapping::Striped { stripe: 64 << 10, on: vec![on("pv0", 2), on("pv1", 0)] },
                    }],
                ),
            ],
        }
    }

    #[test]
    fn what_is_exported_is_read() {
        let group = group();
        let text = export(&group, &Written::default()).unwrap();
        assert_eq!(parse(text.as_bytes()).unwrap(), group);
        let fast = group.volume("fast").unwrap();
        assert_eq!((group.size_of(fast), fast.is_visible(), group.free_extents()), (4 << 20, true, 7));
    }

    #[test]
    fn every_type_of_segment_is_read() {
        let segment = |body: &str| {
            let text = format!(
                "contents = \"Text Format Volume Group\" # a comment {{\nversion = 1\nvg {{ id = \"x\" seqno = 1 extent_size = 2\n\
                 logical_volumes {{ a {{ id = \"y\" status = \"VISIBLE\" segment1 {{ start_extent = 0 extent_count = 5\n{body} }} }} }} }}"
            );
            parse(text.as_bytes()).map(|g| g.logical[0].segments[0].mapping.clone())
        };
        let names = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            segment(r#"type = "raid1" device_count = 2 region_size = 4096 raids = ["m0", "d0", "m1", "d1"]"#).unwrap(),
            Mapping::Raid {
                level: "raid1".into(),
                images: names(&["d0", "d1"]),
                metadata: names(&["m0", "m1"]),
                stripe: 0,
                region: 2 << 20
            }
        );
        assert_eq!(
            segment(r#"type = "raid0" stripe_count = 2 stripe_size = 128 raid0_lvs = ["d0", "d1"]"#).unwrap(),
            Mapping::Raid {
                level: "raid0".into(),
                images: names(&["d0", "d1"]),
                metadata: vec![],
                stripe: 65536,
                region: 0
            }
        );
        assert_eq!(
            segment(r#"type = "thin-pool" metadata = "m" pool = "d" chunk_size = 128 discards = "passdown" zero_new_blocks = 1"#)
                .unwrap(),
            Mapping::ThinPool {
                data: "d".into(),
                metadata: "m".into(),
                chunk: 65536,
                zero: true,
                discards: Some("passdown".into())
            }
        );
        assert_eq!(
            segment(r#"type = "thin" thin_pool = "p" transaction_id = 0 device_id = 7 origin = "o""#).unwrap(),
            Mapping::Thin { pool: "p".into(), device: 7, origin: Some("o".into()) }
        );
        assert_eq!(
            segment(r#"type = "cache+CACHE_USES_CACHEVOL" cache_pool = "p" origin = "o""#).unwrap(),
            Mapping::Cache { pool: "p".into(), origin: "o".into() }
        );
        assert_eq!(segment(r#"type = "zero""#).unwrap(), Mapping::Other("zero".into()));
        assert!(segment(r#"type = "raid1" device_count = 3 raids = ["m0", "d0"]"#).is_err());
        assert!(segment(r#"type = "striped" stripes = ["pv0"]"#).is_err());
        assert!(segment(r#"type = "striped" stripes = ["pv0", -1]"#).is_err());
        assert!(segment(r#"type = "striped" stripes = []"#).is_err());
    }

    #[test]
    fn mistakes_are_told() {
        for (text, why) in [
            ("", "not that of a volume group"),
            ("a {", "ends within a section"),
            ("a = \"", "ends within a text"),
            ("a = [1, ", "lacks a value"),
            ("\n\n= 1", "line 3 of the metadata lacks a name"),
            ("a = 99999999999999999999", "lacks a number"),
            ("contents = \"Text Format Volume Group\" version = 2", "unknown version"),
            ("contents = \"Text Format Volume Group\" version = 1", "exactly one"),
            ("contents = \"Text Format Volume Group\" version = 1 a { } b { }", "exactly one"),
            ("contents = \"Text Format Volume Group\" version = 1 a { id = \"x\" }", "lacks what it needs"),
        ] {
            assert!(parse(text.as_bytes()).unwrap_err().contains(why), "{text}");
        }
        assert!(parse("a {".repeat(100_000).as_bytes()).unwrap_err().contains("too deeply"));
        assert!(parse(format!("a = {}", "[".repeat(100_000)).as_bytes()).unwrap_err().contains("too deeply"));
    }

    proptest! {
        /// Any text gives a group or a reason; one with a byte changed, too.
        #[test]
        fn any_text_is_read(noise in "[a-z{}\\[\\]=\"\\\\,#\n 0-9-]{0,200}", at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let _ = parse(noise.as_bytes());
            let mut text = export(&group(), &Written::default()).unwrap().into_bytes();
            let at = at.index(text.len());
            text[at] = byte;
            if let Ok(group) = parse(&text) {
                let _ = (group.free_extents(), group.logical.iter().map(|l| group.size_of(l)).max());
            }
        }
    }
}
