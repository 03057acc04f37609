//! The system that an image is or becomes: what a role says depends on it.

use crate::distro::Distro;
use crate::error::{Error, Result};
use crate::role::{Selector, Systems};
use serde_json::Value;
use std::collections::BTreeMap;

/// A kind of system, a release of it and an architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// What a role calls it.
    pub selector: Selector,
    /// The release, such as `9.4`.
    pub release: String,
    /// The architecture, such as `x86_64`.
    pub arch: String,
}

/// What is Enterprise Linux, by the `ID` or a word of the `ID_LIKE` of its os-release.
const ENTERPRISE: [&str; 7] = ["rhel", "rocky", "almalinux", "centos", "centos-stream", "ol", "oracle"];

impl System {
    /// That of a distribution.
    ///
    /// # Errors
    /// `Unsupported` when roles have no word for it.
    pub(super) fn of_distro(distro: &Distro) -> Result<Self> {
        let d = distro.document();
        let systems = match d.id.as_str() {
            "debian" => Systems::Debian,
            "ubuntu" => Systems::Ubuntu,
            // What is no mirror of packages of dpkg was recognised as an Enterprise Linux.
            _ => Systems::El,
        };
        Self::new(systems, &d.version, &d.arch)
    }

    /// That of an image, by the facts of its manifest.
    ///
    /// # Errors
    /// `Unsupported` when its os-release names none that roles have a word for.
    pub(super) fn of_image(facts: Option<&Value>) -> Result<Self> {
        let os = |key: &str| facts.map_or("", |f| f["os"][key].as_str().unwrap_or_default());
        let like = |names: &[&str]| {
            let words = [os("ID"), os("ID_LIKE")];
            words.iter().flat_map(|w| w.split_whitespace()).any(|w| names.contains(&w))
        };
        let systems = match os("ID") {
            "debian" => Systems::Debian,
            "ubuntu" => Systems::Ubuntu,
            _ if like(&ENTERPRISE) => Systems::El,
            id => {
                return Err(Error::unsupported(format!("the image says it is {id:?}, for which roles have no word"))
                    .hint("Enterprise Linux, Debian and Ubuntu are known by /etc/os-release"));
            }
        };
        let arch = facts.and_then(|f| f["architecture"].as_str()).unwrap_or(std::env::consts::ARCH);
        Self::new(systems, os("VERSION_ID"), arch)
    }

    fn new(systems: Systems, release: &str, arch: &str) -> Result<Self> {
        // Without a release it would be the word for all of them.
        let selector = Some(release).filter(|r| !r.is_empty()).and_then(|r| Selector::of(systems, r));
        let selector =
            selector.ok_or_else(|| Error::unsupported(format!("roles have no word for the release {release:?}")))?;
        if arch != std::env::consts::ARCH {
            return Err(Error::unsupported(format!(
                "an image for {arch} cannot be made on {}: programs of its packages have to run",
                std::env::consts::ARCH
            )));
        }
        Ok(Self { selector, release: release.to_owned(), arch: arch.to_owned() })
    }

    /// What stands for the names of a template.
    pub(super) fn values(&self, distro: &str, role: &str, image: &str) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("distro", distro.to_owned()),
            ("system", self.selector.to_string()),
            ("release", self.release.clone()),
            ("arch", self.arch.clone()),
            ("role", role.to_owned()),
            ("image", image.to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_image_is_known_by_what_it_says_of_itself() {
        let arch = std::env::consts::ARCH;
        let of = |os: Value| System::of_image(Some(&json!({"os": os, "architecture": arch})));
        let rocky = of(json!({"ID": "rocky", "ID_LIKE": "rhel centos fedora", "VERSION_ID": "9.4"})).unwrap();
        assert_eq!((rocky.selector.to_string(), rocky.release.as_str()), ("el9".to_owned(), "9.4"));
        let own = of(json!({"ID": "ours", "ID_LIKE": "rhel", "VERSION_ID": "8.10"})).unwrap();
        assert_eq!(own.selector.to_string(), "el8");
        assert_eq!(of(json!({"ID": "debian", "VERSION_ID": "12"})).unwrap().selector.to_string(), "debian12");
        for os in [json!({"ID": "arch"}), json!({"ID": "rocky"}), json!({})] {
            assert_eq!(of(os).unwrap_err().kind(), crate::ErrorKind::Unsupported);
        }
        let other = System::of_image(Some(&json!({"os": {"ID": "debian", "VERSION_ID": "12"}, "architecture": "vax"})));
        assert_eq!(other.unwrap_err().kind(), crate::ErrorKind::Unsupported);
    }
}
