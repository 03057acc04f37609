//! `.treeinfo` and `.discinfo`: what a tree says that it is.
//!
//! ```text
//!  [release]  short = Rocky  version = 9.4          [variant-BaseOS]  repository = BaseOS
//!  [tree]     arch = x86_64  build_timestamp = …    [checksums]       BaseOS/repodata/repomd.xml = sha256:…
//! ```
//!
//! productmd's treeinfo 1.x; of older ones, and where a section is missing, `[general]`. Values are text to the end of the
//! line. A path may not leave the tree: `../baseos`, as trees for kickstart have it, is found only in a directory that holds
//! both.

use super::digest::Digest;
use crate::error::{Error, Result};
use crate::sys::confined::show;

/// Longest document.
pub const LIMIT: u64 = 1 << 20;
const VARIANTS_LIMIT: usize = 64;

/// What a `.treeinfo` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeInfo {
    /// `Rocky Linux`.
    pub name: String,
    /// `Rocky`; empty in old ones.
    pub short: String,
    /// `9.4`, or only `9`.
    pub version: String,
    /// `x86_64`.
    pub arch: String,
    /// When the tree was made, in seconds since 1970.
    pub timestamp: Option<i64>,
    /// Its parts, in the order in which it names them.
    pub variants: Vec<Variant>,
    /// Digests of files, by their paths.
    pub checksums: Vec<(String, Digest)>,
}

/// A part of a tree that has a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// `BaseOS`.
    pub id: String,
    /// Path of the directory that holds `repodata`, as it is written.
    pub repository: String,
}

impl TreeInfo {
    /// Reads a document.
    ///
    /// # Errors
    /// `Integrity` when it is no such document.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let ini = Ini::parse(bytes)?;
        let first = |places: &[(&str, &str)]| {
            let found = places.iter().find_map(|(section, key)| ini.get(section, key)).filter(|v| !v.is_empty());
            found.unwrap_or_default().to_owned()
        };
        let time = first(&[("tree", "build_timestamp"), ("general", "timestamp")]);
        let mut out = Self {
            name: first(&[("release", "name"), ("product", "name"), ("general", "family")]),
            short: first(&[("release", "short"), ("product", "short")]),
            version: first(&[("release", "version"), ("product", "version"), ("general", "version")]),
            arch: first(&[("tree", "arch"), ("general", "arch")]),
            timestamp: seconds(&time),
            variants: Vec::new(),
            checksums: Vec::new(),
        };
        if out.version.is_empty() || out.arch.is_empty() || (out.name.is_empty() && out.short.is_empty()) {
            return Err(Error::integrity(".treeinfo does not say which release it is of"));
        }
        let names = first(&[("tree", "variants"), ("general", "variants")]);
        for id in names.split(',').map(str::trim).filter(|id| !id.is_empty()) {
            if let Some(repository) = ini.get(&format!("variant-{id}"), "repository") {
                out.variants.push(Variant { id: id.to_owned(), repository: repository.to_owned() });
            }
        }
        if out.variants.is_empty()
            && let Some(repository) = ini.get("general", "repository")
        {
            let id = ini.get("general", "variant").filter(|v| !v.is_empty()).unwrap_or("main").to_owned();
            out.variants.push(Variant { id, repository: repository.to_owned() });
        }
        if out.variants.len() > VARIANTS_LIMIT {
            return Err(Error::limit(format!(".treeinfo names more than {VARIANTS_LIMIT} variants")));
        }
        for (path, value) in ini.section("checksums") {
            // A digest that does not count says nothing: what it is of is checked elsewhere, or was never.
            if let Some(digest) = value.split_once(':').and_then(|(a, hex)| Digest::parse(a, hex)) {
                out.checksums.push((path.clone(), digest));
            }
        }
        Ok(out)
    }
}

/// What a `.discinfo` says: when, what, and for which machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscInfo {
    /// When the medium was made, in seconds since 1970.
    pub timestamp: Option<i64>,
    /// `Rocky Linux 9.4`.
    pub name: String,
    /// `x86_64`.
    pub arch: String,
}

impl DiscInfo {
    /// Reads the three lines.
    ///
    /// # Errors
    /// `Integrity` when there are fewer.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::integrity(".discinfo is not UTF-8 text"))?;
        let mut lines = text.lines().map(|l| l.trim().to_owned());
        match (lines.next(), lines.next(), lines.next()) {
            (Some(time), Some(name), Some(arch)) if !name.is_empty() && !arch.is_empty() => {
                Ok(Self { timestamp: seconds(&time), name, arch })
            }
            _ => Err(Error::integrity(".discinfo has fewer than three lines")),
        }
    }
}

/// Seconds of a number that may have a fraction.
fn seconds(text: &str) -> Option<i64> {
    text.split('.').next()?.parse().ok().filter(|t| (0..=253_402_300_799).contains(t))
}

