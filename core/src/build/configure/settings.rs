//! Time zone, locale, SELinux, words for the kernel.

use super::{Configuration, Tree, write};
use crate::build::root::{Call, Confined};
use crate::config::{Action, Link};
use crate::error::{Error, ErrorKind, Result};
use crate::image::facts::KERNEL_ARGS;
use crate::job::Task;
use crate::role::Part;
use crate::role::spec::Selinux;
use crate::sys::confined::Root;

/// What makes the first boot give every file its label.
const RELABEL: &str = ".autorelabel";

const SSH_UNITS: [&str; 2] = ["usr/lib/systemd/system/ssh.service", "lib/systemd/system/ssh.service"];
/// Debian's sshd gets its keys when its package is installed, and nothing makes them later. An image has none, so that each
/// machine makes its own. That of Enterprise Linux has a unit for it.
const SSH_KEYS: (&str, &str) = (
    "/etc/systemd/system/ssh.service.d/10-libcv-keys.conf",
    "[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n",
);

pub(super) fn plan(tree: &Tree, what: &Configuration<'_>, task: &Task) -> Result<Vec<Action>> {
    let mut actions = Vec::new();
    if let Some(zone) = &what.part.timezone {
        timezone(tree, what, zone, &mut actions)?;
    }
    if let Some(locale) = &what.part.locale {
        self::locale(tree, what, locale, &mut actions)?;
    }
    if let Some(mode) = what.part.selinux.filter(|_| !what.deb) {
        selinux(tree, mode, &mut actions, task)?;
    }
    if what.deb && SSH_UNITS.iter().any(|unit| tree.exists(unit)) {
        actions.push(write(SSH_KEYS.0, SSH_KEYS.1));
    }
    let words: Vec<&String> = what.part.kernel_args.iter().collect();
    let text = words.iter().fold(String::new(), |text, word| text + word + "\n");
    // Those of an earlier version are not said any more.
    if !words.is_empty() || tree.exists(KERNEL_ARGS) {
        actions.push(write(&format!("/{KERNEL_ARGS}"), text));
    }
    Ok(actions)
}

fn timezone(tree: &Tree, what: &Configuration<'_>, zone: &str, actions: &mut Vec<Action>) -> Result<()> {
    let file = format!("usr/share/zoneinfo/{zone}");
    if tree.exists(&file) {
        actions.push(Action::Link(Link { path: "/etc/localtime".into(), target: format!("../{file}") }));
    } else if zone != "UTC" {
        // Without a file it is UTC anyway.
        return Err(Error::not_found(format!("there is no time zone {zone} in the image"))
            .hint("time zones come with the package tzdata"));
    }
    if what.deb {
        actions.push(write("/etc/timezone", format!("{zone}\n")));
    }
    Ok(())
}

fn locale(tree: &Tree, what: &Configuration<'_>, locale: &str, actions: &mut Vec<Action>) -> Result<()> {
    let text = format!("LANG={locale}\n");
    actions.push(write("/etc/locale.conf", text.clone()));
    if !what.deb {
        return Ok(());
    }
    actions.push(write("/etc/default/locale", text));
    // Debian makes locales out of a list; what is made by itself stands in none.
    let made = matches!(locale.split('.').next(), Some("C" | "POSIX"));
    if let (false, Some(list)) = (made, tree.text("etc/locale.gen")?) {
        let wanted = |line: &str| line.trim_start_matches(['#', ' ']).split(' ').next() == Some(locale);
        let mut new: String = list
            .lines()
            .map(|l| if wanted(l) { l.trim_start_matches(['#', ' ']).to_owned() } else { l.to_owned() } + "\n")
            .collect();
        if !list.lines().any(wanted) {
            let charset = locale.split('.').nth(1).unwrap_or("ISO-8859-1");
            new.push_str(&format!("{locale} {charset}\n"));
        }
        actions.push(write("/etc/locale.gen", new));
    }
    Ok(())
}

/// Makes the locale out of the list, on Debian and Ubuntu, where its package is.
///
/// # Errors
/// `Plugin` when it cannot be made; as [`Confined::run`].
pub(in crate::build) fn make_locale(
    root: &Confined,
    part: &Part,
    environment: &[(String, String)],
    task: &Task,
) -> Result<()> {
    let program = "/usr/sbin/locale-gen";
    let tree = Tree(Root::open(&root.target).map_err(|e| Error::io("open", root.target.display(), e))?);
    let Some(locale) = part.locale.as_deref().filter(|_| tree.exists(&program[1..])) else { return Ok(()) };
    let mut call = Call::new([program]).in_target();
    call = call.envs(environment);
    let ended = root.run(&call, task, &mut |_| {})?;
    if ended.status == 0 {
        return Ok(());
    }
    let text = format!("the locale {locale} was not made: locale-gen ended with {}", ended.status);
    Err(Error::new(ErrorKind::Plugin, text).fact("tail", ended.tail))
}

fn selinux(tree: &Tree, mode: Selinux, actions: &mut Vec<Action>, task: &Task) -> Result<()> {
    let word = match mode {
        Selinux::Enforcing => "enforcing",
        Selinux::Permissive => "permissive",
        Selinux::Disabled => "disabled",
    };
    let old = tree.text("etc/selinux/config")?;
    let policy = tree.exists("etc/selinux/targeted/policy") || old.is_some();
    if !policy && mode != Selinux::Disabled {
        task.warn(format!("SELinux is to be {word}, and the image has no policy: nothing will enforce anything"));
        return Ok(());
    }
    let own = |line: &str| line.starts_with("SELINUX=");
    let old = old.unwrap_or_else(|| "SELINUX=\nSELINUXTYPE=targeted\n".to_owned());
    let mut new: String =
        old.lines().map(|l| if own(l) { format!("SELINUX={word}\n") } else { format!("{l}\n") }).collect();
    if !old.lines().any(own) {
        new.push_str(&format!("SELINUX={word}\n"));
    }
    actions.push(write("/etc/selinux/config", new));
    if mode != Selinux::Disabled {
        actions.push(write(&format!("/{RELABEL}"), ""));
    }
    Ok(())
}
