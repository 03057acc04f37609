//! The packages of images, whatever made them: where databases are found, and what is said when they cannot be read.
#![allow(missing_docs)]

mod common;

use common::rpmdb::database;
use libcv::ErrorKind;
use libcv::build::sbom::Format;
use libcv::capture::CaptureOptions;
use libcv::convert::tar;
use libcv::job::{CancelToken, Task};
use libcv::store::{Image, Store};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

const FILE: &str = "rpmdb.sqlite";
const STATUS: &str = "Package: bash\nStatus: install ok installed\nVersion: 5.2-2\nArchitecture: amd64\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n";

/// A tree and a store.
struct Bed {
    dir: tempfile::TempDir,
    store: Store,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("root/var/lib")).unwrap();
        let store = Store::init(dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("root").join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), content).unwrap();
    }

    fn capture(&self) -> Image {
        let options = CaptureOptions { state: Some(self.dir.path().join("state")), ..Default::default() };
        self.store.capture(self.path(""), "a", &options, &Task::quiet()).unwrap();
        self.store.image("a").unwrap()
    }

    fn fails(&self) -> libcv::Error {
        self.capture().packages(&Task::quiet()).unwrap_err()
    }
}

fn list(image: &Image) -> Vec<String> {
    image.packages(&Task::quiet()).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn databases_are_found_where_the_image_has_them() {
    let wanted = ["a-1-1.el9.x86_64"];
    for place in ["var/lib/rpm", "usr/lib/sysimage/rpm"] {
        let bed = Bed::new();
        database(&bed.path(place).join(FILE), &[("a", "1")], &[]);
        assert_eq!(list(&bed.capture()), wanted, "{place}");
    }
    // Links that would lead out of the tree lead to its root, and what is beside a database is beside the file itself.
    let bed = Bed::new();
    database(&bed.path("usr/share/rpm/real"), &[("a", "1")], &[("b", "2")]);
    symlink("/usr/lib/sysimage/rpm", bed.path("var/lib/rpm")).unwrap();
    std::fs::create_dir_all(bed.path("usr/lib/sysimage")).unwrap();
    symlink("../../../../../../../usr/share/rpm", bed.path("usr/lib/sysimage/rpm")).unwrap();
    symlink("real", bed.path("usr/share/rpm/rpmdb.sqlite")).unwrap();
    assert_eq!(list(&bed.capture()), ["a-1-1.el9.x86_64", "b-2-1.el9.x86_64"]);
    // The other place counts where the first has none; a link to nothing is none.
    let bed = Bed::new();
    std::fs::create_dir_all(bed.path("usr/lib/sysimage/rpm")).unwrap();
    symlink("nothing", bed.path("usr/lib/sysimage/rpm/rpmdb.sqlite")).unwrap();
    database(&bed.path("var/lib/rpm").join(FILE), &[("a", "1")], &[]);
    assert_eq!(list(&bed.capture()), wanted);
    // A database of an older kind that an upgrade left does not count.
    bed.write("var/lib/rpm/Packages", "bdb");
    assert_eq!(list(&bed.capture()), wanted);
}

/// As of a machine on which rpm runs while it is captured.
#[test]
fn what_is_only_in_the_log_counts() {
    let bed = Bed::new();
    let file = bed.path("var/lib/rpm").join(FILE);
    database(&file, &[("a", "1")], &[("b", "2"), ("c", "3")]);
    assert!(std::fs::metadata(file.with_file_name("rpmdb.sqlite-wal")).unwrap().len() > 0);
    std::fs::write(file.with_file_name("rpmdb.sqlite-shm"), [0xff; 32768]).unwrap();
    let image = bed.capture();
    assert_eq!(list(&image), ["a-1-1.el9.x86_64", "b-2-1.el9.x86_64", "c-3-1.el9.x86_64"]);
    // The log of another database is none of this one's.
    bed.write("var/lib/rpm/rpmdb.sqlite-wal", [0x55; 40_000]);
    assert_eq!(list(&bed.capture()), ["a-1-1.el9.x86_64"]);
    // A journal would have to be rolled back.
    bed.write("var/lib/rpm/rpmdb.sqlite-journal", "");
    assert_eq!(list(&bed.capture()), ["a-1-1.el9.x86_64"]);
    bed.write("var/lib/rpm/rpmdb.sqlite-journal", "\u{d9}");
    assert_eq!(bed.fails().kind(), ErrorKind::Unsupported);
}

#[test]
fn packages_of_dpkg_and_of_imported_images() {
    let bed = Bed::new();
    bed.write("var/lib/dpkg/status", STATUS);
    let image = bed.capture();
    assert_eq!(list(&image), ["bash:amd64=5.2-2"]);
    database(&bed.path("var/lib/rpm").join(FILE), &[("a", "1")], &[]);
    let image = bed.capture();
    assert_eq!(list(&image), ["a-1-1.el9.x86_64", "bash:amd64=5.2-2"]);
    let (bytes, _) = tar::export(&image, Vec::new(), &tar::ExportOptions::default(), &Task::quiet()).unwrap();
    tar::import(&bed.store, &bytes[..], "b", &tar::ImportOptions::default(), &Task::quiet()).unwrap();
    let imported = bed.store.image("b").unwrap();
    assert_eq!(imported.packages(&Task::quiet()).unwrap(), image.packages(&Task::quiet()).unwrap());
}

/// dpkg installs, upgrades and removes for real, and says itself what there is.
#[test]
fn packages_are_those_that_dpkg_lists() {
    if !common::has(&["dpkg", "dpkg-deb", "dpkg-query"], "packages_are_those_that_dpkg_lists") {
        return;
    }
    let bed = Bed::new();
    let (root, admin) = (bed.path("").display().to_string(), bed.path("var/lib/dpkg").display().to_string());
    for dir in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log"] {
        std::fs::create_dir_all(bed.path(dir)).unwrap();
    }
    bed.write("var/lib/dpkg/status", "");
    let package = |name: &str, version: &str, arch: &str| {
        let dir = bed.dir.path().join(format!("{name}-{version}"));
        std::fs::create_dir_all(dir.join("DEBIAN")).unwrap();
        std::fs::create_dir_all(dir.join("etc")).unwrap();
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: M <m@example.invalid>\n\
             Source: source-of-{name}\nDescription: first line\n Version: 9\n .\n more\n"
        );
        std::fs::write(dir.join("DEBIAN/control"), control).unwrap();
        std::fs::write(dir.join("DEBIAN/conffiles"), format!("/etc/{name}\n")).unwrap();
        std::fs::write(dir.join("etc").join(name), "x\n").unwrap();
        let file = format!("{}.deb", dir.display());
        common::run("dpkg-deb", &["--root-owner-group", "-b", &dir.display().to_string(), &file]);
        file
    };
    let dpkg = |args: &[&str]| {
        let always = [
            "--root",
            &root,
            "--force-not-root",
            "--force-script-chrootless",
            "--force-bad-path",
            "--force-architecture",
        ];
        common::run("dpkg", &[&always[..], args].concat());
    };
    dpkg(&[
        "-i",
        &package("first", "1:1.0-1", "all"),
        &package("second", "2.0~rc1", "amd64"),
        &package("third", "3", "all"),
    ]);
    dpkg(&["-i", &package("second", "2.0-1+b1", "amd64")]);
    dpkg(&["-r", "third"]);
    let form = "${db:Status-Status} ${Package}:${Architecture}=${Version}\n";
    let query =
        std::process::Command::new("dpkg-query").args(["--admindir", &admin, "-W", "-f", form]).output().unwrap();
    let text = String::from_utf8(query.stdout).unwrap();
    assert!(text.contains("config-files third:all=3"), "{text}");
    let mut wanted: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("installed ")).collect();
    wanted.sort_unstable();
    let image = bed.capture();
    assert_eq!(list(&image), wanted);
    assert_eq!(wanted, ["first:all=1:1.0-1", "second:amd64=2.0-1+b1"]);
    let packages = image.packages(&Task::quiet()).unwrap();
    assert_eq!(packages[0].source.as_deref(), Some("source-of-first"));
}

