//! A live tree becomes an image.
//!
//! ```text
//!  walk ──> plan: what the last capture saw is believed ──> read: chunks, on all cores ──> emit: rows, pages
//!                                                                                             │
//!  stat cache <── release <── manifest: facts, policy, names <────────────────────────────────┘
//! ```
//!
//! The promise: bounded memory, every change found, nothing published that is not durable.

pub mod cache;
mod contents;
mod emit;
mod facts;
mod plan;
mod read;

pub use crate::tree::{rules, select};
pub use select::Scrubbed;

use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::image::facts::{facts, id_names};
use crate::image::{Hash, Manifest};
use crate::job::Task;
use crate::secrets::{Finding, Hit, Policy};
use crate::store::depot::LACKING;
use crate::store::{Image, Reason, Session, Store};
use crate::sys::clock;
use crate::sys::confined::{Root, has_proc, show};
use crate::sys::state;
use crate::tree::report::{self, ReportFile};
use crate::tree::{Tree, walk};
use cache::{Cache, CacheFile};
use select::Selection;
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// How to capture.
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    /// Leave these out; patterns as in `.gitignore`, from the root of the tree.
    pub exclude: Vec<String>,
    /// Take these although a rule or `exclude` would leave them out or generalise them.
    pub keep: Vec<String>,
    /// Generalise nothing, leave nothing out.
    pub exact: bool,
    /// A file that changes while it is read is an error, not a warning.
    pub strict: bool,
    /// Read every file, whatever the last capture saw.
    pub paranoid: bool,
    /// Tag for the new generation.
    pub tag: Option<String>,
    /// zstd level, 1 to 19.
    pub level: i32,
    /// Threads; 0 is one for each core.
    pub threads: usize,
    /// Where this host keeps the key of its stat cache; `None` is [`state::directory`].
    pub state: Option<PathBuf>,
    /// Fail with `Conflict` unless this is the newest generation (0: the name is new).
    pub expect_parent: Option<u64>,
    /// What is done about secrets.
    pub secrets: Policy,
    /// A layout document that goes with the image, such as that of the disks that the tree was on.
    pub layout: Option<Vec<u8>>,
    /// More facts for the manifest, by name: what whoever made the tree knows of it.
    pub facts: Vec<(String, serde_json::Value)>,
    /// What the generation is said to come from.
    pub reason: Reason,
    /// Write what was done into this file as JSON: as [`Captured`], but with every entry that was left out or
    /// generalised and every secret, whatever their number. When nothing is published although the tree was read whole,
    /// such as because of secrets, what is only known then is `null`; else there is no report, and what stands in the
    /// file stays.
    pub report: Option<PathBuf>,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            exclude: Vec::new(),
            keep: Vec::new(),
            exact: false,
            strict: false,
            paranoid: false,
            tag: None,
            level: 3,
            threads: 0,
            state: None,
            expect_parent: None,
            secrets: Policy::default(),
            layout: None,
            facts: Vec::new(),
            reason: Reason::Capture,
            report: None,
        }
    }
}

/// What a capture did.
#[derive(Clone, Debug, Serialize)]
pub struct Captured {
    /// The name.
    pub name: String,
    /// The generation that now holds the tree; an old one when nothing had changed.
    pub generation: u64,
    /// The image id.
    pub image: Hash,
    /// The tree id.
    pub tree: Hash,
    /// Whether a generation was made: false when the tree equals the one before.
    pub changed: bool,
    /// Entries of the tree.
    pub entries: u64,
    /// Entries that were read, not believed from the stat cache.
    pub read: u64,
    /// Bytes of file content that were read.
    pub read_bytes: u64,
    /// Bytes added to the store.
    pub stored_bytes: u64,
    /// Bytes that a reader of the whole image reads, in percent of those that it needs; `None` when no image was made.
    pub amplification: Option<u64>,
    /// Paths that changed while they were read, and are kept as read.
    pub torn: Vec<String>,
    /// What was left out or generalised, at most 10,000 entries.
    pub scrubbed: Vec<Scrubbed>,
    /// How many were left out or generalised in all.
    pub scrubbed_count: u64,
    /// Secrets in the tree, at most 10,000; they are in the image.
    pub secrets: Vec<Finding>,
    /// How many there are in all.
    pub secrets_count: u64,
    /// What else was met: sockets, mount points, vanished entries.
    pub notes: Vec<String>,
}

