//! What the target's filesystem can hold: asked by trying on a file without a name, so that nothing is written to it
//! before the answer is known.

use super::Loss;
use super::plan::{Meta, Plan, What};
use crate::error::Result;
use crate::image::loss::class;
use crate::sys::confined::{Root, show};
use crate::sys::inode;
use crate::sys::xattr::{self, Of};
use crate::tree::compare::Difference;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, Timespec, Timestamps};
use std::collections::BTreeMap;
use std::os::fd::AsFd;

/// What is lost, as the writers ask for it.
#[derive(Default)]
pub(in crate::tree) struct Lost {
    pub(in crate::tree) owner: bool,
    pub(in crate::tree) inode_flags: bool,
    special: bool,
    links: bool,
    xattrs: Vec<Vec<u8>>,
    times: bool,
}

const OWNER: &str = "owners and modes";
const SPECIAL: &str = "devices and FIFOs";
const LINKS: &str = "symbolic and hard links";
const FLAGS: &str = "inode flags";
const TIMES: &str = "modification times";
const ATTRIBUTES: &str = "attributes ";

impl Lost {
    pub(in crate::tree) fn new(losses: &[Loss]) -> Self {
        let has = |feature: &str| losses.iter().any(|l| l.feature == feature);
        let names = losses.iter().filter_map(|l| l.feature.strip_prefix(ATTRIBUTES));
        Self {
            owner: has(OWNER),
            inode_flags: has(FLAGS),
            special: has(SPECIAL),
            links: has(LINKS),
            xattrs: names.map(|n| n.as_bytes().to_vec()).collect(),
            times: has(TIMES),
        }
    }

    pub(in crate::tree) fn xattr(&self, name: &[u8]) -> bool {
        self.xattrs.iter().any(|x| class(name) == x.as_slice())
    }

    pub(in crate::tree) fn kind(&self, what: &What) -> bool {
        match what {
            What::Link(_) | What::Name(_) => self.links,
            What::Device(..) | What::Fifo => self.special,
        }
    }

    /// Whether a difference is one that was accepted.
    pub(in crate::tree) fn explains(&self, d: &Difference) -> bool {
        match d.field {
            "owner" | "mode" => self.owner,
            "flags" => self.inode_flags,
            "kind" => self.special || self.links,
            "attributes" => !self.xattrs.is_empty(),
            "mtime" => self.times,
            _ => false,
        }
    }
}

