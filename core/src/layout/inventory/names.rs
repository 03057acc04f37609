//! How a disk is attached and named: transport, and the names that udev would give it.
//!
//! udev's links are absent in a boot environment without it, so they are computed from the devices that a disk hangs
//! on: a place such as `pci-0000:00:1f.2-ata-1.0` from the chain of buses, a name such as `ata-MODEL_SERIAL` from what
//! the disk says about itself. The forms are those of udev (systemd 252: `path_id`, `60-persistent-storage.rules`);
//! tests compare with what udev said on recorded machines.

use super::disk::Transport;
use super::tree::{Device, Tree};
use super::vpd::Name;

/// A disk and the devices that it hangs on, each with its subsystem, the nearest first.
pub(super) struct Chain<'a> {
    tree: &'a Tree,
    disk: Device,
    links: Vec<(Device, String)>,
}

impl<'a> Chain<'a> {
    pub(super) fn new(tree: &'a Tree, disk: &Device) -> Self {
        let subsystem = |d: Device| tree.subsystem(&d).map(|s| (d, s));
        let mut links: Vec<_> = disk.above().filter_map(subsystem).collect();
        // With multipath in the kernel an NVMe disk lies below its subsystem, not below a controller.
        if links.iter().any(|(_, s)| s == "nvme-subsystem")
            && let Some(controller) = disk.name().rfind('n').map(|n| &disk.name()[..n])
            && let Some(place) = tree.link(&format!("sys/class/nvme/{controller}"))
        {
            links.extend(tree.device(&place).above().filter_map(subsystem));
        }
        Self { tree, disk: disk.clone(), links }
    }

    /// The device of this subsystem that is nearest to the disk.
    pub(super) fn nearest(&self, subsystem: &str) -> Option<&Device> {
        self.links.iter().find(|(_, s)| s == subsystem).map(|(d, _)| d)
    }

