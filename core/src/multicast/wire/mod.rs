//! Datagrams, to the byte. See `multicast-protocol.md` §3.
//!
//! `data` is the datagram that carries symbols; `message` says what all others are, and `control` how they are written, those of the doctor in `probe`; `check` is what keeps out what is damaged or forged.

mod check;
mod control;
mod data;
mod message;
mod probe;

pub use check::{Keys, Mode, SECRET};
pub use control::MESSAGE_LIMIT;
pub use data::{DATA_HEADER, Data, Header};
pub use message::{Admit, Announce, Deficit, Detach, Join, Message, Need, Report, Sync, runs};
pub use probe::{Count, Probe, Told};

/// The version of the protocol. Another one is another protocol.
pub const VERSION: u8 = 1;

/// One sending of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session(pub u64);

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A symbol.
    Data = 1,
    /// What is sent, and where.
    Announce = 2,
    /// How far it is.
    Sync = 3,
    /// A receiver wants it.
    Join = 4,
    /// It gets it, or not.
    Admit = 5,
    /// What a receiver has and lacks.
    Report = 6,
    /// Which blocks a receiver wants.
    Need = 7,
    /// A receiver is sent to the mirrors.
    Detach = 8,
    /// Of the doctor: what is sent to see what arrives.
    Probe = 9,
    /// Of the doctor: what arrived.
    Told = 10,
}

impl Kind {
    fn byte(self) -> u8 {
        VERSION << 4 | self as u8
    }

    /// What a datagram says it is; `None` for another version, or none of ours.
    #[must_use]
    pub fn of(datagram: &[u8]) -> Option<Self> {
        let first = *datagram.first()?;
        let session =
            [Self::Data, Self::Announce, Self::Sync, Self::Join, Self::Admit, Self::Report, Self::Need, Self::Detach];
        let kinds = session.into_iter().chain([Self::Probe, Self::Told]);
        kinds.into_iter().find(|k| k.byte() == first)
    }
}
