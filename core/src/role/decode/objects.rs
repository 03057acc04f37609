//! Lists of objects: files, users, repositories, scripts.

use super::super::said::{Section, Thing};
use super::super::spec::{File, Keyed as _, Mode, Owner, Repository, Script, TimeLimit, User, words};
use super::super::template::{self, VARIABLES};
use super::{At, Decoder};
use crate::config::Content;
use crate::document::diagnostic::{Diagnostic, nearest};
use crate::document::reader::{Fields, Keys, join};
use crate::document::{Node, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

pub(in crate::role) const FILE: Keys = &["path", "content", "template", "source", "mode", "owner"];
const BYTES: Keys = &["base64"];
pub(in crate::role) const USER: Keys = &["name", "uid", "gid", "groups", "comment", "home", "shell", "system", "keys"];
/// What people write who want to give a password.
const USER_OR_PASSWORD: Keys =
    &["name", "uid", "gid", "groups", "comment", "home", "shell", "system", "keys", "password", "passwd", "hash"];
pub(in crate::role) const REPOSITORY: Keys = &["name", "url", "key", "priority", "suite", "components"];
pub(in crate::role) const SCRIPT: Keys = &["name", "run", "time_limit", "net"];

/// What the kernel mounts there hides what the tree has.
const OF_THE_KERNEL: [&str; 4] = ["proc", "sys", "dev", "run"];
/// Files that are made of what the role says elsewhere.
const ACCOUNTS: [&str; 4] = ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"];
/// Kinds of public keys.
const KEYS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];
/// The last uid and gid that is a person's or a service's; those above mean nobody.
const LAST_ID: u32 = u32::MAX - 2;
/// The uid of nobody.
const NOBODY: [u32; 2] = [65534, 65535];
const KEY_BEGINS: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

