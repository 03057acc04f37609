//! What apt and dpkg are told: files of `/conf`, options. Text only; nothing is read or run here.
//!
//! ```text
//!  /conf/apt.conf       all of it: the root has no /etc/apt
//!  /conf/sources.list   the suite, from what is kept or from the mirror, and more repositories
//!  /conf/mirror.list    of a suite that is kept: lists from /dist/kept, packages from the mirror
//!  /conf/preferences    what is never installed; which repository goes before which
//!  /conf/*.gpg          the keys of each
//! ```

use super::{Bootstrap, ESSENTIAL, REQUIRED, WORK};
use crate::distro::mirror::keyring;
use crate::error::{Error, Result};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The priority of dnf's and roles' repositories that say none; apt's of the same.
const PRIORITY: (u32, i64) = (99, 500);

/// Documentation. What lies directly in `man` are directories, which links to alternatives need.
const DOCS: [&str; 5] =
    ["/usr/share/doc/*", "/usr/share/man/*/*", "/usr/share/info/*", "/usr/share/lintian/*", "/usr/share/linda/*"];
const COPYRIGHT: &str = "/usr/share/doc/*/copyright";
const TRANSLATIONS: &str = "/usr/share/locale/*";

/// A repository beside the distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its name: letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// Where it is, without the suite: `http://`, `https://` or `file://`.
    pub url: String,
    /// The keys that it is signed with, armoured or not.
    pub key: Vec<u8>,
    /// Its suite; one that ends with `/` is a directory without components.
    pub suite: String,
    /// Its components; empty: `main`.
    pub components: Vec<String>,
    /// Lower numbers win whatever the versions are; 99 where there is none. It is that of all of a host: apt knows no other,
    /// and none of a directory.
    pub priority: Option<u32>,
}

/// The files of `/conf`; with the proxy where the network is used.
///
/// # Errors
/// `Invalid` when a value could mean something else in there.
pub(super) fn files(b: &Bootstrap, network: bool) -> Result<Vec<(String, Vec<u8>)>> {
    let mut out = vec![
        ("apt.conf".to_owned(), configuration(b, network)?.into_bytes()),
        ("sources.list".to_owned(), sources(b)?.into_bytes()),
        ("preferences".to_owned(), preferences(b)?.into_bytes()),
        ("archive.gpg".to_owned(), keyring(&b.keyring).map_err(|e| e.context("the keys of the suite"))?),
    ];
    if b.kept.is_some() {
        let from = place(&b.mirror, "mirror")?;
        let text = format!("file:///dist/kept\tpriority:1\ttype:index\n{from}\tpriority:2\ttype:deb\n");
        out.push(("mirror.list".to_owned(), text.into_bytes()));
    }
    for r in &b.repositories {
        let name = format!("{}.gpg", id(&r.name)?);
        if out.iter().any(|(n, _)| *n == name) {
            return Err(Error::invalid(format!("two repositories are called {}", r.name)));
        }
        out.push((name, keyring(&r.key).map_err(|e| e.context(format!("the repository {}", r.name)))?));
    }
    Ok(out)
}

/// The directories to mount below `/dist`.
pub(super) fn directories(b: &Bootstrap) -> Vec<(String, PathBuf)> {
    let of = |url: &str, name: &str| url.strip_prefix("file://").map(|p| (name.to_owned(), PathBuf::from(p)));
    let mut out: Vec<_> = of(&b.mirror, "mirror").into_iter().collect();
    out.extend(b.kept.iter().map(|p| ("kept".to_owned(), p.clone())));
    out.extend(b.repositories.iter().filter_map(|r| of(&r.url, &format!("repository.{}", r.name))));
    out
}

/// Whether a list is on another machine.
pub(super) fn lists_are_elsewhere(b: &Bootstrap) -> bool {
    let mirror = Some(&b.mirror).filter(|_| b.kept.is_none());
    mirror.into_iter().chain(b.repositories.iter().map(|r| &r.url)).any(|u| !u.starts_with("file://"))
}

/// Whether a package is on another machine.
pub(super) fn packages_are_elsewhere(b: &Bootstrap) -> bool {
    lists_are_elsewhere(b) || !b.mirror.starts_with("file://")
}

