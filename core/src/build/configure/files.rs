//! Files of a role.

use super::{Configuration, Tree, accounts};
use crate::config::{Action, Content, WriteFile};
use crate::error::{Error, Result};
use crate::role::spec::{Body, File};
use crate::role::template;

pub(super) fn plan(tree: &Tree, what: &Configuration<'_>) -> Result<Vec<Action>> {
    what.part.files.iter().map(|file| one(tree, what, file)).collect()
}

fn one(tree: &Tree, what: &Configuration<'_>, file: &File) -> Result<Action> {
    let content = match file.body() {
        Body::Bytes(bytes) => Content::from(bytes.to_vec()),
        Body::Template(text) => Content::from(template::fill(text, what.values).into_bytes()),
    };
    let number = |table: &'static str, name: &str| {
        if let Ok(number) = name.parse() {
            return Ok(number);
        }
        let kind = if table == "etc/passwd" { "user" } else { "group" };
        accounts::number(tree, table, name)?.or_else(|| (name == "root").then_some(0)).ok_or_else(|| {
            Error::not_found(format!("{}: there is no {kind} {name} in the image", file.path)).fact(kind, name)
        })
    };
    Ok(Action::WriteFile(WriteFile {
        path: file.path.clone(),
        content,
        mode: Some(file.mode.bits()),
        uid: Some(number("etc/passwd", &file.owner.user)?),
        gid: Some(number("etc/group", &file.owner.group)?),
    }))
}