impl Store {
    /// Captures the tree at `root` as the next generation of `name`.
    ///
    /// Never leaves the filesystem of `root`. Publishes nothing when the tree equals the newest generation.
    ///
    /// # Errors
    /// `Invalid` for a bad name or pattern; `Io` when an entry cannot be read; `Conflict` with `strict` when a file
    /// changed while it was read; `Limit` when the store, or the disk of the report, is full; `Refused` when secrets are
    /// forbidden and there are some; `Cancelled`. The store is then as before, but for chunks that the next capture finds
    /// and uses; a full one gets their room back, unless somebody else is at work.
    pub fn capture(
        &self,
        root: impl AsRef<Path>,
        name: &str,
        options: &CaptureOptions,
        task: &Task,
    ) -> Result<Captured> {
        crate::store::name::check_image_name(name)?;
        if let Some(tag) = &options.tag {
            crate::store::name::check_name(tag)?;
        }
        let what = format!("capture of {name}");
        let attempt = |options: &CaptureOptions| {
            self.in_session(&what, task, |session| capture(session, root.as_ref(), name, options, task))
        };
        let Some(depot) = self.blobs().depot() else { return attempt(options) };
        depot.allows(name)?;
        let done = match attempt(options) {
            // The server has lost what it had of the image before: then everything is asked for.
            Err(e) if e.facts().contains_key(LACKING) && !options.paranoid => {
                task.warn(format!("{e}: everything is read"));
                attempt(&CaptureOptions { paranoid: true, ..options.clone() })
            }
            done => done,
        };
        self.blobs().take_notes().into_iter().for_each(|note| task.warn(note));
        done
    }
}

/// The session begins before anything is looked at that the capture may count on.
fn capture(session: &Session, path: &Path, name: &str, options: &CaptureOptions, task: &Task) -> Result<Captured> {
    let store = session.store();
    store.expect_generation(name, options.expect_parent)?;
    let began = clock::now();
    let threads = crate::job::threads(options.threads);
    let root = Root::open(path).map_err(|e| match e {
        rustix::io::Errno::NOENT => Error::not_found(format!("there is no directory {}", path.display())),
        rustix::io::Errno::NOTDIR => Error::invalid(format!("{} is not a directory", path.display())),
        e => Error::io("open", path.display(), e),
    });
    let root = root?.one_filesystem();
    if !has_proc() {
        let hint = "mount it first: mount -t proc proc /proc";
        return Err(Error::unsupported("/proc is not mounted, and files are read through it").hint(hint));
    }
    if let Some(work) = crate::tree::unfinished(&root) {
        let what = format!("{} holds parts of an image, from {work} that did not end", path.display());
        return Err(Error::refused(what).hint("repeat it first"));
    }
    let report = options.report.as_deref().map(ReportFile::begin).transpose()?;
    let selection = Selection::new(&options.exclude, &options.keep, options.exact, report)?;
    let wanted = options.secrets.wanted()?;

    task.stage("scan", 0, Unit::Entries);
    let (tree, notes) = walk::walk(&root, threads, walk::Ask::Stat, &|p, mode| selection.choose(p, mode), task)?;
    let order = tree.order();

    let parent = store.base(name)?;
    let identity = (tree.device.0, tree.device.1, tree.entry(0).ino);
    let cache_file = CacheFile::open(&options.state.clone().unwrap_or_else(state::directory), store, name);
    let cache = match (&cache_file, &parent) {
        (Ok(f), Some(parent)) if !options.paranoid => {
            let rows = parent.manifest().totals.rows;
            f.load(store, rows).filter(|c| c.root == identity && belongs(c, parent))
        }
        _ => None,
    };
    let plan = match plan::Plan::make(&tree, &order, parent.as_ref(), cache.as_ref(), session, task) {
        // The image before is damaged: everything is read again, which heals what it shares with this one.
        Err(e) if e.kind() == ErrorKind::Integrity => plan::Plan::make(&tree, &order, None, None, session, task)?,
        done => done?,
    };

    task.stage("read", plan.bytes, Unit::Bytes);
    let read = read::read(&root, &tree, &plan, session, options, threads, task)?;

    let found = found(&plan, &read);
    let in_order = in_order(&tree, &order, &read, &found);
    let secrets = wanted.judge(&in_order);
    let (scrubbed, scrubbed_count) = selection.report();
    let note = |n: walk::Note| format!("/{} {}", n.path, n.what);
    // What it came to is put in once it is known.
    let mut done = Captured {
        name: name.to_owned(),
        generation: 0,
        image: Hash([0; 32]),
        tree: Hash([0; 32]),
        changed: false,
        entries: 0,
        read: plan.todo.len() as u64,
        read_bytes: read.bytes,
        stored_bytes: 0,
        amplification: None,
        torn: read.torn_paths.clone(),
        scrubbed,
        scrubbed_count,
        secrets: secrets.list.clone(),
        secrets_count: secrets.count,
        notes: notes.into_iter().map(note).chain(read.notes.iter().cloned()).collect(),
    };
    let report = selection.into_report_file();
    let report = report.map(|file| file.lists(&done.scrubbed, wanted.each(&in_order))).transpose()?;
    report.iter().try_for_each(|r| r.draft(&done.rest(false)))?;
    if let Err(e) =
        steady(&done.torn, options.strict, task).and_then(|()| secrets.enforce(options.secrets.forbid, task))
    {
        // The error counts; the draft stands there in any case, but in a pipe.
        report.iter().for_each(|r| r.finish(&done.rest(false)).unwrap_or_default());
        return Err(e);
    }

    task.stage("store", 0, Unit::Entries);
    let emitted = emit::emit(&tree, &order, &plan, &read, &found, parent.as_ref(), session, options, task)?;
    let same_layout = |p: &&Image| options.layout.is_none() || options.layout == p.manifest().layout;
    let mut unchanged = parent.as_ref().filter(|p| p.manifest().pages == emitted.pages).filter(same_layout);
    // Who signs vouches for the whole manifest: what somebody else made of the same tree is not signed in passing.
    if let Some(release) = unchanged.and_then(Image::release)
        && !store.has_signed(release)?
    {
        unchanged = None;
    }

    done.amplification = match unchanged {
        Some(_) => None,
        // A server knows what lies where.
        None if !session.has_index() => None,
        None => Some(session.bound_amplification(&emitted.pages, options.level, threads, task)?.percent()),
    };
    done.stored_bytes = session.finish()?;
    task.check()?;
    task.stage("publish", 1, Unit::Steps);
    let image = match unchanged {
        Some(parent) => parent.clone(),
        None => {
            let manifest = Manifest {
                pages: emitted.pages,
                totals: emitted.totals,
                policy: Some(json!({
                    "amplification": done.amplification,
                    "exact": options.exact,
                    "exclude": shown(&options.exclude),
                    "keep": shown(&options.keep),
                    "scrubbed": done.scrubbed,
                    "scrubbed_count": done.scrubbed_count,
                    "torn": done.torn,
                })),
                facts: Some(with(facts(&root), &options.facts)),
                parent: parent.as_ref().map(Image::id),
                names: Some(id_names(&root, &emitted.users, &emitted.groups)),
                layout: options.layout.clone(),
            };
            session.publish_tagged(name, &manifest, options.reason, options.expect_parent, options.tag.as_deref())?
        }
    };
    let generation = image.release().map_or(0, |r| r.generation);
    // A new generation got it when it was published.
    if let (Some(tag), Some(_)) = (&options.tag, &unchanged) {
        session.advance_tag(name, tag, generation)?;
    }
    save_cache(
        store,
        cache_file,
        &Cache { image: image.id(), began, root: identity, seen: emitted.seen, found: emitted.found },
        task,
    );
    task.advance(1);
    (done.generation, done.image, done.tree) = (generation, image.id(), image.tree_id());
    (done.changed, done.entries) = (unchanged.is_none(), emitted.totals.rows);
    // The generation is there: a report that cannot be finished does not undo it.
    if let Some(Err(e)) = report.map(|r| r.finish(&done.rest(true))) {
        let note = format!("the report is not finished: {e}");
        task.warn(note.clone());
        done.notes.push(note);
    }
    Ok(done)
}

