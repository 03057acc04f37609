//! Pictures as they are, told by another parser: whole, inside, side by side, whatever the disks are called.

use super::now::Now;
use super::*;
use crate::layout::apply::gpt::{self as writer, BootCode};
use crate::layout::device::{Contents, Medium, OpenDisk, ReadAt, WriteAt};
use crate::layout::gpt::{Entry, Found, Mbr, Table};
use crate::layout::signature::Signature;
use crate::layout::spec::PartitionType;
use crate::layout::{Disks, Layout, PlanOptions};
use proptest::prelude::*;
use quick_xml::events::{BytesStart, Event};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use uuid::Uuid;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const SINGLE: &str = "
schema: cv.layout/v1
name: single-sata
firmware: [bios]
disks: {os: {wipe: signatures}}
partitions:
  os/biosboot: {type: bios-boot, size: 1MiB}
  os/boot:     {type: linux, size: 1GiB}
  os/swap:     {type: swap, size: 4GiB}
  os/root:     {type: root, size: 40GiB}
  os/scratch:  {type: linux, size: rest, leave-free: 20GiB}
filesystems:
  boot:    {on: os/boot, type: ext4, label: boot, mount: {at: /boot}}
  swap:    {on: os/swap, type: swap}
  root:    {on: os/root, type: ext4, label: root, mount: {at: /}}
  scratch: {on: os/scratch, type: xfs, mount: {at: /scratch, options: [noatime, nofail]}}
boot: {loader: grub2, install-on: os}
";

const MIRROR: &str = "
schema: cv.layout/v1
name: compute-2nvme-mirror
firmware: [bios]
disks: {os: {count: 2, wipe: all}}
partitions:
  os/biosboot: {number: 1, type: bios-boot, size: 1MiB}
  os/esp:      {number: 2, type: esp, size: 600MiB}
  os/boot:     {number: 3, type: linux-raid, size: 1GiB}
  os/pv:       {number: 4, type: linux-raid, size: rest}
raid:
  boot: {level: 1, members: [os/boot], metadata: '1.0', bitmap: none, sync: zero}
  pv:   {level: 1, members: [os/pv]}
lvm:
  sys:
    pvs: [raid/pv]
    lvs:
      root:    {size: 60GiB}
      var:     {size: {min: 20GiB, max: 200GiB, weight: 1}}
      swap:    {size: {percent-of: ram, percent: 25, max: 32GiB}}
      scratch: {size: {min: 50GiB, weight: 4}}
    reserve: 5%
filesystems:
  esp:     {on: os/esp, type: vfat, label: ESP, mirror: sync, mount: {at: /boot/efi}}
  boot:    {on: raid/boot, type: ext4, label: boot, mount: {at: /boot, options: [nodev]}}
  root:    {on: lvm/sys/root, type: xfs, label: root, mount: {at: /}}
  var:     {on: lvm/sys/var, type: xfs, mount: {at: /var}}
  swap:    {on: lvm/sys/swap, type: swap}
  scratch: {on: lvm/sys/scratch, type: xfs, mount: {at: /scratch, options: [noatime, nofail]}}
boot: {loader: grub2, install-on: os}
";

const MANY: &str = "
schema: cv.layout/v1
name: data-raid10
disks:
  os: {}
  data: {count: 24, sector: 4096, wipe: discard}
partitions:
  os/root: {type: root, size: rest}
  data/member: {type: linux-raid, size: rest, leave-free: 100MiB}
raid:
  data: {level: 10, layout: n2, chunk: 512KiB, members: [data/member], spares: 2}
filesystems:
  root: {on: os/root, type: ext4, label: root, mount: {at: /}}
  data: {on: raid/data, type: xfs, label: data, mount: {at: /data, options: [noatime, nofail]}}
";

const TOWER: &str = r#"
schema: cv.layout/v1
name: tower
disks: {a: {}, b: {}}
partitions:
  a/esp:   {type: esp, size: 1GiB, name: "<script>alert('x')&\"</script>"}
  a/crypt: {type: luks, size: rest, name: "ディスクディスクディスクディスクディスクディスクディスクディスクデ"}
  b/pv:    {type: linux-lvm, size: rest}
luks:
  outer: {on: a/crypt, keys: [{secret: "ref:k/one"}]}
  state: {on: lvm/sys/state, keys: [{secret: "ref:k/two"}]}
