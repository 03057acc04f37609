//! MD5, for the checksum that a medium carries: the longest of all that is done to one.
//!
//! Each step needs the result of the one before, so that its length in cycles is all that counts: what does not depend on that
//! result is summed up first. A compiler orders sums as it likes, and makes them longer: [`black_box`] keeps ours. It is
//! faster than the crate `md-5`, its reference in the tests.
//!
//! RFC 1321 §3.4.

use std::hint::black_box;

pub(super) const BLOCK: usize = 64;
const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
/// How far each step of a round turns; four and again.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
/// 2^32 × |sin(n + 1)|.
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// A sum that is under way.
pub(super) struct Md5 {
    state: [u32; 4],
    /// What came and is no whole block yet.
    rest: Vec<u8>,
    length: u64,
}

impl Md5 {
    pub(super) fn new() -> Self {
        Self { state: START, rest: Vec::with_capacity(BLOCK), length: 0 }
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        self.length = self.length.wrapping_add(bytes.len() as u64);
        if !self.rest.is_empty() {
            let (front, after) = bytes.split_at(bytes.len().min(BLOCK - self.rest.len()));
            self.rest.extend_from_slice(front);
            bytes = after;
            if self.rest.len() < BLOCK {
                return;
            }
            blocks(&mut self.state, &self.rest);
            self.rest.clear();
        }
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % BLOCK);
        blocks(&mut self.state, whole);
        self.rest.extend_from_slice(rest);
    }

    pub(super) fn finalize(mut self) -> [u8; 16] {
        let bits = self.length.wrapping_mul(8);
        let mut end = std::mem::take(&mut self.rest);
        end.push(0x80);
        end.resize((end.len() + 8).next_multiple_of(BLOCK) - 8, 0);
        end.extend_from_slice(&bits.to_le_bytes());
        blocks(&mut self.state, &end);
        let mut out = [0; 16];
        out.chunks_exact_mut(4).zip(self.state).for_each(|(to, word)| to.copy_from_slice(&word.to_le_bytes()));
        out
    }
}

/// The four functions with their first addend; `b` comes last of all, so that it is used last of all.
macro_rules! function {
    (0, $sum:expr, $b:ident, $c:ident, $d:ident) => {
        black_box($sum).wrapping_add($d ^ ($b & ($c ^ $d)))
    };
    // The two halves have no bit in common: their sum is their union, and one half does not need `b`.
    (1, $sum:expr, $b:ident, $c:ident, $d:ident) => {
        black_box($sum.wrapping_add(!$d & $c)).wrapping_add($d & $b)
    };
    (2, $sum:expr, $b:ident, $c:ident, $d:ident) => {
        black_box($sum).wrapping_add($b ^ black_box($c ^ $d))
    };
    (3, $sum:expr, $b:ident, $c:ident, $d:ident) => {
        black_box($sum).wrapping_add($c ^ ($b | black_box(!$d)))
    };
}

/// One step: `factor` and `first` say which word of the block it takes.
macro_rules! step {
    ($round:tt, $n:expr, $factor:expr, $first:expr, $m:ident, $a:ident, $b:ident, $c:ident, $d:ident) => {
        let sum = $a.wrapping_add($m[($factor * $n + $first) % 16]).wrapping_add(SINES[16 * $round + $n]);
        $a = function!($round, sum, $b, $c, $d).rotate_left(TURNS[$round][$n % 4]).wrapping_add($b);
    };
}

macro_rules! round {
    ($round:tt, $factor:expr, $first:expr, $m:ident, $a:ident, $b:ident, $c:ident, $d:ident) => {
        round!(@four $round, 0, $factor, $first, $m, $a, $b, $c, $d);
        round!(@four $round, 4, $factor, $first, $m, $a, $b, $c, $d);
        round!(@four $round, 8, $factor, $first, $m, $a, $b, $c, $d);
        round!(@four $round, 12, $factor, $first, $m, $a, $b, $c, $d);
    };
    (@four $round:tt, $n:expr, $factor:expr, $first:expr, $m:ident, $a:ident, $b:ident, $c:ident, $d:ident) => {
        step!($round, $n, $factor, $first, $m, $a, $b, $c, $d);
        step!($round, $n + 1, $factor, $first, $m, $d, $a, $b, $c);
        step!($round, $n + 2, $factor, $first, $m, $c, $d, $a, $b);
        step!($round, $n + 3, $factor, $first, $m, $b, $c, $d, $a);
    };
}

/// Adds whole blocks.
#[allow(clippy::many_single_char_names)] // as in the RFC
fn blocks(state: &mut [u32; 4], bytes: &[u8]) {
    for block in bytes.as_chunks::<BLOCK>().0 {
        let mut m = [0; 16];
        m.iter_mut().zip(block.as_chunks().0).for_each(|(word, four)| *word = u32::from_le_bytes(*four));
        let [mut a, mut b, mut c, mut d] = *state;
        round!(0, 1, 0, m, a, b, c, d);
        round!(1, 5, 1, m, a, b, c, d);
        round!(2, 3, 5, m, a, b, c, d);
        round!(3, 7, 0, m, a, b, c, d);
        state.iter_mut().zip([a, b, c, d]).for_each(|(s, n)| *s = s.wrapping_add(n));
    }
}

#[cfg(test)]
mod tests {
    use super::Md5;
    use md5::Digest;

    proptest::proptest! {
        /// Invariant: the sum is that of the crate, however the bytes come.
        #[test]
        fn it_is_md5(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400), step in 1..200_usize) {
            let mut sum = Md5::new();
            bytes.chunks(step).for_each(|part| sum.update(part));
            proptest::prop_assert_eq!(sum.finalize(), <[u8; 16]>::from(md5::Md5::digest(&bytes)));
        }
    }

    #[test]
    fn every_length_ends_well() {
        for n in 0..200 {
            let bytes = vec![n; usize::from(n)];
            let mut sum = Md5::new();
            sum.update(&bytes);
            assert_eq!(sum.finalize(), <[u8; 16]>::from(md5::Md5::digest(&bytes)), "{n}");
        }
    }
}
