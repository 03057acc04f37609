//! Several roles that somebody names at once: one role that extends them.

use super::library::is_path;
use super::{Role, RoleOptions};
use crate::error::{Error, Result};
use std::path::Path;

/// Longest name that is made of those of the roles.
const NAME_LIMIT: usize = 64;

impl Role {
    /// Several roles as one that extends them, in this order; each is a name or a file, as for [`Role::find`]. One alone is
    /// that one. Its name is made of theirs.
    ///
    /// # Errors
    /// As [`Role::find`], for each; `Invalid` when they contradict each other, and for none.
    pub fn find_all(names: &[impl AsRef<str>], options: &RoleOptions) -> Result<Self> {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        match names[..] {
            [] => return Err(Error::invalid("no role is named")),
            [one] => return Self::find(one, options),
            _ => {}
        }
        let (mut options, mut extends, mut called) = (options.clone(), Vec::new(), Vec::new());
        for (n, name) in names.iter().enumerate() {
            if is_path(name) {
                // What is wrong with the file itself is told of it, and not of a document that nobody wrote.
                Self::load_with(name, &options)?;
                // Its own name may be that of a role which it extends.
                let alias = format!("libcv-given.{n}");
                options.files.insert(alias.clone(), name.into());
                extends.push(alias);
                called.extend(Path::new(name).file_stem().and_then(|s| s.to_str()));
            } else {
                options.named(name)?;
                extends.push((*name).to_owned());
                called.push(name);
            }
        }
        let name = together(&called);
        let document = serde_json::json!({"schema": "cv.role/v1", "name": name, "extends": extends}).to_string();
        Self::parse_with(document.as_bytes(), &names.join(", "), &options)
    }
}

/// A name of the letters that names have.
fn together(names: &[&str]) -> String {
    let known = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
    let joined = names.join("-");
    let letters = joined.chars().skip_while(|c| !c.is_ascii_alphanumeric()).filter(known).take(NAME_LIMIT);
    let name: String = letters.collect();
    if name.is_empty() { "roles".to_owned() } else { name }
}