impl Decoder<'_> {
    /// A list of objects with names; a text `-NAME` takes one away.
    pub(super) fn objects(
        &mut self,
        at: &At<'_, '_>,
        key: &'static str,
        section: Section,
        read: fn(&mut Self, &Node, &str) -> Option<(String, Thing)>,
    ) {
        let (path, items) = self.list(at, key);
        for node in items {
            if let Value::Text(text) = &node.value {
                match text.strip_prefix('-').map(str::trim).filter(|name| !name.is_empty()) {
                    Some(name) => self.say(at, section, name, None, &path, node.place),
                    None => {
                        let d =
                            Diagnostic::error("R005", path.as_str(), format!("{} is not a map", node.value.describe()));
                        self.r.report(d.hint("-NAME takes away what another role brings").at(node.place));
                    }
                }
            } else if let Some((name, thing)) = read(self, node, &path) {
                let inner = join(&path, &name);
                self.say(at, section, &name, Some(thing), &inner, node.place);
            }
        }
    }

    /// The name of an object, which is part of the path of what is wrong with it.
    fn named(&mut self, node: &Node, path: &str, key: &str) -> Option<String> {
        let Value::Map(entries) = &node.value else {
            self.r.wrong("R005", path, node.place, format!("{} is not a map", node.value.describe()));
            return None;
        };
        let name = entries.iter().find(|(k, _)| k.name == key).and_then(|(_, n)| match &n.value {
            Value::Text(t) | Value::Number(t) => Some(t.clone()),
            _ => None,
        });
        Some(join(path, name.as_deref().unwrap_or("?")))
    }

    pub(super) fn file(&mut self, node: &Node, list: &str) -> Option<(String, Thing)> {
        let path = self.named(node, list, "path")?;
        let f = self.r.fields(node, &path, FILE)?;
        let place = self.r.required(&f, "path").and_then(|n| Some((self.r.text(n, &f.path("path"))?, n.place)));
        let place = place.filter(|(text, at)| self.is_place_for_a_file(text, &f.path("path"), *at));
        let target = place.as_ref().map(|(text, _)| text.clone()).unwrap_or_default();
        let content = f.get("content").and_then(|n| self.content(n, &f.path("content"), &target));
        let template = f.get("template").and_then(|n| self.template(n, &f.path("template"), &target));
        let source = f.get("source").and_then(|n| {
            let at = f.path("source");
            let name = self.r.text(n, &at)?;
            let bytes = self.beside(&name, &at, n.place)?;
            self.no_secret(&target, &bytes, &at, n.place);
            Some(Content::from(bytes))
        });
        let given = ["content", "template", "source"].iter().filter(|k| f.get(k).is_some()).count();
        if given != 1 {
            let text = "a file has one of content, template and source";
            self.r.report(Diagnostic::error("R004", path.as_str(), text).at(node.place));
        }
        let mode = self.checked(&f, "mode", "R032", "a mode: three or four octal digits", Mode::parse);
        let owner = self.checked(&f, "owner", "R033", "an owner: USER or USER:GROUP", Owner::parse);
        let (mode, owner) = (mode.unwrap_or_default(), owner.unwrap_or_default());
        let (target, _) = place?;
        let file = File { path: target, content: content.or(source), template, source: None, mode, owner };
        Some((file.path.clone(), Thing::File(file)))
    }

    fn is_place_for_a_file(&mut self, text: &str, path: &str, at: crate::document::Position) -> bool {
        let short: String = text.chars().take(60).collect();
        if !words::is_clean_path(text) {
            let d = Diagnostic::error("R030", path, format!("\"{short}\" is not a path in the new root")).at(at);
            self.r.report(d.hint("it begins with / and has no //, . and .. in it"));
        } else if let Some(top) = text.split('/').nth(1).filter(|top| OF_THE_KERNEL.contains(top)) {
            let d = Diagnostic::error("R030", path, format!("/{top} is mounted by the running system")).at(at);
            self.r.report(d.hint("a file there would never be seen"));
        } else if ACCOUNTS.contains(&text) {
            let d = Diagnostic::error("R033", path, format!("{text} is made of what stands under users")).at(at);
            self.r.report(d.hint("write users: [{name: …, uid: …}]"));
        } else {
            return true;
        }
        false
    }

    fn content(&mut self, node: &Node, path: &str, file: &str) -> Option<Content> {
        let bytes = match &node.value {
            Value::Map(_) => {
                let f = self.r.fields(node, path, BYTES)?;
                let n = self.r.required(&f, "base64")?;
                let text = self.long_text(n, &f.path("base64"))?;
                let decoded = BASE64.decode(text.split_whitespace().collect::<String>());
                if decoded.is_err() {
                    self.r.wrong("R005", &f.path("base64"), n.place, "this is not base64");
                }
                decoded.ok()?
            }
            _ => self.long_text(node, path)?.into_bytes(),
        };
        self.no_secret(file, &bytes, path, node.place);
        Some(bytes.into())
    }

    fn template(&mut self, node: &Node, path: &str, file: &str) -> Option<String> {
        let text = self.long_text(node, path)?;
        self.no_secret(file, text.as_bytes(), path, node.place);
        for (line, name) in template::faults(&text) {
            let known = VARIABLES.iter().map(|(name, _)| *name);
            let (message, hint) = match name {
                None => (format!("line {line} of it opens {{{{ and does not close it"), "write {{ NAME }}".to_owned()),
                Some(name) => {
                    let hint = match nearest(&name, known.clone()) {
                        Some(meant) => format!("did you mean \"{meant}\"?"),
                        None => format!("known are: {}", known.collect::<Vec<_>>().join(", ")),
                    };
                    (format!("line {line} of it has {{{{ {name} }}}}, which is not known"), hint)
                }
            };
            self.r.report(Diagnostic::error("R044", path, message).hint(hint).at(node.place));
        }
        Some(text)
    }

    pub(super) fn user(&mut self, node: &Node, list: &str) -> Option<(String, Thing)> {
        let path = self.named(node, list, "name")?;
        let f = self.r.fields(node, &path, USER_OR_PASSWORD)?;
        for key in USER_OR_PASSWORD.iter().filter(|k| !USER.contains(k)) {
            if let Some(n) = f.get(key) {
                self.secret(&f.path(key), n.place, "a password, or its hash");
            }
        }
        self.r.required(&f, "name");
        let name = self.checked(&f, "name", "R034", ACCOUNT, |t| words::is_account(t).then(|| t.to_owned()));
        let id = |t: &str| t.parse().ok().filter(|n| *n <= LAST_ID && !NOBODY.contains(n));
        let uid: Option<u32> = self.checked(&f, "uid", "R034", "the number of a user", id);
        let gid: Option<u32> = self.checked(&f, "gid", "R034", "the number of a group", id);
        if let Some(uid) = uid
            && (uid == 0) != (name.as_deref() == Some("root"))
        {
            let place = f.get("uid").map(|n| n.place).unwrap_or_default();
            self.r.wrong("R034", &f.path("uid"), place, "root has the number 0, and nobody else has");
        }
        let mut groups = self.each(&f, "groups", "R034", ACCOUNT, |t| words::is_account(t).then(|| t.to_owned()));
        groups.sort_unstable();
        groups.dedup();
        let plain = |t: &str| (!t.contains([':', '\n']) && t.len() <= 200).then(|| t.to_owned());
        let comment = self.checked(&f, "comment", "R034", "a text without colons", plain);
        let directory = |t: &str| (words::is_clean_path(t) && !t.contains(':')).then(|| t.to_owned());
        let home = self.checked(&f, "home", "R034", "an absolute path", directory);
        let shell = self.checked(&f, "shell", "R034", "an absolute path", directory);
        let system = self.r.flag(&f, "system");
        let mut keys = self.keys(&f);
        keys.sort_unstable();
        keys.dedup();
        let user = User { name: name?, uid, gid, groups, comment, home, shell, system, keys };
        Some((user.id().to_owned(), Thing::User(user)))
    }

    /// Public keys. What stands there instead may be a private one: it is not repeated.
    fn keys(&mut self, f: &Fields<'_>) -> Vec<String> {
        let (path, items) = self.list(&At { fields: f, selector: super::Selector::ALL }, "keys");
        let mut out = Vec::new();
        for node in items {
            let text = match &node.value {
                Value::Text(text) if text.contains("PRIVATE KEY") => {
                    self.secret(&path, node.place, "a private key");
                    continue;
                }
                Value::Text(text) => text.trim(),
                _ => "",
            };
            if is_public_key(text) {
                out.push(text.to_owned());
                continue;
            }
            let d = Diagnostic::error("R035", path.as_str(), "this is not a public key of OpenSSH").at(node.place);
            self.r.report(d.hint("write a line of ~/.ssh/id_ed25519.pub: ssh-ed25519 AAAA… NAME"));
        }
        out
    }

    pub(super) fn repository(&mut self, node: &Node, list: &str) -> Option<(String, Thing)> {
        let path = self.named(node, list, "name")?;
        let f = self.r.fields(node, &path, REPOSITORY)?;
        let owned = |is: fn(&str) -> bool| move |t: &str| is(t).then(|| t.to_owned());
        self.r.required(&f, "name");
        let name = self.checked(&f, "name", "R042", "the name of a repository", owned(words::is_name));
        let url = self.r.required(&f, "url").and_then(|n| {
            let at = f.path("url");
            let text = self.r.text(n, &at)?;
            let text = text.trim_end_matches('/');
            if text.split('/').nth(2).is_some_and(|host| host.contains('@')) {
                self.secret(&at, n.place, "a password in an address");
                return None;
            }
            if !is_address(text) {
                let short: String = text.chars().take(60).collect();
                let d = Diagnostic::error("R042", at, format!("\"{short}\" is not the address of a repository"));
                self.r.report(d.hint("write https://HOST/PATH, http://HOST/PATH or file:///PATH").at(n.place));
                return None;
            }
            Some(text.to_owned())
        });
        let key = self.r.required(&f, "key").and_then(|n| self.key(n, &f.path("key")));
        let priority = self.r.number_in(&f, "priority", 1..=99);
        let suite = self.checked(&f, "suite", "R042", "a suite", |t| {
            let good = !t.is_empty() && t.split('/').all(|p| words::is_group(p) || p.is_empty());
            good.then(|| t.to_owned())
        });
        let components = self.each(&f, "components", "R042", "a component", owned(words::is_group));
        let repository = Repository { name: name?, url: url?, key: key?, priority, suite, components };
        Some((repository.name.clone(), Thing::Repository(repository)))
    }

    /// The key of a repository: itself, or the name of its file.
    fn key(&mut self, node: &Node, path: &str) -> Option<String> {
        let text = self.long_text(node, path)?;
        let text = match text.contains("-----BEGIN") {
            true => text,
            false => {
                let bytes = self.beside(&text, path, node.place)?;
                String::from_utf8(bytes).unwrap_or_default()
            }
        };
        if text.contains("PRIVATE KEY") {
            self.secret(path, node.place, "a private key");
            return None;
        }
        if !text.contains(KEY_BEGINS) {
            let d = Diagnostic::error("R042", path, "this is no public key, armored as gpg --export --armor writes it");
            self.r.report(d.hint("give the key, or the name of its file beside the document").at(node.place));
            return None;
        }
        Some(format!("{}\n", text.trim()))
    }

    pub(super) fn script(&mut self, node: &Node, list: &str) -> Option<(String, Thing)> {
        let path = self.named(node, list, "name")?;
        let f = self.r.fields(node, &path, SCRIPT)?;
        self.r.required(&f, "name");
        let name = self.checked(&f, "name", "R008", "a name: letters, digits and . _ -", |t| {
            words::is_name(t).then(|| t.to_owned())
        });
        let run = self.r.required(&f, "run").and_then(|n| {
            let text = self.long_text(n, &f.path("run"))?;
            self.no_secret("script", text.as_bytes(), &f.path("run"), n.place);
            if text.trim().is_empty() {
                self.r.wrong("R004", &f.path("run"), n.place, "there is nothing to run");
                return None;
            }
            Some(text)
        });
        let limit = self.checked(&f, "time_limit", "R038", "a time from 1s to 24h, with its unit", TimeLimit::parse);
        let net = self.r.flag(&f, "net");
        let script = Script { name: name?, run: run?, time_limit: limit.unwrap_or_default(), net };
        Some((script.name.clone(), Thing::Script(script)))
    }

    /// What `read` makes of a text, with a code of its own for what it cannot read.
    fn checked<T>(
        &mut self,
        f: &Fields<'_>,
        key: &str,
        code: &'static str,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let node = f.get(key)?;
        self.checked_item(node, &f.path(key), code, what, read)
    }

    fn checked_item<T>(
        &mut self,
        node: &Node,
        path: &str,
        code: &'static str,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.r.text(node, path)?;
        let value = read(&text);
        if value.is_none() {
            let short: String = text.chars().take(60).collect();
            self.r.wrong(code, path, node.place, format!("\"{short}\" is not {what}"));
        }
        value
    }

    fn each<T>(
        &mut self,
        f: &Fields<'_>,
        key: &str,
        code: &'static str,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let (path, items) = self.list(&At { fields: f, selector: super::Selector::ALL }, key);
        items.iter().filter_map(|n| self.checked_item(n, &path, code, what, &read)).collect()
    }
}

