//! Layouts and archives: which image is meant, and which documents are believed.

use super::*;
use std::process::Command;

#[test]
fn an_archive_is_told_from_a_tree() {
    let bed = Bed::new();
    let layout = Layout::with(&[vec![dir("d"), file("d/f", 700_000)], vec![file("d/.wh.f", 0), file("g", 5)]]);
    let tree = bed.bring(layout.path()).unwrap().tree;
    let archive = bed.dir.path().join("archive");
    for order in [&["."][..], &["index.json", "blobs", "oci-layout"], &["oci-layout", "blobs", "index.json"]] {
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(layout.path()).arg("-cf").arg(&archive).args(order);
        assert!(tar.status().unwrap().success());
        let done = bed.bring(&archive).unwrap();
        assert_eq!((done.tree, done.format), (tree, "oci"), "{order:?}");
    }
    // Compressed it cannot be read in any order: that is said, and no tree of blobs is made.
    let gz = bed.dir.path().join("archive.gz");
    let mut e = Encoder::new(std::fs::File::create(&gz).unwrap(), Compression::Gzip, 0).unwrap();
    e.write_all(&std::fs::read(&archive).unwrap()).unwrap();
    e.finish().unwrap();
    assert_eq!(bed.bring(&gz).unwrap_err().kind(), ErrorKind::Unsupported);
    // A tree that has a directory of that name is a tree.
    let plain = bed.dir.path().join("plain");
    std::fs::write(&plain, pack(&[dir("blobs"), file("blobs/x", 5)])).unwrap();
    assert_eq!(bed.bring(&plain).unwrap().format, "tar");
}