#[test]
fn what_cannot_be_read_is_said_by_its_kind() {
    let bed = Bed::new();
    let e = bed.fails();
    assert_eq!((e.kind(), e.hint_text().is_some()), (ErrorKind::NotFound, true), "{e:?}");
    // Not a directory on the way is no database either.
    bed.write("usr/lib/sysimage", "a file");
    assert_eq!(bed.fails().kind(), ErrorKind::NotFound);
    for (name, kind) in [("var/lib/rpm/Packages", "bdb"), ("var/lib/rpm/Packages.db", "ndb")] {
        let bed = Bed::new();
        bed.write(name, "x");
        let e = bed.fails();
        assert_eq!((e.kind(), &e.facts()["database"]), (ErrorKind::Unsupported, &kind.into()));
        assert!(e.hint_text().unwrap().contains("rebuilddb"));
        // Packages of dpkg alone would not be all.
        bed.write("var/lib/dpkg/status", STATUS);
        assert_eq!(bed.fails().kind(), ErrorKind::Unsupported);
    }
    let bed = Bed::new();
    symlink("rpm", bed.path("var/lib/rpm")).unwrap();
    assert_eq!(bed.fails().kind(), ErrorKind::UnsafeInput);
    let bed = Bed::new();
    std::fs::create_dir_all(bed.path("var/lib/rpm/rpmdb.sqlite")).unwrap();
    assert_eq!(bed.fails().kind(), ErrorKind::UnsafeInput);
}

