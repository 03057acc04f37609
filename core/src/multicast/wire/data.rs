//! The datagram that carries a symbol. See `multicast-protocol.md` §3.1.

use super::{Keys, Kind};

/// Bytes before the check. Part of the protocol.
pub const DATA_HEADER: usize = 12;
const SYMBOL_BITS: u32 = 12;

/// What a symbol is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// It was made of the others.
    pub parity: bool,
    /// It is sent because somebody lacks symbols of its stripe.
    pub repair: bool,
    /// Its stripe is sent again as a whole.
    pub again: bool,
    /// Counts all that is sent, from 1.
    pub seq: u32,
    /// The stripe; 20 bits.
    pub stripe: u32,
    /// The symbol of the stripe; 12 bits.
    pub symbol: u16,
}

/// A symbol that came.
#[derive(Debug, PartialEq, Eq)]
pub struct Data<'d> {
    /// What it is.
    pub header: Header,
    /// Its bytes.
    pub symbol: &'d [u8],
}

impl Header {
    /// Appends the datagram to `out`.
    pub fn put(&self, keys: &Keys, symbol: &[u8], out: &mut Vec<u8>) {
        let at = out.len();
        let flags = u8::from(self.parity) | u8::from(self.repair) << 1 | u8::from(self.again) << 2;
        out.extend_from_slice(&[Kind::Data.byte(), flags]);
        out.extend_from_slice(&(keys.session().0 as u16).to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&(self.stripe << SYMBOL_BITS | u32::from(self.symbol)).to_le_bytes());
        keys.close_data(out, at, self.seq, symbol);
    }

    /// The session, its lower 16 bits, that a datagram says it belongs to; `None` when it carries no symbol.
    #[must_use]
    pub fn session(datagram: &[u8]) -> Option<u16> {
        (Kind::of(datagram) == Some(Kind::Data)).then(|| datagram.get(2..4))?.map(|b| u16::from_le_bytes([b[0], b[1]]))
    }

    /// Reads a datagram, and decrypts it where it is; `None` when it is not one of this session as its sender made it.
    #[must_use]
    pub fn open<'d>(keys: &Keys, datagram: &'d mut [u8]) -> Option<Data<'d>> {
        if Self::session(datagram)? != keys.session().0 as u16 {
            return None;
        }
        let (head, rest) = datagram.split_first_chunk_mut::<DATA_HEADER>()?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (flags, seq, place) = (head[1], word(4), word(8));
        let header = Self {
            parity: flags & 1 > 0,
            repair: flags & 2 > 0,
            again: flags & 4 > 0,
            seq,
            stripe: place >> SYMBOL_BITS,
            symbol: (place & ((1 << SYMBOL_BITS) - 1)) as u16,
        };
        Some(Data { header, symbol: keys.open_data(head, seq, rest)? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Mode, SECRET, Session};
    use super::*;
    use crate::image::hash::hex;
    use proptest::prelude::*;

    fn keys(mode: Mode, session: u64) -> Keys {
        Keys::new(mode, Some(&[7; SECRET]), Session(session)).unwrap()
    }

    fn header() -> Header {
        Header { parity: true, repair: true, again: false, seq: 0x0102_0304, stripe: 0xabcde, symbol: 0x123 }
    }

    fn made(mode: Mode) -> Vec<u8> {
        let mut out = vec![1, 2, 3];
        header().put(&keys(mode, 0x1122_3344_5566_7788), &[0x5a; 16], &mut out);
        out.split_off(3)
    }

    #[test]
    fn byte_for_byte() {
        let vectors = include_str!("../../../docs/vectors/multicast-data.txt");
        let made: String =
            [Mode::Crc, Mode::Tag, Mode::Aead].iter().map(|m| format!("{m} {}\n", hex(&made(*m)))).collect();
        assert_eq!(made, vectors);
    }

    #[test]
    fn what_was_made_is_read_and_nothing_else() {
        for mode in [Mode::Crc, Mode::Tag, Mode::Aead] {
            let mine = keys(mode, 0x1122_3344_5566_7788);
            let read =
                |mut datagram: Vec<u8>| Header::open(&mine, &mut datagram).map(|d| (d.header, d.symbol.to_vec()));
            let datagram = made(mode);
            assert_eq!(datagram.len(), DATA_HEADER + mode.data_check() + 16);
            assert_eq!(read(datagram.clone()), Some((header(), vec![0x5a; 16])));
            assert_eq!(datagram.ends_with(&[0x5a; 16]), mode != Mode::Aead);
            for bit in 0..datagram.len() * 8 {
                let mut other = datagram.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(read(other), None, "{mode} {bit}");
            }
            for cut in 0..datagram.len() {
                assert_eq!(read(datagram[..cut].to_vec()), None);
            }
            // Another session whose lower bits are the same.
            assert_eq!(Header::open(&keys(mode, 0x9922_3344_5566_7788), &mut datagram.clone()), None);
        }
        let stranger = Keys::new(Mode::Tag, Some(&[8; SECRET]), Session(0x1122_3344_5566_7788)).unwrap();
        assert_eq!(Header::open(&stranger, &mut made(Mode::Tag)), None);
    }

    proptest! {
        /// What is put is what is opened.
        #[test]
        fn round_trip(flags in 0u8..8, seq: u32, stripe in 0u32..1 << 20, symbol in 0u16..4096, bytes: Vec<u8>, mode in 0u8..3) {
            let keys = keys([Mode::Crc, Mode::Tag, Mode::Aead][usize::from(mode)], u64::from(seq) << 7);
            let header = Header { parity: flags & 1 > 0, repair: flags & 2 > 0, again: flags & 4 > 0, seq, stripe, symbol };
            let mut out = Vec::new();
            header.put(&keys, &bytes, &mut out);
            let data = Header::open(&keys, &mut out).unwrap();
            prop_assert_eq!((data.header, data.symbol), (header, &bytes[..]));
        }

        /// Nothing that comes makes it panic.
        #[test]
        fn anything_is_refused(mut bytes: Vec<u8>) {
            prop_assert!(Header::open(&keys(Mode::Crc, 1), &mut bytes).is_none());
        }
    }
}
