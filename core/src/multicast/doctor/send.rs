//! The end that sends.

use super::judge::{Case, judge};
use super::known::Mind;
use super::net::{Net, keys, octets};
use super::phase::{FAR, Phase, SMALL, SMALL_LENGTH, Step, WIRE, each, lengths, rates, steady};
use super::{Counted, Finding, Verdict, host};
use crate::error::Result;
use crate::event::Unit;
use crate::job::Task;
use crate::multicast::drive::GROUP;
use crate::multicast::wire::{Message, Probe, Session};
use crate::sys::clock;
use crate::sys::link::speed;
use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Between two greetings.
const GREET: Duration = Duration::from_millis(100);
/// How long it is waited for more receivers when nobody said how many there are.
const MORE: Duration = Duration::from_secs(2);
/// How long receivers and switches have to settle after somebody joined.
const SETTLE: Duration = Duration::from_millis(600);
/// Between two small datagrams.
const PACE: Duration = Duration::from_millis(15);
/// Between two datagrams of a length.
const APART: Duration = Duration::from_millis(3);
/// Datagrams that are sent at once.
const BURST: u32 = 16;
/// How long it sleeps when nothing comes.
const NAP: Duration = Duration::from_micros(500);

/// How it is sent.
#[derive(Clone, Debug)]
pub struct SendOptions {
    /// Name of the network interface.
    pub interface: String,
    /// The control group.
    pub group: SocketAddr,
    /// Receivers that are expected; 0 when nobody knows.
    pub receivers: u32,
    /// How long they are waited for, an hour at most.
    pub time: Duration,
}

impl SendOptions {
    /// The usual, over an interface.
    #[must_use]
    pub fn new(interface: &str) -> Self {
        Self { interface: interface.to_owned(), group: GROUP, receivers: 0, time: Duration::from_secs(10) }
    }
}

/// What is known at this end.
#[derive(Clone, Debug, Serialize)]
pub struct Sent {
    /// The interface.
    pub interface: String,
    /// The control group.
    pub group: String,
    /// Of this host and of all receivers together.
    pub findings: Vec<Finding>,
    /// Each receiver.
    pub receivers: Vec<Receiver>,
}

impl Sent {
    /// The worst of all findings.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let each = self.receivers.iter().map(|r| Finding::worst(&r.findings));
        each.chain([Finding::worst(&self.findings)]).max().unwrap_or(Verdict::Ok)
    }
}

/// A receiver.
#[derive(Clone, Debug, Serialize)]
pub struct Receiver {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// In the order in which one would look.
    pub findings: Vec<Finding>,
    /// What came there.
    pub counts: Vec<Counted>,
}

/// Sends to the receivers that are there, by each way, at each length and rate, and says what arrived.
///
/// # Errors
/// `NotFound` for an interface; `Invalid` for a group and a time; `Io`; `Cancelled`. What is wrong with the network is no error.
pub fn send(options: &SendOptions, task: &Task) -> Result<Sent> {
    super::check_time(options.time)?;
    let net = Net::open(&options.interface, options.group)?;
    let mtu = u32::try_from(net.interface.mtu()?).unwrap_or(u32::MAX);
    let session = Session(clock::random_u64() | 1);
    let watch = host::Watch::new(&net.interface, options.group);
    let v6 = options.group.is_ipv6();
    let link = host::judge(&net.interface, v6);
    let mind = Mind::new(net.interface.index(), octets(options.group.ip()), [keys(Session(0))?, keys(session)?]);
    let steps = steady(mtu, v6);
    let mut sender =
        Sender { options, net, watch, mind, session, mtu, steps, reached: 0, over: false, refused: None, task };
    sender.run(v6)?;
    Ok(sender.result(link))
}

struct Sender<'s> {
    options: &'s SendOptions,
    net: Net,
    watch: host::Watch,
    mind: Mind,
    session: Session,
    mtu: u32,
    steps: Vec<Step>,
    reached: u8,
    over: bool,
    /// What the system did not send.
    refused: Option<(Phase, io::Error)>,
    task: &'s Task,
}

