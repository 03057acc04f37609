//! The initramfs of each kernel: kept where it is generic, made anew where it belongs to another machine.
//!
//! ```text
//! generic, and holds what the disks need ──> kept      what is the node's own comes in a second archive,
//! host-only, or without it, or missing   ──> made      named on the same line: [`NODE`]
//! not to be looked into (xz, lz4)        ──> made, where the image can; else kept with a warning
//! ```
//!
//! Making one is the dearest step of an installation (minutes in a slow guest), and the archive beside it costs nothing.
//! How one is told from the other:
//! - initramfs-tools copies its settings into `conf/`: `MODULES=most` is generic, `dep` and `list` are not.
//! - dracut notes its arguments in `lib/dracut/build-parameter.txt`, files of the host in `lib/dracut/hostonly-files`
//!   (`hostonly-kernel-modules.txt` in strict mode), and what it found on the host's disks in `etc/cmdline.d`.
//!
//! One is always made generic: the programs of the image see no disk, and would take this machine for the target.

use super::facts::BootFacts;
use super::kernels::Kernel;
use super::newc::{self, Listing};
use super::storage::{self, array_lines, crypttab_lines};
use super::system::{Maker, System};
use super::tree::Tree;
use crate::error::{Error, Result};
use crate::layout::diagnostic::Diagnostic;
use crate::sys::program::{Call, Program};
use std::collections::BTreeMap;
use std::time::Duration;

/// The archive of the node's own files, in `/boot`.
pub(super) const NODE: &str = "libcv-node.cpio";

/// What is to be done with an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It serves any machine, this one too.
    Keep,
    /// It does not serve this one; why.
    Make(String),
    /// Nothing is known of it: how it is compressed.
    Unknown(&'static str),
}

/// Keeps or makes the images of all kernels, and writes the archive of the node's own files; says whether there is one.
pub(super) fn settle(
    tree: &Tree,
    facts: &BootFacts,
    system: &System,
    kernels: &mut [Kernel],
    warnings: &mut Vec<Diagnostic>,
    stop: &dyn Fn() -> bool,
) -> Result<bool> {
    for kernel in kernels.iter_mut() {
        // A rescue image is generic by its purpose and large; nobody starts a node with it by default.
        if kernel.is_rescue() {
            continue;
        }
        let verdict = match &kernel.initrd {
            None if facts.is_stacked() || system.maker != Maker::None => Verdict::Make("there is none".to_owned()),
            // A kernel with everything built in starts without one.
            None => continue,
            Some(name) => match tree.read(&format!("boot/{name}"))? {
                Some(image) => look(&image, facts, &builtin(tree, &kernel.version)?),
                None => Verdict::Make("there is none".to_owned()),
            },
        };
        let name = || kernel.initrd.clone().unwrap_or_else(|| format!("of kernel {}", kernel.version));
        match verdict {
            Verdict::Keep => {}
            Verdict::Make(why) => {
                if let Some(made) = make(tree, system.maker, &kernel.version, stop)? {
                    kernel.initrd = Some(made);
                } else {
                    let text = format!("the initramfs {} is kept, although {why}", name());
                    let hint = "the image has neither dracut nor initramfs-tools to make another";
                    warnings.push(Diagnostic::warning("W512", "", text).hint(hint));
                }
            }
            Verdict::Unknown(compression) => {
                if let Some(made) = make(tree, system.maker, &kernel.version, stop)? {
                    kernel.initrd = Some(made);
                } else {
                    let text = format!("the initramfs {} is kept unseen: it is compressed with {compression}", name());
                    warnings.push(Diagnostic::warning("W512", "", text).hint("gzip and zstd can be looked into"));
                }
            }
        }
    }
    let own = own_files(facts, system.maker);
    let path = format!("boot/{NODE}");
    if own.is_empty() {
        tree.remove(&path)?;
        return Ok(false);
    }
    tree.write_mode(&path, &newc::write(&own), 0o600)?;
    Ok(true)
}

