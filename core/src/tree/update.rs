//! A deployed or running tree becomes the tree of another image, in place: only what differs is written.
//!
//! ```text
//!  walk ──> compare ──┐
//!           along: plan ├─> can it be held? ──> journal ──> apply ──> sync ──> journal away ──> verdict
//!                       └ --dry-run ends here, with the verdict that would be
//! ```
//!
//! The normative text is `core/docs/update.md`. The promises: what runs keeps running; the node's own configuration is
//! neither overwritten nor deleted; an update that was killed at any moment is finished by repeating it.

mod apply;
mod journal;
mod plan;
mod processes;
pub mod protect;
mod updated;
mod verdict;

pub use updated::{Action, Listed, Updated, What};
pub use verdict::{Need, Reason, Service, Straggler, Verdict};

use super::examine::{Look, examine};
use super::extract::plan::Plan;
use super::extract::{self, ExtractOptions, Extracted, Extraction, capability, finish as at_the_end, over, target};
use super::history::{Earlier, History};
use super::mounts::Mounts;
use super::seen::Coming;
use super::select::Selection;
use super::walk::Choice;
use crate::error::{Error, Result};
use crate::event::Unit;
use crate::image::path;
use crate::job::{Failure, Task};
use crate::store::{ChunkSource, Image};
use crate::sys::confined::{Links, Root, show};
use crate::sys::lock::Lock;
use crate::sys::{clock, inode, process};
use journal::Journal;
use plan::{Planned, Planner, Policy};
use processes::{When, is_machine, running};
use protect::Protection;
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use std::collections::HashSet;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use updated::LISTED;

/// What becomes of files that no image brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Local {
    /// They stay.
    #[default]
    Keep,
    /// They go, but for what is the node's own and what a capture leaves out.
    Delete,
}

/// How to update.
#[derive(Clone, Debug, Default)]
pub struct UpdateOptions {
    /// What becomes of files that no image brought.
    pub local: Local,
    /// Write nothing; say what would be done.
    pub dry_run: bool,
    /// Compare the content of every file, whatever size and time say.
    pub paranoid: bool,
    /// More that is the node's own; patterns as in `.gitignore`, from the root of the tree.
    pub protect: Vec<String>,
    /// Nothing is the node's own but what `protect` names: the tree becomes the image, or a part of it.
    pub exact: bool,
    /// Read everything back from the medium and compare.
    pub verify: bool,
    /// Go on although the filesystem cannot hold everything; what is lost is listed.
    pub accept_loss: bool,
    /// Threads; 0 is one for each core.
    pub threads: usize,
    /// Do not wait until everything is on the medium: a power cut soon after may leave files without content.
    pub no_sync: bool,
}

impl Image {
    /// Updates the tree at `dir` to this image.
    ///
    /// # Errors
    /// `Refused` when something that stays is in the way, before anything is written; `Busy` while another run is at
    /// work there; `Unsupported` with the list of what the filesystem cannot hold, before anything is written;
    /// `Integrity` when the image is damaged or what was read back differs; `Limit` when the filesystem is full;
    /// `Cancelled`. After the last three the tree holds parts of two images: repeating the update finishes it.
    pub fn update(&self, dir: impl AsRef<Path>, options: &UpdateOptions, task: &Task) -> Result<Updated> {
        update(self, self.store(), dir.as_ref(), options, task)
    }
}

/// Whether an update of this tree was interrupted: what is in it are parts of two images.
#[must_use]
pub fn is_unfinished(root: &Root) -> bool {
    journal::exists(root)
}

/// Updates the tree at `dir` to `image`, whose chunks come from `source`.
///
/// # Errors
/// As [`Image::update`].
pub fn update(
    image: &Image,
    source: &dyn ChunkSource,
    dir: &Path,
    options: &UpdateOptions,
    task: &Task,
) -> Result<Updated> {
    run(image, source, dir, options, false, task)
}