    /// The addresses of the PCI functions that it hangs on, the nearest first.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.links.iter().filter(|(_, s)| s == "pci").map(|(d, _)| d.name())
    }

    fn scsi(&self) -> Option<&Device> {
        self.nearest("scsi")
    }

    pub(super) fn transport(&self) -> Transport {
        let begins = |prefix: &str| {
            let rest = self.disk.name().strip_prefix(prefix);
            rest.is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()))
        };
        let by_name = [
            ("loop", Transport::Loop),
            ("ram", Transport::Ram),
            ("zram", Transport::Ram),
            ("sr", Transport::Optical),
            ("fd", Transport::Floppy),
            ("nbd", Transport::Nbd),
            ("dm-", Transport::Dm),
            ("md", Transport::Md),
            ("pmem", Transport::Pmem),
        ];
        if let Some((_, transport)) = by_name.into_iter().find(|(prefix, _)| begins(prefix)) {
            return transport;
        }
        if self.disk.name().starts_with("ubd") {
            return Transport::Ubd;
        }
        let by_bus = self.links.iter().find_map(|(_, subsystem)| {
            Some(match subsystem.as_str() {
                "nvme" | "nvme-subsystem" => Transport::Nvme,
                "usb" => Transport::Usb,
                "mmc" => Transport::Mmc,
                "virtio" => Transport::Virtio,
                "xen" => Transport::Xen,
                "vmbus" => Transport::Hyperv,
                _ => return None,
            })
        });
        match (by_bus, self.scsi()) {
            (Some(bus), _) => bus,
            (None, None) => Transport::Other,
            (None, Some(scsi)) => match scsi.path() {
                p if p.contains("/rport-") => Transport::Fc,
                p if p.contains("/end_device-") => Transport::Sas,
                p if p.contains("/session") => Transport::Iscsi,
                p if p.contains("/ata") => Transport::Sata,
                _ => Transport::Scsi,
            },
        }
    }

    /// The names of the disk's place, the best first.
    pub(super) fn by_path(&self) -> Vec<String> {
        // Each part with the form that it had in older versions of udev, where that is another one.
        let mut parts: Vec<(String, Option<String>)> = Vec::new();
        // A place counts when the bus that it begins at has one that stays, and the disk's own transport is known.
        let (mut has_place, mut has_transport) = (false, false);
        let mut at = 0;
        while let Some((device, subsystem)) = self.links.get(at) {
            let name = device.name();
            // A run of devices of one subsystem, such as bridges of PCI, is one part: the nearest.
            let mut is_run = true;
            match subsystem.as_str() {
                "scsi" => {
                    (has_transport, is_run) = (true, false);
                    if self.tree.uevent(device, "DEVTYPE").as_deref() == Some("scsi_device") {
                        let Some(part) = self.scsi_place(device, &mut has_place) else { return Vec::new() };
                        let old =
                            part.strip_prefix("ata-").and_then(|p| p.split('.').next()).map(|p| format!("ata-{p}"));
                        parts.push((part, old));
                    }
                }
                "usb" => {
                    has_transport = true;
                    parts.extend(name.split_once('-').map(|(_, port)| (format!("usb-0:{port}"), None)));
                }
                "nvme" | "nvme-subsystem" => {
                    (has_place, has_transport) = (true, true);
                    let nsid = self.tree.attribute(&self.disk, "nsid").filter(|_| parts.is_empty());
                    parts.extend(nsid.map(|n| (format!("nvme-{n}"), None)));
                }
                "virtio" => has_transport = true,
                "pci" | "acpi" | "xen" => {
                    has_place = true;
                    parts.push((format!("{subsystem}-{name}"), None));
                }
                "platform" | "ccw" => {
                    (has_place, has_transport) = (true, true);
                    parts.push((format!("{subsystem}-{name}"), None));
                }
                _ => is_run = false,
            }
            at += 1;
            while is_run && self.links.get(at).is_some_and(|(_, s)| s == subsystem) {
                at += 1;
            }
        }
        if !has_place || !has_transport || parts.is_empty() {
            return Vec::new();
        }
        parts.reverse();
        let joined = |part: fn(&(String, Option<String>)) -> &str| parts.iter().map(part).collect::<Vec<_>>().join("-");
        let best = joined(|(now, _)| now);
        let old = joined(|(now, old)| old.as_deref().unwrap_or(now));
        let virtio =
            Some(format!("virtio-{best}")).filter(|_| self.disk.name().starts_with("vd") && best.starts_with("pci-"));
        let mut all = vec![best];
        all.extend(Some(old).filter(|o| *o != all[0]));
        all.extend(virtio);
        all
    }

    /// The part of a place that the SCSI transport decides.
    fn scsi_place(&self, device: &Device, has_place: &mut bool) -> Option<String> {
        let tree = self.tree;
        let path = device.path();
        let numbers: Vec<u64> = device.name().split(':').filter_map(|n| n.parse().ok()).collect();
        let [host, bus, target, lun] = numbers[..] else { return None };
        let lun_text = match lun {
            0..256 => format!("lun-{lun}"),
            _ => format!("lun-0x{:04x}{:04x}00000000", lun & 0xffff, lun >> 16 & 0xffff),
        };
        let above = |prefix: &str| device.above().find(|d| d.name().starts_with(prefix));
        let class = |at: &Device, class: &str, name: &str| tree.attribute(at, &format!("{class}/{}/{name}", at.name()));
        if path.contains("/rport-") {
            *has_place = true;
            let port = class(&above("target")?, "fc_transport", "port_name")?;
            return Some(format!("fc-{port}-{lun_text}"));
        }
        if path.contains("/end_device-") {
            *has_place = true;
            let end = above("end_device-")?;
            let port = end.parent()?;
            if class(&port, "sas_port", "num_phys")? != "1" {
                return Some(format!("sas-{}-{lun_text}", class(&end, "sas_device", "sas_address")?));
            }
            let phy = class(&end, "sas_device", "phy_identifier")?;
            let expander = port.parent().and_then(|e| class(&e, "sas_device", "sas_address"));
            let expander = expander.map(|a| format!("exp{a}-")).unwrap_or_default();
            return Some(format!("sas-{expander}phy{phy}-{lun_text}"));
        }
        if path.contains("/session") {
            *has_place = true;
            let session = above("session")?;
            let number = session.name().strip_prefix("session")?;
            let connection = session.child(&format!("connection{number}:0"));
            let target = class(&session, "iscsi_session", "targetname")?;
            let ip = class(&connection, "iscsi_connection", "persistent_address")?;
            let port = class(&connection, "iscsi_connection", "persistent_port")?;
            return Some(format!("ip-{ip}:{port}-iscsi-{target}-{lun_text}"));
        }
        if path.contains("/ata") {
            let port = class(&above("ata")?, "ata_port", "port_no")?;
            return Some(if bus == 0 { format!("ata-{port}.{target}") } else { format!("ata-{port}.{bus}.0") });
        }
        if let Some(vmbus) = self.nearest("vmbus") {
            let guid = tree.attribute(vmbus, "device_id")?.replace(['{', '}', '-'], "");
            return Some(format!("vmbus-{guid}-{lun_text}"));
        }
        // The kernel counts hosts over all controllers; what counts is which one of its controller it is.
        let parent = above("host")?.parent()?;
        let hosts = tree.inside(&parent, "");
        let least = hosts.iter().filter_map(|n| n.strip_prefix("host")?.parse::<u64>().ok()).min();
        Some(format!("scsi-{}:{bus}:{target}:{lun}", host.saturating_sub(least.unwrap_or(host))))
    }

    /// The names of the disk itself, sorted. `names` are those of its page 83h.
    pub(super) fn by_id(&self, facts: &Own<'_>) -> Vec<String> {
        let tree = self.tree;
        let mut all = Vec::new();
        let serial = facts.serial.map(str::trim).filter(|s| !s.is_empty());
        match facts.transport {
            Transport::Nvme => {
                all.extend(tree.attribute(&self.disk, "wwid").map(|w| format!("nvme-{}", replaced(&w, false))));
                if let (Some(model), Some(serial)) = (facts.model, serial) {
                    let name = format!("nvme-{}", replaced(&format!("{model}_{serial}"), false));
                    all.extend(facts.nsid.map(|n| format!("{name}_{n}")));
                    all.push(name);
                }
            }
            Transport::Virtio if self.disk.name().starts_with("vd") => {
                all.extend(serial.map(|s| format!("virtio-{}", replaced(s, false))));
            }
            Transport::Mmc => {
                if let (Some(name), Some(serial)) = (facts.model, serial) {
                    all.push(format!("mmc-{}", replaced(&format!("{name}_{serial}"), false)));
                }
            }
            Transport::Usb => {
                let lun: Option<String> = self
                    .scsi()
                    .and_then(|d| d.name().split_once(':')?.1.split_once(':'))
                    .map(|(_, lun)| lun.to_owned());
                let words: Vec<&str> = [facts.vendor, facts.model, serial].into_iter().flatten().collect();
                if let (Some(lun), Some(_)) = (lun, facts.model) {
                    let words: Vec<String> = words.iter().map(|w| replaced(w, true)).collect();
                    all.push(format!("usb-{}-{lun}", words.join("_")));
                }
            }
            _ if facts.is_ata => {
                if let (Some(model), Some(serial)) = (facts.model, serial) {
                    all.push(format!("ata-{}_{}", replaced(model, true), replaced(serial, true)));
                }
                all.extend(naa(facts.names).map(|hex| format!("wwn-0x{hex}")));
            }
            _ => {
                all.extend(scsi_name(facts).map(|n| format!("scsi-{}", replaced(&n, true))));
                all.extend(naa(facts.names).map(|hex| format!("wwn-0x{hex}")));
            }
        }
        all.sort();
        all
    }
}

