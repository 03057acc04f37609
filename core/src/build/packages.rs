//! Packages of an image, of whatever kind, and how two lists differ.

use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// What manages a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// rpm.
    Rpm,
    /// dpkg.
    Deb,
}

/// An installed package. Lists are sorted by name, architecture and version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// What manages it.
    pub kind: Kind,
    /// The name.
    pub name: String,
    /// The epoch, where there is one; of dpkg it stands in the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// The version; of dpkg all of it.
    pub version: String,
    /// The release of rpm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The architecture, such as `x86_64`, `noarch`, `amd64`, `all`.
    pub arch: String,
    /// The licence as the package says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// The file name (rpm) or name (dpkg) of the source package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// SHA-256 of the header in hex, which vouches for what the package is (rpm).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_sha256: Option<String>,
    /// The module stream that it belongs to, `name:stream:version:context`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
}

impl Package {
    /// A package of this kind and name, of which nothing else is known.
    #[must_use]
    pub fn new(kind: Kind, name: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            epoch: None,
            version: String::new(),
            release: None,
            arch: String::new(),
            license: None,
            source: None,
            vendor: None,
            header_sha256: None,
            module: None,
        }
    }

    /// Epoch, version and release: `1:1.4-1.el9`. The epoch 0 is left out.
    #[must_use]
    pub fn evr(&self) -> String {
        let mut out = self.epoch.filter(|e| *e > 0).map_or(String::new(), |e| format!("{e}:"));
        out.push_str(&self.version);
        if let Some(release) = &self.release {
            out.push('-');
            out.push_str(release);
        }
        out
    }

    /// The package URL, with this namespace (`rocky`, `debian`).
    #[must_use]
    pub fn purl(&self, namespace: &str) -> String {
        let kind = match self.kind {
            Kind::Rpm => "rpm",
            Kind::Deb => "deb",
        };
        let mut version = self.version.clone();
        if let Some(release) = &self.release {
            version.push('-');
            version.push_str(release);
        }
        let mut out = format!("pkg:{kind}/{}/{}@{}", encoded(namespace), encoded(&self.name), encoded(&version));
        let epoch = self.epoch.filter(|e| *e > 0).map(|e| ("epoch", e.to_string()));
        let source = self.source.clone().filter(|_| self.kind == Kind::Rpm).map(|s| ("upstream", s));
        let parts = [Some(("arch", self.arch.clone())), epoch, source];
        for (n, (key, value)) in parts.into_iter().flatten().filter(|(_, v)| !v.is_empty()).enumerate() {
            let _ = write!(out, "{}{key}={}", if n == 0 { '?' } else { '&' }, encoded(&value));
        }
        out
    }

    /// Bytes of its texts.
    pub(super) fn text(&self) -> usize {
        let more = [&self.release, &self.license, &self.source, &self.vendor, &self.header_sha256, &self.module];
        let more: usize = more.into_iter().flatten().map(String::len).sum();
        more + self.name.len() + self.version.len() + self.arch.len()
    }

    fn key(&self) -> (&str, &str) {
        (&self.name, &self.arch)
    }
}

/// `name-evr.arch` of rpm, `name=version:arch` of dpkg.
impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Rpm => write!(f, "{}-{}.{}", self.name, self.evr(), self.arch),
            Kind::Deb => write!(f, "{}:{}={}", self.name, self.arch, self.version),
        }
    }
}

/// What a package URL may hold as it is; the rest is written by its bytes.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~:".contains(&b) {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

/// Sorts a list as all lists are.
pub fn sort(packages: &mut [Package]) {
    packages.sort_by(|a, b| (a.key(), a.evr()).cmp(&(b.key(), b.evr())));
}

/// How a list differs from an older one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Only in the newer one.
    pub added: Vec<Package>,
    /// Only in the older one.
    pub removed: Vec<Package>,
    /// Of the same name and architecture, the older and the newer one. One of the same version whose content is another
    /// (its header has another sum) is one of them. In JSON each is `{old, new}`.
    #[serde(serialize_with = "pairs")]
    pub changed: Vec<(Package, Package)>,
}