/// What a generic initramfs does not know of this node.
fn own_files(facts: &BootFacts, maker: Maker) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut files = BTreeMap::new();
    let mut add = |path: &str, text: String| {
        if !text.is_empty() && maker != Maker::None {
            files.insert(path.to_owned(), (0o644, text.into_bytes()));
        }
    };
    let tools = maker == Maker::InitramfsTools;
    // All arrays, not only those for the root: what an initramfs starts without its line is left degraded and inactive.
    add(if tools { "etc/mdadm/mdadm.conf" } else { "etc/mdadm.conf" }, array_lines(facts));
    let luks = facts.luks.iter().filter(|l| l.needed.root);
    add(if tools { "cryptroot/crypttab" } else { "etc/crypttab" }, crypttab_lines(luks, maker));
    files
}

/// Which files of an image are read.
fn is_telling(name: &str) -> bool {
    let within = |dir: &str| name.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
    name == "conf/initramfs.conf"
        || within("conf/conf.d")
        || within("etc/cmdline.d")
        || name.ends_with("lib/dracut/build-parameter.txt")
        || name.ends_with("lib/dracut/modules.txt")
}

/// What the image is good for.
pub(super) fn look(image: &[u8], facts: &BootFacts, builtin: &[String]) -> Verdict {
    let listing = match newc::read(image, &is_telling) {
        Ok(listing) => listing,
        Err(e) => return Verdict::Make(format!("it cannot be read ({e})")),
    };
    if let Some(compression) = listing.unreadable {
        return Verdict::Unknown(compression);
    }
    if let Some(why) = host_only(&listing) {
        return Verdict::Make(why);
    }
    match missing(&listing, facts, builtin).first() {
        Some(what) => Verdict::Make(format!("it has no {what}")),
        None => Verdict::Keep,
    }
}

/// Why an image serves only the machine that made it; `None` when it serves any.
fn host_only(listing: &Listing) -> Option<String> {
    let text = |name: &str| {
        let found = listing.names.get(name).and_then(Option::as_ref);
        found.map(|b| String::from_utf8_lossy(b).into_owned())
    };
    // initramfs-tools: the files of conf.d come after the first and overrule it.
    if listing.names.contains_key("conf/initramfs.conf") {
        let later = listing.names.keys().filter(|n| n.starts_with("conf/conf.d/")).map(String::as_str);
        let texts = ["conf/initramfs.conf"].into_iter().chain(later).filter_map(text);
        let values: Vec<String> = texts
            .flat_map(|t| {
                t.lines().filter_map(|l| Some(l.trim().strip_prefix("MODULES=")?.to_owned())).collect::<Vec<_>>()
            })
            .collect();
        let modules = values.last().map_or("most", |v| v.trim_matches(['"', '\'']));
        return (modules != "most").then(|| format!("it was made with MODULES={modules}"));
    }
    let arguments = ["usr/lib/dracut", "lib/dracut"].iter().find_map(|d| text(&format!("{d}/build-parameter.txt")));
    let arguments = arguments.unwrap_or_default();
    let mut words = arguments.split_whitespace().map(|w| w.trim_matches(['\'', '"']));
    let (mut host, mut generic) = (false, false);
    words.by_ref().for_each(|w| match w {
        "-N" | "--no-hostonly" => (host, generic) = (false, true),
        "-H" | "--hostonly" => (host, generic) = (true, false),
        _ => {}
    });
    let has = |end: &str| listing.names.keys().any(|n| n.ends_with(end));
    let of_the_host = has("lib/dracut/hostonly-files") || has("lib/dracut/hostonly-kernel-modules.txt");
    let bound = listing.names.iter().filter(|(n, _)| n.starts_with("etc/cmdline.d/")).any(|(_, content)| {
        let text = content.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        text.split_whitespace()
            .any(|w| ["root=", "rd.md.", "rd.lvm.", "rd.luks.", "resume="].iter().any(|p| w.starts_with(p)))
    });
    if bound {
        return Some("it names the disks of another machine".to_owned());
    }
    (host || (of_the_host && !generic)).then(|| "dracut made it for one machine only".to_owned())
}