fn with(mut facts: serde_json::Value, more: &[(String, serde_json::Value)]) -> serde_json::Value {
    if let Some(map) = facts.as_object_mut() {
        map.extend(more.iter().cloned());
    }
    facts
}

impl Captured {
    /// The report but for its lists; before an image is published, without what is known only then.
    fn rest(&self, published: bool) -> serde_json::Value {
        let unknown = ["generation", "image", "tree", "changed", "entries", "stored_bytes"];
        report::rest(self, if published { &[] } else { &unknown })
    }
}

/// What changed while it was read is an error, or a warning.
fn steady(torn: &[String], strict: bool, task: &Task) -> Result<()> {
    for path in torn {
        if strict {
            return Err(Error::new(ErrorKind::Conflict, format!("{path} changed while it was read"))
                .hint("capture again while it is quiet, leave it out, or do without --strict"));
        }
        task.warn(format!("{path} changed while it was read and is kept as it was found"));
    }
    Ok(())
}

/// What was found by this capture in what it read, and by the last one in what it did not: by entry.
fn found(plan: &plan::Plan, read: &contents::Contents) -> HashMap<u32, Vec<Hit>> {
    let mut out: HashMap<u32, Vec<Hit>> = HashMap::new();
    for (n, hit) in plan.found.iter().chain(&read.found) {
        out.entry(*n).or_default().push(*hit);
    }
    out
}

/// The same by path, in the order of paths.
fn in_order<'f>(
    tree: &Tree,
    order: &[u32],
    read: &contents::Contents,
    found: &'f HashMap<u32, Vec<Hit>>,
) -> Vec<(Vec<u8>, &'f [Hit])> {
    if found.is_empty() {
        return Vec::new();
    }
    let there = order.iter().filter(|n| !read.vanished.contains(n));
    there.filter_map(|n| Some((tree.path(*n), found.get(n)?.as_slice()))).collect()
}

fn belongs(cache: &Cache, parent: &Image) -> bool {
    parent.id() == cache.image && parent.manifest().totals.rows == cache.seen.len() as u64
}

fn save_cache(store: &Store, file: Result<CacheFile>, cache: &Cache, task: &Task) {
    if let Err(e) = file.and_then(|f| f.save(store, cache)) {
        task.log(format!("the next capture will read everything: {e}"));
    }
}

fn shown(patterns: &[String]) -> Vec<String> {
    patterns.iter().map(|p| show(p.as_bytes()).into_owned()).collect()
}
