//! What keeps out datagrams that are damaged or forged, and others from reading the payload.

use super::Session;
use crate::image::FormatError;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroize;

/// Bytes of the secret that sender and receivers share.
pub const SECRET: usize = 32;
const CONTROL: &str = "libcv multicast 1 control";
const DATA: &str = "libcv multicast 1 data";
/// The check of control with a secret.
const MAC: usize = 16;

/// How a session is protected. Fixed by its announcement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// A CRC: against what networks do.
    #[default]
    Crc = 0,
    /// A keyed tag: nobody without the secret can add anything.
    Tag = 1,
    /// Encrypted: nor read anything.
    Aead = 2,
}

impl Mode {
    /// Bytes of the check of a symbol.
    #[must_use]
    pub fn data_check(self) -> usize {
        match self {
            Self::Crc => 4,
            Self::Tag => 8,
            Self::Aead => 16,
        }
    }

    /// Whether it takes a secret.
    #[must_use]
    pub fn is_keyed(self) -> bool {
        self != Self::Crc
    }

    pub(super) fn from_byte(b: u8) -> Result<Self, FormatError> {
        match b {
            0 => Ok(Self::Crc),
            1 => Ok(Self::Tag),
            2 => Ok(Self::Aead),
            n => Err(FormatError::Unknown { what: "session", feature: format!("mode {n}") }),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crc => "crc",
            Self::Tag => "tag",
            Self::Aead => "aead",
        })
    }
}

impl FromStr for Mode {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Crc, Self::Tag, Self::Aead];
        let known = all.into_iter().find(|m| m.to_string() == text);
        known.ok_or_else(|| crate::Error::invalid(format!("{text} is no mode: crc, tag or aead")))
    }
}

/// What datagrams of one session are made and checked with.
pub struct Keys {
    session: Session,
    with: With,
}

enum With {
    Crc,
    Tag { control: [u8; 32], data: [u8; 32] },
    Aead { control: [u8; 32], data: Box<LessSafeKey> },
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.mode())
    }
}

impl Drop for With {
    fn drop(&mut self) {
        match self {
            Self::Crc => {}
            Self::Tag { control, data } => {
                control.zeroize();
                data.zeroize();
            }
            Self::Aead { control, .. } => control.zeroize(),
        }
    }
}

impl Keys {
    /// The keys of a session; `None` when the mode needs a secret and there is none.
    #[must_use]
    pub fn new(mode: Mode, secret: Option<&[u8; SECRET]>, session: Session) -> Option<Self> {
        let derive = |context: &str| {
            let mut hasher = blake3::Hasher::new_derive_key(context);
            hasher.update(secret?).update(&session.0.to_le_bytes());
            Some(*hasher.finalize().as_bytes())
        };
        let with = match mode {
            Mode::Crc => With::Crc,
            Mode::Tag => With::Tag { control: derive(CONTROL)?, data: derive(DATA)? },
            Mode::Aead => {
                let mut data = derive(DATA)?;
                let key = UnboundKey::new(&AES_128_GCM, &data[..16]).ok()?;
                data.zeroize();
                With::Aead { control: derive(CONTROL)?, data: Box::new(LessSafeKey::new(key)) }
            }
        };
        Some(Self { session, with })
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self.with {
            With::Crc => Mode::Crc,
            With::Tag { .. } => Mode::Tag,
            With::Aead { .. } => Mode::Aead,
        }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> Session {
        self.session
    }

    fn crc(&self, parts: [&[u8]; 2]) -> [u8; 4] {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.session.0.to_le_bytes());
        parts.iter().for_each(|p| crc.update(p));
        crc.finalize().to_le_bytes()
    }

    /// Ends a datagram of control.
    pub(super) fn close(&self, datagram: &mut Vec<u8>) {
        match &self.with {
            With::Crc => datagram.extend_from_slice(&self.crc([datagram, &[]])),
            With::Tag { control, .. } | With::Aead { control, .. } => {
                datagram.extend_from_slice(&blake3::keyed_hash(control, datagram).as_bytes()[..MAC]);
            }
        }
    }