/// The path that `path` means in the directory `base` of a tree, without `.` and `..`.
///
/// # Errors
/// `UnsafeInput` when it leaves the tree.
pub fn beneath(base: &str, path: &str) -> Result<String> {
    let refused = || Error::unsafe_input(format!("\"{}\" leads out of the tree", show(path.as_bytes())));
    if path.starts_with('/') || path.contains('\0') {
        return Err(refused());
    }
    let mut parts: Vec<&str> = base.split('/').filter(|p| !p.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(refused)?;
            }
            part => parts.push(part),
        }
    }
    let out = parts.join("/");
    crate::image::path::check(out.as_bytes())?;
    Ok(out)
}

/// Sections of `key = value`, in their order.
struct Ini(Vec<(String, Vec<(String, String)>)>);

impl Ini {
    fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > LIMIT {
            return Err(Error::limit(".treeinfo is over 1 MiB long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Error::integrity(".treeinfo is not UTF-8 text"))?;
        let mut sections: Vec<(String, Vec<(String, String)>)> = Vec::new();
        for (n, line) in text.lines().map(str::trim).enumerate() {
            let wrong = || Error::integrity(format!(".treeinfo: line {} cannot be read", n + 1));
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                sections.push((name.to_owned(), Vec::new()));
                continue;
            }
            let (key, value) = line.split_once('=').ok_or_else(wrong)?;
            let (_, section) = sections.last_mut().ok_or_else(wrong)?;
            section.push((key.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(Self(sections))
    }

    fn section(&self, name: &str) -> &[(String, String)] {
        self.0.iter().find(|(n, _)| n == name).map_or(&[], |(_, s)| s)
    }

    fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.section(section).iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    const ROCKY: &str = "[header]\ntype = productmd.treeinfo\nversion = 1.2\n\n[release]\nname = Rocky Linux\nshort = Rocky\n\
        version = 9.4\n\n[tree]\narch = x86_64\nbuild_timestamp = 1714521600\nvariants = AppStream,BaseOS\n\n\
        [variant-AppStream]\nrepository = AppStream\n[variant-BaseOS]\nrepository = BaseOS\n[checksums]\n\
        BaseOS/repodata/repomd.xml = sha256:8c3a5ca851882962de870ba111f3fbe28256f07ae79f730a17cf4f2050dd8d33\n\
        images/old.img = md5:00112233445566778899aabbccddeeff\n";

    #[test]
    fn productmd_is_read() {
        let t = TreeInfo::parse(ROCKY.as_bytes()).unwrap();
        assert_eq!((t.short.as_str(), t.version.as_str(), t.arch.as_str()), ("Rocky", "9.4", "x86_64"));
        assert_eq!(t.timestamp, Some(1_714_521_600));
        let variants: Vec<_> = t.variants.iter().map(|v| v.repository.as_str()).collect();
        assert_eq!(variants, ["AppStream", "BaseOS"]);
        // MD5 says nothing.
        assert_eq!(t.checksums.len(), 1);
    }

    #[test]
    fn old_trees_have_one_section() {
        let old = "[general]\nfamily = CentOS\nversion = 8\narch = x86_64\ntimestamp = 1.5\nvariant = BaseOS\nrepository = .\n";
        let t = TreeInfo::parse(old.as_bytes()).unwrap();
        assert_eq!((t.name.as_str(), t.timestamp), ("CentOS", Some(1)));
        assert_eq!(t.variants, [Variant { id: "BaseOS".into(), repository: ".".into() }]);
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in ["", "x = 1\n", "[a]\nx\n", "[release]\nname = X\n", "[tree\narch = x\n"] {
            assert_eq!(TreeInfo::parse(bad.as_bytes()).unwrap_err().kind(), ErrorKind::Integrity, "{bad}");
        }
        assert!(TreeInfo::parse(b"[\xff]\n").is_err());
        assert!(DiscInfo::parse(b"1\nx\n").is_err());
        let disc = DiscInfo::parse(b"1714521600.000000\nRocky Linux 9.4\nx86_64\n1\n").unwrap();
        assert_eq!((disc.timestamp, disc.name.as_str()), (Some(1_714_521_600), "Rocky Linux 9.4"));
    }

    #[test]
    fn no_path_leaves_the_tree() {
        for (base, path, good) in [
            ("", "BaseOS", Some("BaseOS")),
            ("", ".", Some("")),
            ("", "./a//b/", Some("a/b")),
            ("appstream", "../baseos", Some("baseos")),
            ("", "../baseos", None),
            ("a", "../../b", None),
            ("a", "/b", None),
            ("", "a\0", None),
        ] {
            match good {
                Some(good) => assert_eq!(beneath(base, path).unwrap(), good),
                None => assert_eq!(beneath(base, path).unwrap_err().kind(), ErrorKind::UnsafeInput, "{path}"),
            }
        }
    }

    proptest::proptest! {
        /// Invariant: a path inside is clean, and finds itself again.
        #[test]
        fn what_is_beneath_is_clean(base in "[ab/.]{0,6}", path in "[ab/.]{0,10}") {
            if let Ok(base) = beneath("", &base) && let Ok(found) = beneath(&base, &path) {
                crate::image::path::check(found.as_bytes()).unwrap();
                proptest::prop_assert_eq!(beneath("", &found).unwrap(), found);
            }
        }
    }
}
