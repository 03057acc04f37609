//! What a capture leaves out or generalises, and why: the table.
//!
//! Patterns are gitignore's. A rule decides for an entry and everything beneath it; `/proc/*` leaves the content out
//! and keeps the directory.

pub use crate::image::rules::DROPPED_XATTRS;

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The entry is not in the image.
    Leave,
    /// A regular file becomes an empty one of the same owner and mode; anything else is left as it is.
    Empty,
    /// As `Leave`, but only for regular files: a link of that name says something and stays.
    LeaveFile,
    /// As `LeaveFile`, and only what is called `core.` and a number: in /usr and /opt it would be a manual page or a
    /// script.
    CoreDump,
    /// It stays, and the report says so.
    Report,
}

/// One rule.
pub struct Rule {
    /// gitignore pattern.
    pub pattern: &'static str,
    /// What it does.
    pub effect: Effect,
    /// Why, for the report.
    pub why: &'static str,
    /// Whether `--exact` switches it off, too. Only content that belongs to the kernel is left out even then.
    pub unless_exact: bool,
}

const fn rule(pattern: &'static str, effect: Effect, why: &'static str) -> Rule {
    Rule { pattern, effect, why, unless_exact: true }
}

use Effect::{CoreDump, Empty, Leave, LeaveFile, Report};

/// The rules, the first that fits deciding.
pub const RULES: &[Rule] = &[
    // Content that is made anew at every boot.
    rule("/proc/*", Leave, "kernel filesystem"),
    rule("/sys/*", Leave, "kernel filesystem"),
    rule("/dev/*", Leave, "device nodes are made at boot"),
    rule("/run/*", Leave, "runtime state"),
    rule("/tmp/*", Leave, "temporary files"),
    rule("/var/tmp/*", Leave, "temporary files"),
    // What a package manager fetches again.
    rule("/var/cache/apt/archives/*.deb", Leave, "package cache"),
    rule("/var/cache/apt/*.bin", Leave, "package cache"),
    rule("/var/lib/apt/lists/*", Leave, "package cache"),
    rule("/var/cache/dnf/*", Leave, "package cache"),
    rule("/var/cache/yum/*", Leave, "package cache"),
    rule("/var/cache/PackageKit/*", Leave, "package cache"),
    rule("/var/lib/rpm/.rpm.lock", Leave, "lock of the package manager"),
    rule("/var/lib/rpm/__db.*", Leave, "lock of the package manager"),
    rule("/usr/lib/sysimage/rpm/.rpm.lock", Leave, "lock of the package manager"),
    // Dumps and swap.
    rule("/var/lib/systemd/coredump/*", Leave, "core dump"),
    rule("/var/crash/*", Leave, "core dump"),
    rule("/core.[0-9]*", CoreDump, "core dump"),
    rule("/root/**/core.[0-9]*", CoreDump, "core dump"),
    rule("/home/**/core.[0-9]*", CoreDump, "core dump"),
    rule("/var/**/core.[0-9]*", CoreDump, "core dump"),
    rule("/swapfile", LeaveFile, "swap file"),
    rule("/swap.img", LeaveFile, "swap file"),
    // What interrupted work of ours left; about another root it says nothing.
    Rule { unless_exact: false, ..rule("/.libcv-extracting", LeaveFile, "a note of libcv") },
    Rule { unless_exact: false, ..rule("/.libcv-updating*", LeaveFile, "a note of libcv") },
    rule("/.cv-config.journal*", Leave, "left by an interrupted configuration"),
    rule(".cv-????????????????-*", LeaveFile, "left by an interrupted configuration"),
    // The identity of the machine.
    rule("/etc/machine-id", Empty, "identity of the machine: made anew at first boot"),
    rule("/var/lib/dbus/machine-id", LeaveFile, "identity of the machine"),
    rule("/etc/ssh/ssh_host_*_key", Leave, "host key: made anew at first boot"),
    rule("/etc/ssh/ssh_host_*_key.pub", Leave, "host key: made anew at first boot"),
    rule("/var/lib/systemd/random-seed", Leave, "seed of the random generator"),
    rule("/var/lib/systemd/credential.secret", Leave, "secret of the machine"),
    rule("/var/lib/systemd/timers/stamp-*", Leave, "state of timers"),
    rule("/etc/udev/rules.d/*-persistent-net.rules", Leave, "names bound to network cards"),
    rule("/var/lib/NetworkManager/*.lease", Leave, "DHCP lease"),
    rule("/var/lib/NetworkManager/secret_key", Leave, "secret of the machine"),
    rule("/var/lib/NetworkManager/timestamps", Leave, "state of the network"),
    rule("/var/lib/dhclient/*", Leave, "DHCP lease"),
    rule("/var/lib/dhcp/*", Leave, "DHCP lease"),
    rule("/var/lib/dhcpcd/*", Leave, "DHCP lease"),
    rule("/etc/iscsi/initiatorname.iscsi", Leave, "identity of the machine"),
    rule("/etc/nvme/hostid", Leave, "identity of the machine"),
    rule("/etc/nvme/hostnqn", Leave, "identity of the machine"),
    rule("/etc/multipath/bindings", Leave, "names bound to disks"),
    rule("/etc/multipath/wwids", Leave, "names bound to disks"),
    rule("/etc/lvm/archive/*", Leave, "state bound to disks"),
    rule("/etc/lvm/backup/*", Leave, "state bound to disks"),
    rule("/etc/lvm/cache/*", Leave, "state bound to disks"),
    rule("/etc/lvm/devices/*", Leave, "state bound to disks"),
    rule("/etc/adjtime", Leave, "drift of the hardware clock"),
    rule("/var/lib/cloud/instances/*", Leave, "state of cloud-init"),
    rule("/var/lib/cloud/instance", Leave, "state of cloud-init"),
    rule("/var/lib/cloud/data/*", Leave, "state of cloud-init"),
    rule("/var/lib/cloud/sem/*", Leave, "state of cloud-init"),
    // Whoever has it is this node to its server.
    Rule { unless_exact: false, ..rule("/etc/libcv/secret", Leave, "secret of the node") },
    Rule { unless_exact: false, ..rule("/etc/libcv/*.key", Leave, "key of the node") },
    Rule { unless_exact: false, ..rule("/var/lib/libcv/*", Leave, "state and keys of libcv on this machine") },
    // What happened on the machine.
    rule("/var/log/journal/*", Leave, "log"),
    rule("/var/log/**", Empty, "log: emptied"),
    rule("/var/spool/mail/*", Leave, "mail"),
    rule("/var/mail/*", Leave, "mail"),
    rule("/var/spool/at/[a-z0-9]*", LeaveFile, "queued job"),
    rule("/var/spool/cron/lastrun/*", Leave, "state of cron"),
    rule("/root/.bash_history", Leave, "shell history"),
    rule("/home/*/.bash_history", Leave, "shell history"),
    rule("/root/.zsh_history", Leave, "shell history"),
    rule("/home/*/.zsh_history", Leave, "shell history"),
    rule("/root/.python_history", Leave, "shell history"),
    rule("/home/*/.python_history", Leave, "shell history"),
    rule("/root/.lesshst", Leave, "shell history"),
    // The identity of the cluster, not of the machine.
    rule("/etc/munge/munge.key", Report, "kept: the key of the cluster; whoever has the image has it"),
];
