//! The sender on sockets.

use super::{GROUP, data_group};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::job::Task;
use crate::multicast::fec::Encoder;
use crate::multicast::offer::Offer;
use crate::multicast::send::{self as machine, Burst, Rate, Seen, Sender, Sent, Stage, Standing, To, Transmit};
use crate::multicast::shape::{PARITY, Shape};
use crate::multicast::wire::{Announce, DATA_HEADER, Header, Keys, MESSAGE_LIMIT, Message, Mode, SECRET, Session};
use crate::store::Image;
use crate::sys::clock;
use crate::sys::udp::{Interface, check_group, segment};
use serde::Serialize;
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Headers of IP and UDP.
const PACKET: (usize, usize) = (20 + 8, 40 + 8);
/// Bytes that one call can send.
const AT_ONCE: usize = 65_000;
/// Stripes that are kept, and those whose parity is, at most, and as far as it takes so many bytes.
const KEPT: (usize, usize) = (8, 48);
const PARITY_BYTES: usize = 48 << 20;
/// Below this a timer is too coarse.
const SPIN: Duration = Duration::from_micros(120);
/// How long it is tried to say that it is over.
const PARTING: Duration = Duration::from_millis(500);
/// So many datagrams are heard before something is sent again.
const HEARD: usize = 64;
/// Between two looks of those who watch.
const WATCH: Duration = Duration::from_secs(1);
/// The longest time without a look at what came.
const LOOK: Duration = Duration::from_micros(500);

/// How an image is sent.
#[derive(Clone)]
pub struct SendOptions {
    /// Name of the network interface.
    pub interface: String,
    /// The control group.
    pub group: SocketAddr,
    /// Receivers that are expected; 0 when nobody knows.
    pub receivers: u32,
    /// How long it is waited for more, after the first one.
    pub wait: Duration,
    /// How fast.
    pub rate: Rate,
    /// How it is protected.
    pub mode: Mode,
    /// For the modes that need one.
    pub secret: Option<[u8; SECRET]>,
    /// How many routers it may pass, and one more.
    pub ttl: u32,
    /// Who is told once a second how it goes, and at the end.
    pub watch: Option<Watch>,
}

/// A function that looks at a session that goes on.
#[derive(Clone)]
pub struct Watch(Arc<dyn Fn(&SendReport) + Send + Sync>);

impl Watch {
    /// Calls this function, which must not take long: nothing is sent meanwhile.
    #[must_use]
    pub fn new(look: impl Fn(&SendReport) + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }
}

impl SendOptions {
    /// The usual, over an interface.
    #[must_use]
    pub fn new(interface: &str) -> Self {
        Self {
            interface: interface.to_owned(),
            group: GROUP,
            receivers: 0,
            wait: Duration::from_secs(10),
            rate: Rate::Auto,
            mode: Mode::Crc,
            secret: None,
            ttl: 1,
            watch: None,
        }
    }
}

/// How a session goes, and how it went.
#[derive(Clone, Debug, Serialize)]
pub struct SendReport {
    /// The image.
    pub image: String,
    /// Where it is.
    pub stage: Stage,
    /// Bits in a second, with headers.
    pub rate: f64,
    /// The receiver whose loss, or disk, keeps the rate from rising.
    pub limited_by: Option<String>,
    /// Stripes in all.
    pub stripes: u32,
    /// Bytes of its head and body.
    pub bytes: u64,
    /// Seconds from the first symbol until nobody wanted anything any more.
    pub seconds: f64,
    /// What was sent.
    pub sent: Sent,
    /// The receivers.
    pub receivers: Vec<Seen>,
}

impl SendReport {
    /// Receivers that have everything.
    #[must_use]
    pub fn done(&self) -> usize {
        self.receivers.iter().filter(|r| r.standing == Standing::Done).count()
    }
}

