//! Signed releases: who made it, whether it was changed, whether it is the newest; and the same by hand with openssl.
#![allow(missing_docs)]

mod common;

use common::watched::{Watched, reads_only};
use libcv::ErrorKind;
use libcv::capture::CaptureOptions;
use libcv::convert::tar::Compression;
use libcv::convert::{Derivation, DeriveKind, DeriveOptions, derive};
use libcv::job::Task;
use libcv::sign::{Keyring, Signer};
use libcv::store::collect::CollectOptions;
use libcv::store::derived::Name;
use libcv::store::local::LocalDir;
use libcv::store::{Store, SyncOptions, Trust};
use libcv::tree::extract::ExtractOptions;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

struct Bed {
    dir: tempfile::TempDir,
    store: Store,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        common::small_tree(&dir.path().join("root"));
        let store = Store::init(dir.path().join("store")).unwrap();
        Self { dir, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Captures the tree with this content of one file, which is touched only where it differs.
    fn capture(&self, store: &Store, content: &str) -> u64 {
        let file = self.path("root/etc/motd");
        if std::fs::read(&file).ok().as_deref() != Some(content.as_bytes()) {
            std::fs::write(&file, content).unwrap();
        }
        let options = CaptureOptions { state: Some(self.path("state")), ..CaptureOptions::default() };
        store.capture(self.path("root"), "base", &options, &Task::quiet()).unwrap().generation
    }

    fn release(&self, generation: u64) -> PathBuf {
        self.path(&format!("store/refs/base/{generation:016}"))
    }

    fn trusting(&self, store: &Store, signers: &[&Signer]) -> Store {
        store.trusting(trust(signers).remembering(self.path("state")))
    }
}

fn trust(signers: &[&Signer]) -> Trust {
    Trust::new(Keyring::new(signers.iter().map(|s| s.public()).collect()).unwrap())
}

fn kind<T>(result: libcv::Result<T>) -> ErrorKind {
    result.err().expect("it must fail").kind()
}

/// A document that was changed, with the sum that it then has.
fn with_right_sum(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[2] = format!("blake3 {}", libcv::image::Hash::of(format!("{}\n{}\n", lines[0], lines[1]).as_bytes()));
    format!("{}\n", lines.join("\n"))
}

#[test]
fn a_signed_image_is_verified_to_the_last_byte() {
    let bed = Bed::new();
    let signer = Signer::generate().unwrap();
    bed.capture(&bed.store.signing(signer.clone()), "one");
    let image = bed.trusting(&bed.store, &[&signer]).image("base").unwrap();
    assert_eq!(image.key(), Some(signer.public().id()));
    let done = image.verify(0, &Task::quiet()).unwrap();
    assert_eq!((done.key, done.generation), (Some(signer.public().id()), Some(1)));
    assert_eq!(done.entries, image.manifest().totals.rows);
    assert!(done.bytes > 3 << 20 && done.blocks > 0 && done.chunks > 200);
    assert!(bed.store.check(true, &Task::quiet()).unwrap().faults.is_empty());
    // Without keys the content counts alone.
    let plain = bed.store.image("base").unwrap().verify(1, &Task::quiet()).unwrap();
    assert_eq!((plain.key, plain.chunks, plain.bytes), (None, done.chunks, done.bytes));
    // One bit in the middle of a pack.
    let mut packs = Vec::new();
    for dir in std::fs::read_dir(bed.path("store/packs")).unwrap() {
        packs.extend(std::fs::read_dir(dir.unwrap().path()).unwrap().map(|e| e.unwrap().path()));
    }
    packs.sort_by_key(|p| std::fs::metadata(p).unwrap().len());
    let largest = packs.last().unwrap();
    let mut bytes = std::fs::read(largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(largest, bytes).unwrap();
    assert_eq!(kind(image.verify(0, &Task::quiet())), ErrorKind::Integrity);
}

#[test]
fn nothing_unsigned_changed_or_of_another_key_is_opened() {
    let bed = Bed::new();
    let (ours, other) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    bed.capture(&bed.store.signing(ours.clone()), "one");
    bed.capture(&bed.store.signing(other.clone()), "two");
    bed.capture(&bed.store, "three");
    let believed = bed.store.trusting(trust(&[&ours]));
    let message = |reference: &str| {
        let e = believed.image(reference).err().unwrap();
        assert_eq!(e.kind(), ErrorKind::Integrity);
        e.message().to_owned()
    };
    believed.image("base@1").unwrap();
    assert!(message("base@2").contains(&format!("signed by key {}", other.public().id())), "{}", message("base@2"));
    assert!(message("base@3").contains("generation 3 of base is not signed") && message("base") == message("base@3"));
    // An id, or its first digits, need a generation that vouches for it.
    let ids: Vec<_> = (1..=3).map(|n| bed.store.image(&format!("base@{n}")).unwrap().id()).collect();
    believed.image(&ids[0].to_string()[..12]).unwrap();
    assert!(believed.image_by_id(ids[0]).is_ok());
    assert_eq!(kind(believed.image_by_id(ids[1])), ErrorKind::Integrity);
    assert!(message(&ids[2].to_string()).contains("not signed"));

    // The signed release is made to point to another image, with a right sum; then with the signature alone left over.
    let text = std::fs::read_to_string(bed.release(1)).unwrap();
    let changed = text.replace(&ids[0].to_string(), &ids[1].to_string());
    std::fs::write(bed.release(1), &changed).unwrap();
    assert!(message("base@1").contains("changed"));
    std::fs::write(bed.release(1), with_right_sum(&changed)).unwrap();
    assert!(message("base@1").contains("changed after it was signed"), "{}", message("base@1"));
    std::fs::write(bed.release(1), &text).unwrap();
    believed.image("base@1").unwrap();
    // A manifest of another image in its place.
    let manifest = |n: usize| bed.path(&format!("store/images/{}.cvm", ids[n]));
    std::fs::copy(manifest(1), manifest(0)).unwrap();
    message("base@1");
}

#[test]
fn what_is_signed_stays_signed_whatever_makes_a_generation() {
    let bed = Bed::new();
    let signer = Signer::generate().unwrap();
    let signing = bed.store.signing(signer.clone());
    let believed = bed.store.trusting(trust(&[&signer]));
    bed.capture(&bed.store, "one");
    // The tree is unchanged, and what stands there is somebody else's: it is not signed in passing.
    assert_eq!(bed.capture(&signing, "one"), 2);
    assert_eq!(bed.capture(&signing, "one"), 2);
    let tree = |n: u64| bed.store.image(&format!("base@{n}")).unwrap().tree_id();
    assert_eq!(tree(1), tree(2));
    bed.capture(&signing, "two");
    signing.rollback("base", "base@2").unwrap();
    assert_eq!(believed.image("base").unwrap().release().unwrap().generation, 4);
    // An archive, too.
    let mut archive = Vec::new();
    let image = bed.store.image("base").unwrap();
    libcv::convert::tar::export(&image, &mut archive, &Default::default(), &Task::quiet()).unwrap();
    for expected in [1, 1] {
        let done = libcv::convert::tar::import(&signing, &archive[..], "tar", &Default::default(), &Task::quiet());
        assert_eq!(done.unwrap().generation, expected);
    }
    believed.image("tar").unwrap().extract(bed.path("out"), &ExtractOptions::default(), &Task::quiet()).unwrap();
    signing.remove("tar").unwrap();
    assert_eq!(kind(believed.image("tar")), ErrorKind::NotFound);
    assert!(bed.store.check(true, &Task::quiet()).unwrap().faults.is_empty());
}

fn copy(from: &Path, to: &Path) {
    common::run("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
}

#[test]
fn a_mirror_of_an_earlier_day_is_refused() {
    let bed = Bed::new();
    let signer = Signer::generate().unwrap();
    let signing = bed.store.signing(signer.clone());
    bed.capture(&signing, "one");
    signing.tag("base", "base", "stable").unwrap();
    copy(&bed.path("store"), &bed.path("mirror"));
    let mirror = || bed.trusting(&Store::open(bed.path("mirror")).unwrap(), &[&signer]);
    mirror().image("base").unwrap();
    mirror().image("base:stable").unwrap();

    bed.capture(&signing, "two");
    let believed = bed.trusting(&bed.store, &[&signer]);
    assert_eq!(believed.image("base").unwrap().release().unwrap().generation, 2);
    let e = mirror().image("base").err().unwrap();
    assert_eq!((e.kind(), &e.facts()["seen"], &e.facts()["offered"]), (ErrorKind::Stale, &2.into(), &1.into()));
    assert!(e.hint_text().unwrap().contains("image rollback base --to base@1"));
    // The tag has a memory of its own; one generation, and an id, are what the caller chose.
    mirror().image("base:stable").unwrap();
    mirror().image("base@1").unwrap();
    let id = mirror().image("base@1").unwrap().id();
    mirror().image_by_id(id).unwrap();
    signing.tag("base@2", "base", "stable").unwrap();
    believed.image("base:stable").unwrap();
    assert_eq!(kind(mirror().image("base:stable")), ErrorKind::Stale);
    // HEAD that was put back, and a tombstone that hides the newest one.
    std::fs::remove_file(bed.release(2)).unwrap();
    std::fs::write(bed.path("store/refs/base/HEAD"), common::head("base", 1)).unwrap();
    assert_eq!(kind(believed.image("base")), ErrorKind::Stale);
    // Who does not remember, or trusts for the first time, sees nothing wrong.
    bed.store.trusting(trust(&[&signer])).image("base").unwrap();
    bed.store.trusting(trust(&[&signer]).remembering(bed.path("fresh"))).image("base").unwrap();
}

#[test]
fn a_deliberate_way_back_is_a_new_generation() {
    let bed = Bed::new();
    let signer = Signer::generate().unwrap();
    let signing = bed.store.signing(signer.clone());
    let believed = bed.trusting(&bed.store, &[&signer]);
    bed.capture(&signing, "one");
    bed.capture(&signing, "two");
    believed.image("base").unwrap();
    signing.rollback("base", "base@1").unwrap();
    let image = believed.image("base").unwrap();
    assert_eq!((image.release().unwrap().generation, image.id()), (3, bed.store.image("base@1").unwrap().id()));
}

#[test]
fn what_cannot_be_kept_in_mind_is_an_error() {
    let bed = Bed::new();
    let signer = Signer::generate().unwrap();
    bed.capture(&bed.store.signing(signer.clone()), "one");
    std::fs::write(bed.path("file"), "").unwrap();
    let believed = bed.store.trusting(trust(&[&signer]).remembering(bed.path("file")));
    let e = believed.image("base").err().unwrap();
    assert!(e.hint_text().unwrap().contains("state directory"), "{e:?}");
    believed.image("base@1").unwrap();
}

#[test]
fn keys_are_changed_without_a_gap() {
    let bed = Bed::new();
    let (old, new) = (Signer::generate().unwrap(), Signer::generate().unwrap());
    bed.capture(&bed.store.signing(old.clone()), "one");
    let both = bed.trusting(&bed.store, &[&old, &new]);
    both.image("base").unwrap();
    // Now the new one signs; who has both goes on, and so does who has the new one once the old ones are signed again.
    bed.capture(&bed.store.signing(new.clone()), "two");
    assert_eq!(both.image("base").unwrap().key(), Some(new.public().id()));
    let later = bed.trusting(&bed.store, &[&new]);
    later.image("base").unwrap();
    assert_eq!(kind(later.image("base@1")), ErrorKind::Integrity);
    both.signing(new.clone()).sign("base@1").unwrap();
    both.signing(new.clone()).sign("base@1").unwrap();
    assert_eq!(std::fs::read_to_string(bed.release(1)).unwrap().lines().count(), 5);
    later.image("base@1").unwrap();
    bed.trusting(&bed.store, &[&old]).image("base@1").unwrap();
    // What is not believed is not signed either; nor is an image, or without a key.
    let stranger = Signer::generate().unwrap();
    let careful = bed.store.trusting(trust(&[&stranger])).signing(new.clone());
    assert_eq!(kind(careful.sign("base@1")), ErrorKind::Integrity);
    let id = bed.store.image("base@1").unwrap().id().to_string();
    assert_eq!(kind(bed.store.signing(new).sign(&id)), ErrorKind::Invalid);
    assert_eq!(kind(bed.store.sign("base@1")), ErrorKind::Misuse);
    assert!(bed.store.check(true, &Task::quiet()).unwrap().faults.is_empty());
}

/// Two generations and the derived file of the second, as a reader finds it.
struct DerivedBed {
    bed: Bed,
    ours: Signer,
    document: PathBuf,
    image: libcv::image::Hash,
    evil: libcv::image::Hash,
}

impl DerivedBed {
    fn new() -> Self {
        let (bed, ours) = (Bed::new(), Signer::generate().unwrap());
        let signing = bed.store.signing(ours.clone());
        for content in ["evil", "good"] {
            bed.capture(&signing, content);
        }
        let [evil, image] = ["base@1", "base@2"].map(|r| bed.store.image(r).unwrap().id());
        let document = bed.path(&format!("store/blobs/{image}/cpio-plain"));
        Self { bed, ours, document, image, evil }
    }

    fn derive(&self, store: &Store, reference: &str) -> libcv::Result<Derivation> {
        let options = DeriveOptions { compression: Some(Compression::None), ..DeriveOptions::new(DeriveKind::Cpio) };
        let (derived, done) = derive(&store.image(reference).unwrap(), &options, &Task::quiet())?;
        let mut bytes = Vec::new();
        derived.write_to(&mut bytes, &Task::quiet())?;
        assert_eq!((libcv::image::Hash::of(&bytes), bytes.len() as u64), (done.hash, done.size));
        Ok(done)
    }

    /// Whether it had to be made.
    fn made(&self, store: &Store) -> bool {
        self.derive(store, "base@2").unwrap().made
    }

    fn stored(&self, store: &Store) -> libcv::Result<bool> {
        let name = Name { kind: "cpio".into(), params: "plain".into() };
        store.derived(&self.image, &name).map(|d| d.is_some())
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.document).unwrap()
    }

    fn signatures(&self) -> usize {
        self.text().lines().count() - 3
    }

    /// Puts the file of another image in the place of this one's, signed by `signer`; gives its hash.
    fn forge(&self, signer: Option<&Signer>) -> libcv::image::Hash {
        let _ = std::fs::remove_dir_all(self.bed.path(&format!("store/blobs/{}", self.evil)));
        let evil = self.derive(&self.bed.store, "base@1").unwrap();
        let text = std::fs::read_to_string(self.bed.path(&format!("store/blobs/{}/cpio-plain", self.evil))).unwrap();
        let mut text = with_right_sum(&text.replace(&self.evil.to_string(), &self.image.to_string()));
        if let Some(signer) = signer {
            let front = text.split_inclusive('\n').take(2).collect::<String>();
            text += &format!("{}\n", signer.sign(front.as_bytes()));
        }
        std::fs::write(&self.document, text).unwrap();
        evil.hash
    }

    fn check(&self) {
        assert_eq!(self.bed.store.check(true, &Task::quiet()).unwrap().faults, []);
    }
}

#[test]
fn a_derived_file_is_taken_only_if_one_of_the_keys_signed_it() {
    let b = DerivedBed::new();
    let other = Signer::generate().unwrap();
    let (plain, believed) = (&b.bed.store, b.bed.store.trusting(trust(&[&b.ours])));
    let signing = plain.signing(b.ours.clone());
    // Unsigned: never handed out, made again each time, and not worse for others.
    assert!(b.made(plain) && !b.made(plain));
    let unsigned = b.text();
    assert_eq!(kind(b.stored(&believed)), ErrorKind::Integrity);
    assert!(b.made(&believed) && b.made(&believed));
    assert!(b.text() == unsigned && !b.made(plain));
    b.check();
    // Who signs makes it again before it is signed, and finds the same.
    assert!(b.made(&signing) && !b.made(&signing));
    assert!(b.text().starts_with(&unsigned) && b.signatures() == 1);
    assert!(b.stored(&believed).unwrap() && !b.made(&believed) && !b.made(plain));
    b.check();
    // Another key beside it; and one that signs what it believes without making it.
    let others = plain.trusting(trust(&[&other]));
    assert_eq!(kind(b.stored(&others)), ErrorKind::Integrity);
    assert!(b.made(&plain.signing(other.clone())) && b.signatures() == 2);
    let third = Signer::generate().unwrap();
    assert!(!b.made(&believed.signing(third.clone())) && b.signatures() == 3);
    for signer in [&b.ours, &other, &third] {
        assert!(b.stored(&plain.trusting(trust(&[signer]))).unwrap());
    }
    assert!(!b.made(&believed));
    b.check();
    // It was signed from the beginning.
    std::fs::remove_file(&b.document).unwrap();
    assert!(b.made(&signing) && b.signatures() == 1 && !b.made(&believed));
    b.check();
}

#[test]
fn a_forged_derived_file_is_neither_taken_nor_signed() {
    let b = DerivedBed::new();
    let other = Signer::generate().unwrap();
    let (plain, believed) = (&b.bed.store, b.bed.store.trusting(trust(&[&b.ours])));
    let signing = plain.signing(b.ours.clone());
    let good = b.derive(&signing, "base@2").unwrap().hash;
    let whole = b.text();
    for signer in [None, Some(&other)] {
        for handle in [&believed, &signing, &believed.signing(b.ours.clone())] {
            let evil = b.forge(signer);
            // Who asks nobody gets it, and a check has nothing to say: this is what the signature is for.
            assert!(evil != good && b.derive(plain, "base@2").unwrap().hash == evil);
            b.check();
            assert_eq!(kind(b.stored(&believed)), ErrorKind::Integrity);
            let done = b.derive(handle, "base@2").unwrap();
            assert!(done.made && done.hash == good);
            assert!(whole.starts_with(&b.text()));
            b.check();
        }
    }
    // The signature of the good one under the forged one.
    b.forge(None);
    std::fs::write(&b.document, b.text() + whole.lines().last().unwrap() + "\n").unwrap();
    assert_eq!(b.signatures(), 1);
    assert_eq!(kind(b.stored(&believed)), ErrorKind::Integrity);
    assert_eq!(b.derive(&signing, "base@2").unwrap().hash, good);
    assert_eq!(b.text(), whole);
    assert!(b.stored(&believed).unwrap());
}

#[test]
fn whom_a_handle_believes_takes_nothing_from_a_store() {
    let b = DerivedBed::new();
    let believed = b.bed.store.trusting(trust(&[&b.ours]));
    assert!(b.made(&b.bed.store));
    let before = b.text();
    let collect = CollectOptions { grace: Duration::ZERO, ..CollectOptions::default() };
    (0..2).for_each(|_| drop(believed.collect(&collect, &Task::quiet()).unwrap()));
    assert_eq!(b.text(), before);
    b.check();
    assert!(!b.made(&b.bed.store));
    // A repair has something to do, and leaves the file alone.
    std::fs::write(b.bed.path("store/refs/base/HEAD"), "x").unwrap();
    let done = believed.repair(&Store::init(b.bed.path("empty")).unwrap(), &Task::quiet()).unwrap();
    assert_eq!((done.faults.as_slice(), done.healed.as_slice()), (&[][..], &["refs/base/HEAD".to_owned()][..]));
    assert_eq!(b.text(), before);
}

#[test]
fn a_derived_file_that_is_not_believed_and_cannot_be_made_is_an_error() {
    let b = DerivedBed::new();
    let dir = LocalDir::open(&b.bed.path("store")).unwrap();
    let read_only = Store::with_backend(Box::new(Watched { dir, before: reads_only })).unwrap();
    let believed = read_only.trusting(trust(&[&b.ours]));
    assert!(b.made(&b.bed.store));
    let e = b.derive(&believed, "base@2").unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Integrity);
    assert!(e.message().contains("is not signed") && e.hint_text().unwrap().contains("cannot be made again"), "{e:?}");
    // Nothing is wrong with one that is not there.
    assert_eq!(kind(b.derive(&believed, "base@1")), ErrorKind::Io);
    assert!(!b.made(&read_only) && b.made(&b.bed.store.signing(b.ours.clone())) && !b.made(&believed));
}

#[test]
fn a_copy_has_the_signatures_of_both_sides() {
    let bed = Bed::new();
    let [a, b, c] = std::array::from_fn(|_| Signer::generate().unwrap());
    for content in ["one", "two"] {
        bed.capture(&bed.store.signing(a.clone()), content);
    }
    let there = Store::init(bed.path("there")).unwrap();
    let sync = || bed.store.sync(&there, &SyncOptions::default(), &Task::quiet()).unwrap();
    sync();
    // As many there as here, of other keys.
    for generation in ["base@1", "base@2"] {
        there.signing(c.clone()).sign(generation).unwrap();
        bed.store.signing(b.clone()).sign(generation).unwrap();
    }
    let origin = [1, 2].map(|n| std::fs::read(bed.release(n)).unwrap());
    sync();
    for generation in ["base@1", "base@2"] {
        for signer in [&a, &b, &c] {
            there.trusting(trust(&[signer])).image(generation).unwrap();
        }
        assert_eq!(kind(bed.store.trusting(trust(&[&c])).image(generation)), ErrorKind::Integrity);
    }
    assert_eq!(origin, [1, 2].map(|n| std::fs::read(bed.release(n)).unwrap()));
    // Again it is as it was; and in the other direction, too.
    let copied = bed.path("there/refs/base/0000000000000001");
    let before = std::fs::read(&copied).unwrap();
    sync();
    assert_eq!(std::fs::read(&copied).unwrap(), before);
    there.sync(&bed.store, &SyncOptions::default(), &Task::quiet()).unwrap();
    assert_eq!(std::fs::read(bed.release(1)).unwrap(), before);
    // More than there may be.
    for _ in 0..13 {
        bed.store.signing(Signer::generate().unwrap()).sign("base@1").unwrap();
    }
    there.signing(Signer::generate().unwrap()).sign("base@1").unwrap();
    let e = bed.store.sync(&there, &SyncOptions::default(), &Task::quiet()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Limit);
    assert!(e.message().contains("generation 1 of base"), "{e}");
    for store in [&bed.store, &there] {
        assert!(store.check(true, &Task::quiet()).unwrap().faults.is_empty());
    }
}

/// The commands of `core/docs/signing.md`, as they stand there: each block of `sh` in a shell of its own, one after the
/// other, in one directory.
#[test]
fn openssl_says_the_same() {
    if Command::new("openssl").arg("version").output().is_err() {
        common::skip("openssl_says_the_same", "it needs the program openssl");
        return;
    }
    let bed = Bed::new();
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/signing.md")).unwrap();
    let blocks: Vec<&str> = text.split("```sh openssl\n").skip(1).map(|b| b.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 3, "a key, its id, a signature");
    let shell = |block: &str| {
        let mut sh = Command::new("sh");
        sh.args(["-euc", block]).current_dir(bed.dir.path()).env("STORE", bed.path("store"));
        let out = sh.output().unwrap();
        (
            out.status.success(),
            String::from_utf8_lossy(&out.stdout).into_owned(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    let (ok, _, err) = shell(blocks[0]);
    assert!(ok, "{err}");
    let signer = Signer::read(bed.path("signing-key")).unwrap();
    assert_eq!(Keyring::read(&[bed.path("signing-key.pub")]).unwrap().keys(), [signer.public()]);
    bed.capture(&bed.store.signing(signer.clone()), "one");
    let (_, id, _) = shell(blocks[1]);
    assert_eq!(id.trim(), signer.public().id().to_string());
    let (ok, said, err) = shell(blocks[2]);
    assert!(ok && said.contains("Signature Verified Successfully"), "{said}{err}");
    // It is not openssl that always says yes.
    let text = std::fs::read_to_string(bed.release(1)).unwrap();
    std::fs::write(bed.release(1), text.replace("\"capture\"", "\"import\"")).unwrap();
    let (ok, said, _) = shell(blocks[2]);
    assert!(!ok && !said.contains("Successfully"), "{said}");
    // And a key of ours is one of openssl's.
    let public = libcv::sign::generate(&bed.path("ours")).unwrap();
    let (ok, said, err) = shell("openssl pkey -in ours -pubout");
    assert!(ok && said == public.to_pem().unwrap(), "{said}{err}");
}