lvm:
  sys:
    pvs: [luks/outer, b/pv]
    lvs:
      root:  {size: 100GiB}
      fast:  {size: 64GiB, stripes: 2}
      state: {size: 20GiB}
      pool:  {kind: thin-pool, size: {min: 100GiB}, chunk: 256KiB}
      home:  {kind: thin, pool: pool, virtual-size: 500GiB}
      work:  {kind: thin, pool: pool, virtual-size: 1TiB}
    reserve: 10%
filesystems:
  esp:   {on: a/esp, type: vfat, label: ESP, mount: {at: /efi}}
  root:  {on: lvm/sys/root, type: xfs, mount: {at: /}}
  fast:  {on: lvm/sys/fast, type: xfs, label: fast, mount: {at: /srv/fast}}
  state: {on: luks/state, type: ext4, mount: {at: /var/lib/state}}
  home:  {on: lvm/sys/home, type: xfs, mount: {at: /home}}
  work:  {on: lvm/sys/work, type: xfs, mount: {at: /work}}
"#;

/// An image file that can be written.
struct Image(OpenDisk);

impl ReadAt for Image {
    fn size(&self) -> u64 {
        self.0.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buffer)
    }
}

impl WriteAt for Image {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Image {
    fn new(dir: &Path, name: &str, size: u64) -> Self {
        let file = File::options().create_new(true).read(true).write(true).open(dir.join(name)).unwrap();
        file.set_len(size).unwrap();
        Self(OpenDisk { file, size })
    }

    /// Writes what something is told by.
    fn sign(&self, at: u64, kind: &str, label: &str) {
        let (magic, label_at): (&[(u64, &[u8])], u64) = match kind {
            "ext4" => (&[(0x438, b"\x53\xef"), (0x45c, b"\x04"), (0x460, b"\x40")], 0x478),
            "xfs" => (&[(0, b"XFSB")], 108),
            "vfat" => (&[(0x52, b"FAT32   ")], 0x47),
            "md" => (&[(4096, b"\xfc\x4e\x2b\xa9")], 4096 + 32),
            "lvm" => (&[(512, b"LABELONE")], 0),
            "luks" => (&[(0, b"LUKS\xba\xbe")], 0),
            _ => unreachable!("{kind}"),
        };
        for (offset, bytes) in magic {
            self.write_at(at + offset, bytes).unwrap();
        }
        if !label.is_empty() {
            self.write_at(at + label_at, label.as_bytes()).unwrap();
        }
    }

