//! `cvctl layout`: documents are checked, planned, applied. What destroys shows its plan and wants its token, or `--yes`.

use super::Session;
use super::checked;
use super::key::TrustArgs;
use super::output::{self, Format};
use crate::deploy::{self, DeployOptions};
use crate::error::{Error, Result};
use crate::layout::apply::journal;
use crate::layout::capture::LayoutCaptureOptions;
use crate::layout::inventory::Inventory;
use crate::layout::{
    self, ApplyOptions, Backend, Confirm, Diagnostic, Disks, Layout, LayoutOptions, Plan, PlanOptions, Secrets,
};
use crate::store::Image;
use clap::{Args, Subcommand, ValueEnum};
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Check documents: every mistake at once, with line and column
    Check {
        /// The documents, YAML or JSON
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        library: Library,
    },
    /// Show what a document means for these disks; writes nothing
    Plan {
        #[command(flatten)]
        target: Target,
        /// The disks of another machine, as `layout capture --inventory-out` wrote them there; none of this one is opened
        #[arg(long, value_name = "FILE")]
        inventory: Option<PathBuf>,
    },
    /// Make the disks so, and put an image on them
    Apply {
        #[command(flatten)]
        target: Target,
        #[cfg(feature = "mcast")]
        #[command(flatten)]
        source: super::mcast::Source,
        /// Compare every byte with the medium after it was written
        #[arg(long)]
        verify: bool,
        /// The token of the plan, as `layout plan` shows it
        #[arg(long, value_name = "TOKEN", conflicts_with_all = ["yes", "dry_run"])]
        confirm: Option<String>,
        /// Yes to whatever the plan says
        #[arg(long, conflicts_with = "dry_run")]
        yes: bool,
        /// Show the plan and write nothing
        #[arg(long)]
        dry_run: bool,
        /// A secret that the document names as ref:NAME: the whole content of the file. Repeated for several
        #[arg(long = "secret", value_name = "NAME=FILE", value_parser = secret)]
        secrets: Vec<(String, PathBuf)>,
        /// The TPM that opens encrypted devices, as systemd-cryptenroll takes it; without it that of this machine
        #[arg(long, value_name = "DEVICE")]
        tpm2_device: Option<String>,
        /// Who makes the devices
        #[arg(long, value_enum, default_value = "kernel")]
        backend: Maker,
        /// Note each step in this file; without it in /run/libcv, or in libcv below $XDG_RUNTIME_DIR
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
        /// Go on with an apply that was interrupted, by its journal
        #[arg(long)]
        resume: bool,
    },
    /// Write a document of the disks of this machine, for others to use
    Capture {
        /// Write it into this file
        #[arg(long = "output", value_name = "FILE")]
        file: Option<PathBuf>,
        /// Write what disks this machine has into this file
        #[arg(long, value_name = "FILE")]
        inventory_out: Option<PathBuf>,
        /// Only this disk or image file. Repeated for several
        #[arg(long = "disk", value_name = "PATH")]
        disks: Vec<PathBuf>,
        /// The root of the system whose fstab, crypttab and command line are read; / without --disk
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
        /// The name of the layout; without it that of the machine
        #[arg(long)]
        name: Option<String>,
        /// Match these very disks, by serial number or world wide name
        #[arg(long)]
        pin: bool,
        /// Keep the UUIDs of partitions and filesystems
        #[arg(long)]
        keep_uuids: bool,
    },
    /// Print the JSON Schema of documents
    Schema,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Maker {
    /// The kernel of this machine, with mdadm, LVM and cryptsetup
    Kernel,
    /// libcv itself, in image files; without --image it needs no root
    Offline,
}

impl From<Maker> for Backend {
    fn from(maker: Maker) -> Self {
        match maker {
            Maker::Kernel => Self::Kernel,
            Maker::Offline => Self::Offline,
        }
    }
}

#[derive(Args)]
pub(super) struct Library {
    /// Where documents lie that others extend, when they are not beside them; may be repeated
    #[arg(long = "layout-path", value_name = "DIR")]
    search: Vec<PathBuf>,
}

impl Library {
    fn options(&self) -> LayoutOptions {
        LayoutOptions { search: self.search.clone(), ..LayoutOptions::default() }
    }
}

#[derive(Args)]
pub(super) struct Target {
    /// The document, YAML or JSON
    file: PathBuf,
    #[command(flatten)]
    library: Library,
    /// A disk of a set: a device or an image file. Repeated for sets of several
    #[arg(long = "disk", value_name = "SET=PATH", value_parser = disk)]
    disks: Vec<(String, PathBuf)>,
    /// The image to deploy; the token is for this one
    #[arg(long, value_name = "REF")]
    image: Option<String>,
    #[command(flatten)]
    trust: TrustArgs,
    /// The host name of the machine
    #[arg(long)]
    hostname: Option<String>,
    /// Seed of all identifiers, 32 hex digits: the same seed gives the same plan
    #[arg(long, value_parser = seed)]
    seed: Option<[u8; 16]>,
    /// Sector size of an image file without a table
    #[arg(long, value_name = "BYTES")]
    sector: Option<u32>,
}

