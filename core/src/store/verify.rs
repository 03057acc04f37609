//! Verifying one image from its manifest down to the last byte: every page and list, every chunk read, decompressed and
//! hashed, on all cores. [`Store::check`] looks at a whole store; this is for whoever is about to use one image.

use super::needs::of_row_by_rules;
use super::{BlockReader, ChunkSource, Image, Store};
use crate::error::{Error, Result};
use crate::event::Unit;
use crate::image::rules::Rules;
use crate::image::{ChunkSet, Hash};
use crate::job::{Failure, Task};
use crate::sign::KeyId;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What was verified.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// The image id.
    pub image: Hash,
    /// The tree id.
    pub tree: Hash,
    /// The name through which it was opened.
    pub name: Option<String>,
    /// The generation through which it was opened.
    pub generation: Option<u64>,
    /// The key that signed it; `None` when no keys were given to the store.
    pub key: Option<KeyId>,
    /// Entries of the tree.
    pub entries: u64,
    /// Pages of its list of entries.
    pub pages: u64,
    /// Different chunks: of content, of pages, of lists, of attributes.
    pub chunks: u64,
    /// Bytes of those chunks.
    pub bytes: u64,
    /// Blocks that were read.
    pub blocks: u64,
}

impl Image {
    /// Reads all of the image and compares it with its hashes; the id of the image is the hash of them all. `threads`
    /// of 0 is one for each core.
    ///
    /// # Errors
    /// `Integrity` when something is missing or damaged; `Cancelled`.
    pub fn verify(&self, threads: usize, task: &Task) -> Result<Verified> {
        let totals = &self.manifest().totals;
        task.stage("pages", totals.rows, Unit::Entries);
        let needed = self.needed(task)?;
        let bytes = needed.chunks().iter().map(|(_, length)| u64::from(*length)).sum();
        task.stage("read", bytes, Unit::Bytes);
        let blocks = read(self.store(), &needed, crate::job::threads(threads), task)?;
        Ok(Verified {
            image: self.id(),
            tree: self.tree_id(),
            name: self.release().map(|r| r.name.clone()),
            generation: self.release().map(|r| r.generation),
            key: self.key(),
            entries: totals.rows,
            pages: self.manifest().pages.len() as u64,
            chunks: needed.len() as u64,
            bytes,
            blocks,
        })
    }

    /// The chunks of the image, its rows and lists being read and held against the rules and the totals.
    pub(super) fn needed(&self, task: &Task) -> Result<ChunkSet> {
        let (mut set, mut rules) = (ChunkSet::default(), Rules::default());
        self.need_pages(&mut set);
        self.each_row(|row| {
            task.check()?;
            of_row_by_rules(self.store(), row, &mut rules, &mut |hash, length| {
                set.insert(*hash, length);
                Ok(())
            })?;
            task.advance(1);
            Ok(())
        })?;
        if rules.finish()? == self.manifest().totals {
            Ok(set)
        } else {
            Err(Error::integrity("the totals of the manifest are not those of its rows"))
        }
    }
}

/// Reads every block that holds a chunk of the set, and gives how many there were.
fn read(store: &Store, needed: &ChunkSet, threads: usize, task: &Task) -> Result<u64> {
    let came: Vec<AtomicBool> = needed.chunks().iter().map(|_| AtomicBool::new(false)).collect();
    let feed = store.feed(needed)?;
    let (failure, blocks) = (Failure::default(), AtomicU64::new(0));
    let work = || -> Result<()> {
        let mut reader = BlockReader::new(feed.as_ref())?;
        let each = |hash: Hash, bytes: &[u8]| {
            if let Some(n) = needed.position(&hash)
                && needed.chunks()[n as usize].1 as usize == bytes.len()
                && !came[n as usize].swap(true, Ordering::Relaxed)
            {
                task.advance(bytes.len() as u64);
            }
            Ok(())
        };
        while reader.next(task, each)?.is_some() {
            failure.check(task)?;
            blocks.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    failure.on_threads(threads, work)?;
    // Somebody may have given blocks that are whole, and not those that were asked for.
    for n in (0..came.len()).filter(|&n| !came[n].load(Ordering::Relaxed)) {
        let (hash, length) = needed.chunks()[n];
        store.chunk(&hash, length)?;
    }
    Ok(blocks.into_inner())
}
