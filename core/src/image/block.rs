//! A block: consecutive chunks in one frame. Whoever holds one can use it alone. See `image-format.md` §7.
//!
//! It says how long its chunks are and not what they are called: whoever opens it must hash them in any case.
//!
//! Building compresses, opening decompresses; both keep their zstd context, so that a worker has one of each.

use super::chunker::CHUNK_LIMIT;
use super::leb::Reader;
use super::{FormatError, Hash};
use crate::error::{Error, Result};
use zstd::zstd_safe::CParameter;

/// Most raw bytes of a block. Part of the format.
pub const RAW_LIMIT: usize = 4 << 20;
/// Most chunks of a block. Part of the format.
pub const CHUNKS_LIMIT: usize = 16_384;
/// Longest block as stored. Part of the format.
pub const STORED_LIMIT: usize = HEADER + CHUNKS_LIMIT * TABLE_ROW + RAW_LIMIT;
const MAGIC: &[u8; 4] = b"CVBK";
const HEADER: usize = 24;
/// Where in the header the checksum stands: at its end.
const CRC_AT: usize = 20;
const TABLE_ROW: usize = 4;
/// Compressed to more than this share (of 100) of the raw bytes, a block is stored raw.
const RAW_PERCENT: usize = 97;

/// Levels of compression. Others of zstd are too fast to be small, or want hundreds of MiB.
const LEVELS: std::ops::RangeInclusive<i32> = 1..=19;
/// At the level that is there to be fast a block is looked at first: when none of the samples becomes smaller it is stored raw
/// at once, as packages and archives are. That is 0.02 s for a GB, where zstd takes 0.5 s to find out.
const SAMPLED_LEVEL: i32 = 1;
const SAMPLE: usize = 4 << 10;
const SAMPLED_EVERY: usize = 256 << 10;
/// The level that is worth more than what zstd makes of it.
const TUNED_LEVEL: i32 = 3;
/// The window is the block, and a payload is not cut where its statistics change, which zstd does only to parts of 128 KiB
/// and more. A system tree becomes 0.5 % larger, is captured in 6 % less time and extracted in 4 % less. Matches from 6
/// bytes would make it 2 % larger for 2 % more speed.
const TUNED: [CParameter; 2] = [CParameter::WindowLog(22), CParameter::MaxBlockSize(127 << 10)];

/// How the payload of a block is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// The raw bytes.
    Raw = 0,
    /// One zstd frame.
    Zstd = 1,
}

impl Codec {
    pub(crate) fn from_byte(b: u8) -> Result<Self, FormatError> {
        match b {
            0 => Ok(Self::Raw),
            1 => Ok(Self::Zstd),
            n => Err(FormatError::Unknown { what: "block", feature: format!("codec {n}") }),
        }
    }
}

/// What a block says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockHead {
    /// How the payload is coded.
    pub codec: Codec,
    /// Sum of the chunks' lengths.
    pub raw: u32,
    /// CRC-32 of header front, table and payload.
    pub crc: u32,
    /// Length of each chunk, in the order of the raw bytes.
    pub lengths: Vec<u32>,
}

/// What a pack's trailer says about a block, and what is known of one that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Bytes of the whole block as stored.
    pub stored: u32,
    /// How the payload is coded.
    pub codec: Codec,
    /// Sum of the chunks' lengths.
    pub raw: u32,
    /// CRC-32 of header front, table and payload.
    pub crc: u32,
    /// Name and length of each chunk, in the order of the raw bytes.
    pub chunks: Vec<(Hash, u32)>,
}

/// Collects chunks until the block is full.
pub struct BlockBuilder {
    /// Those of the chunks; after a block was closed, its payload if that is raw, until the next one begins.
    raw: Vec<u8>,
    chunks: Vec<(Hash, u32)>,
    compressor: zstd::bulk::Compressor<'static>,
    sampled: bool,
    /// Header and table of the block that was closed.
    head: Vec<u8>,
    /// Its payload, compressed.
    compressed: Vec<u8>,
}

/// A finished block, until the next one begins.
#[derive(Clone, Debug)]
pub struct Block<'b> {
    /// What a trailer says about it.
    pub info: BlockInfo,
    /// The block as stored, in pieces that follow each other.
    pub pieces: [&'b [u8]; 2],
}

impl Block<'_> {
    /// The block as stored.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces.concat()
    }
}

