//! What makes a machine itself: host name, machine-id, passwords.

use super::ConfigError;
use super::action::{MachineId, PasswordHash, is_machine_id};
use super::draft::{Draft, Node};
use crate::error::Result;
use crate::sys::clock;

const HOSTNAME: &[u8] = b"/etc/hostname";
const HOSTS: &[u8] = b"/etc/hosts";
const MACHINE_ID: &[u8] = b"/etc/machine-id";
const DBUS_ID: &[u8] = b"/var/lib/dbus/machine-id";
const SHADOW: &[u8] = b"/etc/shadow";

/// Writes `/etc/hostname`, and the line of 127.0.1.1 in `/etc/hosts` where the distribution has one.
pub(super) fn hostname(draft: &mut Draft<'_>, name: &str) -> Result<()> {
    let (at, old) = draft.read(HOSTNAME)?;
    let old = old.as_deref().and_then(first_line).unwrap_or_default();
    if old == name.as_bytes() {
        draft.touch(&at);
    } else {
        draft.put_file(&at, format!("{name}\n").into_bytes(), None, (None, None))?;
    }
    let (at, hosts) = draft.read(HOSTS)?;
    let Some(hosts) = hosts else { return Ok(()) };
    let new = edit_hosts(&hosts, &old, name);
    if new == hosts {
        return Ok(());
    }
    draft.put_file(&at, new, None, (None, None))
}

/// The first line that is neither empty nor a comment.
fn first_line(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.split(|&c| c == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|l| !l.is_empty() && !l.starts_with(b"#")).map(<[u8]>::to_vec).next()
}

/// The names of the old host give way to those of the new one; other aliases stay.
fn edit_hosts(hosts: &[u8], old: &[u8], name: &str) -> Vec<u8> {
    let short = |n: &[u8]| n.split(|&c| c == b'.').next().unwrap_or_default().to_vec();
    let (old_short, new_short) = (short(old), short(name.as_bytes()));
    let mut fresh = vec![name.as_bytes().to_vec()];
    if new_short != name.as_bytes() {
        fresh.push(new_short.clone());
    }
    let mut out = Vec::new();
    for line in hosts.split_inclusive(|&c| c == b'\n') {
        let (data, comment) = line.iter().position(|&c| c == b'#').map_or((line, &b""[..]), |i| line.split_at(i));
        let mut words = data.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
        if words.next() != Some(b"127.0.1.1") {
            out.extend(line);
            continue;
        }
        let before: Vec<&[u8]> = words.collect();
        let stale = |w: &[u8]| old.is_empty() || [&old_short, &new_short].contains(&&short(w));
        let mut names = fresh.clone();
        names.extend(before.iter().filter(|w| !stale(w)).map(|w| w.to_vec()));
        if names == before {
            out.extend(line);
            continue;
        }
        out.extend(b"127.0.1.1\t");
        out.extend(names.join(&b' '));
        if !comment.is_empty() {
            out.push(b' ');
        }
        out.extend(if comment.is_empty() { b"\n" } else { comment });
    }
    out
}

/// Writes `/etc/machine-id`; a copy that D-Bus keeps becomes a link to it.
pub(super) fn machine_id(draft: &mut Draft<'_>, id: &MachineId) -> Result<()> {
    let (at, old) = draft.read(MACHINE_ID)?;
    let valid = old.as_deref().is_some_and(|o| is_machine_id(o.trim_ascii()));
    let new = match id {
        MachineId::Empty => Vec::new(),
        MachineId::Given(id) => format!("{id}\n").into_bytes(),
        MachineId::Ensure if valid => old.clone().unwrap_or_default(),
        MachineId::Ensure | MachineId::Fresh => format!("{}\n", random_id()).into_bytes(),
    };
    let mode = if old.is_none() { Some(0o444) } else { None };
    draft.put_file(&at, new, mode, (None, None))?;
    let dbus = draft.resolve(DBUS_ID, false)?;
    if matches!(draft.node(&dbus)?, Node::File(_)) {
        draft.put_link(&dbus, MACHINE_ID)?;
    }
    Ok(())
}

/// As systemd makes them: a version 4 UUID without hyphens.
fn random_id() -> String {
    let (a, b) = (clock::random_u64(), clock::random_u64());
    let a = a & !0xf000 | 0x4000;
    let b = b & !(3 << 62) | (2 << 62);
    format!("{a:016x}{b:016x}")
}

/// Sets the hash of a user in `/etc/shadow`; every other field and line keeps its bytes.
pub(super) fn password(draft: &mut Draft<'_>, p: &PasswordHash) -> Result<()> {
    let missing = || ConfigError::Missing { what: "user", name: p.user.clone() };
    let (at, shadow) = draft.read(SHADOW)?;
    let shadow = shadow.ok_or_else(missing)?;
    let mut out = Vec::with_capacity(shadow.len() + 128);
    let mut found = false;
    for line in shadow.split_inclusive(|&c| c == b'\n') {
        let mut fields = line.splitn(3, |&c| c == b':');
        match (fields.next(), fields.next(), fields.next()) {
            (Some(user), Some(_), Some(rest)) if !found && user == p.user.as_bytes() => {
                found = true;
                out.extend([user, b":", p.hash.expose().as_bytes(), b":", rest].concat());
            }
            _ => out.extend(line),
        }
    }
    if !found {
        return Err(missing().into());
    }
    draft.put_file(&at, out, None, (None, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str, old: &str, new: &str) -> String {
        let once = edit_hosts(text.as_bytes(), old.as_bytes(), new);
        assert_eq!(edit_hosts(&once, new.as_bytes(), new), once);
        String::from_utf8(once).unwrap()
    }

    #[test]
    fn only_the_line_of_the_host_changes() {
        let debian = "127.0.0.1 localhost\n127.0.1.1\told.example.org old db # mine\n::1 localhost\n";
        assert_eq!(
            hosts(debian, "old", "n1.cluster"),
            "127.0.0.1 localhost\n127.0.1.1\tn1.cluster n1 db # mine\n::1 localhost\n"
        );
        assert_eq!(hosts("127.0.1.1 x y\n", "", "n1"), "127.0.1.1\tn1\n");
        let el = "127.0.0.1 localhost localhost.localdomain\n";
        assert_eq!(hosts(el, "old", "n1"), el);
        assert_eq!(hosts("127.0.1.1 a", "a", "b"), "127.0.1.1\tb\n");
    }

    #[test]
    fn a_machine_id_is_valid() {
        assert!(is_machine_id(random_id().as_bytes()));
        assert_eq!(&random_id()[12..13], "4");
    }
}
