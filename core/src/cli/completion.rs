//! `cvctl completion` and `cvctl man`: what belongs beside the program.

use super::{Cli, Session};
use crate::error::{Error, Result};
use clap::{Args, CommandFactory};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(super) struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

#[derive(Args)]
pub(super) struct Man {
    /// The directory, which is made
    dir: PathBuf,
}

pub(super) fn completion(args: &Completion, session: &Session) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cvctl", &mut script);
    let value = json!({ "shell": args.shell.to_string(), "script": String::from_utf8_lossy(&script) });
    session.print(&value, |w| w.write_all(&script))
}

pub(super) fn man(args: &Man, session: &Session) -> Result<()> {
    std::fs::create_dir_all(&args.dir).map_err(|e| Error::io("create", args.dir.display(), e))?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    write_pages(&command, &args.dir, &mut pages)?;
    session.print(&json!({ "pages": pages }), |w| pages.iter().try_for_each(|p| writeln!(w, "{p}")))
}

/// The page of a command, and those of the commands beneath it: `cvctl-image-list.1`.
fn write_pages(command: &clap::Command, dir: &Path, pages: &mut Vec<String>) -> Result<()> {
    let man = clap_mangen::Man::new(command.clone());
    let path = dir.join(man.get_filename());
    let mut page = Vec::new();
    let io = |e| Error::io("write", path.display(), e);
    man.render(&mut page).map_err(io)?;
    std::fs::write(&path, page).map_err(io)?;
    pages.push(path.to_string_lossy().into_owned());
    command.get_subcommands().try_for_each(|sub| write_pages(sub, dir, pages))
}
