//! Cutting content into chunks: the same extent is cut alike in every store, for ever.

/// Longest chunk. Part of the format.
pub const CHUNK_LIMIT: usize = 1 << 20;
/// Extents up to this are one chunk. Part of the format.
pub const WHOLE_LIMIT: usize = 256 << 10;
const MINIMUM: usize = 64 << 10;
const AVERAGE: usize = 256 << 10;

/// Length of the chunk at the front of `bytes`, which are the rest of an extent from a cut on, as far as they are
/// known: either [`CHUNK_LIMIT`] bytes or more, or all that the extent has. `whole` says that they are an extent from
/// its first byte to its last.
#[must_use]
pub fn cut(bytes: &[u8], whole: bool) -> usize {
    if bytes.len() <= MINIMUM || (whole && bytes.len() <= WHOLE_LIMIT) {
        return bytes.len();
    }
    let window = &bytes[..bytes.len().min(CHUNK_LIMIT)];
    let mut chunker = fastcdc::v2020::FastCDC::with_level(
        window,
        MINIMUM,
        AVERAGE,
        CHUNK_LIMIT,
        fastcdc::v2020::Normalization::Level1,
    );
    chunker.next().map_or(window.len(), |c| c.length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Hash;

    fn noise(n: usize) -> Vec<u8> {
        let mut x = 0x1234_5678_9abc_def0_u64;
        (0..n)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x as u8
            })
            .collect()
    }

    fn cuts(mut bytes: &[u8]) -> Vec<usize> {
        let mut out = Vec::new();
        let mut first = true;
        while !bytes.is_empty() {
            let n = cut(bytes, first);
            out.push(n);
            bytes = &bytes[n..];
            first = false;
        }
        out
    }

    #[test]
    fn boundaries_are_part_of_the_format() {
        let data = noise(3 << 20);
        assert_eq!(Hash::of(&data).short(), GOLDEN_INPUT);
        assert_eq!(cuts(&data), GOLDEN_CUTS);
        assert_eq!(cuts(&data[..WHOLE_LIMIT]), [WHOLE_LIMIT]);
    }

    #[test]
    fn a_window_gives_the_same_cuts_as_the_whole() {
        let data = noise(3 << 20);
        let (mut at, mut out) = (0, Vec::new());
        while at < data.len() {
            let window = &data[at..data.len().min(at + CHUNK_LIMIT)];
            let n = cut(window, false);
            out.push(n);
            at += n;
        }
        assert_eq!(out, cuts(&data));
    }

    const GOLDEN_INPUT: &str = "2709b0a802dc";
    const GOLDEN_CUTS: &[usize] = &[344228, 239866, 624087, 677103, 251416, 395762, 72467, 412786, 128013];
}