impl Sender<'_> {
    fn run(&mut self, v6: bool) -> Result<()> {
        self.task.stage("greet", 0, Unit::Entries);
        self.gather()?;
        self.task.stage("probe", 0, Unit::Entries);
        for seq in 0..SMALL {
            for way in Phase::WAYS {
                self.small(way, seq);
            }
            self.direct(seq, SMALL);
            self.idle(PACE)?;
        }
        self.is_reached(Phase::Data.number())?;
        for seq in 0..SMALL {
            self.small(Phase::Data, seq);
            self.idle(PACE)?;
        }
        self.is_reached(Phase::Size.number())?;
        let lengths = lengths(self.mtu, v6);
        let of = each() * lengths.len() as u32;
        for (seq, length) in (0..of).zip(lengths.iter().cycle()) {
            self.say(Phase::Size, Probe { seq, of, length: *length, ..self.probe(Phase::Size) });
            self.idle(APART)?;
        }
        self.is_reached(Phase::Size.number() + 1)?;
        // Long enough that everybody tells what arrived.
        self.idle(SETTLE)?;
        for step in rates(self.longest(&lengths), speed(&self.options.interface)) {
            self.steps.push(step);
            self.burst(step)?;
            self.is_reached(step.phase + 1)?;
        }
        self.over = true;
        for _ in 0..7 {
            self.greet();
            self.idle(GREET)?;
        }
        Ok(())
    }

    /// Greets until all are there, or nobody more comes.
    fn gather(&mut self) -> Result<()> {
        let (began, mut first) = (Instant::now(), None);
        loop {
            self.greet();
            self.idle(GREET)?;
            let now = Instant::now();
            let there = self.mind.known.len();
            if there > 0 {
                first.get_or_insert(now);
            }
            let all = match self.options.receivers {
                0 => first.is_some_and(|f| now >= f + MORE),
                n => there >= n as usize,
            };
            if all || now >= began + self.options.time {
                break;
            }
        }
        let until = Instant::now() + SETTLE;
        while Instant::now() < until {
            self.greet();
            self.idle(GREET)?;
        }
        Ok(())
    }

    fn probe(&self, phase: Phase) -> Probe {
        Probe {
            over: self.over,
            phase: phase.number(),
            phases: self.steps.len() as u8,
            reached: self.reached,
            ttl: if phase == Phase::Far { FAR } else { 1 },
            length: SMALL_LENGTH,
            port: self.net.port(),
            mtu: self.mtu,
            receivers: u16::try_from(self.mind.by_unicast()).unwrap_or(u16::MAX),
            group: octets(self.options.group.ip()),
            ..Probe::default()
        }
    }

    fn greet(&mut self) {
        for way in Phase::WAYS.into_iter().chain([Phase::Data]) {
            self.say(way, self.probe(way));
        }
        self.direct(0, 0);
    }

    fn small(&mut self, phase: Phase, seq: u32) {
        self.say(phase, Probe { seq, of: SMALL, ..self.probe(phase) });
    }

    fn direct(&self, seq: u32, of: u32) {
        for known in self.mind.known.values() {
            let probe = Probe { heard: known.by_unicast, seq, of, ..self.probe(Phase::Direct) };
            // Who cannot be reached tells.
            let _ = self.net.say(
                Phase::Direct,
                self.session,
                Some(known.at),
                &Message::Probe(probe).encode(&self.mind.keys[1]),
            );
        }
    }

    fn say(&mut self, phase: Phase, probe: Probe) {
        let datagram = Message::Probe(probe).encode(&self.mind.keys[1]);
        loop {
            match self.net.say(phase, self.session, None, &datagram) {
                Err(e) if matches!(e.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR)) => {
                    std::thread::sleep(NAP / 4);
                }
                Err(e) => {
                    // Broadcast and the group of all hosts are extras; an interface may not know them.
                    if phase.number() >= Phase::Control.number() {
                        self.refused.get_or_insert((phase, e));
                    }
                    return;
                }
                Ok(()) => return,
            }
        }
    }

    /// A phase is over, and everybody is told so.
    fn is_reached(&mut self, phase: u8) -> Result<()> {
        self.reached = phase;
        self.idle(GREET / 2)?;
        self.greet();
        self.idle(GREET / 2)
    }

    /// The longest datagram that all receivers get.
    fn longest(&self, lengths: &[u16]) -> u16 {
        let size = Phase::Size.number();
        let own = lengths.last().copied().unwrap_or(SMALL_LENGTH);
        let got = self.mind.known.values().map(|k| k.told.count(size).longest).filter(|l| *l > 0);
        got.min().and_then(|l| u16::try_from(l).ok()).unwrap_or(own).min(own)
    }

    /// Sends at a rate.
    fn burst(&mut self, step: Step) -> Result<()> {
        let bits = u64::from(u32::from(step.length) + WIRE) * 8;
        let (began, mut seq) = (Instant::now(), 0);
        let phase = Phase::of(step.phase);
        let probe = Probe { of: step.of, rate: step.rate, length: step.length, ..self.probe(phase) };
        while seq < step.of {
            self.task.check()?;
            let due = began.elapsed().as_micros() as u64 * u64::from(step.rate) / 1000 / bits + 1;
            let until = due.min(step.of.into()).min(u64::from(seq + BURST)) as u32;
            if until <= seq {
                std::thread::sleep(NAP / 5);
            }
            while seq < until {
                self.say(phase, Probe { seq, ..probe });
                seq += 1;
            }
        }
        Ok(())
    }

    /// Listens for a time.
    fn idle(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        loop {
            self.task.check()?;
            let mind = &mut self.mind;
            let any = self.net.hear(&mut |door, heard, _| mind.handle(door, &heard))?;
            let now = Instant::now();
            self.watch.look(now);
            if now >= until {
                return Ok(());
            }
            if !any {
                std::thread::sleep(NAP.min(until - now));
            }
        }
    }

    fn result(self, link: Finding) -> Sent {
        let mut findings = vec![link];
        findings.extend(self.refused.as_ref().map(|(phase, e)| {
            let message = format!(
                "what is sent to the {} group does not leave this host: {e}. An error of permission is its firewall; one of the network is a route or an \
                 address that {} has not got",
                if phase.number() >= Phase::Data.number() { "data" } else { "control" },
                self.options.interface
            );
            Finding::new("send", Verdict::Bad, message)
        }));
        findings.push(there(self.mind.known.len(), self.options));
        findings.extend(self.mind.known.values().filter(|k| !k.here).find_map(|k| self.net.other(k.elsewhere?)).map(
            |there| {
                let message = format!(
                    "receivers are heard by {there}, not by {}: give --interface {there}",
                    self.options.interface
                );
                Finding::new("interface", Verdict::Bad, message)
            },
        ));
        findings.extend(self.mind.stranger.as_ref().map(|(name, group)| {
            let verdict = if self.mind.known.is_empty() { Verdict::Bad } else { Verdict::Warning };
            super::other_group("the receiver ", name, *group, self.options.group.ip(), verdict)
        }));
        let queriers = self.watch.queriers();
        let receivers = self.mind.known.values().map(|known| {
            let case = Case {
                told: &known.told,
                steps: &self.steps,
                reached: self.reached,
                mtu: self.mtu,
                heard: known.by_unicast,
                port: self.options.group.port(),
                queriers: &queriers,
                who: "the receiver",
            };
            Receiver {
                name: known.told.name.clone(),
                address: known.at.to_string(),
                findings: judge(&case),
                counts: Counted::all(&known.told.counts, &self.steps),
            }
        });
        let (interface, group) = (self.options.interface.clone(), self.options.group.to_string());
        Sent { interface, group, findings, receivers: receivers.collect() }
    }
}

