//! Enables systemd units: the links that `systemctl --root` would make, from the `[Install]` section.

use super::action::{EnableUnit, unit_name};
use super::draft::{Draft, Node};
use super::{ConfigError, display};
use crate::error::{Error, Result};
use crate::job::Task;
use crate::sys::confined::{show, split};
use std::collections::BTreeSet;

const CONFIG: &[u8] = b"/etc/systemd/system";
/// Where units are, the first one wins.
const SEARCH: [&[u8]; 4] =
    [CONFIG, b"/usr/local/lib/systemd/system", b"/usr/lib/systemd/system", b"/lib/systemd/system"];
/// Longest chain of `Also=`.
const ALSO_LIMIT: usize = 256;

/// What an `[Install]` section says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Install {
    wanted_by: Vec<String>,
    required_by: Vec<String>,
    upheld_by: Vec<String>,
    alias: Vec<String>,
    also: Vec<String>,
    default_instance: Option<String>,
}

/// A unit's file: where it is, and its text with that of its drop-ins.
struct UnitFile {
    /// Absolute in the root, as links name it.
    path: Vec<u8>,
    install: Install,
}

/// What there is of a unit.
enum Found {
    Nothing,
    Masked,
    File(UnitFile),
}

/// Enables a unit and what its `Also=` names.
pub(super) fn enable(draft: &mut Draft<'_>, action: &EnableUnit, task: &Task) -> Result<()> {
    let mut todo = vec![action.unit.clone()];
    let mut done = BTreeSet::new();
    while let Some(unit) = todo.pop() {
        if !done.insert(unit.clone()) {
            continue;
        }
        if done.len() > ALSO_LIMIT {
            return Err(ConfigError::Limit { what: "the chain of Also=".into(), limit: ALSO_LIMIT as u64 }.into());
        }
        let main = unit == action.unit;
        let mut file = match find(draft, &unit)? {
            Found::File(file) => file,
            Found::Nothing if main => return Err(ConfigError::Missing { what: "unit", name: unit }.into()),
            Found::Masked if main => return Err(ConfigError::Masked { unit }.into()),
            // Somebody has said that it is not wanted.
            Found::Masked => continue,
            Found::Nothing => {
                task.warn(format!("{unit}, which {} names with Also=, is not in the root", action.unit));
                continue;
            }
        };
        if let (true, Some(by)) = (main, &action.wanted_by) {
            file.install.wanted_by = vec![by.clone()];
        }
        let nothing = file.install == Install::default();
        if main && nothing {
            let e = ConfigError::field("enable-unit.unit", format!("{unit} has no [Install] section"));
            return Err(Error::from(e).hint("say with wanted-by which target wants it"));
        }
        todo.extend(links(draft, &unit, &file)?);
    }
    Ok(())
}

/// Makes the links of one unit and gives what its `Also=` names.
fn links(draft: &mut Draft<'_>, unit: &str, file: &UnitFile) -> Result<Vec<String>> {
    let name = instance_name(unit, file.install.default_instance.as_deref());
    let install = &file.install;
    let by = [(&install.wanted_by, "wants"), (&install.required_by, "requires"), (&install.upheld_by, "upholds")];
    for (units, what) in by {
        for other in units {
            // A template without an instance cannot be wanted.
            let Some(name) = &name else {
                let e = ConfigError::field("enable-unit.unit", format!("{unit} is a template"));
                return Err(Error::from(e).hint("name an instance, such as getty@tty1.service"));
            };
            let other = expand(other, name)?;
            unit_name("[Install]", &other)?;
            link(draft, &format!("{other}.{what}/{name}"), file)?;
        }
    }
    for alias in &install.alias {
        let alias = expand(alias, name.as_deref().unwrap_or(unit))?;
        let last = match alias.rsplit_once('/') {
            Some((dir, last)) => {
                let of = [".wants", ".requires", ".upholds"].iter().find_map(|end| dir.strip_suffix(end));
                unit_name("[Install] Alias", of.unwrap_or_default())?;
                last
            }
            None => &alias,
        };
        unit_name("[Install] Alias", last)?;
        link(draft, &alias, file)?;
    }
    let expanded = install.also.iter().map(|also| {
        let also = expand(also, name.as_deref().unwrap_or(unit))?;
        unit_name("[Install] Also", &also)?;
        Ok(also)
    });
    expanded.collect()
}

/// `g@.service` with the default instance `x` is `g@x.service`; without one it has no name of its own.
fn instance_name(unit: &str, default: Option<&str>) -> Option<String> {
    match unit.split_once("@.") {
        Some((stem, kind)) => default.map(|i| format!("{stem}@{i}.{kind}")),
        None => Some(unit.to_owned()),
    }
}

