//! What is needed of a sparse pack is stored anew.

use super::CollectOptions;
use super::mark::{Mark, PackUse, SPARSE_PERCENT};
use crate::error::{ErrorKind, Result};
use crate::image::Hash;
use crate::job::{Failure, Task, threads};
use crate::store::Session;
use crate::store::anew::{Anew, Source};
use crate::store::usage::BlockUse;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A block of which this share (of 100) is needed is copied as it is: to compress it again would cost more than its rest.
/// More than makes a pack sparse, so that no pack is stored anew over and over.
const WHOLE_PERCENT: u64 = 75;
const _: () = assert!(WHOLE_PERCENT > SPARSE_PERCENT);

/// What was done.
#[derive(Default)]
pub(super) struct Repacked {
    /// Packs that are needed no more.
    pub(super) packs: HashSet<Hash>,
    /// Bytes stored.
    pub(super) bytes: u64,
    pub(super) notes: Vec<String>,
}

/// Stores what is needed of `packs` anew. One that cannot be read whole stays as it is.
pub(super) fn repack(
    session: &Session,
    mark: &Mark,
    packs: &[PackUse],
    options: &CollectOptions,
    task: &Task,
) -> Result<Repacked> {
    let (next, failure, out) = (AtomicUsize::new(0), Failure::default(), Mutex::new(Repacked::default()));
    failure.on_threads(threads(options.threads).min(packs.len()), || {
        let mut anew = Anew::new(session, options.level)?;
        while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
            failure.check(task)?;
            let done = store_pack(&mut anew, mark, pack, task);
            let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
            match done {
                Ok(()) => _ = out.packs.insert(pack.id),
                Err(e) if e.kind() == ErrorKind::Integrity => {
                    out.notes.push(format!("pack {} is damaged and stays as it is: {e}", pack.id));
                }
                Err(e) => return Err(e),
            }
        }
        anew.close()
    })?;
    let mut out = out.into_inner().unwrap_or_else(PoisonError::into_inner);
    out.bytes = session.finish()?;
    Ok(out)
}

fn store_pack(anew: &mut Anew<'_>, mark: &Mark, pack: &PackUse, task: &Task) -> Result<()> {
    let is_whole = |used: &BlockUse| used.live * 100 >= used.raw * WHOLE_PERCENT;
    // The trailer names the chunks of a block that is not opened.
    let mut trailer = match pack.blocks.iter().any(|(_, used)| is_whole(used)) {
        // Without it, each block is opened.
        true => anew.store().whole_trailer(&pack.id)?.unwrap_or_default().into_iter().collect(),
        false => HashMap::new(),
    };
    for (offset, used) in &pack.blocks {
        task.check()?;
        let block = Source { pack: pack.id, offset: *offset, stored: used.stored, live: used.live };
        let wanted = |hash: &Hash| mark.wanted(hash, &pack.id, *offset);
        match trailer.remove(&u64::from(*offset)).filter(|_| is_whole(used)) {
            Some(info) => anew.copy(&block, info, &wanted)?,
            None => anew.block(&block, &wanted)?,
        }
        task.advance(used.needed());
    }
    Ok(())
}
