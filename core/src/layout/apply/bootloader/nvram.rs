//! Entries in the variables of UEFI firmware: what has to change, and the program that changes it.
//!
//! ```text
//! efibootmgr -v ─ bytes ─> Variables ─ changes ─> delete, create ─ again ─> order ─> efibootmgr -o
//! ```
//!
//! One entry per ESP, each with a label of its own, because some firmware throws away what is called the same. The
//! network entry that started this machine stays first: the server decides every boot. Nothing here can fail an
//! installation: the fallback path starts the disks without any entry, and firmware refuses for reasons of its own.

use crate::error::Result;
use crate::layout::diagnostic::Diagnostic;
use crate::sys::program::{Call, Program};
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// More entries than this has no firmware: the numbers have 16 bits.
const ENTRIES: usize = 1 << 16;

/// What `efibootmgr -v` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// The entry that started this machine.
    pub current: Option<u16>,
    /// The order in which entries are tried.
    pub order: Vec<u16>,
    /// All entries.
    pub entries: Vec<BootEntry>,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootEntry {
    /// Its number.
    pub number: u16,
    /// Whether the firmware tries it.
    pub active: bool,
    /// What people see.
    pub label: String,
    /// The device path, as text.
    pub path: String,
}

/// An entry that shall be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What people see, different for each disk.
    pub label: String,
    /// The UUID of the partition.
    pub partition: Uuid,
    /// The node of the disk.
    pub disk: PathBuf,
    /// The number of the partition.
    pub number: u32,
    /// The program, such as `\EFI\debian\shimx64.efi`.
    pub loader: String,
}

/// What has to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Entries that go.
    pub delete: Vec<u16>,
    /// Entries that come, by place in the list of the wanted.
    pub create: Vec<usize>,
}

impl Variables {
    /// Reads what the program said; it may be UTF-16, and labels may be anything.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let text = decode(bytes);
        let mut all = Self::default();
        for line in text.lines() {
            let line = line.trim_end_matches(['\r', '\0']);
            let (key, value) = line.split_once(':').unwrap_or((line, ""));
            match key {
                "BootCurrent" => all.current = number(value.trim()),
                "BootOrder" => all.order = value.split(',').filter_map(|n| number(n.trim())).collect(),
                _ => all.entries.extend(entry(line)),
            }
            if all.entries.len() >= ENTRIES {
                break;
            }
        }
        all
    }

    fn get(&self, number: u16) -> Option<&BootEntry> {
        self.entries.iter().find(|e| e.number == number)
    }
}

/// UTF-16 with or without a mark, else UTF-8 with replacements.
fn decode(bytes: &[u8]) -> String {
    let zeros = |from: usize| bytes.iter().skip(from).step_by(2).take(256).filter(|b| **b == 0).count();
    let half = bytes.len().min(512) / 2;
    let (little, big) = (bytes.starts_with(&[0xff, 0xfe]), bytes.starts_with(&[0xfe, 0xff]));
    if little || big || (half > 4 && zeros(1).max(zeros(0)) > half * 3 / 4) {
        let swap = big || (!little && zeros(0) > zeros(1));
        let units = bytes.chunks_exact(2).map(|c| {
            let unit = [c[0], c[1]];
            if swap { u16::from_be_bytes(unit) } else { u16::from_le_bytes(unit) }
        });
        let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        return text.trim_start_matches('\u{feff}').to_owned();
    }
    String::from_utf8_lossy(bytes).into_owned()
}

fn number(text: &str) -> Option<u16> {
    (text.len() == 4).then(|| u16::from_str_radix(text, 16).ok())?
}

/// `Boot0003* debian\tHD(1,GPT,…)/File(\EFI\debian\shimx64.efi)`; newer versions leave out `File(` and `)`.
fn entry(line: &str) -> Option<BootEntry> {
    let rest = line.strip_prefix("Boot")?;
    let number = number(rest.get(..4)?)?;
    let rest = &rest[4..];
    let (active, rest) = (rest.starts_with('*'), rest.trim_start_matches('*'));
    let rest = rest.strip_prefix(' ')?;
    // A label can hold a tab, a device path cannot.
    let (label, path) = rest.rsplit_once('\t').unwrap_or((rest, ""));
    Some(BootEntry { number, active, label: label.trim().to_owned(), path: path.to_owned() })
}

