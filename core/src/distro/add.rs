//! A medium or a directory becomes a distribution in the store.
//!
//! ```text
//!  list ──> recognise: metadata, each checked ──> store: files in the order of the medium ──> publish
//!                                                   │ beside it, of the same bytes: MD5 and SHA-256 of the whole medium
//! ```
//!
//! Nothing has the name before all of it is stored and its checksum fits: that which was given, or the medium's own.

use super::digest::{Algorithm, Digest};
use super::document::{Document, FACT, Key, RepositoryInfo, Source as Origin};
use super::files::Files;
use super::key;
use super::mirror;
use super::recognise::{Recognised, recognise};
use super::source::Source;
use super::sweep::{Sweep, Swept};
use super::web;
use super::{Distro, reference};
use crate::convert::build::{About, Builder, Built, Node};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::image::row::REGULAR;
use crate::image::{Hash, Kind};
use crate::job::Task;
use crate::store::content::{ChunkPool, ContentWriter, with_pool};
use crate::store::depot::LACKING;
use crate::store::{DISTRO_PREFIX, Session, Store};
use crate::sys::confined::show;
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What is on a medium is compressed: more than this makes it slower and no smaller.
const LEVEL: i32 = 1;

/// How to add a distribution.
#[derive(Clone, Debug, Default)]
pub struct AddOptions {
    /// Its name in the store; else that which it gives itself, such as `rocky-9.4`.
    pub name: Option<String>,
    /// Files with the keys that its packages have to be signed with. Without one: those that lie in it. A mirror needs one,
    /// which its suite has to be signed with.
    pub keys: Vec<PathBuf>,
    /// The SHA-256 that a medium has to have, as its publisher prints it: [`Digest::sha256`]. It says more than the checksum that the
    /// medium carries, which is then not looked at.
    pub sha256: Option<Digest>,
    /// Of a mirror the components that are taken; none is `main`.
    pub components: Vec<String>,
    /// Threads that compress; 0 is one for each core.
    pub threads: usize,
}

