//! A file that comes as a stream, cut into chunks.

use crate::error::Result;
use crate::image::chunker::{self, CHUNK_LIMIT};
use crate::image::{Content, ContentBuilder, Hash, Item};
use crate::store::content::ChunkPool;

/// Cuts a stream into chunks as it comes. Between two boundaries it is cut as an extent of a file is: content that
/// stands in the file as it does in the image becomes the same chunks.
pub(crate) struct Cutter<'c, 'p> {
    pool: &'c mut ChunkPool<'p>,
    content: ContentBuilder,
    /// Bytes since the last cut.
    rest: Vec<u8>,
    /// Nothing was cut since the last boundary.
    fresh: bool,
    sum: blake3::Hasher,
    size: u64,
}

/// More than a chunk is kept, so that not every one is moved to the front.
const KEPT: usize = 4 * CHUNK_LIMIT;

impl<'c, 'p> Cutter<'c, 'p> {
    pub(super) fn new(pool: &'c mut ChunkPool<'p>) -> Self {
        let (content, sum) = (ContentBuilder::default(), blake3::Hasher::new());
        Self { pool, content, rest: Vec::with_capacity(2 * KEPT), fresh: true, sum, size: 0 }
    }

    /// The next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.sum.update(bytes);
        self.size += bytes.len() as u64;
        for part in bytes.chunks(CHUNK_LIMIT) {
            self.rest.extend_from_slice(part);
            if self.rest.len() >= KEPT {
                self.cut(CHUNK_LIMIT)?;
            }
        }
        Ok(())
    }

    /// Here something else begins.
    pub(crate) fn boundary(&mut self) -> Result<()> {
        self.cut(0)?;
        self.fresh = true;
        Ok(())
    }

    /// Cuts while more than `keep` bytes are there.
    fn cut(&mut self, keep: usize) -> Result<()> {
        let mut at = 0;
        while self.rest.len() - at > keep {
            let window = &self.rest[at..];
            let n = chunker::cut(window, self.fresh && keep == 0);
            let hash = self.pool.put(&window[..n])?;
            let pool = &mut *self.pool;
            self.content.push(Item::Chunk { length: n as u32, hash }, |list| pool.put(list))?;
            self.fresh = false;
            at += n;
        }
        self.rest.drain(..at);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(Content, u64, Hash)> {
        self.cut(0)?;
        let pool = self.pool;
        let (content, _) = self.content.finish(|list| pool.put(list))?;
        Ok((content, self.size, Hash(*self.sum.finalize().as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::content::{ContentWriter, with_pool};

    fn noise(n: usize) -> Vec<u8> {
        let mut x = 0x1234_5678_9abc_def0_u64;
        let next = |_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        };
        (0..n).map(next).collect()
    }

    #[test]
    fn a_stream_is_cut_as_an_extent_is() {
        let tmp = tempfile::tempdir().unwrap();
        let store = Store::init(tmp.path().join("store")).unwrap();
        let data = noise(9_000_000);
        for length in [1, 70_000, 200_000, 262_144, 262_145, 1 << 20, 5_000_000, data.len()] {
            let bytes = &data[..length];
            let session = store.session("test").unwrap();
            let (cut, whole, size) = with_pool(&session, 3, 1, |pool| {
                let mut cutter = Cutter::new(pool);
                bytes.chunks(77_777).try_for_each(|part| cutter.push(part))?;
                let (cut, size, hash) = cutter.finish()?;
                assert_eq!(hash, Hash::of(bytes));
                let (mut whole, mut at) = (ContentWriter::default(), 0);
                let mut source = |buf: &mut [u8]| {
                    let n = buf.len().min(length - at);
                    buf[..n].copy_from_slice(&bytes[at..at + n]);
                    at += n;
                    Ok(n)
                };
                whole.extent(length as u64, &mut source, pool)?;
                Ok((cut, whole.finish(pool)?.0, size))
            })
            .unwrap();
            assert_eq!((cut, size), (whole, length as u64), "{length}");
        }
    }
}
