//! What a session carries: the head, a small store that holds an image and nothing of its content, and the body, the blocks of its content. See
//! `multicast-protocol.md` §1.

use super::contents::{Chunks, body_of};
use super::plan::BodyPlan;
use super::shape::{HEAD_LIMIT, Part, Shape};
use crate::error::{Error, ErrorKind, Result};
use crate::image::block::{BlockInfo, BlockOpener};
use crate::image::leb::put_str;
use crate::image::{ChunkSet, Hash, leb, pack};
use crate::job::Task;
use crate::store::laid::Laid;
use crate::store::release::Release;
use crate::store::source::{ChunkSource, Origin, StoredBlock};
use crate::store::{Image, Store};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// Earlier generations that come along without their content.
const EARLIER: usize = 3;
/// The file of a head that is not of the store.
pub(super) const PLAN: &str = "plan";

/// The images of the generations before this one: a tree that was made from one of them is updated, and what they had and this one has not goes.
/// Their pages are added to `head`.
fn earlier(image: &Image, release: &Release, head: &mut ChunkSet, task: &Task) -> Result<Vec<Image>> {
    let (store, mut out) = (image.store().plain(), Vec::<Image>::new());
    let refs = store.refs();
    for generation in refs.generations(&release.name)?.into_iter().rev().filter(|g| *g < release.generation) {
        if out.len() == EARLIER {
            break;
        }
        // What was removed in the meantime, or is damaged, is only not known to the receivers.
        let Ok(Some(id)) = refs.release(&release.name, generation).map(|r| r.image) else { continue };
        if id == image.id() || out.iter().any(|o| o.id() == id) {
            continue;
        }
        let Ok(before) = store.image_by_id(id) else { continue };
        let Ok(chunks) = Chunks::of(&before, task) else { continue };
        chunks.head.chunks().iter().for_each(|(hash, length)| _ = head.insert(*hash, *length));
        out.push(before);
    }
    Ok(out)
}

/// An image as it is sent.
pub struct Offer {
    store: Store,
    image: Hash,
    name: String,
    head: Vec<u8>,
    plan: Arc<BodyPlan>,
    /// Where each block lies.
    blocks: Vec<Origin>,
}

impl Offer {
    /// What a session with this image carries.
    ///
    /// # Errors
    /// `Invalid` when it was not opened by a name; `Integrity` when something of it is missing; `Limit` for a head beyond 1 GiB;
    /// `Cancelled`.
    pub fn of(image: &Image, task: &Task) -> Result<Self> {
        let release = image.release().ok_or_else(|| {
            Error::invalid("an image is sent by its name: its release says what it is")
                .hint("give NAME, NAME@N or NAME:TAG")
        })?;
        let (store, blobs) = (image.store().clone(), image.store().blobs());
        let mut chunks = Chunks::of(image, task)?;
        let earlier = earlier(image, release, &mut chunks.head, task)?;
        let (packs, held) = packs_of(&store, &chunks.head, task)?;
        let body = body_of(chunks.content, &held);
        let laid = if body.is_empty() { Vec::new() } else { store.lay(&body)? };
        drop(body);
        let (mut plan, mut blocks) = (BodyPlan::default(), Vec::with_capacity(laid.len()));
        for Laid { origin, stored, chunks } in laid {
            plan.add(stored, chunks);
            blocks.push(origin);
        }
        let file = |key: String| blobs.get(&key, HEAD_LIMIT).map(|bytes| (key, bytes));
        let mut files = vec![
            file("store.json".to_owned())?,
            file(crate::store::release::release_key(&release.name, release.generation))?,
            file(crate::store::image_key(&image.id()))?,
        ];
        for before in &earlier {
            files.push(file(crate::store::image_key(&before.id()))?);
        }
        files.extend(packs);
        files.push((PLAN.to_owned(), plan.encode()));
        let head = encode(files);
        if head.len() as u64 > HEAD_LIMIT {
            return Err(Error::new(ErrorKind::Limit, "the entries of the image take more than 1 GiB"));
        }
        Ok(Self { store, image: image.id(), name: release.name.clone(), head, plan: plan.into(), blocks })
    }

    /// The id of the image.
    #[must_use]
    pub fn image(&self) -> Hash {
        self.image
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The blocks of the body.
    #[must_use]
    pub fn plan(&self) -> &Arc<BodyPlan> {
        &self.plan
    }

    /// Bytes of the head.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head.len() as u64
    }

    /// Puts the bytes of a stripe into `out`, which they replace.
    ///
    /// # Errors
    /// Whatever keeps the store from being read.
    pub fn read(&self, shape: &Shape, stripe: u32, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        let (part, range) = shape.range(stripe);
        if part == Part::Head {
            out.extend_from_slice(&self.head[range.start as usize..range.end as usize]);
            return Ok(());
        }
        for n in self.plan.at(range.clone()) {
            let (planned, origin) = (&self.plan.blocks()[n].bytes, self.blocks[n]);
            let Range { start, end } = range.start.max(planned.start)..range.end.min(planned.end);
            let at = out.len();
            out.resize(at + (end - start) as usize, 0);
            let offset = origin.offset + (start - planned.start);
            let key = crate::store::pack_key(&origin.pack);
            self.store.blobs().get_range(&key, offset, &mut out[at..]).map_err(|e| origin.explain(e))?;
        }
        Ok(())
    }
}

