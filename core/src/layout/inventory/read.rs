//! Reading a machine: every block device of its own becomes a disk.

use super::disk::{Disk, Transport};
use super::multipath;
use super::names::{Chain, Own};
use super::stack::Stack;
use super::tree::{Device, Tree};
use super::udev::Entry;
use super::vpd;
use super::{Inventory, Machine, SchemaId};
use crate::sys::sysfs::DeviceNumber;
use std::path::Path;

/// Sectors of `size` and `start` in sysfs, whatever the disk has.
const SECTOR: u64 = 512;

pub(super) fn read(root: &Path) -> Inventory {
    let tree = Tree::new(root);
    let stack = Stack::read(&tree);
    let mut disks = Vec::new();
    for (name, device) in tree.block_devices() {
        // The paths of NVMe that the kernel made one disk of have no node that could be opened.
        if !tree.flag(&device, "hidden") {
            disks.extend(disk(&tree, &stack, &name, &device));
        }
    }
    let mut disks = multipath::collapse(&tree, disks);
    // By place and identity: kernel names differ from boot to boot, and an inventory should not.
    disks.sort_by_cached_key(|d| {
        (d.transport.is_virtual(), d.by_path.first().map(|p| super::natural(p)), super::natural(&d.name))
    });
    Inventory { schema: SchemaId::V1, machine: machine(&tree), disks }
}

/// What a disk says about itself, by the kernel and udev.
struct Said {
    transport: Transport,
    is_ata: bool,
    vendor: Option<String>,
    model: Option<String>,
    serial: Option<String>,
    nsid: Option<u32>,
    wwid: Option<String>,
    /// The names on its page 83h.
    names: Vec<vpd::Name>,
}

impl Said {
    fn of(tree: &Tree, device: &Device, chain: &Chain<'_>, udev: &Entry) -> Self {
        let name = device.name();
        let transport = chain.transport();
        let text = |attribute: &str| tree.attribute(device, attribute);
        let page = |name: &str| chain.nearest("scsi").and_then(|scsi| tree.page(scsi, name));
        let names = page("vpd_pg83").map(|p| vpd::names(&p)).unwrap_or_default();
        let above =
            |subsystem: &str, attribute: &str| chain.nearest(subsystem).and_then(|d| tree.attribute(d, attribute));
        let of_device =
            |attribute: &str| ["scsi", "nvme-subsystem", "nvme", "mmc"].iter().find_map(|s| above(s, attribute));

        let vendor = above("scsi", "vendor");
        let is_ata = vendor.as_deref() == Some("ATA") && transport != Transport::Usb;
        let model = match transport {
            Transport::Mmc => above("mmc", "name"),
            Transport::Virtio if name.starts_with("vd") => None,
            _ => vpd::ata_model(&names).filter(|_| is_ata).or_else(|| of_device("model")),
        };
        let serial = match transport {
            Transport::Usb => usb_serial(tree, device),
            _ => text("serial")
                .or_else(|| page("vpd_pg80").and_then(|p| vpd::serial(&p)))
                .or_else(|| of_device("serial")),
        };
        // Of other disks what udev calls a short serial number is the name on page 83h.
        let has_short = matches!(transport, Transport::Sata | Transport::Usb | Transport::Nvme | Transport::Mmc);
        let noted = udev.property("ID_SCSI_SERIAL").or_else(|| udev.property("ID_SERIAL_SHORT").filter(|_| has_short));
        let serial = serial.or_else(|| noted.map(str::to_owned));
        let nsid = tree.number(device, "nsid").and_then(|n| u32::try_from(n).ok());
        let wwid = text("wwid").or_else(|| above("scsi", "wwid")).or_else(|| names.iter().find_map(vpd::Name::wwid));
        Self { transport, is_ata, vendor, model, serial, nsid, wwid, names }
    }

    /// Model, serial number and world wide name as they stand in an inventory.
    fn names(&self) -> [Option<String>; 3] {
        let serial = self.serial.as_ref().map(|s| s.trim().to_owned());
        [self.model.as_ref().map(|m| joined(m)), serial, self.wwid.clone()]
    }
}

/// What the disk of this number calls itself.
pub(super) fn names(root: &Path, number: DeviceNumber) -> [Option<String>; 3] {
    let tree = Tree::new(root);
    let place = tree.link(&format!("sys/dev/block/{number}")).map(|place| tree.device(&place));
    let has_number = |d: &Device| tree.attribute(d, "dev").and_then(|n| DeviceNumber::parse(&n)) == Some(number);
    let listed = || tree.block_devices().into_iter().map(|(_, device)| device).find(has_number);
    let Some(device) = place.or_else(listed) else { return Default::default() };
    let device = multipath::path_of(&tree, device);
    let number = tree.attribute(&device, "dev").and_then(|n| DeviceNumber::parse(&n)).unwrap_or(number);
    Said::of(&tree, &device, &Chain::new(&tree, &device), &Entry::read(&tree, number)).names()
}

/// What the kernel calls this boot.
pub(crate) fn boot() -> Option<String> {
    boot_of(&Tree::new(Path::new("/")))
}

fn boot_of(tree: &Tree) -> Option<String> {
    tree.text("proc/sys/kernel/random/boot_id")
}