/// What adding a distribution did.
#[derive(Clone, Debug, Serialize)]
pub struct Added {
    /// Its name.
    pub name: String,
    /// The image that its files are.
    pub image: Hash,
    /// Its tree.
    pub tree: Hash,
    /// Whether it was not there before.
    pub changed: bool,
    /// Files of the tree.
    pub files: u64,
    /// Bytes of them.
    pub read_bytes: u64,
    /// Bytes added to the store.
    pub stored_bytes: u64,
    /// What is known of it.
    pub distribution: Document,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Adds the distribution in the file or directory `place` to the store, or the suite of a mirror that it means: a URL, or the
/// directory with its `InRelease`. Other URLs are those of an ISO image, or of a tree with `.treeinfo` or `repodata`.
///
/// A mirror that is there already, and has changed since, becomes the next version of it.
///
/// A store that was opened with a token ([`Store::open_to`]) is sent what it lacks, and the server publishes.
///
/// # Errors
/// `Denied` when the store was opened with a token for another name;
/// `NotFound`; `Unsupported` for a URL that is not HTTP; `Network`; `Stale` for a mirror that is older than what is there;
/// `Invalid` when it is no distribution; `Integrity` when it is damaged or truncated, its
/// metadata do not fit each other, or it has none of the keys that were given; `UnsafeInput` when something in it leads out
/// of it; `Conflict` when another distribution has the name; `Limit`; `Cancelled`. Nothing is then published.
pub fn add(store: &Store, place: &Path, options: &AddOptions, task: &Task) -> Result<Added> {
    if let Some(name) = &options.name {
        allowed(store, Some(&reference(name)?))?;
    } else {
        allowed(store, None)?;
    }
    if options.sha256.as_ref().is_some_and(|d| d.algorithm != Algorithm::Sha256) {
        return Err(Error::invalid("a medium is known by its SHA-256"));
    }
    let pinned = pinned(&options.keys)?;
    if let Some(suite) = mirror::Suite::of(place)? {
        if options.sha256.is_some() {
            return Err(no_medium());
        }
        let fetched = mirror::fetch(&suite, &options.components, pinned, task)?;
        let source = Source::open(fetched.dir.path(), task)?;
        let mut document = fetched.document;
        document.source.size = source.size();
        return finish(store, &source, document, &fetched.notes, options, task);
    }
    if !options.components.is_empty() {
        return Err(Error::invalid("only a mirror has components"));
    }
    let address = web::Address::of(place)?;
    if options.sha256.is_some() && address.as_ref().is_some_and(|a| !a.is_medium()) {
        return Err(no_medium());
    }
    let fetched = address.map(|a| a.fetch(store, &pinned, task)).transpose()?;
    let url = fetched.as_ref().map(|_| place.to_string_lossy().into_owned());
    let place = fetched.as_ref().map_or(place, |f| &f.place);
    task.stage("list", 0, Unit::Entries);
    let source = Source::open(place, task)?;
    if options.sha256.is_some() && source.medium().is_none() {
        return Err(no_medium());
    }
    task.stage("recognise", 0, Unit::Entries);
    let found = recognise(&source, task)?;
    let mut document = describe(&source, &found, keys(&source, pinned)?);
    document.source.url = url;
    packages_are_there(&source, &found)?;
    finish(store, &source, document, &found.notes, options, task)
}

/// Stores what is known to be a distribution.
fn finish(
    store: &Store,
    source: &Source,
    mut document: Document,
    notes: &[String],
    options: &AddOptions,
    task: &Task,
) -> Result<Added> {
    let name = options.name.clone().unwrap_or_else(|| document.default_name());
    allowed(store, Some(&reference(&name)?))?;
    let old = taken(store, &name, &document)?;
    let whole = Addition { source, options, name: &name, old, task };
    let what = format!("distribution {name}");
    let mut attempt = || store.in_session(&what, task, |session| whole.store(session, &mut document, notes.to_vec()));
    if store.blobs().depot().is_none() {
        return attempt();
    }
    let done = match attempt() {
        // The server has lost what it said it had, as one that was killed does: it is asked once more.
        Err(e) if e.facts().contains_key(LACKING) => {
            task.warn(format!("{e}: it is sent again"));
            attempt()
        }
        done => done,
    };
    store.blobs().take_notes().into_iter().for_each(|note| task.warn(note));
    done
}

/// With a token one distribution can be sent: that is said before anything is read, where the name is known by then.
fn allowed(store: &Store, full: Option<&str>) -> Result<()> {
    match (store.blobs().depot(), full) {
        (None, _) => Ok(()),
        (Some(depot), Some(full)) => depot.allows(full),
        (Some(depot), None) if depot.name().starts_with(DISTRO_PREFIX) => Ok(()),
        (Some(depot), None) => {
            let text = format!("the token is for the image {}, and for no distribution", depot.name());
            let hint = format!("make one where the store lies: cvctl token create --name {DISTRO_PREFIX}NAME");
            Err(Error::new(ErrorKind::Denied, text).hint(hint))
        }
    }
}

/// An addition whose name and content are known.
struct Addition<'a> {
    source: &'a Source,
    options: &'a AddOptions,
    name: &'a str,
    old: Option<Distro>,
    task: &'a Task,
}