/// Goes on with an extraction of `image` into `dir` that was interrupted: what it has written is compared by content, and only the rest is
/// read from `source`. Everything is as after [`super::extract::extract`].
///
/// # Errors
/// As [`super::extract::extract`]; `Refused` when nothing of this image was interrupted there.
pub fn finish(
    image: &Image,
    source: &dyn ChunkSource,
    dir: &Path,
    options: &ExtractOptions,
    task: &Task,
) -> Result<Extracted> {
    let ExtractOptions { verify, accept_loss, threads, no_sync, .. } = *options;
    let options =
        UpdateOptions { exact: true, paranoid: true, verify, accept_loss, threads, no_sync, ..Default::default() };
    let Updated { entries, verified, losses, .. } = run(image, source, dir, &options, true, task)?;
    Ok(Extracted { entries, bytes: image.manifest().totals.data, verified, losses })
}

fn run(
    image: &Image,
    source: &dyn ChunkSource,
    dir: &Path,
    options: &UpdateOptions,
    finishes: bool,
    task: &Task,
) -> Result<Updated> {
    let (root, _lock): (Root, Option<Lock>) = target::open(dir)?;
    if finishes {
        if target::begun(&root) != Some(image.id()) {
            return Err(Error::refused(format!("no extraction of this image was interrupted in {}", dir.display())));
        }
    } else if target::Marked::look(&root) != target::Marked::No {
        return Err(Error::refused(format!(
            "{} holds a part of an image, from an extraction that did not end",
            dir.display()
        ))
        .hint("extract the image again, without --update"));
    }
    let before = Journal::find(&root)?;
    let survey = Survey { image, source, root: &root, options, finishes, is_machine: is_machine(&root), task };
    let mut found = survey.look(before.as_ref(), options.paranoid, false)?;
    if !found.planned.in_the_way.is_empty() {
        return Err(in_the_way(&found.planned.in_the_way));
    }
    if let Some(loss) = capability::links_across(&found.plan, &found.mounts.paths()) {
        return Err(extract::unsupported(dir, &[loss]).hint("put all names of a file onto one filesystem"));
    }
    let losses = capability::losses(&found.plan, &root)?;
    if !losses.is_empty() && !options.accept_loss {
        return Err(extract::unsupported(dir, &losses));
    }
    let changed = changed(&found.planned);
    let resumed = before.is_some();
    let idle = found.planned.is_empty() && found.leftovers.is_empty() && !resumed && !finishes;
    let all_changed: Vec<String> =
        before.iter().flat_map(|j| j.changed.iter().cloned()).chain(changed.clone()).collect();
    if !options.dry_run && !idle {
        let lost = capability::Lost::new(&losses);
        survey.carry_out(&mut found, &lost, before, changed)?;
    } else if !options.dry_run && target::noted(&root) != Some(image.id()) {
        target::note_image(&root, Some(&image.id()));
    }
    let verified = options.verify && !options.dry_run && losses.is_empty();
    if verified {
        survey.verify()?;
    }
    let when = if options.dry_run { When::Before } else { When::After };
    let Found { planned, plan, .. } = found;
    Ok(Updated {
        image: image.id(),
        dry_run: options.dry_run,
        resumed,
        entries: image.manifest().totals.rows,
        created: planned.count(What::Create),
        replaced: planned.count(What::Replace),
        metadata: planned.count(What::Metadata),
        deleted: planned.count(What::Delete),
        unchanged: image.manifest().totals.rows.saturating_sub(planned.rows),
        bytes: plan.bytes,
        verified,
        verdict: give_verdict(&root, all_changed, &planned, when),
        kept: planned.kept,
        local_kept: planned.local_kept,
        local_deleted: planned.local_deleted,
        losses,
        actions: if options.dry_run { planned.actions } else { Vec::new() },
    })
}

/// What one look at the tree needs.
struct Survey<'a> {
    image: &'a Image,
    source: &'a dyn ChunkSource,
    root: &'a Root,
    options: &'a UpdateOptions,
    /// What is there is a part of the image, from an extraction that was interrupted.
    finishes: bool,
    /// Whether the machine itself runs on the tree.
    is_machine: bool,
    task: &'a Task,
}

/// What a look at the tree found.
struct Found {
    planned: Planned,
    plan: Plan,
    mounts: Mounts,
    /// Temporary names of killed runs.
    leftovers: Vec<Vec<u8>>,
}

