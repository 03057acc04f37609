//! What the images say that the tree was made from before: what came from them and is gone from the new one, and which
//! files changed although neither size nor time did.
//!
//! A tree notes the image it was made from in an attribute of its root. Without that note, or when the store no longer
//! has the image, everything that the new image has not counts as local, and size and time are believed.

use crate::error::{ErrorKind, Result};
use crate::image::Hash;
use crate::image::row::{Kind, Row};
use crate::job::Task;
use crate::store::Image;
use crate::tree::Entry;
use std::collections::{HashMap, HashSet};

/// What `stat` would say of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Brought {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, u32),
    size: u64,
}

impl Brought {
    pub(super) fn of(row: &Row) -> Self {
        Self { mode: row.mode, owner: (row.uid, row.gid), mtime: row.mtime, size: row.size() }
    }

    /// Whether an entry is as it was brought. A directory changes with what is in it.
    pub(super) fn is(&self, e: &Entry) -> bool {
        if e.is_directory() {
            return self.mode & crate::image::row::KIND_MASK == e.kind();
        }
        let size = if e.is_file() { e.size } else { 0 };
        let now = (u32::from(e.mode), (e.uid, e.gid), (e.mtime_s, e.mtime_ns), size);
        now == (self.mode, self.owner, self.mtime, self.size)
    }
}

/// What earlier images tell.
#[derive(Default)]
pub(super) struct History {
    /// What an earlier image had and the new one has not.
    pub(super) gone: HashMap<Vec<u8>, Vec<Brought>>,
    /// Files whose content differs from an earlier image's although size and time are equal.
    pub(super) disguised: HashSet<Vec<u8>>,
}

impl History {
    /// That of a tree that was made from these images, and is to become `to`.
    ///
    /// # Errors
    /// `Cancelled`, and when the store cannot be read.
    pub(super) fn of(images: &[Hash], to: &Image, task: &Task) -> Result<Self> {
        let mut out = Self::default();
        // What the tree was made from is found by its hash, and nothing of it is put anywhere: no key has to vouch for it.
        let store = to.store().plain();
        for id in images.iter().filter(|id| **id != to.id()) {
            let done = store.image_by_id(*id).and_then(|from| out.add(&from, to, task));
            match done {
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Integrity) => {
                    task.warn(format!("the tree was made from image {id}, which cannot be read: {e}"));
                }
                done => done?,
            }
        }
        Ok(out)
    }

    fn add(&mut self, from: &Image, to: &Image, task: &Task) -> Result<()> {
        let quiet = Task::new(task.cancel_token(), None);
        to.store().each_pair(from, to, &quiet, &mut |old, new| match (old, new) {
            (Some(old), None) => {
                let brought = Brought::of(&old);
                self.gone.entry(old.path).or_default().push(brought);
            }
            (Some(old), Some(new)) if is_disguised(&old, &new) => {
                self.disguised.insert(new.path);
            }
            _ => {}
        })
    }

    /// Whether an entry came from an earlier image, and nobody changed it since.
    pub(super) fn brought(&self, path: &[u8], e: &Entry) -> bool {
        self.gone.get(path).is_some_and(|all| all.iter().any(|b| b.is(e)))
    }
}

fn is_disguised(old: &Row, new: &Row) -> bool {
    let (Kind::File { size, content }, Kind::File { size: size2, content: content2 }) = (&old.kind, &new.kind) else {
        return false;
    };
    size == size2 && old.mtime == new.mtime && content != content2
}
