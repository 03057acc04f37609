//! Which distribution a tree is: from `.treeinfo`, `.discinfo` and the package that provides `system-release`, in this
//! order.

use super::digest::Digest;
use super::files::{Files, join};
use super::repo::{Package, REPOMD, Repository};
use super::treeinfo::{self, DiscInfo, TreeInfo, beneath};
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use std::collections::BTreeMap;

/// What the package of a release provides.
const RELEASE: &str = "system-release";
/// Most repositories that are looked for where no `.treeinfo` names them.
const REPOSITORIES_LIMIT: usize = 64;

/// Distributions that are known: id, how they begin to call themselves, their package.
const KNOWN: [(&str, &[&str], &str); 5] = [
    ("rocky", &["Rocky"], "rocky-release"),
    ("rhel", &["RHEL", "Red Hat Enterprise Linux"], "redhat-release"),
    ("almalinux", &["AlmaLinux"], "almalinux-release"),
    ("oracle", &["Oracle", "OL"], "oraclelinux-release"),
    ("centos-stream", &["CentOS"], "centos-stream-release"),
];
const MAJORS: std::ops::RangeInclusive<u32> = 8..=10;

/// Directories that say nothing about the repository in them.
const COMMON: [&str; 8] = ["", "os", "kickstart", "tree", "x86_64", "aarch64", "ppc64le", "s390x"];

/// What a tree was recognised as.
pub(super) struct Recognised {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) version: String,
    pub(super) major: u32,
    pub(super) arch: String,
    pub(super) timestamp: Option<i64>,
    pub(super) repositories: Vec<Repository>,
    /// Digests that `.treeinfo` gives to files, by their paths.
    pub(super) digests: Vec<(String, Digest)>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

/// What a tree says of itself, before its packages are asked.
struct Claim {
    name: String,
    short: String,
    version: String,
    arch: String,
    timestamp: Option<i64>,
}

/// Recognises a tree, and reads and checks the metadata of its repositories.
///
/// # Errors
/// `Invalid` when it is none or has no packages; `Integrity` when metadata do not fit; `UnsafeInput` when a path leads out of
/// the tree; `Cancelled`.
pub(super) fn recognise(files: &dyn Files, task: &Task) -> Result<Recognised> {
    let (places, tops) = places(files);
    let mut notes = Vec::new();
    let tree = tree_info(files, &tops)?;
    let (claim, repositories, digests) = match tree {
        Some((root, tree)) => {
            let digests = digests(files, &root, &tree)?;
            let repositories = of_tree(files, &root, &tree, &places, &digests, &mut notes, task)?;
            let TreeInfo { name, short, version, arch, timestamp, .. } = tree;
            (Claim { name, short, version, arch, timestamp }, repositories, digests)
        }
        None => {
            let claim = match files.read_if(".discinfo", treeinfo::LIMIT)? {
                Some(bytes) => of_disc(DiscInfo::parse(&bytes)?),
                None => Claim {
                    name: String::new(),
                    short: String::new(),
                    version: String::new(),
                    arch: String::new(),
                    timestamp: None,
                },
            };
            (claim, every(files, &places, task)?, BTreeMap::new())
        }
    };
    if repositories.iter().all(|r: &Repository| r.packages.is_empty()) {
        return Err(Error::invalid("there are no packages in this tree")
            .hint("give the DVD, or a directory that holds its repositories; a boot medium has none"));
    }
    let found = settle(claim, repositories, notes)?;
    Ok(Recognised { digests: digests.into_iter().collect(), ..found })
}

/// Directories with `repodata`, and those at the top of the tree.
fn places(files: &dyn Files) -> (Vec<String>, Vec<String>) {
    let (mut places, mut tops) = (Vec::new(), Vec::<String>::new());
    files.each(&mut |path| {
        let Ok(path) = std::str::from_utf8(path) else { return };
        if let Some(place) = path.strip_suffix(REPOMD)
            && (place.is_empty() || place.ends_with('/'))
        {
            places.push(place.trim_end_matches('/').to_owned());
        }
        if let Some((top, _)) = path.split_once('/')
            && tops.last().is_none_or(|t| t != top)
        {
            tops.push(top.to_owned());
        }
    });
    places.sort();
    tops.sort();
    tops.dedup();
    (places, tops)
}

