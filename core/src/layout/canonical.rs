//! What a document means, in one form and as one hash.
//!
//! Two texts that mean the same have one hash: units, defaults, comments, the order of keys, and what is spread over
//! documents that extend each other make no difference. Order does where it means something: sets choose their disks,
//! partitions get their places and volumes their extents one after the other.

use super::size::Size;
use super::spec::{FsType, Match, Spec};
use crate::units::ByteSize;

/// The hash of what a document means, as hex digits.
///
/// It names documents in policies: what it is made of must not change without a version of its own.
#[must_use]
pub(super) fn hash(spec: &Spec) -> String {
    let text = serde_json::to_vec(&normal(spec)).unwrap_or_default();
    let mut hasher = blake3::Hasher::new_derive_key("libcv layout document v1");
    hasher.update(&text);
    hasher.finalize().to_hex().to_string()
}

/// The document with everything in its plainest form.
fn normal(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    spec.description = None;
    spec.extends.clear();
    spec.firmware.sort_unstable();
    spec.firmware.dedup();
    for set in spec.disks.values_mut() {
        sort(&mut set.exclude);
        sort(&mut set.require.same);
        set.matching.iter_mut().for_each(normal_match);
    }
    for (key, partition) in &mut spec.partitions {
        partition.name.take_if(|name| *name == key.name);
        sort(&mut partition.attrs);
        normal_size(&mut partition.size);
    }
    for (id, raid) in &mut spec.raid {
        raid.name.take_if(|name| name == id);
        if let Some(uuid) = raid.adopt.as_mut().and_then(|a| a.uuid.as_mut()) {
            uuid.make_ascii_lowercase();
        }
    }
    for volume in spec.lvm.values_mut().flat_map(|group| group.lvs.values_mut()) {
        volume.stripes.take_if(|n| *n == 1);
        volume.size.iter_mut().for_each(normal_size);
    }
    for fs in spec.filesystems.values_mut() {
        if let Some(uuid) = &mut fs.uuid {
            if fs.kind == FsType::Vfat { uuid.make_ascii_uppercase() } else { uuid.make_ascii_lowercase() }
        }
        fs.subvolumes.sort_unstable_keys();
    }
    spec.raid.sort_unstable_keys();
    spec.luks.sort_unstable_keys();
    spec.lvm.sort_unstable_keys();
    spec.filesystems.sort_unstable_keys();
    spec
}

fn normal_match(rules: &mut Match) {
    let patterns = [
        &mut rules.by_id,
        &mut rules.by_path,
        &mut rules.wwid,
        &mut rules.serial,
        &mut rules.model,
        &mut rules.vendor,
        &mut rules.slot,
    ];
    patterns.into_iter().for_each(sort);
    sort(&mut rules.transport);
    let branches = rules.all.iter_mut().chain(&mut rules.any).chain(&mut rules.first_of);
    branches.chain(rules.not.as_deref_mut()).for_each(normal_match);
}

fn normal_size(size: &mut Size) {
    if *size == Size::Rest {
        *size = Size::Flex { min: ByteSize::new(0), max: None, weight: 1 };
    }
}

/// For lists whose order means nothing.
fn sort<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
}

#[cfg(test)]
mod tests {
    use super::super::FORM;
    use super::super::Layout;
    use super::super::spec::arbitrary;
    use crate::document::{Key, Node, Value, node};
    use proptest::prelude::*;

    const ONE: &str = "
schema: cv.layout/v1
name: one
firmware: [bios, uefi]
disks:
  a: {match: {transport: [sas, sata], model: [x, y]}, count: 1, wipe: signatures}
  b: {exclude: a}
partitions:
  a/bios: {type: bios-boot, size: 1MiB}
  a/esp: {type: esp, size: 1GiB, attrs: [required, no-auto]}
  a/root: {type: linux, size: rest, name: root}
  b/data: {type: linux, size: 10%}
filesystems:
  esp: {on: a/esp, type: vfat, uuid: 1a2b-3c4d, mount: {at: /boot/efi}}
  root: {on: a/root, type: ext4, preserve: false, mount: {at: /}}
  data: {on: b/data, type: xfs}
boot: {loader: grub2, install-on: a}
";

