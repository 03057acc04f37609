//! What dnf is told: its configuration, the macros of rpm, the arguments. Text only; nothing is read or run here.
//!
//! ```text
//!  /conf/dnf.conf        of the host's configuration nothing is used
//!  /conf/cv.repo         one section for each repository; reposdir is /conf, which does not exist in the target
//!  /conf/.rpmmacros      the last that librpm reads, by HOME
//!  /conf/KEY             what signatures are checked with
//!  /run/cv-build/…       cache and logs; dnf puts the install root before it
//! ```

use crate::error::{Error, Result};
use std::fmt::Write;
use std::path::PathBuf;

/// Where caches and logs go, in the target.
pub const WORK: &str = "/run/cv-build";

/// What the packages are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The value of `$releasever`: the major number.
    pub version: String,
    /// The architecture of packages, such as `x86_64`.
    pub arch: String,
    /// The platform that modules are for, such as `platform:el9`. Without it nothing of a module can be installed.
    pub platform: Option<String>,
    /// Where the database of rpm is in the new root: `/var/lib/rpm` up to EL9, `/usr/lib/sysimage/rpm` later.
    pub database: String,
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its name: letters, digits, `.`, `_`, `-`.
    pub id: String,
    /// Where it is.
    pub place: Place,
    /// Names of files in `/conf`, which [`Setup::keys`] has, with the keys that packages are signed with.
    pub keys: Vec<String>,
    /// Lower numbers win; dnf takes 99 where there is none.
    pub priority: Option<u32>,
}

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A directory of this machine, which is mounted at `/dist/ID`.
    Directory(PathBuf),
    /// A URL, which needs the network.
    Url(String),
}

/// All that dnf is told for a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// What the packages are for.
    pub release: Release,
    /// Where they are from.
    pub repositories: Vec<Repository>,
    /// Keys by name.
    pub keys: Vec<(String, Vec<u8>)>,
    /// Whether what packages recommend is installed.
    pub weak_deps: bool,
    /// Whether documentation is installed.
    pub docs: bool,
    /// Languages whose translations are installed, such as `en_US`; empty: all.
    pub languages: Vec<String>,
    /// Names and patterns of packages that are never installed.
    pub exclude: Vec<String>,
}

/// What dnf shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Installs packages and `@groups`.
    Install,
    /// Enables streams of modules, `name:stream`, before anything is installed.
    EnableModules,
    /// Brings what is installed to what the repositories have.
    Synchronise,
    /// Removes packages.
    Remove,
}

/// How far dnf goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// It says what it would do, and ends with status 1.
    Resolve,
    /// It fetches the packages into its cache.
    Fetch,
    /// It does it; packages that are elsewhere were fetched before, for it has no network.
    Perform,
}

