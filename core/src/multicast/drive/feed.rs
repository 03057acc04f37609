//! Blocks on their way from the network to whoever applies them: a queue that is bounded, and what is said back.

use super::assembly::Ready;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{ChunkSet, Hash};
use crate::job::Task;
use crate::multicast::offered::Offered;
use crate::multicast::plan::BodyPlan;
use crate::store::source::{BlockFeed, ChunkSource, Origin, StoredBlock};
use crate::store::{Image, Store};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Why a block comes from a mirror although multicast works.
const INJECTION: &str = "injection_suspected: a block was wrong each time that it came";
/// Blocks of so many bytes may wait; beyond, nothing is read from the network.
const WAITING: usize = 24 << 20;
/// What is known of the image takes of that room, because all of it together is what a receiver has: first the head, and then so many
/// bytes for each chunk that is waited for. Who has that many waits for files to be made, and not for the network.
const CHUNK: usize = 24;
const TAKEN: usize = 16 << 20;
/// So many blocks' memory is kept.
const SPARE: usize = 4;
/// How often a block that is wrong is received anew.
const AGAIN: u32 = 2;
/// So many blocks that are wrong each time that they come are read from a mirror, when all others are here; more are no accident, and all goes there.
const SPOILED: usize = 3;
/// Between two looks at whether the work was given up.
const LOOK: Duration = Duration::from_millis(200);

/// What the thread of the network and those who apply share.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Everything is on the medium.
    pub(super) applied: AtomicBool,
    /// Nobody waits any more.
    pub(super) given_up: AtomicBool,
    /// The sender has answered. Until then it may be a recording of one.
    pub(super) is_answered: AtomicBool,
    /// The session ended before its sender had answered.
    pub(super) is_past: AtomicBool,
    /// Bytes that are taken of the room.
    taken: AtomicUsize,
}

#[derive(Default)]
struct State {
    head: Option<Vec<Vec<u8>>>,
    blocks: VecDeque<(usize, Vec<u8>)>,
    /// Memory of blocks that were taken: to get and to give back megabytes each time would cost more than to fill them.
    spare: Vec<Vec<u8>>,
    bytes: usize,
    /// Bytes that were taken.
    taken: u64,
    /// Blocks that are to come again; and those of them that have.
    wrong: Vec<usize>,
    repaired: HashMap<usize, Option<Vec<u8>>>,
    /// How often each of them was.
    attempts: HashMap<usize, u32>,
    plan: Option<Arc<BodyPlan>>,
    /// Which blocks are wanted, when not all are.
    needs: Option<Vec<usize>>,
    /// Why nothing comes any more.
    end: Option<String>,
    /// Why the rest is read elsewhere; and whether that was told.
    instead: Option<String>,
    notes: Vec<String>,
}

impl State {
    /// Whether somebody waits for a block to come again.
    fn is_repairing(&self) -> bool {
        self.repaired.values().any(Option::is_none)
    }
}

/// What those who apply say to the thread of the network, each once.
pub(super) struct Orders {
    pub(super) plan: Option<Arc<BodyPlan>>,
    /// Which blocks are wanted, ascending, when not all are.
    pub(super) needs: Option<Vec<usize>>,
    /// Blocks that are to come again.
    pub(super) wrong: Vec<usize>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what has become whole. A block for which there is no room, because all wait for another one, is given back: it is to come again.
    pub(super) fn put(&self, ready: Ready) -> Option<usize> {
        let mut state = self.lock();
        let is_full = state.bytes >= self.room() && state.is_repairing();
        match ready {
            Ready::Head(head) => {
                let bytes: usize = head.iter().map(Vec::len).sum();
                self.taken.store(bytes.min(TAKEN), Ordering::Relaxed);
                state.head = Some(head);
            }
            Ready::Block(n, bytes) => match state.repaired.get_mut(&n) {
                Some(place @ None) => *place = Some(bytes),
                _ if is_full => return Some(n),
                _ => {
                    state.bytes += bytes.len();
                    state.blocks.push_back((n, bytes));
                }
            },
        }
        self.changed.notify_all();
        None
    }

