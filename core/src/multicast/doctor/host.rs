//! This host: its interface, and what it can see of the network without being asked.

use super::packet::{self, Packet};
use crate::finding::{Finding, Verdict};
use crate::sys::link::{Counts, Link, links, speed};
use crate::sys::tap::Tap;
use crate::sys::udp::Interface;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How often counts of the system are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Packets of the card for one look.
const PACKETS: usize = 256;
/// Those who ask for members, at most: one does, and a few more may before that is settled.
const QUERIERS: usize = 16;

/// What is watched while datagrams come.
pub(super) struct Watch {
    name: String,
    group: SocketAddr,
    tap: Option<Tap>,
    began: Instant,
    looked: Instant,
    /// What the system had thrown away when it was looked last.
    late: u64,
    reverse: (u64, u64),
    joined: bool,
    /// Who asks for members, and how.
    queriers: BTreeMap<IpAddr, u8>,
    /// Datagrams of the control group and of the data group that the card showed.
    pub(super) card: [u32; 2],
    /// The membership was there, and is not any more.
    pub(super) forgotten: bool,
}

impl Watch {
    pub(super) fn new(interface: &Interface, group: SocketAddr) -> Self {
        let (now, counts) = (Instant::now(), Counts::default());
        let mut watch = Self {
            name: interface.name().to_owned(),
            group,
            tap: Tap::open(interface, group.is_ipv6(), group.port()).ok(),
            began: now,
            looked: now,
            late: 0,
            reverse: (counts.reverse_path(), 0),
            joined: false,
            queriers: BTreeMap::new(),
            card: [0, 0],
            forgotten: false,
        };
        watch.late = watch.lost();
        watch
    }