const ACCOUNT: &str = "a name: at most 32 of a to z, 0 to 9, _ and -, beginning with a letter or _";

fn is_address(text: &str) -> bool {
    let good = |c: char| c.is_ascii_graphic() && !"\"'\\<>{}|^`,;".contains(c);
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let place = match scheme {
        "http" | "https" => rest.split('/').next().is_some_and(|host| !host.is_empty()),
        "file" => rest.starts_with('/'),
        _ => false,
    };
    place && text.len() <= 2000 && text.chars().all(good) && !rest.split('/').any(|part| part == "..")
}

/// Whether it is a line of a file of public keys, without options; what is encoded has to say the same.
fn is_public_key(text: &str) -> bool {
    let mut parts = text.splitn(3, ' ');
    let (Some(kind), Some(encoded)) = (parts.next(), parts.next()) else { return false };
    if !KEYS.contains(&kind) || text.contains(char::is_control) || text.len() > 8192 {
        return false;
    }
    let Ok(bytes) = BASE64.decode(encoded) else { return false };
    let length = bytes.first_chunk::<4>().map(|b| u32::from_be_bytes(*b) as usize);
    length.is_some_and(|n| bytes.get(4..).and_then(|b| b.get(..n)) == Some(kind.as_bytes()) && bytes.len() > 4 + n)
}