#[test]
fn an_archive_of_docker_save_is_read() {
    let bed = Bed::new();
    let layers: [Layer; 3] = [vec![dir("d"), file("d/f", 7)], vec![file("d/.wh.f", 0), file("g", 5)], vec![]];
    let want = bed.bring(Layout::with(&layers).path()).unwrap().tree;
    let plain: Vec<Vec<u8>> = layers.iter().map(|l| pack(l)).collect();
    let ids: Vec<String> = plain.iter().map(|b| digest(b)).collect();
    let config = json!({"os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}}).to_string();
    let name = format!("{}.json", &digest(config.as_bytes())[7..]);
    let saved = |config_name: &str| {
        let layers = ["one.tar", "two/layer.tar", "three.tar"];
        let all = json!([{"Config": config_name, "RepoTags": ["x:y"], "Layers": layers}]).to_string();
        let data = |path: &str, bytes: &[u8]| (entry(path, 0o644, Kind::file(bytes.len() as u64)).0, bytes.to_vec());
        let entries = [
            data(config_name, config.as_bytes()),
            data("one.tar", &plain[0]),
            link("two/layer.tar", "../real.tar"),
            data("real.tar", &plain[1]),
            data("three.tar", &plain[2]),
            data("manifest.json", all.as_bytes()),
        ];
        let path = bed.dir.path().join("saved");
        std::fs::write(&path, pack(&entries)).unwrap();
        path
    };
    let done = bed.bring(&saved(&name)).unwrap();
    assert_eq!((done.tree, done.format, done.layers), (want, "docker", 3));
    let other = |r: &str| ImportOptions { reference: Some(r.into()), ..ImportOptions::default() };
    assert_eq!(bed.bring_as(&saved(&name), &other("x:y")).unwrap().tree, want);
    assert_eq!(bed.bring_as(&saved(&name), &other("z")).unwrap_err().kind(), ErrorKind::NotFound);
    let lie = format!("{}.json", "0".repeat(64));
    assert_eq!(bed.bring(&saved(&lie)).unwrap_err().kind(), ErrorKind::Integrity);
}

#[test]
fn one_of_several_images_is_chosen() {
    let bed = Bed::new();
    let layout = Layout::new();
    let with = |mut d: Value, platform: Option<(&str, &str)>, name: Option<&str>| {
        if let Some((architecture, variant)) = platform {
            d["platform"] = json!({"os": "linux", "architecture": architecture, "variant": variant});
        }
        if let Some(name) = name {
            d["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        }
        d
    };
    let size = |n| layout.manifest(&[vec![file("f", n)]]);
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let nested = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        with(size(1), Some(("mips", "")), None),
        with(size(2), Some((machine, "")), None),
        with(size(3), Some(("arm", "v6")), None),
        with(size(4), Some(("arm", "v7")), None),
        with(size(9), Some(("unknown", "")), None),
    ]});
    let nested = layout.document(INDEX, &nested);
    layout.index(&[with(nested.clone(), None, Some("all")), with(size(5), None, Some("five"))]);
    let chosen = |reference: Option<&str>, platform: Option<&str>| -> Result<u64> {
        let to_text = |t: Option<&str>| t.map(str::to_owned);
        let options =
            ImportOptions { reference: to_text(reference), platform: to_text(platform), ..ImportOptions::default() };
        bed.bring_as(layout.path(), &options)?;
        Ok(bed.image().row(b"f").unwrap().size())
    };
    assert_eq!(chosen(Some("five"), None).unwrap(), 5);
    assert_eq!(chosen(Some("all"), None).unwrap(), 2);
    assert_eq!(chosen(Some("all"), Some("linux/mips")).unwrap(), 1);
    assert_eq!(chosen(Some("all"), Some("linux/arm")).unwrap(), 3);
    assert_eq!(chosen(Some("all"), Some("linux/arm/v7")).unwrap(), 4);
    let kind = |r, p| chosen(r, p).unwrap_err().kind();
    assert_eq!(kind(None, None), ErrorKind::Invalid);
    assert_eq!(kind(Some("six"), None), ErrorKind::NotFound);
    assert_eq!(kind(Some("all"), Some("linux/sparc")), ErrorKind::NotFound);
    assert_eq!(kind(Some("all"), Some("linux")), ErrorKind::Invalid);
    // The same one under two names is one.
    layout.index(&[with(nested.clone(), None, Some("all")), with(nested, None, Some("latest"))]);
    assert_eq!(chosen(None, None).unwrap(), 2);
}

#[test]
fn a_layout_that_lies_is_refused() {
    let bed = Bed::new();
    let layer = || vec![dir("d"), file("d/f", 100_000)];
    let edit = |what: &str, kind: ErrorKind, edit: &dyn Fn(&Layout, &mut Value, &mut Value)| {
        let layout = Layout::new();
        let descriptor = layout.manifest(&[layer()]);
        let read = |d: &Value| -> Value {
            let name = &d["digest"].as_str().unwrap()[7..];
            serde_json::from_slice(&std::fs::read(layout.path().join("blobs/sha256").join(name)).unwrap()).unwrap()
        };
        let mut manifest = read(&descriptor);
        let mut config = read(&manifest["config"]);
        edit(&layout, &mut manifest, &mut config);
        if manifest["config"]["changed"].is_null() {
            manifest["config"] = layout.document(CONFIG, &config);
        }
        if manifest["index"].is_null() {
            layout.index(&[layout.document(MANIFEST, &manifest)]);
        }
        bed.fails(layout.path(), kind, what);
    };
    use ErrorKind::{Integrity, Limit, NotFound, UnsafeInput, Unsupported};
    let blob =
        |layout: &Layout, d: &Value| layout.path().join("blobs/sha256").join(&d["digest"].as_str().unwrap()[7..]);
    edit("another byte in a layer", Integrity, &|l, m, _| {
        let path = blob(l, &m["layers"][0]);
        let mut bytes = std::fs::read(&path).unwrap();
        // The name of a compressed file's system: no program looks at it, only the digest does.
        bytes[9] ^= 1;
        std::fs::write(path, bytes).unwrap();
    });
    edit("another plain digest", Integrity, &|_, _, c| c["rootfs"]["diff_ids"][0] = digest(b"x").into());
    edit("a size that is too small", Integrity, &|_, m, _| m["layers"][0]["size"] = 5.into());
    edit("a size that is too large", Integrity, &|_, m, _| m["layers"][0]["size"] = (1u64 << 50).into());
    edit("a negative size", Integrity, &|_, m, _| m["layers"][0]["size"] = (-1).into());
    edit("a missing layer", Integrity, &|l, m, _| std::fs::remove_file(blob(l, &m["layers"][0])).unwrap());
    edit("a config that is cut off", Integrity, &|l, m, _| {
        m["config"] = l.blob(CONFIG, b"{\"rootfs\"");
        m["config"]["changed"] = true.into();
    });
    edit("a config with another digest", Integrity, &|l, m, _| {
        let config = l.blob(CONFIG, b"{}");
        std::fs::write(blob(l, &config), b"[]").unwrap();
        m["config"] = config;
        m["config"]["changed"] = true.into();
    });
    for bad in ["sha256:../../../../etc/passwd", "sha256:12", "../../x", "sha256:ABCD", ""] {
        edit(bad, UnsafeInput, &|_, m, _| m["layers"][0]["digest"] = bad.into());
    }
    edit("another algorithm", Unsupported, &|_, m, _| {
        m["layers"][0]["digest"] = format!("sha512:{}", "0".repeat(128)).into();
    });
    for media in [
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/octet-stream",
        "",
    ] {
        edit(media, Unsupported, &|_, m, _| m["layers"][0]["mediaType"] = media.into());
    }
    edit("a layer that is a manifest", UnsafeInput, &|_, m, _| m["layers"][0]["mediaType"] = MANIFEST.into());
    edit("an artefact", Unsupported, &|_, m, _| {
        m["config"]["mediaType"] = "application/vnd.oci.empty.v1+json".into();
        m["config"]["changed"] = true.into();
    });
    edit("more digests than layers", UnsafeInput, &|_, _, c| {
        let ids = c["rootfs"]["diff_ids"].as_array_mut().unwrap();
        ids.push(digest(b"").into());
    });
    edit("another system", Unsupported, &|_, _, c| c["os"] = "windows".into());
    edit("another schema", Unsupported, &|_, m, _| m["schemaVersion"] = 1.into());
    edit("a manifest without end", Limit, &|l, m, _| {
        let mut d = l.blob(MANIFEST, &vec![b' '; 9 << 20]);
        d["size"] = (9 << 20).into();
        l.index(&[d]);
        m["index"] = true.into();
    });
    edit("an index that leads to a config", UnsafeInput, &|l, m, c| {
        l.index(&[l.document(CONFIG, c)]);
        m["index"] = true.into();
    });
    edit("indexes in indexes", Limit, &|l, m, _| {
        let mut d = l.document(MANIFEST, m);
        for _ in 0..9 {
            d = l.document(INDEX, &json!({"schemaVersion": 2, "manifests": [d]}));
        }
        l.index(&[d]);
        m["index"] = true.into();
    });
    edit("an index that names itself", Integrity, &|l, m, _| {
        // No index can hold its own digest; one that says so has another.
        let loops = json!({"mediaType": INDEX, "digest": digest(b"loop"), "size": 4});
        std::fs::write(l.path().join("blobs/sha256").join(&digest(b"loop")[7..]), b"LOOP").unwrap();
        l.index(&[loops]);
        m["index"] = true.into();
    });
    edit("no image at all", NotFound, &|l, m, _| {
        l.index(&[]);
        m["index"] = true.into();
    });
    edit("a layer behind a link", UnsafeInput, &|l, m, _| {
        let path = blob(l, &m["layers"][0]);
        std::fs::rename(&path, l.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(l.path().join("elsewhere"), path).unwrap();
    });
    edit("a layer that is a FIFO", UnsafeInput, &|l, m, _| {
        let path = blob(l, &m["layers"][0]);
        std::fs::remove_file(&path).unwrap();
        common::run("mkfifo", &[path.to_str().unwrap()]);
    });
    edit("another version of layouts", Unsupported, &|l, _, _| {
        std::fs::write(l.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    });
    // Whatever a layer was, nothing is published.
    assert!(bed.store.check(true, &Task::quiet()).unwrap().faults.is_empty());
}
