//! A few lost symbols out of as many parity symbols. The code is linear: parity made with zeros for what is lost differs from the true one by what the
//! lost symbols put into it, which is a small system of equations. To make parity costs less than half of what the general decoder does, and a stripe
//! of a usual network lacks a handful.

use super::Encoder;
use crate::error::{Error, ErrorKind, Result};
use reed_solomon_simd::engine::tables::{self, ExpLog};
use reed_solomon_simd::engine::{DefaultEngine, Engine, GF_MODULUS, GfElement};

/// Most lost symbols: a block of the code has room for the coefficients of so many. The equations grow with the square.
pub(super) const FEW: usize = LANES;

/// Elements of a block: their low bytes come first, then their high bytes.
const LANES: usize = 32;
type Block = [u8; 2 * LANES];

/// Fills in the symbols `lost`, which are zero in `symbols`, out of as many `parity` symbols.
pub(super) fn restore(
    encoder: &mut Encoder,
    symbol: usize,
    symbols: &mut [u8],
    lost: &[u16],
    parity: &[(u16, &[u8])],
) -> Result<()> {
    let matrix = inverse(coefficients(encoder, symbols.len() / symbol, lost, parity)?)?;
    let made = encoder.encode(symbol, symbols.chunks_exact(symbol))?;
    let mut differences = Vec::with_capacity(parity.len());
    for (n, bytes) in parity {
        let without = made.recovery(usize::from(*n)).ok_or_else(unsolvable)?;
        differences.push(blocks(&bytes.iter().zip(without).map(|(a, b)| a ^ b).collect::<Vec<_>>()));
    }
    let (engine, log) = (DefaultEngine::new(), &tables::get_exp_log().log);
    let mut product = vec![[0; 2 * LANES]; symbol.div_ceil(2 * LANES)];
    for (row, n) in matrix.iter().zip(lost) {
        let mut sum = vec![[0; 2 * LANES]; product.len()];
        for (factor, difference) in row.iter().zip(&differences).filter(|(f, _)| **f != 0) {
            product.copy_from_slice(difference);
            engine.mul(&mut product, log[usize::from(*factor)]);
            sum.as_flattened_mut().iter_mut().zip(product.as_flattened()).for_each(|(a, b)| *a ^= b);
        }
        put(&sum, &mut symbols[usize::from(*n) * symbol..][..symbol]);
    }
    Ok(())
}

fn unsolvable() -> Error {
    Error::new(ErrorKind::Bug, "the code of a stripe: its equations have no solution")
}

/// What each of the lost symbols puts into each parity symbol: found by a stripe of one block for a symbol, where each lost one is 1 in a lane of its own.
fn coefficients(
    encoder: &mut Encoder,
    count: usize,
    lost: &[u16],
    parity: &[(u16, &[u8])],
) -> Result<Vec<Vec<GfElement>>> {
    let mut stripe = vec![[0u8; 2 * LANES]; count];
    for (lane, n) in lost.iter().enumerate() {
        stripe[usize::from(*n)][lane] = 1;
    }
    let made = encoder.encode(2 * LANES, stripe.iter().map(<[u8; 64]>::as_slice))?;
    let row = |(n, _): &(u16, &[u8])| {
        let block = made.recovery(usize::from(*n)).ok_or_else(unsolvable)?;
        Ok((0..lost.len()).map(|lane| GfElement::from_le_bytes([block[lane], block[LANES + lane]])).collect())
    };
    parity.iter().map(row).collect()
}

/// The inverse of a square matrix, by elimination.
fn inverse(mut matrix: Vec<Vec<GfElement>>) -> Result<Vec<Vec<GfElement>>> {
    let size = matrix.len();
    for (n, row) in matrix.iter_mut().enumerate() {
        row.extend((0..size).map(|m| GfElement::from(n == m)));
    }
    let field = Field(tables::get_exp_log());
    for n in 0..size {
        let pivot = (n..size).find(|m| matrix[*m][n] != 0).ok_or_else(unsolvable)?;
        matrix.swap(n, pivot);
        let by = field.inverse(matrix[n][n]);
        matrix[n].iter_mut().for_each(|x| *x = field.product(*x, by));
        let row = matrix[n].clone();
        for (_, other) in matrix.iter_mut().enumerate().filter(|(m, _)| *m != n) {
            let by = other[n];
            other.iter_mut().zip(&row).for_each(|(x, y)| *x ^= field.product(*y, by));
        }
    }
    Ok(matrix.into_iter().map(|row| row[size..].to_vec()).collect())
}

struct Field(&'static ExpLog);

impl Field {
    fn product(&self, x: GfElement, y: GfElement) -> GfElement {
        if x == 0 || y == 0 {
            return 0;
        }
        let sum = u32::from(self.0.log[usize::from(x)]) + u32::from(self.0.log[usize::from(y)]);
        self.0.exp[(sum % u32::from(GF_MODULUS)) as usize]
    }

    fn inverse(&self, x: GfElement) -> GfElement {
        self.0.exp[usize::from((GF_MODULUS - self.0.log[usize::from(x)]) % GF_MODULUS)]
    }
}

/// A symbol as the code sees it: of a last block that is not full the first half are low bytes, the second half high ones.
fn blocks(bytes: &[u8]) -> Vec<Block> {
    let full = bytes.chunks_exact(2 * LANES);
    let rest = full.remainder();
    let mut blocks: Vec<Block> = full.map(|c| std::array::from_fn(|n| c[n])).collect();
    if !rest.is_empty() {
        let (low, high) = rest.split_at(rest.len() / 2);
        let mut last = [0; 2 * LANES];
        last[..low.len()].copy_from_slice(low);
        last[LANES..LANES + high.len()].copy_from_slice(high);
        blocks.push(last);
    }
    blocks
}

/// The other way round.
fn put(blocks: &[Block], bytes: &mut [u8]) {
    let mut full = bytes.chunks_exact_mut(2 * LANES);
    full.by_ref().zip(blocks).for_each(|(to, from)| to.copy_from_slice(from));
    let rest = full.into_remainder();
    if let Some(last) = blocks.last().filter(|_| !rest.is_empty()) {
        let (low, high) = rest.split_at_mut(rest.len() / 2);
        low.copy_from_slice(&last[..low.len()]);
        high.copy_from_slice(&last[LANES..LANES + high.len()]);
    }
}