impl BootEntry {
    /// The partition that it starts from.
    #[must_use]
    pub fn partition(&self) -> Option<Uuid> {
        let hd = self.path.split("HD(").nth(1)?;
        let mut fields = hd.split([',', ')']);
        let (_, kind) = (fields.next()?, fields.next()?);
        if kind != "GPT" { None } else { Uuid::try_parse(fields.next()?.trim()).ok() }
    }

    /// Whether it starts from the network.
    #[must_use]
    pub fn is_network(&self) -> bool {
        ["MAC(", "IPv4(", "IPv6(", "Uri("].iter().any(|n| self.path.contains(n))
    }

    fn starts(&self, loader: &str) -> bool {
        let path = self.path.to_ascii_lowercase();
        path.contains(&loader.to_ascii_lowercase())
    }

    fn is(&self, wanted: &Wanted) -> bool {
        self.active && self.label == wanted.label && self.is_on(wanted) && self.starts(&wanted.loader)
    }

    fn is_on(&self, wanted: &Wanted) -> bool {
        self.partition() == Some(wanted.partition)
    }
}

/// The labels of the entries of one system: with several disks each has its number.
#[must_use]
pub fn labels(name: &str, disks: usize) -> Vec<String> {
    let name: String = name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(40).collect();
    if disks == 1 { vec![name] } else { (1..=disks).map(|n| format!("{name} (disk {n})")).collect() }
}

/// A label without the number of its disk.
fn base(label: &str) -> &str {
    label.split(" (disk ").next().unwrap_or(label)
}

/// Which entries go and which come. `present` are the UUIDs of all partitions that this machine has.
///
/// Of the entries that are called as ours only those go that start from our partitions, or from one that no disk has
/// any more: what an earlier installation left. Entries of other systems are nobody's business here.
#[must_use]
pub fn changes(now: &Variables, wanted: &[Wanted], present: &[Uuid]) -> Changes {
    let mut changes = Changes::default();
    let mut kept = Vec::new();
    for (i, w) in wanted.iter().enumerate() {
        match now.entries.iter().find(|e| e.is(w) && !kept.contains(&e.number)) {
            Some(e) => kept.push(e.number),
            None => changes.create.push(i),
        }
    }
    let ours = |e: &BootEntry| wanted.iter().any(|w| base(&w.label) == base(&e.label));
    let gone =
        |e: &BootEntry| e.partition().is_some_and(|p| wanted.iter().any(|w| w.partition == p) || !present.contains(&p));
    let stale = now.entries.iter().filter(|e| !kept.contains(&e.number) && ours(e) && gone(e));
    changes.delete = stale.map(|e| e.number).collect();
    changes
}

/// The order that there should be; `None` when it is so already. Every wanted entry must be there.
///
/// First the network entry that started this machine, or else the first one of the old order; then ours, then the rest.
#[must_use]
pub fn order(now: &Variables, wanted: &[Wanted], network_first: bool) -> Option<Vec<u16>> {
    let network = |n: &u16| now.get(*n).is_some_and(BootEntry::is_network);
    let first = now.current.filter(network).or_else(|| now.order.iter().copied().find(network));
    let ours = wanted.iter().filter_map(|w| now.entries.iter().find(|e| e.is(w)).map(|e| e.number));
    let known = now.order.iter().copied().filter(|n| now.get(*n).is_some());
    let mut order = Vec::new();
    for n in first.filter(|_| network_first).into_iter().chain(ours).chain(known) {
        if !order.contains(&n) {
            order.push(n);
        }
    }
    (order != now.order).then_some(order)
}

/// Whether this machine's firmware has variables that can be seen.
#[must_use]
pub fn is_there() -> bool {
    std::path::Path::new("/sys/firmware/efi/efivars").is_dir()
}

