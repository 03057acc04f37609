//! The receiver on sockets: a thread that hears, and the extraction that takes blocks from it.

use super::assembly::Assembly;
use super::feed::{Shared, Source};
use super::send::canonical;
use super::{GROUP, data_group};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::image::ChunkSet;
use crate::job::Task;
use crate::multicast::offer::Offered;
use crate::multicast::plan::BodyPlan;
use crate::multicast::receive::{self as machine, Event, Load, Received, Receiver};
use crate::multicast::wire::{Announce, Keys, Message, SECRET};
use crate::store::{Image, Store, Trust};
use crate::sys::clock;
use crate::sys::udp::Interface;
use crate::tree::extract::{ExtractOptions, Extracted, extract};
use serde::Serialize;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Bytes of stripes that are not whole.
const MEMORY: usize = 48 << 20;
/// Bytes of stripes that are whole, and of whose blocks something is lacking.
const HELD: usize = 32 << 20;
/// How long the thread of the network naps when nothing comes. To be woken for each datagram would cost more than the datagram.
const NAP: Duration = Duration::from_micros(500);
/// Longest datagram.
const DATAGRAM: usize = 65_536;

/// How an image is received.
pub struct ReceiveOptions {
    /// Name of the network interface.
    pub interface: String,
    /// The control group.
    pub group: SocketAddr,
    /// The secret that the sender has; with one nothing is taken that is not made with it.
    pub secret: Option<[u8; SECRET]>,
    /// The name of the image; `None` takes the first one that is announced.
    pub name: Option<String>,
    /// Who vouches for it.
    pub trust: Option<Trust>,
    /// Where the rest is read when multicast does not bring it: a store with the same image.
    pub mirror: Option<Store>,
    /// What this node is called.
    pub node: String,
    /// How it is written.
    pub extract: ExtractOptions,
}

impl ReceiveOptions {
    /// The usual, over an interface.
    #[must_use]
    pub fn new(interface: &str) -> Self {
        Self {
            interface: interface.to_owned(),
            group: GROUP,
            secret: None,
            name: None,
            trust: None,
            mirror: None,
            node: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            extract: ExtractOptions::default(),
        }
    }
}

/// What came, and where it is.
#[derive(Clone, Debug, Serialize)]
pub struct Delivered {
    /// The image.
    pub image: String,
    /// Its name.
    pub name: String,
    /// Its generation.
    pub generation: u64,
    /// What came by multicast.
    pub received: Received,
    /// Why the rest came from a mirror, if it did.
    pub instead: Option<String>,
    /// What was made of it.
    pub extracted: Extracted,
}

/// Waits for an image that is sent, and extracts it into `target` while it comes.
///
/// # Errors
/// As [`extract`]; `Network` when the session ends before everything is here; `Denied` when nobody that is trusted vouches for it;
/// `Cancelled`.
pub fn receive(target: &Path, mut options: ReceiveOptions, task: &Task) -> Result<Delivered> {
    let interface = Interface::named(&options.interface)?;
    let control = interface.join(options.group)?;
    task.stage("listen", 0, Unit::Entries);
    let (keys, announce, sender) = listen(&control, &options, task)?;
    let group = SocketAddr::new(announce.data.0, announce.data.1);
    if group != data_group(options.group, keys.session()) {
        return Err(Error::new(ErrorKind::Network, format!("{sender} announces another group than its session has")));
    }
    let how = machine::Options {
        node: [clock::random_u64(), clock::random_u64()].map(u64::to_le_bytes).concat().try_into().unwrap_or_default(),
        name: options.node.clone(),
        datagram: u16::try_from(interface.mtu()?.saturating_sub(if group.is_ipv6() { 48 } else { 28 }))
            .unwrap_or(u16::MAX),
        has_mirrors: options.mirror.is_some(),
        has_base: false,
        memory: MEMORY,
    };
    let receiver = Receiver::new(keys, &announce, sender, how, Instant::now())?;
    let shape = *receiver.shape();
    let sockets = [control, interface.join(group)?, interface.open(group.is_ipv6(), 1)?];
    let shared = Arc::new(Shared::default());
    let network = Network {
        receiver,
        assembly: Assembly::new(shape),
        sockets,
        shared: shared.clone(),
        done: None,
        applied: (Instant::now(), 0, 0),
    };
    let thread = std::thread::Builder::new().name("libcv-mcast".into()).spawn(move || network.run());
    let thread = thread.map_err(|e| Error::io("start", "a thread", e))?;
    let trust = options.trust.take().map(Arc::new);
    let applied = apply(target, &options, trust.as_ref(), &announce, &shared, task);
    shared.applied.store(applied.is_ok(), Ordering::Relaxed);
    shared.given_up.store(true, Ordering::Relaxed);
    let received = thread.join().map_err(|_| Error::new(ErrorKind::Bug, "the thread of the network panicked"))?;
    let (generation, extracted) = applied?;
    let (image, instead) = (announce.image.to_string(), shared.instead());
    Ok(Delivered { image, name: announce.name, generation, received, instead, extracted })
}

