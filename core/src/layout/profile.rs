//! Features of filesystems: what the program that makes one would take, less what its readers do not know.
//!
//! ```text
//! profile, kernels of the image, GRUB ─> Readers ─┐
//!                                                 ├─> words for mkfs: each switches one feature off
//! version of mkfs, arguments of the document ─────┘
//! ```
//!
//! Nothing is ever switched on: an older program knows less, and what it makes is read by all that is newer. Sources: the
//! tables of mke2fs.conf(5), mkfs.xfs(8) with its `lts_*.conf`, mkfs.btrfs(8); `grub-core/fs` of GRUB.

use super::plan::PlannedImage;
use super::spec::{FsType, Profile};
use serde::Serialize;

/// A series of the kernel, or of a program: `6.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Series(pub u32, pub u32);

/// That of Enterprise Linux 8, the oldest that is made for without being asked.
const EL8: Series = Series(4, 18);
/// That of Enterprise Linux 9.
const EL9: Series = Series(5, 14);

/// Who must be able to read a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Readers {
    /// The oldest kernel.
    pub kernel: Series,
    /// GRUB, of any age that is still in use.
    pub grub: bool,
}

impl Series {
    /// The first two numbers of a version, such as `5.14.0-427.el9.x86_64`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (major, rest) = text.split_once('.')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some(Self(major.parse().ok()?, rest[..end].parse().ok()?))
    }

    /// The version that a program tells: `mkfs.xfs version 6.1.0`, `btrfs-progs v6.2`, `mke2fs 1.47.0 (5-Feb-2023)`.
    #[must_use]
    pub fn in_words(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| Self::parse(word.strip_prefix('v').unwrap_or(word)))
    }
}

impl Readers {
    /// Those of a filesystem for an image whose oldest kernel is `kernel`; `grub` where GRUB looks for kernels in it. None
    /// where the program shall choose.
    #[must_use]
    pub fn of(profile: Profile, kernel: Series, grub: bool) -> Option<Self> {
        match profile {
            Profile::Auto => Some(Self { kernel, grub }),
            Profile::Default => None,
            Profile::El8 => Some(Self { kernel: EL8, grub }),
            Profile::El9 => Some(Self { kernel: EL9, grub }),
            Profile::GrubEl8 => Some(Self { kernel: EL8, grub: true }),
        }
    }

    /// The arguments for the program, with those of the document, which win. Without its `version` all that there are, for
    /// people; what a program of a version does not know, it is not told.
    #[must_use]
    pub fn arguments(&self, kind: FsType, own: &[String], version: Option<Series>) -> Vec<String> {
        let knows = |f: &&Feature| f.kind == kind && version.is_none_or(|v| v >= f.program);
        let reads = |f: &Feature| self.kernel >= f.kernel && (f.grub || !self.grub);
        let own_words: Vec<&str> = own.iter().flat_map(|a| a.split(',')).collect();
        let decided = |f: &Feature| own_words.iter().any(|w| f.is_decided_by(w));
        let mut off: Vec<&Feature> = FEATURES.iter().filter(knows).filter(|f| !reads(f) && !decided(f)).collect();
        let mut own = own.to_vec();
        // mke2fs takes the last of several lists.
        if kind == FsType::Ext4
            && let Some(list) = own.iter().rposition(|a| a == "-O").and_then(|at| own.get_mut(at + 1))
        {
            let words = off.drain(..).map(|f| f.off).chain([list.as_str()]).collect::<Vec<_>>().join(",");
            *list = words;
        }
        let mut arguments: Vec<String> = Vec::new();
        for feature in off {
            match arguments.iter().position(|a| a == feature.flag) {
                Some(at) => {
                    arguments[at + 1].push(',');
                    arguments[at + 1].push_str(feature.off);
                }
                None => arguments.extend([feature.flag, feature.off].map(str::to_owned)),
            }
        }
        arguments.extend(own);
        arguments
    }
}

