//! Images made to harm: each gets the right code within seconds, and nothing stands outside the target.
#![allow(missing_docs)]

use libcv::image::block::BlockBuilder;
use libcv::image::manifest::{Manifest, PageRef, Totals};
use libcv::image::page::PageWriter;
use libcv::image::row::{Content, Item, Kind, Row};
use libcv::image::{Hash, chunker};
use libcv::job::Task;
use libcv::store::{Reason, Store};
use libcv::tree::extract::ExtractOptions;
use libcv::{Error, ErrorKind};
use std::path::Path;
use std::time::{Duration, Instant};

const CONTENT: &[u8] = b"owned\n";

fn row(path: &str, kind: Kind) -> Row {
    let mode = match kind {
        Kind::Directory => 0o040_755,
        Kind::Link(_) => 0o120_777,
        Kind::Device { .. } => 0o060_660,
        Kind::Fifo => 0o010_644,
        Kind::File { .. } => 0o100_644,
    };
    let (path, xattrs) = (path.as_bytes().to_vec(), [].into());
    Row { path, mode, uid: 0, gid: 0, mtime: (0, 0), xattrs, inode_flags: 0, torn: false, group: None, kind }
}

fn file(path: &str) -> Row {
    let items = vec![Item::Chunk { length: CONTENT.len() as u32, hash: Hash::of(CONTENT) }];
    row(path, Kind::File { size: CONTENT.len() as u64, content: Content::Near(items) })
}

fn directory(path: &str) -> Row {
    row(path, Kind::Directory)
}

/// Stores an image of these rows, in this order, whatever they say.
fn publish(dir: &Path, rows: &[Row], totals: Option<Totals>) -> Store {
    let store = Store::init(dir.join("store")).unwrap();
    let session = store.session("test").unwrap();
    let mut block = BlockBuilder::new(1).unwrap();
    block.push(Hash::of(CONTENT), CONTENT);
    let (mut pages, mut table) = (PageWriter::default(), Vec::new());
    let mut done: Vec<_> = rows.iter().filter_map(|r| pages.add(r).unwrap()).collect();
    done.extend(pages.finish());
    for page in done {
        let hash = Hash::of(&page.bytes);
        if !block.fits(page.bytes.len()) {
            session.add(block.finish().unwrap().unwrap()).unwrap();
        }
        block.push(hash, &page.bytes);
        table.push(PageRef { first: page.first, hash, rows: page.rows as u32, bytes: page.bytes.len() as u32 });
    }
    session.add(block.finish().unwrap().unwrap()).unwrap();
    session.finish().unwrap();
    let totals = totals.unwrap_or(Totals { rows: rows.len() as u64, ..Totals::default() });
    session.publish("evil", &Manifest { pages: table, totals, ..Manifest::default() }, Reason::Import, None).unwrap();
    store
}

fn extract(rows: &[Row]) -> (Error, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("outside"), "untouched").unwrap();
    let store = publish(dir.path(), rows, None);
    let begin = Instant::now();
    let image = store.image("evil").unwrap();
    let done = image.extract(dir.path().join("out"), &ExtractOptions::default(), &Task::quiet());
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(std::fs::read(dir.path().join("outside")).unwrap(), b"untouched");
    let faults = store.check(false, &Task::quiet()).unwrap().faults;
    assert!(!faults.is_empty(), "check finds it, too");
    (done.unwrap_err(), dir)
}

#[test]
fn entries_that_would_leave_the_target_are_refused() {
    let root = directory("");
    let link = row("a", Kind::Link(b"..".to_vec()));
    let absolute = row("a", Kind::Link(b"/".to_vec()));
    for rows in [
        vec![root.clone(), link, file("a/outside")],
        vec![root.clone(), absolute, file("a/outside")],
        vec![root.clone(), directory(".."), file("../outside")],
        vec![root.clone(), file("a/../../outside")],
        vec![root.clone(), file("/outside")],
        vec![root.clone(), file("a//b")],
        vec![root.clone(), file("missing/parent")],
        vec![root.clone(), file("twice"), file("twice")],
        vec![root.clone(), file("b"), file("a")],
        vec![root, file("a"), file("a/beneath-a-file")],
    ] {
        let (e, dir) = extract(&rows);
        assert!(matches!(e.kind(), ErrorKind::UnsafeInput | ErrorKind::Integrity), "{e:?}");
        assert!(!dir.path().join("out").exists() || std::fs::read_dir(dir.path().join("out")).unwrap().count() == 0);
    }
}

