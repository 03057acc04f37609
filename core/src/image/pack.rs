//! A pack: an immutable file of blocks; the trailer alone describes it. See `image-format.md` §8.

use super::block::{BlockInfo, CHUNKS_LIMIT, Codec, RAW_LIMIT, STORED_LIMIT, checksum};
use super::chunker::CHUNK_LIMIT;
use super::leb::{Reader, put};
use super::{FormatError, Hash};

/// The first 8 bytes of a pack.
pub const MAGIC: &[u8; 8] = b"CVPACK01";
const END: &[u8; 8] = b"CVPKEND1";
/// Bytes of the footer.
pub const FOOTER: usize = 56;
/// Most blocks of a pack. Part of the format.
pub const BLOCK_LIMIT: usize = 1 << 16;
/// Longest pack. Part of the format.
pub const BYTE_LIMIT: u64 = 128 << 20;
/// A writer closes a pack that has this many bytes.
pub const CLOSE_AT: u64 = 48 << 20;

/// The trailer's bytes for these blocks, which stand in the pack in this order.
#[must_use]
pub fn encode_trailer(blocks: &[BlockInfo]) -> Vec<u8> {
    let mut out = Vec::with_capacity(blocks.iter().map(|b| 24 + b.chunks.len() * 35).sum());
    put(&mut out, blocks.len() as u64);
    for b in blocks {
        put(&mut out, u64::from(b.stored));
        out.push(b.codec as u8);
        put(&mut out, u64::from(b.raw));
        out.extend_from_slice(&b.crc.to_le_bytes());
        put(&mut out, b.chunks.len() as u64);
        for (hash, length) in &b.chunks {
            out.extend_from_slice(&hash.0);
            put(&mut out, u64::from(*length));
        }
    }
    out
}

/// The footer of a trailer.
#[must_use]
pub fn encode_footer(trailer: &[u8]) -> [u8; FOOTER] {
    let mut out = [0; FOOTER];
    out[..8].copy_from_slice(&(trailer.len() as u64).to_le_bytes());
    out[8..12].copy_from_slice(&crc32fast::hash(trailer).to_le_bytes());
    out[16..48].copy_from_slice(&Hash::of(trailer).0);
    out[48..].copy_from_slice(END);
    out
}

/// What a footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Bytes of the trailer.
    pub trailer: u64,
    /// CRC-32 of the trailer.
    pub crc: u32,
    /// BLAKE3 of the trailer: the name of the pack.
    pub id: Hash,
}

/// Reads the last [`FOOTER`] bytes of a pack of `size` bytes.
///
/// # Errors
/// Any [`FormatError`].
pub fn decode_footer(bytes: &[u8], size: u64) -> Result<Footer, FormatError> {
    let mut r = Reader::new("pack footer", bytes);
    let footer = Footer {
        trailer: r.u64()?,
        crc: r.u32()?,
        id: {
            if r.u32()? != 0 {
                return r.bad("reserved bytes are not 0");
            }
            r.hash()?
        },
    };
    if r.take(8)? != END {
        return r.bad("it does not end with the magic of its kind");
    }
    r.end()?;
    if size > BYTE_LIMIT {
        return Err(FormatError::Limit { what: "a pack", limit: BYTE_LIMIT });
    }
    let room = size.checked_sub((MAGIC.len() + FOOTER) as u64).ok_or(FormatError::Truncated("pack"))?;
    if footer.trailer > room {
        return r.bad("its trailer is longer than the pack");
    }
    Ok(footer)
}

/// Reads the trailer of a pack of `size` bytes; gives each block with its offset in the pack.
///
/// # Errors
/// Any [`FormatError`].
pub fn decode_trailer(bytes: &[u8], footer: &Footer, size: u64) -> Result<Vec<(u64, BlockInfo)>, FormatError> {
    let actual = Hash::of(bytes);
    if bytes.len() as u64 != footer.trailer || crc32fast::hash(bytes) != footer.crc || actual != footer.id {
        return Err(checksum("pack trailer", &footer.id, &actual));
    }
    let mut r = Reader::new("pack trailer", bytes);
    let count = r.count(BLOCK_LIMIT, "the number of blocks of a pack")?;
    let mut blocks = Vec::with_capacity(count.min(r.left()));
    let mut at = MAGIC.len() as u64;
    for _ in 0..count {
        let stored = r.leb_max(STORED_LIMIT as u64, "a block")? as u32;
        let codec = Codec::from_byte(r.byte()?)?;
        let raw = r.leb_max(RAW_LIMIT as u64, "a block")? as u32;
        let crc = r.u32()?;
        let n = r.count(CHUNKS_LIMIT, "the number of chunks of a block")?;
        let mut chunks = Vec::with_capacity(n.min(r.left() / 33 + 1));
        let mut sum = 0;
        for _ in 0..n {
            let hash = r.hash()?;
            let length = r.leb_max(CHUNK_LIMIT as u64, "a chunk")?;
            if length == 0 {
                return r.bad("a chunk is empty");
            }
            sum += length;
            chunks.push((hash, length as u32));
        }
        if n == 0 || sum != u64::from(raw) {
            return r.bad("the lengths of a block's chunks do not add up");
        }
        blocks.push((at, BlockInfo { stored, codec, raw, crc, chunks }));
        at += u64::from(stored);
    }
    r.end()?;
    if at + footer.trailer + FOOTER as u64 != size {
        return r.bad("the lengths of its blocks do not add up to its size");
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::block::BlockBuilder;

    #[test]
    fn a_trailer_comes_back_and_a_flipped_bit_is_found() {
        let mut b = BlockBuilder::new(3).unwrap();
        b.push(Hash::of(b"one"), b"one");
        b.push(Hash::of(b"two"), b"two");
        let block = b.finish().unwrap().unwrap();
        let trailer = encode_trailer(std::slice::from_ref(&block.info));
        let footer = encode_footer(&trailer);
        let size = (8 + block.to_vec().len() + trailer.len() + FOOTER) as u64;
        let parsed = decode_footer(&footer, size).unwrap();
        assert_eq!(decode_trailer(&trailer, &parsed, size).unwrap(), [(8, block.info.clone())]);
        for i in 0..trailer.len() {
            let mut bad = trailer.clone();
            bad[i] ^= 4;
            assert!(decode_trailer(&bad, &parsed, size).is_err());
        }
        assert!(decode_trailer(&trailer, &parsed, size + 1).is_err());
        assert!(decode_footer(&footer, 60).is_err());
    }
}
