//! What is no candidate whatever the rules say: what is no disk, what is in use, what may be somebody else's.

use super::Options;
use super::rules;
use crate::layout::device::Facts;
use crate::layout::diagnostic::Diagnostic;
use crate::layout::inventory::{Content, Disk, How};
use crate::layout::spec::{Match, NeverTouch, Policy};

/// What is said of a disk that the policy names.
const MEANT: &str = "the document says that it is not touched";

/// Why a disk is left out although its rules fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Protection {
    /// The code of the diagnostic.
    pub(super) code: &'static str,
    /// Why.
    pub(super) reason: String,
    /// What to do about it.
    pub(super) hint: String,
    /// Whether the document itself says that the disk is left out.
    pub(super) is_meant: bool,
}

/// Why something is no disk to install on, unless the rules ask for its like.
pub(super) fn is_out(disk: &Disk, rules: &Match) -> Option<String> {
    let asks = rules::names_transport(rules, disk.transport);
    let removable = asks || rules::asks_for_removable(rules);
    if disk.size == 0 {
        return Some("it has no medium".to_owned());
    }
    if disk.read_only {
        return Some("it is read-only".to_owned());
    }
    if disk.transport.is_virtual() && !asks {
        return Some(format!("{} is taken only when a rule names that transport", disk.transport));
    }
    if disk.transport.name() == "usb" && !asks {
        return Some("it is attached by USB, which no rule names".to_owned());
    }
    if disk.removable && !removable {
        return Some("its medium is removable, which no rule asks for".to_owned());
    }
    disk.unreadable.as_ref().map(|why| format!("it cannot be read: {why}"))
}

/// Why a disk that the rules fit is not touched. `is_kept` when it carries what is kept: then its use is no reason.
pub(super) fn protection(disk: &Disk, policy: &Policy, options: Options, is_kept: bool) -> Option<Protection> {
    let protection =
        |code, reason: String, hint: &str| Some(Protection { code, reason, hint: hint.to_owned(), is_meant: false });
    if let Some(rule) = policy.never_touch.iter().find(|n| applies(n, disk)) {
        let reason = format!("policy.never-touch: {}", describe(rule));
        return Some(Protection { code: "F204", reason, hint: MEANT.to_owned(), is_meant: true });
    }
    if disk.lacks_a_map() {
        let paths = disk.multipath.iter().flat_map(|m| &m.paths).map(|p| p.name.as_str());
        let names: Vec<&str> = paths.collect();
        let wwid = disk.wwid.as_deref().unwrap_or("the same name");
        let reason = format!("{} are paths to the same disk ({wwid}), but multipath is not running", list(&names));
        return protection("F206", reason, "start multipathd, or leave one path");
    }
    let shared = disk.content.iter().flat_map(|c| &c.signatures).find(|m| m.shared);
    if let Some(mark) = shared {
        let hint = "libcv never writes to shared storage; erase it by hand if it is nobody's";
        return protection("F222", format!("carries {mark}, which other machines may be using"), hint);
    }
    if options.allow_in_use {
        return None;
    }
    let mut uses = disk.uses.iter();
    if let Some(usage) = uses.find(|u| matches!(u.how, How::Root | How::Medium)) {
        let hint = "narrow the rules, or start this machine from the network";
        return protection("F205", usage.to_string(), hint);
    }
    if is_kept {
        return None;
    }
    if let Some(usage) = disk.uses.first() {
        let hint = match usage.how {
            How::Swap => format!("switch it off first: swapoff /dev/{}", usage.device),
            _ => format!("unmount it first: umount {}", usage.at.as_deref().unwrap_or("/dev/…")),
        };
        return protection("F204", usage.to_string(), &hint);
    }
    let holder = disk.holders.iter().find(|h| h.kind != "partition" && h.kind != "mpath");
    if let Some(holder) = holder.filter(|_| !options.allow_held) {
        let label = holder.label.as_ref().map(|l| format!(" ({l})")).unwrap_or_default();
        let reason = format!(
            "{} is part of {}{label}",
            list(&holder.on.iter().map(String::as_str).collect::<Vec<_>>()),
            holder.name
        );
        return protection("F204", reason, &format!("stop {} first", holder.name));
    }
    None
}