impl Difference {
    /// Compares two lists. Of a package that is installed several times, as kernels are, equal ones are left out first.
    #[must_use]
    pub fn between(old: &[Package], new: &[Package]) -> Self {
        let mut sides: BTreeMap<(&str, &str), [Vec<&Package>; 2]> = BTreeMap::new();
        for (side, list) in [old, new].into_iter().enumerate() {
            list.iter().for_each(|p| sides.entry(p.key()).or_default()[side].push(p));
        }
        let mut out = Self::default();
        for [before, after] in sides.into_values() {
            let same = |a: &Package, b: &Package| {
                let sums = a.header_sha256.as_ref().zip(b.header_sha256.as_ref());
                a.evr() == b.evr() && sums.is_none_or(|(a, b)| a == b)
            };
            let gone: Vec<_> = before.iter().filter(|a| !after.iter().any(|b| same(a, b))).collect();
            let come: Vec<_> = after.iter().filter(|b| !before.iter().any(|a| same(a, b))).collect();
            let pairs = gone.len().min(come.len());
            out.changed.extend(gone.iter().zip(&come).map(|(a, b)| ((**a).clone(), (**b).clone())));
            out.removed.extend(gone[pairs..].iter().map(|p| (**p).clone()));
            out.added.extend(come[pairs..].iter().map(|p| (**p).clone()));
        }
        out
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

fn pairs<S: Serializer>(changed: &[(Package, Package)], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Pair<'p> {
        old: &'p Package,
        new: &'p Package,
    }
    let mut list = serializer.serialize_seq(Some(changed.len()))?;
    changed.iter().try_for_each(|(old, new)| list.serialize_element(&Pair { old, new }))?;
    list.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn rpm(name: &str, version: &str) -> Package {
        let mut p = Package::new(Kind::Rpm, name);
        (p.version, p.release, p.arch) = (version.into(), Some("1.el9".into()), "x86_64".into());
        p
    }

    #[test]
    fn names_and_urls() {
        let mut p = rpm("libstdc++", "1.0~rc1");
        p.epoch = Some(2);
        p.source = Some("gcc-11.src.rpm".into());
        assert_eq!(p.to_string(), "libstdc++-2:1.0~rc1-1.el9.x86_64");
        let url = "pkg:rpm/rocky/libstdc%2B%2B@1.0~rc1-1.el9?arch=x86_64&epoch=2&upstream=gcc-11.src.rpm";
        assert_eq!(p.purl("rocky"), url);
        let mut d = Package::new(Kind::Deb, "bash");
        (d.version, d.arch) = ("1:5.2-2+b7".into(), "amd64".into());
        assert_eq!(d.to_string(), "bash:amd64=1:5.2-2+b7");
        assert_eq!(d.purl("debian"), "pkg:deb/debian/bash@1:5.2-2%2Bb7?arch=amd64");
    }

    #[test]
    fn a_list_differs_by_what_came_went_and_changed() {
        let old = [rpm("a", "1"), rpm("b", "1"), rpm("kernel", "1"), rpm("kernel", "2"), rpm("same", "1")];
        let mut rebuilt = rpm("same", "1");
        let mut old = old.to_vec();
        old[4].header_sha256 = Some("00".into());
        rebuilt.header_sha256 = Some("11".into());
        let new =
            [rpm("a", "2"), rpm("c", "1"), rpm("kernel", "2"), rpm("kernel", "3"), rpm("kernel", "4"), rebuilt.clone()];
        let d = Difference::between(&old, &new);
        assert_eq!((&d.added, &d.removed), (&vec![rpm("c", "1"), rpm("kernel", "4")], &vec![rpm("b", "1")]));
        let changed =
            [(rpm("a", "1"), rpm("a", "2")), (rpm("kernel", "1"), rpm("kernel", "3")), (old[4].clone(), rebuilt)];
        assert_eq!(d.changed, changed);
        let json = serde_json::to_value(&d).unwrap();
        assert_eq!(
            (&json["changed"][0]["old"]["version"], &json["changed"][0]["new"]["version"]),
            (&"1".into(), &"2".into())
        );
        assert!(Difference::between(&old, &old).is_empty());
    }
}