impl Survey<'_> {
    /// Compares and plans; writes nothing.
    fn look(&self, before: Option<&Journal>, by_content: bool, medium: bool) -> Result<Found> {
        let Self { image, source, root, options, task, .. } = *self;
        let threads = crate::job::threads(options.threads);
        let kernel = self.is_machine.then(process::kernel_release);
        let policy = Policy {
            selection: Selection::new(&[], &[], options.exact, None)?,
            protection: Protection::new(&options.protect, options.exact, kernel)?,
            local: options.local,
            resumed: before.is_some() || self.finishes,
        };
        task.stage("preflight", image.manifest().totals.rows, Unit::Entries);
        let left_out = Mutex::new(HashSet::new());
        let leftovers = Mutex::new(Vec::new());
        let choose = |p: &[u8], mode: u32| {
            if before.is_some_and(|j| j.is_temporary(path::name(p))) {
                leftovers.lock().unwrap_or_else(PoisonError::into_inner).push(p.to_vec());
                return Choice::Leave;
            }
            let choice = policy.selection.choose(p, mode);
            if choice == Choice::Leave && !path::is_note(p) {
                left_out.lock().unwrap_or_else(PoisonError::into_inner).insert(path::parent(p).to_vec());
            }
            // What a capture would empty is whole here, and kept.
            if choice == Choice::Empty { Choice::Take } else { choice }
        };
        let mounts = Mounts::beneath(root);
        let images = before.map_or_else(|| target::noted(root).into_iter().collect(), |j| j.images.clone());
        let earlier = Earlier::new(&images, image)?;
        let look = Look {
            image,
            source,
            root,
            mounts: &mounts,
            earlier: &earlier,
            by_content: &|e| by_content || before.is_some_and(|j| j.may_be_half((e.ctime_s, e.ctime_ns))),
            medium,
            threads,
            task,
        };
        let tree = look.walk(&choose)?;
        let left_out = left_out.into_inner().unwrap_or_default();
        // What changes is planned while the rest is still looked at.
        let along = |rows: &mut Coming<'_>| {
            let mut planner = Planner::new(&policy, left_out.clone());
            let plan = Plan::of(image, source, task, &mut |row, first| {
                let seen =
                    rows.next().ok_or_else(|| Error::integrity("the look at the tree ended before the image did"))?;
                Ok(planner.row(row, first, seen))
            })?;
            Ok((planner, plan))
        };
        let mut lost = earlier.count_lost();
        let (mut seen, mut made) = examine(&look, tree, along)?;
        while earlier.count_lost() > lost {
            lost = earlier.count_lost();
            (seen, made) = examine(&look, seen.tree, along)?;
        }
        earlier.warn(task);
        let (mut planner, plan) = made;
        let history = History::new(seen.gone());
        for n in seen.extra().rev() {
            planner.extra(&seen.tree.path(n), seen.tree.entry(n), &history);
        }
        let leftovers = leftovers.into_inner().unwrap_or_default();
        Ok(Found { planned: planner.finish(), plan, mounts, leftovers })
    }

    /// Does what is planned, within a journal.
    fn carry_out(
        &self,
        found: &mut Found,
        lost: &capability::Lost,
        before: Option<Journal>,
        changed: Vec<String>,
    ) -> Result<()> {
        let Self { image, root, options, task, .. } = *self;
        let Found { planned, plan, mounts, leftovers } = found;
        for d in &mut plan.directories {
            let wanted = planned.touched.contains(&d.path) || (d.due && !planned.undue.contains(&d.path));
            d.due = wanted && !mounts.at(&d.path);
        }
        let id = clock::random_u64();
        let mut journal = Journal::new(root, before)?;
        journal.add(target::noted(root).into_iter().chain([image.id()]), id, changed);
        // The note is made in the root, whatever flags it has.
        if inode::flags(root.as_fd()).is_ok_and(|f| f & inode::KEPT != 0) {
            inode::set_flags(root.as_fd(), 0).map_err(|e| Error::io("take the flags off", root.name_of(b""), e))?;
        }
        journal.store(root)?;
        let threads = crate::job::threads(options.threads);
        let swap = options.no_sync && !self.is_machine && running(root, When::Before).is_empty();
        let over = over::Over::new(id, swap);
        let run = Extraction {
            plan,
            root,
            lost,
            // Nobody's: each entry is asked for its own.
            owner: (u32::MAX, u32::MAX),
            over: Some(&over),
            threads,
            open_limits: extract::open_limits(threads),
            task,
            failure: Failure::default(),
        };
        task.stage("transfer", plan.bytes, Unit::Bytes);
        if let Err(e) = apply::apply(&run, planned, leftovers, self.source) {
            apply::sweep(root, planned, id);
            return Err(e.fact("unfinished", true));
        }
        task.stage("commit", 0, Unit::Steps);
        self.sync(mounts, planned)?;
        Journal::end(root)?;
        if self.finishes {
            target::unmark(root)?;
        }
        target::note_image(root, Some(&image.id()));
        at_the_end::root(&run)?;
        self.sync(mounts, planned)
    }

    /// Waits until everything is on the medium, on every filesystem that something was written to.
    fn sync(&self, mounts: &Mounts, planned: &Planned) -> Result<()> {
        if self.options.no_sync {
            return Ok(());
        }
        let root = self.root;
        let failed = |e| Error::io("sync", root.name_of(b""), e);
        for at in mounts.paths() {
            let written = planned.touched.iter().any(|t| *t == at || path::is_beneath(t, &at));
            if written && !mounts.is_foreign(&at) {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                let fd = root.open_at(&at, flags, Mode::empty(), Links::Refuse).map_err(failed)?;
                rustix::fs::syncfs(&fd).map_err(failed)?;
            }
        }
        rustix::fs::syncfs(root).map_err(failed)
    }

    /// Compares every byte with the medium: nothing is left to do.
    fn verify(&self) -> Result<()> {
        self.task.stage("verify", 0, Unit::Bytes);
        let again = self.look(None, true, true)?.planned;
        let left: Vec<_> = again.actions.iter().filter(|a| a.what != What::Keep).collect();
        let Some(first) = left.first() else { return Ok(()) };
        let shown: Vec<_> = left.iter().take(LISTED).map(|a| format!("/{} {:?}", show(&a.path), a.fields)).collect();
        Err(Error::integrity(format!("what was read back differs: /{}", show(&first.path))).fact("differences", shown))
    }
}

