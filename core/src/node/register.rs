//! The nodes that a store's server knows, by the hashes of their secrets.
//!
//! ```text
//!  nodes/<name>         created, name, secret
//!  nodes/<name>.seen    when it last asked for orders
//! ```

use crate::error::{Error, ErrorKind, Result};
use crate::image::Hash;
use crate::store::Store;
use crate::store::name::check_name;
use crate::store::sealed::{seal, unseal};
use crate::store::secret;
use crate::sys::clock;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const DIR: &str = "nodes";
const KIND: &str = "node";
const SEEN: &str = "seen";
const LIMIT: u64 = 4096;
/// What a secret begins with.
const PREFIX: &str = "cvn1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFile {
    // In the order of their names, which is the canonical order of the JSON.
    created: String,
    name: String,
    secret: Hash,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeInfo {
    /// Its name.
    pub name: String,
    /// When it was made known, RFC 3339 in UTC.
    pub created: String,
    /// When it last asked for orders, to some minutes.
    pub seen: Option<String>,
}

fn key(name: &str) -> String {
    format!("{DIR}/{name}")
}

fn seen_key(name: &str) -> String {
    format!("{DIR}/{name}.seen")
}

fn denied() -> Error {
    Error::new(ErrorKind::Denied, "this node is not known here, or its secret is another one")
        .hint("make it known where the store lies: cvctl node add NAME")
}

impl Store {
    /// Makes a node known, and gives the secret by which it says who it is, which is told this once.
    ///
    /// # Errors
    /// `Invalid` for a bad name; `Conflict` when it is known already; those of the backend.
    pub fn add_node(&self, name: &str) -> Result<Zeroizing<String>> {
        let name = check_name(name)?;
        self.is_own("what a node is known by")?;
        // Beside it lies when it was seen.
        if name.ends_with(".seen") {
            return Err(Error::invalid("the name of a node does not end with .seen"));
        }
        let (digits, secret) = secret::make()?;
        let file = NodeFile { created: clock::now_rfc3339(), name: name.to_owned(), secret };
        self.blobs().create(&key(name), &seal(KIND, &file)).map_err(|e| match e.kind() {
            ErrorKind::Conflict => Error::new(ErrorKind::Conflict, format!("{name} is known already"))
                .hint(format!("for another secret: cvctl node rm {name}, and add it again")),
            _ => e,
        })?;
        Ok(Zeroizing::new(format!("{PREFIX}-{}-{name}", &*digits)))
    }

    /// The nodes, sorted by name.
    ///
    /// # Errors
    /// `Integrity` when one is damaged; those of the backend.
    pub fn nodes(&self) -> Result<Vec<NodeInfo>> {
        let names = self.blobs().list(DIR)?;
        let nodes = names.iter().filter(|n| check_name(n).is_ok() && !n.ends_with(".seen"));
        // One may be removed meanwhile.
        let there = |read: Result<(NodeInfo, Hash)>| match read {
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            read => Some(read.map(|(node, _)| node)),
        };
        nodes.filter_map(|name| there(self.read_node(name))).collect()
    }

    /// Forgets a node, and what it was asked for.
    ///
    /// # Errors
    /// `NotFound`; those of the backend.
    pub fn remove_node(&self, name: &str) -> Result<()> {
        self.node(name)?;
        self.blobs().delete_all(&[key(name), seen_key(name)])?;
        let orders = self.blobs().walk(&format!("orders/{name}"))?;
        self.blobs().delete_all(&orders.into_iter().map(|(key, _)| key).collect::<Vec<_>>())
    }

    /// A node that is known.
    ///
    /// # Errors
    /// `NotFound` with the nearest name; those of the backend.
    pub(crate) fn node(&self, name: &str) -> Result<NodeInfo> {
        let missing = |e: Error| match e.kind() {
            ErrorKind::NotFound => {
                let known: Vec<String> = self.nodes().unwrap_or_default().into_iter().map(|n| n.name).collect();
                let e = Error::not_found(format!("no node is called {}", crate::shown::line(name)));
                match crate::store::name::nearest(name, &known) {
                    Some(hint) => e.hint(hint),
                    None => e.hint(format!("make it known first: cvctl node add {}", crate::shown::line(name))),
                }
            }
            _ => e,
        };
        self.read_node(check_name(name)?).map(|(node, _)| node).map_err(missing)
    }

    fn read_node(&self, name: &str) -> Result<(NodeInfo, Hash)> {
        let failed = |e, key: String| Error::from(e).context(&key).fact("object", key);
        let file: NodeFile = unseal(KIND, &self.blobs().get(&key(name), LIMIT)?).map_err(|e| failed(e, key(name)))?;
        if file.name != name {
            return Err(Error::integrity(format!("{} is another node", key(name))).fact("object", key(name)));
        }
        let seen = match self.blobs().get(&seen_key(name), LIMIT) {
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            bytes => unseal(SEEN, &bytes?).map(Some).map_err(|e| failed(e, seen_key(name)))?,
        };
        Ok((NodeInfo { name: file.name, created: file.created, seen }, file.secret))
    }

    /// The node whose secret this is.
    ///
    /// # Errors
    /// `Denied` when it is nobody's; those of the backend.
    pub(crate) fn node_of(&self, shown: &str) -> Result<NodeInfo> {
        let mut parts = shown.trim().splitn(3, '-');
        let (Some(PREFIX), Some(digits), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(denied());
        };
        let (node, secret) = match check_name(name).and_then(|name| self.read_node(name)) {
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Integrity | ErrorKind::Invalid) => {
                return Err(denied());
            }
            read => read?,
        };
        if secret::fits(digits, &secret) { Ok(node) } else { Err(denied()) }
    }

    /// Says that a node has just asked for orders.
    ///
    /// # Errors
    /// Those of the backend.
    pub(crate) fn note_seen(&self, name: &str) -> Result<()> {
        self.blobs().put(&seen_key(name), &seal(SEEN, &clock::now_rfc3339()))
    }
}