    /// A datagram of control without its check; `None` when that does not fit.
    pub(super) fn open<'d>(&self, datagram: &'d [u8]) -> Option<&'d [u8]> {
        match &self.with {
            With::Crc => {
                let (rest, check) = datagram.split_last_chunk::<4>()?;
                (self.crc([rest, &[]]) == *check).then_some(rest)
            }
            With::Tag { control, .. } | With::Aead { control, .. } => {
                let (rest, check) = datagram.split_last_chunk::<MAC>()?;
                same(&blake3::keyed_hash(control, rest).as_bytes()[..MAC], check).then_some(rest)
            }
        }
    }

    fn nonce(&self, seq: u32) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[..4].copy_from_slice(&((self.session.0 >> 32) as u32).to_le_bytes());
        nonce[8..].copy_from_slice(&seq.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// Appends the check of a symbol and the symbol, encrypted if that is asked for, to a datagram that has only its header.
    pub(super) fn close_data(&self, datagram: &mut Vec<u8>, at: usize, seq: u32, symbol: &[u8]) {
        match &self.with {
            With::Crc => {
                let crc = self.crc([&datagram[at..], symbol]);
                datagram.extend_from_slice(&crc);
                datagram.extend_from_slice(symbol);
            }
            With::Tag { data, .. } => {
                let mut mac = blake3::Hasher::new_keyed(data);
                mac.update(&datagram[at..]).update(symbol);
                datagram.extend_from_slice(&mac.finalize().as_bytes()[..8]);
                datagram.extend_from_slice(symbol);
            }
            With::Aead { data, .. } => {
                let head = datagram.len();
                datagram.extend_from_slice(&[0; 16]);
                datagram.extend_from_slice(symbol);
                let (header, rest) = datagram.split_at_mut(head);
                let (check, symbol) = rest.split_at_mut(16);
                let aad = Aad::from(&header[at..]);
                // It fails for more than 64 GiB only.
                if let Ok(tag) = data.seal_in_place_separate_tag(self.nonce(seq), aad, symbol) {
                    check.copy_from_slice(tag.as_ref());
                }
            }
        }
    }

    /// The symbol of a datagram, whose header and rest these are; decrypted where it is. `None` when the check does not fit.
    pub(super) fn open_data<'d>(&self, header: &[u8], seq: u32, rest: &'d mut [u8]) -> Option<&'d [u8]> {
        let (check, symbol) = rest.split_at_mut_checked(self.mode().data_check())?;
        match &self.with {
            With::Crc => (self.crc([header, symbol]) == *check).then_some(symbol),
            With::Tag { data, .. } => {
                let mut mac = blake3::Hasher::new_keyed(data);
                mac.update(header).update(symbol);
                same(&mac.finalize().as_bytes()[..8], check).then_some(symbol)
            }
            With::Aead { data, .. } => {
                let tag = (&*check).try_into().ok()?;
                let opened = data.open_in_place_separate_tag(self.nonce(seq), Aad::from(header), tag, symbol, 0..);
                opened.ok().map(|s| &*s)
            }
        }
    }
}

/// Whether both are the same, in a time that does not tell where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyed_mode_needs_a_secret_and_never_shows_it() {
        assert!(Keys::new(Mode::Tag, None, Session(1)).is_none() && Keys::new(Mode::Aead, None, Session(1)).is_none());
        let keys = Keys::new(Mode::Aead, Some(&[7; SECRET]), Session(1)).unwrap();
        assert_eq!(format!("{keys:?}"), "Keys(aead)");
    }

    #[test]
    fn modes_have_names() {
        for mode in [Mode::Crc, Mode::Tag, Mode::Aead] {
            assert_eq!(mode.to_string().parse::<Mode>().unwrap(), mode);
            assert_eq!(Mode::from_byte(mode as u8).unwrap(), mode);
        }
        assert!("plain".parse::<Mode>().is_err() && Mode::from_byte(3).is_err());
    }
}
