//! Trees as the packages of distributions lay them out, small: the names are theirs, programs of firmware are texts that
//! begin with `MZ`, and programs that would run in a chroot are scripts that note how they were called.
//!
//! Debian: `dpkg -c` of shim-signed 1.51, shim-helpers-amd64-signed, shim-unsigned 16.1, grub-efi-amd64-signed and
//! grub-efi-amd64-bin 2.06, systemd-boot-efi 252 in bookworm. Ubuntu: shim-signed 1.51 (jammy), 1.58 (noble), where
//! `shimx64.efi.signed` is an alternative. Enterprise Linux: shim-x64 15, grub2-efi-x64 2.02 (8) and 2.06 (9), Rocky.

use libcv::layout::apply::bootloader::{Array, BootFacts, BootPlace, Esp, Luks, Needed, UefiLoader, Unlock, Volume};
use libcv::layout::spec::{Firmware, FsType, SecureBoot};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

pub(crate) const BOOT: &str = "aaaaaaaa-0000-4000-8000-000000000001";
pub(crate) const ROOT: &str = "aaaaaaaa-0000-4000-8000-000000000002";
pub(crate) const ID: &str = "00112233445566778899aabbccddeeff";
/// The machine that was captured.
pub(crate) const OLD: &str = "dddddddddddddddddddddddddddddddd";

/// Scripts that the library installs as they are.
const SCRIPTS: [(&str, &str); 2] = [
    ("cv-esp-sync.sh", include_str!("../../src/layout/apply/bootloader/cv-esp-sync.sh")),
    ("cv-node-initrd.sh", include_str!("../../src/layout/apply/bootloader/cv-node-initrd.sh")),
];

/// A target root and its ESPs, in a temporary directory.
pub(crate) struct Fixture {
    dir: tempfile::TempDir,
    /// What was there first: path and content, of target and ESPs.
    pub(crate) before: BTreeMap<String, Vec<u8>>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["target", "target/boot", "target/boot/efi", "esp2"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir, before: BTreeMap::new() }
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.dir.path().join("target")
    }

    pub(crate) fn esp2(&self) -> PathBuf {
        self.dir.path().join("esp2")
    }

    pub(crate) fn put(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.target().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn program(&self, path: &str, script: &str) -> &Self {
        self.put(path, script);
        std::fs::set_permissions(self.target().join(path), PermissionsExt::from_mode(0o755)).unwrap();
        self
    }

    pub(crate) fn link(&self, path: &str, target: &str) -> &Self {
        let path = self.target().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
        self
    }

    /// Takes note of what is there now: [`Fixture::dump`] tells what was done to it.
    pub(crate) fn begin(mut self) -> Self {
        self.before = self.files();
        self
    }

    /// Every file and link of target and ESPs.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::new();
        walk(self.dir.path(), self.dir.path(), &mut all);
        all
    }

    /// What changed since [`Fixture::begin`], file by file, as text.
    pub(crate) fn dump(&self) -> String {
        let mut out = String::new();
        let now = self.files();
        for path in self.before.keys().filter(|p| !now.contains_key(*p)) {
            out.push_str(&format!("==== - {path}\n"));
        }
        for (path, content) in now.iter().filter(|(p, c)| self.before.get(*p) != Some(c)) {
            let full = self.dir.path().join(path);
            let meta = std::fs::symlink_metadata(&full).unwrap();
            if meta.is_symlink() {
                out.push_str(&format!("==== {path} -> {}\n", String::from_utf8_lossy(content)));
                continue;
            }
            out.push_str(&format!("==== {path} {:o}\n", meta.permissions().mode() & 0o7777));
            let twin = self.before.iter().find(|(_, c)| *c == content && c.len() > 8);
            match (twin, readable(content)) {
                (Some((of, _)), _) => out.push_str(&format!("copy of {of}\n")),
                (None, text) => out.push_str(&text),
            }
        }
        out
    }
}

/// The content for people: archives as lists, the rest of an environment block as a count, scripts of ours by name.
fn readable(content: &[u8]) -> String {
    if content.starts_with(b"070701") {
        return entries(content).into_iter().map(|(name, text)| format!("[{name}]\n{text}")).collect();
    }
    if content.starts_with(&[0xff, 0xfe]) {
        let units: Vec<u16> = content.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
        return format!("UTF-16: {}", String::from_utf16(&units[1..]).unwrap());
    }
    let text = String::from_utf8_lossy(content).into_owned();
    if let Some((name, _)) = SCRIPTS.iter().find(|(_, script)| *script == text) {
        return format!("the text of {name}\n");
    }
    let trimmed = text.trim_end_matches('#');
    let rest = text.len() - trimmed.len();
    let rest = if rest > 0 { format!("#*{rest}\n") } else { String::new() };
    format!("{trimmed}{rest}{}", if text.ends_with('\n') || !rest.is_empty() { "" } else { "\n" })
}

