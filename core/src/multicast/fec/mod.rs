//! Parity of a stripe, and a stripe out of any k of its symbols. The code is that of `reed-solomon-simd`; it is part of the protocol.

mod few;

use super::shape::{PARITY, Shape};
use crate::error::{Error, ErrorKind, Result};
use reed_solomon_simd::{EncoderResult, ReedSolomonDecoder, ReedSolomonEncoder};

fn failed(e: reed_solomon_simd::Error) -> Error {
    Error::new(ErrorKind::Bug, format!("the code of a stripe: {e}"))
}

/// Makes parity.
#[derive(Default)]
pub struct Encoder {
    code: Option<ReedSolomonEncoder>,
}

impl Encoder {
    /// All parity symbols of a stripe, one after the other, of its bytes; the last symbol is filled up with zeros.
    ///
    /// # Errors
    /// `Bug` when the code refuses, which it does for no stripe of a [`Shape`].
    pub fn parity(&mut self, shape: &Shape, bytes: &[u8]) -> Result<Vec<u8>> {
        let symbol = shape.symbol();
        let full = bytes.chunks_exact(symbol);
        let mut last = full.remainder().to_vec();
        if !last.is_empty() {
            last.resize(symbol, 0);
        }
        let made = self.encode(symbol, full.chain((!last.is_empty()).then_some(&last[..])))?;
        let mut out = Vec::with_capacity(usize::from(PARITY) * symbol);
        made.recovery_iter().for_each(|s| out.extend_from_slice(s));
        Ok(out)
    }

    /// The parity of these symbols.
    fn encode<'s>(
        &mut self,
        symbol: usize,
        symbols: impl Iterator<Item = &'s [u8]> + Clone,
    ) -> Result<EncoderResult<'_>> {
        let (count, parity) = (symbols.clone().count(), usize::from(PARITY));
        let code = match &mut self.code {
            Some(code) => {
                code.reset(count, parity, symbol).map_err(failed)?;
                code
            }
            none => none.insert(ReedSolomonEncoder::new(count, parity, symbol).map_err(failed)?),
        };
        symbols.into_iter().try_for_each(|s| code.add_original_shard(s)).map_err(failed)?;
        code.encode().map_err(failed)
    }
}

/// Restores stripes.
#[derive(Default)]
pub struct Decoder {
    code: Option<ReedSolomonDecoder>,
    encoder: Encoder,
}

