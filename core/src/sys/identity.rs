//! Which process it is, so that others can tell later whether it still lives.

use serde::{Deserialize, Serialize};

/// What tells a process from all others that there ever were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The boot of the machine.
    pub boot: String,
    /// The number.
    pub id: u32,
    /// The namespace of the number: in another one it means another process.
    pub namespace: String,
    /// When it began, in ticks since the boot: numbers are used again.
    pub start: u64,
}

impl Identity {
    /// This process.
    #[must_use]
    pub fn own() -> Self {
        let id = std::process::id();
        Self { boot: boot(), id, namespace: namespace(), start: start(id).unwrap_or(0) }
    }

    /// Whether it certainly lives no more. Of a process elsewhere nobody can tell.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let here = !self.boot.is_empty() && self.boot == boot() && self.namespace == namespace();
        here && match look(self.id) {
            Seen::Gone => true,
            Seen::Began(start) => start != self.start,
            Seen::Hidden => false,
        }
    }
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid").map(|l| l.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What can be seen of a process.
enum Seen {
    Gone,
    Began(u64),
    /// It is there; `/proc` shows no more to this user (`hidepid`).
    Hidden,
}

fn look(id: u32) -> Seen {
    let there = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw);
    match there.map(rustix::process::test_kill_process) {
        None | Some(Err(rustix::io::Errno::SRCH)) => Seen::Gone,
        _ => stat(id).unwrap_or(Seen::Hidden),
    }
}

/// The 22nd field of `stat`; the second one, the name, may hold anything up to the last parenthesis.
fn stat(id: u32) -> Option<Seen> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let zombie = fields.next()? == "Z";
    // A zombie does nothing any more, unless only its first thread has ended.
    let threads = || std::fs::read_dir(format!("/proc/{id}/task")).map_or(1, Iterator::count);
    if zombie && threads() <= 1 { Some(Seen::Gone) } else { Some(Seen::Began(fields.nth(18)?.parse().ok()?)) }
}

fn start(id: u32) -> Option<u64> {
    match stat(id)? {
        Seen::Began(start) => Some(start),
        _ => None,
    }
}

/// The name of this machine, for people.
#[must_use]
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_live_and_the_dead_do_not() {
        let own = Identity::own();
        assert!(!own.has_ended() && own.start > 0);
        assert!(Identity { start: own.start + 1, ..own.clone() }.has_ended());
        assert!(!Identity { boot: "another".into(), start: 0, ..own.clone() }.has_ended());
        assert!(!Identity { namespace: "another".into(), start: 0, ..own.clone() }.has_ended());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Identity { id: child.id(), start: start(child.id()).unwrap(), ..own };
        assert!(!process.has_ended());
        child.kill().unwrap();
        // Nobody has waited for it yet.
        while !process.has_ended() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert!(process.has_ended());
    }
}