/// A file of a head: its key and its bytes.
type File = (String, Vec<u8>);

/// Packs of the blocks that hold these chunks, and what all is in them.
fn packs_of(store: &Store, wanted: &ChunkSet, task: &Task) -> Result<(Vec<File>, HashSet<Hash>)> {
    let (mut bytes, mut infos, mut held) = (pack::MAGIC.to_vec(), Vec::<BlockInfo>::new(), HashSet::new());
    let (mut packs, mut block, mut opener) = (Vec::new(), StoredBlock::default(), BlockOpener::new()?);
    let feed = store.feed(wanted)?;
    let mut end = |bytes: &mut Vec<u8>, infos: &mut Vec<BlockInfo>| {
        let trailer = pack::encode_trailer(infos);
        bytes.extend_from_slice(&trailer);
        bytes.extend_from_slice(&pack::encode_footer(&trailer));
        packs.push((crate::store::pack_key(&Hash::of(&trailer)), std::mem::replace(bytes, pack::MAGIC.to_vec())));
        infos.clear();
    };
    while let Some(origin) = feed.next(&mut block)? {
        task.check()?;
        let info = opener.open(&block, |hash, _| {
            held.insert(hash);
            Ok(())
        });
        infos.push(info.map_err(|e| origin.explain(e))?);
        bytes.extend_from_slice(&block);
        if bytes.len() as u64 > pack::CLOSE_AT {
            end(&mut bytes, &mut infos);
        }
    }
    if !infos.is_empty() {
        end(&mut bytes, &mut infos);
    }
    Ok((packs, held))
}

/// Each file is gone when it was written: they may be large.
fn encode(files: Vec<File>) -> Vec<u8> {
    let mut out = Vec::with_capacity(files.iter().map(|(key, file)| key.len() + file.len() + 16).sum());
    leb::put(&mut out, files.len() as u64);
    for (key, file) in files {
        put_str(&mut out, key.as_bytes());
        put_str(&mut out, &file);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::offered::Offered;
    use super::*;
    use crate::capture::CaptureOptions;
    use crate::store::pieces::Pieces;

    #[test]
    fn what_is_offered_is_the_image() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, place) = (dir.path().join("tree"), dir.path().join("store"));
        std::fs::create_dir_all(tree.join("etc")).unwrap();
        for n in 0..200 {
            std::fs::write(tree.join(format!("etc/{n}")), format!("line {n}\n").repeat(n)).unwrap();
        }
        let noise: Vec<u8> = (0..9_000_000u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8).collect();
        std::fs::write(tree.join("noise"), &noise).unwrap();
        let store = Store::init(&place).unwrap();
        store.capture(&tree, "node", &CaptureOptions::default(), &Task::quiet()).unwrap();
        let image = store.image("node").unwrap();
        let offer = Offer::of(&image, &Task::quiet()).unwrap();
        let shape = Shape::new(1456, offer.head(), offer.plan().bytes()).unwrap();
        let (mut head, mut body, mut stripe) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..shape.stripes() {
            offer.read(&shape, n, &mut stripe).unwrap();
            if n < shape.head_stripes() { &mut head } else { &mut body }.extend_from_slice(&stripe);
        }
        assert_eq!((head.len() as u64, body.len() as u64), (offer.head(), offer.plan().bytes()));
        assert!(head.len() < 100_000, "{}", head.len());
        let open = |head: &[u8]| Offered::open(Pieces::new(head.chunks(1000).map(<[u8]>::to_vec).collect()));
        let mut offered = open(&head).unwrap();
        let received = offered.store().image("node").unwrap();
        let rows = |image: &Image| image.list(b"", true).unwrap();
        assert_eq!((received.id(), rows(&received)), (image.id(), rows(&image)));
        let (plan, _) = offered.plan(&received, &Task::quiet()).unwrap();
        let (chunks, _) = offered.content(&received, &Task::quiet()).unwrap();
        assert_eq!(&plan, &**offer.plan());
        // What was read for the last time goes, and nothing else.
        offered.read_once();
        assert_eq!(rows(&received), rows(&image));
        received.each_row(|_| Ok(())).unwrap();
        assert!(received.list(b"", true).is_err() && offered.store().image("node").is_ok());
        // Each block holds what the plan says.
        let mut opener = BlockOpener::new().unwrap();
        for block in plan.blocks() {
            let mut found = Vec::new();
            let bytes = &body[block.bytes.start as usize..block.bytes.end as usize];
            let each = |hash, _: &[u8]| {
                found.extend(chunks.position(&hash));
                Ok(())
            };
            opener.open(bytes, each).unwrap();
            found.sort_unstable();
            found.dedup();
            assert_eq!(found, block.chunks);
        }
        for cut in [0, 1, 100, head.len() - 1] {
            assert!(open(&head[..cut]).is_err());
        }
    }
}