    /// Partitions by number, name, length in MiB, what is on them and its label; one after the other, 0 is a gap.
    fn partition(&self, partitions: &[(u32, &str, u64, &str, &str)]) {
        let (mut at, mut entries) = (1, BTreeMap::new());
        for (number, name, length, kind, label) in partitions {
            let (first, last) = (at * MIB / 512, (at + length) * MIB / 512 - 1);
            if *number > 0 {
                entries.insert(*number, entry(*number, first, last, name));
            }
            if !kind.is_empty() {
                self.sign(at * MIB, kind, label);
            }
            at += length;
        }
        writer::write(self, &table(entries, self.0.size), BootCode::Erase).unwrap();
    }
}

fn entry(number: u32, first: u64, last: u64, name: &str) -> Entry {
    let kind = PartitionType::parse("linux").unwrap().guid();
    // As the reader gives it.
    let last = last.min(u64::MAX - 1);
    let uuid = Uuid::from_u128(0x1000 + u128::from(number));
    Entry { kind, uuid, first, last, attributes: 0, name: name.to_owned() }
}

fn table(entries: BTreeMap<u32, Entry>, size: u64) -> Table {
    let sectors = size / 512;
    Table {
        disk: Uuid::from_u128(7),
        sector: 512,
        first_usable: 2048,
        last_usable: sectors - 34,
        other: sectors - 1,
        entries,
    }
}

/// The plan, as if the images were disks of a machine.
fn plan(document: &str, disks: &[(&str, &str)], dir: &Path) -> Plan {
    let mut given = Disks::new();
    for (set, name) in disks {
        given.entry((*set).to_owned()).or_default().push(dir.join(name));
    }
    let options = PlanOptions {
        seed: Some([7; 16]),
        hostname: Some("node001".to_owned()),
        ram: Some(64 * GIB),
        ..PlanOptions::default()
    };
    let mut plan = Layout::parse(document.as_bytes(), "test").unwrap().plan(&given, &options).unwrap();
    plan.token = "4f2a-91c0".to_owned();
    for (n, disk) in plan.disks.iter_mut().enumerate() {
        let facts = &mut disk.facts;
        facts.path = Path::new("/dev").join(facts.path.file_name().unwrap());
        facts.medium = Medium::Block { major: 8, minor: 16 * u32::try_from(n).unwrap() };
        facts.model = Some(if facts.sector == 4096 { "ST8000NM001A" } else { "SAMSUNG MZ7L3480" }.to_owned());
        facts.serial = Some(format!("S4EVNX0R{:04}", 1000 + 37 * n));
    }
    plan
}

fn single(dir: &Path) -> Plan {
    let disk = Image::new(dir, "sda", 447 * GIB);
    disk.partition(&[
        (1, "EFI System Partition", 512, "vfat", "EFI"),
        (2, "boot", 1024, "ext4", "boot"),
        (5, "Daten & Ergebnisse", 200 * 1024, "xfs", "results"),
        (0, "", 100 * 1024, "", ""),
        (3, "root", 120 * 1024, "lvm", ""),
        (4, "", 8 * 1024, "", ""),
    ]);
    plan(SINGLE, &[("os", "sda")], dir)
}

fn mirror(dir: &Path) -> Plan {
    Image::new(dir, "nvme0n1", 894 * GIB);
    let old = Image::new(dir, "nvme1n1", 894 * GIB);
    old.partition(&[(1, "md", 300 * 1024, "md", "any:old"), (2, "lvm", 500 * 1024, "lvm", "")]);
    plan(MIRROR, &[("os", "nvme0n1"), ("os", "nvme1n1")], dir)
}

fn many(dir: &Path) -> Plan {
    Image::new(dir, "sda", 223 * GIB).sign(0, "xfs", "whole");
    let mut disks = vec![("os".to_owned(), "sda".to_owned())];
    for letter in 'b'..='y' {
        let name = format!("sd{letter}");
        let disk = Image::new(dir, &name, 2000 * GIB);
        // One has something on it that the others do not have.
        if letter == 'q' {
            disk.sign(0, "luks", "");
        }
        disks.push(("data".to_owned(), name));
    }
    let disks: Vec<(&str, &str)> = disks.iter().map(|(s, n)| (s.as_str(), n.as_str())).collect();
    plan(MANY, &disks, dir)
}

fn tower(dir: &Path) -> Plan {
    let a = Image::new(dir, "sda", 476 * GIB);
    let (wide, paired) = ("ディスク".repeat(9), "🦀".repeat(18));
    let names = ["</text>", "\"quoted\" & 'so'", "a\u{202e}b\u{7}c", &wide, &paired];
    let mut partitions: Vec<_> = (1..).zip(names).map(|(n, name)| (n, name, 60 * 1024, "ext4", "]]>-->")).collect();
    partitions.extend((6..20).map(|n| (n, "one of many", 1024, "", "")));
    a.partition(&partitions);
    Image::new(dir, "sdb", 476 * GIB);
    plan(TOWER, &[("a", "sda"), ("b", "sdb")], dir)
}

/// An element as another parser sees it.
#[derive(Debug)]
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn begin(tag: &BytesStart<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut attributes = BTreeMap::new();
        for attribute in tag.attributes() {
            let attribute = attribute.unwrap();
            let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).unwrap().into_owned();
            assert!(attributes.insert(text(attribute.key.as_ref()), value).is_none());
        }
        Self { name: text(tag.name().as_ref()), attributes, text: String::new(), children: Vec::new() }
    }

    fn parse(svg: &str) -> Self {
        let allowed = |c: char| matches!(c, '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        assert!(svg.chars().all(allowed), "a character that XML forbids");
        let mut reader = quick_xml::Reader::from_str(svg);
        let mut open: Vec<Self> = Vec::new();
        loop {
            let done = match reader.read_event().unwrap() {
                Event::Start(tag) => {
                    open.push(Self::begin(&tag));
                    continue;
                }
                Event::Empty(tag) => Self::begin(&tag),
                Event::End(_) => open.pop().unwrap(),
                Event::Text(text) => {
                    let text = text.decode().unwrap();
                    match open.last_mut() {
                        Some(element) => element.text.push_str(&text),
                        None => assert_eq!(text.trim(), ""),
                    }
                    continue;
                }
                Event::GeneralRef(reference) => {
                    let name = reference.decode().unwrap();
                    let text = quick_xml::escape::unescape(&format!("&{name};")).unwrap().into_owned();
                    open.last_mut().unwrap().text.push_str(&text);
                    continue;
                }
                other => panic!("nothing but elements and text: {other:?}"),
            };
            match open.last_mut() {
                Some(parent) => parent.children.push(done),
                None => return done,
            }
        }
    }

    fn number(&self, name: &str) -> u32 {
        self.attributes.get(name).map_or(0, |v| v.parse().unwrap())
    }

    fn area(&self) -> Area {
        Area::new(self.number("x"), self.number("y"), self.number("width"), self.number("height"))
    }

    /// It and all in it.
    fn all(&self) -> Vec<&Self> {
        std::iter::once(self).chain(self.children.iter().flat_map(Self::all)).collect()
    }

    /// All that is written in it.
    fn words(&self) -> Vec<&str> {
        self.all().into_iter().filter(|e| e.name == "text").map(|e| e.text.as_str()).collect()
    }

    /// The segments: places and tips.
    fn boxes(&self) -> Vec<(Area, &str)> {
        let groups = self.children.iter().filter(|e| e.name == "g");
        groups.map(|g| (g.children[1].area(), g.children[0].text.as_str())).filter(|(_, t)| *t != "a sample").collect()
    }
}