fn walk(top: &Path, dir: &Path, all: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
        if meta.is_dir() {
            walk(top, &path, all);
        } else if meta.is_symlink() {
            all.insert(name, std::fs::read_link(&path).unwrap().to_str().unwrap().into());
        } else {
            all.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

/// A `newc` archive, written here so that the one of the library is not tested with itself.
pub(crate) fn cpio(files: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in files.iter().chain([&("TRAILER!!!", "")]) {
        let size = content.len();
        let _ = write!(
            out,
            "070701{:08X}{:08X}{:032X}{size:08X}{:032X}{:08X}{:08X}",
            1,
            0o100_644,
            0,
            0,
            name.len() + 1,
            0
        );
        out.extend(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(content.as_bytes());
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

fn entries(mut archive: &[u8]) -> Vec<(String, String)> {
    let mut list = Vec::new();
    loop {
        let number = |i: usize| {
            usize::from_str_radix(std::str::from_utf8(&archive[6 + i * 8..14 + i * 8]).unwrap(), 16).unwrap()
        };
        let (mode, size, named) = (number(1), number(6), number(11));
        let name = String::from_utf8(archive[110..110 + named - 1].to_vec()).unwrap();
        let at = (110 + named).next_multiple_of(4);
        let text = String::from_utf8(archive[at..at + size].to_vec()).unwrap();
        archive = &archive[(at + size).next_multiple_of(4)..];
        if name == "TRAILER!!!" {
            return list;
        }
        list.push((format!("{name} {mode:o}"), text));
    }
}

const MODULES: [&str; 5] = ["raid1.ko.xz", "md-mod.ko.xz", "dm-mod.ko.xz", "dm-crypt.ko.xz", "raid10.ko.xz"];

/// An initramfs of dracut with mdraid, lvm and crypt; with microcode in front, compressed with gzip.
pub(crate) fn dracut_image(arguments: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let modules = MODULES.map(|m| format!("usr/lib/modules/K/kernel/drivers/md/{m}"));
    let mut files: Vec<(&str, &str)> = vec![
        ("usr/lib/dracut/build-parameter.txt", arguments),
        ("usr/sbin/mdadm", "elf"),
        ("usr/sbin/lvm", "elf"),
        ("usr/lib/systemd/systemd-cryptsetup", "elf"),
    ];
    files.extend(modules.iter().map(|m| (m.as_str(), "elf")));
    files.extend(more);
    let mut image = cpio(&[("early_cpio", "1"), ("kernel/x86/microcode/GenuineIntel.bin", "m")]);
    image.resize(image.len().next_multiple_of(512), 0);
    let mut packed = flate2::write::GzEncoder::new(image, flate2::Compression::fast());
    packed.write_all(&cpio(&files)).unwrap();
    packed.finish().unwrap()
}

/// An initramfs of initramfs-tools with mdadm, lvm2 and cryptsetup, compressed with zstd.
pub(crate) fn debian_image(modules: &str) -> Vec<u8> {
    let drivers = MODULES.map(|m| format!("usr/lib/modules/K/kernel/drivers/md/{m}"));
    let conf = format!("# initramfs.conf\nMODULES={modules}\nBUSYBOX=auto\n");
    let mut files: Vec<(&str, &str)> =
        vec![("conf/initramfs.conf", &conf), ("sbin/mdadm", "elf"), ("sbin/lvm", "elf"), ("sbin/cryptsetup", "elf")];
    files.extend(drivers.iter().map(|m| (m.as_str(), "elf")));
    zstd::encode_all(&cpio(&files)[..], 1).unwrap()
}

/// Rocky Linux as it was captured from another machine, with its ESP.
pub(crate) fn rocky(version: u8) -> Fixture {
    let f = Fixture::new();
    let (release, kernel) = match version {
        8 => ("8.10 (Green Obsidian)", "4.18.0-553.el8_10.x86_64"),
        _ => ("9.4 (Blue Onyx)", "5.14.0-427.13.1.el9_4.x86_64"),
    };
    let number = release.split(' ').next().unwrap();
    f.put(
        "etc/os-release",
        format!(
            "NAME=\"Rocky Linux\"\nVERSION=\"{release}\"\nID=\"rocky\"\nVERSION_ID=\"{number}\"\nPRETTY_NAME=\"Rocky Linux {release}\"\n"
        ),
    );
    f.put("etc/redhat-release", format!("Rocky Linux release {release}\n"));
    f.put("usr/lib/kernel/install.d/20-grub.install", "#!/bin/bash\n");
    f.put("usr/sbin/grub2-mkconfig", "");
    f.put("usr/lib/dracut/dracut-functions.sh", "");
    f.put("etc/machine-id", "");
    f.put("etc/default/grub", "GRUB_TIMEOUT=5\nGRUB_DEFAULT=saved\nGRUB_CMDLINE_LINUX=\"crashkernel=auto resume=/dev/mapper/rl-swap rd.lvm.lv=rl/root\"\nGRUB_ENABLE_BLSCFG=true\n");
    f.put("etc/lvm/devices/system.devices", "IDTYPE=sys_wwid IDNAME=naa.1 DEVNAME=/dev/sda3 PVID=x PART=3\n");
    f.put(&format!("boot/vmlinuz-{kernel}"), "MZ kernel");
    f.put(&format!("boot/initramfs-{kernel}.img"), dracut_image(" --no-hostonly -f", &[]));
    f.put(&format!("boot/vmlinuz-0-rescue-{OLD}"), "MZ kernel for emergencies");
    f.put(&format!("boot/initramfs-0-rescue-{OLD}.img"), dracut_image(" -N -f rescue", &[]));
    f.put(&format!("boot/loader/entries/{OLD}-{kernel}.conf"), "title of the captured machine\n");
    f.put("boot/efi/EFI/BOOT/BOOTX64.EFI", "MZ shim of Rocky");
    f.put("boot/efi/EFI/BOOT/fbx64.efi", "MZ fallback of Rocky");
    let vendor = "boot/efi/EFI/rocky";
    for (name, text) in
        [("shimx64.efi", "MZ shim of Rocky"), ("shimx64-rocky.efi", "MZ shim of Rocky"), ("mmx64.efi", "MZ mok")]
    {
        f.put(&format!("{vendor}/{name}"), text);
    }
    f.put(&format!("{vendor}/grubx64.efi"), "MZ grub of Rocky /EFI/rocky\0 --root-dev-only");
    f.put(&format!("{vendor}/BOOTX64.CSV"), "csv of the packages");
    if version == 8 {
        f.link("etc/grub2-efi.cfg", "../boot/efi/EFI/rocky/grub.cfg");
        f.put(&format!("{vendor}/fonts/unicode.pf2"), "font");
        f.put(&format!("{vendor}/grubenv"), "# GRUB Environment Block\nkernelopts=root=/dev/mapper/rl-root\n");
        f.link("boot/grub2/grubenv", "../efi/EFI/rocky/grubenv");
    } else {
        f.link("etc/grub2-efi.cfg", "../boot/grub2/grub.cfg");
        f.put("usr/bin/gen_grub_cfgstub", "#!/bin/sh\n");
        f.put("etc/kernel/cmdline", "root=/dev/mapper/rl-root ro\n");
    }
    f
}

/// Debian 12 with `extra` files of the loader's packages, whose initramfs was made with `MODULES=` that.
fn deb(release: &str, modules: &str, kernel: &str) -> Fixture {
    let f = Fixture::new();
    f.put("etc/os-release", release).put("etc/debian_version", "x\n").put("etc/machine-id", "");
    f.put("etc/initramfs-tools/initramfs.conf", format!("MODULES={modules}\n"));
    f.put("usr/share/initramfs-tools/hook-functions", "");
    f.put("etc/default/grub", "GRUB_DEFAULT=0\n").put("etc/default/grub.d/.keep", "");
    f.put(&format!("boot/vmlinuz-{kernel}"), "MZ kernel")
        .put(&format!("boot/initrd.img-{kernel}"), debian_image(modules));
    f
}

fn efi_modules(f: &Fixture) {
    for name in ["ext2.mod", "mdraid1x.mod", "command.lst", "moddep.lst"] {
        f.put(&format!("usr/lib/grub/x86_64-efi/{name}"), format!("module {name}"));
    }
    f.put("usr/lib/grub/x86_64-efi/kernel.img", "not copied");
}

pub(crate) fn debian12() -> Fixture {
    let f = deb(
        "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nID=debian\n",
        "most",
        "6.1.0-30-amd64",
    );
    efi_modules(&f);
    f.put("usr/lib/shim/shimx64.efi.signed", "MZ shim of Debian").put("usr/lib/shim/shimx64.efi", "MZ not signed");
    f.put("usr/lib/shim/mmx64.efi.signed", "MZ mok of Debian").put("usr/lib/shim/fbx64.efi.signed", "MZ fb of Debian");
    f.put("usr/lib/shim/BOOTX64.CSV", "csv of Debian");
    f.put("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "MZ grub of Debian\0\0/EFI/debian\0\0");
    f.put("usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed", "MZ for CDs");
    f.put("etc/mdadm/mdadm.conf", "HOMEHOST <system>\nMAILADDR admin\nARRAY /dev/md/0 UUID=1:2:3:4 name=old:0\n");
    f
}

pub(crate) fn ubuntu(version: &str) -> Fixture {
    let (name, kernel) = match version {
        "22.04" => ("22.04.5 LTS (Jammy Jellyfish)", "5.15.0-130-generic"),
        _ => ("24.04.1 LTS (Noble Numbat)", "6.8.0-51-generic"),
    };
    let short = name.split(" (").next().unwrap();
    let f = deb(
        &format!(
            "PRETTY_NAME=\"Ubuntu {short}\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"{version}\"\nVERSION=\"{name}\"\nID=ubuntu\nID_LIKE=debian\n"
        ),
        "most",
        kernel,
    );
    efi_modules(&f);
    f.put("usr/lib/shim/shimx64.efi.signed.latest", "MZ shim of Ubuntu")
        .put("usr/lib/shim/shimx64.efi.signed.previous", "MZ old shim");
    if version == "22.04" {
        f.put("usr/lib/shim/shimx64.efi.dualsigned", "MZ shim with two signatures");
    }
    f.link("etc/alternatives/shimx64.efi.signed", "/usr/lib/shim/shimx64.efi.signed.latest");
    f.link("usr/lib/shim/shimx64.efi.signed", "/etc/alternatives/shimx64.efi.signed");
    f.put("usr/lib/shim/mmx64.efi", "MZ mok of Ubuntu").put("usr/lib/shim/fbx64.efi", "MZ fb of Ubuntu");
    f.put("usr/lib/shim/BOOTX64.CSV", "csv of Ubuntu");
    f.put("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "MZ grub of Ubuntu\0\0/EFI/ubuntu\0\0");
    f
}

/// Debian 12 for BIOS, whose initramfs was made for the machine that was captured.
pub(crate) fn debian12_bios() -> Fixture {
    let f = deb("NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n", "dep", "6.1.0-30-amd64");
    with_shell(&f);
    f.put("usr/lib/grub/i386-pc/boot.img", vec![7; 512]);
    for name in ["luks.mod", "lvm.mod", "ext2.mod", "moddep.lst"] {
        f.put(&format!("usr/lib/grub/i386-pc/{name}"), format!("module {name}"));
    }
    f.program("usr/bin/grub-mkimage", &recording("--output", &"core ".repeat(200)));
    f.program("usr/sbin/mkinitramfs", &maker(2)).put("generic.img", debian_image("most"));
    f.put("etc/cryptsetup-initramfs/conf-hook", "#CRYPTSETUP=\nASKPASS=y\n");
    f.put("etc/initramfs-tools/conf.d/resume", "RESUME=UUID=of-another-machine\n");
    f.put("etc/crypttab", "# <target> <source>\nold UUID=1 none luks\ntmp /dev/urandom none\n");
    f
}

/// Debian without a signed loader: modules only, as in an image without Secure Boot.
pub(crate) fn debian_unsigned() -> Fixture {
    let f =
        deb("NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n", "most", "6.1.0-30-amd64");
    efi_modules(&f);
    f
}

/// A Debian that has systemd-boot and no GRUB.
pub(crate) fn systemd_boot() -> Fixture {
    let f = deb(
        "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\n",
        "most",
        "6.12.9-amd64",
    );
    f.put("usr/lib/systemd/boot/efi/systemd-bootx64.efi", "MZ systemd-boot");
    f
}

/// Gives a target a shell and `cp`, so that scripts run in it as its programs.
pub(crate) fn with_shell(f: &Fixture) {
    for program in ["/bin/sh", "/bin/cp"] {
        let list = std::process::Command::new("ldd").arg(program).output().unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        for path in list.split_whitespace().filter(|w| w.starts_with('/')).chain([program]) {
            f.put(&path[1..], std::fs::read(path).unwrap());
            std::fs::set_permissions(f.target().join(&path[1..]), PermissionsExt::from_mode(0o755)).unwrap();
        }
    }
}

/// A program that makes an initramfs: it notes how it was called and copies `/generic.img` to argument `number`.
pub(crate) fn maker(number: u8) -> String {
    format!("#!/bin/sh\necho \"${{0##*/}} $*\" >> /CALLED\n/bin/cp /generic.img \"${number}\"\n")
}

/// A program that notes its arguments in `/CALLED` and writes `content` to the file that is named after `option`.
pub(crate) fn recording(option: &str, content: &str) -> String {
    format!(
        "#!/bin/sh\necho \"${{0##*/}} $*\" >> /CALLED\nwhile [ $# -gt 0 ]; do\n  case $1 in {option}) out=$2 ;; esac\n  shift\ndone\nprintf '{content}' > \"$out\"\n"
    )
}

fn needed(boot: bool, root: bool) -> Needed {
    Needed { boot, root }
}

/// One disk under UEFI, `/boot` on a filesystem of its own.
pub(crate) fn one_disk(f: &Fixture) -> BootFacts {
    BootFacts {
        firmwares: vec![Firmware::Uefi],
        loader: UefiLoader::Auto,
        root: format!("UUID={ROOT}"),
        root_uuid: ROOT.to_owned(),
        root_subvolume: None,
        words: ["console=tty0", "console=ttyS0,115200n8"].map(String::from).into(),
        boot: BootPlace { uuid: BOOT.to_owned(), kind: FsType::Ext4, path: String::new() },
        arrays: Vec::new(),
        luks: Vec::new(),
        volumes: Vec::new(),
        resume: None,
        esps: vec![Esp {
            directory: f.target().join("boot/efi"),
            at: Some("/boot/efi".to_owned()),
            partition: Uuid::parse_str("eeeeeeee-0000-4000-8000-000000000001").unwrap(),
            number: 2,
            disk: "/dev/nvme0n1".into(),
            by_id: Some("nvme-X_1".to_owned()),
        }],
        esp_members: Vec::new(),
        secure_boot: SecureBoot::Auto,
        removable_fallback: true,
        update_nvram: true,
        bios_disks: vec!["nvme-X_1".to_owned()],
        machine_id: ID.to_owned(),
    }
}

/// Two disks: /boot on RAID1, root on LVM on RAID1, an ESP on each.
pub(crate) fn mirrored(f: &Fixture) -> BootFacts {
    let one = one_disk(f);
    let array = |name: &str, n: u8, metadata: &str, needed| Array {
        name: name.to_owned(),
        uuid: Uuid::from_bytes([n; 16]),
        metadata: metadata.to_owned(),
        level: 1,
        needed,
    };
    let second = Esp {
        directory: f.esp2(),
        at: None,
        partition: Uuid::parse_str("eeeeeeee-0000-4000-8000-000000000002").unwrap(),
        disk: "/dev/nvme1n1".into(),
        by_id: Some("nvme-X_2".to_owned()),
        ..one.esps[0].clone()
    };
    BootFacts {
        root: "/dev/mapper/sys-root".to_owned(),
        arrays: vec![array("boot", 0xb0, "1.0", needed(true, false)), array("pv", 0x12, "1.2", needed(false, true))],
        volumes: vec![Volume { group: "sys".to_owned(), name: "root".to_owned(), needed: needed(false, true) }],
        esps: vec![one.esps[0].clone(), second],
        ..one
    }
}

/// One disk with BIOS: everything in one filesystem on LVM on LUKS1, which GRUB has to open.
pub(crate) fn all_in_luks(f: &Fixture) -> BootFacts {
    let uuid = Uuid::parse_str("cccccccc-0000-4000-8000-000000000001").unwrap();
    let needed = needed(true, true);
    BootFacts {
        firmwares: vec![Firmware::Bios],
        root: "/dev/mapper/sys-root".to_owned(),
        boot: BootPlace { uuid: ROOT.to_owned(), kind: FsType::Ext4, path: "/boot".to_owned() },
        luks: vec![Luks {
            name: "crypt".to_owned(),
            uuid,
            version: 1,
            unlock: Unlock::Ask,
            options: Vec::new(),
            needed,
        }],
        volumes: vec![Volume { group: "sys".to_owned(), name: "root".to_owned(), needed }],
        esps: Vec::new(),
        ..one_disk(f)
    }
}

/// One disk, root on LUKS2 that the TPM opens, and a swap to resume from.
pub(crate) fn encrypted(f: &Fixture) -> BootFacts {
    let uuid = Uuid::parse_str("cccccccc-0000-4000-8000-000000000001").unwrap();
    let luks = Luks {
        name: format!("luks-{uuid}"),
        uuid,
        version: 2,
        unlock: Unlock::Tpm2,
        options: ["discard", "tries=3"].map(String::from).into(),
        needed: needed(false, true),
    };
    BootFacts { luks: vec![luks], resume: Some(format!("UUID={BOOT}")), ..one_disk(f) }
}
