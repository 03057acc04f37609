//! Layers, one upon the other.

use super::*;

#[test]
fn layers_hide_what_is_beneath_them() {
    let bed = Bed::new();
    let layers: Vec<Layer> = vec![
        vec![
            dir("keep"),
            file("keep/a", 10),
            file("keep/b", 20),
            dir("opaque"),
            file("opaque/old", 1),
            dir("opaque/deep"),
            file("opaque/deep/old", 1),
            dir("tree"),
            file("tree/x/y", 5),
            file("to-dir", 7),
            hard("second", "to-dir"),
            dir("to-file"),
            file("to-file/gone", 3),
            link("to-link", "keep"),
            file("same", 1),
        ],
        vec![
            // The new entry before its whiteout, and after it: both only hide what is beneath.
            file("keep/a", 11),
            file("keep/.wh.a", 0),
            file("keep/.wh.b", 0),
            file("opaque/new", 2),
            entry("opaque/.wh..wh..opq", 0, Kind::file(0)),
            file(".wh.tree", 0),
            dir("to-dir"),
            file("to-dir/in", 4),
            file("to-file", 8),
            dir("to-link"),
            file("to-link/in", 9),
            file(".wh.never-was", 0),
            // To a file of the layer beneath.
            hard("third", "second"),
            file(".wh.same", 0),
            file("same", 2),
            file(".wh..wh.aufs", 0),
        ],
        vec![dir("to-file"), file("to-file/back", 6), dir("keep/sub"), file("keep/sub/f", 1)],
    ];
    let layout = Layout::with(&layers);
    let done = bed.bring(layout.path()).unwrap();
    assert_eq!((done.format, done.layers, done.changed), ("oci", 3, true));
    let wanted = [
        " directory 755 0",
        "keep directory 700 0",
        "keep/a file 644 11",
        "keep/sub directory 700 0",
        "keep/sub/f file 644 1",
        "opaque directory 700 0",
        "opaque/new file 644 2",
        "same file 644 2",
        "second file 644 7",
        "third file 644 7",
        "to-dir directory 700 0",
        "to-dir/in file 644 4",
        "to-file directory 700 0",
        "to-file/back file 644 6",
        "to-link directory 700 0",
        "to-link/in file 644 9",
    ];
    assert_eq!(listed(&bed.image()), wanted);
    let row = |p: &str| bed.image().row(p.as_bytes()).unwrap();
    assert!(row("second").group.is_some() && row("second").group == row("third").group);
    assert_eq!((done.implied, done.removed), (1, 11));
    assert_eq!(done.notes.len(), 1, "{:?}", done.notes);
    // What a container would run is a fact.
    let facts = bed.image().manifest().facts.clone().unwrap();
    assert_eq!(facts["oci"]["config"], json!({"Env": ["PATH=/bin"], "Entrypoint": ["/init"], "Labels": {"a": "b"}}));
    assert_eq!(facts["oci"]["architecture"], "arm64");
    assert!(!bed.bring(layout.path()).unwrap().changed);
    assert!(bed.store.check(true, &Task::quiet()).unwrap().faults.is_empty());
}

#[test]
fn a_layer_that_breaks_a_rule_is_refused() {
    let bed = Bed::new();
    let base = || vec![dir("d"), file("d/f", 5), link("l", "/etc"), file("plain", 1)];
    for (what, layer) in [
        ("a whiteout of nothing", vec![file(".wh.", 0)]),
        ("a whiteout of the directory above", vec![file("d/.wh...", 0)]),
        ("a whiteout of itself", vec![file("d/.wh..", 0)]),
        ("an entry in a whiteout", vec![file(".wh.d/x", 1)]),
        ("through a link of a layer beneath", vec![file("l/passwd", 1)]),
        ("beneath a file of a layer beneath", vec![file("plain/x", 1)]),
        ("a hard link to nothing", vec![hard("x", "nothing")]),
        ("a hard link to a directory", vec![hard("x", "d")]),
        ("a hard link through a link", vec![hard("x", "l/shadow")]),
        ("a file for a full directory of the same layer", vec![dir("n"), file("n/f", 1), file("n", 1)]),
    ] {
        bed.fails(Layout::with(&[base(), layer]).path(), ErrorKind::UnsafeInput, what);
    }
    // The digest says that a layer is whole, so it may lack its end; but not a part of an entry.
    let mut bytes = pack(&[file("f", 100)]);
    bytes.truncate(bytes.len() - 1024);
    let ends = |bytes: &[u8]| {
        let layout = Layout::new();
        layout.index(&[layout.manifest_of(&[bytes.to_vec()])]);
        layout
    };
    let other = Bed::new();
    for whole in [bytes.len(), bytes.len() - 1, bytes.len() - 412] {
        assert_eq!(other.bring(ends(&bytes[..whole]).path()).unwrap().entries, 2);
    }
    for short in [bytes.len() - 413, bytes.len() - 511, 100] {
        bed.fails(ends(&bytes[..short]).path(), ErrorKind::Integrity, "cut off");
    }
    // A bomb of small layers has the limits of one archive.
    let many: Vec<Layer> = (0..30).map(|n| (0..40).map(|i| file(&format!("{n}-{i}"), 0)).collect()).collect();
    let limits = libcv::convert::tar::Limits { entries: 1000, ..Default::default() };
    let options = ImportOptions { limits, ..ImportOptions::default() };
    assert_eq!(bed.bring_as(Layout::with(&many).path(), &options).unwrap_err().kind(), ErrorKind::Limit);
    // Attributes that would act in an overlay are left out, and that is said.
    let mut overlay = file("o", 1);
    overlay.0.xattrs = vec![(b"trusted.overlay.opaque".to_vec(), b"y".to_vec()), (b"user.a".to_vec(), b"b".to_vec())];
    let done = bed.bring(Layout::with(&[vec![overlay]]).path()).unwrap();
    assert!(done.notes[0].contains("trusted.overlay.opaque"), "{:?}", done.notes);
    assert_eq!(bed.image().row(b"o").unwrap().xattrs.len(), 1);
}
