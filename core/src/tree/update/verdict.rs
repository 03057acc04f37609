//! What an update asks of the machine: nothing, some services to restart, or a reboot, and why. No I/O.
//!
//! ```text
//!  changed paths ──> rules: kernel, initramfs, libc, systemd, the bus, firmware, boot loader ──> reboot
//!       └── and processes that have them mapped ──> units of those processes ──> restart
//!       └── and unit files, drop-ins ──> reload, and restart of the unit where it runs
//! ```
//!
//! Only what is certain is said: what a service reads and closes (its configuration, scripts) nobody can see.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What has to happen for the update to be in effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Nothing.
    #[default]
    Nothing,
    /// Services or processes have to be restarted.
    Restart,
    /// The machine has to be rebooted.
    Reboot,
}

/// A reason for a reboot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Reason {
    /// `kernel`, `modules`, `initramfs`, `libc`, `systemd`, `bus`, `firmware`, `bootloader`.
    pub what: &'static str,
    /// In words.
    pub why: String,
    /// How many paths say so.
    pub count: u64,
    /// The first of them.
    pub path: String,
}

/// A unit to restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its name, such as `sshd.service`.
    pub unit: String,
    /// The changed paths that it uses, the first 20.
    pub paths: Vec<String>,
    /// Its processes that use them.
    pub pids: Vec<u32>,
}

/// A process that belongs to no service: of a session, or started by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Straggler {
    /// Its number.
    pub pid: u32,
    /// Its short name.
    pub name: String,
    /// The changed paths that it uses, the first 20.
    pub paths: Vec<String>,
}

/// What an update asks of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The most that is needed.
    pub need: Need,
    /// Why a reboot is needed.
    pub reasons: Vec<Reason>,
    /// What to restart, where a reboot is not taken.
    pub services: Vec<Service>,
    /// Whether systemd has to read its units again (`systemctl daemon-reload`) before.
    pub daemon_reload: bool,
    /// What else runs old files.
    pub processes: Vec<Straggler>,
    /// Whether processes run on the tree: else files alone say what would be.
    pub running: bool,
}

/// A process, as far as the verdict needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) name: String,
    /// The service that it belongs to.
    pub(super) unit: Option<String>,
    /// Files of the tree that it has mapped, by path in the tree: those that were replaced, or will be.
    pub(super) files: Vec<String>,
}

/// What is known when the verdict is given.
#[derive(Default)]
pub(super) struct Facts<'a> {
    /// Paths whose content changed, that came or went; printable, without leading slash.
    pub(super) changed: BTreeSet<String>,
    pub(super) processes: &'a [Process],
    /// The release of the kernel that runs on this tree.
    pub(super) kernel: Option<&'a str>,
    pub(super) running: bool,
    /// Whether the boot loader's configuration was kept although the image has another, or none.
    pub(super) loader_kept: bool,
}

const LISTED: usize = 20;