/// What a disk says about itself.
pub(super) struct Own<'a> {
    pub(super) transport: Transport,
    pub(super) is_ata: bool,
    pub(super) vendor: Option<&'a str>,
    pub(super) model: Option<&'a str>,
    pub(super) serial: Option<&'a str>,
    pub(super) nsid: Option<u32>,
    pub(super) names: &'a [Name],
}

/// The registered name: one of a volume goes before one that may be of the controller.
fn naa(names: &[Name]) -> Option<&str> {
    let all = || names.iter().filter_map(|n| if let Name::Naa(hex) = n { Some(hex.as_str()) } else { None });
    ["6", "5", ""].iter().find_map(|begin| all().find(|hex| hex.starts_with(begin)))
}

/// The name of a SCSI disk by its page 83h: a digit for the kind, and the name.
fn scsi_name(facts: &Own<'_>) -> Option<String> {
    if let Some(hex) = naa(facts.names) {
        return Some(format!("3{hex}"));
    }
    let find = |pick: fn(&Name) -> Option<&str>| facts.names.iter().find_map(pick);
    if let Some(hex) = find(|n| if let Name::Eui(hex) = n { Some(hex) } else { None }) {
        return Some(format!("2{hex}"));
    }
    if let Some(text) = find(|n| if let Name::T10(text) = n { Some(text) } else { None }) {
        return Some(format!("1{text}"));
    }
    let own = find(|n| if let Name::Vendor(text) = n { Some(text) } else { None })?;
    Some(format!("0{} {} {own}", facts.vendor.unwrap_or_default(), facts.model.unwrap_or_default()))
}

