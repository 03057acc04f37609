//! What a server and a client of it say to each other about a capture, besides bytes (`docs/capture-protocol.md`).

use super::depot::LACKING;
use crate::error::{Error, ErrorKind};
use crate::image::Hash;
use serde::{Deserialize, Serialize};

/// What a token lets a client do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Granted {
    /// The name that it may write.
    pub(crate) name: String,
    /// The uuid of the store.
    pub(crate) store: String,
    /// Bytes that may be sent with it, if there is a limit.
    pub(crate) max_size: Option<u64>,
    /// Bytes that were.
    pub(crate) received: u64,
    /// Until when, RFC 3339 in UTC.
    pub(crate) expires: Option<String>,
}

/// A generation that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Published {
    /// Its number.
    pub(crate) generation: u64,
    /// Its image.
    pub(crate) image: Hash,
    /// The tree of it.
    pub(crate) tree: Hash,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// The number of its kind (`ErrorKind::code`).
    pub(crate) code: i32,
    /// One sentence.
    pub(crate) message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// So many chunks of an image that was to be published are not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lacking: Option<u64>,
}

impl From<Refusal> for Error {
    fn from(said: Refusal) -> Self {
        // A server may say anything.
        let mut e = Error::new(
            ErrorKind::from_code(said.code),
            format!("the server says: {}", crate::shown::line(&said.message)),
        );
        if let Some(hint) = said.hint {
            e = e.hint(crate::shown::line(&hint));
        }
        match said.lacking {
            Some(n) => e.fact(LACKING, n),
            None => e,
        }
    }
}
