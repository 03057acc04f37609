//! What libcv leaves in the installed system, so that it stays able to start: ESPs in step, and the node's own archive.
//!
//! ```text
//! cv-esp-sync.path ──> cv-esp-sync.service ──> /usr/lib/libcv/cv-esp-sync <── hooks of kernel packages
//! zy-cv-node-initrd (Debian) appends the archive before update-grub forgets it
//! ```
//!
//! The path unit sees what packages of shim and GRUB write; the hooks serve loaders that have kernels on the ESP.

use super::facts::BootFacts;
use super::initramfs::NODE;
use super::script::HEAD;
use super::system::{Family, Maker, System};
use super::tree::Tree;
use crate::error::Result;
use std::fmt::Write as _;

const SCRIPT: &str = include_str!("cv-esp-sync.sh");
const NODE_SCRIPT: &str = include_str!("cv-node-initrd.sh");
const PROGRAM: &str = "usr/lib/libcv/cv-esp-sync";
const CONF: &str = "etc/cv-esp-sync.conf";
const UNITS: &str = "etc/systemd/system";

/// Installs the units where there are several ESPs, and takes them away where there are not.
pub(super) fn install(tree: &Tree, facts: &BootFacts, system: &System, directories: &[String]) -> Result<()> {
    let hooks: &[&str] = match (system.family, system.maker) {
        (Family::Debian, _) => &[
            "etc/kernel/postinst.d/zz-cv-esp-sync",
            "etc/kernel/postrm.d/zz-cv-esp-sync",
            "etc/initramfs/post-update.d/cv-esp-sync",
        ],
        (_, Maker::Dracut) => &["etc/kernel/install.d/98-cv-esp-sync.install"],
        _ => &[],
    };
    let path_link = format!("{UNITS}/multi-user.target.wants/cv-esp-sync.path");
    let service_link = format!("{UNITS}/multi-user.target.wants/cv-esp-sync.service");
    let at = facts.esps.first().and_then(|e| e.at.as_deref()).filter(|_| facts.esps.len() > 1);
    let Some(at) = at else {
        for path in [PROGRAM, CONF, &path_link, &service_link].into_iter().chain(hooks.iter().copied()) {
            tree.remove(path)?;
        }
        for unit in ["service", "path"] {
            tree.remove(&format!("{UNITS}/cv-esp-sync.{unit}"))?;
        }
        return Ok(());
    };
    tree.write_mode(PROGRAM, SCRIPT.as_bytes(), 0o755)?;
    let mut conf = format!("{HEAD}mount {at}\n");
    facts.esps.iter().for_each(|e| {
        let _ = writeln!(conf, "partition {}", e.partition);
    });
    tree.write(CONF, conf.as_bytes())?;
    let about = "Description=Keep the EFI system partitions alike";
    let service = format!(
        "{HEAD}[Unit]\n{about}\nConditionPathIsMountPoint={at}\nAfter=local-fs.target\n\n[Service]\nType=oneshot\n\
         ExecStart=/{PROGRAM}\n\n[Install]\nWantedBy=multi-user.target\n"
    );
    tree.write(&format!("{UNITS}/cv-esp-sync.service"), service.as_bytes())?;
    let mut path = format!("{HEAD}[Unit]\n{about}\nConditionPathIsMountPoint={at}\nAfter=local-fs.target\n\n[Path]\n");
    // A watch sees one directory, and not those below it.
    directories.iter().for_each(|d| {
        let _ = writeln!(path, "PathChanged={at}/{d}");
    });
    path.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    tree.write(&format!("{UNITS}/cv-esp-sync.path"), path.as_bytes())?;
    tree.symlink(&path_link, "../cv-esp-sync.path")?;
    tree.symlink(&service_link, "../cv-esp-sync.service")?;
    for hook in hooks {
        let text = format!("#!/bin/sh\n{HEAD}exec /{PROGRAM}\n");
        tree.write_mode(hook, text.as_bytes(), 0o755)?;
    }
    Ok(())
}

/// Installs the hook that keeps the node's own archive with every initramfs, where a menu is made anew without it.
pub(super) fn install_node_hook(tree: &Tree, system: &System, node: bool) -> Result<()> {
    const HOOK: &str = "etc/kernel/postinst.d/zy-cv-node-initrd";
    if !node || system.family != Family::Debian || system.maker != Maker::InitramfsTools {
        return tree.remove(HOOK).map(drop);
    }
    debug_assert!(NODE_SCRIPT.contains(NODE));
    tree.write_mode(HOOK, NODE_SCRIPT.as_bytes(), 0o755).map(drop)
}
