//! The rules of the plan, one by one.

use super::*;
use crate::image::row::{Content, Kind, REGULAR};
use crate::tree::history::Brought;
use std::collections::HashSet;

fn policy(local: Local) -> Policy {
    Policy {
        selection: Selection::new(&[], &[], false, None).unwrap(),
        protection: Protection::new(&[], false, None).unwrap(),
        local,
        resumed: false,
    }
}

fn row(path: &str, group: Option<Group>) -> Row {
    let kind = Kind::File { size: 0, content: Content::empty() };
    let (mode, mtime) = (REGULAR | 0o644, (1, 0));
    let path = path.as_bytes().to_vec();
    Row { path, mode, uid: 0, gid: 0, mtime, xattrs: [].into(), inode_flags: 0, torn: false, group, kind }
}

fn directory(path: &str) -> Row {
    Row { mode: DIRECTORY | 0o755, kind: Kind::Directory, ..row(path, None) }
}

fn entry(ino: u64, mode: u32, flags: u8) -> Entry {
    let (size, mtime_s, mtime_ns, ctime_s, ctime_ns) = (0, 1, 0, 1, 0);
    let mode = mode as u16;
    Entry {
        ino,
        size,
        mtime_s,
        ctime_s,
        mtime_ns,
        ctime_ns,
        uid: 0,
        gid: 0,
        parent: 0,
        mode,
        flags,
        ..Entry::default()
    }
}

fn seen(ino: u64, flags: u8, differs: &[Field]) -> Seen {
    let mut fields = Fields::default();
    differs.iter().for_each(|f| fields.add(*f));
    Seen { found: Found::Entry(entry(ino, REGULAR | 0o644, flags), (8, 1)), differs: fields }
}

const NOTHING: Seen = Seen { found: Found::Nothing, differs: Fields::NONE };

fn actions(planned: &Planned) -> Vec<(What, String)> {
    planned.actions.iter().map(|a| (a.what, String::from_utf8_lossy(&a.path).into_owned())).collect()
}

#[test]
fn of_a_group_the_first_decides() {
    let policy = policy(Local::Keep);
    let mut p = Planner::new(&policy, HashSet::new());
    let group = Some(Hash::of(b"a").half());
    assert_eq!(p.row(&row("a", group), true, seen(10, LINKED, &[])), Make::Nothing);
    assert_eq!(p.row(&row("b", group), false, seen(10, LINKED, &[])), Make::Nothing);
    assert_eq!(p.row(&row("c", group), false, seen(11, 0, &[])), Make::New);
    assert_eq!(p.row(&row("d", group), false, NOTHING), Make::New);
    // Another file that is the same inode: it is parted from the group.
    assert_eq!(p.row(&row("e", None), true, seen(10, LINKED, &[])), Make::New);
    let made = Some(Hash::of(b"f").half());
    assert_eq!(p.row(&row("f", made), true, seen(20, LINKED, &[Field::Content])), Make::New);
    assert_eq!(p.row(&row("g", made), false, seen(20, LINKED, &[Field::Content])), Make::New);
    let planned = p.finish();
    let replaced = |p: &str| (What::Replace, p.to_owned());
    let made = (What::Create, "d".to_owned());
    assert_eq!(actions(&planned), [replaced("c"), made, replaced("e"), replaced("f"), replaced("g")]);
    assert_eq!(planned.rows, 5);
}

#[test]
fn metadata_alone_is_changed_in_place_and_the_nodes_own_not_at_all() {
    let (policy, history) = (policy(Local::Delete), History::default());
    let mut p = Planner::new(&policy, HashSet::new());
    assert_eq!(p.row(&row("a", None), true, seen(1, 0, &[Field::Mode, Field::Xattrs])), Make::Metadata);
    assert_eq!(p.row(&row("b", None), true, seen(2, 0, &[Field::Target])), Make::New);
    assert_eq!(p.row(&row("etc/hostname", None), true, seen(3, 0, &[Field::Content])), Make::Nothing);
    assert_eq!(p.row(&row("etc/hosts", None), true, NOTHING), Make::New);
    assert_eq!(p.row(&row("tmp/x/y", None), true, seen(4, 0, &[Field::Size])), Make::Nothing);
    // A directory that stands as something else which is kept: nothing can be made beneath.
    assert_eq!(p.row(&directory("tmp/z"), true, seen(5, 0, &[Field::Kind])), Make::Nothing);
    assert_eq!(p.row(&row("tmp/z/f", None), true, NOTHING), Make::Nothing);
    p.extra(b"etc/fstab", &entry(6, REGULAR, 0), &history);
    p.extra(b"etc/other", &entry(7, REGULAR, 0), &history);
    let planned = p.finish();
    assert_eq!(planned.kept.paths, ["/etc/hostname", "/tmp/x/y", "/tmp/z", "/tmp/z/f", "/etc/fstab"]);
    assert_eq!(planned.deleted, [(b"etc/other".to_vec(), false)]);
    assert_eq!((planned.count(What::Metadata), planned.count(What::Create), planned.count(What::Replace)), (1, 1, 1));
}

#[test]
fn what_an_image_brought_goes_with_it_and_what_is_mounted_never() {
    let policy = policy(Local::Keep);
    let mut history = History::default();
    let brought = Brought::of(&Row { mode: REGULAR | 0o644, ..row("x/old", None) });
    history.gone.insert(b"x/old".to_vec(), vec![brought]);
    history.gone.insert(b"x/edited".to_vec(), vec![brought]);
    history.gone.insert(b"x".to_vec(), vec![Brought::of(&directory("x"))]);
    let mut p = Planner::new(&policy, HashSet::new());
    p.extra(b"x/old", &entry(1, REGULAR | 0o644, 0), &history);
    p.extra(b"x/mount", &entry(2, DIRECTORY, MOUNT), &history);
    p.extra(b"x/edited", &entry(3, REGULAR | 0o600, 0), &history);
    p.extra(b"x", &entry(4, DIRECTORY | 0o755, 0), &history);
    let planned = p.finish();
    assert_eq!(planned.deleted, [(b"x/old".to_vec(), false)]);
    assert_eq!(
        (planned.local_kept.paths, planned.kept.paths),
        (vec!["/x/edited".into()], vec!["/x/mount".into(), "/x".into()])
    );
}

#[test]
fn the_time_of_a_directory_counts_where_nothing_local_is_in_it() {
    for (local, resumed, wanted) in [(true, false, 0), (false, false, 1), (true, true, 1)] {
        let policy = Policy { resumed, ..policy(Local::Keep) };
        let history = History::default();
        let mut p = Planner::new(&policy, HashSet::new());
        let mut late = seen(1, 0, &[Field::Mtime]);
        late.found = Found::Entry(entry(1, DIRECTORY | 0o755, 0), (8, 1));
        assert_eq!(p.row(&directory("d"), true, late), Make::Metadata);
        if local {
            p.extra(b"d/mine", &entry(2, REGULAR, 0), &history);
        }
        let planned = p.finish();
        assert_eq!((planned.count(What::Metadata), planned.undue.len()), (wanted, 1 - wanted as usize));
    }
}
