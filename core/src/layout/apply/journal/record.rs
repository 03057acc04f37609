//! The lines of a journal, as they are written and read.

use super::disk::JournalDisk;
use super::kept::JournalKept;
use crate::error::{Error, Result};
use crate::layout::apply::Backend;
use crate::layout::canonical;
use crate::layout::gate::Gate;
use crate::layout::plan::{Plan, hex, partition_list};
use crate::layout::token;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the first line calls itself.
pub(super) const SCHEMA: &str = "cv.journal/v1";

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "cv.journal/v1", description = "A line of the journal of an apply")]
pub struct Record {
    /// Its number; the first line has 0.
    pub seq: u64,
    /// When it was written, in UTC.
    pub time: String,
    /// What it says.
    #[serde(flatten)]
    pub what: What,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum What {
    /// What is going to be done: the first line.
    Plan(Box<Header>),
    /// Bytes of a disk as they were.
    Saved(Saved),
    /// A run goes on with what an earlier one left.
    Resume,
    /// A step begins.
    Begin {
        /// Its name in the plan.
        step: String,
    },
    /// A step is done, and what it wrote is on the medium.
    End {
        /// Its name in the plan.
        step: String,
    },
    /// What a step does is there already.
    Skip {
        /// Its name in the plan.
        step: String,
    },
    /// A step failed.
    Fail {
        /// Its name in the plan.
        step: String,
        /// Why.
        error: Failure,
    },
    /// All steps are done: the last line.
    Done,
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// The kind of the error.
    pub kind: String,
    /// What it says.
    pub message: String,
}

impl From<&Error> for Failure {
    fn from(e: &Error) -> Self {
        Self { kind: e.kind().name().to_owned(), message: e.message().to_owned() }
    }
}

/// The plan that is applied, as far as somebody needs it who goes on with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// `cv.journal/v1`.
    pub schema: String,
    /// The version of libcv that wrote it.
    pub version: String,
    /// The name of the layout.
    pub layout: String,
    /// The hash of the layout's meaning.
    pub layout_hash: String,
    /// The token of the plan.
    pub token: String,
    /// What identities come from, 32 hex digits.
    pub seed: String,
    /// The host name, if one was given.
    pub hostname: Option<String>,
    /// The image, if the plan is for one.
    pub image: Option<String>,
    /// Whether something is installed.
    pub installs: bool,
    /// `kernel` or `offline`.
    pub backend: String,
    /// What was there, whole, and stays.
    #[serde(default)]
    pub kept: JournalKept,
    /// A hash of everything that is made, with the identities: partitions, arrays, volumes, filesystems.
    pub result: String,
    /// The disks in the order of the plan.
    pub disks: Vec<JournalDisk>,
}

/// Bytes of a disk as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Saved {
    /// The disk, as the first line names it.
    pub disk: String,
    /// `table`, `md` or `lvm`.
    pub what: String,
    /// Where they were, in bytes.
    pub offset: u64,
    /// How many they were.
    pub length: u64,
    /// They themselves: Zstandard, then Base64.
    pub data: String,
}

impl Header {
    /// Of a plan that is about to be applied.
    pub(in crate::layout::apply) fn of(plan: &Plan, backend: Backend, installs: bool) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            layout: plan.layout_name().to_owned(),
            layout_hash: canonical::hash(&plan.spec),
            token: plan.token().to_owned(),
            seed: hex(&plan.seed),
            hostname: plan.hostname.clone(),
            image: plan.image().map(|i| i.to_string()),
            installs,
            backend: backend.name().to_owned(),
            kept: JournalKept::of(plan),
            result: result(plan),
            disks: plan.disks().iter().map(JournalDisk::of).collect(),
        }
    }

    /// Adds what is on the disks now, behind their gates.
    ///
    /// # Errors
    /// `Io`.
    pub(in crate::layout::apply) fn look(&mut self, gates: &[Gate]) -> Result<()> {
        self.disks.iter_mut().zip(gates).try_for_each(|(disk, gate)| disk.look(gate))
    }
}

/// A hash of what a plan makes, whatever is on the disks before.
fn result(plan: &Plan) -> String {
    let whole = plan.to_json();
    let parts = ["arrays", "encrypted", "groups", "filesystems", "fstab", "cmdline", "mdadm", "crypttab"];
    let mut made: serde_json::Map<String, Value> =
        parts.iter().map(|part| ((*part).to_owned(), whole[*part].clone())).collect();
    made.insert("partitions".into(), plan.disks().iter().map(partition_list).collect());
    made.insert("disks".into(), plan.disks().iter().map(|d| json!([d.set, d.guid])).collect());
    token::hash(&Value::Object(made))
}

/// The JSON Schema of a line.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(Record).to_value();
    schema["$id"] = SCHEMA.into();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema in the repository is what the types say; `LIBCV_BLESS=1` writes it anew.
    #[test]
    fn the_schema_in_the_repository_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/cv.journal.v1.json");
        let now = format!("{:#}\n", json_schema());
        if std::env::var_os("LIBCV_BLESS").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(stored == now, "core/schemas/cv.journal.v1.json is out of date: run the tests with LIBCV_BLESS=1");
    }
}