/// What apt says, with places as they are outside of the root.
pub(super) fn outside(b: &Bootstrap, text: &str) -> String {
    if !text.contains("/dist/") && !text.contains("/conf/") {
        return text.to_owned();
    }
    let mut out = text.to_owned();
    for front in ["copy:/dist/mirror", "file:/dist/kept", "mirror+file:/conf/mirror.list"] {
        out = out.replace(front, &b.mirror);
    }
    for r in &b.repositories {
        out = out.replace(&format!("copy:/dist/repository.{}", r.name), &r.url);
    }
    out
}

/// The pattern of what has to be there, without what is excluded: apt fails where it may not install what is named.
pub(super) fn required(exclude: &[String]) -> String {
    let mut out = format!("?and({REQUIRED}");
    for pattern in exclude {
        let regex: String = pattern
            .chars()
            .map(|c| match c {
                '*' => ".*".to_owned(),
                '?' => ".".to_owned(),
                '.' | '+' => format!("[{c}]"),
                c => c.to_string(),
            })
            .collect();
        let _ = write!(out, ",?not(?name(^{regex}$))");
    }
    out.push(')');
    out
}

/// The name of a package, or a pattern that we made, as an argument of apt.
pub(super) fn name(text: &str) -> Result<&str> {
    let pattern = text == ESSENTIAL || text == REQUIRED || text.starts_with("?and(?priority(required)");
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.:=~_".contains(&b));
    // Apt removes what ends with a minus, and installs what ends with a plus unless a package is called so.
    let odd = text.is_empty() || text.len() > 256 || !text.as_bytes()[0].is_ascii_alphanumeric() || text.ends_with('-');
    if !pattern && (!plain || odd) {
        return Err(Error::invalid(format!("{text:?} is no name of a package")).fact("package", text));
    }
    Ok(text)
}

/// What dpkg is told besides.
pub(super) fn dpkg_options(b: &Bootstrap) -> Result<Vec<String>> {
    let mut out = vec!["--force-unsafe-io".to_owned(), "--force-confold".to_owned()];
    if !b.docs {
        out.extend(DOCS.iter().map(|p| format!("--path-exclude={p}")));
        out.push(format!("--path-include={COPYRIGHT}"));
    }
    if !b.languages.is_empty() {
        out.push(format!("--path-exclude={TRANSLATIONS}"));
        out.push("--path-include=/usr/share/locale/locale.alias".to_owned());
        for language in &b.languages {
            let language = word("language", language)?;
            let short = language.split(['_', '.', '@']).next().unwrap_or(language);
            let mut names = vec![short, language];
            names.dedup();
            out.extend(names.iter().map(|n| format!("--path-include=/usr/share/locale/{n}/*")));
        }
    }
    Ok(out)
}

fn configuration(b: &Bootstrap, network: bool) -> Result<String> {
    let arch = word("architecture", &b.arch)?;
    let work = format!("/target{WORK}");
    // Before there is a root, what is installed is nothing.
    let status = if b.target.join("var/lib/dpkg/status").exists() {
        "/target/var/lib/dpkg/status".to_owned()
    } else {
        format!("{work}/status")
    };
    let mut out = format!(
        "APT::Architecture \"{arch}\";\nAPT::Architectures \"{arch}\";\n\
         APT::Install-Recommends \"{}\";\nAPT::Install-Suggests \"false\";\n\
         APT::Sandbox::User \"root\";\nAPT::Update::Error-Mode \"any\";\nAPT::Get::AutomaticRemove \"false\";\n\
         Dir::Etc \"{work}/none\";\nDir::Etc::sourcelist \"/conf/sources.list\";\nDir::Etc::sourceparts \"{work}/none\";\n\
         Dir::Etc::preferences \"/conf/preferences\";\nDir::Etc::preferencesparts \"{work}/none\";\n\
         Dir::Etc::trusted \"{work}/none/trusted.gpg\";\nDir::Etc::trustedparts \"{work}/none\";\n\
         Dir::State \"{work}/state\";\nDir::State::status \"{status}\";\n\
         Dir::Cache \"{work}/cache\";\nDir::Log \"{work}/log\";\n\
         Acquire::Languages \"none\";\nAcquire::Retries \"3\";\nAcquire::http::Timeout \"60\";\n\
         DPkg::Chroot-Directory \"/target\";\nDPkg::Use-Pty \"false\";\nDPkg::Run-Directory \"/tmp\";\n",
        if b.weak_deps { "true" } else { "false" },
    );
    if b.target.join("var/lib/apt").is_dir() {
        out.push_str("Dir::State::extended_states \"/target/var/lib/apt/extended_states\";\n");
    }
    if let Some(proxy) = b.proxy.as_ref().filter(|_| network) {
        let proxy = word("proxy", proxy)?;
        let _ = writeln!(out, "Acquire::http::Proxy \"{proxy}\";\nAcquire::https::Proxy \"{proxy}\";");
    }
    for option in dpkg_options(b)? {
        let _ = writeln!(out, "DPkg::Options:: \"{option}\";");
    }
    Ok(out)
}