/// Makes the firmware of this machine have the wanted entries; gives warnings and never an error.
pub fn register(wanted: &[Wanted], present: &[Uuid], network_first: bool, stop: &dyn Fn() -> bool) -> Vec<Diagnostic> {
    let call = || Call::new(Program::Efibootmgr).limit(Duration::from_secs(60)).env("LIBEFIVAR_OPS", "efivarfs");
    let mut warnings = Vec::new();
    let mut failed = |what: &str, e: &crate::Error| {
        let text = format!("the firmware did not {what}: {e}");
        warnings.push(
            Diagnostic::warning("W510", "boot.nvram", text).hint("the fallback path starts the disks without it"),
        );
    };
    let look = || -> Result<Variables> { Ok(Variables::parse(&call().arg("-v").run(stop)?.stdout)) };
    let now = match look() {
        Ok(now) => now,
        Err(e) => {
            failed("show its entries", &e);
            return warnings;
        }
    };
    let changes = changes(&now, wanted, present);
    for number in &changes.delete {
        if let Err(e) = call().args(["-q", "-b", &format!("{number:04X}"), "-B"]).run(stop) {
            failed("delete an old entry", &e);
        }
    }
    for w in changes.create.iter().map(|i| &wanted[*i]) {
        let made = call().args(["-q", "-c", "-d"]).arg(&w.disk).args(["-p", &w.number.to_string()]);
        if let Err(e) = made.args(["-L", &w.label, "-l", &w.loader]).run(stop) {
            failed("take a new entry", &e);
        }
    }
    match look() {
        Err(e) => failed("show its entries", &e),
        Ok(now) => {
            if let Some(order) = order(&now, wanted, network_first) {
                let list = order.iter().map(|n| format!("{n:04X}")).collect::<Vec<_>>().join(",");
                if let Err(e) = call().args(["-q", "-o", &list]).run(stop) {
                    failed("take the order of its entries", &e);
                }
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "11111111-1111-4111-8111-111111111111";
    const B: &str = "22222222-2222-4222-8222-222222222222";
    const OLD: &str = "99999999-9999-4999-8999-999999999999";

    fn wanted() -> Vec<Wanted> {
        let labels = labels("Rocky Linux", 2);
        let one = |i: usize, uuid: &str| Wanted {
            label: labels[i].clone(),
            partition: Uuid::parse_str(uuid).unwrap(),
            disk: format!("/dev/nvme{i}n1").into(),
            number: 2,
            loader: "\\EFI\\rocky\\shimx64.efi".to_owned(),
        };
        vec![one(0, A), one(1, B)]
    }

    fn present() -> Vec<Uuid> {
        [A, B].map(|u| Uuid::parse_str(u).unwrap()).into()
    }

    fn server() -> String {
        format!(
            "BootCurrent: 0003\nTimeout: 1 seconds\nBootOrder: 0001,0003,0004,0000,0007\n\
             Boot0000* UiApp\tFvVol(7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1)/FvFile(462caa21-7614-4503-836e-8ab6f4662331)\n\
             Boot0001* Rocky Linux\tHD(2,GPT,{OLD},0x1000,0x12c000)/File(\\EFI\\rocky\\shimx64.efi)\n\
             Boot0003* UEFI: PXE IPv4 Intel(R) I350\tPciRoot(0x0)/Pci(0x1c,0x0)/MAC(0025905f1234,0)/IPv4(0.0.0.0:0<->0.0.0.0:0,0,0)..BO\n\
             Boot0004* UEFI: HTTPv4\tPciRoot(0x0)/MAC(0025905f1234,0)/IPv4(0.0.0.0)/Uri()\n\
             Boot0005  Rocky Linux\tHD(1,GPT,33333333-3333-4333-8333-333333333333,0x800,0x1000)/File(\\EFI\\rocky\\shimx64.efi)\n\
             Boot0007* Windows Boot Manager\tHD(1,GPT,{OLD},0x800,0xfa000)/File(\\EFI\\Microsoft\\bootmgfw.efi)WINDOWS....x...B.C.D\n"
        )
    }

    #[test]
    fn what_an_old_installation_left_goes_and_the_network_stays_first() {
        let now = Variables::parse(server().as_bytes());
        assert_eq!((now.current, now.entries.len()), (Some(3), 6));
        assert!(!now.entries[4].active && now.entries[2].is_network());
        let mut all = present();
        all.push(Uuid::parse_str("33333333-3333-4333-8333-333333333333").unwrap());
        let changes = changes(&now, &wanted(), &all);
        // 5 belongs to a disk that is there and not ours; 7 is called otherwise.
        assert_eq!(changes, Changes { delete: vec![1], create: vec![0, 1] });
        // As the firmware has it afterwards: new entries come first.
        let after = server()
            .replace("BootOrder: 0001,0003", "BootOrder: 0006,0002,0003")
            .lines()
            .filter(|l| !l.starts_with("Boot0001"))
            .map(|l| format!("{l}\n"))
            .collect::<String>()
            + &format!(
                "Boot0002* Rocky Linux (disk 1)\tHD(2,GPT,{A},0x1000,0x12c000)/\\EFI\\rocky\\shimx64.efi\n      dp: 04 01 2a 00\n\
                 Boot0006* Rocky Linux (disk 2)\tHD(2,GPT,{B},0x1000,0x12c000)/\\EFI\\ROCKY\\SHIMX64.EFI\n    data: 00\n"
            );
        let now = Variables::parse(after.as_bytes());
        assert_eq!(super::changes(&now, &wanted(), &all), Changes::default());
        assert_eq!(order(&now, &wanted(), true), Some(vec![3, 2, 6, 4, 0, 7]));
        assert_eq!(order(&now, &wanted(), false), Some(vec![2, 6, 3, 4, 0, 7]));
        let settled = Variables { order: vec![3, 2, 6, 4, 0, 7], ..now };
        assert_eq!(order(&settled, &wanted(), true), None);
    }

    #[test]
    fn utf_16_and_broken_bytes_are_read() {
        let plain = Variables::parse(server().as_bytes());
        let little: Vec<u8> = server().encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = server().encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked: Vec<u8> = [0xff, 0xfe].into_iter().chain(little.iter().copied()).collect();
        for bytes in [little, big, marked] {
            assert_eq!(Variables::parse(&bytes), plain);
        }
        let broken = b"Boot0001* caf\xe9 \xff\xfe\tHD(1,MBR,0x1)/x\r\nBootOrder: 0001,zz,00001,\nBoot00\xc3\xa9 x\nBoot\nBootOrder\n";
        let now = Variables::parse(broken);
        assert_eq!((now.entries.len(), now.entries[0].partition()), (1, None));
        assert!(now.order.is_empty(), "the last line wins");
    }

    #[test]
    fn twins_are_deleted_but_for_one() {
        let line = |n: u16| {
            format!("Boot{n:04X}* Rocky Linux (disk 1)\tHD(2,GPT,{A},0x1,0x2)/File(\\EFI\\rocky\\shimx64.efi)\n")
        };
        let text = [1, 2, 0xa].map(line).concat();
        let now = Variables::parse(text.as_bytes());
        assert_eq!(changes(&now, &wanted()[..1], &present()), Changes { delete: vec![2, 10], create: vec![] });
        // One that was switched off, or starts something else, is made anew.
        let off = text.replace("Boot0001*", "Boot0001 ").replace("shimx64", "grubx64");
        let now = Variables::parse(off.as_bytes());
        assert_eq!(changes(&now, &wanted()[..1], &present()), Changes { delete: vec![1, 2, 10], create: vec![0] });
    }

    proptest! {
        /// Any bytes give something, and what is planned names only entries that are there.
        #[test]
        fn hostile_output_is_only_text(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "[Bot0-9A-F*: ,\tHD(GP)]{0,200}") {
            for input in [&bytes[..], text.as_bytes()] {
                let now = Variables::parse(input);
                let changes = changes(&now, &wanted(), &present());
                prop_assert!(changes.delete.iter().all(|n| now.get(*n).is_some()));
                let _ = order(&now, &wanted(), true);
            }
        }
    }
}