/// Looks at a picture with another parser: nothing but what draws, nothing outside, no box over another.
fn examine(svg: &str) -> Element {
    let top = Element::parse(svg);
    let known = ["svg", "title", "desc", "defs", "pattern", "rect", "text", "path", "g"];
    let mut ids = BTreeSet::new();
    for element in top.all() {
        assert!(known.contains(&element.name.as_str()), "{}", element.name);
        for (name, value) in &element.attributes {
            assert!(!name.starts_with("on") && !name.contains("href") && name != "style", "{name}");
            assert!(name != "id" || ids.insert(value.clone()), "{value} twice");
            if let Some(id) = value.strip_prefix("url(#") {
                assert!(svg.contains(&format!("id=\"{}\"", id.trim_end_matches(')'))), "{value} is nowhere");
            }
        }
    }
    assert!(ids.iter().all(|id| id.starts_with("cv-4f2a-91c0-")));
    assert_eq!((top.attributes["role"].as_str(), top.children[0].name.as_str()), ("img", "title"));
    assert_eq!(top.attributes["viewBox"], format!("0 0 {} {}", top.number("width"), top.number("height")));
    inside(&top, top.number("width"), top.number("height"));
    let boxes = top.boxes();
    for (n, (a, tip)) in boxes.iter().enumerate() {
        for (b, other) in &boxes[n + 1..] {
            let apart = a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
            assert!(apart, "{tip} over {other}");
        }
    }
    top
}

fn inside(element: &Element, width: u32, height: u32) {
    for child in &element.children {
        let a = child.area();
        match child.name.as_str() {
            "defs" => continue,
            "g" | "title" | "desc" => {}
            _ => assert!(a.x + a.width <= width && a.y + a.height <= height, "{child:?} in {width} × {height}"),
        }
        match child.name.as_str() {
            "svg" => inside(child, a.width, a.height),
            _ => inside(child, width, height),
        }
    }
}

