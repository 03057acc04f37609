//! `cvctl role`: roles are checked and shown; nothing is made here.

use super::Session;
use super::checked;
use crate::error::Result;
use crate::role::{self, Diagnostic, Part, Role, RoleOptions, Selector};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Check roles: every mistake at once, with line and column
    Check {
        /// The documents, YAML or JSON
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        library: Library,
        /// Warn of what means nothing on this system, such as el9, debian12, ubuntu24.04
        #[arg(long = "for", value_name = "SYSTEM", value_parser = system)]
        system: Option<Selector>,
    },
    /// Print the JSON Schema of roles
    Schema,
    /// Show a role with all that it extends
    Show {
        /// A file, or the name of a role: minimal, node, login, storage, head
        #[arg(value_name = "NAME|FILE")]
        role: String,
        #[command(flatten)]
        library: Library,
        /// Only what it says of this system, such as el9, debian12, ubuntu24.04
        #[arg(long = "for", value_name = "SYSTEM", value_parser = system)]
        system: Option<Selector>,
    },
}

#[derive(Args)]
pub(super) struct Library {
    /// Where roles lie that others extend, when they are not beside them; may be repeated
    #[arg(long = "role-path", value_name = "DIR")]
    search: Vec<PathBuf>,
}

impl Library {
    pub(super) fn options(&self) -> RoleOptions {
        RoleOptions { search: self.search.clone(), ..RoleOptions::default() }
    }
}

fn system(text: &str) -> std::result::Result<Selector, String> {
    Selector::parse(text).ok_or_else(|| "a system is written as el9, debian12 or ubuntu24.04".to_owned())
}

pub(super) fn run(verb: Verb, session: &Session) -> Result<()> {
    match verb {
        Verb::Check { files, library, system } => check(&files, &library.options(), system, session),
        Verb::Schema => {
            let schema = Role::json_schema();
            session.print(&schema, |w| writeln!(w, "{schema:#}"))
        }
        Verb::Show { role, library, system } => show(&role, &library.options(), system, session),
    }
}

/// All documents are looked at; the first that is wrong speaks.
fn check(files: &[PathBuf], options: &RoleOptions, system: Option<Selector>, session: &Session) -> Result<()> {
    let look = |file: &PathBuf| {
        let mut found = role::check_file(file, options)?;
        if let Some(system) = system
            && !checked::is_wrong(&found)
        {
            found.extend(Role::load_with(file, options)?.without_meaning(system));
        }
        Ok((file.display().to_string(), found))
    };
    let seen: Vec<(String, Vec<Diagnostic>)> = files.iter().map(look).collect::<Result<_>>()?;
    checked::print(&seen, session)
}

fn show(name: &str, options: &RoleOptions, system: Option<Selector>, session: &Session) -> Result<()> {
    let role = Role::find(name, options)?;
    let part: Option<(Selector, Part)> = system.map(|s| (s, role.part(s)));
    let document: Value = match &part {
        None => serde_json::from_str(&role.to_json()).unwrap_or_default(),
        Some((_, part)) => serde_json::to_value(part).unwrap_or_default(),
    };
    let digest = role.digest();
    let shown = json!({
        "name": role.name(),
        "digest": digest,
        "system": system.map(|s| s.to_string()),
        "role": document,
    });
    let yaml = match &part {
        None => role.to_yaml()?,
        Some((_, part)) => role::to_yaml(part)?,
    };
    session.print(&shown, |w| {
        match system {
            None => writeln!(w, "# digest {digest}")?,
            Some(system) => writeln!(w, "# {} for {system}, digest of the whole {digest}", role.name())?,
        }
        write!(w, "{yaml}")
    })
}