/// What an image lacks to start the root of these disks: programs and modules of the kernel.
pub(super) fn missing(listing: &Listing, facts: &BootFacts, builtin: &[String]) -> Vec<&'static str> {
    let (raid, lvm, crypt) = storage::needs(facts);
    let program = |names: &[&str]| listing.names.keys().any(|n| names.contains(&n.rsplit('/').next().unwrap_or(n)));
    let module = |module: &str| {
        let is = |path: &str| {
            let file = path.rsplit('/').next().unwrap_or(path);
            file.split(".ko").next().is_some_and(|stem| file.len() > stem.len() && stem.replace('_', "-") == module)
        };
        listing.names.keys().any(|n| is(n)) || builtin.iter().any(|n| is(n))
    };
    let mut lacks = Vec::new();
    let mut want = |there: bool, what: &'static str| {
        if !there {
            lacks.push(what);
        }
    };
    if raid {
        want(program(&["mdadm"]), "mdadm");
        want(module("md-mod"), "module md-mod");
        let levels = facts.arrays.iter().filter(|a| a.needed.root).map(|a| a.level);
        let levels: std::collections::BTreeSet<u8> = levels.collect();
        for level in levels {
            match level {
                0 => want(module("raid0"), "module raid0"),
                1 => want(module("raid1"), "module raid1"),
                10 => want(module("raid10"), "module raid10"),
                _ => want(module("raid456"), "module raid456"),
            }
        }
    }
    if lvm {
        want(program(&["lvm"]), "lvm");
    }
    if crypt {
        want(program(&["cryptsetup", "systemd-cryptsetup"]), "cryptsetup");
        want(module("dm-crypt"), "module dm-crypt");
    }
    if lvm || crypt {
        want(module("dm-mod"), "module dm-mod");
    }
    lacks
}

/// Modules that are in the kernel itself.
pub(super) fn builtin(tree: &Tree, version: &str) -> Result<Vec<String>> {
    let text = tree.text(&format!("lib/modules/{version}/modules.builtin"))?.unwrap_or_default();
    Ok(text.lines().map(ToOwned::to_owned).collect())
}