/// The `.treeinfo`, with the directory that it stands in: the tree, or one in it where it holds several trees.
fn tree_info(files: &dyn Files, tops: &[String]) -> Result<Option<(String, TreeInfo)>> {
    for root in std::iter::once("").chain(tops.iter().map(String::as_str)) {
        for name in [".treeinfo", "treeinfo"] {
            let place = join(root, name);
            if let Some(bytes) = files.read_if(&place, treeinfo::LIMIT)? {
                return Ok(Some((root.to_owned(), TreeInfo::parse(&bytes).map_err(|e| e.fact("path", place))?)));
            }
        }
    }
    Ok(None)
}

/// The digests that a `.treeinfo` gives, by path; what is small is compared at once.
fn digests(files: &dyn Files, root: &str, tree: &TreeInfo) -> Result<BTreeMap<String, Digest>> {
    let mut out = BTreeMap::new();
    for (path, digest) in &tree.checksums {
        let place = beneath(root, path)?;
        match files.read_if(&place, treeinfo::LIMIT) {
            // What is on other media of the same tree.
            Ok(None) => {}
            // Images for installers are read when all is verified.
            Err(e) if e.kind() == ErrorKind::Limit => {}
            Ok(Some(bytes)) if !digest.fits(&bytes) => {
                return Err(Error::integrity(format!("/{place} does not have the checksum that .treeinfo gives it"))
                    .fact("path", place));
            }
            done => drop(done?),
        }
        out.insert(place, digest.clone());
    }
    Ok(out)
}

/// The repositories that a `.treeinfo` names.
fn of_tree(
    files: &dyn Files,
    root: &str,
    tree: &TreeInfo,
    places: &[String],
    digests: &BTreeMap<String, Digest>,
    notes: &mut Vec<String>,
    task: &Task,
) -> Result<Vec<Repository>> {
    let mut out = Vec::<Repository>::new();
    for variant in &tree.variants {
        let path = beneath(root, &variant.repository).map_err(|e| {
            e.context(format!("variant {}", variant.id))
                .hint("of trees that refer to each other, add the directory that holds them all")
                .fact("variant", variant.id.clone())
        })?;
        if out.iter().any(|r| r.path == path) {
            continue;
        }
        if places.binary_search(&path).is_err() {
            notes.push(format!("variant {} has no repository here", variant.id));
            continue;
        }
        let digest = digests.get(&join(&path, REPOMD));
        out.push(Repository::read(files, &identifier(&variant.id), &path, digest, task)?);
    }
    // A tree that names none of the repositories that it has.
    if out.is_empty() {
        return every(files, places, task);
    }
    Ok(out)
}

/// The repositories that there are. Mirrors have `BaseOS/x86_64/os`, which is BaseOS.
fn every(files: &dyn Files, places: &[String], task: &Task) -> Result<Vec<Repository>> {
    let mut out = Vec::<Repository>::new();
    for path in places.iter().take(REPOSITORIES_LIMIT) {
        let words: Vec<&str> = path.split('/').filter(|w| !COMMON.contains(w)).collect();
        let short = identifier(&words.join("-"));
        let taken = out.iter().any(|r| r.id == short);
        let id = if taken { identifier(path) } else { short };
        out.push(Repository::read(files, &id, path, None, task)?);
    }
    Ok(out)
}

/// What names a repository to programs: it stands in files of theirs.
fn identifier(text: &str) -> String {
    let good = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' };
    let out: String = text.chars().take(64).map(good).collect();
    let out = out.trim_matches('-');
    if out.is_empty() { "main".to_owned() } else { out.to_owned() }
}

