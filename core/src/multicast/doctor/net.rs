//! The sockets of both ends.

use super::host;
use super::phase::{FAR, Phase};
use crate::error::{Error, Result};
use crate::multicast::drive::data_group;
use crate::multicast::wire::{Keys, Mode, Session};
use crate::sys::ear::{ALL_HOSTS, Ear, Heard, never_fragment, shout};
use crate::sys::udp::Interface;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// Where something came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// To the control group.
    Control,
    /// To all hosts of the link.
    All,
    /// To this process alone.
    Own,
    /// To the data group.
    Data,
}

/// Sockets at an interface.
pub(super) struct Net {
    pub(super) interface: Interface,
    others: Vec<Interface>,
    group: SocketAddr,
    ears: Vec<(Door, Ear)>,
    /// What the ears were said to have had no room for.
    dropped: [u32; 4],
    far: UdpSocket,
    shout: Option<UdpSocket>,
    port: u16,
}

impl Net {
    pub(super) fn open(name: &str, group: SocketAddr) -> Result<Self> {
        let (interface, v6) = (Interface::named(name)?, group.is_ipv6());
        let others = host::others(&interface);
        let control = Ear::of_group(&interface, &others, group)?;
        let own = interface.open(v6, 1)?;
        never_fragment(&own);
        let port = own.local_addr().map_err(|e| Error::io("use", "a socket", e))?.port();
        let mut ears = vec![(Door::Control, control), (Door::Own, Ear::new(own))];
        // Somebody else may have the port; then one way less is tried.
        ears.extend(Ear::of_all(&interface, v6, group.port()).ok().map(|ear| (Door::All, ear)));
        let far = interface.open(v6, FAR.into())?;
        let shout = if v6 { None } else { shout(&interface).ok() };
        Ok(Self { interface, others, group, ears, dropped: [0; 4], far, shout, port })
    }

    /// The port at which this end listens for itself.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The name of an interface that is not the one that was named.
    pub(super) fn other(&self, index: u32) -> Option<&str> {
        self.others.iter().find(|o| o.index() == index).map(Interface::name)
    }

    /// Listens to the data group of a session, too.
    pub(super) fn join(&mut self, session: Session) -> Result<()> {
        self.ears.retain(|(door, _)| *door != Door::Data);
        let ear = Ear::of_group(&self.interface, &self.others, data_group(self.group, session))?;
        self.ears.push((Door::Data, ear));
        Ok(())
    }

    /// Hands out what came, with the number of datagrams that there was no room for before it; whether that was anything.
    pub(super) fn hear(&mut self, each: &mut dyn FnMut(Door, Heard<'_>, u32)) -> Result<bool> {
        let mut any = false;
        for (door, ear) in &mut self.ears {
            while ear.take().map_err(|e| Error::io("receive from", "the network", e))? {
                any = true;
                for heard in ear.each() {
                    let before = &mut self.dropped[*door as usize];
                    let lost = heard.dropped.saturating_sub(*before);
                    *before = heard.dropped.max(*before);
                    each(*door, heard, lost);
                }
            }
        }
        Ok(any)
    }

    /// Sends by the way of a phase; for `Direct` it is known to whom, for others it follows.
    pub(super) fn say(
        &self,
        phase: Phase,
        session: Session,
        to: Option<SocketAddr>,
        datagram: &[u8],
    ) -> io::Result<()> {
        let own = self.ears.iter().find(|(door, _)| *door == Door::Own).map(|(_, ear)| ear.socket());
        let port = self.group.port();
        let (socket, to) = match phase {
            Phase::Direct => (own, to.unwrap_or(self.group)),
            Phase::Broadcast => (self.shout.as_ref(), SocketAddr::new(Ipv4Addr::BROADCAST.into(), port)),
            Phase::Local => {
                let all: IpAddr = if self.group.is_ipv6() { ALL_HOSTS.1.into() } else { ALL_HOSTS.0.into() };
                (own, SocketAddr::new(all, port))
            }
            Phase::Control => (own, self.group),
            Phase::Far => (Some(&self.far), self.group),
            Phase::Data | Phase::Size | Phase::Rate(_) => (own, data_group(self.group, session)),
        };
        match socket {
            Some(socket) => socket.send_to(datagram, to).map(drop),
            None => Ok(()),
        }
    }
}

/// An address as datagrams have it.
pub(super) fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    }
}

/// What a session is checked with: against what networks do, which is all that a doctor needs.
pub(super) fn keys(session: Session) -> Result<Keys> {
    Keys::new(Mode::Crc, None, session).ok_or_else(|| Error::invalid("mode crc needs no key"))
}
