//! What of a fresh installation is of the machine or the moment, by place.

/// What happens with what a row finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It goes, with all that is in it.
    Remove,
    /// It stays, without content.
    Truncate,
}

/// Unless the role brings them.
pub(super) const HOSTNAME: &str = "etc/hostname";
pub(super) const RESOLVER: &str = "etc/resolv.conf";

/// Directory, pattern of names in it (`*` and `?`), what is done. Directories that are not there are none.
pub(super) const TABLE: &[(&str, &str, What)] = &[
    // Keys and seeds: two machines must not have the same.
    ("etc/ssh", "ssh_host_*_key", What::Remove),
    ("etc/ssh", "ssh_host_*_key.pub", What::Remove),
    ("var/lib/systemd", "random-seed", What::Remove),
    ("var/lib/systemd", "credential.secret", What::Remove),
    ("var/lib", "random-seed", What::Remove),
    ("var/lib/NetworkManager", "*", What::Remove),
    ("etc/udev/rules.d", "70-persistent-*", What::Remove),
    ("etc/nvme", "hostnqn", What::Remove),
    ("etc/nvme", "hostid", What::Remove),
    // What the programs that installed it left: times, command lines, copies, locks.
    ("var/lib/dnf", "history.sqlite*", What::Remove),
    ("var/lib/yum", "history", What::Remove),
    ("var/cache/dnf", "*", What::Remove),
    ("var/cache/yum", "*", What::Remove),
    ("var/cache/libdnf5", "*", What::Remove),
    ("var/log", "dnf*", What::Remove),
    ("var/log", "hawkey*", What::Remove),
    ("var/lib/rpm", ".rpm.lock", What::Remove),
    ("var/lib/rpm", "__db*", What::Remove),
    ("usr/lib/sysimage/rpm", ".rpm.lock", What::Remove),
    ("var/cache/apt", "*.bin", What::Remove),
    ("var/cache/apt/archives", "*.deb", What::Remove),
    ("var/cache/apt/archives", "lock", What::Remove),
    ("var/lib/apt/lists", "*", What::Remove),
    ("var/cache/debconf", "*-old", What::Remove),
    ("var/lib/dpkg", "*-old", What::Remove),
    ("var/lib/dpkg", "lock*", What::Remove),
    ("var/cache/ldconfig", "aux-cache", What::Remove),
    ("etc", ".pwd.lock", What::Remove),
    ("etc", "passwd-", What::Remove),
    ("etc", "group-", What::Remove),
    ("etc", "shadow-", What::Remove),
    ("etc", "gshadow-", What::Remove),
    ("etc", "subuid-", What::Remove),
    ("etc", "subgid-", What::Remove),
    ("root", ".bash_history", What::Remove),
    ("root", ".viminfo", What::Remove),
    // Journals are directories named after the machine.
    ("var/log/journal", "*", What::Remove),
    ("run", "*", What::Remove),
    ("tmp", "*", What::Remove),
    ("var/tmp", "*", What::Remove),
];