impl BlockBuilder {
    /// An empty block that will be compressed at `level`.
    ///
    /// # Errors
    /// `Invalid` for a level that is not 1 to 19.
    pub fn new(level: i32) -> Result<Self> {
        if !LEVELS.contains(&level) {
            return Err(Error::invalid(format!("the level of compression is 1 to 19, not {level}")));
        }
        let bug = |e| Error::new(crate::ErrorKind::Bug, "zstd refuses a parameter").cause(e);
        let mut compressor = zstd::bulk::Compressor::new(level).map_err(bug)?;
        for parameter in TUNED.into_iter().filter(|_| level == TUNED_LEVEL) {
            compressor.set_parameter(parameter).map_err(bug)?;
        }
        let sampled = level == SAMPLED_LEVEL;
        let raw = Vec::with_capacity(RAW_LIMIT);
        Ok(Self { raw, chunks: Vec::new(), compressor, sampled, head: Vec::new(), compressed: Vec::new() })
    }

    /// Whether a chunk of `length` bytes still fits.
    #[must_use]
    pub fn fits(&self, length: usize) -> bool {
        let begun = if self.is_empty() { 0 } else { self.raw.len() };
        begun + length <= RAW_LIMIT && self.chunks.len() < CHUNKS_LIMIT
    }

    /// Adds a chunk that fits.
    pub fn push(&mut self, hash: Hash, bytes: &[u8]) {
        debug_assert!(self.fits(bytes.len()) && !bytes.is_empty());
        if self.is_empty() {
            self.raw.clear();
        }
        self.raw.extend_from_slice(bytes);
        self.chunks.push((hash, bytes.len() as u32));
    }

    /// Gives an empty block these chunks, which lie one after the other in `raw` and fit; `raw` gets empty memory for it.
    pub(crate) fn fill(&mut self, raw: &mut Vec<u8>, chunks: Vec<(Hash, u32)>) {
        debug_assert!(self.is_empty() && raw.len() <= RAW_LIMIT && chunks.len() <= CHUNKS_LIMIT);
        std::mem::swap(&mut self.raw, raw);
        raw.clear();
        self.chunks = chunks;
    }

    /// Whether it is worth being closed.
    pub(crate) fn is_half_full(&self) -> bool {
        !self.is_empty() && (self.raw.len() > RAW_LIMIT / 2 || self.chunks.len() > CHUNKS_LIMIT / 2)
    }

    /// Name and length of each chunk in it.
    pub(crate) fn chunks(&self) -> &[(Hash, u32)] {
        &self.chunks
    }

    /// Takes out those of its chunks from number `first` on that are not to stay; what lies in between closes up.
    pub(crate) fn retain(&mut self, first: usize, stays: &[bool]) {
        debug_assert_eq!(self.chunks.len(), first + stays.len());
        let mut from: usize = self.chunks[..first].iter().map(|(_, length)| *length as usize).sum();
        let (mut to, mut kept) = (from, first);
        for (n, stays) in (first..).zip(stays) {
            let (hash, length) = self.chunks[n];
            if *stays {
                self.raw.copy_within(from..from + length as usize, to);
                self.chunks[kept] = (hash, length);
                (to, kept) = (to + length as usize, kept + 1);
            }
            from += length as usize;
        }
        self.raw.truncate(to);
        self.chunks.truncate(kept);
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Closes the block and begins an empty one. `None` when nothing is in it.
    ///
    /// # Errors
    /// `Bug` when zstd fails, which it does only for lack of memory.
    pub fn finish(&mut self) -> Result<Option<Block<'_>>> {
        if self.chunks.is_empty() {
            return Ok(None);
        }
        let chunks = std::mem::take(&mut self.chunks);
        let compressed = &mut self.compressed;
        compressed.resize(compressed.len().max(zstd::zstd_safe::compress_bound(self.raw.len())), 0);
        let mut compress = |raw: &[u8]| {
            let n = self.compressor.compress_to_buffer(raw, &mut compressed[..]);
            let n = n.map_err(|e| Error::new(crate::ErrorKind::Bug, "zstd cannot compress a block").cause(e))?;
            Ok::<_, Error>(if n * 100 > raw.len() * RAW_PERCENT { (Codec::Raw, n) } else { (Codec::Zstd, n) })
        };
        let mut small = !self.sampled || self.raw.len() <= SAMPLED_EVERY;
        for part in self.raw.chunks(SAMPLED_EVERY) {
            small = small || compress(&part[..part.len().min(SAMPLE)])?.0 == Codec::Zstd;
        }
        let (codec, n) = if small { compress(&self.raw)? } else { (Codec::Raw, 0) };
        let payload = if codec == Codec::Raw { &self.raw } else { &compressed[..n] };
        let head = &mut self.head;
        head.clear();
        head.extend(MAGIC);
        head.extend([codec as u8, 0, 0, 0]);
        head.extend([self.raw.len(), payload.len(), chunks.len()].iter().flat_map(|n| (*n as u32).to_le_bytes()));
        head.extend([0; HEADER - CRC_AT]);
        head.extend(chunks.iter().flat_map(|(_, length)| length.to_le_bytes()));
        let crc = crc(head, payload);
        head[CRC_AT..HEADER].copy_from_slice(&crc.to_le_bytes());
        let stored = (head.len() + payload.len()) as u32;
        let info = BlockInfo { stored, codec, raw: self.raw.len() as u32, crc, chunks };
        Ok(Some(Block { info, pieces: [head, payload] }))
    }
}

