//! What the system says of its network interfaces, and counts of what it threw away.
//!
//! It is asked through sockets and `/proc`, not `/sys`, which may show another network namespace than that of this process.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

/// `ETHTOOL_GSET` of linux/ethtool.h.
const ETHTOOL_GSET: u32 = 1;

/// An interface, as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Somebody switched it on.
    pub up: bool,
    /// There is somebody at the other end of its cable.
    pub carrier: bool,
    /// It takes multicast.
    pub multicast: bool,
    /// It is `lo`.
    pub loopback: bool,
    /// Its addresses, with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// What its card had no room for since it was there.
    pub missed: u32,
}

impl Link {
    /// Whether an address is of a network of this interface.
    #[must_use]
    pub fn is_near(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|(own, length)| match (own, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(*a).into(), u32::from(b).into(), 32 - (*length).min(32)),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(u128::from(*a), u128::from(b), 128 - (*length).min(128)),
            _ => false,
        })
    }
}

/// Whether two numbers are the same without their last bits.
fn same(a: u128, b: u128, bits: u8) -> bool {
    (a ^ b).checked_shr(bits.into()).unwrap_or(0) == 0
}

/// All interfaces.
///
/// # Errors
/// Of the system.
pub fn links() -> io::Result<Vec<Link>> {
    let mut first = std::ptr::null_mut();
    // SAFETY: the kernel's answer is put where `first` is, and freed below.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = BTreeMap::<String, Link>::new();
    let mut at = first;
    while !at.is_null() {
        // SAFETY: an entry of the list, which is there until it is freed; its name ends with a zero.
        let (entry, name) = unsafe { (&*at, CStr::from_ptr((*at).ifa_name).to_string_lossy()) };
        // An address may have a label, eth0:1.
        let name = name.split(':').next().unwrap_or_default().to_owned();
        let is = |flag: i32| entry.ifa_flags & flag as u32 != 0;
        let link = found.entry(name.clone()).or_insert_with(|| Link {
            name,
            up: is(libc::IFF_UP),
            carrier: is(libc::IFF_RUNNING),
            multicast: is(libc::IFF_MULTICAST),
            loopback: is(libc::IFF_LOOPBACK),
            ..Link::default()
        });
        // SAFETY: as above.
        unsafe { note(entry, link) };
        at = entry.ifa_next;
    }
    // SAFETY: the list that getifaddrs made, which nothing points into any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(found.into_values().collect())
}

/// Adds what an entry says: an address, or counts.
///
/// # Safety
/// The entry is one of getifaddrs that was not freed yet.
unsafe fn note(entry: &libc::ifaddrs, link: &mut Link) {
    if entry.ifa_addr.is_null() {
        return;
    }
    // SAFETY: addresses and masks have the form that their family says, and the data of a packet address are counts.
    unsafe {
        match i32::from((*entry.ifa_addr).sa_family) {
            libc::AF_INET if !entry.ifa_netmask.is_null() => {
                let of = |a: *mut libc::sockaddr| u32::from_be((*a.cast::<libc::sockaddr_in>()).sin_addr.s_addr);
                let length = of(entry.ifa_netmask).leading_ones() as u8;
                link.addresses.push((Ipv4Addr::from(of(entry.ifa_addr)).into(), length));
            }
            libc::AF_INET6 if !entry.ifa_netmask.is_null() => {
                let of =
                    |a: *mut libc::sockaddr| u128::from_be_bytes((*a.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr);
                let length = of(entry.ifa_netmask).leading_ones() as u8;
                link.addresses.push((Ipv6Addr::from(of(entry.ifa_addr)).into(), length));
            }
            // Of `struct rtnl_link_stats`, rx_missed_errors is the sixteenth number.
            libc::AF_PACKET if !entry.ifa_data.is_null() => {
                link.missed = entry.ifa_data.cast::<u32>().add(15).read_unaligned();
            }
            _ => {}
        }
    }
}

/// A request about an interface.
fn request(name: &str) -> libc::ifreq {
    // SAFETY: all of it is numbers, for which zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    let room = request.ifr_name.len() - 1;
    request.ifr_name[..room].iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from as _);
    request
}

/// Bytes of the largest packet that an interface takes.
///
/// # Errors
/// Of the system.
pub fn mtu(name: &str) -> io::Result<usize> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut request = request(name);
    // SAFETY: the descriptor is open while it is borrowed, and the request is one that this call fills in.
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCGIFMTU as _, &raw mut request) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has put a number there.
    Ok(usize::try_from(unsafe { request.ifr_ifru.ifru_mtu }).unwrap_or(0))
}

/// Megabits that the cable of an interface takes in a second; `None` when it does not say.
#[must_use]
pub fn speed(name: &str) -> Option<u32> {
    // `struct ethtool_cmd`, 44 bytes: the command first, the speed at 12 and its upper half at 28.
    let mut command = [0u32; 11];
    command[0] = ETHTOOL_GSET;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    let mut request = request(name);
    request.ifr_ifru.ifru_data = command.as_mut_ptr().cast();
    // SAFETY: the descriptor is open while it is borrowed; the request points to the 44 bytes that the command fills in.
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    let bytes: Vec<u8> = command.iter().flat_map(|w| w.to_ne_bytes()).collect();
    let half = |at: usize| u32::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]));
    let speed = half(28) << 16 | half(12);
    (done == 0 && speed > 0 && speed != u32::MAX && speed != u32::from(u16::MAX)).then_some(speed)
}

