//! Users of a role in `/etc/passwd`, `group`, `shadow` and `gshadow`: text in, text out, the same each time.
//!
//! The tools of the root are not asked: a small root has none, and each writes the day on which it ran.

use super::{Configuration, Tree};
use crate::config::{Action, Content, WriteFile};
use crate::error::{Error, ErrorKind, Result};
use crate::role::spec::User;

const DAY: i64 = 86_400;
/// Numbers of people, and those of services, which are given from the top.
const PEOPLE: std::ops::Range<u32> = 1000..60_000;
const SERVICES: std::ops::Range<u32> = 201..1000;
const SHELL: &str = "/bin/bash";

/// What becomes of the accounts.
pub(super) struct Accounts {
    pub(super) actions: Vec<Action>,
    pub(super) homes: Vec<Home>,
}

/// What lies in the home directory of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) path: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether the directory is made where there is none.
    pub(super) make: bool,
    pub(super) keys: Vec<String>,
}

pub(super) fn plan(tree: &Tree, what: &Configuration<'_>) -> Result<Accounts> {
    let users = &what.part.users;
    if users.is_empty() {
        return Ok(Accounts { actions: Vec::new(), homes: Vec::new() });
    }
    let mut files = Files::read(tree)?;
    let day = what.epoch.max(0) / DAY;
    let homes = users.iter().map(|u| files.user(u, day)).collect::<Result<_>>()?;
    Ok(Accounts { actions: files.actions(), homes })
}

/// A file of lines with fields between colons. Lines that are not changed keep their bytes.
struct Table {
    path: &'static str,
    mode: u32,
    lines: Vec<String>,
    there: bool,
    changed: bool,
}

impl Table {
    fn read(tree: &Tree, path: &'static str, mode: u32) -> Result<Self> {
        let text = tree.text(path)?;
        let lines = text.iter().flat_map(|t| t.lines()).map(str::to_owned).collect();
        Ok(Self { path, mode, lines, there: text.is_some(), changed: false })
    }

    fn fields(&self, name: &str) -> Option<Vec<&str>> {
        let line = self.lines.iter().find(|l| l.split(':').next() == Some(name))?;
        Some(line.split(':').collect())
    }

    /// The number in a field of every line.
    fn numbers(&self, field: usize) -> impl Iterator<Item = (u32, &str)> {
        self.lines.iter().filter_map(move |l| {
            let mut fields = l.split(':');
            let name = fields.next()?;
            Some((fields.nth(field - 1)?.parse().ok()?, name))
        })
    }

    fn owner_of(&self, field: usize, number: u32) -> Option<&str> {
        self.numbers(field).find(|(n, _)| *n == number).map(|(_, name)| name)
    }

    fn put(&mut self, line: String) {
        let name = line.split(':').next().unwrap_or_default();
        match self.lines.iter_mut().find(|l| l.split(':').next() == Some(name)) {
            Some(old) if *old == line => return,
            Some(old) => *old = line,
            None => self.lines.push(line),
        }
        self.changed = true;
    }

    /// Adds a member to the list in the last field.
    fn join(&mut self, group: &str, user: &str) -> bool {
        let Some(fields) = self.fields(group) else { return false };
        let mut fields: Vec<String> = fields.into_iter().map(str::to_owned).collect();
        let Some(members) = fields.get_mut(3) else { return false };
        if members.split(',').any(|m| m == user) {
            return true;
        }
        *members = if members.is_empty() { user.to_owned() } else { format!("{members},{user}") };
        self.put(fields.join(":"));
        true
    }

    fn action(&self) -> Option<Action> {
        let text = self.lines.iter().fold(String::new(), |text, line| text + line + "\n");
        // One that is there keeps its mode and owner.
        let (mode, owner) = if self.there { (None, None) } else { (Some(self.mode), Some(0)) };
        let content = Content::from(text.into_bytes());
        let file = WriteFile { path: format!("/{}", self.path), content, mode, uid: owner, gid: owner };
        self.changed.then_some(Action::WriteFile(file))
    }
}

struct Files {
    passwd: Table,
    group: Table,
    shadow: Table,
    gshadow: Table,
}

