//! `cvctl image list|show|log|diff|ls|cat`: what is in the store and in an image.

use super::Session;
use crate::cli::key::TrustArgs;
use crate::cli::output::{self, Format, table};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Kind, Manifest, Row};
use crate::store::{Change, ChangeKind, Image, Logged, Tag};
use crate::sys::clock;
use crate::sys::confined::show as printable;
use crate::tree::diff::{DiffOptions, TreeChange};
use crate::units::human;
use base64::Engine;
use clap::Args;
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

/// The largest file that `cat` puts into JSON.
const CAT_LIMIT: u64 = 64 << 20;

#[derive(Args)]
pub(crate) struct Ls {
    /// The image
    #[arg(value_name = "REF")]
    image: String,
    /// A directory or file
    #[arg(default_value = "/")]
    path: OsString,
    /// Everything beneath it
    #[arg(short, long)]
    recursive: bool,
}

#[derive(Args)]
pub(crate) struct Diff {
    /// The image
    #[arg(value_name = "REF")]
    pub(super) from: String,
    /// Another image, or the root of a tree; a directory is written with a slash: ./DIR
    #[arg(value_name = "REF|DIR")]
    pub(super) to: OsString,
    #[command(flatten)]
    pub(super) trust: TrustArgs,
    /// The packages of two images instead of their files
    #[cfg(feature = "build")]
    #[arg(long, conflicts_with_all = ["exact", "protect", "threads"])]
    packages: bool,
    /// Leave nothing out: caches, logs and the identity of the machine count, too
    #[arg(long)]
    exact: bool,
    /// Mark these as the node's own, too; a pattern as in .gitignore
    #[arg(long, value_name = "PATTERN")]
    protect: Vec<String>,
    /// Threads; 0 is one for each core
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
}

pub(super) fn list(session: &Session) -> Result<()> {
    let images = session.store()?.images()?;
    let tags = |tags: &[Tag]| tags.iter().map(|t| format!("{}@{}", t.tag, t.generation)).collect::<Vec<_>>().join(" ");
    session.print(&json!({ "images": images }), |w| {
        let rows: Vec<_> = images
            .iter()
            .map(|i| [i.name.clone(), i.generation.to_string(), i.image.short(), i.created.clone(), tags(&i.tags)])
            .collect();
        table(w, ["NAME", "GENERATION", "IMAGE", "CREATED", "TAGS"], &rows)
    })
}

pub(super) fn show(reference: &str, session: &Session) -> Result<()> {
    let image = session.store()?.image(reference)?;
    let info = image.info()?;
    session.print(&info, |w| show_text(w, &image, &info.tags))
}