#[test]
fn pictures_are_what_they_were() {
    type Make = fn(&Path) -> Plan;
    let makers: [(&str, Make); 4] = [("single", single), ("mirror", mirror), ("many", many), ("tower", tower)];
    for (name, make) in makers {
        let dir = tempfile::tempdir().unwrap();
        let plan = make(dir.path());
        let svg = plan.to_svg();
        assert_eq!(svg, plan.clone().to_svg());
        assert!(!svg.contains(dir.path().to_str().unwrap()));
        let top = examine(&svg);
        let words = top.words();
        assert!(
            words.contains(&format!("Layout {}", plan.layout_name()).as_str()) && words.contains(&"token 4f2a-91c0")
        );
        for mount in plan.mounts().iter().map(|m| format!("at {}", m.mount.at)) {
            assert!(words.iter().any(|w| w.contains(&mount)), "{name} without {mount}");
        }
        for disk in plan.disks() {
            let path = disk.facts.path.display().to_string();
            assert!(words.iter().any(|w| w.contains(&path)), "{name} without {path}");
        }
        let golden = format!("{}/tests/golden/picture-{name}.svg", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("LIBCV_BLESS").is_some() {
            std::fs::write(&golden, &svg).unwrap();
        }
        let held = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(held == svg, "picture-{name}.svg is another one: look at it, LIBCV_BLESS=1 writes it anew");
    }
}

#[test]
fn what_is_lost_is_said_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let svg = single(dir.path()).to_svg();
    let top = examine(&svg);
    let words = top.words();
    assert_eq!(words.iter().filter(|w| **w == "lost").count(), 5 + 1, "each partition, and the sign that explains it");
    assert!(words.contains(&"all lost"));
    assert!(words.iter().any(|w| w.starts_with("LOST when this is applied: 5 things on the disk")), "{words:?}");
    let about = &top.children[1].text;
    for old in ["xfs \"results\"", "\"Daten & Ergebnisse\"", "LVM2_member", "; lost", "After: partition 1 \"biosboot\""]
    {
        assert!(about.contains(old), "{old} is not read out: {about}");
    }
    let dir = tempfile::tempdir().unwrap();
    Image::new(dir.path(), "sda", 60 * GIB);
    let blank =
        examine(&plan(&SINGLE.replace("20GiB", "1GiB"), &[("os", "sda")], dir.path()).to_svg()).words().join("\n");
    assert!(blank.contains("Nothing known is lost") && !blank.contains("LOST"), "{blank}");
}

#[test]
fn what_is_kept_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    let mut plan = single(dir.path());
    let last = plan.disks[0].partitions.last().unwrap().clone();
    let (first, end) = (last.start / 512, (last.start + last.length) / 512 - 1);
    let contents = &mut plan.disks[0].facts.contents;
    let found =
        table(BTreeMap::from([(1, entry(1, 2048, 4095, "old")), (7, entry(7, first, end, "precious"))]), 447 * GIB);
    contents.table = Found { primary: Ok(found.clone()), backup: Ok(found), mbr: Mbr::Protective };
    contents.signatures.clear();
    let all = examine(&plan.to_svg());
    assert!(all.words().contains(&"all lost") && !all.words().contains(&"1 kept"));
    plan.disks[0].partitions.last_mut().unwrap().kept = true;
    let all = examine(&plan.to_svg());
    assert!(all.words().contains(&"all lost"), "a filesystem is made on it");
    plan.filesystems.iter_mut().for_each(|f| f.kept = f.id == "scratch");
    let svg = plan.to_svg();
    let top = examine(&svg);
    let tips: Vec<&str> = top.boxes().iter().map(|(_, t)| *t).collect();
    let kept: Vec<&&str> = tips.iter().filter(|t| t.ends_with("; kept")).collect();
    assert!(kept.len() == 2 && kept[0].contains("precious") && kept[1].contains("os/scratch"), "{tips:?}");
    let words = top.words();
    assert!(words.contains(&"1 lost") && words.contains(&"1 kept"), "{words:?}");
    assert_eq!(words.iter().filter(|w| **w == "kept").count(), 2);
}

#[test]
fn disks_that_look_the_same_are_drawn_once() {
    let dir = tempfile::tempdir().unwrap();
    let plan = many(dir.path());
    let cards: Vec<usize> = Card::of(&plan).iter().map(|c| c.disks.len()).collect();
    assert_eq!(cards, [1, 21, 1, 1, 1], "one has something else on it, the last two are spares");
    let dir = tempfile::tempdir().unwrap();
    Image::new(dir.path(), "sda", 894 * GIB);
    Image::new(dir.path(), "sdb", 894 * GIB);
    assert_eq!(Card::of(&super::tests::plan(MIRROR, &[("os", "sda"), ("os", "sdb")], dir.path())).len(), 2);
}

