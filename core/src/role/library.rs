//! Where roles lie: beside the document that names them, in directories, in the hands of the caller, or in libcv itself.

use crate::document::diagnostic::nearest;
use crate::document::extends::{Found, is_name};
use crate::document::library;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The roles that come with libcv, by name.
pub const SHIPPED: [(&str, &str); 5] = [
    ("minimal", include_str!("shipped/minimal.yaml")),
    ("node", include_str!("shipped/node.yaml")),
    ("login", include_str!("shipped/login.yaml")),
    ("storage", include_str!("shipped/storage.yaml")),
    ("head", include_str!("shipped/head.yaml")),
];
/// What a shipped role is called in messages, before its name.
const OWN: &str = "libcv:";
/// Of a file beside a document no more is read.
const SOURCE_LIMIT: u64 = 1 << 20;

/// Where roles are looked for that another one extends.
#[derive(Clone, Debug, Default)]
pub struct RoleOptions {
    /// Directories, searched in this order when a role is not beside the one that names it.
    pub search: Vec<PathBuf>,
    /// Roles by name that need not be searched for; they go before files.
    pub documents: BTreeMap<String, Vec<u8>>,
    /// Files by name that documents without a folder of their own bring into the tree.
    pub sources: BTreeMap<String, Vec<u8>>,
    /// Roles by name that are in these files; they go before all others.
    pub files: BTreeMap<String, PathBuf>,
}

impl RoleOptions {
    /// The role of this name: one of those in the options, from the directory of the one that names it, one to search, or libcv.
    pub(super) fn find(&self, name: &str, beside: Option<&Path>) -> std::result::Result<Option<Found>, String> {
        if let Some(path) = self.files.get(name) {
            let bytes = library::read_document(path, "role").map_err(|e| e.to_string())?;
            let directory = path.parent().map(Path::to_owned);
            return Ok(Some(Found { name: path.display().to_string(), directory, bytes }));
        }
        if let Some(found) = library::find(name, beside, &self.documents, &self.search)? {
            return Ok(Some(found));
        }
        let shipped = SHIPPED.iter().find(|(known, _)| *known == name);
        Ok(shipped.map(|(name, text)| Found {
            name: format!("{OWN}{name}"),
            directory: None,
            bytes: text.as_bytes().to_vec(),
        }))
    }

    /// The role of this name, which somebody asks for.
    pub(super) fn named(&self, name: &str) -> Result<Found> {
        let found = if is_name(name) { self.find(name, None).map_err(Error::invalid)? } else { None };
        found.ok_or_else(|| {
            let known = SHIPPED.iter().map(|(n, _)| *n).chain(self.documents.keys().map(String::as_str));
            let short: String = name.chars().take(60).collect();
            let hint = match nearest(name, known) {
                Some(meant) => format!("did you mean \"{meant}\"? A file is named with its ending, or with a /"),
                None => format!(
                    "libcv brings {}; a file is named with its ending, or with a /",
                    SHIPPED.map(|(n, _)| n).join(", ")
                ),
            };
            Error::not_found(format!("there is no role \"{short}\"")).hint(hint)
        })
    }

    /// A file beside a document in this directory.
    pub(super) fn source(&self, directory: Option<&Path>, name: &str) -> std::result::Result<Vec<u8>, String> {
        use std::io::Read as _;
        let Some(directory) = directory else {
            let given = self.sources.get(name).cloned();
            return given.ok_or_else(|| format!("there is no file \"{name}\": the document lies in no folder"));
        };
        let path = directory.join(name);
        let failed = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => format!("there is no file {}", path.display()),
            _ => format!("the file {} cannot be read: {e}", path.display()),
        };
        // NONBLOCK: a FIFO that nobody writes to would be waited for.
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
        let fd = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).map_err(|e| failed(e.into()))?;
        let file = std::fs::File::from(fd);
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(format!("{} is not a file", path.display()));
        }
        let mut bytes = Vec::new();
        file.take(SOURCE_LIMIT).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }
}

/// Whether somebody who names a role means a file.
pub(super) fn is_path(name: &str) -> bool {
    name.contains('/') || [".yaml", ".yml", ".json"].iter().any(|e| name.ends_with(e))
}
