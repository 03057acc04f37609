//! The end that listens.

use super::judge::{Case, judge, standing};
use super::net::{Door, Net, keys, octets};
use super::phase::{Phase, rates, steady};
use super::reach::at_the_card;
use super::tally::Tally;
use super::{Counted, Finding, Verdict, host};
use crate::error::Result;
use crate::event::Unit;
use crate::job::Task;
use crate::multicast::drive::GROUP;
use crate::multicast::wire::{Keys, Message, Probe, Session, Told};
use crate::sys::ear::Heard;
use serde::Serialize;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How often it says what came.
const TELL: Duration = Duration::from_millis(200);
/// A sender that says nothing for so long has gone.
const SILENCE: Duration = Duration::from_secs(3);
/// How long it sleeps when nothing comes.
const NAP: Duration = Duration::from_micros(500);

/// How it is listened.
#[derive(Clone, Debug)]
pub struct ReceiveOptions {
    /// Name of the network interface.
    pub interface: String,
    /// The control group.
    pub group: SocketAddr,
    /// How long the sender is waited for, and questions for members are; an hour at most.
    pub time: Duration,
    /// What this host is called.
    pub node: String,
}

impl ReceiveOptions {
    /// The usual, over an interface.
    #[must_use]
    pub fn new(interface: &str) -> Self {
        Self {
            interface: interface.to_owned(),
            group: GROUP,
            time: Duration::from_secs(10),
            node: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }
}

/// What is known at this end.
#[derive(Clone, Debug, Serialize)]
pub struct Received {
    /// The interface.
    pub interface: String,
    /// The control group.
    pub group: String,
    /// The sender, if anything of it came.
    pub sender: Option<String>,
    /// In the order in which one would look.
    pub findings: Vec<Finding>,
    /// What came.
    pub counts: Vec<Counted>,
}

impl Received {
    /// The worst of its findings.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Finding::worst(&self.findings)
    }
}

/// Listens to what a sender sends to find out what arrives, and tells it.
///
/// # Errors
/// `NotFound` for an interface; `Invalid` for a group and a time; `Io`; `Cancelled`. What is wrong with the network is no error.
pub fn receive(options: &ReceiveOptions, task: &Task) -> Result<Received> {
    super::check_time(options.time)?;
    let mut net = Net::open(&options.interface, options.group)?;
    let mut watch = host::Watch::new(&net.interface, options.group);
    let link = host::judge(&net.interface, options.group.is_ipv6());
    let (index, group, hello) = (net.interface.index(), octets(options.group.ip()), Some(keys(Session(0))?));
    let mut mind = Mind { index, group, hello, ..Mind::default() };
    let (mut told_at, mut joined) = (watch.began(), None);
    task.stage("listen", 0, Unit::Entries);
    let told = loop {
        task.check()?;
        let now = Instant::now();
        let any = net.hear(&mut |door, heard, lost| mind.handle(door, &heard, lost, now))?;
        let late = watch.look(now);
        mind.tally.dropped(late);
        if let Some(sender) = mind.sender.as_ref().filter(|s| joined != Some(s.session())) {
            joined = Some(sender.session());
            net.join(sender.session())?;
            told_at = now;
        }
        let is_over = mind.is_over(now) && (watch.has_querier() || now >= watch.began() + options.time);
        if now >= told_at || is_over {
            told_at = now + TELL;
            let told = mind.told(&net, &watch, options, is_over);
            mind.tell(&net, &told);
            if is_over || mind.sender.is_none() && now >= watch.began() + options.time {
                break told;
            }
        }
        if !any {
            std::thread::sleep(NAP);
        }
    };
    Ok(mind.result(&told, &watch, link, options))
}

/// The sender, once anything of it came.
struct Sender {
    keys: Keys,
    at: SocketAddr,
    /// What it said last.
    last: Probe,
    when: Instant,
    /// Whether it has heard this end by unicast: what it says to this end, or else whether it has heard anybody.
    heard: Option<bool>,
    any: bool,
    reached: u8,
    over: bool,
}

impl Sender {
    fn session(&self) -> Session {
        self.keys.session()
    }
}

/// What came, without the sockets.
#[derive(Default)]
struct Mind {
    index: u32,
    group: [u8; 16],
    /// With what it speaks before it knows a session.
    hello: Option<Keys>,
    sender: Option<Sender>,
    tally: Tally,
    /// Another interface at which something of a group came.
    elsewhere: Option<u32>,
    /// A sender of another group, and that.
    stranger: Option<(SocketAddr, [u8; 16])>,
}