/// The oldest kernel of an image, by its facts; where nothing is known that of Enterprise Linux 8.
#[must_use]
pub fn kernel_of(image: Option<&PlannedImage>) -> Series {
    let names = image.and_then(|i| i.facts.as_ref()).and_then(|f| f["kernels"].as_array());
    let names = names.into_iter().flatten().filter_map(|n| n.as_str());
    names.filter_map(Series::parse).min().unwrap_or(EL8)
}

/// A feature that programs of some age make by themselves.
struct Feature {
    kind: FsType,
    /// The option, and what switches the feature off.
    flag: &'static str,
    off: &'static str,
    /// The first kernel for which it is made: it mounts it, and systems with it have programs that check it.
    kernel: Series,
    /// Whether every GRUB reads it.
    grub: bool,
    /// The first version of the program that knows the word, or that makes the feature by itself.
    program: Series,
}

impl Feature {
    /// Whether a word of the document says already what becomes of it.
    fn is_decided_by(&self, word: &str) -> bool {
        let name = |w: &str| w.trim_start_matches('^').split('=').next().unwrap_or_default().to_owned();
        name(word) == name(self.off)
    }
}

const fn feature(
    kind: FsType,
    flag: &'static str,
    off: &'static str,
    kernel: Series,
    grub: bool,
    program: Series,
) -> Feature {
    Feature { kind, flag, off, kernel, grub, program }
}

