//! What programs in the root may do although they run as root.

/// Capabilities that dnf, rpm and scriptlets need, by number. That of `mknod` makes nodes which nobody there can open: all that
/// can be written is mounted without devices.
const KEPT: [(&str, u32); 11] = [
    ("chown", 0),
    ("dac_override", 1),
    ("fowner", 3),
    ("fsetid", 4),
    ("kill", 5),
    ("setgid", 6),
    ("setuid", 7),
    ("setpcap", 8),
    ("sys_chroot", 18),
    ("mknod", 27),
    ("setfcap", 31),
];

/// A bit for each.
pub(super) fn kept() -> u64 {
    KEPT.iter().fold(0, |set, (_, number)| set | 1 << number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_not_the_administration_of_the_system() {
        let (admin, net_admin, module, ptrace, immutable) = (21, 12, 16, 19, 9);
        assert_eq!(kept(), 0x8804_01fb);
        [admin, net_admin, module, ptrace, immutable].iter().for_each(|n| assert_eq!(kept() >> n & 1, 0));
    }
}