fn disk(text: &str) -> std::result::Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((set, path)) if !set.is_empty() && !path.is_empty() => Ok((set.to_owned(), path.into())),
        _ => Err("a disk is written as SET=PATH, such as os=/dev/sda".to_owned()),
    }
}

fn secret(text: &str) -> std::result::Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), path.into())),
        _ => Err("a secret is written as NAME=FILE".to_owned()),
    }
}

fn seed(text: &str) -> std::result::Result<[u8; 16], String> {
    let bad = || "a seed is 32 hex digits".to_owned();
    let n = u128::from_str_radix(text, 16).map_err(|_| bad())?;
    if text.len() == 32 { Ok(n.to_be_bytes()) } else { Err(bad()) }
}

pub(super) fn run(verb: Verb, session: &Session) -> Result<()> {
    match verb {
        Verb::Check { files, library } => check(&files, &library.options(), session),
        Verb::Plan { target, inventory } => {
            let plan =
                target.plan(&target.layout()?, target.image(session, false)?.as_ref(), inventory.as_deref(), None)?;
            if session.picture {
                return output::stdout(|w| w.write_all(plan.to_svg().as_bytes()));
            }
            session.print(&plan.to_json(), |w| write!(w, "{}", plan.to_text()))
        }
        Verb::Apply {
            target,
            #[cfg(feature = "mcast")]
            source,
            verify,
            confirm,
            yes,
            dry_run,
            secrets,
            tpm2_device,
            backend,
            journal,
            resume,
        } => {
            #[cfg(feature = "mcast")]
            let sent = source.options(&target.trust, session)?;
            #[cfg(not(feature = "mcast"))]
            let sent: Option<std::convert::Infallible> = None;
            let (image, layout) = (target.image(session, sent.is_some())?, target.layout()?);
            let journal = match journal {
                None if !dry_run || resume => target.journal(&layout, image.as_ref()),
                given => given,
            };
            let past = match (&journal, resume) {
                (None, true) => {
                    return Err(Error::invalid("there is no place for a journal here").hint("give --journal FILE"));
                }
                (journal, resume) => journal.as_deref().filter(|_| resume),
            };
            let plan = target.plan(&layout, image.as_ref(), None, past)?;
            if dry_run {
                return session.print(&plan.to_json(), |w| write!(w, "{}", plan.to_text()));
            }
            let confirm = match confirm {
                Some(token) => Confirm::Token(token),
                None if yes => {
                    if !session.quiet && session.format == Format::Text {
                        output::talk(&plan.to_text());
                    }
                    Confirm::Yes
                }
                None => ask(&plan, session)?,
            };
            let secrets = read_secrets(&secrets)?;
            let apply = ApplyOptions { secrets, backend: backend.into(), tpm: tpm2_device, journal, resume };
            let options =
                DeployOptions { hostname: target.hostname.clone(), verify, apply, ..DeployOptions::default() };
            let (all, done, came) = session.run_on_disks("layout apply", |task| match sent {
                #[cfg(feature = "mcast")]
                Some(from) => {
                    let done = crate::multicast::drive::deploy(&plan, from, &options, &confirm, task)?;
                    let came = format!("{}@{}", done.delivered.name, done.delivered.generation);
                    Ok((done.to_json(), done.applied, Some(came)))
                }
                #[cfg(not(feature = "mcast"))]
                Some(never) => match never {},
                None => deploy::apply(&plan, image.as_ref(), &options, &confirm, task)
                    .map(|done| (done.to_json(), done, None)),
            })?;
            session.print(&all, |w| {
                writeln!(w, "applied {} as planned ({})", plan.layout_name(), plan.token())?;
                came.iter().try_for_each(|name: &String| writeln!(w, "received {}", crate::shown::line(name)))?;
                done.journal().iter().try_for_each(|j| writeln!(w, "journal {}", j.display()))?;
                done.kernels().iter().try_for_each(|k| writeln!(w, "boots kernel {k}"))?;
                done.warnings().iter().try_for_each(|x| writeln!(w, "warning: {x}"))
            })
        }
        Verb::Capture { file, inventory_out, disks, root, name, pin, keep_uuids } => {
            let options = LayoutCaptureOptions { disks, root, name, pin, keep_uuids };
            capture(&options, file.as_deref(), inventory_out.as_deref(), session)
        }
        Verb::Schema => {
            let schema = Layout::json_schema();
            session.print(&schema, |w| writeln!(w, "{schema:#}"))
        }
    }
}