impl Addition<'_> {
    fn store(&self, session: &Session, document: &mut Document, notes: Vec<String>) -> Result<Added> {
        let (source, task) = (self.source, self.task);
        task.stage("store", source.size(), Unit::Bytes);
        let threads = crate::job::threads(self.options.threads);
        let (builder, built, swept) = std::thread::scope(|scope| -> Result<_> {
            let medium = source.medium();
            let begin = |(medium, volume)| Sweep::begin(scope, medium, volume, self.options.sha256.clone(), task);
            let mut sweep = medium.map(begin);
            let (builder, built) = with_pool(session, LEVEL, threads, |pool| {
                let mut builder = Builder::new(false);
                let time = document.timestamp.unwrap_or(0);
                self.files(&mut builder, time, pool, sweep.as_mut())?;
                let built = builder.rows(pool, task)?;
                Ok((builder, built))
            })?;
            Ok((builder, built, sweep.map(Sweep::finish).transpose()?))
        })?;
        if let (Some(Swept { sha256, undamaged }), Some((_, volume))) = (swept, source.medium()) {
            let url = document.source.url.take();
            document.source = Origin { url, ..Origin::medium(volume, document.source.size, sha256, undamaged) };
        }
        self.publish(session, &builder, built, document, notes)
    }

    /// Stores the files. Several that are the same bytes of the medium are read once.
    fn files(
        &self,
        builder: &mut Builder,
        time: i64,
        pool: &mut ChunkPool<'_>,
        mut sweep: Option<&mut Sweep<'_, '_>>,
    ) -> Result<()> {
        let (task, mut writer, mut known) = (self.task, ContentWriter::default(), HashMap::new());
        for (path, file) in self.source.in_order() {
            task.check()?;
            let same = known.get(&file.extents).filter(|_| !file.extents.is_empty());
            let (content, data) = if let Some((content, data)) = same {
                task.advance(file.size);
                (Clone::clone(content), *data)
            } else {
                let mut reader = self.source.reader(path, file)?;
                let mut next = |buf: &mut [u8]| {
                    task.check()?;
                    let n = reader.next(buf, sweep.as_deref_mut())?;
                    task.advance(n as u64);
                    Ok(n)
                };
                let stored = writer.extent(file.size, &mut next, pool).and_then(|()| writer.finish(pool));
                let stored = stored.map_err(|e| e.fact("entry", show(path)))?;
                if !file.extents.is_empty() {
                    known.insert(file.extents.clone(), stored.clone());
                }
                stored
            };
            let node = Node {
                mode: REGULAR | 0o644,
                uid: 0,
                gid: 0,
                // One time for all: that of the tree. A directory with the files of a medium is then the same tree.
                mtime: (time, 0),
                xattrs: [].into(),
                inode_flags: 0,
                kind: Kind::File { size: file.size, content },
                data,
                secrets: Vec::new(),
                implied: false,
            };
            builder.add(path, node, |_, _| Ok(()))?;
        }
        Ok(())
    }

    fn publish(
        &self,
        session: &Session,
        builder: &Builder,
        built: Built,
        document: &Document,
        notes: Vec<String>,
    ) -> Result<Added> {
        let (store, task) = (session.store(), self.task);
        let stored_bytes = session.finish()?;
        task.check()?;
        task.stage("publish", 1, Unit::Steps);
        let full = reference(self.name)?;
        let mut expect = store.refs().highest(&full)?.unwrap_or(0);
        if let Some(old) = &self.old {
            let same = old.image().manifest().pages == built.pages && old.document().is_as_good_as(document);
            if !same && !document.continues(old.document()) {
                return Err(other(self.name, old.document()));
            }
            expect = old.image().release().map_or(expect, |r| r.generation);
        }
        let fact = serde_json::to_value(document).map_err(|e| Error::new(ErrorKind::Bug, "no document").cause(e))?;
        let about = About { policy: json!({"imported": "distribution"}), fact: Some((FACT, fact)) };
        // The same once more stays as it is, unless this handle signs and it is not signed.
        let (image, changed) = builder.publish(session, &full, built, about, Some(expect))?;
        task.advance(1);
        notes.iter().for_each(|n| task.warn(n.clone()));
        Ok(Added {
            name: self.name.to_owned(),
            image: image.id(),
            tree: image.tree_id(),
            changed,
            files: self.source.files.len() as u64,
            read_bytes: self.source.size(),
            stored_bytes,
            distribution: self.old.as_ref().filter(|_| !changed).map_or(document, Distro::document).clone(),
            notes,
        })
    }
}

fn no_medium() -> Error {
    Error::invalid("only a medium has a SHA-256: this is a directory or a mirror")
}

/// The distribution that has the name already: the same, as far as one can see without reading all of it.
fn taken(store: &Store, name: &str, document: &Document) -> Result<Option<Distro>> {
    match Distro::open(store, name) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Ok(old) if document.continues(old.document()) => {
            if document.timestamp < old.document().timestamp {
                let text = format!("the mirror has an older state of {name} than what is there");
                return Err(Error::new(ErrorKind::Stale, text).hint(format!(
                    "give it another name with --name, or remove that one first: cvctl distro rm {name}"
                )));
            }
            Ok(Some(old))
        }
        Ok(old) if !old.document().is_as_good_as(document) => Err(other(name, old.document())),
        done => done.map(Some),
    }
}

