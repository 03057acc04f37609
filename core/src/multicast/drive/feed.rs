//! Blocks on their way from the network to whoever applies them: a queue that is bounded, and what is said back.

use super::assembly::Ready;
use crate::error::{Error, Result};
use crate::image::{ChunkSet, Hash};
use crate::multicast::plan::BodyPlan;
use crate::store::Store;
use crate::store::source::{BlockFeed, ChunkSource, Origin, StoredBlock};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Blocks of so many bytes may wait; beyond, nothing is read from the network.
const WAITING: usize = 32 << 20;
/// How often a block that is wrong is received anew.
const AGAIN: u32 = 2;
/// Between two looks at whether the work was given up.
const LOOK: Duration = Duration::from_millis(200);

/// What the thread of the network and those who apply share.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Nobody waits any more.
    pub(super) given_up: AtomicBool,
}

#[derive(Default)]
struct State {
    head: Option<Vec<u8>>,
    blocks: VecDeque<(usize, Vec<u8>)>,
    bytes: usize,
    /// Bytes that were taken.
    taken: u64,
    /// Blocks that are to come again; and those of them that have.
    wrong: Vec<usize>,
    repaired: HashMap<usize, Option<Vec<u8>>>,
    plan: Option<BodyPlan>,
    /// How it ended.
    end: Option<Result<(), String>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what has become whole.
    pub(super) fn put(&self, ready: Ready) {
        let mut state = self.lock();
        match ready {
            Ready::Head(head) => state.head = Some(head),
            Ready::Block(n, bytes) => match state.repaired.get_mut(&n) {
                Some(place @ None) => *place = Some(bytes),
                _ => {
                    state.bytes += bytes.len();
                    state.blocks.push_back((n, bytes));
                }
            },
        }
        self.changed.notify_all();
    }

    /// Whether there is room for more.
    pub(super) fn has_room(&self) -> bool {
        self.lock().bytes < WAITING
    }

    /// Bytes that wait, and that were taken since the beginning.
    pub(super) fn load(&self) -> (u64, u64) {
        let state = self.lock();
        (state.bytes as u64, state.taken)
    }

    /// The plan, once; and blocks that are to come again.
    pub(super) fn orders(&self) -> (Option<BodyPlan>, Vec<usize>) {
        let mut state = self.lock();
        (state.plan.take(), std::mem::take(&mut state.wrong))
    }

    /// Nothing comes any more, and why.
    pub(super) fn end(&self, how: Result<(), String>) {
        self.lock().end.get_or_insert(how);
        self.changed.notify_all();
    }

    /// Whether everything was applied.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.lock().end, Some(Ok(())))
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
            if let Some(end) = &state.end {
                let why = end.clone().err().unwrap_or_else(|| "the session ended too early".to_owned());
                return Err(Error::new(crate::ErrorKind::Network, why));
            }
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the head.
    pub(super) fn head(&self) -> Result<Vec<u8>> {
        self.wait(|state| state.head.take())
    }

    /// Says what is in the body.
    pub(super) fn set_plan(&self, plan: BodyPlan) {
        self.lock().plan = Some(plan);
    }
}

/// Where the chunks of a session come from: those of the head out of memory, the others from the network.
pub(super) struct Source {
    head: Store,
    shared: Arc<Shared>,
    plan: BodyPlan,
    /// What the positions of the plan mean.
    body: ChunkSet,
    image: Hash,
    /// Content that lies in the head.
    held: ChunkSet,
}

impl Source {
    pub(super) fn new(
        head: Store,
        shared: Arc<Shared>,
        plan: BodyPlan,
        body: ChunkSet,
        held: ChunkSet,
        image: Hash,
    ) -> Self {
        Self { head, shared, plan, body, image, held }
    }
}

impl ChunkSource for Source {
    fn chunk(&self, hash: &Hash, length: u32) -> Result<Vec<u8>> {
        self.head.chunk(hash, length)
    }

    fn expect(&self, _: &ChunkSet) -> Result<()> {
        Ok(())
    }

    fn feed<'a>(&'a self, wanted: &'a ChunkSet) -> Result<Box<dyn BlockFeed + 'a>> {
        let local = if self.held.is_empty() { None } else { Some(self.head.feed(&self.held)?) };
        let chunks = self.body.chunks();
        let is_wanted = |c: &u32| wanted.contains(&chunks[*c as usize].0);
        let left = self.plan.blocks().iter().filter(|b| b.chunks.iter().any(is_wanted)).count();
        Ok(Box::new(Feed { source: self, local, left: Mutex::new(left), is_local_over: AtomicBool::new(false) }))
    }
}

struct Feed<'s> {
    source: &'s Source,
    local: Option<Box<dyn BlockFeed + 's>>,
    /// Blocks of the body that have not been handed out.
    left: Mutex<usize>,
    is_local_over: AtomicBool,
}

impl Feed<'_> {
    /// A block of the body by its place.
    fn number(&self, origin: Origin) -> Option<usize> {
        let at = origin.offset..origin.offset + 1;
        (origin.pack == self.source.image).then(|| self.source.plan.at(at).next()).flatten()
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
        {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            if *left == 0 {
                return Ok(None);
            }
            *left -= 1;
        }
        let (n, bytes) = self.source.shared.wait(|state| {
            let (n, bytes) = state.blocks.pop_front()?;
            state.bytes -= bytes.len();
            state.taken += bytes.len() as u64;
            Some((n, bytes))
        })?;
        let length = bytes.len();
        block.share(Arc::new(bytes), 0..length);
        Ok(Some(Origin { pack: self.source.image, offset: self.source.plan.blocks()[n].bytes.start }))
    }

    fn again(&self, origin: Origin, block: &mut StoredBlock) -> Result<bool> {
        let Some(n) = self.number(origin) else { return Ok(false) };
        let shared = &self.source.shared;
        for _ in 0..AGAIN {
            {
                let mut state = shared.lock();
                state.wrong.push(n);
                state.repaired.insert(n, None);
            }
            let bytes = shared.wait(|state| state.repaired.get_mut(&n).and_then(Option::take))?;
            shared.lock().repaired.remove(&n);
            if bytes[..] != block[..] {
                let length = bytes.len();
                block.share(Arc::new(bytes), 0..length);
                return Ok(true);
            }
        }
        Ok(false)
    }
}