impl Files {
    fn read(tree: &Tree) -> Result<Self> {
        Ok(Self {
            passwd: Table::read(tree, "etc/passwd", 0o644)?,
            group: Table::read(tree, "etc/group", 0o644)?,
            shadow: Table::read(tree, "etc/shadow", 0)?,
            gshadow: Table::read(tree, "etc/gshadow", 0)?,
        })
    }

    fn actions(&self) -> Vec<Action> {
        // Group files first: what passwd names is there.
        [&self.group, &self.gshadow, &self.passwd, &self.shadow].into_iter().filter_map(Table::action).collect()
    }

    fn user(&mut self, user: &User, day: i64) -> Result<Home> {
        let old = self.passwd.fields(&user.name).map(|f| f.into_iter().map(str::to_owned).collect::<Vec<_>>());
        let home = match &old {
            Some(fields) if fields.len() == 7 => self.change(user, fields.clone())?,
            Some(_) => {
                return Err(Error::invalid(format!("the line of {} in /etc/passwd has not seven fields", user.name)));
            }
            None => self.add(user, day)?,
        };
        for group in &user.groups {
            if !self.group.join(group, &user.name) {
                return Err(Error::not_found(format!("there is no group {group} for the user {}", user.name))
                    .hint("groups come with packages"));
            }
            self.gshadow.join(group, &user.name);
        }
        Ok(Home { keys: user.keys.clone(), ..home })
    }

    /// A user that packages made, or an earlier version.
    fn change(&mut self, user: &User, mut fields: Vec<String>) -> Result<Home> {
        let number = |text: &str| text.parse::<u32>().ok();
        for (wanted, field, what) in [(user.uid, 2, "number"), (user.gid, 3, "group")] {
            if wanted.is_some_and(|n| Some(n) != number(&fields[field])) {
                let text = format!("the user {} is there with the {what} {}", user.name, fields[field]);
                return Err(Error::new(ErrorKind::Conflict, text).fact("user", user.name.as_str()));
            }
        }
        for (wanted, field) in [(&user.comment, 4), (&user.home, 5), (&user.shell, 6)] {
            wanted.iter().for_each(|text| fields[field].clone_from(text));
        }
        let bad = || Error::invalid(format!("the line of {} in /etc/passwd has no numbers", user.name));
        let (uid, gid) = number(&fields[2]).zip(number(&fields[3])).ok_or_else(bad)?;
        let (path, make) = (fields[5].clone(), !user.keys.is_empty());
        self.passwd.put(fields.join(":"));
        Ok(Home { path, uid, gid, make, keys: Vec::new() })
    }

    fn add(&mut self, user: &User, day: i64) -> Result<Home> {
        let name = user.name.as_str();
        let uid = match user.uid {
            Some(uid) => match self.passwd.owner_of(2, uid) {
                Some(other) => return Err(taken("user", uid, other)),
                None => uid,
            },
            None => self.free(user)?,
        };
        let gid = match (user.gid, self.group.fields(name).and_then(|f| f.get(2)?.parse().ok())) {
            (Some(gid), Some(own)) if gid != own => {
                let text = format!("the group {name} is there with the number {own}");
                return Err(Error::new(ErrorKind::Conflict, text).fact("group", name));
            }
            (_, Some(own)) => own,
            // The group of that number, whatever its name, is the user's.
            (Some(gid), None) if self.group.owner_of(2, gid).is_some() => gid,
            (wanted, None) => {
                let gid = wanted.unwrap_or(uid);
                if let Some(other) = self.group.owner_of(2, gid) {
                    return Err(taken("group", gid, other));
                }
                self.group.put(format!("{name}:x:{gid}:"));
                if self.gshadow.there {
                    self.gshadow.put(format!("{name}:!::"));
                }
                gid
            }
        };
        let home = user.home.clone().unwrap_or_else(|| format!("/home/{name}"));
        let shell = user.shell.as_deref().unwrap_or(SHELL);
        self.passwd.put(format!("{name}:x:{uid}:{gid}:{}:{home}:{shell}", user.comment.as_deref().unwrap_or("")));
        // No password, and not locked either: sshd would refuse keys of a locked account.
        self.shadow.put(format!("{name}:*:{day}:0:99999:7:::"));
        Ok(Home { path: home, uid, gid, make: !user.system || !user.keys.is_empty(), keys: Vec::new() })
    }