/// What of the plan the filesystem cannot hold.
pub(in crate::tree) fn losses(plan: &Plan, root: &Root) -> Result<Vec<Loss>> {
    let mut out = Vec::new();
    if inode::is_fat(root.as_fd()) {
        fat(plan, &mut out);
        return Ok(out);
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let Ok(probe) = rustix::fs::openat(root, ".", flags, Mode::from(0o600)) else {
        // No file without a name, no answer: writing will tell.
        return Ok(out);
    };
    for Attribute { name, value, count, example } in attributes(plan) {
        // ACLs of directories cannot be tried on a file; where those of files work, these do.
        if name != b"system.posix_acl_default" && xattr::set(Of::Open(probe.as_fd()), &name, &value).is_err() {
            let feature = format!("{ATTRIBUTES}{}", show(class(&name)));
            if !out.iter().any(|l: &Loss| l.feature == feature) {
                out.push(Loss { feature, count, example });
            }
        }
    }
    let mut wrong = Counter::default();
    let mut unset = Counter::default();
    let (mut tried_flags, mut extremes) = (BTreeMap::new(), Extremes::default());
    each_meta(plan, &mut |meta, path| {
        if meta.inode_flags != 0 {
            let ok = *tried_flags.entry(meta.inode_flags).or_insert_with(|| {
                let ok = inode::set_flags(probe.as_fd(), meta.inode_flags).is_ok();
                let _ = inode::set_flags(probe.as_fd(), 0);
                ok
            });
            if !ok {
                unset.add(path);
            }
        }
        if extremes.is_new(meta.mtime) && !holds_time(probe.as_fd(), meta.mtime) {
            wrong.add(path);
        }
    });
    out.extend(unset.loss(FLAGS));
    out.extend(wrong.loss(TIMES));
    Ok(out)
}

/// Further names that would stand on another filesystem than the first.
pub(in crate::tree) fn links_across(plan: &Plan, mounts: &[Vec<u8>]) -> Option<Loss> {
    let beneath = |path: &[u8], m: &[u8]| path.strip_prefix(m).is_some_and(|rest| rest.first() == Some(&b'/'));
    let mount = |path: &[u8]| mounts.iter().filter(|m| beneath(path, m)).max_by_key(|m| m.len());
    let mut across = Counter::default();
    for other in if mounts.is_empty() { &[] } else { &plan.others[..] } {
        if let What::Name(first) = &other.what
            && mount(first) != mount(&other.path)
        {
            across.add(&other.path);
        }
    }
    across.loss("hard links across mount points")
}

/// A class of attributes: one of its names with the longest value, how many entries have it, and one of them.
struct Attribute {
    name: Vec<u8>,
    value: Vec<u8>,
    count: u64,
    example: String,
}

fn attributes(plan: &Plan) -> Vec<Attribute> {
    let mut by_set: BTreeMap<u32, (u64, String)> = BTreeMap::new();
    each_meta(plan, &mut |meta, path| {
        if meta.xattrs != 0 {
            let e = by_set.entry(meta.xattrs).or_insert_with(|| (0, format!("/{}", show(path))));
            e.0 += 1;
        }
    });
    let mut out: BTreeMap<Vec<u8>, Attribute> = BTreeMap::new();
    for (set, (count, example)) in by_set {
        for x in plan.sets()[set as usize].iter() {
            let crate::image::Value::Near(value) = &x.value else { continue };
            let e = out.entry(class(&x.name).to_vec()).or_insert_with(|| Attribute {
                name: x.name.clone(),
                value: value.clone(),
                count: 0,
                example: example.clone(),
            });
            e.count += count;
            if value.len() > e.value.len() {
                (e.name, e.value, e.example) = (x.name.clone(), value.clone(), example.clone());
            }
        }
    }
    out.into_values().collect()
}

fn each_meta(plan: &Plan, f: &mut dyn FnMut(&Meta, &[u8])) {
    for d in &plan.directories {
        f(&d.meta, &d.path);
    }
    for x in plan.files.iter() {
        if x.meta.xattrs != 0 || x.meta.inode_flags != 0 {
            f(x.meta, &plan.path(x));
        } else {
            // Most files: only the time matters, and the name is enough to point at one.
            f(x.meta, x.name);
        }
    }
    for o in &plan.others {
        f(&o.meta, &o.path);
    }
    for c in &plan.changed {
        f(&c.meta, &c.path);
    }
}

/// Only times that are earlier or later than all before, or the first with a fraction, say anything new.
#[derive(Default)]
struct Extremes {
    seen: Option<(i64, i64)>,
    fraction: bool,
}

impl Extremes {
    fn is_new(&mut self, (s, ns): (i64, u32)) -> bool {
        let wider = self.seen.is_none_or(|(low, high)| s < low || s > high);
        let (low, high) = self.seen.unwrap_or((s, s));
        self.seen = Some((low.min(s), high.max(s)));
        let fraction = ns % 1000 != 0 && !self.fraction;
        self.fraction |= fraction;
        wider || fraction
    }
}

fn holds_time(fd: std::os::fd::BorrowedFd<'_>, (s, ns): (i64, u32)) -> bool {
    let time = Timespec { tv_sec: s, tv_nsec: ns.into() };
    let set = rustix::fs::futimens(fd, &Timestamps { last_access: time, last_modification: time });
    let got = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MTIME);
    set.is_ok() && got.is_ok_and(|st| (st.stx_mtime.tv_sec, st.stx_mtime.tv_nsec) == (s, ns))
}

#[derive(Default)]
struct Counter(u64, Option<String>);

impl Counter {
    fn add(&mut self, path: &[u8]) {
        self.0 += 1;
        self.1.get_or_insert_with(|| format!("/{}", show(path)));
    }

    fn loss(self, feature: &str) -> Option<Loss> {
        let example = self.1?;
        Some(Loss { feature: feature.to_owned(), count: self.0, example })
    }
}

/// FAT holds files and directories of root with one mode; the boot loader's files are all it is for.
fn fat(plan: &Plan, out: &mut Vec<Loss>) {
    let mut owner = Counter::default();
    let mut attributes: BTreeMap<Vec<u8>, Counter> = BTreeMap::new();
    let mut flags = Counter::default();
    let mut times = Counter::default();
    each_meta(plan, &mut |m, path| {
        if (m.uid, m.gid) != (0, 0) || m.mode & 0o7077 != 0 {
            owner.add(path);
        }
        if m.xattrs != 0 {
            for x in plan.xattrs(m) {
                attributes.entry(class(&x.name).to_vec()).or_default().add(path);
            }
        }
        if m.inode_flags != 0 {
            flags.add(path);
        }
        if m.mtime.0 % 2 != 0 || m.mtime.1 != 0 || m.mtime.0 < 315_532_800 {
            times.add(path);
        }
    });
    let (mut special, mut links) = (Counter::default(), Counter::default());
    for o in &plan.others {
        match o.what {
            What::Link(_) | What::Name(_) => links.add(&o.path),
            What::Device(..) | What::Fifo => special.add(&o.path),
        }
    }
    out.extend(owner.loss(OWNER));
    out.extend(special.loss(SPECIAL));
    out.extend(links.loss(LINKS));
    for (name, counter) in attributes {
        out.extend(counter.loss(&format!("{ATTRIBUTES}{}", show(&name))));
    }
    out.extend(flags.loss(FLAGS));
    out.extend(times.loss(TIMES));
}