fn sources(b: &Bootstrap) -> Result<String> {
    let (arch, suite) = (word("architecture", &b.arch)?, word("suite", &b.suite)?);
    let url = if b.kept.is_some() { "mirror+file:///conf/mirror.list".to_owned() } else { place(&b.mirror, "mirror")? };
    let components = words("component", &b.components)?;
    // A suite that is kept is as old as it is.
    let valid = if b.kept.is_some() { " check-valid-until=no" } else { "" };
    let mut out = format!("deb [arch={arch} signed-by=/conf/archive.gpg{valid}] {url} {suite} {components}\n");
    for r in &b.repositories {
        let (name, suite) = (id(&r.name)?, word("suite", &r.suite)?);
        let url = place(&r.url, &format!("repository.{name}"))?;
        let components = if suite.ends_with('/') { String::new() } else { words("component", &r.components)? };
        let _ = writeln!(
            out,
            "{}",
            format!("deb [arch={arch} signed-by=/conf/{name}.gpg] {url} {suite} {components}").trim_end()
        );
    }
    Ok(out)
}

fn preferences(b: &Bootstrap) -> Result<String> {
    // Where /bin is a link from the start there is nothing to convert, for which perl would be needed.
    let mut out = String::from("Package: usrmerge\nPin: release *\nPin-Priority: -1\n");
    for pattern in &b.exclude {
        let odd = |c: char| !c.is_ascii_alphanumeric() && !"+-.*?".contains(c);
        if pattern.is_empty() || pattern.contains(odd) {
            return Err(Error::invalid(format!("exclude: {pattern:?} is no name or pattern of packages")));
        }
        let _ = write!(out, "\nPackage: {pattern}\nPin: release *\nPin-Priority: -1\n");
    }
    for r in &b.repositories {
        let Some(priority) = r.priority else { continue };
        if r.url.starts_with("file://") {
            let text = format!("the repository {} is a directory: apt knows priorities of hosts only", r.name);
            return Err(Error::unsupported(text).hint("leave its priority out, or serve it over HTTP"));
        }
        let host = r.url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default();
        let number = (PRIORITY.1 + i64::from(PRIORITY.0) - i64::from(priority)).max(1);
        let _ = write!(out, "\nPackage: *\nPin: origin \"{host}\"\nPin-Priority: {number}\n");
    }
    Ok(out)
}

/// A URL as it is from within the root. Files are copied: packages are read by a dpkg that does not see `/dist`.
fn place(url: &str, name: &str) -> Result<String> {
    match url.strip_prefix("file://") {
        Some(path) if Path::new(path).is_absolute() => Ok(format!("copy:///dist/{name}")),
        _ if url.starts_with("http://") || url.starts_with("https://") => word("url", url).map(str::to_owned),
        _ => Err(Error::invalid(format!("{url:?} is no URL of a mirror"))),
    }
}

fn id(name: &str) -> Result<&str> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.is_empty()
        || matches!(name, "archive" | "mirror" | "kept")
        || !name.bytes().all(good)
        || name.starts_with(['.', '-'])
    {
        return Err(Error::invalid(format!("a repository cannot be called {name:?}")));
    }
    Ok(name)
}

fn words(what: &str, texts: &[String]) -> Result<String> {
    if texts.is_empty() {
        return Ok("main".to_owned());
    }
    Ok(texts.iter().map(|t| word(what, t)).collect::<Result<Vec<_>>>()?.join(" "))
}

