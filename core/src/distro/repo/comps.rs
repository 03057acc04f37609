//! `comps.xml`: groups of packages and environments of groups.

use super::xml::{self, Step};
use crate::error::{Error, Result};
use serde::Serialize;

/// Most groups and environments, and most packages of a group.
const LIMIT: usize = 100_000;

/// How much a group wants a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// Always.
    Mandatory,
    /// Unless left out.
    Default,
    /// Only when asked for.
    Optional,
    /// When another package is there.
    Conditional,
}

/// A group of packages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Group {
    /// `core`.
    pub id: String,
    /// For people.
    pub name: String,
    /// Its packages.
    pub packages: Vec<(String, Wanted)>,
}

/// An environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// `minimal-environment`.
    pub id: String,
    /// For people.
    pub name: String,
    /// Ids of the groups that it always has.
    pub groups: Vec<String>,
    /// Ids of the groups that it offers.
    pub options: Vec<String>,
}

/// What the document has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comps {
    /// The groups.
    pub groups: Vec<Group>,
    /// The environments.
    pub environments: Vec<Environment>,
}

/// Reads the document. What it has in other languages is left out.
///
/// # Errors
/// `Integrity` when it is no such document; `Limit`.
pub fn parse(bytes: &[u8]) -> Result<Comps> {
    let mut out = Comps::default();
    let (mut group, mut environment) = (None::<Group>, None::<Environment>);
    let (mut wanted, mut options, mut translated, mut root, mut count) = (Wanted::Mandatory, false, false, false, 0);
    xml::read("comps.xml", bytes, |step| {
        if let Step::Close(..) = step {
            count += 1;
            if count > 20 * LIMIT {
                return Err(Error::limit("comps.xml has too many elements"));
            }
        }
        match step {
            Step::Open("comps", _) => root = true,
            Step::Open("group", _) => group = Some(Group::default()),
            Step::Open("environment", _) => environment = Some(Environment::default()),
            Step::Open("name", a) => translated = a.get("xml:lang").is_some(),
            Step::Open("optionlist", _) => options = true,
            Step::Close("optionlist", _) => options = false,
            Step::Open("packagereq", a) => {
                wanted = match a.get("type").as_deref() {
                    Some("default") => Wanted::Default,
                    Some("optional") => Wanted::Optional,
                    Some("conditional") => Wanted::Conditional,
                    _ => Wanted::Mandatory,
                };
            }
            Step::Close("id", text) => {
                group.iter_mut().for_each(|g| text.clone_into(&mut g.id));
                environment.iter_mut().for_each(|e| text.clone_into(&mut e.id));
            }
            Step::Close("name", text) if !translated => {
                group.iter_mut().for_each(|g| text.clone_into(&mut g.name));
                environment.iter_mut().for_each(|e| text.clone_into(&mut e.name));
            }
            Step::Close("packagereq", text) => {
                group.iter_mut().for_each(|g| g.packages.push((text.to_owned(), wanted)));
            }
            Step::Close("groupid", text) => {
                if let Some(e) = &mut environment {
                    if options { &mut e.options } else { &mut e.groups }.push(text.to_owned());
                }
            }
            Step::Close("group", _) => out.groups.extend(group.take().filter(|g| !g.id.is_empty())),
            Step::Close("environment", _) => out.environments.extend(environment.take().filter(|e| !e.id.is_empty())),
            _ => {}
        }
        if out.groups.len() > LIMIT || out.environments.len() > LIMIT {
            return Err(Error::limit("comps.xml has too many groups"));
        }
        Ok(())
    })?;
    if root { Ok(out) } else { Err(Error::integrity("comps.xml is another document")) }
}