/// Of header and table, and the payload, which may be one slice: then the other is empty.
fn crc(head: &[u8], payload: &[u8]) -> u32 {
    let mut h = crc32fast::Hasher::new();
    h.update(&head[..CRC_AT]);
    h.update(&head[HEADER..]);
    h.update(payload);
    h.finalize()
}

/// Opens blocks: checks, decompresses, names every chunk by its content.
pub struct BlockOpener {
    decompressor: zstd::bulk::Decompressor<'static>,
    raw: Vec<u8>,
}

impl BlockOpener {
    /// An opener with a decompression context of its own.
    ///
    /// # Errors
    /// `Bug` when zstd cannot make one.
    pub fn new() -> Result<Self> {
        let decompressor = zstd::bulk::Decompressor::new()
            .map_err(|e| Error::new(crate::ErrorKind::Bug, "zstd cannot make a context").cause(e))?;
        Ok(Self { decompressor, raw: Vec::new() })
    }

    /// Opens a block and gives each chunk under the name that its bytes have. A chunk that nobody asked for is no
    /// error here: whoever waits for one will see that it did not come.
    ///
    /// # Errors
    /// A [`FormatError`] for anything that is wrong with the bytes, and what `sink` returns.
    pub fn open(&mut self, block: &[u8], mut sink: impl FnMut(Hash, &[u8]) -> Result<()>) -> Result<BlockInfo> {
        let BlockHead { codec, raw: length, crc, lengths } = parse(block)?;
        let payload = &block[HEADER + lengths.len() * TABLE_ROW..];
        let raw: &[u8] = match codec {
            Codec::Raw => payload,
            Codec::Zstd => {
                self.raw.resize(RAW_LIMIT, 0);
                let n = self
                    .decompressor
                    .decompress_to_buffer(payload, &mut self.raw[..length as usize])
                    .map_err(|_| FormatError::malformed("block", "its zstd frame cannot be decompressed"))?;
                &self.raw[..n]
            }
        };
        if raw.len() != length as usize {
            return Err(FormatError::malformed("block", "it decompresses to another length").into());
        }
        let mut rest = raw;
        let mut chunks = Vec::with_capacity(lengths.len());
        for n in lengths {
            let (bytes, after) = rest.split_at(n as usize);
            rest = after;
            let hash = Hash::of(bytes);
            chunks.push((hash, n));
            sink(hash, bytes)?;
        }
        Ok(BlockInfo { stored: block.len() as u32, codec, raw: length, crc, chunks })
    }
}

pub(crate) fn checksum(what: &'static str, expected: &Hash, actual: &Hash) -> FormatError {
    FormatError::Checksum { what, expected: expected.to_string(), actual: actual.to_string() }
}