/// Waits for a session that fits.
fn listen(control: &UdpSocket, options: &ReceiveOptions, task: &Task) -> Result<(Keys, Announce, SocketAddr)> {
    let mut buf = vec![0; DATAGRAM];
    loop {
        task.check()?;
        let (bytes, from) = match control.recv_from(&mut buf) {
            Ok(came) => came,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                std::thread::sleep(NAP * 4);
                continue;
            }
            Err(e) => return Err(Error::io("receive from", options.group, e)),
        };
        let Ok((mode, session)) = Message::envelope(&buf[..bytes]) else { continue };
        // Who has a secret believes nobody who has not.
        if mode.is_keyed() != options.secret.is_some() {
            continue;
        }
        let Some(keys) = Keys::new(mode, options.secret.as_ref(), session) else { continue };
        let Ok(Some(Message::Announce(announce))) = Message::decode(&buf[..bytes], &keys) else { continue };
        if !announce.over && options.name.as_ref().is_none_or(|n| *n == announce.name) {
            let sender = canonical(SocketAddr::new(from.ip(), announce.port));
            return Ok((keys, announce, sender));
        }
    }
}

fn apply(
    target: &Path,
    options: &ReceiveOptions,
    trust: Option<&Arc<Trust>>,
    announce: &Announce,
    shared: &Arc<Shared>,
    task: &Task,
) -> Result<(u64, Extracted)> {
    task.stage("head", announce.head, Unit::Bytes);
    let trusted = |store: &Store| trust.map_or(store.clone(), |trust| store.trusting_too(trust));
    let opened = open_head(announce, shared, &trusted, task);
    let (image, store, (plan, body, held)) = match (opened, &options.mirror) {
        (Err(why), Some(mirror)) if why.kind() != ErrorKind::Cancelled => {
            shared.go_elsewhere(&why);
            shared.take_notes().into_iter().for_each(|note| task.warn(note));
            let image = trusted(mirror).image_by_id(announce.image)?;
            return Ok((generation(&image), image.extract(target, &options.extract, task)?));
        }
        (opened, _) => opened?,
    };
    shared.set_plan(plan.clone());
    let mirror = options.mirror.clone();
    let source = Source {
        head: store,
        shared: shared.clone(),
        plan,
        body,
        held,
        image: image.id(),
        mirror,
        rest: OnceLock::new(),
    };
    let extracted = extract(&image, &source, target, &options.extract, task)?;
    Ok((generation(&image), extracted))
}

/// What the head holds: the image, the store that it was opened from, and the blocks of the body with their chunks and those of the head.
fn open_head(
    announce: &Announce,
    shared: &Shared,
    trusted: &dyn Fn(&Store) -> Store,
    task: &Task,
) -> Result<(Image, Store, (BodyPlan, ChunkSet, ChunkSet))> {
    let head = shared.head()?;
    let open = || {
        let offered = Offered::open(&head)?;
        let store = trusted(offered.store());
        let image = store.image(&announce.name)?;
        if image.id() != announce.image {
            return Err(Error::integrity("it holds another image than was announced"));
        }
        let plan = offered.plan(&image, task)?;
        if plan.0.bytes() != announce.body {
            return Err(Error::integrity("its plan is of another body than was announced"));
        }
        Ok((image, store, plan))
    };
    open().map_err(|e| match e.kind() {
        // Whoever is not trusted, and what is replaced, is no accident of the network.
        ErrorKind::Cancelled | ErrorKind::Denied | ErrorKind::Stale | ErrorKind::Unsupported => e,
        _ => Error::integrity(format!("the head of the session cannot be used: {e}"))
            .hint("somebody may disturb the network: with --mode tag and a key nobody else can")
            .cause(e),
    })
}