    /// Memory of a block that was taken.
    pub(super) fn spare(&self) -> Vec<u8> {
        self.lock().spare.pop().unwrap_or_default()
    }

    fn recycle(&self, memory: Vec<u8>) {
        let mut state = self.lock();
        if memory.capacity() > 0 && state.spare.len() < SPARE {
            state.spare.push(memory);
        }
    }

    /// Bytes that may wait.
    pub(super) fn room(&self) -> usize {
        WAITING - self.taken.load(Ordering::Relaxed)
    }

    /// Whether there is room for more.
    pub(super) fn has_room(&self) -> bool {
        let state = self.lock();
        // Somebody waits for a block that was wrong, and it may be the last one who takes any: what he waits for has to come in.
        state.bytes < self.room() || state.is_repairing()
    }

    /// Bytes that wait, and that were taken since the beginning.
    pub(super) fn load(&self) -> (u64, u64) {
        let state = self.lock();
        (state.bytes as u64, state.taken)
    }

    /// What there is to do for those who apply.
    pub(super) fn orders(&self) -> Orders {
        let mut state = self.lock();
        Orders { plan: state.plan.take(), needs: state.needs.take(), wrong: std::mem::take(&mut state.wrong) }
    }

    /// Nothing comes any more, and why.
    pub(super) fn end(&self, why: String) {
        self.lock().end.get_or_insert(why);
        self.changed.notify_all();
    }

    /// Why the rest was read elsewhere, if it was.
    pub(super) fn instead(&self) -> Option<String> {
        self.lock().instead.clone()
    }

    /// The rest is read elsewhere, which is told once.
    pub(super) fn go_elsewhere(&self, why: &Error) {
        let mut state = self.lock();
        if state.instead.is_none() {
            state.instead = Some(why.message().to_owned());
            state.notes.push(format!("{}: the rest comes from mirrors", why.message()));
        }
        // What has come is not needed any more, and nothing is to wait for room.
        state.blocks.clear();
        state.bytes = 0;
    }

