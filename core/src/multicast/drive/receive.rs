//! The receiver on sockets: a thread that hears, and the extraction that takes blocks from it.

use super::assembly::Assembly;
use super::feed::{Orders, Shared, Source};
use super::send::canonical;
use super::{GROUP, data_group};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::image::{ChunkSet, Hash};
use crate::job::Task;
use crate::multicast::offer::Offered;
use crate::multicast::plan::BodyPlan;
use crate::multicast::receive::{self as machine, Event, Load, Received, Receiver};
use crate::multicast::wire::{Announce, Keys, Message, SECRET};
use crate::store::{ChunkSource, Image, Store, Trust};
use crate::sys::clock;
use crate::sys::datagrams::{Datagrams, gather};
use crate::sys::udp::Interface;
use crate::tree::extract::{self, ExtractOptions, Extracted};
use crate::tree::update::{self, UpdateOptions, Updated};
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
/// Who has a mirror waits no longer than that for repair of which nothing comes.
const STALL: Duration = Duration::from_secs(1);
/// How long the thread of the network naps when nothing comes. To be woken for each datagram would cost more than the datagram.
const NAP: Duration = Duration::from_micros(500);
/// Seconds that an announcement of a session with a key is believed; and since 1970, before which no clock is right.
const AGE: u64 = 600;
const CLOCK_IS_SET: i64 = 1_700_000_000;
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
    /// The image itself; no other one is taken.
    pub image: Option<Hash>,
    /// Who vouches for it.
    pub trust: Option<Trust>,
    /// Where the rest is read when multicast does not bring it: a store with the same image.
    pub mirror: Option<Store>,
    /// What this node is called.
    pub node: String,
    /// What is there is updated to the image, and only what it lacks is received.
    pub update: bool,
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
            image: None,
            trust: None,
            mirror: None,
            node: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            update: false,
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
    /// What changed in the tree that was there, with `update`.
    pub updated: Option<Updated>,
}

/// What is made of an image.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// A tree, where nothing is.
    Extract,
    /// The rest of a tree, of which a killed run wrote a part.
    Finish,
    /// Another tree, of the one that is there.
    Update,
}

impl Work {
    fn of(target: &Path, image: &Hash, options: &ReceiveOptions) -> Self {
        let is_empty = || std::fs::read_dir(target).map_or(true, |mut entries| entries.next().is_none());
        match extract::begun(target) {
            Some(begun) if begun == *image => Self::Finish,
            // Also of a run that was killed after the end of its work.
            None if extract::noted(target) == Some(*image) || options.update && !is_empty() => Self::Update,
            _ => Self::Extract,
        }
    }

    /// Does it, with chunks of `source`.
    fn carry_out(
        self,
        image: &Image,
        source: &dyn ChunkSource,
        target: &Path,
        options: &ExtractOptions,
        task: &Task,
    ) -> Result<(Extracted, Option<Updated>)> {
        match self {
            Self::Extract => Ok((extract::extract(image, source, target, options, task)?, None)),
            Self::Finish => Ok((update::finish(image, source, target, options, task)?, None)),
            Self::Update => {
                let ExtractOptions { verify, accept_loss, threads, no_sync } = *options;
                let options = UpdateOptions { verify, accept_loss, threads, no_sync, ..UpdateOptions::default() };
                let updated = update::update(image, source, target, &options, task)?;
                let Updated { entries, bytes, verified, .. } = updated;
                Ok((Extracted { entries, bytes, verified, losses: updated.losses.clone() }, Some(updated)))
            }
        }
    }
}