/// Gives the verdict.
pub(super) fn verdict(facts: &Facts<'_>) -> Verdict {
    let mut reasons: BTreeMap<&'static str, Reason> = BTreeMap::new();
    let mut note = |what: &'static str, why: String, path: &str| {
        let path = format!("/{path}");
        reasons.entry(what).and_modify(|r| r.count += 1).or_insert(Reason { what, why, count: 1, path });
    };
    for path in &facts.changed {
        if let Some((what, why)) = reboots(path, facts.kernel) {
            note(what, why.to_owned(), path);
            if what == "kernel" && facts.loader_kept {
                let why = "the boot loader's configuration is the node's own: make it anew before the reboot";
                note("bootloader", why.to_owned(), path);
            }
        }
    }
    let mut units: BTreeMap<String, (BTreeSet<String>, BTreeSet<u32>)> = BTreeMap::new();
    let mut processes = Vec::new();
    for p in facts.processes {
        let used: BTreeSet<String> = p.files.iter().filter(|f| facts.changed.contains(*f)).cloned().collect();
        let Some(first) = used.first() else { continue };
        if p.pid == 1 {
            note("systemd", "process 1 runs what was replaced".to_owned(), first);
            continue;
        }
        match &p.unit {
            Some(unit) => {
                if BUSES.contains(&unit.as_str()) {
                    note("bus", "the message bus runs what was replaced, and does not survive a restart".into(), first);
                }
                let (paths, pids) = units.entry(unit.clone()).or_default();
                paths.extend(used);
                pids.insert(p.pid);
            }
            None => processes.push(Straggler { pid: p.pid, name: p.name.clone(), paths: listed(used) }),
        }
    }
    let mut daemon_reload = false;
    for path in &facts.changed {
        let Some(name) = unit_of(path) else { continue };
        daemon_reload = true;
        let active = facts.processes.iter().filter(|p| p.unit.as_deref().is_some_and(|u| is_instance(u, name)));
        for p in active {
            let unit = p.unit.clone().unwrap_or_default();
            let (paths, pids) = units.entry(unit).or_default();
            paths.insert(path.clone());
            pids.insert(p.pid);
        }
    }
    let service = |(unit, (paths, pids)): (String, (BTreeSet<String>, BTreeSet<u32>))| Service {
        unit,
        paths: listed(paths),
        pids: pids.into_iter().collect(),
    };
    let services: Vec<_> = units.into_iter().map(service).collect();
    let reasons: Vec<_> = reasons.into_values().collect();
    // Of a tree that nobody runs on, units are read when it boots.
    let daemon_reload = daemon_reload && facts.running;
    let need = if !reasons.is_empty() {
        Need::Reboot
    } else if daemon_reload || !services.is_empty() || !processes.is_empty() {
        Need::Restart
    } else {
        Need::Nothing
    };
    Verdict { need, reasons, services, daemon_reload, processes, running: facts.running }
}

fn listed(paths: BTreeSet<String>) -> Vec<String> {
    paths.into_iter().take(LISTED).map(|p| format!("/{p}")).collect()
}

const BUSES: [&str; 2] = ["dbus.service", "dbus-broker.service"];

