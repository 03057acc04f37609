//! What came of a session: the store that its head is, and which chunks its body has.

use super::contents::{Chunks, Part, body_of, each_chunk};
use super::offer::PLAN;
use super::plan::BodyPlan;
use super::shape::HEAD_LIMIT;
use crate::error::{Error, Result};
use crate::image::leb::Reader;
use crate::image::{ChunkSet, FormatError};
use crate::job::Task;
use crate::store::held::Held;
use crate::store::pieces::Pieces;
use crate::store::{Image, Store, pack_key};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Files of a head: store.json, a release, a manifest, packs. Part of the protocol.
const FILES: usize = 64;
const KEY: usize = 512;
/// A key and two numbers are no longer than this.
const ENTRY: usize = KEY + 20;
const HEAD: &str = "head of a session";

/// There is room at once for so many chunks.
const ROOM: u64 = 1 << 20;

/// A head that came: a store to open the image from, and what its body is.
pub struct Offered {
    held: Arc<Held>,
    store: Store,
    plan: Vec<u8>,
    /// Blocks with something else than rows, as key and offset.
    mixed: HashSet<(String, u64)>,
}

impl Offered {
    /// Opens a head. What is in it is believed as little as any store.
    ///
    /// # Errors
    /// Of the format, or as [`Store::with_backend`].
    pub(crate) fn open(head: Pieces) -> Result<Self> {
        let mut files = files(&head)?;
        let plan = files.remove(PLAN).ok_or_else(|| Error::integrity("a head has no plan"))?;
        let mut bytes = vec![0; (plan.end - plan.start) as usize];
        head.read(plan.start, &mut bytes);
        let held = Arc::new(Held::new(head, files));
        let store = Store::with_backend(Box::new(held.clone()))?;
        Ok(Self { held, store, plan: bytes, mixed: HashSet::new() })
    }

    /// The store, with the image and nothing of its content.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The blocks of the body of `image`, which was opened from that store, and the content that lies in the head. The plan of the
    /// session is read once.
    ///
    /// # Errors
    /// `Integrity` when the plan is none of this image.
    pub fn plan(&mut self, image: &Image, task: &Task) -> Result<(BodyPlan, ChunkSet)> {
        let (names, mut held, mut mixed) = (self.store.chunk_names()?, ChunkSet::default(), HashSet::new());
        // How many chunks there are: two of them are not equal in half of their names, and of a large image whole ones in a set
        // would take three times as much.
        let mut body: Vec<[u8; 16]> = Vec::with_capacity(image.manifest().totals.files.min(ROOM) as usize);
        each_chunk(image, task, &mut |part, hash, length| {
            match part {
                Part::Page => return Ok(()),
                Part::Content if !names.contains(hash) => {
                    body.push(hash.half());
                    return Ok(());
                }
                Part::Content => _ = held.insert(*hash, length),
                Part::Far => {}
            }
            let place = self.store.find(hash)?;
            mixed.extend(place.map(|(pack, place)| (pack_key(&pack), u64::from(place.offset))));
            Ok(())
        })?;
        body.sort_unstable();
        body.dedup();
        let plan = BodyPlan::decode(&std::mem::take(&mut self.plan), body.len())?;
        self.mixed = mixed;
        Ok((plan, held))
    }

    /// The rows will be read once more and never again: what was read goes.
    pub(super) fn read_once(&self) {
        self.held.read_once(self.mixed.clone());
    }

    /// The chunks that positions of the plan mean, and the content that lies in the head. Of a large image they are large: whoever knows that everything is wanted
    /// needs neither.
    ///
    /// # Errors
    /// `Integrity` when something of the image is missing.
    pub fn content(&self, image: &Image, task: &Task) -> Result<(ChunkSet, ChunkSet)> {
        let content = Chunks::of(image, task)?.content;
        let here = self.store.chunk_names()?;
        let mut held = ChunkSet::default();
        content
            .chunks()
            .iter()
            .filter(|(hash, _)| here.contains(hash))
            .for_each(|(h, length)| _ = held.insert(*h, *length));
        Ok((body_of(content, &here), held))
    }
}

/// Where in a head its files are.
fn files(head: &Pieces) -> Result<BTreeMap<String, std::ops::Range<u64>>> {
    let (mut at, mut files) = (0, BTreeMap::new());
    // What stands between two files is short.
    let window = |at: u64| {
        let mut bytes = vec![0; (head.len() - at).min(ENTRY as u64) as usize];
        head.read(at, &mut bytes);
        bytes
    };
    let bytes = window(at);
    let mut r = Reader::new(HEAD, &bytes);
    let count = r.count(FILES, "files of a head")?;
    at += (bytes.len() - r.left()) as u64;
    for _ in 0..count {
        let bytes = window(at);
        let mut r = Reader::new(HEAD, &bytes);
        let key = String::from_utf8(r.str(KEY, "name of a file")?.to_vec());
        let key = key.map_err(|_| Error::integrity("a file of a head has a name that is no text"))?;
        let length = r.leb_max(HEAD_LIMIT, "file of a head")?;
        let from = at + (bytes.len() - r.left()) as u64;
        at = from + length;
        if at > head.len() {
            return Err(FormatError::Truncated(HEAD).into());
        }
        files.insert(key, from..at);
    }
    Reader::new(HEAD, &window(at)).end()?;
    Ok(files)
}