/// Makes an image with the programs of the target; gives its name, or `None` when there is no program for it.
fn make(tree: &Tree, maker: Maker, version: &str, stop: &dyn Fn() -> bool) -> Result<Option<String>> {
    let root = tree.place();
    let fresh = "boot/libcv-initramfs.cv-new";
    let (name, call) = match maker {
        Maker::Dracut if Program::Dracut.find_in(root).is_ok() => {
            let name = format!("initramfs-{version}.img");
            let call = Call::new(Program::Dracut).args(["--force", "--no-hostonly", "--no-hostonly-cmdline"]);
            (name, call.arg(format!("/{fresh}")).arg(version))
        }
        Maker::InitramfsTools if Program::Mkinitramfs.find_in(root).is_ok() => {
            // The image that the system makes by itself later shall serve as well.
            let settings = format!("{}MODULES=most\n", super::script::HEAD);
            tree.write("etc/initramfs-tools/conf.d/zz-libcv", settings.as_bytes())?;
            let name = format!("initrd.img-{version}");
            (name, Call::new(Program::Mkinitramfs).args(["-o", &format!("/{fresh}"), version]))
        }
        _ => return Ok(None),
    };
    // It comes under another name: a cut in the middle leaves the old one.
    call.limit(Duration::from_secs(1800)).in_root(root).run(stop)?;
    let image = tree.take(fresh)?.ok_or_else(|| Error::integrity("no initramfs was made").fact("kernel", version))?;
    tree.write_mode(&format!("boot/{name}"), &image, 0o600)?;
    Ok(Some(name))
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::plain;
    use super::super::facts::{Array, Luks, Needed, Unlock, Volume};
    use super::*;
    use uuid::Uuid;

    fn image(files: &[(&str, &str)]) -> Vec<u8> {
        let files = files.iter().map(|(n, c)| ((*n).to_owned(), (0o644, c.as_bytes().to_vec()))).collect();
        zstd::encode_all(&newc::write(&files)[..], 1).unwrap()
    }

    fn stacked() -> BootFacts {
        let needed = Needed { boot: false, root: true };
        BootFacts {
            arrays: vec![Array { name: "pv".into(), uuid: Uuid::nil(), metadata: "1.2".into(), level: 1, needed }],
            volumes: vec![Volume { group: "sys".into(), name: "root".into(), needed }],
            luks: vec![Luks {
                name: "c".into(),
                uuid: Uuid::nil(),
                version: 2,
                unlock: Unlock::Ask,
                options: Vec::new(),
                needed,
            }],
            ..plain()
        }
    }

    #[test]
    fn generic_images_are_told_from_host_only_ones() {
        let conf = "conf/initramfs.conf";
        let why = |files: &[(&str, &str)]| look(&image(files), &plain(), &[]);
        assert_eq!(why(&[(conf, "#\nMODULES=most\n")]), Verdict::Keep);
        assert_eq!(why(&[(conf, "MODULES=dep\n")]), Verdict::Make("it was made with MODULES=dep".into()));
        // The later file overrules.
        assert_eq!(why(&[(conf, "MODULES=dep\n"), ("conf/conf.d/x", "MODULES=\"most\"\n")]), Verdict::Keep);
        assert!(matches!(why(&[(conf, "MODULES=most\n"), ("conf/conf.d/x", "MODULES=list")]), Verdict::Make(_)));
        let parameter = "usr/lib/dracut/build-parameter.txt";
        assert_eq!(why(&[(parameter, " '-f' '--no-hostonly'")]), Verdict::Keep);
        assert_eq!(why(&[(parameter, "")]), Verdict::Keep);
        assert!(matches!(why(&[(parameter, "-f -H")]), Verdict::Make(_)));
        let host = ("usr/lib/dracut/hostonly-files", "etc/fstab\n");
        assert!(matches!(why(&[(parameter, "-f"), host]), Verdict::Make(_)));
        assert_eq!(why(&[(parameter, "-f -N"), host]), Verdict::Keep);
        let bound = ("etc/cmdline.d/90mdraid.conf", " rd.md.uuid=1:2:3:4 ");
        assert!(matches!(why(&[(parameter, "-N"), bound]), Verdict::Make(_)));
        assert!(matches!(look(b"nothing", &plain(), &[]), Verdict::Make(_)));
        assert_eq!(look(&[0xfd, b'7', b'z', b'X', b'Z', 0], &plain(), &[]), Verdict::Unknown("xz"));
    }

    #[test]
    fn an_image_must_hold_what_the_disks_need() {
        let full = [
            ("conf/initramfs.conf", ""),
            ("usr/sbin/mdadm", ""),
            ("usr/sbin/lvm", ""),
            ("usr/sbin/cryptsetup", ""),
            ("usr/lib/modules/6.1/kernel/drivers/md/raid1.ko.xz", ""),
            ("usr/lib/modules/6.1/kernel/drivers/md/md-mod.ko", ""),
            ("usr/lib/modules/6.1/kernel/drivers/md/dm_crypt.ko.zst", ""),
        ];
        let builtin = ["kernel/drivers/md/dm-mod.ko".to_owned()];
        assert_eq!(look(&image(&full), &stacked(), &builtin), Verdict::Keep);
        assert_eq!(look(&image(&full), &stacked(), &[]), Verdict::Make("it has no module dm-mod".into()));
        for left_out in 1..full.len() {
            let some: Vec<_> = full.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, f)| *f).collect();
            assert!(matches!(look(&image(&some), &stacked(), &builtin), Verdict::Make(_)), "{left_out}");
            assert_eq!(look(&image(&some), &plain(), &builtin), Verdict::Keep);
        }
    }

    #[test]
    fn the_node_s_own_files_are_at_their_places() {
        let names = |maker| own_files(&stacked(), maker).into_keys().collect::<Vec<_>>();
        assert_eq!(names(Maker::InitramfsTools), ["cryptroot/crypttab", "etc/mdadm/mdadm.conf"]);
        assert_eq!(names(Maker::Dracut), ["etc/crypttab", "etc/mdadm.conf"]);
        assert!(own_files(&plain(), Maker::Dracut).is_empty());
    }
}
