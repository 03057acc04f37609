//! Tokens: what lets somebody who is far away write generations of one name into a store (`docs/capture-protocol.md`).
//!
//! ```text
//!  create ──> the secret, told once          tokens/<id>: its BLAKE3, the name, limits
//!  a request with the secret ──> Token ──> packs: tokens/<id>.sent ──> a generation: tokens/<id>.used, it is of no more use
//! ```
//!
//! A secret has 256 random bits, so that its hash need not be slow. It stands nowhere but with whom it was told.

use super::Store;
use super::name::{check_any_name, check_name};
use super::sealed::{seal, unseal};
use super::secret;
use super::wire::Published;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Hash;
use crate::sys::clock;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use zeroize::Zeroizing;

const DIR: &str = "tokens";
const KIND: &str = "token";
const CLAIM: &str = "claim";
const SENT: &str = "sent";
const USED: &str = "used";
const LIMIT: u64 = 64 << 10;
/// What a secret begins with, so that it is recognised where it should not be.
const PREFIX: &str = "cvt1";

/// What a token is for.
#[derive(Clone, Debug, Default)]
pub struct TokenOptions {
    /// The name that may be written; `distro.NAME` of a distribution.
    pub name: String,
    /// Bytes that may be stored with it; `None`: any number.
    pub max_size: Option<u64>,
    /// How long it may be used; `None`: until it was.
    pub expires: Option<Duration>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    // In the order of their names, which is the canonical order of the JSON.
    created: String,
    expires: Option<String>,
    max_size: Option<u64>,
    name: String,
    secret: Hash,
}

/// What is about to be published with a token.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claimed {
    // In the order of their names, which is the canonical order of the JSON.
    /// The newest generation of the name before.
    pub(crate) after: u64,
    /// The image.
    pub(crate) image: Hash,
}

impl TokenFile {
    fn new(options: &TokenOptions, secret: Hash) -> Result<Self> {
        let until = |d| now().checked_add(d).map_err(|e| Error::invalid("no token lasts as long").cause(e));
        Ok(Self {
            created: clock::now_rfc3339(),
            expires: options.expires.map(until).transpose()?.map(|t| t.to_string()),
            max_size: options.max_size,
            name: check_any_name(&options.name)?.to_owned(),
            secret,
        })
    }
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Its id: 16 hex digits.
    pub id: String,
    /// The name that may be written.
    pub name: String,
    /// Bytes that may be stored with it.
    pub max_size: Option<u64>,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// Until when it may be used, RFC 3339 in UTC.
    pub expires: Option<String>,
    /// Whether it was.
    pub used: bool,
}

impl Token {
    fn of(id: &str, file: TokenFile, used: bool) -> Self {
        let TokenFile { created, expires, max_size, name, .. } = file;
        Self { id: id.to_owned(), name, max_size, created, expires, used }
    }

    /// Whether its time is over.
    fn has_expired(&self) -> bool {
        let until = self.expires.as_deref().map(str::parse::<Timestamp>);
        // One whose time cannot be read has none left.
        until.is_some_and(|until| !until.is_ok_and(|u| u > now()))
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(clock::now().0).unwrap_or(Timestamp::MAX)
}

/// The secret as it is told.
fn told(id: &str, digits: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{PREFIX}-{id}-{digits}"))
}

fn key(id: &str) -> String {
    format!("{DIR}/{id}")
}

/// Whether this may be the id of a token; an order and its token have the same.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// One answer for whatever is wrong with a token: who guesses learns nothing.
pub(crate) fn denied() -> Error {
    Error::new(ErrorKind::Denied, "this token is not valid: it is unknown, used, or its time is over")
        .hint("make another one where the store lies: cvctl token create --name NAME")
}

impl Store {
    /// Makes a token, and gives its secret, which is told this once.
    ///
    /// # Errors
    /// `Invalid` for what is no name; `Refused` in an exact copy of another store; those of the backend.
    pub fn create_token(&self, options: &TokenOptions) -> Result<(Token, Zeroizing<String>)> {
        self.is_own("a token")?;
        let (digits, secret) = secret::make()?;
        let file = TokenFile::new(options, secret)?;
        let id = format!("{:016x}", clock::random_u64());
        self.blobs().create(&key(&id), &seal(KIND, &file))?;
        Ok((Token::of(&id, file, false), told(&id, &digits)))
    }

    /// Makes the token with this id anew: only the new secret counts from now on. What was sent with the old one counts still.
    ///
    /// # Errors
    /// As [`Store::create_token`].
    pub(crate) fn renew_token(&self, id: &str, options: &TokenOptions) -> Result<Zeroizing<String>> {
        let (digits, secret) = secret::make()?;
        let file = TokenFile::new(options, secret)?;
        // First: the old secret must not be good again for a moment.
        self.blobs().put(&key(id), &seal(KIND, &file))?;
        self.blobs().delete_all(&[used_key(id), claim_key(id)])?;
        Ok(told(id, &digits))
    }

