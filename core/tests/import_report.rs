//! The report of an import as a file: what was found in an archive, whole, also when it is refused.
#![allow(missing_docs)]

use libcv::convert::tar::{Compression, Entry, Kind, Writer};
use libcv::convert::{ExportOptions, Format, ImportOptions, Imported, export, import};
use libcv::job::Task;
use libcv::secrets::Policy;
use libcv::store::Store;
use libcv::{ErrorKind, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A file that says it is a private key.
fn key() -> String {
    format!("-----BEGIN {0}-----\n{1}\n-----END {0}-----\n", "PRIVATE KEY", "Q".repeat(64))
}

struct Bed {
    dir: tempfile::TempDir,
    store: Store,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::init(dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An archive of files with this content.
    fn archive(&self, files: &[(String, String)]) -> PathBuf {
        let mut w = Writer::new(Vec::new());
        for (path, text) in files {
            let kind = Kind::file(text.len() as u64);
            let (path, xattrs) = (path.clone().into_bytes(), Vec::new());
            w.entry(&Entry { path, mode: 0o644, uid: 0, gid: 0, mtime: (0, 0), xattrs, inode_flags: 0, kind }).unwrap();
            w.data(text.as_bytes()).unwrap();
        }
        std::fs::write(self.path("a.tar"), w.finish().unwrap()).unwrap();
        self.path("a.tar")
    }

    fn import(&self, from: &Path, report: &str, forbid: bool) -> Result<Imported> {
        let secrets = Policy { forbid, allow: vec!["/wanted".into()] };
        let options = ImportOptions { secrets, report: Some(report.into()), ..ImportOptions::default() };
        import(&self.store, from, "a", &options, &Task::quiet())
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path("report")).unwrap()).unwrap()
    }

    fn nothing_is_published(&self) {
        assert!(self.store.refs().names().unwrap().is_empty() && self.store.image_ids().unwrap().is_empty());
    }
}

#[test]
fn the_report_names_what_was_found_also_when_it_is_refused() {
    let bed = Bed::new();
    let files = [("plain", "x".to_owned()), ("srv/key", key()), ("wanted", key())].map(|(p, t)| (p.to_owned(), t));
    let archive = bed.archive(&files);
    let report = bed.path("report").to_str().unwrap().to_owned();
    // Longer than what comes.
    std::fs::write(&report, "x".repeat(100_000)).unwrap();
    assert_eq!(bed.import(&archive, &report, true).unwrap_err().kind(), ErrorKind::Refused);
    bed.nothing_is_published();
    let value = bed.report();
    let found: Vec<_> = value["secrets"].as_array().unwrap().iter().map(|f| (&f["path"], &f["allowed"])).collect();
    assert_eq!(found, [(&"/srv/key".into(), &false.into()), (&"/wanted".into(), &true.into())]);
    for key in ["generation", "image", "tree", "changed"] {
        assert!(value[key].is_null() && value.as_object().unwrap().contains_key(key), "{key}");
    }
    assert_eq!((&value["secrets_count"], &value["entries"]), (&2.into(), &5.into()));
    // Then what it came to: what is returned. And in each format that has files of its own.
    let done = bed.import(&archive, &report, false).unwrap();
    assert_eq!(bed.report(), serde_json::to_value(&done).unwrap());
    assert!(done.changed && done.secrets_count == 2);
    let mut formats = vec![Format::Oci, Format::OciArchive];
    if ["tar2sqfs", "sqfs2tar"].iter().all(|p| Path::new("/usr/bin").join(p).exists()) {
        formats.push(Format::Squashfs);
    }
    for format in formats {
        let file = bed.path(format.name());
        let options = ExportOptions { format, compression: Some(Compression::Gzip), ..ExportOptions::default() };
        export(&bed.store.image("a").unwrap(), &file, &options, &Task::quiet()).unwrap();
        let again = bed.import(&file, &report, false).unwrap();
        assert_eq!(bed.report(), serde_json::to_value(&again).unwrap());
        assert_eq!(again.secrets, done.secrets);
    }
}

#[test]
fn the_file_has_all_secrets() {
    let bed = Bed::new();
    let files: Vec<_> = (0..10_100).map(|n| (format!("srv/{n}"), key())).collect();
    let archive = bed.archive(&files);
    let report = bed.path("report").to_str().unwrap().to_owned();
    let done = bed.import(&archive, &report, false).unwrap();
    let value = bed.report();
    assert_eq!((done.secrets.len(), done.secrets_count), (10_000, 10_100));
    assert_eq!(value["secrets"].as_array().unwrap().len(), 10_100);
    assert_eq!((&value["secrets_count"], &value["image"]), (&10_100.into(), &done.image.to_string().into()));
}

#[test]
fn a_report_that_cannot_be_written_is_known_before_anything_is_published() {
    let bed = Bed::new();
    let archive = bed.archive(&[("srv/key".to_owned(), key())]);
    assert_eq!(bed.import(&archive, "/dev/full", false).unwrap_err().kind(), ErrorKind::Limit);
    let none = bed.path("none/report");
    assert!(bed.import(&archive, none.to_str().unwrap(), false).is_err());
    bed.nothing_is_published();
}

/// A squashfs is not written with a file that its program dies of: said before anything is.
#[test]
fn a_file_that_is_too_large_for_squashfs_is_refused_at_once() {
    let bed = Bed::new();
    let root = bed.path("root");
    std::fs::create_dir(&root).unwrap();
    let file = std::fs::File::create(root.join("huge")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", 1 << 40).unwrap();
    let options = libcv::capture::CaptureOptions { state: Some(bed.path("state")), ..Default::default() };
    bed.store.capture(&root, "huge", &options, &Task::quiet()).unwrap();
    let squashfs = ExportOptions { format: Format::Squashfs, ..ExportOptions::default() };
    let began = std::time::Instant::now();
    let e = export(&bed.store.image("huge").unwrap(), bed.path("a.sqfs"), &squashfs, &Task::quiet()).unwrap_err();
    assert_eq!(
        (e.kind(), e.message()),
        (ErrorKind::Unsupported, "/huge has more than 128 GiB, which squashfs is not written with")
    );
    assert_eq!(e.facts()["entry"], "huge");
    let derive = libcv::convert::DeriveOptions {
        work: Some(bed.path("work")),
        ..libcv::convert::DeriveOptions::new(libcv::convert::DeriveKind::Squashfs)
    };
    std::fs::create_dir(bed.path("work")).unwrap();
    let e = libcv::convert::derive(&bed.store.image("huge").unwrap(), &derive, &Task::quiet()).err().unwrap();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    assert_eq!(std::fs::read_dir(bed.path("work")).unwrap().count(), 0);
    let left: Vec<_> = std::fs::read_dir(bed.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|n| n.to_string_lossy().contains("sqfs")), "{left:?}");
    // The formats that the hint names hold it.
    for format in [Format::Tar, Format::Erofs] {
        let options = ExportOptions { format, ..ExportOptions::default() };
        let file = bed.path(format.name());
        export(&bed.store.image("huge").unwrap(), &file, &options, &Task::quiet()).unwrap();
        assert!(std::fs::metadata(&file).unwrap().len() < 32 << 20);
    }
}
