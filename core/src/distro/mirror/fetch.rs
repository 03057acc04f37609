//! A suite of a mirror becomes files of a directory, each checked before it is believed.

use super::get::Getter;
use super::place::{Suite, is_path};
use super::read::{INLINE, RELEASE, SIGNATURE, lists};
use super::release::{self, Release};
use super::signature::{self, Signed};
use super::{KIND, NAMES, deb_architecture, index};
use crate::distro::document::{Document, Key, RepositoryInfo, Source};
use crate::distro::repo::{Repository, STORED_LIMIT};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::job::Task;
use crate::store::name::nearest;
use crate::sys::clock;
use crate::sys::scratch::Scratch;
use std::path::Path;

/// Releases that do not say their number: testing, before it becomes stable.
const CODENAMES: [(&str, &str); 5] =
    [("bullseye", "11"), ("bookworm", "12"), ("trixie", "13"), ("forky", "14"), ("duke", "15")];
/// Without these a root cannot be made.
const NEEDED: [&str; 3] = ["base-files", "dpkg", "libc6"];
/// Where machines keep the keys of distributions.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/ubuntu-archive-keyring.gpg"];

/// A suite that was fetched.
pub(in crate::distro) struct Fetched {
    /// Its files, by their paths on the mirror.
    pub(in crate::distro) dir: Scratch,
    pub(in crate::distro) document: Document,
    pub(in crate::distro) notes: Vec<String>,
}

/// Fetches a suite that one of `keys` has signed, with the lists of these components; without one, of `main`.
///
/// # Errors
/// `Invalid` without a key, or when it is no whole distribution; `NotFound` for a suite, component or architecture that is not
/// there; `Integrity` when signature or sums do not fit; `Network`, `Limit`, `Unsupported` without gpgv, `Cancelled`.
pub(in crate::distro) fn fetch(suite: &Suite, components: &[String], keys: Vec<Key>, task: &Task) -> Result<Fetched> {
    if keys.is_empty() {
        return Err(no_key(suite));
    }
    task.stage("fetch", 0, Unit::Bytes);
    let getter = Getter::new(&suite.base, task)?;
    let dir = Scratch::new(&std::env::temp_dir(), "cv-mirror")?;
    let at = |name: &str| format!("dists/{}/{name}", suite.suite);
    let keep = |name: &str, bytes: &[u8]| {
        task.advance(bytes.len() as u64);
        write(dir.path(), &at(name), bytes)
    };
    let text = if let Some(inline) = getter.get(&at(INLINE), release::LIMIT)? {
        signature::check(&Signed::Inline(&inline), &keys, &suite.suite, task)?;
        keep(INLINE, &inline)?;
        inline
    } else {
        let gone = || Error::not_found(format!("there is no suite at {suite}"));
        let text = getter.get(&at(RELEASE), release::LIMIT)?.ok_or_else(gone)?;
        let unsigned = || Error::integrity(format!("the suite {} is not signed", suite.suite));
        let signed = getter.get(&at(SIGNATURE), release::LIMIT)?.ok_or_else(unsigned)?;
        signature::check(&Signed::Detached(&text, &signed), &keys, &suite.suite, task)?;
        keep(RELEASE, &text)?;
        keep(SIGNATURE, &signed)?;
        text
    };
    let release = release::parse(&text)?;
    let components = chosen(components, &release)?;
    let arch = std::env::consts::ARCH;
    let deb = deb_architecture(arch);
    if !release.architectures.iter().any(|a| a == deb) {
        return Err(Error::not_found(format!("the suite {} has nothing for {deb}", suite.suite))
            .hint(format!("it has {}", release.architectures.join(", "))));
    }
    let mut repositories = Vec::new();
    for component in &components {
        let mut packages = Vec::new();
        for candidates in lists(&release, component, deb) {
            let (path, bytes) = list(&getter, &release, suite, component, &candidates)?;
            packages.extend(index::parse(&bytes).map_err(|e| e.context(&path))?);
            keep(&path, &bytes)?;
        }
        repositories.push(Repository::of_component(component, packages));
    }
    whole(&repositories, suite)?;
    let mut notes = Vec::new();
    if release.valid_until.is_some_and(|until| until < clock::now().0) {
        notes.push(format!(
            "the suite {} should have been replaced by a newer one: {}",
            suite.suite, release.description
        ));
    }
    let document = describe(suite, &release, arch, components, &repositories, keys)?;
    Ok(Fetched { dir, document, notes })
}

/// A list of packages, from where it lies by its sum if the mirror has that: there it does not change.
fn list(
    getter: &Getter<'_>,
    release: &Release,
    suite: &Suite,
    component: &str,
    candidates: &[String],
) -> Result<(String, Vec<u8>)> {
    let missing = || {
        Error::integrity(format!("the mirror has no list of packages of {component}, although its Release names one"))
            .fact("repository", component)
    };
    for path in candidates {
        let Some((size, digest)) = release.files.get(path) else { continue };
        let full = format!("dists/{}/{path}", suite.suite);
        let place = full.rsplit_once('/').map_or("", |(directory, _)| directory);
        let by_hash = format!("{place}/by-hash/SHA256/{}", digest.hex);
        let mut bytes = None;
        if release.by_hash {
            bytes = getter.get(&by_hash, STORED_LIMIT)?;
        }
        if bytes.is_none() {
            bytes = getter.get(&full, STORED_LIMIT)?;
        }
        let Some(bytes) = bytes else { continue };
        if bytes.len() as u64 != *size || !digest.fits(&bytes) {
            return Err(Error::integrity(format!(
                "/{full} does not have the size and checksum that its Release gives"
            ))
            .hint("a mirror that is being updated has this for a while: try again later")
            .fact("path", full)
            .fact("repository", component));
        }
        return Ok((path.clone(), bytes));
    }
    Err(missing())
}