/// Sends an image to all that ask for it, until nobody wants anything any more.
///
/// # Errors
/// `NotFound` for an interface; `Invalid` for a group, or a mode without its secret; `Integrity` when something of the image is damaged;
/// `Network`; `Cancelled`.
pub fn send(image: &Image, options: &SendOptions, task: &Task) -> Result<SendReport> {
    let interface = Interface::named(&options.interface)?;
    check_group(options.group)?;
    let session = Session(clock::random_u64());
    let keys = Keys::new(options.mode, options.secret.as_ref(), session)
        .ok_or_else(|| Error::invalid(format!("mode {} needs a key", options.mode)).hint("give --key-file FILE"))?;
    if !options.mode.is_keyed() && options.secret.is_some() {
        return Err(Error::invalid("mode crc takes no key, and receivers with one would wait for ever")
            .hint("give --mode tag, or aead"));
    }
    task.stage("plan", 0, Unit::Entries);
    let offer = Offer::of(image, task)?;
    let is_v6 = options.group.is_ipv6();
    let headers = if is_v6 { PACKET.1 } else { PACKET.0 } + DATA_HEADER + options.mode.data_check();
    let symbol = interface.mtu()?.saturating_sub(headers).min(usize::from(crate::multicast::shape::SYMBOL_MAX));
    let shape = Shape::new((symbol & !1) as u16, offer.head(), offer.plan().bytes())?;
    let (control, data) = (interface.open(is_v6, options.ttl)?, interface.open(is_v6, options.ttl)?);
    let failed = |e| Error::io("use", "a socket", e);
    data.set_nonblocking(false).map_err(failed)?;
    let group = data_group(options.group, session);
    let announce = Announce {
        over: false,
        failed: false,
        time: 0,
        image: offer.image(),
        head: shape.head(),
        body: shape.body(),
        symbol: shape.symbol() as u16,
        port: control.local_addr().map_err(failed)?.port(),
        data: (group.ip(), group.port()),
        expected: options.receivers,
        name: offer.name().to_owned(),
    };
    let how = machine::Options { announce, rate: options.rate, wait: options.wait };
    let machine = Sender::new(keys, shape, offer.plan().clone(), how, Instant::now())?;
    let datagram = DATA_HEADER + options.mode.data_check() + shape.symbol();
    let at_once = segment(&data, datagram as u16);
    let stripes = Stripes {
        offer: &offer,
        shape,
        kept: Kept::new(KEPT.0),
        parity: Kept::new((PARITY_BYTES / (usize::from(PARITY) * shape.symbol())).clamp(1, KEPT.1)),
        encoder: Encoder::default(),
    };
    let mut driver = Driver {
        watch: options.watch.clone(),
        standings: Vec::new(),
        machine,
        stripes,
        control,
        data,
        at_once,
        datagram,
        group: (options.group, group),
        out: Vec::new(),
        began: None,
    };
    let ran = driver.run(task);
    if ran.is_err() {
        driver.part();
    }
    ran
}

struct Driver<'o> {
    watch: Option<Watch>,
    /// What was told of each receiver.
    standings: Vec<Standing>,
    machine: Sender,
    stripes: Stripes<'o>,
    control: UdpSocket,
    data: UdpSocket,
    /// Whether one call sends a burst.
    at_once: bool,
    datagram: usize,
    group: (SocketAddr, SocketAddr),
    out: Vec<u8>,
    began: Option<Instant>,
}