    /// A number that neither a user nor a group has.
    fn free(&self, user: &User) -> Result<u32> {
        let free = |n: &u32| self.passwd.owner_of(2, *n).is_none() && self.group.owner_of(2, *n).is_none();
        let found = if user.system { SERVICES.rev().find(free) } else { PEOPLE.into_iter().find(free) };
        found.ok_or_else(|| Error::limit(format!("there is no number left for the user {}", user.name)))
    }
}

fn taken(what: &'static str, number: u32, other: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("the {what} {other} has the number {number} already"))
        .fact(what, other)
        .fact("number", number)
}

/// The number of a user or group by name, in the file of the root.
pub(super) fn number(tree: &Tree, path: &'static str, name: &str) -> Result<Option<u32>> {
    let table = Table::read(tree, path, 0)?;
    Ok(table.fields(name).and_then(|f| f.get(2)?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(path: &'static str, text: &str) -> Table {
        Table { path, mode: 0o644, lines: text.lines().map(str::to_owned).collect(), there: true, changed: false }
    }

    fn files() -> Files {
        Files {
            passwd: table(
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\nchrony:x:999:999::/:/sbin/nologin\nold:x:1000:1000::/home/old:/bin/sh",
            ),
            group: table("etc/group", "root:x:0:\nwheel:x:10:old\nchrony:x:999:\nold:x:1000:\nusers:x:100:"),
            shadow: table("etc/shadow", "root:*:19000:0:99999:7:::"),
            gshadow: table("etc/gshadow", "root:::\nwheel:::old"),
        }
    }

    fn user(name: &str) -> User {
        User { name: name.into(), ..User::default() }
    }

    fn text(t: &Table) -> String {
        t.lines.join("\n")
    }

    #[test]
    fn new_users_get_the_next_numbers_and_a_group() {
        let mut f = files();
        let ann = User { groups: vec!["wheel".into()], keys: vec!["k".into()], ..user("ann") };
        let home = f.user(&ann, 19_844).unwrap();
        assert_eq!((home.path.as_str(), home.uid, home.gid, home.make), ("/home/ann", 1001, 1001, true));
        let service =
            User { system: true, home: Some("/var/lib/x".into()), shell: Some("/sbin/nologin".into()), ..user("x") };
        let home = f.user(&service, 19_844).unwrap();
        assert_eq!((home.uid, home.make), (998, false));
        f.user(&User { gid: Some(100), uid: Some(5000), ..user("bob") }, 19_844).unwrap();
        insta::assert_snapshot!([&f.passwd, &f.group, &f.shadow, &f.gshadow].map(text).join("\n--\n"));
        // Once more changes nothing.
        let before = text(&f.passwd) + &text(&f.group);
        f.user(&ann, 20_000).unwrap();
        assert_eq!(text(&f.passwd) + &text(&f.group), before);
    }

    #[test]
    fn users_that_are_there_get_keys_and_what_is_said() {
        let mut f = files();
        let root = User { keys: vec!["k".into()], shell: Some("/bin/bash".into()), ..user("root") };
        let home = f.user(&root, 1).unwrap();
        assert_eq!((home.path.as_str(), home.uid, home.keys.len()), ("/root", 0, 1));
        assert!(text(&f.passwd).starts_with("root:x:0:0:root:/root:/bin/bash\n"));
        assert!(!f.shadow.changed && !f.group.changed);
    }

    #[test]
    fn numbers_that_are_taken_and_groups_that_are_not_there_are_told() {
        let cases = [
            (User { uid: Some(999), ..user("a") }, ErrorKind::Conflict, "chrony"),
            (User { uid: Some(7), ..user("old") }, ErrorKind::Conflict, "1000"),
            (User { gid: Some(7), ..user("chrony") }, ErrorKind::Conflict, "999"),
            (User { gid: Some(7), ..user("wheel") }, ErrorKind::Conflict, "10"),
            (User { groups: vec!["nope".into()], ..user("a") }, ErrorKind::NotFound, "nope"),
        ];
        for (user, kind, text) in cases {
            let e = files().user(&user, 1).unwrap_err();
            assert!(e.kind() == kind && e.message().contains(text), "{e}");
        }
    }
}
