//! Where packages of GRUB on Debian and Ubuntu install it again when they are upgraded: answers in the database of debconf.
//!
//! An image carries those of the machine that was captured; with them an upgrade would fail, or leave modules and core of
//! two versions. `debconf-set-selections` of the image writes the database, in a chroot. Questions: the templates of
//! grub-pc and grub-efi-amd64; disks by their names in `/dev/disk/by-id`, ESPs as partitions of these.

use super::facts::{BootFacts, Esp};
use super::system::{Family, System};
use super::tree::Tree;
use crate::error::Result;
use crate::layout::diagnostic::Diagnostic;
use crate::layout::spec::Firmware;
use crate::sys::program::{Call, Program};
use std::time::Duration;

const DATABASE: &str = "var/cache/debconf/config.dat";
/// Installs into several ESPs; Ubuntu has it.
const MULTI: &str = "usr/lib/grub/grub-multi-install";

/// An answer to a question of a package.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    package: &'static str,
    question: &'static str,
    kind: &'static str,
    value: String,
}

/// Answers what the packages of the target will ask; that it did not work is a warning.
pub(super) fn answer(
    tree: &Tree,
    facts: &BootFacts,
    system: &System,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Diagnostic>> {
    let Some(database) = tree.text(DATABASE)?.filter(|_| system.family == Family::Debian) else { return Ok(None) };
    let mut answers = answers(tree, facts);
    answers.retain(|a| value(&database, a.question) != Some(a.value.as_str()));
    if answers.is_empty() {
        return Ok(None);
    }
    let lines: String =
        answers.iter().map(|a| format!("{} {} {} {}\n", a.package, a.question, a.kind, a.value)).collect();
    let done = Call::new(Program::DebconfSetSelections)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .limit(Duration::from_secs(120))
        .stdin(lines)
        .in_root(tree.place())
        .run(stop);
    Ok(done.err().map(|e| {
        let text = format!("where GRUB is installed when its package is upgraded could not be noted: {e}");
        Diagnostic::warning("W516", "boot", text).hint("answer it in the installed system: dpkg-reconfigure grub-pc")
    }))
}

fn answers(tree: &Tree, facts: &BootFacts) -> Vec<Answer> {
    let has = |package: &str| tree.exists(&format!("var/lib/dpkg/info/{package}.list"));
    let truth = |is: bool| if is { "true" } else { "false" }.to_owned();
    let mut answers = Vec::new();
    let mut devices = |package, question, empty, list: Vec<String>| {
        answers.push(Answer { package, question: empty, kind: "boolean", value: truth(list.is_empty()) });
        answers.push(Answer { package, question, kind: "multiselect", value: list.join(", ") });
    };
    if facts.serves(Firmware::Bios) && has("grub-pc") {
        let disks = facts.bios_disks.iter().map(|d| format!("/dev/disk/by-id/{d}")).collect();
        devices("grub-pc", "grub-pc/install_devices", "grub-pc/install_devices_empty", disks);
    }
    if facts.serves(Firmware::Uefi) && has("grub-efi-amd64") {
        const PACKAGE: &str = "grub-efi-amd64";
        if tree.exists(MULTI) {
            let esps = facts.esps.iter().map(partition).collect();
            devices(PACKAGE, "grub-efi/install_devices", "grub-efi/install_devices_empty", esps);
        }
        let mut say =
            |question, is| answers.push(Answer { package: PACKAGE, question, kind: "boolean", value: truth(is) });
        say("grub2/force_efi_extra_removable", facts.removable_fallback);
        say("grub2/update_nvram", facts.update_nvram);
    }
    answers
}

/// The node of an ESP in the installed system.
fn partition(esp: &Esp) -> String {
    match &esp.by_id {
        Some(disk) => format!("/dev/disk/by-id/{disk}-part{}", esp.number),
        None => format!("/dev/disk/by-partuuid/{}", esp.partition),
    }
}

/// The answer to a question in the database: stanzas of `Key: value`, an empty line between them.
fn value<'d>(database: &'d str, question: &str) -> Option<&'d str> {
    let mut stanzas = database.split("\n\n");
    let field =
        |stanza: &'d str, key: &str| stanza.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':').map(str::trim));
    let stanza = stanzas.find(|s| field(s, "Name") == Some(question))?;
    // A question that was never put has no value, and an empty one is none.
    let seen = field(stanza, "Flags").is_some_and(|f| f.split(", ").any(|f| f == "seen"));
    field(stanza, "Value").or(Some("")).filter(|_| seen)
}

#[cfg(test)]
mod tests {
    use super::super::facts::tests::plain;
    use super::*;
    use uuid::Uuid;

    const DATA: &str = "Name: grub-pc/install_devices\nTemplate: grub-pc/install_devices\nValue: /dev/disk/by-id/old\n\
         Owners: grub-pc\nFlags: seen\nVariables:\n CHOICES = a, b\n\n\
         Name: grub-pc/install_devices_empty\nTemplate: x\nValue: false\nOwners: grub-pc\n\n\
         Name: grub2/update_nvram\nFlags: seen\n";

    #[test]
    fn answers_of_the_database_are_read() {
        assert_eq!(value(DATA, "grub-pc/install_devices"), Some("/dev/disk/by-id/old"));
        assert_eq!(value(DATA, "grub-pc/install_devices_empty"), None);
        assert_eq!(value(DATA, "grub2/update_nvram"), Some(""));
        assert_eq!((value(DATA, "grub2/else"), value("", "x")), (None, None));
    }

    fn lines(tree: &Tree, facts: &BootFacts) -> Vec<String> {
        answers(tree, facts).iter().map(|a| format!("{} {}={}", a.package, a.question, a.value)).collect()
    }

    #[test]
    fn only_packages_that_are_there_ask() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        let esp = Esp {
            directory: "/x".into(),
            at: None,
            partition: Uuid::nil(),
            number: 2,
            disk: "/dev/sda".into(),
            by_id: Some("ata-X_1".into()),
        };
        let facts = BootFacts {
            firmwares: vec![Firmware::Bios, Firmware::Uefi],
            bios_disks: vec!["ata-X_1".into(), "ata-X_2".into()],
            esps: vec![esp.clone(), Esp { by_id: None, ..esp }],
            removable_fallback: false,
            ..plain()
        };
        assert!(lines(&tree, &facts).is_empty());
        tree.write("var/lib/dpkg/info/grub-pc.list", b"").unwrap();
        let bios = [
            "grub-pc grub-pc/install_devices_empty=false",
            "grub-pc grub-pc/install_devices=/dev/disk/by-id/ata-X_1, /dev/disk/by-id/ata-X_2",
        ];
        assert_eq!(lines(&tree, &facts), bios);
        let file = BootFacts { bios_disks: Vec::new(), ..facts.clone() };
        assert_eq!(lines(&tree, &file)[0], "grub-pc grub-pc/install_devices_empty=true");
        tree.remove("var/lib/dpkg/info/grub-pc.list").unwrap();
        tree.write("var/lib/dpkg/info/grub-efi-amd64.list", b"").unwrap();
        let rest = ["grub-efi-amd64 grub2/force_efi_extra_removable=false", "grub-efi-amd64 grub2/update_nvram=true"];
        assert_eq!(lines(&tree, &facts), rest);
        tree.write(MULTI, b"").unwrap();
        let node = format!("/dev/disk/by-id/ata-X_1-part2, /dev/disk/by-partuuid/{}", Uuid::nil());
        assert_eq!(lines(&tree, &facts)[1], format!("grub-efi-amd64 grub-efi/install_devices={node}"));
    }
}