/// The finding about an image file that the policy names by what it carries; others are known from the inventory.
pub(in crate::layout) fn never_touched(policy: &Policy, facts: &Facts, path: &str) -> Option<Diagnostic> {
    let content = Content::new(&facts.contents, &facts.fingerprint);
    let rule = policy.never_touch.iter().find(|rule| holds(rule, Some(&content), &[], None, None))?;
    let text = format!("{} is protected: policy.never-touch: {}", facts.path.display(), describe(rule));
    Some(Diagnostic::error("F204", path, text).hint(MEANT))
}

/// Whether a rule names a disk.
fn applies(rule: &NeverTouch, disk: &Disk) -> bool {
    holds(rule, disk.content.as_ref(), &disk.by_id, disk.serial.as_deref(), disk.model.as_deref())
}

/// Whether every key that is given holds.
fn holds(
    rule: &NeverTouch,
    content: Option<&Content>,
    by_id: &[String],
    serial: Option<&str>,
    model: Option<&str>,
) -> bool {
    let labels = content.into_iter().flat_map(rules::labels).collect::<Vec<_>>();
    // `LVM2_member` is called by its first word as well.
    let kinds = content.into_iter().flat_map(|c| &c.signatures).map(|m| m.kind.as_str());
    let kinds = kinds.flat_map(|k| [k, k.split('_').next().unwrap_or(k)]).collect::<Vec<_>>();
    let all = [
        (&rule.label, labels),
        (&rule.signature, kinds),
        (&rule.by_id, by_id.iter().map(String::as_str).collect()),
        (&rule.serial, serial.into_iter().collect()),
        (&rule.model, model.into_iter().collect()),
    ];
    let mut given = all.iter().filter(|(patterns, _)| !patterns.is_empty()).peekable();
    given.peek().is_some() && given.all(|(patterns, texts)| rules::any_fits(patterns, texts.iter().copied()))
}

fn describe(rule: &NeverTouch) -> String {
    let keys = [
        ("label", &rule.label),
        ("signature", &rule.signature),
        ("by-id", &rule.by_id),
        ("serial", &rule.serial),
        ("model", &rule.model),
    ];
    let given = keys.iter().filter(|(_, patterns)| !patterns.is_empty());
    given.map(|(key, patterns)| format!("{key} {}", patterns.join(", "))).collect::<Vec<_>>().join("; ")
}

fn list(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use crate::layout::{Disks, Layout, PlanOptions};

    /// A named image file is no disk of the inventory; what it carries protects it all the same.
    #[test]
    fn a_named_file_is_not_touched_either() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("d");
        let mut swap = vec![0u8; 64 << 20];
        swap[1024] = 1;
        swap[1028] = 0xff;
        swap[1052..1058].copy_from_slice(b"ceph-1");
        swap[4086..4096].copy_from_slice(b"SWAPSPACE2");
        std::fs::write(&path, &swap).unwrap();
        let disks = Disks::from([("d".to_owned(), vec![path])]);
        let plan = |rule: &str| {
            let text = format!(
                "schema: cv.layout/v1\nname: x\ndisks: {{d: {{}}}}\npartitions: {{d/a: {{type: linux, size: rest}}}}\n\
                 policy: {{never-touch: [{rule}]}}\n"
            );
            Layout::parse(text.as_bytes(), "x").unwrap().plan(&disks, &PlanOptions::default())
        };
        for rule in ["{label: \"ceph*\"}", "{signature: [gpfs, swap]}", "{label: \"ceph-?\", signature: swap}"] {
            let e = plan(rule).unwrap_err();
            assert_eq!((&e.facts()["code"], e.kind()), (&"F204".into(), crate::ErrorKind::Refused), "{rule}: {e}");
            assert!(e.message().contains("policy.never-touch"), "{e}");
        }
        for rule in ["{label: other}", "{label: \"ceph*\", signature: xfs}", "{serial: \"*\"}"] {
            assert!(plan(rule).is_ok(), "{rule}");
        }
    }
}