    /// The tokens, sorted by their ids; those that were used or whose time is over stay until they are removed.
    ///
    /// # Errors
    /// `Integrity` when one is damaged; those of the backend.
    pub fn tokens(&self) -> Result<Vec<Token>> {
        let names = self.blobs().list(DIR)?;
        // One may be removed meanwhile.
        let there = |read: Result<(Token, Hash)>| match read {
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            read => Some(read.map(|(token, _)| token)),
        };
        names.iter().filter(|n| is_id(n)).filter_map(|id| there(self.read_token(id))).collect()
    }

    /// Removes a token; whoever has its secret can do nothing with it any more.
    ///
    /// # Errors
    /// `NotFound`; those of the backend.
    pub fn remove_token(&self, id: &str) -> Result<()> {
        if !is_id(id) || self.blobs().size(&key(id))?.is_none() {
            return Err(Error::not_found(format!("there is no token {}", crate::shown::line(id))));
        }
        self.blobs().delete_all(&[key(id), used_key(id), sent_key(id), claim_key(id)])
    }

    fn read_token(&self, id: &str) -> Result<(Token, Hash)> {
        let bytes = self.blobs().get(&key(id), LIMIT)?;
        let file: TokenFile =
            unseal(KIND, &bytes).map_err(|e| Error::from(e).context(key(id)).fact("object", key(id)))?;
        let secret = file.secret;
        check_name(&file.name)?;
        Ok((Token::of(id, file, self.blobs().size(&used_key(id))?.is_some()), secret))
    }

    /// The token of a secret that somebody shows; it may have been used.
    ///
    /// # Errors
    /// `Denied` when it is not valid, whatever the reason; those of the backend.
    pub(crate) fn token_of(&self, shown: &str) -> Result<Token> {
        let mut parts = shown.trim().split('-');
        let (Some(PREFIX), Some(id), Some(digits), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(denied());
        };
        if !is_id(id) {
            return Err(denied());
        }
        let (token, expected) = match self.read_token(id) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Integrity) => return Err(denied()),
            read => read?,
        };
        if !secret::fits(digits, &expected) || token.has_expired() {
            return Err(denied());
        }
        Ok(token)
    }

    /// What was published with a token that was used.
    ///
    /// # Errors
    /// `Integrity` when that is damaged; those of the backend.
    pub(crate) fn published_with(&self, token: &Token) -> Result<Published> {
        let key = used_key(&token.id);
        let bytes = self.blobs().get(&key, LIMIT)?;
        unseal(USED, &bytes).map_err(|e| Error::from(e).context(&key).fact("object", key))
    }

    /// Says that a generation was made with a token: it is of no more use.
    ///
    /// # Errors
    /// `Denied` when it was used before; those of the backend.
    pub(crate) fn use_token_up(&self, token: &Token, published: &Published) -> Result<()> {
        self.blobs().create(&used_key(&token.id), &seal(USED, published)).map_err(|e| match e.kind() {
            ErrorKind::Conflict => denied(),
            _ => e,
        })
    }

    /// Whether a token was used, now.
    pub(crate) fn is_used(&self, token: &Token) -> Result<bool> {
        Ok(self.blobs().size(&used_key(&token.id))?.is_some())
    }

    /// What was about to be published with a token, before anybody knew whether it was.
    ///
    /// # Errors
    /// Those of the backend.
    pub(crate) fn claim_of(&self, token: &Token) -> Result<Option<Claimed>> {
        match self.blobs().get(&claim_key(&token.id), LIMIT) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            // One that is damaged claims nothing.
            bytes => Ok(unseal(CLAIM, &bytes?).ok()),
        }
    }

    /// Says what is about to be published with a token.
    ///
    /// # Errors
    /// Those of the backend.
    pub(crate) fn claim(&self, token: &Token, claimed: &Claimed) -> Result<()> {
        self.blobs().put(&claim_key(&token.id), &seal(CLAIM, claimed))
    }

    /// Bytes that were sent with a token.
    ///
    /// # Errors
    /// `Integrity` when that is damaged; those of the backend.
    pub(crate) fn received_with(&self, token: &Token) -> Result<u64> {
        let key = sent_key(&token.id);
        match self.blobs().get(&key, LIMIT) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(0),
            bytes => unseal(SENT, &bytes?).map_err(|e| Error::from(e).context(&key).fact("object", key)),
        }
    }

    /// Keeps in mind how many bytes were sent with a token.
    ///
    /// # Errors
    /// Those of the backend.
    pub(crate) fn note_received(&self, token: &Token, bytes: u64) -> Result<()> {
        self.blobs().put(&sent_key(&token.id), &seal(SENT, &bytes))
    }
}

fn claim_key(id: &str) -> String {
    format!("{DIR}/{id}.claim")
}

fn sent_key(id: &str) -> String {
    format!("{DIR}/{id}.sent")
}

fn used_key(id: &str) -> String {
    format!("{DIR}/{id}.used")
}