    /// What is to be told.
    pub(super) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().notes)
    }

    /// Waits until `find` finds something.
    fn wait<T>(&self, mut find: impl FnMut(&mut State) -> Option<T>) -> Result<T> {
        let mut state = self.lock();
        loop {
            if let Some(found) = find(&mut state) {
                return Ok(found);
            }
            if self.given_up.load(Ordering::Relaxed) {
                return Err(Error::cancelled());
            }
            if let Some(why) = &state.end {
                return Err(Error::new(ErrorKind::Network, why.clone()));
            }
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the head.
    pub(super) fn head(&self) -> Result<Vec<Vec<u8>>> {
        self.wait(|state| state.head.take())
    }

    /// Says what is in the body.
    pub(super) fn set_plan(&self, plan: Arc<BodyPlan>) {
        self.lock().plan = Some(plan);
    }
}

/// Where the chunks of a session come from: those of the head out of memory, the others from the network, and when that ends too early from a
/// mirror.
pub(super) struct Source {
    pub(super) head: Offered,
    pub(super) image: Image,
    pub(super) shared: Arc<Shared>,
    pub(super) plan: Arc<BodyPlan>,
    /// What the positions of the plan mean, when somebody has asked.
    pub(super) body: OnceLock<ChunkSet>,
    /// Content that lies in the head.
    pub(super) held: ChunkSet,
    /// The sender waits to hear what is needed: something is there already.
    pub(super) has_base: bool,
    pub(super) mirror: Option<Store>,
    /// What is read from the mirror.
    pub(super) rest: OnceLock<ChunkSet>,
}

impl Source {
    fn body(&self) -> Result<&ChunkSet> {
        if self.body.get().is_none() {
            // Two that do it at once find the same.
            let _ = self.body.set(self.head.content(&self.image, &Task::quiet())?.0);
        }
        self.body.get().ok_or_else(|| Error::new(ErrorKind::Bug, "what was found is not there"))
    }
}

impl ChunkSource for Source {
    fn chunk(&self, hash: &Hash, length: u32) -> Result<Vec<u8>> {
        match (self.head.store().chunk(hash, length), &self.mirror) {
            (Err(_), Some(mirror)) => mirror.chunk(hash, length),
            (found, _) => found,
        }
    }

    fn expect(&self, _: &ChunkSet) -> Result<()> {
        Ok(())
    }

    fn feed<'a>(&'a self, wanted: &'a ChunkSet) -> Result<Box<dyn BlockFeed + 'a>> {
        self.shared.taken.store((wanted.len() * CHUNK).min(TAKEN), Ordering::Relaxed);
        let local = if self.held.is_empty() { None } else { Some(self.head.store().feed(&self.held)?) };
        let mut left: BTreeSet<usize> = (0..self.plan.blocks().len()).collect();
        if self.has_base {
            let chunks = self.body()?.chunks();
            let is_wanted = |c: &u32| wanted.contains(&chunks[*c as usize].0);
            left.retain(|n| self.plan.blocks()[*n].chunks.iter().any(is_wanted));
            self.shared.lock().needs = Some(left.iter().copied().collect());
        }
        let (is_local_over, left, elsewhere) = (AtomicBool::new(false), Mutex::new(left), OnceLock::new());
        Ok(Box::new(Feed { source: self, wanted, local, is_local_over, left, spoiled: Mutex::default(), elsewhere }))
    }
}

struct Feed<'s> {
    source: &'s Source,
    wanted: &'s ChunkSet,
    local: Option<Box<dyn BlockFeed + 's>>,
    is_local_over: AtomicBool,
    /// Blocks of the body that are still to come.
    left: Mutex<BTreeSet<usize>>,
    /// Blocks that were wrong each time that they came.
    spoiled: Mutex<BTreeSet<usize>>,
    /// The mirror, when the network has ended.
    elsewhere: OnceLock<Box<dyn BlockFeed + 's>>,
}

impl Feed<'_> {
    /// A block of the body by its place.
    fn number(&self, origin: Origin) -> Option<usize> {
        let at = origin.offset..origin.offset + 1;
        (origin.pack == self.source.image.id()).then(|| self.source.plan.at(at).next()).flatten()
    }

    fn left(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks that only a mirror can give, when nothing else is to come.
    fn take_spoiled(&self) -> bool {
        let mut spoiled = self.spoiled.lock().unwrap_or_else(PoisonError::into_inner);
        let are_there = !spoiled.is_empty();
        self.left().append(&mut spoiled);
        are_there
    }

    /// The next block from the network; `None` when all have come.
    fn received(&self, block: &mut StoredBlock) -> Result<Option<Origin>> {
        let came = self.source.shared.wait(|state| {
            // Several threads wait: each looks whether there is anything left to wait for.
            let mut left = self.left();
            if left.is_empty() {
                return Some(None);
            }
            loop {
                let (n, bytes) = state.blocks.pop_front()?;
                state.bytes -= bytes.len();
                state.taken += bytes.len() as u64;
                // What came before it was said that nobody needs it.
                if left.remove(&n) {
                    return Some(Some((n, bytes)));
                }
            }
        })?;
        let Some((n, bytes)) = came else { return Ok(None) };
        self.source.shared.recycle(block.replace(bytes));
        Ok(Some(Origin { pack: self.source.image.id(), offset: self.source.plan.blocks()[n].bytes.start }))
    }

    /// The mirror, from which the rest is read because of `why`.
    fn elsewhere(&self, why: Error) -> Result<&dyn BlockFeed> {
        let mirror = self.source.mirror.as_ref().filter(|_| why.kind() == ErrorKind::Network);
        let Some(mirror) = mirror else { return Err(why) };
        self.source.shared.go_elsewhere(&why);
        // One of the threads opens it, and the others wait for that.
        let left = self.left();
        if let Some(feed) = self.elsewhere.get() {
            return Ok(feed.as_ref());
        }
        let (chunks, mut rest) = (self.source.body()?.chunks(), ChunkSet::default());
        let blocks = left.iter().map(|n| &self.source.plan.blocks()[*n]);
        for (hash, length) in blocks.flat_map(|b| &b.chunks).map(|c| &chunks[*c as usize]) {
            if self.wanted.contains(hash) {
                rest.insert(*hash, *length);
            }
        }
        let feed = mirror.feed(self.source.rest.get_or_init(|| rest))?;
        Ok(self.elsewhere.get_or_init(|| feed).as_ref())
    }
}