fn other(name: &str, old: &Document) -> Error {
    Error::new(ErrorKind::Conflict, format!("{name} is another distribution already: {} {}", old.title, old.version))
        .hint(format!("give it another name with --name, or remove that one first: cvctl distro rm {name}"))
}

/// Every package has its file, of its size.
fn packages_are_there(source: &Source, found: &Recognised) -> Result<()> {
    for r in &found.repositories {
        for p in &r.packages {
            let place = super::files::join(&r.path, &p.location);
            let why = match Files::size(source, &place) {
                Some(n) if n == p.size => continue,
                Some(n) => format!("has {n} bytes and not {}", p.size),
                None => "is not there".to_owned(),
            };
            return Err(Error::integrity(format!("package {}: /{place} {why}", p.nevra()))
                .fact("package", p.nevra())
                .fact("path", place));
        }
    }
    Ok(())
}

fn describe(source: &Source, found: &Recognised, keys: Vec<Key>) -> Document {
    let (kind, size) = match source.medium() {
        Some((medium, _)) => ("iso", super::iso::ReadAt::length(medium)),
        None => ("directory", source.size()),
    };
    Document {
        schema: Document::schema(),
        id: found.id.clone(),
        title: found.title.clone(),
        version: found.version.clone(),
        major: found.major,
        codename: None,
        arch: found.arch.clone(),
        platform: format!("platform:el{}", found.major),
        timestamp: found.timestamp,
        source: Origin { kind: kind.into(), ..Origin::directory(size) },
        repositories: found.repositories.iter().map(RepositoryInfo::of).collect(),
        keys,
    }
}

/// The keys that the operator gives.
fn pinned(files: &[PathBuf]) -> Result<Vec<Key>> {
    let mut out = Vec::new();
    for file in files {
        let failed = |e| Error::io("read", file.display(), e);
        let bytes = std::fs::read(file).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::not_found(format!("there is no key at {}", file.display())),
            _ => failed(e),
        })?;
        let keys = key::split(&bytes).map_err(|e| e.context(file.display()))?;
        let alone = keys.len() == 1;
        out.extend(keys.into_iter().map(|(info, block)| {
            let text = key::armoured(if alone { &bytes } else { &block });
            Key { info, file: None, pinned: true, text }
        }));
    }
    Ok(out)
}

/// The keys of the distribution: those in its root, or those that were given, of which it then has to have one if it has
/// any.
fn keys(source: &Source, mut pinned: Vec<Key>) -> Result<Vec<Key>> {
    let mut own = Vec::new();
    let mut names = Vec::new();
    source.each(&mut |path| {
        // In a tree of trees they may stand one level deeper.
        let (directory, name) = crate::sys::confined::split(path);
        if name.starts_with(b"RPM-GPG-KEY") && !directory.contains(&b'/') {
            names.extend(std::str::from_utf8(path).ok().map(str::to_owned));
        }
    });
    for name in names {
        let bytes = source.read(&name, key::LIMIT)?;
        // Not each file of that name is a key: some media have checksums of theirs beside them.
        let Ok(keys) = key::parse(&bytes) else { continue };
        let text = key::armoured(&bytes);
        for info in keys {
            if own.iter().all(|k: &Key| k.info.fingerprint != info.fingerprint) {
                own.push(Key { info, file: Some(name.clone()), pinned: false, text: text.clone() });
            }
        }
    }
    if pinned.is_empty() {
        return Ok(own);
    }
    let mut both = false;
    for key in &mut pinned {
        if let Some(same) = own.iter().find(|k| k.info.fingerprint == key.info.fingerprint) {
            key.file.clone_from(&same.file);
            both = true;
        }
    }
    if !own.is_empty() && !both {
        let list = |keys: &[Key]| keys.iter().map(|k| k.info.fingerprint.clone()).collect::<Vec<_>>();
        return Err(Error::integrity("the keys of the distribution are others than those that were given")
            .fact("expected", list(&pinned))
            .fact("actual", list(&own)));
    }
    Ok(pinned)
}