impl Mind {
    fn handle(&mut self, door: Door, heard: &Heard<'_>, lost: u32, now: Instant) {
        self.tally.dropped(lost);
        let Ok((_, session)) = Message::envelope(heard.bytes) else { return };
        let known = self.sender.as_ref().map(|s| &s.keys).filter(|k| k.session() == session);
        let fresh = if known.is_none() && self.sender.is_none() { keys(session).ok() } else { None };
        let Some(with) = known.or(fresh.as_ref()) else { return };
        let Ok(Some(Message::Probe(probe))) = Message::decode(heard.bytes, with) else { return };
        let mut at = heard.from;
        at.set_port(probe.port);
        if probe.group != self.group {
            self.stranger = Some((at, probe.group));
            return;
        }
        let sender = match (&mut self.sender, fresh) {
            (Some(sender), _) => sender,
            (none, Some(keys)) => none.insert(Sender {
                keys,
                at,
                last: probe,
                when: now,
                heard: None,
                any: false,
                reached: 0,
                over: false,
            }),
            _ => return,
        };
        (sender.last, sender.when) = (probe, now);
        if probe.phase == Phase::Direct.number() {
            sender.heard = Some(probe.heard);
        }
        sender.any |= probe.receivers > 0;
        sender.reached = sender.reached.max(probe.reached);
        sender.over |= probe.over;
        let is_own_door = match Phase::of(probe.phase) {
            Phase::Direct => door == Door::Own,
            Phase::Broadcast | Phase::Local => door == Door::All,
            Phase::Control | Phase::Far => door == Door::Control,
            Phase::Data | Phase::Size | Phase::Rate(_) => door == Door::Data,
        };
        if is_own_door {
            let here = door == Door::Own || heard.interface == 0 || heard.interface == self.index;
            if !here {
                self.elsewhere = Some(heard.interface);
            }
            self.tally.add(&probe, heard.bytes.len(), heard.ttl, here, now);
        }
    }

    /// Whether the sender has ended, or gone.
    fn is_over(&self, now: Instant) -> bool {
        self.sender.as_ref().is_some_and(|s| s.over || now > s.when + SILENCE)
    }

    fn told(&self, net: &Net, watch: &host::Watch, options: &ReceiveOptions, over: bool) -> Told {
        let near = |s: &Sender| host::link(&options.interface).is_some_and(|l| l.is_near(s.at.ip()));
        Told {
            over,
            querier: watch.has_querier(),
            looks: watch.looks(),
            near: self.sender.as_ref().is_some_and(near),
            forgotten: watch.forgotten,
            mtu: u32::try_from(net.interface.mtu().unwrap_or(0)).unwrap_or(u32::MAX),
            port: net.port(),
            seconds: watch.seconds(),
            reverse: watch.reverse(),
            card: watch.card,
            group: self.group,
            name: options.node.clone(),
            elsewhere: self.elsewhere.and_then(|i| net.other(i)).unwrap_or_default().to_owned(),
            counts: self.tally.counts(),
        }
    }

    /// Tells the sender, or whoever there may be.
    fn tell(&self, net: &Net, told: &Told) {
        let message = Message::Told(told.clone());
        match (&self.sender, &self.hello) {
            (Some(sender), _) => {
                let _ = net.say(Phase::Direct, sender.session(), Some(sender.at), &message.encode(&sender.keys));
            }
            (None, Some(hello)) => {
                let datagram = message.encode(hello);
                Phase::WAYS.into_iter().for_each(|way| _ = net.say(way, hello.session(), None, &datagram));
            }
            _ => {}
        }
    }