impl BlockFeed for Feed<'_> {
    fn next(&self, block: &mut StoredBlock) -> Result<Option<Origin>> {
        if let Some(local) = &self.local
            && !self.is_local_over.load(Ordering::Relaxed)
        {
            if let Some(origin) = local.next(block)? {
                return Ok(Some(origin));
            }
            self.is_local_over.store(true, Ordering::Relaxed);
        }
        if let Some(feed) = self.elsewhere.get() {
            return feed.next(block);
        }
        match self.received(block) {
            Ok(None) if self.take_spoiled() => {
                // Others who wait see that something is left again, and that it does not come from here.
                self.source.shared.end(INJECTION.to_owned());
                self.elsewhere(Error::new(ErrorKind::Network, INJECTION))?.next(block)
            }
            Err(why) => {
                self.take_spoiled();
                self.elsewhere(why)?.next(block)
            }
            came => came,
        }
    }

    fn again(&self, origin: Origin, block: &mut StoredBlock) -> Result<bool> {
        let Some(n) = self.number(origin) else {
            return self.elsewhere.get().map_or(Ok(false), |feed| feed.again(origin, block));
        };
        let shared = &self.source.shared;
        loop {
            {
                let mut state = shared.lock();
                let attempts = state.attempts.entry(n).or_default();
                *attempts += 1;
                // Each of them wrong in another way: no accident.
                if *attempts > AGAIN {
                    return Ok(false);
                }
                state.wrong.push(n);
                state.repaired.insert(n, None);
            }
            let bytes = shared.wait(|state| state.repaired.get_mut(&n).and_then(Option::take))?;
            shared.lock().repaired.remove(&n);
            if bytes[..] != block[..] {
                block.replace(bytes);
                return Ok(true);
            }
        }
    }

    fn replace(&self, origin: Origin) -> Result<bool> {
        match (self.number(origin), self.elsewhere.get()) {
            (None, Some(feed)) => feed.replace(origin),
            (Some(n), None) if self.source.mirror.is_some() => {
                let mut spoiled = self.spoiled.lock().unwrap_or_else(PoisonError::into_inner);
                spoiled.insert(n);
                // Somebody disturbs, and it would go on.
                if spoiled.len() > SPOILED {
                    self.source.shared.end(INJECTION.to_owned());
                }
                Ok(true)
            }
            // The mirror gives what the others lack: this comes from there at the end, chunk by chunk.
            (Some(_), Some(_)) => Ok(true),
            _ => Ok(false),
        }
    }

    fn take_notes(&self) -> Vec<String> {
        let mut notes = self.source.shared.take_notes();
        notes.extend(self.elsewhere.get().map(|feed| feed.take_notes()).unwrap_or_default());
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who waits for a block that was wrong takes nothing else: it has to come in, and what has no room is given back.
    #[test]
    fn a_block_that_is_repaired_comes_in_although_the_queue_is_full() {
        let shared = Shared::default();
        assert!(shared.has_room());
        assert_eq!(shared.put(Ready::Block(0, vec![0; WAITING])), None);
        assert!(!shared.has_room());
        shared.lock().repaired.insert(7, None);
        assert!(shared.has_room());
        assert_eq!(shared.put(Ready::Block(1, vec![1; 10])), Some(1));
        assert_eq!(shared.put(Ready::Block(7, vec![7; 10])), None);
        assert_eq!(shared.lock().repaired.get(&7), Some(&Some(vec![7; 10])));
        assert!(!shared.has_room());
    }
}
