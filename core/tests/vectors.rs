//! The test vectors of `core/docs/image-format.md`: bytes of each format with their dump, which never change again.
//! `LIBCV_BLESS=1` writes them.
#![allow(missing_docs)]

use libcv::image::block::BlockBuilder;
use libcv::image::manifest::{Manifest, PageRef, Totals};
use libcv::image::page::{PageWriter, decode};
use libcv::image::row::{Content, Item, Kind, Row, Value, Xattr};
use libcv::image::{Hash, dump, pack};
use libcv::sign::Signer;
use libcv::store::{Reason, Release, SignedRelease};
use std::fmt::Write;
use std::path::Path;

/// Keys that everybody knows, as openssl made them. They sign the vectors and nothing else.
const KEYS: [&str; 2] = [
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIP0k3cqmxWLhVcpRvZ6/Z8rSNxFyMDxRGbYfK7yviuBW\n\
     -----END PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJc4cGbQRRMfE2V3kxG9th2fJI/5T8jdGI6B5wBWchc/\n\
     -----END PRIVATE KEY-----\n",
];

fn compare(name: &str, bytes: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vectors").join(name);
    if std::env::var_os("LIBCV_BLESS").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let committed = std::fs::read(&path).unwrap_or_else(|e| panic!("{name}: {e}; LIBCV_BLESS=1 writes it"));
    assert!(committed == bytes, "{name} differs from what is committed: a format changed");
}

fn row(path: &str, mode: u32, kind: Kind) -> Row {
    Row {
        path: path.as_bytes().to_vec(),
        mode,
        uid: 0,
        gid: 0,
        mtime: (1_700_000_000, 123_456_789),
        xattrs: [].into(),
        inode_flags: 0,
        torn: false,
        group: None,
        kind,
    }
}

fn near(text: &[u8]) -> Kind {
    let items = vec![Item::Chunk { length: text.len() as u32, hash: Hash::of(text) }];
    Kind::File { size: text.len() as u64, content: Content::Near(items) }
}

fn rows() -> Vec<Row> {
    let mut out = vec![
        row("", 0o040_755, Kind::Directory),
        row("a", 0o040_755, Kind::Directory),
        row("a/file", 0o100_644, near(b"hello\n")),
        row("a/link", 0o120_777, Kind::Link(b"../b".to_vec())),
        row("a.b", 0o100_600, Kind::File { size: 0, content: Content::empty() }),
        row("dev", 0o020_660, Kind::Device { major: 5, minor: 300 }),
        row("fifo", 0o010_644, Kind::Fifo),
        row("one", 0o100_644, near(b"linked\n")),
        row("two", 0o100_644, near(b"linked\n")),
        row(
            "x",
            0o104_755,
            Kind::File {
                size: (1 << 40) + 7,
                content: Content::Near(vec![
                    Item::Hole(1 << 40),
                    Item::Chunk { length: 7, hash: Hash::of(b"linked\n") },
                ]),
            },
        ),
    ];
    let group = Hash::of(b"one").half();
    (out[7].group, out[8].group) = (Some(group), Some(group));
    out[2].xattrs = [
        Xattr { name: b"security.capability".to_vec(), value: Value::Near(vec![1, 0, 0, 2]) },
        Xattr { name: b"user.long".to_vec(), value: Value::Far { length: 2000, hash: Hash::of(&[7; 2000]) } },
    ]
    .into();
    out[9].xattrs = out[2].xattrs.clone();
    (out[5].uid, out[5].gid, out[5].mtime) = (1000, 4_000_000_000, (-5, 1));
    (out[4].inode_flags, out[9].torn) = (0x30, true);
    out
}

#[test]
fn the_formats_have_not_changed() {
    let mut pages = PageWriter::default();
    let mut table = Vec::new();
    let mut text = String::new();
    let mut all = Vec::new();
    let mut finished = Vec::new();
    for r in rows() {
        finished.extend(pages.add(&r).unwrap());
    }
    finished.extend(pages.finish());
    for (n, page) in finished.into_iter().enumerate() {
        let hash = Hash::of(&page.bytes);
        compare(&format!("page{n}.bin"), &page.bytes);
        writeln!(text, "page{n}.bin {hash}").unwrap();
        decode(&page.bytes).unwrap().iter().for_each(|r| writeln!(text, "  {}", dump::row(r)).unwrap());
        table.push(PageRef { first: page.first, hash, rows: page.rows as u32, bytes: page.bytes.len() as u32 });
        all.push(page.bytes);
    }
    let totals = Totals {
        rows: 10,
        directories: 2,
        files: 5,
        links: 1,
        special: 2,
        groups: 1,
        size: 6 + 7 + (1 << 40) + 7,
        data: 6 + 7 + 7,
    };
    let manifest = Manifest {
        pages: table,
        totals,
        facts: Some(serde_json::json!({"architecture": "x86_64", "os": {"ID": "debian"}})),
        parent: Some(Hash::of(b"parent")),
        ..Manifest::default()
    };
    let bytes = manifest.encode();
    compare("manifest.cvm", &bytes);
    writeln!(text, "manifest.cvm {}\n{}", Hash::of(&bytes), dump::manifest(&manifest)).unwrap();

    // Raw, because a frame of zstd is not part of the format: any encoder's is as good as another's.
    let mut block = BlockBuilder::new(3).unwrap();
    for chunk in [&b"hello\n"[..], b"linked\n"] {
        block.push(Hash::of(chunk), chunk);
    }
    let block = block.finish().unwrap().unwrap();
    let stored = block.to_vec();
    compare("block.bin", &stored);
    writeln!(text, "block.bin {}\n  {:?}", Hash::of(&stored), block.info).unwrap();
    let trailer = pack::encode_trailer(std::slice::from_ref(&block.info));
    compare("trailer.bin", &trailer);
    let release = Release {
        created: "2026-03-01T12:00:00Z".into(),
        generation: 3,
        image: Some(Hash::of(b"image")),
        name: "rocky9".into(),
        reason: Reason::Capture,
        store: "0b0e7a52-7b1c-4c0e-9d4e-6f2f1f0a9a11".into(),
        tree: Some(Hash::of(b"tree")),
    };
    compare("release.txt", &SignedRelease::new(release.clone(), None).encode());
    let mut signed = SignedRelease::new(release, Some(&Signer::from_pem(KEYS[0], "first").unwrap()));
    signed.sign(&Signer::from_pem(KEYS[1], "second").unwrap()).unwrap();
    compare("release-signed.txt", &signed.encode());
    assert_eq!(SignedRelease::decode(&signed.encode()).unwrap(), signed);
    for (n, key) in KEYS.iter().enumerate() {
        let public = Signer::from_pem(key, "key").unwrap().public();
        compare(&format!("key{n}.pub"), public.to_pem().unwrap().as_bytes());
        writeln!(text, "key{n}.pub {}", public.id()).unwrap();
    }
    let file = [&pack::MAGIC[..], &stored, &trailer, &pack::encode_footer(&trailer)].concat();
    compare("pack.pack", &file);
    writeln!(text, "pack.pack {}", Hash::of(&trailer)).unwrap();
    compare("dump.txt", text.as_bytes());
}
