//! Memory that answers are read into. It is used again: fresh memory has to be found, mapped and emptied by the kernel for each
//! piece, which took a third of the server's time.

use axum::body::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// Largest piece.
pub(super) const PIECE: usize = 256 << 10;
/// Pieces that are kept for the next answers.
const KEPT: usize = 64;

/// Pieces that nobody uses.
#[derive(Default)]
pub(super) struct Pieces(Mutex<Vec<Vec<u8>>>);

/// A piece, which goes back when its last reader has it no more.
pub(super) struct Piece {
    bytes: Vec<u8>,
    length: usize,
    home: Arc<Pieces>,
}

impl Pieces {
    /// A piece of so many bytes, at most [`PIECE`]; what is in it is of no meaning.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Piece {
        let length = length.min(PIECE);
        // A small one has memory of its own, and only that: there may be many.
        let kept = if length < PIECE { None } else { self.0.lock().unwrap_or_else(PoisonError::into_inner).pop() };
        Piece { bytes: kept.unwrap_or_else(|| vec![0; length]), length, home: self.clone() }
    }
}

impl Piece {
    pub(super) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }

    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut kept = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if self.length == PIECE && kept.len() < KEPT {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_used_again_when_nobody_reads_it_any_more() {
        let pieces = Arc::<Pieces>::default();
        let mut piece = pieces.take(PIECE);
        piece.as_mut()[..4].copy_from_slice(b"0123");
        let bytes = piece.into_bytes();
        let part = bytes.slice(2..4);
        drop(bytes);
        assert_eq!((&part[..], pieces.0.lock().unwrap().len()), (&b"23"[..], 0));
        drop(part);
        assert_eq!(pieces.0.lock().unwrap().len(), 1);
        // Of what was in it before no more is seen than was asked for.
        assert_eq!(pieces.take(3).as_ref().len(), 3);
        let many: Vec<Piece> = (0..KEPT + 9).map(|_| pieces.take(PIECE + 1)).collect();
        assert!(many.iter().all(|p| p.as_ref().len() == PIECE));
        drop(many);
        assert_eq!(pieces.0.lock().unwrap().len(), KEPT);
    }
}