/// Why a change of this path needs a reboot, if it does.
fn reboots(path: &str, kernel: Option<&str>) -> Option<(&'static str, &'static str)> {
    if let Some(name) = path.strip_prefix("boot/") {
        let begins = |fronts: &[&str]| fronts.iter().any(|f| name.starts_with(f));
        return if name.contains("ucode") {
            Some(("firmware", "microcode is loaded at boot"))
        } else if begins(&["initrd", "initramfs"]) {
            Some(("initramfs", "the first stage of the boot changed"))
        } else if begins(&["vmlinuz", "vmlinux", "Image", "System.map"]) {
            Some(("kernel", "a kernel is loaded at boot"))
        } else if begins(&["grub/", "grub2/", "loader/", "efi/", "extlinux/"]) {
            Some(("bootloader", "the boot loader changed"))
        } else {
            None
        };
    }
    if matches!(path, "etc/default/grub" | "etc/kernel/cmdline") {
        return Some(("bootloader", "the boot loader's configuration changed"));
    }
    // The merged /usr, and the one that is not.
    let inner = path.strip_prefix("usr/").unwrap_or(path);
    if let Some(rest) = inner.strip_prefix("lib/modules/") {
        let (release, name) = rest.split_once('/')?;
        if matches!(name, "vmlinuz" | "initrd" | "initramfs.img") {
            return Some(("kernel", "a kernel is loaded at boot"));
        }
        // Those of a kernel that does not run are read when it does; of a tree that nobody runs on, any counts.
        let counts = kernel.is_none_or(|k| k == release);
        return counts.then_some(("modules", "modules of the kernel that runs changed"));
    }
    if inner.starts_with("lib/firmware/") {
        return Some(("firmware", "firmware is loaded at boot"));
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    let in_library = inner.starts_with("lib/") || inner.starts_with("lib64/") || inner.starts_with("lib32/");
    let libc = name.starts_with("libc.so.") || name.starts_with("ld-linux") || name.starts_with("ld-musl");
    let old_libc = name.starts_with("libc-2.") || name.starts_with("ld-2.");
    if in_library && (libc || old_libc) && inner.matches('/').count() <= 2 {
        return Some(("libc", "every process uses the C library"));
    }
    let systemd = inner.strip_prefix("lib/systemd/").or_else(|| inner.strip_prefix("lib64/systemd/"));
    if systemd.is_some_and(|n| n == "systemd" || n.starts_with("libsystemd-")) {
        return Some(("systemd", "process 1 changed"));
    }
    if matches!(inner, "bin/dbus-daemon" | "bin/dbus-broker" | "bin/dbus-broker-launch") {
        return Some(("bus", "the message bus does not survive a restart"));
    }
    None
}

/// The unit that a unit file or a drop-in of it is about.
fn unit_of(path: &str) -> Option<&str> {
    let inner = path.strip_prefix("usr/").unwrap_or(path);
    let rest = inner.strip_prefix("lib/systemd/system/").or_else(|| inner.strip_prefix("etc/systemd/system/"))?;
    let name = match rest.split_once('/') {
        None => rest,
        Some((dir, file)) if file.ends_with(".conf") => dir.strip_suffix(".d")?,
        Some(_) => return None,
    };
    let kinds = [".service", ".socket", ".timer", ".mount", ".automount", ".target", ".path", ".slice", ".swap"];
    kinds.iter().any(|k| name.ends_with(k)).then_some(name)
}

/// Whether a unit is the one of a file, or an instance of its template: `getty@tty1.service` of `getty@.service`.
fn is_instance(unit: &str, file: &str) -> bool {
    if unit == file {
        return true;
    }
    let (Some((a, b)), Some((c, d))) = (unit.split_once('@'), file.split_once('@')) else { return false };
    a == c && d.starts_with('.') && b.ends_with(d)
}

/// The service in the text of `/proc/PID/cgroup`.
pub(super) fn service_of(cgroup: &str) -> Option<String> {
    let line = |l: &str| {
        let mut fields = l.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        matches!(controllers, "" | "name=systemd").then(|| path.to_owned())
    };
    // Of a user's services the outermost, which is the user's manager, is nobody's to restart.
    let path = cgroup.lines().filter_map(line).find(|p| p.contains(".service"))?;
    if path.contains("/user.slice/") || path.starts_with("user.slice") {
        return None;
    }
    path.split('/').rev().find(|part| part.ends_with(".service")).map(unescape)
}

/// A control group whose name would clash with a file of the kernel has an underscore in front.
fn unescape(name: &str) -> String {
    name.strip_prefix('_').unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, unit: &str, files: &[&str]) -> Process {
        let unit = (!unit.is_empty()).then(|| unit.to_owned());
        Process { pid, name: format!("p{pid}"), unit, files: files.iter().map(|f| (*f).to_owned()).collect() }
    }

    fn given(changed: &[&str], processes: &[Process], kernel: Option<&str>) -> Verdict {
        let changed = changed.iter().map(|p| (*p).to_owned()).collect();
        verdict(&Facts { changed, processes, kernel, running: kernel.is_some(), loader_kept: false })
    }

    fn whats(v: &Verdict) -> Vec<&str> {
        v.reasons.iter().map(|r| r.what).collect()
    }

    #[test]
    fn files_that_nobody_uses_need_nothing() {
        let v = given(
            &["usr/share/doc/x", "usr/bin/vim", "etc/motd"],
            &[process(9, "a.service", &["usr/bin/a"])],
            Some("6"),
        );
        assert_eq!((v.need, v.services.len(), v.processes.len()), (Need::Nothing, 0, 0));
    }

    #[test]
    fn what_makes_a_reboot_is_told_with_its_reason() {
        for (path, what) in [
            ("boot/vmlinuz-6.1", "kernel"),
            ("usr/lib/modules/6.2/vmlinuz", "kernel"),
            ("boot/initrd.img-6.1", "initramfs"),
            ("lib/modules/6.1/kernel/a.ko", "modules"),
            ("usr/lib/x86_64-linux-gnu/libc.so.6", "libc"),
            ("lib64/ld-linux-x86-64.so.2", "libc"),
            ("usr/lib/systemd/systemd", "systemd"),
            ("usr/lib/systemd/libsystemd-shared-252.so", "systemd"),
            ("usr/bin/dbus-broker", "bus"),
            ("usr/lib/firmware/x.bin", "firmware"),
            ("boot/amd-ucode.img", "firmware"),
            ("boot/grub/grub.cfg", "bootloader"),
            ("etc/kernel/cmdline", "bootloader"),
        ] {
            let v = given(&[path], &[], Some("6.1"));
            assert_eq!((v.need, whats(&v)), (Need::Reboot, vec![what]), "{path}");
            assert_eq!(v.reasons[0].path, format!("/{path}"));
        }
        for path in
            ["lib/modules/6.0/kernel/a.ko", "opt/x/libc.so.6", "usr/lib/gcc/x86/12/libc.so.6", "usr/lib/systemd/x"]
        {
            assert_eq!(given(&[path], &[], Some("6.1")).need, Need::Nothing, "{path}");
        }
        // Nobody runs on it: any kernel may be the one that will.
        assert_eq!(whats(&given(&["lib/modules/6.0/kernel/a.ko"], &[], None)), ["modules"]);
    }

    #[test]
    fn services_are_those_of_the_processes_that_use_what_changed() {
        let processes = [
            process(1, "", &["usr/lib/libz.so.1"]),
            process(20, "sshd.service", &["usr/sbin/sshd", "usr/lib/libz.so.1"]),
            process(21, "sshd.service", &["usr/sbin/sshd"]),
            process(30, "cron.service", &["usr/sbin/cron"]),
            process(40, "", &["usr/lib/libz.so.1"]),
        ];
        let v = given(&["usr/sbin/sshd"], &processes, Some("6"));
        assert_eq!(v.need, Need::Restart);
        assert_eq!(
            v.services,
            [Service { unit: "sshd.service".into(), paths: vec!["/usr/sbin/sshd".into()], pids: vec![20, 21] }]
        );
        let v = given(&["usr/lib/libz.so.1"], &processes, Some("6"));
        assert_eq!((v.need, whats(&v)), (Need::Reboot, vec!["systemd"]));
        assert_eq!((v.services[0].pids.clone(), v.processes[0].pid), (vec![20], 40));
    }

    #[test]
    fn the_bus_is_not_restarted() {
        let v = given(&["usr/lib/libexpat.so.1"], &[process(5, "dbus.service", &["usr/lib/libexpat.so.1"])], Some("6"));
        assert_eq!((v.need, whats(&v)), (Need::Reboot, vec!["bus"]));
    }

    #[test]
    fn units_that_changed_are_reloaded_and_restarted_where_they_run() {
        let processes = [process(7, "getty@tty1.service", &["usr/sbin/agetty"]), process(8, "a.service", &[])];
        let v = given(&["usr/lib/systemd/system/getty@.service"], &processes, Some("6"));
        assert!(v.daemon_reload && v.services.len() == 1 && v.services[0].unit == "getty@tty1.service");
        let v = given(&["etc/systemd/system/a.service.d/10-x.conf"], &processes, Some("6"));
        assert!(v.daemon_reload && v.services[0].unit == "a.service");
        let v = given(&["usr/lib/systemd/system/other.timer"], &processes, Some("6"));
        assert_eq!((v.need, v.daemon_reload, v.services.len()), (Need::Restart, true, 0));
        assert_eq!(given(&["usr/lib/systemd/system/other.timer"], &[], None).need, Need::Nothing);
        assert_eq!(
            given(&["etc/systemd/system/multi-user.target.wants/a.service"], &processes, Some("6")).need,
            Need::Nothing
        );
    }

    #[test]
    fn a_new_kernel_beside_a_kept_configuration_is_told() {
        let changed = ["boot/vmlinuz-7".to_owned()].into();
        let v = verdict(&Facts { changed, loader_kept: true, ..Facts::default() });
        assert_eq!(whats(&v), ["bootloader", "kernel"]);
    }

    #[test]
    fn a_control_group_names_its_service() {
        for (text, unit) in [
            ("0::/system.slice/sshd.service\n", Some("sshd.service")),
            ("0::/system.slice/system-getty.slice/getty@tty1.service\n", Some("getty@tty1.service")),
            ("0::/system.slice/docker.service/child\n", Some("docker.service")),
            ("12:pids:/x.service\n1:name=systemd:/system.slice/a.service\n", Some("a.service")),
            ("0::/user.slice/user-0.slice/user@0.service/app.slice/x.service\n", None),
            ("0::/user.slice/user-0.slice/session-1.scope\n", None),
            ("0::/init.scope\n", None),
            ("0::/\n", None),
        ] {
            assert_eq!(service_of(text).as_deref(), unit, "{text}");
        }
    }
}