fn show_text(w: &mut dyn Write, image: &Image, tags: &[String]) -> io::Result<()> {
    let (m, mut line) = (image.manifest(), |key: &str, value: &str| writeln!(w, "{key:<12} {value}"));
    if let Some(r) = image.release() {
        line("name", &format!("{}@{}", r.name, r.generation))?;
        line("created", &r.created)?;
        if !tags.is_empty() {
            line("tags", &tags.join(" "))?;
        }
    }
    line("image", &image.id().to_string())?;
    line("tree", &image.tree_id().to_string())?;
    if let Some(parent) = m.parent {
        line("parent", &parent.to_string())?;
    }
    let fact = |key: &str| m.facts.as_ref().and_then(|f| f.get(key)).filter(|v| !v.is_null());
    if let Some(os) = fact("os").and_then(|o| o.get("PRETTY_NAME").or_else(|| o.get("ID"))).and_then(Value::as_str) {
        line("system", &printable(os.as_bytes()))?;
    }
    for key in ["architecture", "kernels", "loaders", "initramfs", "selinux"] {
        let text = match fact(key) {
            Some(Value::String(s)) => s.clone(),
            Some(Value::Array(a)) => a.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            _ => continue,
        };
        if !text.is_empty() {
            line(key, &printable(text.as_bytes()))?;
        }
    }
    if let Some(layout) = &m.layout {
        let text = String::from_utf8_lossy(layout);
        let name = text.lines().find_map(|l| l.strip_prefix("name: ")).unwrap_or("attached");
        line("layout", &printable(name.as_bytes()))?;
    }
    let t = &m.totals;
    line("entries", &format!("{} ({} directories, {} files, {} links)", t.rows, t.directories, t.files, t.links))?;
    line("size", &format!("{}, data {}", human(t.size), human(t.data)))?;
    let Some(policy) = &m.policy else { return Ok(()) };
    if policy["exact"] == true {
        line("policy", "exact")?;
    }
    if let Some(n) = policy["scrubbed_count"].as_u64().filter(|n| *n > 0) {
        line("policy", &format!("{n} entries left out, emptied or kept by a rule"))?;
    }
    if let Some(n) = policy["amplification"].as_u64().filter(|n| *n > 100) {
        line("read", &format!("{n} % of what is needed, when it was made"))?;
    }
    for key in ["exclude", "keep", "torn"] {
        let list = policy[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        let text = list.map(|p| printable(p.as_bytes())).collect::<Vec<_>>().join(" ");
        if !text.is_empty() {
            line(key, &text)?;
        }
    }
    Ok(())
}

pub(super) fn log(name: &str, session: &Session) -> Result<()> {
    let log = session.store()?.log(name)?;
    session.print(&json!({ "name": name, "generations": log }), |w| {
        let rows: Vec<_> = log
            .iter()
            .map(|Logged { release: r, tags }| {
                let reason = serde_json::to_value(r.reason).unwrap_or_default();
                let image = r.image.map_or_else(|| "-".to_owned(), |i| i.short());
                let reason = reason.as_str().unwrap_or_default().to_owned();
                [r.generation.to_string(), image, r.created.clone(), reason, tags.join(" ")]
            })
            .collect();
        table(w, ["GENERATION", "IMAGE", "CREATED", "REASON", "TAGS"], &rows)
    })
}

pub(super) fn diff(args: &Diff, session: &Session) -> Result<()> {
    #[cfg(feature = "build")]
    if args.packages {
        return super::packages::diff(args, session);
    }
    if means_directory(&args.to) {
        return diff_tree(args, session);
    }
    let Some(to) = args.to.to_str() else { return Err(Error::invalid("the second REF is not UTF-8")) };
    let store = args.trust.store(session)?;
    if (args.exact || !args.protect.is_empty()) && store.image(to).is_ok() {
        return Err(Error::invalid("--exact and --protect are for comparing an image with a tree")
            .hint(format!("a directory is written with a slash: ./{to}")));
    }
    let a = store.image(&args.from)?;
    let b = match store.image(to) {
        // An image of that name comes first.
        Err(e) if e.kind() == ErrorKind::NotFound && std::path::Path::new(to).is_dir() => {
            return diff_tree(args, session);
        }
        b => b?,
    };
    let changes = session.run("image diff", |task| store.diff(&a, &b, task))?;
    let all = || changes.iter().map(Change::to_json).collect::<Vec<_>>();
    session.print(&json!({ "from": a.id(), "to": b.id(), "changes": all() }), |w| {
        changes.iter().try_for_each(|c| writeln!(w, "{}", change_line(c)))
    })
}

/// Whether the second argument of diff can only be a directory: a REF has no slash, and is neither `.` nor `..`.
pub(super) fn means_directory(argument: &OsStr) -> bool {
    argument.as_bytes().contains(&b'/') || argument == "." || argument == ".."
}

fn diff_tree(args: &Diff, session: &Session) -> Result<()> {
    let image = args.trust.store(session)?.image(&args.from)?;
    let options = DiffOptions { exact: args.exact, protect: args.protect.clone(), threads: args.threads };
    let changes = session.run("image diff", |task| image.diff_tree(&args.to, &options, task))?;
    let all = changes.iter().map(TreeChange::to_json).collect::<Vec<_>>();
    let tree = printable(args.to.as_bytes());
    session.print(&json!({ "from": image.id(), "tree": tree, "changes": all }), |w| {
        changes.iter().try_for_each(|c| {
            let kept = c.kept.map(|why| format!(" ({why})")).unwrap_or_default();
            writeln!(w, "{}{kept}", change_line(&c.change))
        })
    })
}

fn change_line(c: &Change) -> String {
    let sign = match c.kind {
        ChangeKind::Added => '+',
        ChangeKind::Removed => '-',
        ChangeKind::Changed => '~',
    };
    let fields = c.fields.iter().map(|f| f.name()).collect::<Vec<_>>().join(",");
    let space = if fields.is_empty() { "" } else { " " };
    format!("{sign} /{}{space}{fields}", printable(&c.path))
}

/// The path in an image that an argument means: leading and trailing slashes do not count.
fn inner(path: &OsStr) -> &[u8] {
    let mut path = path.as_bytes();
    while let Some(p) = path.strip_prefix(b"/") {
        path = p;
    }
    while let Some(p) = path.strip_suffix(b"/") {
        path = p;
    }
    if path == b"." { b"" } else { path }
}

pub(super) fn ls(args: &Ls, session: &Session) -> Result<()> {
    let image = session.store()?.image(&args.image)?;
    let path = inner(&args.path);
    let names = Names::new(image.manifest());
    // As `ls` does: of a directory its entries, not itself.
    if args.recursive && path.is_empty() {
        // A whole image is not held in memory.
        return print_rows(image.rows()?.skip(1), &names, session);
    }
    let mut rows = image.list(path, args.recursive)?;
    if rows[0].is_directory() {
        rows.remove(0);
    }
    print_rows(rows.into_iter().map(Ok), &names, session)
}

/// Row by row: a tree may have millions.
fn print_rows(rows: impl Iterator<Item = Result<Row>>, names: &Names<'_>, session: &Session) -> Result<()> {
    let mut failed = None;
    // The rows before the one that cannot be read are printed all the same.
    let mut rows = rows.map_while(|r| r.map_err(|e| failed = Some(e)).ok());
    match session.format {
        Format::Text => output::stdout(|w| rows.try_for_each(|r| writeln!(w, "{}", long(&r, names)))),
        Format::Json => output::stdout(|w| {
            w.write_all(b"{\"entries\":[")?;
            for (i, row) in rows.enumerate() {
                w.write_all(if i == 0 { b"" } else { b"," })?;
                serde_json::to_writer(&mut *w, &row.to_json())?;
            }
            writeln!(w, "]}}")
        }),
    }?;
    failed.map_or(Ok(()), Err)
}

/// The names that the image's own files give to the ids.
struct Names<'m>(Option<&'m Value>);