fn capture(
    options: &LayoutCaptureOptions,
    output: Option<&Path>,
    inventory_out: Option<&Path>,
    session: &Session,
) -> Result<()> {
    let captured = layout::capture::capture(options)?;
    if let Some(path) = inventory_out {
        let looked;
        let inventory = match captured.inventory() {
            Some(inventory) => inventory,
            None => {
                looked = Inventory::of_this_machine();
                &looked
            }
        };
        write_file(path, &format!("{:#}\n", inventory.to_json()))?;
    }
    // Who records the disks of a new machine has no layout there yet.
    let is_recorded_only = inventory_out.is_some() && output.is_none() && captured.required().is_err();
    if !is_recorded_only {
        captured.required()?;
    }
    if let Some(path) = output {
        write_file(path, &captured.to_yaml())?;
    }
    session.print(&captured.to_json(), |w| {
        if output.is_none() && !is_recorded_only {
            return write!(w, "{}", captured.to_yaml());
        }
        captured.notes().iter().try_for_each(|n| writeln!(w, "note: {n}"))?;
        captured.unsupported().iter().try_for_each(|u| writeln!(w, "not in the document: {u}"))?;
        match output {
            Some(path) => writeln!(w, "{}: sets of disks: {}", path.display(), captured.spec().disks.len()),
            None => writeln!(w, "no disk has a layout yet"),
        }
    })
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|e| Error::io("write", path.display(), e))
}

fn read_secrets(given: &[(String, PathBuf)]) -> Result<Secrets> {
    let mut secrets = Secrets::new();
    for (name, path) in given {
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path.display(), e))?;
        secrets.add(name, bytes)?;
    }
    Ok(secrets)
}

impl Target {
    /// The image that is named; `is_sent` when another one may come.
    fn image(&self, session: &Session, is_sent: bool) -> Result<Option<Image>> {
        if self.image.is_none() && self.trust.asks() && !is_sent {
            return Err(Error::invalid("--key is for an image, and none is named").hint("give --image REF"));
        }
        self.image.as_ref().map(|r| self.trust.store(session)?.image(r)).transpose()
    }

    fn layout(&self) -> Result<Layout> {
        Layout::load_with(&self.file, &self.library.options())
    }

    /// Where the journal is when nobody says it: the same place for the same layout, image, host name and disks.
    fn journal(&self, layout: &Layout, image: Option<&Image>) -> Option<PathBuf> {
        let mut described = vec![self.hostname.clone().unwrap_or_default()];
        described.push(image.map(|i| i.id().to_string()).unwrap_or_default());
        for (set, path) in &self.disks {
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            described.push(format!("{set}={}", path.display()));
        }
        journal::default_place(layout, &described.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn plan(
        &self,
        layout: &Layout,
        image: Option<&Image>,
        inventory: Option<&Path>,
        resume: Option<&Path>,
    ) -> Result<Plan> {
        let mut disks = Disks::new();
        for (set, path) in &self.disks {
            disks.entry(set.clone()).or_default().push(path.clone());
        }
        let options = PlanOptions {
            seed: self.seed,
            resume: resume.map(Path::to_owned),
            hostname: self.hostname.clone(),
            image: image.map(Into::into),
            sector: self.sector,
            ram: None,
        };
        match inventory {
            None => layout.plan(&disks, &options),
            Some(path) => layout.plan_recorded(&Inventory::load(path)?, &disks, &options),
        }
    }
}

/// All documents are looked at; the first that is wrong speaks.
fn check(files: &[PathBuf], options: &LayoutOptions, session: &Session) -> Result<()> {
    let look = |file: &PathBuf| Ok((file.display().to_string(), layout::check_file(file, options)?));
    let seen: Vec<(String, Vec<Diagnostic>)> = files.iter().map(look).collect::<Result<_>>()?;
    checked::print(&seen, session)
}

/// Shows the plan and asks for its token. Without somebody to ask, nothing is destroyed.
fn ask(plan: &Plan, session: &Session) -> Result<Confirm> {
    let refused = |message: &str| {
        Error::refused(message)
            .hint(format!("look at the plan, then give --confirm {}, or --yes", plan.token()))
            .fact("token", plan.token())
    };
    if session.format == Format::Text {
        output::talk(&plan.to_text());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(refused("this destroys what the plan says, and nobody confirmed it").fact("plan", plan.to_json()));
    }
    let _ = write!(std::io::stderr().lock(), "type {} to go on: ", plan.token());
    let mut line = String::new();
    stdin.lock().read_line(&mut line).map_err(|e| Error::io("read", "the answer", e))?;
    if line.trim() == plan.token() {
        Ok(Confirm::Token(line.trim().to_owned()))
    } else {
        Err(refused("the answer is not the token of the plan"))
    }
}
