//! A capture, or a distribution, that somebody far away sends: packs are opened, and what is new in them is stored as if it had been read here.
//!
//! ```text
//!  has? ── packs: each chunk proved ──> session ── seal ── is all of the image there? ──> the next generation, signed here
//! ```
//!
//! Nothing that is sent is believed: not a name of a chunk, not a pack, not that an image is complete.

use super::depot::LACKING;
use super::name::check_name;
use super::needs::named;
use super::release::Reason;
use super::session::{Claim, Session};
use super::token::{Claimed, Token, denied};
use super::wire::{Granted, Published};
use super::{DISTRO_PREFIX, Image, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::image::block::{Block, BlockInfo, BlockOpener};
use crate::image::{FormatError, Hash, Manifest, pack};
use crate::job::Task;
use std::sync::{Mutex, PoisonError, RwLock};

/// Longest pack that is taken: twice what a client makes.
pub(crate) const PACK_LIMIT: usize = 16 << 20;
/// Most chunks that may be asked for at a time.
pub(crate) const HAS_LIMIT: usize = 16_384;

/// What is being received with one token.
pub(crate) struct Receiver {
    store: Store,
    token: Token,
    session: Session,
    /// `None` when another one has taken over.
    received: Mutex<Option<u64>>,
    /// Many add at a time; whoever seals is alone.
    adding: RwLock<()>,
    /// What it has published: one does at a time, and only once.
    published: Mutex<Option<Published>>,
}

impl Store {
    /// What a token lets its owner do, and did.
    ///
    /// # Errors
    /// Those of the backend.
    pub(crate) fn granted(&self, token: &Token) -> Result<Granted> {
        Ok(Granted {
            name: token.name.clone(),
            store: self.uuid().to_owned(),
            max_size: token.max_size,
            received: self.received_with(token)?,
            expires: token.expires.clone(),
        })
    }
}

impl Receiver {
    /// Begins to receive.
    ///
    /// # Errors
    /// As [`Store::session`].
    pub(crate) fn begin(store: &Store, token: Token) -> Result<Self> {
        let what = if is_distribution(&token) { "addition" } else { "capture" };
        let session = store.session(&format!("{what} of {}, sent with token {}", token.name, token.id))?;
        let received = Mutex::new(Some(store.received_with(&token)?));
        Ok(Self {
            store: store.clone(),
            token,
            session,
            received,
            adding: RwLock::default(),
            published: Mutex::default(),
        })
    }

    /// Whether it has published: there is nothing more to come.
    pub(crate) fn has_ended(&self) -> bool {
        // Nobody waits for one that is just publishing: it says so itself.
        self.published.try_lock().is_ok_and(|made| made.is_some())
    }

    /// A bit for each of these chunks, 32 bytes each, whether it need not be sent; the first one is the lowest bit of the first
    /// byte.
    ///
    /// # Errors
    /// `Invalid` when these are no names of chunks, `Limit` when they are too many; when the index cannot be read.
    pub(crate) fn has(&self, names: &[u8]) -> Result<Vec<u8>> {
        let (names, rest) = names.as_chunks::<32>();
        if names.is_empty() || !rest.is_empty() {
            return Err(Error::invalid("names of chunks have 32 bytes each"));
        }
        if names.len() > HAS_LIMIT {
            return Err(Error::limit(format!("at most {HAS_LIMIT} chunks may be asked for at a time")));
        }
        let mut out = vec![0; names.len().div_ceil(8)];
        for (n, name) in names.iter().enumerate() {
            out[n / 8] |= u8::from(self.session.has(&Hash(*name))?) << (n % 8);
        }
        Ok(out)
    }

    /// Takes what is new in a pack. It is durable when the session is sealed; until then who is asked says that it is there.
    ///
    /// # Errors
    /// `Integrity` when it is no pack or a chunk is not what its name says: nothing of it is taken then; `Limit` when the token
    /// allows no more, or the store has no room.
    pub(crate) fn take(&self, bytes: &[u8]) -> Result<()> {
        let blocks = parse(bytes)?;
        let mut opener = BlockOpener::new()?;
        for (offset, info) in &blocks {
            let block = &bytes[*offset as usize..*offset as usize + info.stored as usize];
            if opener.open(block, |_, _| Ok(()))? != *info {
                return Err(Error::integrity("a block of the pack is not what its trailer says"));
            }
        }
        let mut new = 0;
        for (_, info) in &blocks {
            let has = info.chunks.iter().map(|(hash, _)| self.session.has(hash)).collect::<Result<Vec<_>>>()?;
            new += if has.contains(&false) { u64::from(info.stored) } else { 0 };
        }
        // What is said twice counts once.
        self.count(new)?;
        let _adding = self.adding.read().unwrap_or_else(PoisonError::into_inner);
        for (offset, info) in blocks {
            let block = &bytes[offset as usize..offset as usize + info.stored as usize];
            let mut wanted = false;
            for (hash, _) in &info.chunks {
                wanted |= self.session.claim(hash)? == Claim::Store;
            }
            if wanted {
                self.session.add(Block { info, pieces: [block, &[]] })?;
            }
        }
        Ok(())
    }

    /// Counts what is sent, for as long as the token lives.
    fn count(&self, bytes: u64) -> Result<()> {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = received.ok_or_else(denied)?.saturating_add(bytes);
        if let Some(most) = self.token.max_size.filter(|most| sum > *most) {
            let text = format!("with this token at most {most} bytes may be sent");
            return Err(Error::limit(text).hint("ask for another one with a larger --max-size"));
        }
        self.store.note_received(&self.token, sum)?;
        *received = Some(sum);
        Ok(())
    }

    /// Takes nothing more: another one counts from here on, and of two each would count for itself.
    pub(crate) fn end(&self) {
        *self.received.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Makes what was taken durable and known: it need not be sent again whatever happens.
    ///
    /// # Errors
    /// As [`Session::finish`].
    pub(crate) fn seal(&self) -> Result<()> {
        let _alone = self.adding.write().unwrap_or_else(PoisonError::into_inner);
        self.session.finish().map(drop)
    }

    /// Publishes the next generation of the name, perhaps with a tag, when all of the image is there; then the token is of no more use.
    ///
    /// # Errors
    /// `Integrity` when it is no manifest or its rows break a rule; `Conflict` when something lacks, with the fact `lacking`, or
    /// when `expect` is not the newest generation.
    pub(crate) fn publish(&self, manifest: &[u8], expect: Option<u64>, tag: Option<&str>) -> Result<Published> {
        tag.map(check_name).transpose()?;
        let mut done = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = &*done {
            return if done.image == Hash::of(manifest) { Ok(done.clone()) } else { Err(denied()) };
        }
        let decoded = Manifest::decode(manifest)?;
        if decoded.encode() != manifest {
            return Err(Error::integrity("the manifest is not as a manifest is written"));
        }
        let image = Hash::of(manifest);
        // Meanwhile somebody else may have: who says the same is told the same.
        if self.store.is_used(&self.token)? {
            let made = self.store.published_with(&self.token)?;
            *done = Some(made.clone());
            return if made.image == image { Ok(made) } else { Err(denied()) };
        }
        if let Some(claimed) = self.store.claim_of(&self.token)?
            && let Some(made) = self.made_of(&claimed)?
        {
            // Whoever published it was ended before that was written down.
            self.store.use_token_up(&self.token, &made)?;
            *done = Some(made.clone());
            return if claimed.image == image { Ok(made) } else { Err(denied()) };
        }
        self.seal()?;
        let lacking = self.lacking(&decoded, image)?;
        if lacking > 0 {
            let e = Error::new(ErrorKind::Conflict, format!("{lacking} chunks of the image are not there"));
            return Err(e.hint("capture again").fact(LACKING, lacking));
        }
        // What was counted on just now has to be there, too.
        self.seal()?;
        let reason = if is_distribution(&self.token) { Reason::Import } else { Reason::Capture };
        let after = self.store.refs().highest(&self.token.name)?.unwrap_or(0);
        self.store.claim(&self.token, &Claimed { after, image })?;
        let image = self.session.publish_tagged(&self.token.name, &decoded, reason, expect, tag)?;
        let generation = image.release().map_or(0, |r| r.generation);
        let published = Published { generation, image: image.id(), tree: image.tree_id() };
        *done = Some(published.clone());
        self.store.use_token_up(&self.token, &published)?;
        Ok(published)
    }

    /// The generation that came of what was claimed, if any did.
    fn made_of(&self, claimed: &Claimed) -> Result<Option<Published>> {
        let refs = self.store.refs();
        let highest = refs.highest(&self.token.name)?.unwrap_or(0);
        for generation in claimed.after + 1..=highest {
            let release = match refs.release(&self.token.name, generation) {
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Integrity) => continue,
                release => release?,
            };
            if let (Some(image), Some(tree)) = (release.image, release.tree)
                && image == claimed.image
            {
                return Ok(Some(Published { generation, image, tree }));
            }
        }
        Ok(None)
    }

    /// Chunks of an image that are neither in the store nor were taken. Its rows are held against the rules of trees.
    fn lacking(&self, manifest: &Manifest, id: Hash) -> Result<u64> {
        let image = Image::of_manifest(self.store.plain(), id, manifest.clone());
        let mut lacking = 0;
        let mut count = |hash: &Hash| {
            lacking += u64::from(!self.session.has(hash)?);
            Ok::<_, Error>(())
        };
        manifest.pages.iter().try_for_each(|page| count(&page.hash))?;
        // Rows are read when all pages are there, and lists when all lists are.
        if lacking == 0 {
            let mut count = |hash: &Hash, _| {
                lacking += u64::from(!self.session.has(hash)?);
                Ok(())
            };
            image.each_row(|row| named(row, &mut count))?;
        }
        if lacking == 0 {
            for (hash, _) in image.needed(&Task::quiet())?.chunks() {
                lacking += u64::from(!self.session.has(hash)?);
            }
        }
        Ok(lacking)
    }

    /// Points a tag of the name to a generation, unless it points to a later one.
    ///
    /// # Errors
    /// As [`Store::advance_tag`]; `NotFound` when there is no such generation.
    pub(crate) fn tag(&self, tag: &str, generation: u64) -> Result<()> {
        check_name(tag)?;
        self.store.plain().image(&format!("{}@{generation}", self.token.name))?;
        self.store.advance_tag(&self.token.name, tag, generation)
    }
}

fn is_distribution(token: &Token) -> bool {
    token.name.starts_with(DISTRO_PREFIX)
}

/// The blocks of a pack with their offsets.
fn parse(bytes: &[u8]) -> Result<Vec<(u64, BlockInfo)>> {
    if bytes.len() > PACK_LIMIT {
        return Err(Error::limit(format!("a pack that is sent has at most {PACK_LIMIT} bytes")));
    }
    let size = bytes.len() as u64;
    let at = bytes.len().checked_sub(pack::FOOTER).ok_or(FormatError::Truncated("pack"))?;
    if !bytes.starts_with(pack::MAGIC) {
        return Err(FormatError::malformed("pack", "it does not begin with the magic of its kind").into());
    }
    let footer = pack::decode_footer(&bytes[at..], size)?;
    let trailer = &bytes[at - footer.trailer as usize..at];
    Ok(pack::decode_trailer(trailer, &footer, size)?)
}