fn chosen(wanted: &[String], release: &Release) -> Result<Vec<String>> {
    if wanted.is_empty() {
        return Ok(vec!["main".to_owned()]);
    }
    let mut out = Vec::<String>::new();
    for name in wanted {
        if !is_path(name) || name.contains('/') || !release.components.contains(name) {
            let e = Error::not_found(format!("the suite has no component \"{name}\""));
            let others = || format!("it has {}", release.components.join(", "));
            return Err(e.hint(nearest(name, &release.components).unwrap_or_else(others)));
        }
        if !out.contains(name) {
            out.push(name.clone());
        }
    }
    Ok(out)
}

/// Suites of updates hold only what changed: they are for roles, beside the suite that they are for.
fn whole(repositories: &[Repository], suite: &Suite) -> Result<()> {
    let has = |name: &&str| repositories.iter().any(|r| r.packages.iter().any(|p| p.name == *name));
    match NEEDED.iter().find(|name| !has(name)) {
        None => Ok(()),
        Some(name) => {
            Err(Error::invalid(format!("the suite {} is no whole distribution: it has no {name}", suite.suite))
                .hint("updates, backports and the like are repositories of a role, beside the distribution"))
        }
    }
}

fn describe(
    suite: &Suite,
    release: &Release,
    arch: &str,
    components: Vec<String>,
    repositories: &[Repository],
    keys: Vec<Key>,
) -> Result<Document> {
    let id: String =
        release.origin.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let id = id.trim_matches('-').to_owned();
    if id.is_empty() || id.len() > 64 {
        return Err(Error::integrity("the Release of the suite does not say whose it is"));
    }
    let known = CODENAMES.iter().find(|(name, _)| id == "debian" && *name == release.codename);
    let mut version = known.map_or(release.version.as_str(), |(_, number)| number);
    // Its point releases are the same release, as 9.4 and 9.5 of others are not.
    if id == "debian" {
        version = version.split('.').next().unwrap_or_default();
    }
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    let major = digits.parse().map_err(|_| {
        Error::invalid(format!("the suite {} does not say which release it is", suite.suite))
            .hint("unstable has none; name a suite by its codename, such as bookworm or noble")
    })?;
    if !is_path(version) || version.contains('/') || !(release.codename.is_empty() || is_path(&release.codename)) {
        return Err(Error::integrity("the Release of the suite has a version or a codename that is none"));
    }
    let title = if release.label.is_empty() { &release.origin } else { &release.label };
    Ok(Document {
        schema: Document::schema(),
        id,
        title: title.clone(),
        version: version.to_owned(),
        major,
        codename: Some(release.codename.clone()).filter(|c| !c.is_empty()),
        arch: NAMES.iter().find(|(_, deb)| *deb == arch).map_or(arch, |(kernel, _)| kernel).to_owned(),
        platform: String::new(),
        timestamp: Some(release.date),
        source: Source {
            kind: KIND.to_owned(),
            url: Some(suite.url()),
            suite: Some(suite.suite.clone()),
            components,
            release: Some(release.description.clone()).filter(|d| !d.is_empty()),
            ..Source::directory(0)
        },
        repositories: repositories.iter().map(RepositoryInfo::of).collect(),
        keys,
    })
}

fn no_key(suite: &Suite) -> Error {
    let there: Vec<_> = KEYRINGS.into_iter().filter(|path| Path::new(path).is_file()).collect();
    let hint = match there.as_slice() {
        [] => {
            "give its key: --key FILE; the packages debian-archive-keyring and ubuntu-keyring have those of Debian and \
               Ubuntu"
                .to_owned()
        }
        some => format!("give its key: --key FILE; this machine has {}", some.join(" and ")),
    };
    Error::new(ErrorKind::Invalid, format!("{suite} is taken only with the key that it has to be signed with"))
        .hint(hint)
}

fn write(dir: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    let full = dir.join(path);
    let failed = |e| Error::io("write", full.display(), e);
    full.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
    std::fs::write(&full, bytes).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(origin: &str, version: &str, codename: &str) -> Result<Document> {
        let suite = Suite::of(Path::new("http://mirror.example/x/dists/suite"))?.unwrap();
        let [origin, version, codename] = [origin, version, codename].map(str::to_owned);
        let release = Release { label: origin.clone(), origin, version, codename, date: 5, ..Release::default() };
        describe(&suite, &release, "x86_64", vec!["main".into()], &[], Vec::new())
    }

    #[test]
    fn each_release_has_its_name() {
        let cases = [
            ("Debian", "12.15", "bookworm", "debian-12", Some("debian12")),
            ("Debian", "", "trixie", "debian-13", Some("debian13")),
            ("Ubuntu", "24.04", "noble", "ubuntu-24.04", Some("ubuntu24.04")),
            ("My Site!", "3", "three", "my-site-3", None),
        ];
        for (origin, version, codename, name, system) in cases {
            let d = described(origin, version, codename).unwrap();
            assert_eq!((d.default_name().as_str(), d.system().as_deref()), (name, system));
            assert_eq!((d.title.as_str(), d.timestamp, d.codename.as_deref()), (origin, Some(5), Some(codename)));
        }
        assert!(described("Debian", "", "sid").unwrap_err().hint_text().is_some_and(|h| h.contains("unstable")));
        for (origin, version, codename) in [("", "1", "x"), ("!!", "1", "x"), ("X", "1 2", "x"), ("X", "1", "../x")] {
            let e = described(origin, version, codename).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Integrity, "{origin:?} {version:?} {codename:?}");
        }
    }
}