const FEATURES: [Feature; 12] = [
    feature(FsType::Ext4, "-O", "^metadata_csum", Series(3, 18), true, Series(1, 43)),
    // GRUB before 2.12 stops at it.
    feature(FsType::Ext4, "-O", "^metadata_csum_seed", Series(4, 4), false, Series(1, 43)),
    // Linux 5.15 mounts it, but e2fsck before 1.47 refuses to check it, and Ubuntu 22.04 has that with Linux 6.8.
    feature(FsType::Ext4, "-O", "^orphan_file", Series(6, 12), true, Series(1, 47)),
    feature(FsType::Xfs, "-m", "reflink=0", Series(4, 16), true, Series(4, 9)),
    feature(FsType::Xfs, "-m", "rmapbt=0", Series(4, 16), true, Series(4, 8)),
    feature(FsType::Xfs, "-m", "bigtime=0", Series(5, 10), false, Series(5, 10)),
    feature(FsType::Xfs, "-m", "inobtcount=0", Series(5, 10), true, Series(5, 10)),
    feature(FsType::Xfs, "-i", "sparse=0", Series(4, 2), true, Series(4, 2)),
    // An experiment in 5.19.
    feature(FsType::Xfs, "-i", "nrext64=0", Series(6, 6), false, Series(5, 19)),
    feature(FsType::Xfs, "-i", "exchange=0", Series(6, 18), false, Series(6, 10)),
    feature(FsType::Xfs, "-n", "parent=0", Series(6, 18), false, Series(6, 10)),
    feature(FsType::Btrfs, "-O", "^block-group-tree", Series(6, 1), true, Series(6, 19)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(
        profile: Profile,
        kernel: Series,
        grub: bool,
        kind: FsType,
        own: &[&str],
        version: Option<Series>,
    ) -> String {
        let own: Vec<String> = own.iter().map(|&w| w.to_owned()).collect();
        Readers::of(profile, kernel, grub).map_or_else(|| own.clone(), |r| r.arguments(kind, &own, version)).join(" ")
    }

    #[test]
    fn versions_are_found() {
        for (text, series) in [
            ("mkfs.xfs version 6.1.0\n", Series(6, 1)),
            ("mkfs.btrfs, part of btrfs-progs v6.19\n", Series(6, 19)),
            ("mke2fs 1.47.0 (5-Feb-2023)\n", Series(1, 47)),
        ] {
            assert_eq!(Series::in_words(text), Some(series));
        }
        assert_eq!(Series::parse("5.14.0-427.13.1.el9_4.x86_64"), Some(Series(5, 14)));
        assert_eq!(Series::parse("99999999999999999999.1"), None);
        assert_eq!(Series::in_words("no version. here"), None);
    }

    #[test]
    fn the_oldest_kernel_of_the_image_counts() {
        let image = |facts| PlannedImage { id: crate::image::Hash::of(b"x"), facts };
        let of = |kernels: serde_json::Value| kernel_of(Some(&image(Some(json!({ "kernels": kernels })))));
        assert_eq!(of(json!(["6.12.9-amd64", "6.1.0-30-amd64"])), Series(6, 1));
        assert_eq!(of(json!([])), EL8);
        assert_eq!(of(json!("x")), EL8);
        assert_eq!((kernel_of(Some(&image(None))), kernel_of(None)), (EL8, EL8));
    }

    #[test]
    fn what_a_reader_does_not_know_is_switched_off() {
        let xfs = |profile, kernel, grub| words(profile, kernel, grub, FsType::Xfs, &[], None);
        assert_eq!(xfs(Profile::Auto, EL8, false), "-m bigtime=0,inobtcount=0 -i nrext64=0,exchange=0 -n parent=0");
        assert_eq!(xfs(Profile::El9, EL8, false), "-i nrext64=0,exchange=0 -n parent=0");
        assert_eq!(xfs(Profile::Auto, Series(6, 12), false), "-i exchange=0 -n parent=0");
        assert_eq!(xfs(Profile::Auto, Series(7, 0), false), "");
        assert_eq!(xfs(Profile::Auto, Series(7, 0), true), "-m bigtime=0 -i nrext64=0,exchange=0 -n parent=0");
        assert_eq!(xfs(Profile::GrubEl8, Series(7, 0), false), xfs(Profile::Auto, EL8, true));
        assert_eq!(xfs(Profile::Default, EL8, true), "");
        let ext4 = |kernel, grub, own: &[&str]| words(Profile::Auto, kernel, grub, FsType::Ext4, own, None);
        assert_eq!(ext4(Series(6, 1), false, &[]), "-O ^orphan_file");
        assert_eq!(ext4(Series(6, 1), true, &[]), "-O ^metadata_csum_seed,^orphan_file");
        assert_eq!(ext4(Series(6, 12), false, &[]), "");
        assert_eq!(words(Profile::Auto, EL9, true, FsType::Btrfs, &[], None), "-O ^block-group-tree");
        assert_eq!(words(Profile::Auto, EL8, true, FsType::Vfat, &["-a"], None), "-a");
    }

    #[test]
    fn a_program_is_not_told_what_it_does_not_know() {
        let xfs = |v| words(Profile::Auto, EL8, false, FsType::Xfs, &[], Some(v));
        assert_eq!(xfs(Series(5, 0)), "");
        assert_eq!(xfs(Series(6, 1)), "-m bigtime=0,inobtcount=0 -i nrext64=0");
        let ext4 = |v| words(Profile::Auto, EL8, true, FsType::Ext4, &[], Some(v));
        assert_eq!(ext4(Series(1, 45)), "-O ^metadata_csum_seed");
        assert_eq!(words(Profile::Auto, EL8, true, FsType::Btrfs, &[], Some(Series(6, 2))), "");
    }

    #[test]
    fn the_document_has_the_last_word() {
        let ext4 = |own: &[&str]| words(Profile::Auto, EL8, true, FsType::Ext4, own, None);
        assert_eq!(ext4(&["-m", "1", "-O", "casefold"]), "-m 1 -O ^metadata_csum_seed,^orphan_file,casefold");
        assert_eq!(ext4(&["-O", "orphan_file"]), "-O ^metadata_csum_seed,orphan_file");
        let xfs = words(Profile::Auto, EL8, false, FsType::Xfs, &["-m", "bigtime=1,crc=1", "-i", "maxpct=5"], None);
        assert_eq!(xfs, "-m inobtcount=0 -i nrext64=0,exchange=0 -n parent=0 -m bigtime=1,crc=1 -i maxpct=5");
    }
}
