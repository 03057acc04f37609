//! One session: a sender, receivers, and the network between them. Time passes from one event to the next.

use crate::disk::Disk;
use crate::network::{Cable, Link, Network};
use crate::picture::Moment;
use crate::random::Random;
use libcv::image::Hash;
use libcv::multicast::fec::Encoder;
use libcv::multicast::plan::BodyPlan;
use libcv::multicast::receive::{self, Event, Load, Receiver};
use libcv::multicast::send::{self, Rate, Sender, Sent, To, Transmit};
use libcv::multicast::shape::{Part, Shape};
use libcv::multicast::wire::{Announce, Header, Kind, SECRET};
use libcv::multicast::{Keys, Mode, Session};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Bytes of a symbol: a stripe has 64 KiB, so that sessions are short and have many.
const SYMBOL: u16 = 64;

/// What is tried.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) network: Network,
    pub(crate) receivers: usize,
    pub(crate) head: u64,
    pub(crate) body: u64,
    /// Bits in a second.
    pub(crate) rate: u64,
    /// Whether the sender knows how many come.
    pub(crate) expected: bool,
    /// Receivers start within this time.
    pub(crate) starts: Duration,
    /// Probability that a receiver is killed once and started again.
    pub(crate) crashes: f64,
    /// Of a receiver.
    pub(crate) memory: usize,
    /// Share of the blocks that a receiver needs.
    pub(crate) needs: f64,
    pub(crate) mode: u8,
    /// Whether the rate follows the network; it is fixed otherwise.
    pub(crate) adapts: bool,
    /// Bytes in a second that each receiver's disk takes.
    pub(crate) disk: Option<u64>,
    /// When it is given up.
    pub(crate) limit: Duration,
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Receivers that have everything, byte for byte, and say so.
    pub(crate) right: u64,
    /// Receivers that say that they have not.
    pub(crate) honest: u64,
    /// What must not be.
    pub(crate) wrong: Vec<String>,
    /// Symbols that were sent, as a share of those that are needed.
    pub(crate) wire: f64,
    /// Datagrams of receivers, as a share of those that carry symbols.
    pub(crate) feedback: f64,
    pub(crate) sent: u64,
    pub(crate) time: Duration,
    /// The session over time.
    pub(crate) moments: Vec<Moment>,
    pub(crate) stripes: u32,
}

enum What {
    /// At a receiver.
    ToReceiver(usize, Vec<u8>),
    /// At several, at once.
    ToReceivers(Vec<usize>, Vec<u8>),
    /// At the sender, from a receiver.
    ToSender(usize, Vec<u8>),
    Sender,
    Receiver(usize),
    Start(usize),
    Crash(usize),
    /// What a receiver's disk had to write; a crash before it makes it void.
    Written(usize, u32),
}

struct Node {
    machine: Option<Receiver>,
    /// Stripes that a receiver that was killed had applied: its tree.
    has: HashMap<u32, ()>,
    needed: Vec<bool>,
    /// It said when it joined that it will say what it needs.
    has_base: bool,
    down: Link,
    up: Link,
    woken: Option<Duration>,
    finished: Option<bool>,
    disk: Disk,
    /// How often it was started.
    life: u32,
}

impl Node {
    /// Whether everything that it needs is in its tree.
    fn is_right(&self) -> bool {
        self.needed.iter().zip(0..).all(|(needed, stripe)| !needed || self.has.contains_key(&stripe))
    }
}

pub(crate) struct World {
    scenario: Scenario,
    random: Random,
    origin: Instant,
    now: Duration,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: HashMap<u64, What>,
    next: u64,
    sender: Sender,
    announce: Announce,
    content: [Vec<u8>; 2],
    parity: HashMap<u32, Vec<u8>>,
    encoder: Encoder,
    cable: Cable,
    nodes: Vec<Node>,
    woken: Option<Duration>,
    wrong: Vec<String>,
    feedback: u64,
    carried: u64,
    moments: Vec<Moment>,
}

fn keys(mode: u8) -> Keys {
    let mode = [Mode::Crc, Mode::Tag, Mode::Aead][usize::from(mode)];
    Keys::new(mode, Some(&[3; SECRET]), Session(0x1234_5678_9abc_def0)).unwrap()
}