/// Waits for an image that is sent, and extracts it into `target` while it comes.
///
/// # Errors
/// As [`extract`]; `Network` when the session ends before everything is here; `Integrity` when nobody that is trusted vouches for it; `Stale` when a later one was seen;
/// `Cancelled`.
pub fn receive(target: &Path, mut options: ReceiveOptions, task: &Task) -> Result<Delivered> {
    let interface = Interface::named(&options.interface)?;
    check_target(target, &options)?;
    let control = interface.join(options.group)?;
    task.stage("listen", 0, Unit::Entries);
    task.log(format!("waits for a session on {}", options.interface));
    let (keys, announce, sender) = listen(&control, &options, task)?;
    let group = data_group(options.group, keys.session());
    let work = Work::of(target, &announce.image, &options);
    let how = machine::Options {
        node: [clock::random_u64(), clock::random_u64()].map(u64::to_le_bytes).concat().try_into().unwrap_or_default(),
        name: options.node.clone(),
        datagram: u16::try_from(interface.mtu()?.saturating_sub(if group.is_ipv6() { 48 } else { 28 }))
            .unwrap_or(u16::MAX),
        has_mirrors: options.mirror.is_some(),
        has_base: work != Work::Extract,
        memory: MEMORY,
    };
    let receiver = Receiver::new(keys, &announce, sender, how, Instant::now())?;
    let shape = *receiver.shape();
    let sockets = [control, interface.join(group)?, interface.open(group.is_ipv6(), 1)?];
    gather(&sockets[1]);
    let membership = Membership { interface, group };
    let shared = Arc::new(Shared::default());
    let network = Network {
        receiver,
        assembly: Assembly::new(shape),
        sockets,
        membership,
        shared: shared.clone(),
        plan: Arc::default(),
        has_mirror: options.mirror.is_some(),
        has_base: work != Work::Extract,
        progress: None,
        dropped: 0,
        done: None,
        applied: (Instant::now(), 0, 0),
    };
    let thread = std::thread::Builder::new().name("libcv-mcast".into()).spawn(move || network.run());
    let thread = thread.map_err(|e| Error::io("start", "a thread", e))?;
    let trust = options.trust.take().map(Arc::new);
    let applied = apply(target, work, &options, trust.as_ref(), &announce, &shared, task);
    shared.applied.store(applied.is_ok(), Ordering::Relaxed);
    shared.given_up.store(true, Ordering::Relaxed);
    let received = thread.join().map_err(|_| Error::new(ErrorKind::Bug, "the thread of the network panicked"))?;
    let (generation, (extracted, updated)) = applied?;
    let (image, instead) = (announce.image.to_string(), shared.instead());
    Ok(Delivered { image, name: announce.name, generation, received, instead, extracted, updated })
}

/// What the extraction would refuse at the end of the wait is refused before it.
fn check_target(target: &Path, options: &ReceiveOptions) -> Result<()> {
    match std::fs::read_dir(target) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
                Err(Error::not_found(format!("there is no directory to make {} in", target.display())))
            }
            _ => Ok(()),
        },
        Err(e) => Err(Error::io("list", target.display(), e)),
        Ok(mut entries) => {
            let is_free = |e: io::Result<std::fs::DirEntry>| e.is_ok_and(|e| e.file_type().is_ok_and(|t| t.is_dir()));
            if options.update || extract::is_ours(target) || entries.all(is_free) {
                return Ok(());
            }
            Err(Error::refused(format!("{} is not empty", target.display()))
                .hint("give a new or an empty directory, or --update"))
        }
    }
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
        let is_wanted = options.name.as_ref().is_none_or(|n| *n == announce.name)
            && options.image.is_none_or(|image| image == announce.image);
        // Who records an announcement can send it again, with a key, too; a clock that was never set says nothing.
        let (now, said) = (clock::now().0, i64::try_from(announce.time / 1000).unwrap_or(i64::MAX));
        let is_old = mode.is_keyed() && now > CLOCK_IS_SET && now.abs_diff(said) > AGE;
        let has_its_group = SocketAddr::new(announce.data.0, announce.data.1) == data_group(options.group, session);
        if !announce.over && is_wanted && !is_old && has_its_group {
            let sender = canonical(SocketAddr::new(from.ip(), announce.port));
            return Ok((keys, announce, sender));
        }
    }
}

