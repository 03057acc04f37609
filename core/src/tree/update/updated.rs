//! What an update did, or would do.

use super::Verdict;
use crate::image::{Hash, dump};
use crate::store::Field;
use crate::sys::confined::show;
use crate::tree::extract::Loss;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// What is done to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It is made.
    Create,
    /// Something else takes its place.
    Replace,
    /// It stays and gets other metadata.
    Metadata,
    /// It goes.
    Delete,
    /// It stays although the image has it otherwise, or not.
    Keep,
}

/// One thing that an update does, or leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Bytes relative to the root; empty for the root itself.
    pub path: Vec<u8>,
    /// What is done.
    pub what: What,
    /// In what the entry differs from the image.
    pub fields: Vec<Field>,
    /// Why it is deleted or kept.
    pub why: Option<&'static str>,
}

impl Action {
    /// The action as a JSON object: `{path, what, fields, why}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut out = json!({ "what": self.what, "fields": self.fields, "why": self.why });
        dump::put_path(&mut out, &self.path);
        out
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        self.to_json().serialize(s)
    }
}

/// Most paths that a [`Listed`] names.
pub(super) const LISTED: usize = 100;

/// How many entries, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// How many.
    pub count: u64,
    /// The first 100, printable, with leading slash.
    pub paths: Vec<String>,
}

impl Listed {
    pub(super) fn add(&mut self, path: &[u8]) {
        self.count += 1;
        if self.paths.len() < LISTED {
            self.paths.push(format!("/{}", show(path)));
        }
    }
}

/// What an update did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct Updated {
    /// The image that the tree is now made from.
    pub image: Hash,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Whether an update was finished that did not end before.
    pub resumed: bool,
    /// Entries of the image.
    pub entries: u64,
    /// Entries made.
    pub created: u64,
    /// Entries replaced.
    pub replaced: u64,
    /// Entries that got other metadata.
    pub metadata: u64,
    /// Entries deleted.
    pub deleted: u64,
    /// Entries that were as they should be.
    pub unchanged: u64,
    /// Bytes of file content written.
    pub bytes: u64,
    /// Whether everything was read back and compared.
    pub verified: bool,
    /// The node's own: neither overwritten nor deleted.
    pub kept: Listed,
    /// Files that no image brought, and that stay.
    pub local_kept: Listed,
    /// Files that no image brought, and that were deleted.
    pub local_deleted: Listed,
    /// What was lost, with `accept_loss`.
    pub losses: Vec<Loss>,
    /// Everything that would be done, of a dry run.
    pub actions: Vec<Action>,
    /// What it asks of the machine.
    pub verdict: Verdict,
}