/// A link under `/etc/systemd/system` to the unit's file, unless one that says the same is there.
fn link(draft: &mut Draft<'_>, name: &str, file: &UnitFile) -> Result<()> {
    let at = draft.resolve(&[CONFIG, b"/", name.as_bytes()].concat(), false)?;
    let base = split(&file.path).1;
    if at == file.path[1..] {
        return Ok(());
    }
    match draft.node(&at)? {
        Node::Absent => draft.put_link(&at, &file.path),
        Node::Link(target) if split(target).1 == base => {
            draft.touch(&at);
            Ok(())
        }
        Node::Link(target) => {
            let found = format!("a link to {}", show(target));
            Err(ConfigError::Taken { path: display(&at), found }.into())
        }
        _ => Err(ConfigError::Taken { path: display(&at), found: "something else".into() }.into()),
    }
}

/// The file of a unit or of its template.
fn find(draft: &mut Draft<'_>, unit: &str) -> Result<Found> {
    let template = unit.split_once('@').and_then(|(stem, rest)| {
        let (instance, kind) = rest.rsplit_once('.')?;
        (!instance.is_empty()).then(|| format!("{stem}@.{kind}"))
    });
    for name in [Some(unit.to_owned()), template].into_iter().flatten() {
        for dir in SEARCH {
            let path = [dir, b"/", name.as_bytes()].concat();
            let at = draft.resolve(&path, false)?;
            match draft.node(&at)? {
                Node::Absent | Node::Directory | Node::Other(_) => continue,
                Node::Link(target) if target == b"/dev/null" => return Ok(Found::Masked),
                Node::Link(target) => {
                    let real = show(split(target).1).into_owned();
                    let e = ConfigError::field("enable-unit.unit", format!("{unit} is another name of {real}"));
                    return Err(Error::from(e).hint(format!("enable {real}")));
                }
                Node::File(_) => {}
            }
            let (_, text) = draft.read(&path)?;
            let text = text.unwrap_or_default();
            if text.is_empty() {
                // An empty file masks as a link to /dev/null does.
                return Ok(Found::Masked);
            }
            let mut install = Install::default();
            install.read(&text);
            for drop_in in drop_ins(draft, &name)? {
                install.read(&drop_in);
            }
            if let Some((_, rest)) = unit.split_once('@')
                && let Some((instance, _)) = rest.rsplit_once('.').filter(|(i, _)| !i.is_empty())
            {
                install.default_instance = Some(instance.to_owned());
            }
            return Ok(Found::File(UnitFile { path, install }));
        }
    }
    Ok(Found::Nothing)
}

/// The texts of `<unit>.d/*.conf`, by name; of equal names the one of the first directory counts.
fn drop_ins(draft: &mut Draft<'_>, unit: &str) -> Result<Vec<Vec<u8>>> {
    let mut found = std::collections::BTreeMap::new();
    for dir in SEARCH {
        let dir = [dir, b"/", unit.as_bytes(), b".d"].concat();
        let at = draft.resolve(&dir, true)?;
        for name in draft.names(&at)? {
            if name.ends_with(b".conf") && !name.starts_with(b".") {
                found.entry(name.clone()).or_insert_with(|| [&dir[..], b"/", &name].concat());
            }
        }
    }
    let mut texts = Vec::new();
    for path in found.into_values() {
        let at = draft.resolve(&path, true)?;
        if let Node::File(_) = draft.node(&at)? {
            texts.extend(draft.read(&path)?.1);
        }
    }
    Ok(texts)
}

impl Install {
    /// Adds what a unit file says; an empty assignment forgets what came before.
    fn read(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text).replace("\\\r\n", " ").replace("\\\n", " ");
        let mut inside = false;
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if line.starts_with('[') {
                inside = line == "[Install]";
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| inside) else { continue };
            let (key, value) = (key.trim_end(), value.trim());
            let list = match key {
                "WantedBy" => &mut self.wanted_by,
                "RequiredBy" => &mut self.required_by,
                "UpheldBy" => &mut self.upheld_by,
                "Alias" => &mut self.alias,
                "Also" => &mut self.also,
                "DefaultInstance" => {
                    self.default_instance = Some(value.to_owned()).filter(|v| !v.is_empty());
                    continue;
                }
                _ => continue,
            };
            if value.is_empty() {
                list.clear();
            }
            list.extend(value.split_ascii_whitespace().map(str::to_owned));
        }
    }
}

/// Replaces the specifiers that make sense without a running system.
fn expand(text: &str, unit: &str) -> Result<String> {
    let stem = unit.rsplit_once('.').map_or(unit, |(s, _)| s);
    let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some('n') => out.push_str(unit),
            Some('N') => out.push_str(stem),
            Some('p') => out.push_str(prefix),
            Some('i') => out.push_str(instance),
            other => {
                let what = format!("the specifier %{} in an [Install] section", other.unwrap_or(' '));
                return Err(ConfigError::Unsupported { what }.into());
            }
        }
    }
    Ok(out)
}
