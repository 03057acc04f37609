//! The chunks of an image: those that the head of a session holds, and those of content.

use crate::error::Result;
use crate::image::row::Value;
use crate::image::{ChunkSet, Content, Hash, Item, Kind};
use crate::job::Task;
use crate::store::Image;
use crate::store::image::each_item;
use std::collections::HashSet;

/// Where in a session a chunk is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// In the head, as all pages.
    Page,
    /// In the head: a list or a long attribute value.
    Far,
    /// In the body.
    Content,
}

/// Calls `f` with the name and length of each chunk of an image, as often as it occurs, in the order of the rows.
pub(super) fn each_chunk(image: &Image, task: &Task, f: &mut dyn FnMut(Part, &Hash, u32) -> Result<()>) -> Result<()> {
    for page in &image.manifest().pages {
        f(Part::Page, &page.hash, page.bytes)?;
    }
    image.each_row(|row| {
        task.check()?;
        for x in row.xattrs.iter() {
            if let Value::Far { hash, length } = &x.value {
                f(Part::Far, hash, *length)?;
            }
        }
        let Kind::File { content, .. } = &row.kind else { return Ok(()) };
        if let Content::Far { lists, .. } = content {
            lists.iter().try_for_each(|(bytes, hash)| f(Part::Far, hash, *bytes))?;
        }
        each_item(image.store(), content, |item| match item {
            Item::Chunk { length, hash } => f(Part::Content, hash, *length),
            Item::Hole(_) => Ok(()),
        })
    })
}

/// The chunks of an image, each once: those that a head holds, and those of content in the order in which its rows name them.
pub(super) struct Chunks {
    /// Pages, lists and long attribute values.
    pub(super) head: ChunkSet,
    pub(super) content: ChunkSet,
}

impl Chunks {
    pub(super) fn of(image: &Image, task: &Task) -> Result<Self> {
        let (mut head, mut content) = (ChunkSet::default(), ChunkSet::default());
        each_chunk(image, task, &mut |part, hash, length| {
            let set = if part == Part::Content { &mut content } else { &mut head };
            set.insert(*hash, length);
            Ok(())
        })?;
        Ok(Self { head, content })
    }
}

/// The content chunks that the blocks of a head do not hold already.
pub(super) fn body_of(content: ChunkSet, held: &HashSet<Hash>) -> ChunkSet {
    // Hardly ever: blocks of pages hold pages.
    if !held.iter().any(|h| content.contains(h)) {
        return content;
    }
    let mut body = ChunkSet::default();
    content
        .chunks()
        .iter()
        .filter(|(hash, _)| !held.contains(hash))
        .for_each(|(hash, length)| _ = body.insert(*hash, *length));
    body
}
