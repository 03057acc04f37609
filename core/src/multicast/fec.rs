//! Parity of a stripe, and a stripe out of any k of its symbols. The code is that of `reed-solomon-simd`; it is part of the protocol.

use super::shape::{PARITY, Shape};
use crate::error::{Error, ErrorKind, Result};
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

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
        let (symbol, count) = (shape.symbol(), bytes.len().div_ceil(shape.symbol()));
        let code = match &mut self.code {
            Some(code) => {
                code.reset(count, usize::from(PARITY), symbol).map_err(failed)?;
                code
            }
            none => none.insert(ReedSolomonEncoder::new(count, usize::from(PARITY), symbol).map_err(failed)?),
        };
        let full = bytes.chunks_exact(symbol);
        let rest = full.remainder();
        full.into_iter().try_for_each(|s| code.add_original_shard(s)).map_err(failed)?;
        if !rest.is_empty() {
            let mut last = vec![0; symbol];
            last[..rest.len()].copy_from_slice(rest);
            code.add_original_shard(&last).map_err(failed)?;
        }
        let made = code.encode().map_err(failed)?;
        let mut out = Vec::with_capacity(usize::from(PARITY) * symbol);
        made.recovery_iter().for_each(|s| out.extend_from_slice(s));
        Ok(out)
    }
}

/// Restores stripes.
#[derive(Default)]
pub struct Decoder {
    code: Option<ReedSolomonDecoder>,
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
