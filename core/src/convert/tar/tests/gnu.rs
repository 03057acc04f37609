//! GNU tar writes what we read, and reads what we write.

use super::*;

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

pub(super) fn gnu_tar(args: &[&str], dir: &Path) -> Vec<u8> {
    let out = Command::new("tar").current_dir(dir).env("LC_ALL", "C").args(args).output().unwrap();
    assert!(out.status.success(), "tar {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// A tree with everything; what this user or filesystem cannot make is left out.
pub(super) fn sample_tree(dir: &Path) {
    fs::create_dir_all(dir.join("sub/empty")).unwrap();
    fs::write(dir.join("sub/text"), "hello\n").unwrap();
    fs::hard_link(dir.join("sub/text"), dir.join("sub/zz-linked")).unwrap();
    std::os::unix::fs::symlink("../somewhere/else", dir.join("sub/link")).unwrap();
    fs::write(dir.join(std::ffi::OsStr::from_bytes(b"bytes-\xff\xfe")), "b").unwrap();
    fs::write(dir.join("b".repeat(120)), "long").unwrap();
    let deep = dir.join("d".repeat(90)).join("e".repeat(90)).join("f".repeat(90));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("g".repeat(200)), "deep").unwrap();
    std::os::unix::fs::symlink("t".repeat(300), dir.join("long-link")).unwrap();
    let sparse = fs::File::create(dir.join("sparse")).unwrap();
    sparse.write_all_at(&[7; 4096], 1 << 20).unwrap();
    sparse.write_all_at(&[8; 5000], 5 << 20).unwrap();
    sparse.set_len(10 << 20).unwrap();
    fs::File::create(dir.join("hole")).unwrap().set_len(1 << 20).unwrap();
    let tail = fs::File::create(dir.join("tail")).unwrap();
    tail.write_all_at(b"end", 1 << 20).unwrap();
    let text = c_path(&dir.join("sub/text"));
    let acl = [
        &2u32.to_le_bytes()[..],
        &[1, 0, 6, 0, 255, 255, 255, 255],
        &[2, 0, 5, 0, 57, 48, 0, 0],
        &[4, 0, 4, 0, 255, 255, 255, 255],
        &[16, 0, 5, 0, 255, 255, 255, 255],
        &[32, 0, 4, 0, 255, 255, 255, 255],
    ]
    .concat();
    for (name, value) in [
        (&b"user.a=b%c"[..], &b"v\n\0x"[..]),
        (b"user.empty", b""),
        (b"security.selinux", b"system_u:object_r:etc_t:s0\0"),
        (b"system.posix_acl_access", &acl),
    ] {
        xattr::set(Of::Path(&text), name, value).ok();
    }
    xattr::set(Of::Path(&c_path(&dir.join("sub"))), b"system.posix_acl_default", &acl).ok();
    let set_time = |p: &str, s: i64, ns: i64| {
        let t = rustix::fs::Timespec { tv_sec: s, tv_nsec: ns as _ };
        let times = rustix::fs::Timestamps { last_access: t, last_modification: t };
        let path = dir.join(p);
        rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    mknodat(CWD, dir.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    mknodat(CWD, dir.join("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3)).ok();
    mknodat(CWD, dir.join("disk"), FileType::BlockDevice, Mode::from_raw_mode(0o660), makedev(259, 70_000)).ok();
    std::os::unix::fs::lchown(dir.join("sub/link"), Some(3_000_000_000), Some(3_000_000)).ok();
    set_time("sub/text", 1_600_000_000, 123_456_789);
    set_time("sparse", -1, 500_000_000);
    set_time("tail", 1 << 33, 0);
    set_time("sub/link", 5, 7);
    set_time("sub/empty", 1_600_000_001, 1);
    set_time("sub", 1_600_000_002, 2);
}

/// What a tree and an archive must agree on.
type Facts = std::collections::BTreeMap<Vec<u8>, (u32, u32, u32, i64, i64, Vec<xattr::Xattr>, u64, Vec<u8>, u64)>;

fn tree_facts(dir: &Path) -> Facts {
    let mut out = Facts::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(at) = todo.pop() {
        for e in fs::read_dir(&at).unwrap() {
            let path = e.unwrap().path();
            let st = fs::symlink_metadata(&path).unwrap();
            let content = match st.file_type() {
                t if t.is_symlink() => fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
                t if t.is_file() => fs::read(&path).unwrap(),
                t if t.is_dir() => {
                    todo.push(path.clone());
                    vec![]
                }
                _ => st.rdev().to_le_bytes().to_vec(),
            };
            let size = if st.is_file() { st.size() } else { 0 };
            // A hole costs nothing; small differences are the filesystem's.
            let holes = u64::from(st.is_file() && st.size() > st.blocks() * 512 + (1 << 16));
            let name = path.strip_prefix(dir).unwrap().as_os_str().as_bytes().to_vec();
            let xattrs = xattr::list(Of::Path(&c_path(&path))).unwrap();
            let (uid, gid) = (st.uid(), st.gid());
            out.insert(name, (st.mode(), uid, gid, st.mtime(), st.mtime_nsec(), xattrs, size, content, holes));
        }
    }
    out
}

fn archive_facts(read: &[Read1]) -> Facts {
    let mut out = Facts::new();
    for (e, data) in read.iter().filter(|(e, _)| !e.path.is_empty()) {
        let mut holes = 0;
        let (bits, size, content) = match &e.kind {
            Kind::File { size, segments } => {
                let (mut whole, mut at) = (vec![0; *size as usize], 0);
                for s in segments {
                    whole[s.offset as usize..][..s.length as usize].copy_from_slice(&data[at..at + s.length as usize]);
                    at += s.length as usize;
                }
                holes = u64::from(*size > segments.iter().map(|s| s.length).sum::<u64>() + (1 << 16));
                (0o100_000, *size, whole)
            }
            Kind::Directory => (0o040_000, 0, vec![]),
            Kind::Link(t) => (0o120_000, 0, t.clone()),
            Kind::HardLink(t) => {
                let first = out[t].clone();
                out.insert(e.path.clone(), first);
                continue;
            }
            Kind::Fifo => (0o010_000, 0, 0u64.to_le_bytes().to_vec()),
            Kind::Device { block, major, minor } => {
                let bits = if *block { 0o060_000 } else { 0o020_000 };
                (bits, 0, rustix::fs::makedev(*major, *minor).to_le_bytes().to_vec())
            }
        };
        let (s, ns) = (e.mtime.0, i64::from(e.mtime.1));
        out.insert(e.path.clone(), (bits | e.mode, e.uid, e.gid, s, ns, e.xattrs.clone(), size, content, holes));
    }
    out
}

#[track_caller]
fn assert_same(a: &Facts, b: &Facts) {
    assert_eq!(a.keys().map(|k| show(k)).collect::<Vec<_>>(), b.keys().map(|k| show(k)).collect::<Vec<_>>());
    for (path, facts) in a {
        let mut x = (facts.clone(), b[path].clone());
        assert!(x.0.7 == x.1.7, "content of {}", show(path));
        (x.0.7, x.1.7) = (vec![], vec![]);
        assert_eq!(x.0, x.1, "{}", show(path));
    }
}

#[test]
pub(super) fn gnu_tar_writes_and_we_read() {
    let tmp = tempfile::tempdir().unwrap();
    sample_tree(tmp.path());
    let tree = tree_facts(tmp.path());
    for version in ["0.0", "0.1", "1.0"] {
        let sparse = format!("--sparse-version={version}");
        let args =
            ["--format=posix", &sparse, "--xattrs", "--xattrs-include=*", "--acls", "--selinux", "-S", "-cf", "-", "."];
        let read = read_all(&gnu_tar(&args, tmp.path()), Limits::default()).unwrap();
        assert_same(&tree, &archive_facts(&read));
    }
    // The old format has whole seconds, no attributes, and pairs of its own for holes.
    let read = read_all(&gnu_tar(&["--format=gnu", "-S", "-czf", "-", "."], tmp.path()), Limits::default()).unwrap();
    let mut old = tree;
    for facts in old.values_mut() {
        (facts.4, facts.5) = (0, vec![]);
    }
    assert_same(&old, &archive_facts(&read));
}

#[test]
fn we_write_and_gnu_tar_extracts() {
    let tmp = tempfile::tempdir().unwrap();
    let (from, to) = (tmp.path().join("from"), tmp.path().join("to"));
    fs::create_dir(&from).unwrap();
    sample_tree(&from);
    let args = ["--format=posix", "--xattrs", "--xattrs-include=*", "-S", "-cf", "-", "."];
    let read = read_all(&gnu_tar(&args, &from), Limits::default()).unwrap();
    let ours = write_all(&read);
    assert_eq!(read_all(&ours, Limits::default()).unwrap(), read);
    let file = tmp.path().join("ours.tar");
    fs::write(&file, &ours).unwrap();
    fs::create_dir(&to).unwrap();
    let args =
        ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "--selinux", "-xpf", file.to_str().unwrap()];
    gnu_tar(&args, &to);
    assert_same(&tree_facts(&from), &tree_facts(&to));
    assert_eq!(fs::metadata(to.join("sub/text")).unwrap().ino(), fs::metadata(to.join("sub/zz-linked")).unwrap().ino());
    // Python's own reader agrees about names, sizes and times.
    let script = "import sys,tarfile\n\
        for m in tarfile.open(sys.argv[1], errors='surrogateescape', encoding='utf-8'):\n\
        \x20 sys.stdout.buffer.write(b'%s %d %d\\n' % (m.name.encode('utf-8','surrogateescape'), m.size, m.mode))";
    if let Ok(out) = Command::new("python3").arg("-c").arg(script).arg(&file).output() {
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        for (e, _) in read.iter().filter(|(e, _)| !e.path.is_empty()) {
            let size = if let Kind::File { size, .. } = e.kind { size } else { 0 };
            let want = [&e.path[..], format!(" {size} {}\n", e.mode).as_bytes()].concat();
            assert!(out.stdout.windows(want.len()).any(|w| w == want), "{}", show(&want));
        }
    }
}

// Archives that lie.