/// Paths that come, go or get other content.
fn changed(planned: &Planned) -> Vec<String> {
    let of = |a: &&Action| matches!(a.what, What::Create | What::Replace | What::Delete);
    planned.actions.iter().filter(of).map(|a| show(&a.path).into_owned()).collect()
}

fn give_verdict(root: &Root, changed: Vec<String>, planned: &Planned, when: When) -> Verdict {
    let machine = is_machine(root);
    let kernel = machine.then(process::kernel_release);
    // Where nothing changed there is nothing to look for.
    let processes = if changed.is_empty() { Vec::new() } else { running(root, when) };
    let loader = |a: &Action| a.what == What::Keep && a.why.is_some_and(|w| w.starts_with("boot loader"));
    verdict::verdict(&verdict::Facts {
        changed: changed.into_iter().collect(),
        processes: &processes,
        kernel: kernel.as_deref(),
        running: machine || !processes.is_empty(),
        loader_kept: planned.actions.iter().any(loader),
    })
}

fn in_the_way(paths: &[Vec<u8>]) -> Error {
    let shown: Vec<_> = paths.iter().take(LISTED).map(|p| format!("/{}", show(p))).collect();
    let (first, more) = (shown.first().cloned().unwrap_or_default(), paths.len().saturating_sub(1));
    let others = if more > 0 { format!(" and {more} more are") } else { " is".to_owned() };
    Error::refused(format!("{first}{others} kept, and the image has something else than a directory there"))
        .hint("move it away, or give --local delete")
        .fact("paths", shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::CaptureOptions;
    use crate::image::{ChunkSet, Hash};
    use crate::store::{BlockFeed, Store};
    use std::path::PathBuf;

    /// A store of which is noted which chunks were asked for.
    struct Asked {
        store: Store,
        bytes: Mutex<u64>,
    }

    impl ChunkSource for Asked {
        fn chunk(&self, hash: &Hash, length: u32) -> Result<Vec<u8>> {
            self.store.chunk(hash, length)
        }

        fn expect(&self, chunks: &ChunkSet) -> Result<()> {
            self.store.expect(chunks)
        }

        fn feed<'a>(&'a self, wanted: &'a ChunkSet) -> Result<Box<dyn BlockFeed + 'a>> {
            *self.bytes.lock().unwrap() += wanted.chunks().iter().map(|(_, length)| u64::from(*length)).sum::<u64>();
            self.store.feed(wanted)
        }
    }

    fn noise(seed: u64, bytes: usize) -> Vec<u8> {
        let next = |n: u64| (n.wrapping_add(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8;
        (0..bytes as u64).map(next).collect()
    }

    /// A tree of a file of 3 MB and a hundred small ones, and its image in a store.
    fn bed(dir: &Path) -> (PathBuf, Asked, Image) {
        let tree = dir.join("tree");
        std::fs::create_dir_all(tree.join("small")).unwrap();
        std::fs::write(tree.join("large"), noise(1, 3_000_000)).unwrap();
        (0..100).for_each(|n| std::fs::write(tree.join(format!("small/{n}")), noise(n + 2, 3_000)).unwrap());
        let store = Store::init(dir.join("store")).unwrap();
        store.capture(&tree, "node", &CaptureOptions::default(), &Task::quiet()).unwrap();
        let image = store.image("node").unwrap();
        (tree, Asked { store, bytes: Mutex::new(0) }, image)
    }

    #[test]
    fn what_stands_in_a_file_that_is_replaced_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, asked, image) = bed(dir.path());
        let to = dir.path().join("to");
        image.extract(&to, &ExtractOptions::default(), &Task::quiet()).unwrap();
        let mut large = noise(1, 3_000_000);
        large[1_500_000..1_500_100].fill(0);
        std::fs::write(tree.join("large"), &large).unwrap();
        asked.store.capture(&tree, "node", &CaptureOptions::default(), &Task::quiet()).unwrap();
        let image = asked.store.image("node").unwrap();
        let options = UpdateOptions { verify: true, ..UpdateOptions::default() };
        let updated = update(&image, &asked, &to, &options, &Task::quiet()).unwrap();
        assert_eq!((updated.replaced, updated.bytes), (1, 3_000_000));
        assert_eq!(std::fs::read(to.join("large")).unwrap(), large);
        let asked = *asked.bytes.lock().unwrap();
        // One chunk.
        assert!((1..=1 << 20).contains(&asked), "{asked}");
    }

    #[test]
    fn an_extraction_that_was_interrupted_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, asked, image) = bed(dir.path());
        let to = dir.path().join("to");
        let options = ExtractOptions { verify: true, ..ExtractOptions::default() };
        image.extract(&to, &options, &Task::quiet()).unwrap();
        let finish = || finish(&image, &asked, &to, &options, &Task::quiet());
        assert_eq!(finish().unwrap_err().kind(), crate::ErrorKind::Refused);
        // As a kill leaves it: some of the files, one of them a half, times that are not right yet.
        let root = Root::open(&to).unwrap();
        let note = target::note(&root, &image.id().to_string()).unwrap();
        std::fs::write(to.join(show(path::MARKER).as_ref()), note).unwrap();
        let mut large = noise(1, 3_000_000);
        large[2_000_000..].fill(0);
        std::fs::write(to.join("large"), large).unwrap();
        (0..100).step_by(3).for_each(|n| std::fs::remove_file(to.join(format!("small/{n}"))).unwrap());
        assert_eq!(extract::begun(&to), Some(image.id()));
        let update = UpdateOptions::default();
        assert_eq!(image.update(&to, &update, &Task::quiet()).unwrap_err().kind(), crate::ErrorKind::Refused);
        let finished = finish().unwrap();
        assert_eq!((finished.entries, finished.bytes, finished.verified), (103, 3_300_000, true));
        assert_eq!(extract::begun(&to), None);
        assert!(std::fs::read(to.join("large")).unwrap() == std::fs::read(tree.join("large")).unwrap());
        let asked = *asked.bytes.lock().unwrap();
        // The first chunk of the large file is not among them.
        assert!((102_000..3_300_000 - (1 << 20)).contains(&asked), "{asked}");
    }
}