#[test]
fn lies_about_links_sizes_and_totals_are_found() {
    let root = directory("");
    let group = Some(Hash::of(b"a").half());
    let named = |p: &str| Row { group, ..file(p) };
    let other = Row { mode: 0o104_755, ..named("b") };
    let large = Item::Chunk { length: CONTENT.len() as u32 + 1, hash: Hash::of(CONTENT) };
    let longer = row("longer", Kind::File { size: 7, content: Content::Near(vec![large]) });
    for (rows, kind) in [
        (vec![root.clone(), named("a"), other], ErrorKind::UnsafeInput),
        (vec![root.clone(), named("b"), named("c")], ErrorKind::UnsafeInput),
        (vec![root.clone(), named("a")], ErrorKind::Integrity),
        (vec![root.clone(), file("a"), longer], ErrorKind::Integrity),
        (vec![root.clone(), file("a")], ErrorKind::Integrity), // the totals say nothing of a file
    ] {
        assert_eq!(extract(&rows).0.kind(), kind);
    }
    let missing = Item::Chunk { length: 5, hash: Hash::of(b"never stored") };
    let lost = row("lost", Kind::File { size: 5, content: Content::Near(vec![missing]) });
    let dir = tempfile::tempdir().unwrap();
    let totals = Totals { rows: 2, directories: 1, files: 1, size: 5, data: 5, ..Totals::default() };
    let store = publish(dir.path(), &[root, lost], Some(totals));
    let image = store.image("evil").unwrap();
    let e = image.extract(dir.path().join("out"), &ExtractOptions::default(), &Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Integrity);
}

#[test]
fn a_file_larger_than_any_filesystem_is_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let huge =
        row("huge", Kind::File { size: i64::MAX as u64, content: Content::Near(vec![Item::Hole(i64::MAX as u64)]) });
    let totals = Totals { rows: 2, directories: 1, files: 1, size: i64::MAX as u64, ..Totals::default() };
    let store = publish(dir.path(), &[directory(""), huge], Some(totals));
    let image = store.image("evil").unwrap();
    match image.extract(dir.path().join("out"), &ExtractOptions::default(), &Task::quiet()) {
        Err(e) => assert_eq!(e.kind(), ErrorKind::Limit, "{e:?}"),
        // A filesystem that can: the hole costs nothing.
        Ok(_) => assert_eq!(std::fs::metadata(dir.path().join("out/huge")).unwrap().len(), i64::MAX as u64),
    }
}

#[test]
fn a_store_cut_off_anywhere_gives_an_error_and_no_crash() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("f"), vec![5; chunker::WHOLE_LIMIT + 1]).unwrap();
    let store = Store::init(dir.path().join("store")).unwrap();
    let options = libcv::capture::CaptureOptions { state: Some(dir.path().join("state")), ..Default::default() };
    store.capture(&tree, "t", &options, &Task::quiet()).unwrap();
    let mut files = Vec::new();
    for kind in ["packs", "images", "idx", "refs"] {
        let mut at = dir.path().join("store").join(kind);
        while at.is_dir() {
            let mut entries: Vec<_> = std::fs::read_dir(&at).unwrap().map(|e| e.unwrap().path()).collect();
            entries.retain(|p| p.file_name().is_some_and(|n| n != "HEAD" && n != "CURRENT"));
            at = entries.remove(0);
        }
        files.push(at);
    }
    for path in files {
        let whole = std::fs::read(&path).unwrap();
        for i in 0..50 {
            std::fs::write(&path, &whole[..whole.len() * i / 50]).unwrap();
            let store = Store::open(dir.path().join("store")).unwrap();
            assert!(!store.check(true, &Task::quiet()).unwrap().faults.is_empty(), "{} at {i}/50", path.display());
            let out = dir.path().join("out");
            if let Err(e) = store.image("t").and_then(|im| im.extract(&out, &ExtractOptions::default(), &Task::quiet()))
            {
                assert!(matches!(e.kind(), ErrorKind::Integrity | ErrorKind::Limit), "{e:?}");
            }
            let _ = std::fs::remove_dir_all(&out);
        }
        std::fs::write(&path, &whole).unwrap();
    }
}