/// How many receivers there are.
fn there(there: usize, options: &SendOptions) -> Finding {
    let (group, port) = (options.group, options.group.port());
    let (verdict, message) = match (there, options.receivers as usize) {
        (0, _) => (
            Verdict::Bad,
            format!(
                "nobody answered in {} s, neither to multicast nor to broadcast: is `cvctl doctor multicast recv` running on another host, with --group \
                 {group}? Is {} the right interface, and in the VLAN of the receivers? Does a firewall let UDP to port {port} in there, and answers here?",
                options.time.as_secs(),
                options.interface
            ),
        ),
        (n, wanted) if n < wanted => (
            Verdict::Bad,
            format!(
                "{n} of {wanted} receivers were heard: look at what the others say, and at their cables, VLANs and firewalls"
            ),
        ),
        (n, _) => (Verdict::Ok, format!("receivers heard: {n}")),
    };
    Finding::new("receivers", verdict, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_missing_is_told() {
        let options = |receivers| SendOptions { receivers, ..SendOptions::new("eth0") };
        for (n, wanted, verdict) in
            [(0, 0, Verdict::Bad), (1, 2, Verdict::Bad), (2, 2, Verdict::Ok), (1, 0, Verdict::Ok)]
        {
            assert_eq!(there(n, &options(wanted)).verdict, verdict);
        }
    }
}