#[test]
fn hostile_names_stay_names() {
    let dir = tempfile::tempdir().unwrap();
    let mut plan = tower(dir.path());
    plan.spec.name = "W".repeat(64);
    plan.hostname = Some("w".repeat(253));
    let svg = plan.to_svg();
    let top = examine(&svg);
    let tips: Vec<&str> = top.boxes().iter().map(|(_, t)| *t).collect();
    for name in
        ["<script>alert('x')&\"</script>", "</text>", "\"quoted\" & 'so'", "a\u{fffd}b\u{fffd}c", "ext4 \"]]>-->\""]
    {
        assert!(tips.iter().any(|t| t.contains(name)), "{name} in {tips:?}");
    }
    // What does not fit into its box is written out as a whole.
    let written = top.words().concat();
    assert!(written.contains(&"🦀".repeat(18)) && written.contains(&"ディスク".repeat(9)), "{written}");
    assert!(!svg.contains("<script") && !svg.contains('\u{202e}'));
}

fn any_contents() -> impl Strategy<Value = (Vec<Entry>, Vec<(usize, String)>)> {
    let size = 447 * GIB / 512;
    let place = prop_oneof![3 => 2048..size, 1 => any::<u64>(), 1 => Just(0)];
    let length = prop_oneof![3 => 0..size / 10, 1 => any::<u64>()];
    let entries = proptest::collection::vec((place, length, ".{0,40}"), 0..200);
    let entries = entries.prop_map(|all| {
        let numbered = (1..).zip(all);
        numbered.map(|(n, (first, length, name))| entry(n, first, first.saturating_add(length), &name)).collect()
    });
    (entries, proptest::collection::vec((any::<usize>(), ".{0,256}"), 0..9))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a disk carries and whatever partitions are called: the picture is well-formed, nothing is outside or over
    /// another, bands are full, and everything that there is is told.
    #[test]
    fn any_disk_has_a_picture((entries, labels) in any_contents(), mbr in 0..3usize, whole in any::<bool>(),
            planned in proptest::collection::vec((0u64..64 * GIB, 0u64..9 * MIB, ".{0,36}"), 1..129)) {
        let dir = tempfile::tempdir().unwrap();
        let mut plan = single(dir.path());
        let disk = &mut plan.disks[0];
        let some = disk.partitions[1].clone();
        let mut at = MIB;
        disk.partitions.clear();
        for (n, (length, gap, name)) in (1..).zip(planned) {
            let length = length.min((disk.facts.size - MIB).saturating_sub(at)).max(512);
            disk.partitions.push(crate::layout::plan::PlannedPartition {
                number: n, name, start: at, length, ..some.clone()
            });
            at = (at + length + gap).min(disk.facts.size - 512);
        }
        let map: BTreeMap<u32, Entry> = (1..).zip(entries.iter().cloned()).collect();
        let found = table(map, disk.facts.size);
        let mut signatures = Vec::new();
        for (n, label) in labels {
            let place = found.entries.values().nth(n % entries.len().max(1)).map_or((0, disk.facts.size), |e| found.bytes(e));
            signatures.push((place.0, place.1, Signature { kind: "btrfs", label: Some(label), uuid: None, group: None, offset: 0, version: None, copies: Vec::new() }));
        }
        let none = Err(crate::layout::gpt::Fault::Absent);
        let primary = if whole { none.clone() } else { Ok(found) };
        let mbr = [Mbr::None, Mbr::Protective, Mbr::Partitions][mbr];
        disk.facts.contents = Contents { table: Found { primary, backup: none, mbr }, signatures };
        plan.filesystems.clear();
        let count = plan.disks[0].partitions.len();
        let svg = plan.to_svg();
        let top = examine(&svg);
        let mut bands: BTreeMap<u32, (u32, usize)> = BTreeMap::new();
        for (area, tip) in top.boxes() {
            let band = bands.entry(area.y).or_default();
            band.0 += area.width;
            band.1 += usize::from(tip.starts_with("partition "));
        }
        prop_assert_eq!(bands.len(), 2);
        let bands: Vec<(u32, usize)> = bands.into_values().collect();
        prop_assert!(bands.iter().all(|(width, _)| *width == bands[0].0), "{:?}", bands);
        prop_assert_eq!(bands[1].1, count);
        if !whole {
            let now = Now::of(&plan.disks[0], &[]);
            prop_assert!(now.lost >= entries.len() && bands[0].1 <= entries.len());
            prop_assert!(entries.is_empty() || top.words().contains(&"all lost"));
        }
    }
}
