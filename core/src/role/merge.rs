//! A role with all that it extends: the roles that a document names, and what it says over them.

use super::FORM;
use super::decode::{self, Own};
use crate::document::Node;
use crate::document::diagnostic::Diagnostic;
use crate::document::extends::{self, Find, Join, Merged, Opened};
use std::collections::HashMap;
use std::path::Path;

/// Reads a file of this name beside a document in this directory.
pub(super) type Read<'a> = dyn Fn(Option<&Path>, &str) -> Result<Vec<u8>, String> + 'a;

/// Reads a document and all that it extends.
pub(super) fn read(
    bytes: &[u8],
    name: &str,
    directory: Option<&Path>,
    find: &Find<'_>,
    read: &Read<'_>,
) -> Merged<Own> {
    let mut roles = Roles { read, documents: Vec::new(), first: HashMap::new() };
    extends::read(&FORM, &mut roles, bytes, name, directory, find)
}

struct Roles<'a> {
    read: &'a Read<'a>,
    /// The names of all documents, by their numbers.
    documents: Vec<String>,
    /// The number of the first document of a name: one that two others extend is one document.
    first: HashMap<String, u16>,
}

impl Join for Roles<'_> {
    type Part = Own;

    fn own(&mut self, node: Node, document: &Opened<'_>, found: &mut Vec<Diagnostic>) -> Option<Own> {
        self.documents.resize(usize::from(document.number) + 1, String::new());
        self.documents[usize::from(document.number)] = document.name.to_owned();
        let origin = *self.first.entry(document.name.to_owned()).or_insert(document.number);
        let source = |name: &str| (self.read)(document.directory, name);
        let (own, wrong) = decode::decode(&node, origin, &source);
        // What is wrong with a document that two others extend is said once.
        if origin == document.number {
            found.extend(wrong);
        }
        let mut own = own?;
        if !document.extends {
            own.layer = super::said::Layer::default().over(own.layer, &self.documents, found);
        }
        Some(own)
    }

    fn beside(&mut self, first: Own, second: Own) -> Own {
        Own { layer: first.layer.beside(second.layer), ..second }
    }

    fn over(&mut self, below: Own, own: Own, found: &mut Vec<Diagnostic>) -> Own {
        Own { layer: below.layer.over(own.layer, &self.documents, found), ..own }
    }
}