impl Driver<'_> {
    /// Tells the receivers that it is over, as far as that still works.
    fn part(&mut self) {
        self.machine.close(true, Instant::now());
        let until = Instant::now() + PARTING;
        while !self.machine.is_closed() && Instant::now() < until {
            match self.machine.poll(Instant::now()) {
                Some(message @ Transmit::Message(..)) => _ = self.transmit(message),
                Some(Transmit::Symbols(_)) => {}
                None => std::thread::sleep(LOOK),
            }
        }
    }

    fn run(&mut self, task: &Task) -> Result<SendReport> {
        let shape = *self.machine.shape();
        task.stage("multicast", shape.head() + shape.body(), Unit::Bytes);
        let (mut buf, mut told, mut next_look) = (vec![0; MESSAGE_LIMIT + 1], 0, Instant::now());
        while !self.machine.is_closed() {
            if task.check().is_err() {
                self.machine.close(true, Instant::now());
            }
            self.hear(&mut buf)?;
            let until = Instant::now() + LOOK;
            while let Some(transmit) = self.machine.poll(Instant::now()) {
                self.transmit(transmit)?;
                if Instant::now() >= until {
                    break;
                }
            }
            let first = self.machine.sent().first;
            task.advance((first - told) * shape.symbol() as u64);
            told = first;
            let now = Instant::now();
            if now >= next_look {
                next_look = now + WATCH;
                self.tell(task);
            }
            let Some(next) = self.machine.next_timeout(now) else { continue };
            let wait = next.saturating_duration_since(now).min(LOOK);
            if wait > SPIN {
                std::thread::sleep(wait - SPIN / 2);
            } else if !wait.is_zero() {
                std::hint::spin_loop();
            }
        }
        self.tell(task);
        task.check()?;
        Ok(self.report())
    }

    fn report(&self) -> SendReport {
        let (machine, shape) = (&self.machine, self.machine.shape());
        let until = machine.finished().unwrap_or_else(Instant::now);
        SendReport {
            image: self.stripes.offer.image().to_string(),
            stage: machine.stage(),
            rate: machine.rate(),
            limited_by: machine.limited_by().map(str::to_owned),
            stripes: shape.stripes(),
            bytes: shape.head() + shape.body(),
            seconds: self.began.map_or(0.0, |began| until.duration_since(began).as_secs_f64()),
            sent: machine.sent(),
            receivers: machine.receivers(),
        }
    }

    /// Tells who watches how it goes, and everybody which receivers fare badly since the last time.
    fn tell(&mut self, task: &Task) {
        let report = self.report();
        let before = self.standings.iter().copied().chain(std::iter::repeat(Standing::Receiving));
        for (now, before) in report.receivers.iter().zip(before) {
            let what = match now.standing {
                standing if standing == before => continue,
                Standing::Lost => "receiver_lost: it says nothing any more, and nobody waits for it",
                Standing::Laggard => "receiver_lags: it loses much, and gets the rest when the others are done",
                Standing::Detached => "receiver_detached: it loses much, and was sent to its mirrors",
                Standing::Failed => "receiver_failed: it gave up",
                Standing::Receiving | Standing::Done => continue,
            };
            task.warn(format!("{}: {what}", now.name));
        }
        self.standings = report.receivers.iter().map(|r| r.standing).collect();
        task.report(&report);
        if let Some(Watch(look)) = &self.watch {
            look(&report);
        }
    }

    fn hear(&mut self, buf: &mut [u8]) -> Result<()> {
        for _ in 0..HEARD {
            match self.control.recv_from(buf) {
                Ok((bytes, from)) => self.machine.handle(&buf[..bytes], canonical(from), Instant::now()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Somebody who has gone: nothing of ours.
                Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused) => {}
                Err(e) => return Err(Error::io("receive from", "the network", e)),
            }
        }
        Ok(())
    }

    fn transmit(&mut self, transmit: Transmit) -> Result<()> {
        match transmit {
            Transmit::Message(to, mut message) => {
                if let Message::Announce(announce) = &mut message {
                    let (seconds, nanos) = clock::now();
                    announce.time = u64::try_from(seconds).unwrap_or(0) * 1000 + u64::from(nanos / 1_000_000);
                }
                let datagram = message.encode(self.machine.keys());
                let to = match to {
                    To::Control => self.group.0,
                    To::Data => self.group.1,
                    To::One(to) => to,
                };
                // What does not go out is said again.
                let _ = self.control.send_to(&datagram, to);
                Ok(())
            }
            Transmit::Symbols(burst) => {
                self.began.get_or_insert_with(Instant::now);
                self.burst(&burst)
            }
        }
    }

    fn burst(&mut self, burst: &Burst) -> Result<()> {
        let own = self.stripes.shape.symbols(burst.stripe);
        self.out.clear();
        for (symbol, seq) in burst.symbols.clone().zip(burst.seq..) {
            let parity = symbol >= own;
            let header = Header { parity, repair: burst.repair, again: burst.again, seq, stripe: burst.stripe, symbol };
            let bytes = self.stripes.symbol(burst.stripe, symbol, own)?;
            header.put(self.machine.keys(), bytes, &mut self.out);
        }
        let size = self.datagram * if self.at_once { (AT_ONCE / self.datagram).max(1) } else { 1 };
        for part in self.out.chunks(size) {
            while let Err(e) = self.data.send_to(part, self.group.1) {
                match e.raw_os_error() {
                    Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR) => std::thread::sleep(Duration::from_micros(200)),
                    Some(libc::EMSGSIZE) => {
                        return Err(Error::new(
                            ErrorKind::Network,
                            format!("datagrams of {} bytes do not pass the interface", self.datagram),
                        )
                        .hint("its MTU was lowered since the session began: begin anew"));
                    }
                    _ => return Err(Error::io("send to", self.group.1, e)),
                }
            }
        }
        Ok(())
    }
}