/// `Rocky Linux 9.4` is a name and a version.
fn of_disc(disc: DiscInfo) -> Claim {
    let (name, version) = match disc.name.rsplit_once(' ') {
        Some((name, v)) if v.starts_with(|c: char| c.is_ascii_digit()) => (name.to_owned(), v.to_owned()),
        _ => (disc.name.clone(), String::new()),
    };
    Claim { name, short: String::new(), version, arch: disc.arch, timestamp: disc.timestamp }
}

/// Asks the packages what the tree does not say, above all the minor release.
fn settle(claim: Claim, repositories: Vec<Repository>, mut notes: Vec<String>) -> Result<Recognised> {
    let release = release(&repositories);
    let called = [&claim.short, &claim.name];
    let begins = |names: &[&str]| {
        names.iter().any(|n| called.iter().any(|c| c.get(..n.len()).is_some_and(|c| c.eq_ignore_ascii_case(n))))
    };
    let by_name = KNOWN.iter().find(|(_, names, _)| begins(names));
    let by_package = || KNOWN.iter().find(|(_, _, package)| release.is_some_and(|r| r.name == *package));
    let known = by_name.or_else(by_package);
    let id = match known {
        Some((id, ..)) => (*id).to_owned(),
        None => plain(called.into_iter().find(|c| !c.is_empty()).map_or("unknown", String::as_str)),
    };
    let mut version = claim.version.clone();
    match release {
        // Stream has no minor releases, whatever its package says.
        Some(r) if id == "centos-stream" => {
            version = version.split('.').next().filter(|v| !v.is_empty()).unwrap_or(&r.version).to_owned();
            version.truncate(version.find('.').unwrap_or(version.len()));
        }
        Some(r) if version.is_empty() || r.version.starts_with(&format!("{version}.")) => {
            version.clone_from(&r.version);
        }
        Some(r) if r.version != version => {
            notes.push(format!("the tree says {version}, its package {} says {}", r.name, r.version));
        }
        Some(_) => {}
        None => notes.push(format!("no package provides {RELEASE}: the release is what the tree says")),
    }
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    let major = digits.parse().map_err(|_| Error::invalid("the tree does not say which release it is"))?;
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let arch = if claim.arch.is_empty() { architecture(&repositories) } else { claim.arch };
    if !version.chars().all(name) || !arch.chars().all(name) || arch.is_empty() {
        return Err(Error::integrity("the tree has a release or an architecture that is none"));
    }
    if known.is_none() || !MAJORS.contains(&major) {
        notes.push(format!("{id} {version} is not among the distributions that are known: Enterprise Linux 8 to 10"));
    }
    let title = [claim.name, claim.short, id.clone()].into_iter().find(|t| !t.is_empty()).unwrap_or_default();
    Ok(Recognised {
        id,
        title,
        version,
        major,
        arch,
        timestamp: claim.timestamp,
        repositories,
        digests: Vec::new(),
        notes,
    })
}

/// The package of the release: that of BaseOS before others.
fn release(repositories: &[Repository]) -> Option<&Package> {
    let mut order: Vec<&Repository> = repositories.iter().collect();
    order.sort_by_key(|r| r.id != "BaseOS");
    order.iter().flat_map(|r| &r.packages).find(|p| p.provides(RELEASE))
}

/// What most packages are for that are not for all.
fn architecture(repositories: &[Repository]) -> String {
    let mut count = BTreeMap::<&str, usize>::new();
    let all = repositories.iter().flat_map(|r| &r.packages).filter(|p| !matches!(p.arch.as_str(), "noarch" | "src"));
    all.for_each(|p| *count.entry(&p.arch).or_default() += 1);
    count.into_iter().max_by_key(|(_, n)| *n).map_or_else(String::new, |(a, _)| a.to_owned())
}

/// A name that can be one in the store.
fn plain(text: &str) -> String {
    let good = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let out: String = text.chars().take(64).map(good).collect();
    let out = out.trim_matches('-').to_owned();
    if out.is_empty() { "unknown".to_owned() } else { out }
}