impl Decoder {
    /// Fills in what is lacking of `symbols`, a stripe of `count` of them one after the other. `has` says which are there; `parity`
    /// are as many others, with their numbers from 0.
    ///
    /// # Errors
    /// `Bug` when there are too few.
    pub fn restore(
        &mut self,
        symbol: usize,
        count: u16,
        symbols: &mut [u8],
        has: &dyn Fn(u16) -> bool,
        parity: &mut dyn Iterator<Item = (u16, &[u8])>,
    ) -> Result<()> {
        let lost: Vec<u16> = (0..count).filter(|n| !has(*n)).take(few::FEW + 1).collect();
        if lost.len() <= few::FEW {
            for n in &lost {
                symbols[usize::from(*n) * symbol..][..symbol].fill(0);
            }
            let parity: Vec<_> = parity.take(lost.len()).collect();
            if parity.len() < lost.len() {
                return Err(Error::new(ErrorKind::Bug, "a stripe is restored of which too little has come"));
            }
            return few::restore(&mut self.encoder, symbol, symbols, &lost, &parity);
        }
        let code = match &mut self.code {
            Some(code) => {
                code.reset(usize::from(count), usize::from(PARITY), symbol).map_err(failed)?;
                code
            }
            none => {
                none.insert(ReedSolomonDecoder::new(usize::from(count), usize::from(PARITY), symbol).map_err(failed)?)
            }
        };
        for (n, bytes) in (0..count).zip(symbols.chunks_exact(symbol)) {
            if has(n) {
                code.add_original_shard(usize::from(n), bytes).map_err(failed)?;
            }
        }
        for (n, bytes) in parity {
            code.add_recovery_shard(usize::from(n), bytes).map_err(failed)?;
        }
        let restored = code.decode().map_err(failed)?;
        for (n, bytes) in restored.restored_original_iter() {
            symbols[n * symbol..(n + 1) * symbol].copy_from_slice(bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stripe(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|n| (n * 7 + n / 251) as u8).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        /// As many parity symbols as are lost restore a stripe, whichever they are; also when they are few, and of any length.
        #[test]
        fn a_few_lost_symbols_are_restored(
            size in (32usize..100).prop_map(|n| 2 * n), bytes in 1usize..20_000, lost in 0usize..40, seed in any::<u64>()
        ) {
            let shape = Shape::new(size as u16, bytes as u64, 0).unwrap();
            let (bytes, count) = (stripe(bytes), usize::from(shape.symbols(0)));
            let parity = Encoder::default().parity(&shape, &bytes).unwrap();
            let mut whole = bytes.clone();
            whole.resize(count * size, 0);
            let mut dice = seed | 1;
            let mut pick = |of: usize, some: usize| -> std::collections::BTreeSet<usize> {
                let mut picked = std::collections::BTreeSet::new();
                while picked.len() < some {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    picked.insert((dice >> 33) as usize % of);
                }
                picked
            };
            let lost = lost.min(count);
            let (gone, some) = (pick(count, lost), pick(usize::from(PARITY), lost));
            let mut symbols = whole.clone();
            gone.iter().for_each(|n| symbols[n * size..][..size].fill(0xee));
            let parity = || some.iter().rev().map(|n| (*n as u16, &parity[n * size..][..size]));
            Decoder::default()
                .restore(size, count as u16, &mut symbols, &|n| !gone.contains(&usize::from(n)), &mut parity())
                .unwrap();
            prop_assert_eq!(&symbols, &whole);
            if lost > 0 {
                let few = &mut parity().skip(1);
                let failed = Decoder::default().restore(size, count as u16, &mut symbols, &|n| !gone.contains(&usize::from(n)), few);
                prop_assert_eq!(failed.unwrap_err().kind(), ErrorKind::Bug);
            }
        }

        /// Any k of the symbols of a stripe restore it.
        #[test]
        fn any_k_symbols_are_enough(bytes in 1usize..40_000, lost in 0usize..512, seed in any::<u64>()) {
            let shape = Shape::new(64, bytes as u64, 0).unwrap();
            let (bytes, count) = (stripe(bytes), shape.symbols(0));
            let parity = Encoder::default().parity(&shape, &bytes).unwrap();
            let mut symbols = bytes.clone();
            symbols.resize(usize::from(count) * 64, 0);
            let whole = symbols.clone();
            let lost = lost.min(usize::from(count));
            let gone = |n: u16| (u64::from(n).wrapping_add(seed) % u64::from(count)) < lost as u64;
            for n in (0..count).filter(|n| gone(*n)) {
                symbols[usize::from(n) * 64..][..64].fill(0xee);
            }
            let first = seed as usize % (512 - lost + 1);
            let mut some = parity.chunks_exact(64).enumerate().skip(first).take(lost).map(|(n, s)| (n as u16, s));
            Decoder::default().restore(64, count, &mut symbols, &|n| !gone(n), &mut some).unwrap();
            prop_assert_eq!(symbols, whole);
        }
    }

    #[test]
    fn the_code_stays_what_it_is() {
        // A sender and a receiver of different versions must agree.
        let shape = Shape::new(64, 6_400, 0).unwrap();
        let parity = Encoder::default().parity(&shape, &stripe(6_400)).unwrap();
        assert_eq!(parity.len(), 512 * 64);
        assert_eq!(crate::image::Hash::of(&parity).short(), "acd3a827fcd2");
    }

    #[test]
    fn one_encoder_serves_stripes_of_all_lengths() {
        let (mut encoder, mut first) = (Encoder::default(), Vec::new());
        for bytes in [64, 65_536, 100, 640] {
            let shape = Shape::new(64, bytes, 0).unwrap();
            let parity = encoder.parity(&shape, &stripe(bytes as usize)).unwrap();
            assert_eq!(parity, Encoder::default().parity(&shape, &stripe(bytes as usize)).unwrap());
            assert_ne!(parity, first);
            first = parity;
        }
    }
}