impl Setup {
    /// The files of `/conf`.
    ///
    /// # Errors
    /// `Invalid` when a value could mean something else in there.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = vec![
            ("dnf.conf".to_owned(), self.main()?.into_bytes()),
            ("cv.repo".to_owned(), self.sections()?.into_bytes()),
            (".rpmmacros".to_owned(), self.macros()?.into_bytes()),
        ];
        for (name, bytes) in &self.keys {
            let taken = files.iter().any(|(n, _)| n == name) || name.ends_with(".repo");
            if taken || !name.bytes().all(is_id) || name.starts_with('.') {
                return Err(Error::invalid(format!("a key cannot be called {name:?}")));
            }
            files.push((name.clone(), bytes.clone()));
        }
        Ok(files)
    }

    /// The directories to mount below `/dist`.
    #[must_use]
    pub fn directories(&self) -> Vec<(String, PathBuf)> {
        let directory = |r: &Repository| match &r.place {
            Place::Directory(path) => Some((r.id.clone(), path.clone())),
            Place::Url(_) => None,
        };
        self.repositories.iter().filter_map(directory).collect()
    }

    /// Whether a repository is elsewhere.
    #[must_use]
    pub fn needs_network(&self) -> bool {
        self.repositories.iter().any(|r| matches!(r.place, Place::Url(_)))
    }

    /// Whether dnf gets the network for it: where packages or metadata come from elsewhere, and nothing of a package runs.
    #[must_use]
    pub fn reaches(&self, command: Command, extent: Extent) -> bool {
        self.needs_network() && (extent != Extent::Perform || command == Command::EnableModules)
    }

    /// The argument vector; the first is where dnf is.
    ///
    /// # Errors
    /// `Invalid` when a name would be an option, or is none.
    pub fn arguments(&self, command: Command, extent: Extent, names: &[String]) -> Result<Vec<String>> {
        let mut out: Vec<String> = ["/usr/bin/dnf", "--config=/conf/dnf.conf", "--installroot=/target", "--noplugins"]
            .map(str::to_owned)
            .into();
        out.push(format!("--releasever={}", word("releasever", &self.release.version)?));
        out.push(format!("--forcearch={}", word("arch", &self.release.arch)?));
        let answers: &[&str] = match extent {
            Extent::Resolve => &["--assumeno"],
            Extent::Fetch => &["--assumeyes", "--downloadonly"],
            Extent::Perform if self.reaches(command, extent) != self.needs_network() => &["--assumeyes", "--cacheonly"],
            Extent::Perform => &["--assumeyes"],
        };
        let words: &[&str] = match command {
            Command::Install => &["install"],
            Command::EnableModules => &["module", "enable"],
            Command::Synchronise => &["distro-sync"],
            Command::Remove => &["remove"],
        };
        out.extend(answers.iter().map(|a| (*a).to_owned()));
        out.extend(words.iter().map(|w| (*w).to_owned()));
        for name in names {
            // Kickstart writes environments as `@^name`, which dnf does not know.
            let name = name.strip_prefix("@^").map_or_else(|| name.clone(), |rest| format!("@{rest}"));
            out.push(word("package", &name)?.to_owned());
        }
        Ok(out)
    }

    fn main(&self) -> Result<String> {
        let mut out =
            String::from("[main]\ngpgcheck=1\nlocalpkg_gpgcheck=1\nplugins=0\nreposdir=/conf\nvarsdir=/conf/vars\n");
        let _ = writeln!(out, "cachedir={WORK}/cache\nlogdir={WORK}/log\npersistdir=/var/lib/dnf");
        let _ = writeln!(out, "install_weak_deps={}", u8::from(self.weak_deps));
        if !self.docs {
            out.push_str("tsflags=nodocs\n");
        }
        if !self.exclude.is_empty() {
            let names = self.exclude.iter().map(|n| word("exclude", n)).collect::<Result<Vec<_>>>()?;
            let _ = writeln!(out, "excludepkgs={}", names.join(","));
        }
        if let Some(platform) = &self.release.platform {
            let _ = writeln!(out, "module_platform_id={}", word("platform", platform)?);
        }
        // What was fetched is needed by the next call, which has no network.
        let _ = writeln!(out, "keepcache={}", u8::from(self.needs_network()));
        out.push_str("best=1\nstrict=1\nskip_if_unavailable=0\nmetadata_expire=-1\ninstallonly_limit=2\n");
        out.push_str("clean_requirements_on_remove=0\nprotected_packages=\ncolor=never\n");
        Ok(out)
    }

    fn sections(&self) -> Result<String> {
        let mut out = String::new();
        for repository in &self.repositories {
            let id = &repository.id;
            if id.is_empty() || id == "main" || !id.bytes().all(is_id) || id.starts_with(['.', '-']) {
                return Err(Error::invalid(format!("a repository cannot be called {id:?}")));
            }
            let url = match &repository.place {
                Place::Directory(_) => format!("file:///dist/{id}"),
                Place::Url(url) => word("url", url)?.to_owned(),
            };
            let _ = writeln!(out, "[{id}]\nname={id}\nbaseurl={url}\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=0");
            if let Some(key) = repository.keys.iter().find(|k| !self.keys.iter().any(|(name, _)| name == *k)) {
                return Err(Error::invalid(format!("the repository {id} is signed with {key:?}, which is not there")));
            }
            let keys: Vec<_> = repository.keys.iter().map(|k| format!("file:///conf/{k}")).collect();
            let _ = writeln!(out, "gpgkey={}", keys.join(" "));
            if let Some(priority) = repository.priority {
                let _ = writeln!(out, "priority={priority}");
            }
        }
        Ok(out)
    }

    fn macros(&self) -> Result<String> {
        let database = word("database", &self.release.database)?;
        if !database.starts_with('/') || database.contains("..") {
            return Err(Error::invalid(format!("the database of rpm cannot be at {database:?}")));
        }
        let languages = self.languages.iter().map(|l| word("language", l)).collect::<Result<Vec<_>>>()?;
        let languages = if languages.is_empty() { "all".to_owned() } else { languages.join(":") };
        // Debian's rpm keeps its database in the home directory, and would do so in the new root.
        Ok(format!("%_dbpath {database}\n%_db_backend sqlite\n%_install_langs {languages}\n"))
    }
}

