//! What the inventory says of a machine.

use super::recorded::{MACHINES, Recorded, golden, inventory};
use libcv::layout::inventory::{Disk, How, Inventory, Transport};
use std::collections::BTreeSet;
use std::path::Path;

fn disk<'a>(inventory: &'a Inventory, name: &str) -> &'a Disk {
    inventory.disks.iter().find(|d| d.name == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn every_machine_is_what_is_expected() {
    for name in MACHINES {
        let inventory = inventory(name);
        let now = format!("{:#}\n", inventory.to_json());
        let path = golden("inventory").join(format!("{name}.json"));
        if std::env::var_os("LIBCV_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &now).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(now, expected, "{name}: LIBCV_BLESS=1 writes it anew");
        assert_eq!(Inventory::from_json(now.as_bytes()).unwrap(), inventory, "{name}");
    }
    let trees = std::fs::read_dir(golden("sysfs")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let trees: BTreeSet<String> = trees.filter_map(|n| n.strip_suffix(".tree").map(str::to_owned)).collect();
    assert_eq!(trees, MACHINES.iter().map(|m| (*m).to_owned()).collect());
}

/// What is expected fits the schema, which a program of others would go by.
#[test]
fn expectations_fit_the_schema() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/cv.inventory.v1.json");
    let mut schemas = boon::Schemas::new();
    let index = boon::Compiler::new().compile(schema.to_str().unwrap(), &mut schemas).unwrap();
    for name in MACHINES {
        let json = inventory(name).to_json();
        schemas.validate(&json, index).unwrap_or_else(|e| panic!("{name}: {e:#}"));
        let mut wrong = json.clone();
        wrong["disks"][0]["size"] = "big".into();
        assert!(schemas.validate(&wrong, index).is_err());
        assert!(Inventory::from_json(wrong.to_string().as_bytes()).is_err());
    }
}

/// Names are computed as udev makes them: the same machines without udev's database.
#[test]
fn names_are_those_of_udev() {
    let mut compared = 0;
    for name in MACHINES {
        let with = inventory(name);
        let without = Recorded::with(name, |path| !path.starts_with("run/udev")).inventory();
        for disk in with.disks.iter().filter(|d| !d.transport.is_virtual() && d.transport != Transport::Dm) {
            let computed = without.disks.iter().find(|d| d.name == disk.name).unwrap();
            // Of a map udev tells names of the device mapper as well.
            let by_id: Vec<&String> = disk.by_id.iter().filter(|n| !n.starts_with("dm-")).collect();
            assert_eq!(computed.by_id.iter().collect::<Vec<_>>(), by_id, "{name} {}", disk.name);
            assert_eq!(computed.by_path, disk.by_path, "{name} {}", disk.name);
            assert_eq!((&computed.serial, &computed.wwid), (&disk.serial, &disk.wwid), "{name} {}", disk.name);
            compared += by_id.len() + disk.by_path.len();
        }
    }
    assert!(compared > 35, "{compared}");
}

#[test]
fn a_root_on_raid_and_lvm_is_found_on_both_disks() {
    let inventory = inventory("md-lvm-root");
    for name in ["sda", "sdb"] {
        let disk = disk(&inventory, name);
        assert_eq!((disk.uses[0].how, disk.uses[0].device.as_str()), (How::Root, "dm-0"), "{:?}", disk.uses);
        let used: Vec<_> = disk.uses.iter().map(|u| (u.how, u.at.as_deref())).collect();
        assert!(used.contains(&(How::Mounted, Some("/boot"))) && used.contains(&(How::Mounted, Some("/var/log"))));
        assert!(used.contains(&(How::Swap, None)));
        assert_eq!(used.contains(&(How::Mounted, Some("/boot/efi"))), name == "sda");
        let names: Vec<_> = disk.holders.iter().map(|h| (h.kind.as_str(), h.label.as_deref())).collect();
        assert_eq!(names.len(), 5, "{names:?}");
        for wanted in [("md", "any:pv"), ("md", "any:boot"), ("lvm", "sys-root"), ("lvm", "sys-var--log")] {
            assert!(names.contains(&(wanted.0, Some(wanted.1))), "{wanted:?} in {names:?}");
        }
        // What lies below stands first.
        let at = |label: &str| names.iter().position(|n| n.1 == Some(label));
        assert!(at("any:pv") < at("sys-root"));
    }
    assert_eq!(inventory.machine.hostname.as_deref(), Some("n1"));
    assert_eq!(inventory.machine.memory, 65_800_000 << 10);
}

#[test]
fn paths_become_one_disk() {
    for (machine, map) in [("fc-multipath", Some("mpatha")), ("fc-without-map", None)] {
        let inventory = inventory(machine);
        let fc: Vec<&Disk> = inventory.disks.iter().filter(|d| d.transport == Transport::Fc).collect();
        assert_eq!(fc.len(), 1, "{machine}");
        let multipath = fc[0].multipath.as_ref().unwrap();
        assert_eq!(multipath.map.as_deref(), map);
        assert_eq!(multipath.paths.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["sdb", "sdc"]);
        assert_eq!(fc[0].node(), map.map_or("/dev/sdb".to_owned(), |m| format!("/dev/mapper/{m}")));
        assert!(
            fc[0].has_node("/dev/sdc")
                && fc[0].has_node("/dev/disk/by-path/pci-0000:00:08.1-fc-0x500a09818dd1f0a2-lun-1")
        );
        assert_eq!(inventory.disks.len(), 2, "{machine}: the paths and the map are no disks of their own");
    }
}

#[test]
fn the_medium_of_an_installer_is_known_by_its_loop_device() {
    let inventory = inventory("usb-installer");
    let stick = disk(&inventory, "sda");
    assert_eq!((stick.transport, stick.uses[0].how), (Transport::Usb, How::Medium), "{:?}", stick.uses);
    assert!(disk(&inventory, "nvme0n1").uses.is_empty());
}

#[test]
fn slots_and_transports() {
    let sas = inventory("sas-expander");
    assert_eq!(disk(&sas, "sdb").slots, ["enclosure/0x5003048020c0a83f/Slot 02", "bay/0x5003048020c0a83f/1", "pci/3"]);
    let of = |machine: &str, name: &str| disk(&inventory(machine), name).transport;
    assert_eq!(disk(&sas, "sda").transport, Transport::Sas);
    assert_eq!(of("raid-volumes", "sda"), Transport::Scsi);
    assert_eq!(of("virtio-vm", "sda"), Transport::Virtio);
    assert_eq!(of("virtio-vm", "vda"), Transport::Virtio);
    assert_eq!(of("sata-workstation", "sr0"), Transport::Optical);
}

/// A mount of btrfs names one of its devices; a name of LVM in `/dev` is no name of the kernel.
#[test]
fn what_a_mount_does_not_name_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for (name, number) in [("sda", "8:0"), ("sdb", "8:16"), ("sdc", "8:32")] {
        write(&format!("sys/block/{name}/dev"), number);
        write(&format!("sys/block/{name}/size"), "2048");
    }
    for name in ["sda", "sdb"] {
        write(&format!("sys/fs/btrfs/4f68bce3/devices/{name}"), "");
    }
    write("sys/block/sdc/holders/dm-0/dev", "253:0");
    write("sys/block/dm-0/dev", "253:0");
    write("sys/block/dm-0/dm/name", "a--b-c--d");
    write("sys/block/dm-0/dm/uuid", "LVM-x");
    let mounts = "30 1 0:40 / /srv rw - btrfs /dev/sda rw\n31 1 0:41 / /data rw - btrfs /dev/a-b/c-d rw\n";
    write("proc/self/mountinfo", mounts);
    write("proc/swaps", "Filename\tType\n/dev/mapper/a--b-c--d partition 1 0 -2\n");
    let inventory = Inventory::read(dir.path());
    let uses = |name: &str| disk(&inventory, name).uses.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(uses("sda"), ["sda is mounted at /srv"]);
    assert_eq!(uses("sdb"), ["sdb is mounted at /srv"]);
    assert_eq!(uses("sdc"), ["dm-0 is mounted at /data", "dm-0 is in use as swap"]);
    assert_eq!(disk(&inventory, "sdc").holders[0].kind, "lvm");
}

/// A tree of nonsense: nothing of it is a disk, and nothing panics.
#[test]
fn trees_of_nonsense_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    std::fs::create_dir_all(dir.path().join("sys/block")).unwrap();
    // A device that holds itself, sizes beyond 64 bits, a link that leads nowhere, one into itself.
    write("sys/devices/x/block/sda/dev", "8:0");
    write("sys/devices/x/block/sda/size", "18446744073709551615");
    write("sys/devices/x/block/sda/queue/logical_block_size", "-3");
    write("sys/devices/x/block/sda/holders/sda/dev", "8:0");
    write("sys/devices/x/block/sda/sda1/partition", "1");
    write("sys/devices/x/block/sda/sda1/dev", "8:1");
    write("sys/devices/x/block/sda/sda1/start", "9999999999999999999999");
    write("sys/devices/x/block/sda/sda1/holders/sda/dev", "8:0");
    std::os::unix::fs::symlink("../devices/x/block/sda", dir.path().join("sys/block/sda")).unwrap();
    std::os::unix::fs::symlink("../../../../../../etc", dir.path().join("sys/block/sdb")).unwrap();
    std::os::unix::fs::symlink("sdc", dir.path().join("sys/block/sdc")).unwrap();
    write("proc/self/mountinfo", "x\n1 2 8:0 / /a rw - ext4\n1 2 8:0 / /mnt\\777 rw - ext4 /dev/sda rw\n\u{0}");
    write("proc/swaps", "Filename\n\n/dev/\n/dev/sda\\\n");
    write("proc/meminfo", "MemTotal: 99999999999999999999 kB\n");
    write("run/udev/data/b8:0", "S\nE:\nE:=\nS:disk/by-id/\n");
    let inventory = Inventory::read(dir.path());
    let disks: Vec<_> = inventory.disks.iter().map(|d| (d.name.as_str(), d.size, d.logical_sector)).collect();
    assert_eq!(disks, [("sda", 0, 512)]);
    assert_eq!(inventory.machine.memory, 0);
    assert_eq!(Inventory::from_json(inventory.to_json().to_string().as_bytes()).unwrap(), inventory);
    assert_eq!(Inventory::read(Path::new("/nonexistent")).disks, []);
}

/// This machine, whatever it has: the reading ends, and comes back from JSON.
#[test]
fn this_machine_can_be_read() {
    let inventory = Inventory::read(Path::new("/"));
    assert!(inventory.machine.memory > 0 && inventory.machine.arch.is_some());
    let json = inventory.to_json().to_string();
    assert_eq!(Inventory::from_json(json.as_bytes()).unwrap(), inventory);
}