    fn result(self, told: &Told, watch: &host::Watch, link: Finding, options: &ReceiveOptions) -> Received {
        let mut findings = vec![link];
        let mut steps = self.tally.steps();
        match &self.sender {
            None => {
                findings.push(match &self.stranger {
                    Some((at, group)) => {
                        let (at, own) = (at.to_string(), options.group.ip());
                        super::other_group("the sender at ", &at, *group, own, Verdict::Bad)
                    }
                    None => nobody(told, options),
                });
                findings.extend(standing(told, &watch.queriers()));
            }
            Some(sender) => {
                // A phase of which nothing came has no row; what all senders send is known all the same.
                let length = u16::try_from(told.count(Phase::Size.number()).longest).unwrap_or(u16::MAX);
                let all = steady(sender.last.mtu, options.group.is_ipv6()).into_iter().chain(rates(length, None));
                steps
                    .extend(all.filter(|s| s.phase < sender.reached && told.counts.iter().all(|c| c.phase != s.phase)));
                steps.sort_by_key(|s| s.phase);
                findings.extend(judge(&Case {
                    told,
                    steps: &steps,
                    reached: sender.reached,
                    mtu: sender.last.mtu,
                    heard: sender.heard.unwrap_or(sender.any),
                    port: options.group.port(),
                    queriers: &watch.queriers(),
                    who: "this host",
                }));
            }
        }
        Received {
            interface: options.interface.clone(),
            group: options.group.to_string(),
            sender: self.sender.map(|s| s.at.to_string()),
            findings,
            counts: Counted::all(&told.counts, &steps),
        }
    }
}

/// Nothing came at all.
fn nobody(told: &Told, options: &ReceiveOptions) -> Finding {
    let (group, port) = (options.group, options.group.port());
    let at = &options.interface;
    if told.card[0] > 0 {
        return at_the_card(told, "this host", port);
    }
    Finding::new(
        "sender",
        Verdict::Bad,
        format!(
            "nothing of a sender came by {at} in {} s, neither by multicast nor by broadcast, and it was not reached from here: is `cvctl doctor \
             multicast send` running, with --group {group}? Is {at} the right interface, and in the VLAN of the sender? Does a firewall let UDP \
             to port {port} in, here and there?",
            told.seconds
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_known_by_anything_of_it() {
        let now = Instant::now();
        let (mine, mut mind) = (keys(Session(7)).unwrap(), Mind { index: 2, ..Mind::default() });
        let heard =
            |bytes, interface| Heard { bytes, from: "10.1.0.1:5".parse().unwrap(), interface, ttl: 1, dropped: 0 };
        let probe = Probe { of: 20, phase: 3, port: 9000, reached: 1, ..Probe::default() };
        let datagram = Message::Probe(probe).encode(&mine);
        // Noise, then one at another interface, then one at the wrong door.
        mind.handle(Door::Control, &heard(b"noise", 2), 0, now);
        assert!(mind.sender.is_none() && !mind.is_over(now));
        let other = Message::Probe(Probe { group: [7; 16], ..probe }).encode(&mine);
        mind.handle(Door::All, &heard(&other, 2), 0, now);
        assert!(mind.sender.is_none() && mind.stranger == Some(("10.1.0.1:9000".parse().unwrap(), [7; 16])));
        mind.handle(Door::Control, &heard(&datagram, 3), 0, now);
        mind.handle(Door::All, &heard(&datagram, 2), 0, now);
        let count = mind.tally.counts()[0];
        assert_eq!((count.received, count.elsewhere, mind.elsewhere), (0, 1, Some(3)));
        mind.handle(Door::Control, &heard(&datagram, 2), 0, now);
        // Another session is none of this one.
        mind.handle(
            Door::Control,
            &heard(&Message::Probe(Probe { over: true, ..probe }).encode(&keys(Session(8)).unwrap()), 2),
            0,
            now,
        );
        let sender = mind.sender.as_ref().unwrap();
        assert_eq!(
            (sender.at, sender.reached, mind.tally.counts()[0].received),
            ("10.1.0.1:9000".parse().unwrap(), 1, 1)
        );
        assert!(!mind.is_over(now) && mind.is_over(now + SILENCE * 2));
    }

    #[test]
    fn nobody_there_is_told() {
        let options = ReceiveOptions { time: Duration::from_millis(300), ..ReceiveOptions::new("lo") };
        let options = ReceiveOptions { group: "239.192.70.8:17786".parse().unwrap(), ..options };
        let found = receive(&options, &Task::quiet()).unwrap();
        let checks: Vec<_> = found.findings.iter().map(|f| f.check).collect();
        assert_eq!((found.sender, &checks[..]), (None, &["link", "sender", "querier"][..]));
        assert!(receive(&ReceiveOptions::new("nothing0"), &Task::quiet()).is_err());
        let for_ever = ReceiveOptions { time: Duration::MAX, ..options };
        assert_eq!(receive(&for_ever, &Task::quiet()).unwrap_err().kind(), crate::ErrorKind::Invalid);
    }
}