    /// Whether it sees what arrives at the card.
    pub(super) fn looks(&self) -> bool {
        self.tap.is_some()
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    pub(super) fn seconds(&self) -> u16 {
        u16::try_from(self.began.elapsed().as_secs()).unwrap_or(u16::MAX)
    }

    /// Packets that were thrown away for the way by which an answer would go.
    pub(super) fn reverse(&self) -> u32 {
        u32::try_from(self.reverse.1.saturating_sub(self.reverse.0)).unwrap_or(u32::MAX)
    }

    pub(super) fn has_querier(&self) -> bool {
        !self.queriers.is_empty()
    }

    /// Who asks, in words.
    pub(super) fn queriers(&self) -> String {
        let what = if self.group.is_ipv6() { "MLD" } else { "IGMP" };
        let mut out = String::new();
        for (who, version) in &self.queriers {
            let _ = write!(out, "{}{who} ({what} version {version})", if out.is_empty() { "" } else { ", " });
        }
        out
    }

    /// Looks at the card; sometimes at the counts of the system too, and then says how much it had no time for since the last time.
    pub(super) fn look(&mut self, now: Instant) -> u32 {
        for _ in 0..PACKETS {
            let Some(read) = self.tap.as_mut().and_then(|t| t.packet().map(packet::read)) else { break };
            match read {
                Some(Packet::Query(who, version)) if self.queriers.len() < QUERIERS => {
                    self.queriers.insert(who, version);
                }
                // The data group is one of those after the control group.
                Some(Packet::Probe(to)) if to.ip().is_multicast() => {
                    if to == self.group {
                        self.card[0] = self.card[0].saturating_add(1);
                    } else if to.port() == self.group.port().wrapping_add(1) {
                        self.card[1] = self.card[1].saturating_add(1);
                    }
                }
                _ => {}
            }
        }
        if now < self.looked + LOOK {
            return 0;
        }
        self.looked = now;
        let counts = Counts::default();
        self.reverse.1 = counts.reverse_path();
        if let Some(member) = counts.is_member(&self.name, self.group.ip()) {
            self.forgotten |= self.joined && !member;
            self.joined |= member;
        }
        let late = self.lost();
        let more = late.saturating_sub(self.late);
        self.late = late;
        u32::try_from(more).unwrap_or(u32::MAX)
    }

    fn lost(&self) -> u64 {
        let missed = link(&self.name).map_or(0, |l| l.missed);
        Counts::default().late() + u64::from(missed)
    }
}

/// An interface, as it is now.
pub(super) fn link(name: &str) -> Option<Link> {
    links().ok()?.into_iter().find(|l| l.name == name)
}

/// The other interfaces that take multicast.
pub(super) fn others(named: &Interface) -> Vec<Interface> {
    let all = links().unwrap_or_default();
    let others = all.into_iter().filter(|l| l.up && l.multicast && !l.loopback && l.name != named.name());
    others.filter_map(|l| Interface::named(&l.name).ok()).collect()
}

/// What is wrong with an interface for groups of IPv4 or IPv6, before anything is sent.
pub(super) fn judge(interface: &Interface, v6: bool) -> Finding {
    let mtu = interface.mtu().unwrap_or(0);
    judge_link(&link(interface.name()).unwrap_or_default(), interface.name(), mtu, speed(interface.name()), v6)
}

fn judge_link(link: &Link, name: &str, mtu: usize, speed: Option<u32>, v6: bool) -> Finding {
    let bad = |message| Finding::new("link", Verdict::Bad, message);
    let own: Vec<String> =
        link.addresses.iter().filter(|(a, _)| a.is_ipv6() == v6).map(|(a, n)| format!("{a}/{n}")).collect();
    if !link.up {
        return bad(format!("{name} is switched off: ip link set {name} up"));
    }
    if !link.carrier {
        return bad(format!("{name} has no carrier: no cable, or its port at the switch is off"));
    }
    if !link.multicast && !link.loopback {
        return bad(format!("{name} takes no multicast: ip link set {name} multicast on"));
    }
    if own.is_empty() {
        return bad(format!(
            "{name} has no address of {}: is it the right interface, or a port of a bridge or bond that has the address?",
            if v6 { "IPv6" } else { "IPv4" }
        ));
    }
    let speed = speed.map(|s| format!(", {s} Mbit/s")).unwrap_or_default();
    Finding::new("link", Verdict::Ok, format!("{name} is up, with {}, MTU {mtu}{speed}", own.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_judged() {
        let well = Link {
            name: "eth0".into(),
            up: true,
            carrier: true,
            multicast: true,
            addresses: vec![("10.1.0.1".parse().unwrap(), 24), ("fe80::1".parse().unwrap(), 64)],
            ..Link::default()
        };
        for (link, says, verdict) in [
            (well.clone(), "10.1.0.1/24, MTU 1500, 1000 Mbit/s", Verdict::Ok),
            (Link { loopback: true, multicast: false, ..well.clone() }, "is up", Verdict::Ok),
            (Link { up: false, ..well.clone() }, "eth0 up", Verdict::Bad),
            (Link { carrier: false, ..well.clone() }, "carrier", Verdict::Bad),
            (Link { multicast: false, ..well.clone() }, "multicast on", Verdict::Bad),
            (Link { addresses: well.addresses[1..].to_vec(), ..well }, "IPv4", Verdict::Bad),
        ] {
            let found = judge_link(&link, "eth0", 1500, Some(1000), false);
            assert!(found.verdict == verdict && found.message.contains(says), "{found:?}");
        }
    }

    #[test]
    fn loopback_is_watched() {
        let lo = Interface::named("lo").unwrap();
        let mut watch = Watch::new(&lo, "239.192.70.9:7786".parse().unwrap());
        let socket = lo.join("239.192.70.9:7786".parse().unwrap()).unwrap();
        watch.look(Instant::now() + LOOK);
        assert!(!watch.forgotten && !watch.has_querier() && watch.queriers().is_empty());
        drop(socket);
        watch.look(Instant::now() + LOOK * 3);
        assert!(watch.forgotten);
        assert_eq!(judge(&lo, false).check, "link");
    }
}
