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
        here && start(self.id) != Some(self.start)
    }
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid").map(|l| l.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The 22nd field of `stat`; the second one, the name, may hold anything up to the last parenthesis.
fn start(id: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    // A zombie does nothing any more.
    if fields.next()? == "Z" { None } else { fields.nth(18)?.parse().ok() }
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
