//! The receiver on sockets: a session is found, a thread hears it (`network`), and the extraction takes blocks from it.

use super::assembly::Assembly;
use super::feed::{Shared, Source};
use super::network::{Membership, NAP, Network};
use super::send::canonical;
use super::{GROUP, data_group};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::image::{ChunkSet, Hash};
use crate::job::Task;
use crate::multicast::offered::Offered;
use crate::multicast::plan::BodyPlan;
use crate::multicast::receive::{self as machine, Received, Receiver};
use crate::multicast::wire::{Announce, Keys, Message, SECRET, Session};
use crate::store::pieces::Pieces;
use crate::store::{ChunkSource, Image, Store, Trust};
use crate::sys::clock;
use crate::sys::datagrams::gather;
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
/// Seconds that an announcement of a session with a key is believed; and since 1970, before which no clock is right.
const AGE: u64 = 600;
const CLOCK_IS_SET: i64 = 1_700_000_000;
/// How long another session is looked for when the sender of one does not answer. Each is announced four times a second.
const ANOTHER: Duration = Duration::from_secs(1);
/// So many sessions are tried by who has mirrors.
const SESSIONS: usize = 4;
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
    task.stage("listen", 0, Unit::Entries);
    task.log(format!("waits for a session on {}", options.interface));
    let trust = options.trust.take().map(Arc::new);
    let mut past = Vec::new();
    let mut found = listen(&interface, &options, &past, None, task)?;
    loop {
        past.push(found.keys.session());
        found = match attend(target, &interface, found, &options, trust.as_ref(), &past, task)? {
            Attended::Delivered(delivered) => return Ok(*delivered),
            Attended::Another(another) => *another,
        };
    }
}

/// A session that is announced, and where that was heard.
struct Found {
    control: UdpSocket,
    keys: Keys,
    announce: Announce,
    sender: SocketAddr,
}

/// What became of a session.
enum Attended {
    Delivered(Box<Delivered>),
    /// Its sender did not answer, and there is another one.
    Another(Box<Found>),
}

/// Receives what one session sends.
fn attend(
    target: &Path,
    interface: &Interface,
    found: Found,
    options: &ReceiveOptions,
    trust: Option<&Arc<Trust>>,
    past: &[Session],
    task: &Task,
) -> Result<Attended> {
    let Found { control, keys, announce, sender } = found;
    let group = data_group(options.group, keys.session());
    let work = Work::of(target, &announce.image, options);
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
    let membership = Membership { interface: interface.clone(), group };
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
    task.stage("head", announce.head, Unit::Bytes);
    let trusted = |store: &Store| trust.map_or(store.clone(), |trust| store.trusting_too(trust));
    let mut opened = open_head(&announce, &shared, &trusted, task);
    // Somebody may make up one session after the other, to keep from its mirrors who has some.
    let looks = options.mirror.is_none() || past.len() < SESSIONS;
    if looks && opened.is_err() && !shared.is_answered.load(Ordering::Relaxed) {
        // What is over was the end of one, or a recording: who has no mirror waits, as before. Without a key anybody can say that it is over.
        let waits = shared.is_past.load(Ordering::Relaxed) && options.mirror.is_none() && options.secret.is_some();
        match listen(interface, options, past, (!waits).then(|| Instant::now() + ANOTHER), task) {
            Ok(another) => {
                shared.given_up.store(true, Ordering::Relaxed);
                thread.join().map_err(|_| Error::new(ErrorKind::Bug, "the thread of the network panicked"))?;
                return Ok(Attended::Another(Box::new(another)));
            }
            Err(e) if e.kind() == ErrorKind::Cancelled => opened = Err(e),
            Err(_) => {}
        }
    }
    let applied = apply(target, work, options, opened, &trusted, &announce, &shared, task);
    shared.applied.store(applied.is_ok(), Ordering::Relaxed);
    shared.given_up.store(true, Ordering::Relaxed);
    let received = thread.join().map_err(|_| Error::new(ErrorKind::Bug, "the thread of the network panicked"))?;
    let (generation, (extracted, updated)) = applied?;
    let (image, instead) = (announce.image.to_string(), shared.instead());
    let delivered = Delivered { image, name: announce.name, generation, received, instead, extracted, updated };
    Ok(Attended::Delivered(Box::new(delivered)))
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

/// Waits for a session that fits, none of `past`; `Network` when there is none by then.
fn listen(
    interface: &Interface,
    options: &ReceiveOptions,
    past: &[Session],
    until: Option<Instant>,
    task: &Task,
) -> Result<Found> {
    let control = interface.join(options.group)?;
    let mut buf = vec![0; DATAGRAM];
    loop {
        task.check()?;
        if until.is_some_and(|until| Instant::now() > until) {
            return Err(Error::new(ErrorKind::Network, "no other session is announced"));
        }
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
        if mode.is_keyed() != options.secret.is_some() || past.contains(&session) {
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
            return Ok(Found { control, keys, announce, sender });
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn apply(
    target: &Path,
    work: Work,
    options: &ReceiveOptions,
    opened: Result<(Image, Offered, (BodyPlan, ChunkSet))>,
    trusted: &dyn Fn(&Store) -> Store,
    announce: &Announce,
    shared: &Arc<Shared>,
    task: &Task,
) -> Result<(u64, (Extracted, Option<Updated>))> {
    let (image, head, (mut plan, held)) = match (opened, &options.mirror) {
        (Err(why), Some(mirror)) if matches!(why.kind(), ErrorKind::Network | ErrorKind::Integrity) => {
            shared.go_elsewhere(&why);
            shared.take_notes().into_iter().for_each(|note| task.warn(note));
            let image = of_mirror(&trusted(mirror), announce)?;
            return Ok((generation(&image), work.carry_out(&image, image.store(), target, &options.extract, task)?));
        }
        (opened, _) => opened?,
    };
    let mirror = options.mirror.clone();
    // Who compares with what is there, reads back, or may have to ask somebody else, reads rows again.
    if work == Work::Extract && !options.extract.verify && mirror.is_none() {
        head.read_once();
        plan.forget_chunks();
    }
    let plan = Arc::new(plan);
    shared.set_plan(plan.clone());
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
    let open = move || {
        let mut offered = Offered::open(Pieces::new(head))?;
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
