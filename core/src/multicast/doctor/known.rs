//! Who was heard by the end that sends, without the sockets.

use super::net::Door;
use crate::multicast::wire::{Keys, Message, Told};
use crate::sys::ear::Heard;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Receivers that are looked after.
const RECEIVERS: usize = 1024;

/// A receiver that was heard.
pub(super) struct Known {
    /// Where it is reached.
    pub(super) at: SocketAddr,
    pub(super) told: Told,
    /// It was heard by unicast.
    pub(super) by_unicast: bool,
    /// It was heard by multicast or broadcast, at the interface that was named.
    pub(super) here: bool,
    /// The same, at another one.
    pub(super) elsewhere: Option<u32>,
}

/// All that were heard.
pub(super) struct Mind {
    index: u32,
    /// By port and name: a host may have several addresses.
    pub(super) known: BTreeMap<(u16, String), Known>,
    /// Of those who know no session, and of this one.
    pub(super) keys: [Keys; 2],
    group: [u8; 16],
    /// A receiver of another group, and that.
    pub(super) stranger: Option<(String, [u8; 16])>,
}

impl Mind {
    pub(super) fn new(index: u32, group: [u8; 16], keys: [Keys; 2]) -> Self {
        Self { index, known: BTreeMap::new(), keys, group, stranger: None }
    }

    pub(super) fn handle(&mut self, door: Door, heard: &Heard<'_>) {
        let Ok((_, session)) = Message::envelope(heard.bytes) else { return };
        let Some(keys) = self.keys.iter().find(|k| k.session() == session) else { return };
        let Ok(Some(Message::Told(told))) = Message::decode(heard.bytes, keys) else { return };
        if told.group != self.group {
            self.stranger = Some((told.name, told.group));
            return;
        }
        let mut at = heard.from;
        at.set_port(told.port);
        let who = (told.port, told.name.clone());
        if self.known.len() >= RECEIVERS && !self.known.contains_key(&who) {
            return;
        }
        let fresh = Known { at, told: Told::default(), by_unicast: false, here: false, elsewhere: None };
        let known = self.known.entry(who).or_insert(fresh);
        match door {
            Door::Own => (known.by_unicast, known.at) = (true, at),
            _ if heard.interface == self.index || heard.interface == 0 => known.here = true,
            _ => known.elsewhere = Some(heard.interface),
        }
        // What has counts is newer than what has not.
        if session.0 != 0 || known.told.counts.is_empty() {
            known.told = told;
        }
    }

    /// How many were heard by unicast.
    pub(super) fn by_unicast(&self) -> usize {
        self.known.values().filter(|k| k.by_unicast).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::net::keys;
    use super::*;
    use crate::multicast::wire::{Count, Session};

    #[test]
    fn receivers_are_known_by_what_they_tell() {
        let all = [keys(Session(0)).unwrap(), keys(Session(7)).unwrap()];
        let mut mind = Mind::new(2, [6; 16], all);
        let heard =
            |bytes, interface| Heard { bytes, from: "10.1.0.9:5".parse().unwrap(), interface, ttl: 1, dropped: 0 };
        let told = Told { port: 9000, group: [6; 16], name: "n1".into(), ..Told::default() };
        let hello = Message::Told(told.clone()).encode(&mind.keys[0]);
        mind.handle(Door::Control, &heard(b"noise", 2));
        mind.handle(Door::Control, &heard(&hello, 3));
        assert_eq!((mind.known.len(), mind.by_unicast()), (1, 0));
        let counts = vec![Count { received: 3, ..Count::default() }];
        let more = Message::Told(Told { counts, ..told.clone() }).encode(&mind.keys[1]);
        mind.handle(Door::Own, &heard(&more, 2));
        mind.handle(Door::All, &heard(&hello, 2));
        let known = &mind.known[&(9000, "n1".to_owned())];
        assert_eq!((known.by_unicast, known.here, known.elsewhere), (true, true, Some(3)));
        assert_eq!((known.told.counts.len(), known.at), (1, "10.1.0.9:9000".parse().unwrap()));
        // Of another group, and of another session.
        let other = Message::Told(Told { group: [7; 16], port: 1, ..told.clone() }).encode(&mind.keys[0]);
        mind.handle(Door::All, &heard(&other, 2));
        assert_eq!((mind.known.len(), mind.stranger.clone()), (1, Some(("n1".to_owned(), [7; 16]))));
        mind.handle(Door::Own, &heard(&Message::Told(Told { port: 1, ..told }).encode(&keys(Session(8)).unwrap()), 2));
        assert_eq!(mind.known.len(), 1);
    }
}