/// Reads and checks the header, the table and the CRC of a whole block.
///
/// # Errors
/// Any [`FormatError`].
pub fn parse(block: &[u8]) -> Result<BlockHead, FormatError> {
    if block.len() > STORED_LIMIT {
        return Err(FormatError::Limit { what: "a block", limit: STORED_LIMIT as u64 });
    }
    let mut r = Reader::new("block", block);
    if r.take(4)? != MAGIC {
        return r.bad("it does not begin with the magic of its kind");
    }
    let codec = Codec::from_byte(r.byte()?)?;
    if r.take(3)? != [0; 3] {
        return r.bad("reserved bytes are not 0");
    }
    let (raw, payload, count, crc_said) = (r.u32()?, r.u32()?, r.u32()?, r.u32()?);
    if count == 0 || count as usize > CHUNKS_LIMIT || raw as usize > RAW_LIMIT {
        return r.bad("its counts are beyond the limits");
    }
    if r.left() != count as usize * TABLE_ROW + payload as usize {
        return Err(FormatError::Truncated("block"));
    }
    let actual = crc(block, &[]);
    if actual != crc_said {
        return Err(FormatError::Checksum {
            what: "block",
            expected: format!("{crc_said:08x}"),
            actual: format!("{actual:08x}"),
        });
    }
    let mut lengths = Vec::with_capacity(count as usize);
    let mut sum = 0u64;
    for _ in 0..count {
        let length = r.u32()?;
        if length == 0 || length as usize > CHUNK_LIMIT {
            return r.bad("a chunk's length is beyond the limits");
        }
        sum += u64::from(length);
        lengths.push(length);
    }
    if sum != u64::from(raw) || (codec == Codec::Raw && payload != raw) {
        return r.bad("the lengths of its chunks do not add up");
    }
    Ok(BlockHead { codec, raw, crc: crc_said, lengths })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample<'b>(b: &'b mut BlockBuilder, parts: &[Vec<u8>]) -> Block<'b> {
        for p in parts {
            assert!(b.fits(p.len()));
            b.push(Hash::of(p), p);
        }
        b.finish().unwrap().unwrap()
    }

    #[test]
    fn chunks_come_back() {
        let parts = [b"hello".repeat(1000), vec![1], vec![0; 70_000]];
        let mut b = BlockBuilder::new(3).unwrap();
        let block = sample(&mut b, &parts);
        assert_eq!(block.info.codec, Codec::Zstd);
        let mut got = Vec::new();
        let info = BlockOpener::new().unwrap().open(&block.to_vec(), |_, b| {
            got.push(b.to_vec());
            Ok(())
        });
        assert_eq!(info.unwrap(), block.info);
        assert_eq!(got, parts);
    }

    #[test]
    fn what_cannot_become_smaller_is_raw_and_a_part_that_can_is_found() {
        let mut noise = vec![0; 1 << 20];
        getrandom::fill(&mut noise).unwrap();
        for level in [1, 3] {
            let mut b = BlockBuilder::new(level).unwrap();
            assert_eq!(sample(&mut b, &[noise.clone()]).info.codec, Codec::Raw);
            let text = b"text".repeat(100 << 10);
            assert_eq!(sample(&mut b, &[noise.clone(), text.clone()]).info.codec, Codec::Zstd);
            let (mut raw, hash) = (noise.clone(), Hash::of(&noise));
            b.fill(&mut raw, vec![(hash, noise.len() as u32)]);
            assert!(raw.is_empty());
            let block = b.finish().unwrap().unwrap();
            assert_eq!(BlockOpener::new().unwrap().open(&block.to_vec(), |_, _| Ok(())).unwrap().chunks[0].0, hash);
        }
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let mut b = BlockBuilder::new(3).unwrap();
        let stored = sample(&mut b, &[b"abc".repeat(50), b"x".to_vec()]).to_vec();
        for i in 0..stored.len() {
            let mut bad = stored.clone();
            bad[i] ^= 1 << (i % 8);
            let e = BlockOpener::new().unwrap().open(&bad, |_, _| Ok(())).unwrap_err();
            assert!(matches!(e.kind(), crate::ErrorKind::Integrity | crate::ErrorKind::Unsupported), "{i}: {e:?}");
        }
        for n in 0..stored.len() {
            assert!(parse(&stored[..n]).is_err());
        }
    }

    #[test]
    fn what_is_not_to_stay_leaves_no_gap() {
        let parts = ["one", "two", "three", "four"].map(|p| p.as_bytes().to_vec());
        for (first, stays, left) in [
            (0, vec![true, false, true, false], vec![0, 2]),
            (1, vec![false, false, true], vec![0, 3]),
            (4, vec![], vec![0, 1, 2, 3]),
            (0, vec![false; 4], vec![]),
        ] {
            let mut b = BlockBuilder::new(3).unwrap();
            parts.iter().for_each(|p| b.push(Hash::of(p), p));
            b.retain(first, &stays);
            let wanted: Vec<_> = left.iter().map(|&n: &usize| (Hash::of(&parts[n]), parts[n].clone())).collect();
            assert_eq!(b.is_empty(), wanted.is_empty());
            let Some(block) = b.finish().unwrap() else { continue };
            let mut found = Vec::new();
            let info = BlockOpener::new().unwrap().open(&block.to_vec(), |hash, bytes| {
                found.push((hash, bytes.to_vec()));
                Ok(())
            });
            assert_eq!((info.unwrap(), found), (block.info.clone(), wanted));
        }
    }

    #[test]
    fn levels_are_1_to_19() {
        for level in [0, -7, 20, 22, i32::MAX] {
            assert_eq!(BlockBuilder::new(level).err().map(|e| e.kind()), Some(crate::ErrorKind::Invalid));
        }
        assert!(BlockBuilder::new(1).is_ok() && BlockBuilder::new(19).is_ok());
    }

    #[test]
    fn limits_close_a_block() {
        let mut b = BlockBuilder::new(1).unwrap();
        let mut n = 0;
        while b.fits(1) {
            b.push(Hash::of(b"x"), b"x");
            n += 1;
        }
        assert_eq!(n, CHUNKS_LIMIT);
        assert!(b.finish().unwrap().is_some() && b.finish().unwrap().is_none());
        assert!(b.fits(RAW_LIMIT) && !b.fits(RAW_LIMIT + 1));
    }
}