#[test]
fn a_damaged_database_is_told_as_such() {
    let bed = Bed::new();
    let file = bed.path("var/lib/rpm").join(FILE);
    let many: Vec<String> = (0..400).map(|n| format!("package-{n}")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|n| (n.as_str(), "1")).collect();
    database(&file, &many, &[]);
    let whole = std::fs::read(&file).unwrap();
    assert_eq!(list(&bed.capture()).len(), 400);
    let pages = whole.len() / 4096;
    assert!(pages > 20);
    let mut noise = whole.clone();
    common::noise(4096 * (pages - 4), 7).into_iter().enumerate().for_each(|(n, b)| noise[4096 * 3 + n] = b);
    for damaged in [&whole[..whole.len() / 2], &whole[..50], b"no database at all", &noise] {
        std::fs::write(&file, damaged).unwrap();
        let e = bed.fails();
        assert_eq!(e.kind(), ErrorKind::Integrity, "{e:?}");
    }
    // An empty file is a database without the table.
    std::fs::write(&file, "").unwrap();
    assert_eq!(bed.fails().kind(), ErrorKind::Integrity);
    let bed = Bed::new();
    bed.write("var/lib/dpkg/status", STATUS.replace("Version: 5.2-2\n", ""));
    assert_eq!(bed.fails().kind(), ErrorKind::Integrity);
}

#[test]
fn sizes_are_bounded_and_a_cancel_ends_it() {
    let bed = Bed::new();
    bed.write("var/lib/rpm/rpmdb.sqlite", "");
    std::fs::File::options().write(true).open(bed.path("var/lib/rpm/rpmdb.sqlite")).unwrap().set_len(3 << 30).unwrap();
    assert_eq!(bed.fails().kind(), ErrorKind::Limit);
    let bed = Bed::new();
    bed.write("var/lib/dpkg/status", "");
    std::fs::File::options().write(true).open(bed.path("var/lib/dpkg/status")).unwrap().set_len(3 << 30).unwrap();
    assert_eq!(bed.fails().kind(), ErrorKind::Limit);
    let bed = Bed::new();
    database(&bed.path("var/lib/rpm").join(FILE), &[("a", "1")], &[]);
    let cancel = CancelToken::default();
    cancel.cancel();
    let e = bed.capture().packages(&Task::new(cancel, None)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Cancelled);
}

#[test]
fn two_versions_differ_by_their_packages() {
    let bed = Bed::new();
    let file = bed.path("var/lib/rpm").join(FILE);
    database(&file, &[("a", "1"), ("b", "1"), ("c", "1")], &[]);
    let old = bed.capture();
    std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    database(&file, &[("a", "1"), ("b", "2")], &[("d", "1")]);
    let new = bed.capture();
    let found = old.diff_packages(&new, &Task::quiet()).unwrap();
    let names = |list: &[libcv::build::packages::Package]| list.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(&found.added), names(&found.removed)), (vec!["d".to_owned()], vec!["c".to_owned()]));
    assert!(matches!(&found.changed[..], [(a, b)] if a.evr() == "1-1.el9" && b.evr() == "2-1.el9"));
    assert!(old.diff_packages(&old, &Task::quiet()).unwrap().is_empty());
}

#[test]
fn a_bill_of_materials_names_the_image_and_stays_the_same() {
    let bed = Bed::new();
    database(&bed.path("var/lib/rpm").join(FILE), &[("a", "1")], &[("b", "2")]);
    bed.write("etc/os-release", "ID=rocky\nVERSION_ID=9.4\n");
    let image = bed.capture();
    for (word, format) in Format::WORDS {
        assert_eq!(Format::parse(word).unwrap(), format);
        let text = String::from_utf8(image.sbom(format, &Task::quiet()).unwrap()).unwrap();
        assert!(text.contains("pkg:rpm/rocky/b@2-1.el9?arch=x86_64") && text.ends_with("}\n"), "{text}");
        assert!(text.contains(&image.id().to_string()) && text.contains(&image.release().unwrap().created));
        assert_eq!(text.as_bytes(), image.sbom(format, &Task::quiet()).unwrap());
        let by_id = bed.store.image(&image.id().to_string()).unwrap();
        let other = String::from_utf8(by_id.sbom(format, &Task::quiet()).unwrap()).unwrap();
        assert!(other.contains("1970-01-01T00:00:00Z") && other.contains(&image.id().short()));
    }
    assert_eq!(Format::parse("swid").unwrap_err().kind(), ErrorKind::Invalid);
}