impl<'m> Names<'m> {
    fn new(manifest: &'m Manifest) -> Self {
        Self(manifest.names.as_ref())
    }

    /// `root:0` or `0`.
    fn with_id(&self, table: &str, id: u32) -> String {
        let name = self.0.and_then(|n| n.get(table)?.get(id.to_string())?.as_str());
        name.map_or_else(|| id.to_string(), |n| format!("{}:{id}", printable(n.as_bytes())))
    }
}

/// The letter of the kind, as `ls -l` has it.
fn letter(row: &Row) -> char {
    match row.kind {
        Kind::File { .. } => '-',
        Kind::Directory => 'd',
        Kind::Link(_) => 'l',
        Kind::Device { .. } if row.kind_bits() == crate::image::row::BLOCK => 'b',
        Kind::Device { .. } => 'c',
        Kind::Fifo => 'p',
    }
}

fn long(row: &Row, names: &Names<'_>) -> String {
    let mut mode = String::from(letter(row));
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = row.mode >> shift;
        mode.push(if bits & 4 != 0 { 'r' } else { '-' });
        mode.push(if bits & 2 != 0 { 'w' } else { '-' });
        mode.push(match (row.mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    let size = match &row.kind {
        Kind::Device { major, minor } => format!("{major},{minor}"),
        _ => row.size().to_string(),
    };
    let (user, group) = (names.with_id("users", row.uid), names.with_id("groups", row.gid));
    let time = clock::rfc3339(row.mtime.0);
    let mut out = format!("{mode} {user:<10} {group:<10} {size:>12} {time} /{}", printable(&row.path));
    if let Kind::Link(target) = &row.kind {
        out.push_str(&format!(" -> {}", printable(target)));
    }
    out
}

pub(super) fn cat(reference: &str, path: &OsStr, session: &Session) -> Result<()> {
    let image = session.store()?.image(reference)?;
    let path = inner(path);
    if session.format == Format::Text {
        let mut w = io::BufWriter::with_capacity(64 << 10, io::stdout().lock());
        image.cat(path, &mut w)?;
        return w.flush().map_err(|e| Error::io("write", "the output", e));
    }
    let size = image.row(path)?.size();
    if size > CAT_LIMIT {
        return Err(Error::limit(format!("/{} is over 64 MiB, too much for JSON", printable(path)))
            .hint("leave -o json out: the bytes come as they are"));
    }
    let mut bytes = Vec::new();
    image.cat(path, &mut bytes)?;
    let mut value = json!({ "path": format!("/{}", printable(path)), "size": size });
    match std::str::from_utf8(&bytes) {
        Ok(text) => value["text"] = text.into(),
        Err(_) => value["base64"] = base64::engine::general_purpose::STANDARD.encode(&bytes).into(),
    }
    output::stdout(|w| writeln!(w, "{value}"))
}
