//! The processes that run on a tree, as the verdict needs them.

use super::verdict::{Process, service_of};
use crate::sys::confined::{Root, show};
use crate::sys::process;
use crate::tree::mounts::real_path;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Which files count: before an update those that are there, afterwards those that are not any more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Before,
    After,
}

/// Whether the machine itself runs on a tree: it is our own root.
pub(super) fn is_machine(root: &Root) -> bool {
    real_path(root).is_some_and(|path| path == Path::new("/"))
}

/// The processes with the tree's files that they have mapped. What has another root than the machine is a container's
/// and has its own image, unless the tree is that root.
pub(super) fn running(root: &Root, when: When) -> Vec<Process> {
    let Some(path) = real_path(root) else { return Vec::new() };
    let machine = if is_machine(root) { process::identity(&path) } else { None };
    select(&process::all(Path::new("/proc")), path.as_os_str().as_bytes(), machine, when)
}

/// Those that have files of the tree at `path` mapped; with `machine` only those with that root.
fn select(all: &[process::Process], path: &[u8], machine: Option<(u64, u64)>, when: When) -> Vec<Process> {
    let inner = |mapped: &process::Mapped| {
        let rest = inside(mapped, path)?;
        (mapped.deleted == (when == When::After)).then(|| show(rest).into_owned())
    };
    let mine = |p: &&process::Process| machine.is_none_or(|root| p.root == Some(root));
    all.iter()
        .filter(mine)
        .filter_map(|p| {
            let on_it = p.mapped.iter().any(|m| inside(m, path).is_some());
            let files: Vec<_> = p.mapped.iter().filter_map(inner).collect();
            on_it.then(|| Process { pid: p.pid, name: p.name.clone(), unit: service_of(&p.cgroup), files })
        })
        .collect()
}

/// The part of a path beneath `path`: `/srv/treetop` is not in `/srv/tree`.
fn inside<'m>(mapped: &'m process::Mapped, path: &[u8]) -> Option<&'m [u8]> {
    let rest = mapped.path.strip_prefix(path)?;
    if path == b"/" { Some(rest) } else { rest.strip_prefix(b"/") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::Mapped;

    fn process(pid: u32, root: (u64, u64), mapped: &[(&str, bool)]) -> process::Process {
        let mapped = mapped.iter().map(|(p, deleted)| Mapped { path: p.as_bytes().to_vec(), deleted: *deleted });
        let cgroup = "0::/system.slice/a.service\n".to_owned();
        process::Process { pid, name: "a".into(), root: Some(root), cgroup, mapped: mapped.collect() }
    }

    #[test]
    fn processes_are_those_of_the_tree() {
        let (machine, other) = ((1, 2), (1, 77));
        let all = [
            process(1, machine, &[("/usr/bin/a", true), ("/usr/bin/b", false)]),
            process(2, other, &[("/usr/bin/a", true)]),
            process(3, machine, &[("/srv/tree/bin/a", true), ("/srv/treetop/x", true)]),
            process(4, other, &[("/srv/treetop/x", true)]),
        ];
        let found = |path: &str, machine, when| {
            let found = select(&all, path.as_bytes(), machine, when);
            found.into_iter().map(|p| (p.pid, p.files)).collect::<Vec<_>>()
        };
        let one = |pid, files: &[&str]| (pid, files.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>());
        let after = found("/", Some(machine), When::After);
        assert_eq!(after, [one(1, &["usr/bin/a"]), one(3, &["srv/tree/bin/a", "srv/treetop/x"])]);
        assert_eq!(found("/", Some(machine), When::Before), [one(1, &["usr/bin/b"]), one(3, &[])]);
        assert_eq!(found("/srv/tree", None, When::After), [one(3, &["bin/a"])]);
        assert_eq!(select(&all, b"/", Some(machine), When::After)[0].unit.as_deref(), Some("a.service"));
    }
}