/// An address as it is compared: that of IPv4 in one form.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Bytes of stripes that were used lately; the last one was used last.
struct Kept {
    limit: usize,
    entries: VecDeque<(u32, Vec<u8>)>,
}

impl Kept {
    fn new(limit: usize) -> Self {
        Self { limit, entries: VecDeque::new() }
    }

    /// Whether those of a stripe are there, which are the last ones then.
    fn find(&mut self, stripe: u32) -> bool {
        if self.entries.back().is_some_and(|(s, _)| *s == stripe) {
            return true;
        }
        let found = self.entries.iter().position(|(s, _)| *s == stripe).and_then(|at| self.entries.remove(at));
        let is_there = found.is_some();
        self.entries.extend(found);
        is_there
    }

    /// Memory for one more: that of the oldest one when it is full.
    fn memory(&mut self) -> Vec<u8> {
        if self.entries.len() == self.limit { self.entries.pop_front() } else { None }.unwrap_or_default().1
    }

    fn put(&mut self, stripe: u32, bytes: Vec<u8>) {
        self.entries.push_back((stripe, bytes));
    }

    fn last(&self) -> &[u8] {
        self.entries.back().map_or(&[], |(_, bytes)| bytes)
    }
}

/// Bytes and parity of stripes, as they are needed.
struct Stripes<'o> {
    offer: &'o Offer,
    shape: Shape,
    /// Stripes with their padding.
    kept: Kept,
    parity: Kept,
    encoder: Encoder,
}

impl Stripes<'_> {
    fn symbol(&mut self, stripe: u32, symbol: u16, own: u16) -> Result<&[u8]> {
        let size = self.shape.symbol();
        let (from, n) = match symbol.checked_sub(own) {
            None => (self.stripe(stripe)?, symbol),
            Some(n) if n < PARITY => (self.parity(stripe)?, n),
            Some(_) => return Err(Error::new(ErrorKind::Bug, "a symbol beyond the parity of its stripe")),
        };
        Ok(&from[usize::from(n) * size..][..size])
    }

    fn stripe(&mut self, stripe: u32) -> Result<&[u8]> {
        if !self.kept.find(stripe) {
            let mut bytes = self.kept.memory();
            self.offer.read(&self.shape, stripe, &mut bytes)?;
            bytes.resize(usize::from(self.shape.symbols(stripe)) * self.shape.symbol(), 0);
            self.kept.put(stripe, bytes);
        }
        Ok(self.kept.last())
    }

    fn parity(&mut self, stripe: u32) -> Result<&[u8]> {
        if !self.parity.find(stripe) {
            let (_, range) = self.shape.range(stripe);
            let (shape, length) = (self.shape, (range.end - range.start) as usize);
            let mut encoder = std::mem::take(&mut self.encoder);
            let made = encoder.parity(&shape, &self.stripe(stripe)?[..length]);
            self.encoder = encoder;
            drop(self.parity.memory());
            self.parity.put(stripe, made?);
        }
        Ok(self.parity.last())
    }
}