fn apply(
    target: &Path,
    work: Work,
    options: &ReceiveOptions,
    trust: Option<&Arc<Trust>>,
    announce: &Announce,
    shared: &Arc<Shared>,
    task: &Task,
) -> Result<(u64, (Extracted, Option<Updated>))> {
    task.stage("head", announce.head, Unit::Bytes);
    let trusted = |store: &Store| trust.map_or(store.clone(), |trust| store.trusting_too(trust));
    let opened = open_head(announce, shared, &trusted, task);
    let (image, head, (plan, held)) = match (opened, &options.mirror) {
        (Err(why), Some(mirror)) if matches!(why.kind(), ErrorKind::Network | ErrorKind::Integrity) => {
            shared.go_elsewhere(&why);
            shared.take_notes().into_iter().for_each(|note| task.warn(note));
            let image = of_mirror(&trusted(mirror), announce)?;
            return Ok((generation(&image), work.carry_out(&image, image.store(), target, &options.extract, task)?));
        }
        (opened, _) => opened?,
    };
    let plan = Arc::new(plan);
    shared.set_plan(plan.clone());
    let mirror = options.mirror.clone();
    let source = Source {
        head,
        shared: shared.clone(),
        plan,
        body: OnceLock::new(),
        held,
        has_base: work != Work::Extract,
        image: image.clone(),
        mirror,
        rest: OnceLock::new(),
    };
    Ok((generation(&image), work.carry_out(&image, &source, target, &options.extract, task)?))
}

/// What the head holds: the image, itself, the blocks of the body, and the content that lies in it.
fn open_head(
    announce: &Announce,
    shared: &Shared,
    trusted: &dyn Fn(&Store) -> Store,
    task: &Task,
) -> Result<(Image, Offered, (BodyPlan, ChunkSet))> {
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
        Ok((image, offered, plan))
    };
    open().map_err(|e| match e.kind() {
        // Whoever is not trusted, and what is replaced, is no accident of the network.
        ErrorKind::Cancelled | ErrorKind::Denied | ErrorKind::Stale | ErrorKind::Unsupported => e,
        _ => Error::integrity(format!("the head of the session cannot be used: {e}"))
            .hint("somebody may disturb the network: with --mode tag and a key nobody else can")
            .cause(e),
    })
}

/// The image that was announced, out of a mirror. It is opened by its name, so that its signature is looked at, and whether a later one was seen.
fn of_mirror(mirror: &Store, announce: &Announce) -> Result<Image> {
    let refs = mirror.refs();
    for generation in refs.generations(&announce.name)?.into_iter().rev() {
        if refs.release(&announce.name, generation)?.image == Some(announce.image) {
            return mirror.image(&format!("{}@{generation}", announce.name));
        }
    }
    Err(Error::not_found(format!("the mirror has no image {} of that id", announce.name)))
}

fn generation(image: &Image) -> u64 {
    image.release().map_or(0, |r| r.generation)
}

/// Where the data group is heard.
struct Membership {
    interface: Interface,
    group: SocketAddr,
}

/// The thread that hears.
struct Network {
    receiver: Receiver,
    assembly: Assembly,
    /// Of the control group, of the data group, and of its own.
    sockets: [UdpSocket; 3],
    membership: Membership,
    shared: Arc<Shared>,
    plan: Arc<BodyPlan>,
    has_mirror: bool,
    has_base: bool,
    /// When the last stripe was whole, since it is known what is wanted.
    progress: Option<Instant>,
    /// Datagrams that the socket of the data group had no room for.
    dropped: u32,
    /// How the work ended, since it is said.
    done: Option<bool>,
    /// When the load was measured, bytes taken then, and in a second.
    applied: (Instant, u64, u64),
}

