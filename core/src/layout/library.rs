//! Where the layouts lie that others extend: beside the document, in directories, or in the hands of the caller.

use crate::document::extends::Found;
use crate::document::library;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where documents are looked for that another one extends.
#[derive(Clone, Debug, Default)]
pub struct LayoutOptions {
    /// Directories, searched in this order when a document is not beside the one that names it.
    pub search: Vec<PathBuf>,
    /// Documents by name that need not be searched for; they go before files.
    pub documents: BTreeMap<String, Vec<u8>>,
}

impl LayoutOptions {
    /// The document of this name, from the directory of the one that names it, or from one to search.
    pub(super) fn find(&self, name: &str, beside: Option<&Path>) -> std::result::Result<Option<Found>, String> {
        library::find(name, beside, &self.documents, &self.search)
    }
}