fn address(n: usize) -> SocketAddr {
    (Ipv4Addr::new(10, 0, (n / 250) as u8, (n % 250) as u8 + 1), 7000).into()
}

impl World {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut random = Random::new(scenario.seed ^ 0xc0ff_ee00);
        let content = [random.bytes(scenario.head as usize), random.bytes(scenario.body as usize)];
        let mut plan = BodyPlan::default();
        let mut at = 0;
        while at < scenario.body {
            let block = (1 + random.below(100_000)).min(scenario.body - at);
            plan.add(block as u32, vec![plan.blocks().len() as u32]);
            at += block;
        }
        let shape = Shape::new(SYMBOL, scenario.head, scenario.body).unwrap();
        let announce = Announce {
            over: false,
            failed: false,
            time: 0,
            image: Hash::of(b"image"),
            head: scenario.head,
            body: scenario.body,
            symbol: SYMBOL,
            port: 7000,
            data: (Ipv4Addr::new(239, 1, 1, 1).into(), 7787),
            expected: if scenario.expected { scenario.receivers as u32 } else { 0 },
            name: "image".into(),
        };
        let rate = if scenario.adapts { Rate::Auto } else { Rate::Fixed(scenario.rate) };
        let options = send::Options { announce: announce.clone(), rate, wait: Duration::from_secs(1) };
        let origin = Instant::now();
        let nodes = (0..scenario.receivers).map(|_| {
            let mut needed = vec![false; shape.stripes() as usize];
            needed[..shape.head_stripes() as usize].fill(true);
            for block in plan.blocks() {
                if scenario.needs >= 1.0 || random.chance(scenario.needs) {
                    shape.of_body(block.bytes.clone()).for_each(|s| needed[s as usize] = true);
                }
            }
            let (down, up) = (Link::default(), Link::default());
            Node {
                machine: None,
                has: HashMap::new(),
                needed,
                has_base: false,
                down,
                up,
                woken: None,
                finished: None,
                disk: Disk::default(),
                life: 0,
            }
        });
        let nodes = nodes.collect();
        let sender = Sender::new(keys(scenario.mode), shape, plan, options, origin).unwrap();
        let mut world = Self {
            scenario: scenario.clone(),
            random,
            origin,
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            events: HashMap::new(),
            next: 0,
            sender,
            announce,
            content,
            parity: HashMap::new(),
            encoder: Encoder::default(),
            cable: Cable::default(),
            nodes,
            woken: None,
            wrong: Vec::new(),
            feedback: 0,
            carried: 0,
            moments: Vec::new(),
        };
        for n in 0..scenario.receivers {
            let at = scenario.starts.mul_f64(world.random.share());
            world.at(at, What::Start(n));
            if world.random.chance(scenario.crashes) {
                let at = at + Duration::from_millis(world.random.below(3000));
                world.at(at, What::Crash(n));
            }
        }
        world.at(Duration::ZERO, What::Sender);
        world
    }

    fn instant(&self) -> Instant {
        self.origin + self.now
    }

    fn at(&mut self, time: Duration, what: What) {
        self.queue.push(Reverse((time, self.next)));
        self.events.insert(self.next, what);
        self.next += 1;
    }

    pub(crate) fn run(mut self) -> Outcome {
        while let Some(Reverse((time, n))) = self.queue.pop() {
            let Some(what) = self.events.remove(&n) else { continue };
            if time > self.scenario.limit {
                break;
            }
            self.now = time;
            match what {
                What::Start(n) => self.start(n),
                What::Crash(n) => self.crash(n),
                What::ToReceiver(n, datagram) => self.arrive(n, datagram),
                What::ToReceivers(all, datagram) => all.into_iter().for_each(|n| self.arrive(n, datagram.clone())),
                What::Written(n, life) => self.written(n, life),
                What::ToSender(n, datagram) => {
                    let now = self.instant();
                    self.sender.handle(&datagram, address(n), now);
                    self.send();
                }
                What::Sender => {
                    self.woken = None;
                    self.send();
                }
                What::Receiver(n) => {
                    self.nodes[n].woken = None;
                    self.receiver(n);
                }
            }
            if self.nodes.iter().all(|n| n.finished.is_some()) {
                break;
            }
        }
        self.outcome()
    }

    fn outcome(mut self) -> Outcome {
        let shape = *self.sender.shape();
        let (mut right, mut honest) = (0, 0);
        for (n, node) in self.nodes.iter().enumerate() {
            match node.finished {
                Some(true) => right += 1,
                Some(false) => honest += 1,
                None => {
                    let (sender, has) = (&self.sender, node.machine.as_ref().map(Receiver::whole));
                    self.wrong.push(format!(
                        "receiver {n} hangs with {has:?}: {:?}, {:?}",
                        sender.stage(),
                        sender.receivers()
                    ));
                }
            }
        }
        let Sent { first, parity, again, .. } = self.sender.sent();
        let needed: u64 = (0..shape.stripes())
            .filter(|s| self.nodes.iter().any(|n| n.needed[*s as usize]))
            .map(|s| u64::from(shape.symbols(s)))
            .sum();
        let sent = first + parity + again;
        Outcome {
            right,
            honest,
            wrong: self.wrong,
            wire: sent as f64 / needed as f64,
            feedback: self.feedback as f64 / self.carried.max(1) as f64,
            sent,
            time: self.now,
            moments: self.moments,
            stripes: shape.stripes(),
        }
    }

    fn start(&mut self, n: usize) {
        self.nodes[n].has_base = self.scenario.needs < 1.0 || !self.nodes[n].has.is_empty();
        let options = receive::Options {
            node: (self.random.next() as u128 | (n as u128) << 64).to_le_bytes(),
            name: format!("node{n}"),
            datagram: 1472,
            has_mirrors: false,
            has_base: self.nodes[n].has_base,
            memory: self.scenario.memory,
        };
        let now = self.instant();
        let machine = Receiver::new(keys(self.scenario.mode), &self.announce, address(9999), options, now).unwrap();
        self.nodes[n].machine = Some(machine);
        self.receiver(n);
    }

    /// It is killed, and comes again: what it had applied is there.
    fn crash(&mut self, n: usize) {
        if self.nodes[n].finished.is_none() && self.nodes[n].machine.take().is_some() {
            (self.nodes[n].disk, self.nodes[n].life) = (Disk::default(), self.nodes[n].life + 1);
            let again = self.now + Duration::from_millis(self.random.below(4000));
            self.at(again, What::Start(n));
        }
    }

    /// A datagram comes to a receiver. What is sent to all waits until the disk has room, and is lost.
    fn arrive(&mut self, n: usize, mut datagram: Vec<u8>) {
        let now = self.instant();
        let node = &mut self.nodes[n];
        let Some(machine) = &mut node.machine else { return };
        if !node.disk.has_room() && matches!(Kind::of(&datagram), Some(Kind::Data | Kind::Sync)) {
            node.disk.dropped += 1;
            machine.does_not_listen(now);
        } else {
            machine.handle(&mut datagram, now).unwrap();
        }
        self.receiver(n);
    }

    fn written(&mut self, n: usize, life: u32) {
        let (now, Some(speed)) = (self.now, self.scenario.disk) else { return };
        let node = &mut self.nodes[n];
        if node.life != life {
            return;
        }
        if let Some((stripe, bytes)) = node.disk.written(now) {
            if let Some(time) = node.disk.next(speed) {
                self.at(now + time, What::Written(n, life));
            }
            self.applied(n, stripe, bytes);
        }
        self.receiver(n);
    }

    /// A stripe is in the tree.
    fn applied(&mut self, n: usize, stripe: u32, bytes: Vec<u8>) {
        let (head, now) = (self.sender.shape().head_stripes(), self.instant());
        self.nodes[n].has.insert(stripe, ());
        let Some(mut machine) = self.nodes[n].machine.take() else { return };
        // With the head it knows what it needs of the body.
        let knows = (0..head).all(|s| self.nodes[n].has.contains_key(&s));
        if stripe < head && knows {
            self.say_needs(&mut machine, n, now);
        }
        machine.recycle(bytes);
        self.nodes[n].machine = Some(machine);
    }

    /// What the sender has to say now, and when it is asked next.
    fn send(&mut self) {
        let now = self.instant();
        while let Some(transmit) = self.sender.poll(now) {
            self.transmit(transmit);
        }
        if let Some(next) = self.sender.next_timeout(now) {
            let next = next.duration_since(self.origin).max(self.now + Duration::from_micros(10));
            if self.woken.is_none_or(|w| next < w) {
                self.woken = Some(next);
                self.at(next, What::Sender);
            }
        }
    }

    fn transmit(&mut self, transmit: Transmit) {
        match transmit {
            Transmit::Message(to, message) => {
                if to == To::Data {
                    self.look_around();
                }
                let datagram = message.encode(self.sender.keys());
                match to {
                    To::Control | To::Data => self.deliver_to_all(&datagram),
                    To::One(to) => {
                        if let Some(n) = (0..self.nodes.len()).find(|n| address(*n) == to) {
                            self.deliver_to(n, &datagram, Duration::ZERO);
                        }
                    }
                }
            }
            Transmit::Symbols(burst) => {
                for (n, symbol) in burst.symbols.clone().enumerate() {
                    let own = self.sender.shape().symbols(burst.stripe);
                    let header = Header {
                        parity: symbol >= own,
                        repair: burst.repair,
                        again: burst.again,
                        seq: burst.seq + n as u32,
                        stripe: burst.stripe,
                        symbol,
                    };
                    let mut datagram = Vec::new();
                    let bytes = self.symbol(burst.stripe, symbol, own);
                    header.put(self.sender.keys(), &bytes, &mut datagram);
                    self.carried += 1;
                    self.deliver_to_all(&datagram);
                }
            }
        }
    }

    /// Once for each SYNC.
    fn look_around(&mut self) {
        let whole = self.nodes.iter().map(|n| n.machine.as_ref().map(Receiver::whole)).collect();
        let Sent { first, parity, again, .. } = self.sender.sent();
        self.moments.push(Moment { time: self.now, whole, sent: [first, parity, again] });
    }

    fn stripe(&self, stripe: u32) -> &[u8] {
        let (part, range) = self.sender.shape().range(stripe);
        &self.content[usize::from(part == Part::Body)][range.start as usize..range.end as usize]
    }

    fn symbol(&mut self, stripe: u32, symbol: u16, own: u16) -> Vec<u8> {
        let size = usize::from(SYMBOL);
        let Some(parity) = symbol.checked_sub(own) else {
            let mut bytes = self.stripe(stripe).chunks(size).nth(usize::from(symbol)).unwrap().to_vec();
            bytes.resize(size, 0);
            return bytes;
        };
        if !self.parity.contains_key(&stripe) {
            let shape = *self.sender.shape();
            let bytes = self.stripe(stripe).to_vec();
            let made = self.encoder.parity(&shape, &bytes).unwrap();
            self.parity.insert(stripe, made);
        }
        self.parity[&stripe][usize::from(parity) * size..][..size].to_vec()
    }

    fn deliver_to_all(&mut self, datagram: &[u8]) {
        if self.random.chance(self.scenario.network.shared_loss) {
            return;
        }
        let cable = self.scenario.network.cable;
        let Some(waits) = cable.map_or(Some(Duration::ZERO), |bits| self.cable.pass(bits, datagram, self.now)) else {
            return;
        };
        let there: Vec<usize> = (0..self.nodes.len()).filter(|n| self.nodes[*n].machine.is_some()).collect();
        if !self.scenario.network.is_simple() {
            there.into_iter().for_each(|n| self.deliver_to(n, datagram, waits));
            return;
        }
        // Thousands of receivers: one event for all of them.
        let Self { scenario, random, .. } = self;
        let all = there.into_iter().filter(|_| !random.chance(scenario.network.loss)).collect();
        let delay = scenario.network.delay + waits;
        self.at(self.now + delay, What::ToReceivers(all, datagram.to_vec()));
    }

    fn deliver_to(&mut self, n: usize, datagram: &[u8], mut waits: Duration) {
        let Self { scenario, nodes, random, now, .. } = self;
        if let Some((slow, bits)) = scenario.network.slow
            && slow == n
        {
            let Some(more) = nodes[n].down.cable.pass(bits, datagram, *now + waits) else { return };
            waits += more;
        }
        for (after, copy) in scenario.network.carry(&mut nodes[n].down, datagram, *now, random) {
            self.at(self.now + waits + after, What::ToReceiver(n, copy));
        }
    }

    /// What a receiver says, what it has got, and when it is asked next.
    fn receiver(&mut self, n: usize) {
        let now = self.instant();
        self.look(n, now);
        let Some(machine) = &mut self.nodes[n].machine else { return };
        let mut says = Vec::new();
        while let Some(datagram) = machine.poll(now) {
            says.push(datagram);
        }
        let next = machine.next_timeout();
        if machine.has_left() {
            self.nodes[n].finished.get_or_insert(false);
        }
        for datagram in says {
            self.feedback += 1;
            let Self { scenario, nodes, random, now, .. } = self;
            for (after, copy) in scenario.network.carry(&mut nodes[n].up, &datagram, *now, random) {
                self.at(self.now + after, What::ToSender(n, copy));
            }
        }
        self.look(n, now);
        if let Some(next) = next {
            let next = next.duration_since(self.origin).max(self.now + Duration::from_micros(10));
            if self.nodes[n].woken.is_none_or(|w| next < w) {
                self.nodes[n].woken = Some(next);
                self.at(next, What::Receiver(n));
            }
        }
    }

    fn look(&mut self, n: usize, now: Instant) {
        let Some(mut m) = self.nodes[n].machine.take() else { return };
        let mut whole = Vec::new();
        while let Some(event) = m.event() {
            match event {
                Event::Whole(stripe) => whole.push(stripe),
                Event::Over(_) | Event::Silent | Event::Refused(_) => {
                    let right = self.nodes[n].is_right();
                    self.nodes[n].finished.get_or_insert(right);
                }
                Event::Admitted | Event::JoinAgain | Event::Unreachable | Event::Unanswered | Event::Detached(_) => {}
            }
        }
        self.nodes[n].machine = Some(m);
        for receive::Whole { stripe, bytes } in whole {
            if bytes != self.stripe(stripe) {
                self.wrong.push(format!("stripe {stripe} at {n}"));
            }
            let Some(speed) = self.scenario.disk else {
                self.applied(n, stripe, bytes);
                continue;
            };
            let life = self.nodes[n].life;
            if let Some(time) = self.nodes[n].disk.put(stripe, bytes, speed) {
                self.at(self.now + time, What::Written(n, life));
            }
        }
        let Self { nodes, wrong, .. } = self;
        let node = &mut nodes[n];
        let (right, disk) = (node.is_right(), &node.disk);
        let Some(m) = &mut node.machine else { return };
        let (backlog, applied) = disk.load();
        m.set_load(Load { dropped: disk.dropped, backlog, applied, disk_bound: !disk.has_room() });
        if m.is_complete() && disk.is_idle() && !m.has_left() {
            if !right {
                wrong.push(format!("{n} is complete and is not"));
            }
            node.finished = Some(right);
            m.leave(true, false, now);
        }
    }

    fn say_needs(&mut self, m: &mut Receiver, n: usize, now: Instant) {
        let node = &self.nodes[n];
        if !node.has_base {
            return;
        }
        let lacks = |s: u32| node.needed[s as usize] && !node.has.contains_key(&s);
        let blocks = self.sender.plan().blocks();
        let mut runs: Vec<(u32, u32)> = Vec::new();
        let mut gap = 0;
        for block in blocks {
            let wanted = m.shape().of_body(block.bytes.clone()).any(lacks);
            match runs.last_mut() {
                _ if !wanted => gap += 1,
                Some(last) if gap == 0 => last.1 += 1,
                _ => runs.push((std::mem::take(&mut gap), 1)),
            }
        }
        m.need(&runs, &lacks, now);
    }
}