impl Network {
    fn run(mut self) -> Received {
        let (mut datagrams, mut ready) = (Datagrams::default(), Vec::new());
        while !self.receiver.has_left() {
            let mut came = false;
            for n in 0..self.sockets.len() {
                // Beyond what may wait the kernel drops, and the sender hears of it.
                if n != 1 || self.shared.has_room() {
                    came |= self.hear(n, &mut datagrams);
                } else {
                    self.receiver.does_not_listen(Instant::now());
                }
            }
            self.events(&mut ready);
            self.orders(&mut ready);
            for r in ready.drain(..) {
                if let Some(block) = self.shared.put(r) {
                    self.assembly.again(block).for_each(|s| self.receiver.again(s));
                }
            }
            self.load();
            self.stalls();
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
    fn hear(&mut self, n: usize, datagrams: &mut Datagrams) -> bool {
        // An error is that of a datagram that was sent: the sender has gone, which SYNC tells, or its silence.
        let came = datagrams.take(&self.sockets[n]).unwrap_or(false);
        if came {
            let now = Instant::now();
            if let Err(e) = datagrams.each(|d| self.receiver.handle(d, now)) {
                self.shared.end(e.to_string());
            }
        }
        if n == 1 {
            self.dropped = datagrams.dropped();
        }
        came
    }

    fn events(&mut self, ready: &mut Vec<super::assembly::Ready>) {
        while let Some(event) = self.receiver.event() {
            match event {
                Event::Whole(whole) => {
                    self.progress = self.progress.map(|_| Instant::now());
                    self.assembly.take(whole, ready, &|| self.shared.spare());
                    self.assembly.done().for_each(|memory| self.receiver.recycle(memory));
                    self.assembly.shrink(HELD).into_iter().for_each(|s| self.receiver.again(s));
                }
                Event::Refused(reason) => self.shared.end(format!("the sender refuses: {reason}")),
                Event::Over(true) => self.shared.end("the sender gave up".to_owned()),
                Event::Over(false) => self.shared.end("the session ended before everything was here".to_owned()),
                Event::Silent => self.shared.end("the sender says nothing any more".to_owned()),
                Event::Unreachable => self.shared.end(
                    "multicast_unreachable: nothing that is sent to the group arrives: is there an IGMP querier, a firewall, another VLAN?"
                        .to_owned(),
                ),
                Event::Unanswered => self.shared.end(
                    "multicast_unreachable: a session is announced, and its sender does not answer: is there a firewall in between, or has it ended?"
                        .to_owned(),
                ),
                Event::Detached(reason) => self.shared.end(format!("the sender says to go to mirrors: {reason}")),
                Event::JoinAgain => self.join_again(),
                Event::Admitted => {}
            }
        }
    }

    /// A switch may have forgotten that somebody here listens: to leave and to join tells it.
    fn join_again(&mut self) {
        // Both at once would be one membership, and no news.
        let Membership { interface, group } = &self.membership;
        if let Ok(nothing) = interface.open(group.is_ipv6(), 1) {
            self.sockets[1] = nothing;
        }
        match interface.join(*group) {
            Ok(socket) => {
                gather(&socket);
                self.sockets[1] = socket;
            }
            Err(e) => self.shared.end(format!("multicast_unreachable: the group cannot be joined anew: {e}")),
        }
    }

    /// Only these blocks are wanted.
    fn need(&mut self, blocks: &[usize]) {
        let shape = *self.receiver.shape();
        let mut stripes = vec![false; shape.stripes() as usize];
        let (mut runs, mut next) = (Vec::<(u32, u32)>::new(), 0);
        for &n in blocks {
            let of_block = shape.of_body(self.plan.blocks()[n].bytes.clone());
            stripes[of_block.start as usize..of_block.end as usize].fill(true);
            match runs.last_mut() {
                Some((_, run)) if n == next => *run += 1,
                _ => runs.push(((n - next) as u32, 1)),
            }
            next = n + 1;
        }
        self.progress = Some(Instant::now());
        self.assembly.only(blocks);
        self.receiver.need(&runs, &|s| stripes[s as usize], Instant::now());
    }

    fn orders(&mut self, ready: &mut Vec<super::assembly::Ready>) {
        let Orders { plan, needs, wrong } = self.shared.orders();
        if let Some(plan) = plan {
            self.plan = plan.clone();
            self.assembly.plan(plan, ready);
            self.progress = (!self.has_base).then(Instant::now);
        }
        if let Some(needs) = needs {
            self.need(&needs);
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

    /// The last few blocks come from a mirror when that is quicker than to wait for repair.
    fn stalls(&self) {
        let waits = self.receiver.first_pass_is_over() && !self.receiver.is_complete() && self.shared.has_room();
        if waits && self.has_mirror && self.progress.is_some_and(|p| p.elapsed() > STALL) {
            self.shared.end("what is lacking does not come".to_owned());
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
        self.receiver.set_load(Load { dropped: self.dropped, backlog, applied: self.applied.2, disk_bound });
    }
}