/// A value that is one word everywhere: no option, no second line, no end of a string.
fn word<'a>(what: &str, text: &'a str) -> Result<&'a str> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "[]{},;'\"\\`<>|&$#*?".contains(c);
    if text.is_empty() || text.len() > 1024 || text.starts_with('-') || text.contains(odd) {
        return Err(Error::invalid(format!("{what}: {text:?} cannot be given to apt")).fact("value", text));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::BASE;
    use super::*;
    use std::time::Duration;

    /// A version 4 RSA key of 8 bits, enough to be one.
    const KEY: [u8; 14] = [0x98, 12, 4, 0, 0, 0, 0, 1, 0, 8, 0xff, 0, 2, 3];

    fn setup() -> Bootstrap {
        Bootstrap {
            mirror: "http://deb.example/debian".into(),
            suite: "bookworm".into(),
            components: vec!["main".into(), "contrib".into()],
            keyring: KEY.to_vec(),
            kept: Some("/scratch/tree".into()),
            arch: "amd64".into(),
            repositories: vec![Repository {
                name: "site".into(),
                url: "http://site.example:8080/debs".into(),
                key: KEY.to_vec(),
                suite: "stable".into(),
                components: Vec::new(),
                priority: Some(10),
            }],
            exclude: vec!["*-firmware".into()],
            weak_deps: false,
            docs: false,
            languages: vec!["en_US".into(), "de".into()],
            base: BASE.map(str::to_owned).into(),
            proxy: Some("http://proxy:3128".into()),
            target: "/nowhere".into(),
            place: "/nowhere".into(),
            work: "/nowhere".into(),
            epoch: 0,
            environment: Vec::new(),
            limit: Duration::from_secs(1),
            silence: Duration::from_secs(1),
        }
    }

    #[test]
    fn what_is_written_for_apt() {
        let text = |(name, bytes): &(String, Vec<u8>)| format!("# {name}\n{}", String::from_utf8_lossy(bytes));
        let plain = files(&setup(), false).unwrap();
        let shown: Vec<_> = plain.iter().filter(|(name, _)| !name.ends_with(".gpg")).map(text).collect();
        insta::assert_snapshot!(shown.join("\n"));
        assert!(plain.iter().any(|(name, bytes)| name == "site.gpg" && *bytes == KEY));
        let network = files(&setup(), true).unwrap();
        assert!(!shown.join("").contains("Proxy") && text(&network[0]).contains("http::Proxy \"http://proxy:3128\""));
        assert_eq!(directories(&setup()).iter().map(|d| d.0.as_str()).collect::<Vec<_>>(), ["kept"]);
        assert!(packages_are_elsewhere(&setup()) && lists_are_elsewhere(&setup()));
        let mut local = setup();
        local.repositories[0].url = "file:///srv/site".into();
        assert_eq!(files(&local, false).unwrap_err().kind(), crate::ErrorKind::Unsupported);
        local.repositories[0].priority = None;
        assert!(packages_are_elsewhere(&local) && !lists_are_elsewhere(&local));
        assert_eq!(directories(&local)[1], ("repository.site".to_owned(), PathBuf::from("/srv/site")));
        assert_eq!(outside(&local, "copy:/dist/repository.site stable"), "file:///srv/site stable");
        assert_eq!(required(&["g++-*".into()]), "?and(?priority(required),?not(?name(^g[+][+]-.*$)))");
    }

    #[test]
    fn nothing_becomes_an_option_or_a_second_line() {
        for text in ["--allow-unauthenticated", "", "a b", "a\nb", "$(x)", "a\";", "a]", "a/../b;"] {
            assert!(name(text).is_err(), "{text:?}");
            for change in [
                |b: &mut Bootstrap, t: &str| b.mirror = t.to_owned(),
                |b: &mut Bootstrap, t: &str| b.suite = t.to_owned(),
                |b: &mut Bootstrap, t: &str| b.components = vec![t.to_owned()],
                |b: &mut Bootstrap, t: &str| b.arch = t.to_owned(),
                |b: &mut Bootstrap, t: &str| b.exclude = vec![t.to_owned()],
                |b: &mut Bootstrap, t: &str| b.languages = vec![t.to_owned()],
                |b: &mut Bootstrap, t: &str| b.proxy = Some(t.to_owned()),
                |b: &mut Bootstrap, t: &str| b.repositories[0].name = t.to_owned(),
                |b: &mut Bootstrap, t: &str| b.repositories[0].suite = t.to_owned(),
                |b: &mut Bootstrap, t: &str| b.repositories[0].url = t.to_owned(),
            ] {
                let mut changed = setup();
                change(&mut changed, text);
                let refused = files(&changed, true).is_err();
                // Patterns have no option to become.
                assert!(refused || (changed.exclude == [text] && text.starts_with("--")), "{text:?}");
            }
        }
        assert!(name("bash-").is_err() && name("linux-image-amd64=6.1~rc+1").is_ok() && name("g++").is_ok());
    }
}
