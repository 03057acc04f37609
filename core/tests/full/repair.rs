//! What heals.

use super::*;
use libcv::store::SyncOptions;
use std::path::Path;

/// Changes one bit.
fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

/// What is done to a store, and which kinds of objects its repair has to write for it.
type Damage<'d> = (&'d [&'d dyn Fn()], &'d [&'d str]);

#[test]
fn a_repair() {
    let Some(b) = Bed::new("a repair on a full disk", 4 << 20) else { return };
    let [here, from] = ["here", "from"].map(|s| Store::init(b.at(s)).unwrap());
    b.write("a", 30_000, 1);
    b.capture(&here, "good");
    std::fs::remove_file(b.at("tree").join("a")).unwrap();
    let good = here.blobs().list("images").unwrap();
    let packs = || here.blobs().walk("packs").unwrap().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    let sound = packs();
    for seed in [2, 3] {
        b.write("b", 20_000, seed);
        b.capture(&here, "t");
    }
    here.tag("t@1", "t", "stable").unwrap();
    here.sync(&from, &SyncOptions::default(), &task()).unwrap();
    let hurt: Vec<String> = packs().into_iter().filter(|p| !sound.contains(p)).collect();
    let manifest = here.blobs().list("images").unwrap().into_iter().find(|m| !good.contains(m)).unwrap();
    let path = |key: &str| b.at("here").join(key);
    let block = || flip(&path(&hurt[0]), 100);
    let trailer = || flip(&path(&hurt[1]), std::fs::read(path(&hurt[1])).unwrap().len() - 50);
    let release = || std::fs::remove_file(path("refs/t/0000000000000001")).unwrap();
    let head = || std::fs::write(path("refs/t/HEAD"), "x").unwrap();
    let tag = || flip(&path("tags/t/stable/0000000000000001"), 30);
    let image = || std::fs::remove_file(path(&format!("images/{manifest}"))).unwrap();
    let damage: [Damage<'_>; 7] = [
        (&[&block], &["BAD", "packs"]),
        (&[&trailer], &["packs"]),
        (&[&release], &["refs"]),
        (&[&head], &["HEAD"]),
        (&[&tag], &["tags"]),
        (&[&image], &["images"]),
        (&[&block, &trailer, &release, &head, &tag, &image], &["BAD", "packs", "refs", "HEAD", "tags", "images"]),
    ];
    run("cp", &["-a", b.at("here").to_str().unwrap(), b.at("sound").to_str().unwrap()]);
    for (damage, wanted) in damage {
        damage.iter().for_each(|d| d());
        let before = objects(&here);
        let faults = here.check(true, &task()).unwrap().faults;
        let _ = std::fs::remove_file(path("idx/BAD"));
        assert!(!faults.is_empty());
        let met = b.at_any_write(&Work {
            work: &|store| store.repair(&from, &task())?.ok().map(|()| true),
            whole: &|store| {
                // What is healed stays so; nothing else has changed.
                let left = store.check(true, &task()).unwrap().faults;
                assert!(left.len() <= faults.len(), "{left:?}");
                b.extract(store, "good");
                objects(store) == before
            },
            done: &|store| {
                check_is_lean(store);
                ["good", "t@1", "t@2", "t:stable"].iter().for_each(|r| b.extract(store, r));
            },
        });
        assert_eq!(met, kinds(&[wanted, &["leases", "idx", "CURRENT"]].concat()));
        std::fs::remove_dir_all(b.at("here")).unwrap();
        run("cp", &["-a", b.at("sound").to_str().unwrap(), b.at("here").to_str().unwrap()]);
    }
}

/// A repair goes by what the check before it has noted: when it could not be, nothing is healed, and that is said.
#[test]
fn a_repair_that_cannot_note_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let [here, from] = ["here", "from"].map(|s| Store::init(dir.path().join(s)).unwrap());
    std::fs::create_dir(dir.path().join("tree")).unwrap();
    std::fs::write(dir.path().join("tree/f"), noise(30_000, 1)).unwrap();
    let options = CaptureOptions { exact: true, state: Some(dir.path().join("state")), ..CaptureOptions::default() };
    here.capture(dir.path().join("tree"), "t", &options, &task()).unwrap();
    here.sync(&from, &SyncOptions::default(), &task()).unwrap();
    let (pack, _) = here.blobs().walk("packs").unwrap().remove(0);
    flip(&dir.path().join("here").join(pack), 100);
    let before = |verb: &str, key: &str| match (verb, key) {
        ("put", "idx/BAD") => Err(Error::io("write", key, std::io::Error::from_raw_os_error(libc::ENOSPC))),
        _ => Ok(()),
    };
    let full = Watched { dir: LocalDir::open(&dir.path().join("here")).unwrap(), before };
    let full = Store::with_backend(Box::new(full)).unwrap();
    assert_eq!(full.repair(&from, &task()).unwrap_err().kind(), ErrorKind::Limit);
    assert!(!full.check(true, &task()).unwrap().faults.is_empty(), "a check without a repair goes on");
    assert_eq!(here.repair(&from, &task()).unwrap().faults, []);
    check(&here);
}