fn is_id(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

/// A value that is one word everywhere: no option, no macro, no second line, no list.
fn word<'a>(what: &str, text: &'a str) -> Result<&'a str> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "%,;'\"\\`<>|&$".contains(c);
    if text.is_empty() || text.len() > 1024 || text.starts_with('-') || text.contains(odd) {
        return Err(Error::invalid(format!("{what}: {text:?} cannot be given to dnf"))
            .hint("it has to be one word that does not begin with -, without quotes and any of % , ; \\ ` < > | & $")
            .fact("value", text));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn setup() -> Setup {
        let repository = |id: &str| Repository {
            id: id.into(),
            place: Place::Directory(format!("/store/{id}").into()),
            keys: vec!["RPM-GPG-KEY-1".into()],
            priority: None,
        };
        Setup {
            release: Release {
                version: "9".into(),
                arch: "x86_64".into(),
                platform: Some("platform:el9".into()),
                database: "/var/lib/rpm".into(),
            },
            repositories: vec![repository("BaseOS"), repository("AppStream")],
            keys: vec![("RPM-GPG-KEY-1".into(), b"key".to_vec())],
            weak_deps: false,
            docs: false,
            languages: vec!["en_US".into(), "de".into()],
            exclude: vec!["tuned".into(), "*-firmware".into()],
        }
    }

    #[test]
    fn what_is_written_for_dnf() {
        let files = setup().files().unwrap();
        let text = |(name, bytes): &(String, Vec<u8>)| format!("# {name}\n{}", String::from_utf8_lossy(bytes));
        insta::assert_snapshot!(files.iter().map(text).collect::<Vec<_>>().join("\n"));
        let names = ["@^minimal-environment", "@core", "webd", "@webd:2/common"].map(str::to_owned);
        insta::assert_snapshot!(setup().arguments(Command::Install, Extent::Perform, &names).unwrap().join("\n"));
    }

    #[test]
    fn nothing_becomes_an_option_or_a_second_line() {
        let odd = ["--nogpgcheck", "", "a b", "a\ngpgcheck=0", "%{lua:x}", "a,b", "$(x)"];
        for text in odd {
            assert!(setup().arguments(Command::Install, Extent::Perform, &[text.to_owned()]).is_err(), "{text:?}");
            for change in [
                |s: &mut Setup, t: &str| s.repositories[0].id = t.to_owned(),
                |s: &mut Setup, t: &str| s.repositories[0].place = Place::Url(t.to_owned()),
                |s: &mut Setup, t: &str| s.repositories[0].keys = vec![t.to_owned()],
                |s: &mut Setup, t: &str| s.exclude = vec![t.to_owned()],
                |s: &mut Setup, t: &str| s.languages = vec![t.to_owned()],
                |s: &mut Setup, t: &str| s.release.database = t.to_owned(),
                |s: &mut Setup, t: &str| s.release.platform = Some(t.to_owned()),
            ] {
                let mut changed = setup();
                change(&mut changed, text);
                assert!(changed.files().is_err(), "{text:?}");
            }
        }
        let mut named = setup();
        named.keys[0].0 = "dnf.conf".into();
        assert!(named.files().is_err());
    }
}