fn generation(image: &Image) -> u64 {
    image.release().map_or(0, |r| r.generation)
}

/// The thread that hears.
struct Network {
    receiver: Receiver,
    assembly: Assembly,
    /// Of the control group, of the data group, and of its own.
    sockets: [UdpSocket; 3],
    shared: Arc<Shared>,
    /// How the work ended, since it is said.
    done: Option<bool>,
    /// When the load was measured, bytes taken then, and in a second.
    applied: (Instant, u64, u64),
}

impl Network {
    fn run(mut self) -> Received {
        let (mut buf, mut ready) = (vec![0; DATAGRAM], Vec::new());
        while !self.receiver.has_left() {
            let mut came = false;
            for n in 0..self.sockets.len() {
                // Beyond what may wait the kernel drops, and the sender hears of it.
                if n != 1 || self.shared.has_room() && self.assembly.bytes() < HELD {
                    came |= self.hear(n, &mut buf);
                }
            }
            self.events(&mut ready);
            self.orders(&mut ready);
            ready.drain(..).for_each(|r| self.shared.put(r));
            self.load();
            while let Some(datagram) = self.receiver.poll(Instant::now()) {
                // What does not go out is said again.
                let _ = self.sockets[2].send_to(&datagram, self.receiver.sender());
            }
            if !came {
                std::thread::sleep(NAP);
            }
        }
        self.events(&mut ready);
        self.shared.end("the session ended too early".to_owned());
        self.receiver.received()
    }

    /// Takes what a socket has, but not for too long.
    fn hear(&mut self, n: usize, buf: &mut [u8]) -> bool {
        let mut came = false;
        for _ in 0..256 {
            match self.sockets[n].recv_from(buf) {
                Ok((bytes, _)) => {
                    came = true;
                    if let Err(e) = self.receiver.handle(&mut buf[..bytes], Instant::now()) {
                        self.shared.end(e.to_string());
                    }
                }
                Err(_) => break,
            }
        }
        came
    }

    fn events(&mut self, ready: &mut Vec<super::assembly::Ready>) {
        while let Some(event) = self.receiver.event() {
            match event {
                Event::Whole(whole) => self.assembly.take(whole, ready),
                Event::Refused(reason) => self.shared.end(format!("the sender refuses: {reason}")),
                Event::Over(true) => self.shared.end("the sender gave up".to_owned()),
                Event::Over(false) => self.shared.end("the session ended before everything was here".to_owned()),
                Event::Silent => self.shared.end("the sender says nothing any more".to_owned()),
                Event::Unreachable => self.shared.end(
                    "multicast_unreachable: nothing that is sent to the group arrives: is there an IGMP querier, a firewall, another VLAN?"
                        .to_owned(),
                ),
                Event::Detached(reason) => self.shared.end(format!("the sender says to go to mirrors: {reason}")),
                Event::Admitted | Event::JoinAgain => {}
            }
        }
    }

    fn orders(&mut self, ready: &mut Vec<super::assembly::Ready>) {
        let (plan, wrong) = self.shared.orders();
        if let Some(plan) = plan {
            self.assembly.plan(plan, ready);
        }
        for block in wrong {
            self.assembly.again(block).for_each(|s| self.receiver.again(s));
        }
        if self.done.is_none() && self.shared.given_up.load(Ordering::Relaxed) {
            let done = self.shared.applied.load(Ordering::Relaxed);
            self.done = Some(done);
            self.receiver.leave(done, !done, Instant::now());
        }
    }

    fn load(&mut self) {
        let (backlog, taken) = self.shared.load();
        let (since, before, _) = self.applied;
        let time = since.elapsed();
        if time >= Duration::from_secs(1) {
            let in_a_second = ((taken - before) as f64 / time.as_secs_f64()) as u64;
            self.applied = (Instant::now(), taken, in_a_second);
        }
        let disk_bound = !self.shared.has_room();
        self.receiver.set_load(Load { dropped: 0, backlog, applied: self.applied.2, disk_bound });
    }
}