fn disk(tree: &Tree, stack: &Stack<'_>, name: &str, device: &Device) -> Option<Disk> {
    let number = DeviceNumber::parse(&tree.attribute(device, "dev")?)?;
    let chain = Chain::new(tree, device);
    let udev = Entry::read(tree, number);
    let said = Said::of(tree, device, &chain, &udev);
    let [named_model, named_serial, wwid] = said.names();
    let Said { transport, is_ata, vendor, model, serial, nsid, names, .. } = said;
    let own = Own {
        transport,
        is_ata,
        vendor: vendor.as_deref(),
        model: model.as_deref(),
        serial: serial.as_deref(),
        nsid,
        names: &names,
    };
    let or_computed = |linked: Vec<String>, computed: Vec<String>| if linked.is_empty() { computed } else { linked };
    let by_id = or_computed(udev.names("disk/by-id"), chain.by_id(&own));
    // The order is ours, also where the links are udev's.
    let computed = chain.by_path();
    let mut by_path = or_computed(udev.names("disk/by-path"), computed.clone());
    by_path.sort_by_key(|p| computed.iter().position(|c| c == p).unwrap_or(usize::MAX));

    let logical = sector(tree, device, "queue/logical_block_size").unwrap_or(512);
    Some(Disk {
        name: name.to_owned(),
        number,
        transport,
        size: tree.number(device, "size").and_then(|s| s.checked_mul(SECTOR)).unwrap_or(0),
        logical_sector: logical,
        physical_sector: sector(tree, device, "queue/physical_block_size").unwrap_or(logical),
        optimal_io: tree.number(device, "queue/optimal_io_size").unwrap_or(0),
        rotational: tree.flag(device, "queue/rotational"),
        removable: tree.flag(device, "removable"),
        read_only: tree.flag(device, "ro"),
        more_wwids: more_wwids(tree, device, &names, wwid.as_deref()),
        vendor: vendor.filter(|_| !is_ata).map(|v| joined(&v)),
        model: named_model,
        serial: named_serial,
        wwid,
        nsid,
        by_id,
        by_path,
        slots: slots(tree, &chain),
        partitions: stack.partitions(name),
        holders: stack.holders(name),
        uses: stack.uses(name),
        multipath: None,
        content: None,
        unreadable: None,
    })
}

/// The serial number of a USB device stands at the device, above its interface.
fn usb_serial(tree: &Tree, device: &Device) -> Option<String> {
    let is_device = |d: &Device| tree.uevent(d, "DEVTYPE").as_deref() == Some("usb_device");
    let usb = device.above().find(is_device)?;
    tree.attribute(&usb, "serial")
}

fn sector(tree: &Tree, device: &Device, name: &str) -> Option<u32> {
    tree.number(device, name).and_then(|n| u32::try_from(n).ok()).filter(|n| n.is_power_of_two())
}

/// A text of fixed length without the space that fills it.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn more_wwids(tree: &Tree, device: &Device, names: &[vpd::Name], first: Option<&str>) -> Vec<String> {
    let hex = |t: String| t.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_lowercase();
    let is_set = |h: &String| h.bytes().any(|b| b != b'0');
    let eui = ["eui", "nguid"].into_iter().filter_map(|a| tree.attribute(device, a).map(hex).filter(is_set));
    let uuid = tree.attribute(device, "uuid").filter(|u| is_set(&u.replace('-', "")) && u.len() == 36);
    let mut all: Vec<String> = eui.map(|h| format!("eui.{h}")).chain(uuid.map(|u| format!("uuid.{u}"))).collect();
    all.extend(names.iter().filter_map(vpd::Name::wwid));
    all.retain(|w| Some(w.as_str()) != first);
    all.sort();
    all.dedup();
    all
}

/// Where the disk sits: the slot of an enclosure, the bay that a SAS controller tells, the slot of PCI.
fn slots(tree: &Tree, chain: &Chain<'_>) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(scsi) = chain.nearest("scsi") {
        for link in tree.inside(scsi, "").iter().filter(|n| n.starts_with("enclosure_device:")) {
            let Some(slot) = tree.linked(scsi, link) else { continue };
            let id = slot.parent().and_then(|e| tree.attribute(&e, "id")).unwrap_or_default();
            all.push(format!("enclosure/{id}/{}", slot.name()));
        }
        if let Some(end) = scsi.above().find(|d| d.name().starts_with("end_device-")) {
            let attribute = |name: &str| tree.attribute(&end, &format!("sas_device/{}/{name}", end.name()));
            let enclosure = attribute("enclosure_identifier").filter(|e| e.starts_with("0x"));
            if let (Some(enclosure), Some(bay)) = (enclosure, attribute("bay_identifier")) {
                all.push(format!("bay/{enclosure}/{bay}"));
            }
        }
    }
    // A slot has the address of the device, the card it is on, or the bridge above.
    let slots: Vec<(String, String)> = tree
        .names("sys/bus/pci/slots")
        .into_iter()
        .filter_map(|name| Some((tree.text(&format!("sys/bus/pci/slots/{name}/address"))?, name)))
        .collect();
    let found = chain.addresses().find_map(|address| {
        let card = address.split('.').next().unwrap_or(address);
        slots.iter().find(|(a, _)| a == card).map(|(_, name)| name)
    });
    all.extend(found.map(|name| format!("pci/{name}")));
    all
}

fn machine(tree: &Tree) -> Machine {
    let memory = tree.text("proc/meminfo").and_then(|t| {
        let line = t.lines().find_map(|l| l.strip_prefix("MemTotal:").map(str::to_owned))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    let is_here = tree.root() == Path::new("/");
    let here = || is_here.then(|| std::env::consts::ARCH.to_owned());
    let is_tpm2 = |name: &String| tree.text(&format!("sys/class/tpm/{name}/tpm_version_major")).as_deref() == Some("2");
    Machine {
        hostname: tree.text("proc/sys/kernel/hostname").filter(|n| n != "(none)"),
        arch: tree.text("proc/sys/kernel/arch").or_else(here),
        memory: memory.unwrap_or(0),
        uefi: tree.is_dir("sys/firmware/efi"),
        tpm2: tree.names("sys/class/tpm").iter().any(is_tpm2),
        boot: boot_of(tree),
    }
}
