//! `cvctl image extract --update`: a tree that is there becomes the tree of another image.

use super::{Extract, Session};
use crate::error::Result;
use crate::sys::confined::show;
use crate::tree::update::{Action, Listed, Local, Need, UpdateOptions, Updated, Verdict, What};
use crate::units::human;
use clap::Args;
use std::io::{self, Write};

/// What only an update knows.
#[derive(Args)]
pub(super) struct How {
    /// Write nothing; say what would be done
    #[arg(long, requires = "update")]
    dry_run: bool,
    /// What becomes of files that no image brought
    #[arg(long, requires = "update", value_name = "keep|delete")]
    local: Option<Fate>,
    /// Neither overwrite nor delete these; a pattern as in .gitignore
    #[arg(long, requires = "update", value_name = "PATTERN")]
    protect: Vec<String>,
    /// Protect nothing else: the tree becomes the image
    #[arg(long, requires = "update")]
    exact: bool,
    /// Compare the content of every file, whatever size and time say
    #[arg(long, requires = "update")]
    paranoid: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Fate {
    /// They stay
    Keep,
    /// They go
    Delete,
}

pub(super) fn update(args: &Extract, session: &Session) -> Result<()> {
    let image = args.trust.store(session)?.image(&args.image)?;
    let options = UpdateOptions {
        local: if matches!(args.how.local, Some(Fate::Delete)) { Local::Delete } else { Local::Keep },
        dry_run: args.how.dry_run,
        paranoid: args.how.paranoid,
        protect: args.how.protect.clone(),
        exact: args.how.exact,
        verify: args.verify,
        accept_loss: args.accept_loss,
        threads: args.threads,
        no_sync: args.no_sync,
    };
    let done = session.run("image update", |task| image.update(&args.dir, &options, task))?;
    session.print(&done, |w| text(&done, w))
}

fn text(done: &Updated, w: &mut dyn Write) -> io::Result<()> {
    done.actions.iter().try_for_each(|a| writeln!(w, "{}", line(a)))?;
    for loss in &done.losses {
        writeln!(w, "lost: {} ({} entries, such as {})", loss.feature, loss.count, loss.example)?;
    }
    if !done.dry_run {
        listed(w, "kept, the node's own", &done.kept)?;
        listed(w, "kept, local", &done.local_kept)?;
        listed(w, "deleted, local", &done.local_deleted)?;
    }
    let verb = if done.dry_run { "would be " } else { "" };
    let verified = if done.verified { ", verified" } else { "" };
    writeln!(
        w,
        "{verb}created {}, replaced {}, metadata {}, deleted {}, unchanged {}, kept {}, local {}; {}{verified}",
        done.created,
        done.replaced,
        done.metadata,
        done.deleted,
        done.unchanged,
        done.kept.count,
        done.local_kept.count,
        human(done.bytes)
    )?;
    verdict(w, &done.verdict)
}

/// Lines that a person reads; all of them are in the JSON.
const SHOWN: usize = 10;

fn listed(w: &mut dyn Write, what: &str, list: &Listed) -> io::Result<()> {
    if list.count == 0 {
        return Ok(());
    }
    let shown = list.paths.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(" ");
    let more = if list.count > SHOWN as u64 { " …" } else { "" };
    writeln!(w, "{what}: {}: {shown}{more}", list.count)
}

fn line(a: &Action) -> String {
    let sign = match a.what {
        What::Create => '+',
        What::Replace => '!',
        What::Metadata => '~',
        What::Delete => '-',
        What::Keep => '=',
    };
    let fields = a.fields.iter().map(|f| f.name()).collect::<Vec<_>>().join(",");
    let space = if fields.is_empty() { "" } else { " " };
    let why = a.why.map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{sign} /{}{space}{fields}{why}", show(&a.path))
}

fn verdict(w: &mut dyn Write, v: &Verdict) -> io::Result<()> {
    let need = match v.need {
        Need::Nothing => "nothing to do",
        Need::Restart => "restart",
        Need::Reboot => "reboot",
    };
    writeln!(w, "verdict: {need}")?;
    for r in &v.reasons {
        writeln!(w, "  {}: {} ({}, {} paths)", r.what, r.why, r.path, r.count)?;
    }
    if v.daemon_reload {
        writeln!(w, "  systemctl daemon-reload")?;
    }
    for s in &v.services {
        writeln!(w, "  systemctl restart {} ({})", s.unit, s.paths.join(" "))?;
    }
    v.processes.iter().try_for_each(|p| writeln!(w, "  process {} {} ({})", p.pid, p.name, p.paths.join(" ")))
}