    fn hash(text: &str) -> String {
        Layout::parse(text.as_bytes(), "test").unwrap().hash()
    }

    #[test]
    fn what_means_the_same_has_one_hash() {
        let one = hash(ONE);
        assert_eq!(one.len(), 64);
        for (from, to) in [
            ("name: one", "name: one\ndescription: for people"),
            ("[bios, uefi]", "[uefi, bios, uefi]"),
            ("size: 1GiB", "size: 1024 MiB"),
            ("size: rest, name: root", "size: {min: 0B, weight: 1}"),
            ("[required, no-auto]", "[no-auto, required]"),
            ("[sas, sata]", "[sata, sas]"),
            ("count: 1, ", ""),
            ("exclude: a", "exclude: [a]"),
            ("1a2b-3c4d", "1A2B-3C4D"),
            ("preserve: false", "preserve: never"),
            ("install-on: a", "install-on: a, removable-fallback: true, nvram: {update: true}"),
            ("  data: {on: b/data, type: xfs}\n", ""),
        ] {
            assert!(ONE.contains(from));
            let mut text = ONE.replace(from, to);
            if to.is_empty() && from.contains("data") {
                text = text.replace("filesystems:", &format!("filesystems:\n{}", from.trim_end()));
            }
            assert_eq!(hash(&text), one, "{from} → {to}");
        }
    }

    #[test]
    fn what_means_something_else_has_another() {
        let one = hash(ONE);
        let moved = ONE.replace("  a/bios: {type: bios-boot, size: 1MiB}\n", "");
        let moved = moved.replace("filesystems:", "  a/bios: {type: bios-boot, size: 1MiB}\nfilesystems:");
        assert_ne!(hash(&moved), one, "the order of partitions");
        for (from, to) in
            [("name: one", "name: two"), ("10%", "11%"), ("type: xfs", "type: btrfs"), ("[sas, sata]", "sas")]
        {
            assert_ne!(hash(&ONE.replace(from, to)), one, "{from} → {to}");
        }
    }

    /// A document as JSON with the keys of every object the other way round, but for those whose order means something.
    fn turned(node: &Node, ordered: bool) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match &node.value {
            Value::Map(entries) => {
                let keeps_order = |key: &str| matches!(key, "disks" | "partitions" | "lvs");
                let entry = |(k, v): &(Key, Node)| format!("{}:{}", quoted(&k.name), turned(v, keeps_order(&k.name)));
                let mut entries: Vec<String> = entries.iter().map(entry).collect();
                if !ordered {
                    entries.reverse();
                }
                format!("{{{}}}", entries.join(","))
            }
            Value::List(items) => {
                format!("[{}]", items.iter().map(|v| turned(v, false)).collect::<Vec<_>>().join(","))
            }
            Value::Text(text) => quoted(text),
            Value::Number(number) => number.clone(),
            Value::Bool(value) => value.to_string(),
            Value::Null => "null".to_owned(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        /// A document as JSON is the document, in the same order and with the same hash; the order of keys in the text
        /// is nothing to the hash.
        #[test]
        fn json_is_the_document_again(spec in arbitrary::spec()) {
            let json = serde_json::to_string(&spec).unwrap();
            let layout = match Layout::parse(json.as_bytes(), "generated") {
                Ok(layout) => layout,
                Err(e) => return Err(TestCaseError::fail(format!("{e}\n{:#?}\n{json}", e.facts()))),
            };
            prop_assert_eq!(&layout.to_json(), &json);
            prop_assert_eq!(layout.spec(), &spec);
            let there = turned(&node::read(json.as_bytes(), &FORM.codes).unwrap(), false);
            prop_assert_eq!(hash(&there), layout.hash());
        }
    }
}