/// What the system counts and remembers below `/proc`.
#[derive(Clone, Copy, Debug)]
pub struct Counts<'p> {
    proc: &'p Path,
}

impl Default for Counts<'_> {
    fn default() -> Self {
        Self { proc: Path::new("/proc") }
    }
}

impl Counts<'_> {
    fn text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.proc.join(name)).ok()
    }

    /// How strictly the interface checks by which way an answer would go: 0 not, 1 strictly, 2 by any interface.
    #[must_use]
    pub fn rp_filter(&self, interface: &str) -> u8 {
        let of = |name: &str| self.text(&format!("sys/net/ipv4/conf/{name}/rp_filter"))?.trim().parse().ok();
        of("all").unwrap_or(0).max(of(interface).unwrap_or(0))
    }

    /// What that check threw away.
    #[must_use]
    pub fn reverse_path(&self) -> u64 {
        let text = self.text("net/netstat").unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let pairs = lines.chunks_exact(2).flat_map(|p| p[0].split(' ').zip(p[1].split(' ')));
        pairs.filter(|(name, _)| *name == "IPReversePathFilter").find_map(|(_, n)| n.parse().ok()).unwrap_or(0)
    }

    /// Packets that processors had no time for.
    #[must_use]
    pub fn late(&self) -> u64 {
        let text = self.text("net/softnet_stat").unwrap_or_default();
        text.lines().filter_map(|l| u64::from_str_radix(l.split_whitespace().nth(1)?, 16).ok()).sum()
    }

    /// Whether an interface is a member of a group; `None` when the system does not tell.
    #[must_use]
    pub fn is_member(&self, interface: &str, group: IpAddr) -> Option<bool> {
        match group {
            IpAddr::V4(group) => {
                let wanted = format!("{:08X}", u32::from_ne_bytes(group.octets()));
                let (text, mut of) = (self.text("net/igmp")?, "");
                Some(text.lines().skip(1).any(|line| {
                    let first = line.split_whitespace().next().unwrap_or_default();
                    if line.starts_with('\t') {
                        return of == interface && first == wanted;
                    }
                    of = line.split_whitespace().nth(1).unwrap_or_default().trim_end_matches(':');
                    false
                }))
            }
            IpAddr::V6(group) => {
                let wanted = format!("{:032x}", u128::from(group));
                let text = self.text("net/igmp6")?;
                Some(text.lines().any(|line| {
                    let mut words = line.split_whitespace().skip(1);
                    words.next() == Some(interface) && words.next() == Some(&wanted)
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known() {
        let lo = links().unwrap().into_iter().find(|l| l.loopback).unwrap();
        assert!(lo.name == "lo" && mtu("lo").unwrap() >= 1280 && mtu("nothing0").is_err());
        if lo.addresses.contains(&("127.0.0.1".parse().unwrap(), 8)) {
            assert!(lo.is_near("127.9.9.9".parse().unwrap()) && !lo.is_near("128.0.0.1".parse().unwrap()));
        }
        assert_eq!(speed("lo"), None);
    }

    #[test]
    fn neighbours_share_a_prefix() {
        let address = |a: &str| a.parse::<IpAddr>().unwrap();
        for (own, length, other, near) in [
            ("10.1.0.1", 24, "10.1.0.9", true),
            ("10.1.0.1", 24, "10.1.1.9", false),
            ("10.1.0.1", 0, "99.1.1.9", true),
            ("10.1.0.1", 32, "10.1.0.1", true),
            ("fd00::1", 64, "fd00::2", true),
            ("fd00::1", 64, "fd00:0:0:1::2", false),
            ("fd00::1", 64, "10.1.0.1", false),
        ] {
            let link = Link { addresses: vec![(address(own), length)], ..Link::default() };
            assert_eq!(link.is_near(address(other)), near, "{own}/{length} {other}");
        }
    }

    #[test]
    fn counts_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = dir.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        let counts = Counts { proc: dir.path() };
        assert_eq!((counts.rp_filter("eth0"), counts.reverse_path(), counts.late()), (0, 0, 0));
        let group = "239.192.67.86".parse::<IpAddr>().unwrap();
        assert_eq!(counts.is_member("eth0", group), None);
        write("sys/net/ipv4/conf/all/rp_filter", "0\n");
        write("sys/net/ipv4/conf/eth0/rp_filter", "1\n");
        write("net/netstat", "TcpExt: A IPReversePathFilter B\nTcpExt: 1 22 3\nIpExt: X\nIpExt: 5\n");
        write("net/softnet_stat", "00000001 0000000a 0\n00000001 00000001 0\n");
        let hex = |a: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(a));
        let line = |a| format!("\t\t\t\t{}     1 0:00000000\t\t0\n", hex(a));
        let (one, two) = (line([224, 0, 0, 1]), line([239, 192, 67, 86]));
        write(
            "net/igmp",
            &format!(
                "Idx\tDevice    : Count Querier\n1\tlo        :     1      V3\n{one}2\teth0      :     2      V3\n{one}{two}"
            ),
        );
        write("net/igmp6", "2    eth0            ff15000000000000000000004356004d     1 0000000C 0\n");
        assert_eq!((counts.rp_filter("eth0"), counts.reverse_path(), counts.late()), (1, 22, 11));
        assert_eq!([("eth0", true), ("lo", false)].map(|(i, m)| counts.is_member(i, group) == Some(m)), [true; 2]);
        let six = "ff15::4356:4d".parse().unwrap();
        assert_eq!((counts.is_member("eth0", six), counts.is_member("lo", six)), (Some(true), Some(false)));
    }
}