/// As udev makes names out of texts: what is not a letter, a digit or one of a few signs becomes `_`, runs of space
/// optionally one.
fn replaced(text: &str, joins_space: bool) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = if joins_space { words.join("_") } else { text.to_owned() };
    let is_allowed =
        |c: char| c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || (!c.is_ascii() && !c.is_control());
    text.chars().map(|c| if is_allowed(c) { c } else { '_' }).collect()
}

/// Orders names as people count: `ata-9` before `ata-10`, and PCI addresses as the hexadecimal numbers that they are.
pub(crate) fn natural(name: &str) -> Vec<(bool, u64, String)> {
    let mut parts = Vec::new();
    for piece in name.split_inclusive('-') {
        match pci_address(piece.trim_end_matches('-')) {
            Some(numbers) => parts.extend(numbers.map(|n| (false, n, String::new()))),
            None => count(piece, &mut parts),
        }
    }
    parts
}

/// Runs of digits as numbers, what lies between as text.
fn count(mut rest: &str, parts: &mut Vec<(bool, u64, String)>) {
    while !rest.is_empty() {
        let is_digit = rest.starts_with(|c: char| c.is_ascii_digit());
        let end = rest.find(|c: char| c.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        match part.parse::<u64>() {
            Ok(n) if is_digit => parts.push((false, n, part.to_owned())),
            _ => parts.push((true, 0, part.to_owned())),
        }
        rest = after;
    }
}

/// The numbers of `0000:1f:00.2`: domain, bus, device, function.
fn pci_address(text: &str) -> Option<[u64; 4]> {
    let (place, function) = text.split_once('.')?;
    let mut numbers = place.split(':').chain([function]).map(|n| u64::from_str_radix(n, 16).ok());
    let found = [numbers.next()??, numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_people_count() {
        let mut names =
            ["pci-0000:00:1f.2-ata-10", "pci-0000:00:1f.2-ata-9", "pci-0000:00:1f.2-ata-1.0", "pci-0000:00:04.0"];
        names.sort_by_key(|n| natural(n));
        assert_eq!(names[0], "pci-0000:00:04.0");
        assert_eq!(names[3], "pci-0000:00:1f.2-ata-10");
        assert!(natural("pci-0000:0a:00.0-nvme-1") > natural("pci-0000:09:00.0-nvme-1"));
        assert!(natural("nvme10n1") > natural("nvme9n1"));
    }

    #[test]
    fn texts_become_names() {
        assert_eq!(replaced("Dell Ent NVMe  v2", false), "Dell_Ent_NVMe__v2");
        assert_eq!(replaced(" DELL     PERC/H730 ", true), "DELL_PERC_H730");
    }
}
