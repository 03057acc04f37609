//! A disk as it was before anything was written, and how a later look tells whether it is still that one.

use crate::error::{Error, Result};
use crate::layout::device::{Contents, ReadAt};
use crate::layout::gate::Gate;
use crate::layout::plan::PlannedDisk;
use crate::layout::signature::Signature;
use crate::layout::solve::backup_bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io;
use uuid::Uuid;

/// A disk as it was before anything was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JournalDisk {
    /// Its set.
    pub set: String,
    /// As it was named.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// The size of its sectors in bytes.
    pub sector: u32,
    /// Its model.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its world wide name.
    pub wwid: Option<String>,
    /// A hash over its begin, its end and its signatures.
    pub fingerprint: String,
    /// A hash over its table and its signatures, without what the kernel writes while arrays run.
    #[serde(default)]
    pub outline: String,
    /// A hash over the first sectors, where a table stands: they stay while the disk is erased.
    #[serde(default)]
    pub head: String,
    /// What was recognised on it.
    #[serde(default)]
    pub signatures: Vec<JournalSignature>,
    /// The GUID of the table that was on it.
    #[schemars(with = "Option<String>")]
    pub had: Option<Uuid>,
    /// The GUID of the table that it gets.
    #[schemars(with = "String")]
    pub gets: Uuid,
}

/// Something that was recognised on a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JournalSignature {
    /// Its type, as `blkid` names it.
    pub kind: String,
    /// Where it stood on the disk, in bytes.
    pub offset: u64,
    /// Its UUID.
    pub uuid: Option<String>,
}

impl JournalDisk {
    /// What a plan says of it.
    pub(super) fn of(disk: &PlannedDisk) -> Self {
        let f = &disk.facts;
        Self {
            set: disk.set.clone(),
            path: f.path.display().to_string(),
            size: f.size,
            sector: f.sector,
            model: f.model.clone(),
            serial: f.serial.clone(),
            wwid: f.wwid.clone(),
            fingerprint: f.fingerprint.clone(),
            outline: String::new(),
            head: String::new(),
            signatures: Vec::new(),
            had: f.contents.table.table().map(|t| t.disk),
            gets: disk.guid,
        }
    }

    /// What is on it now, when everything that was stopped has written its last.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn look(&mut self, gate: &Gate) -> Result<()> {
        let failed = |e: io::Error| Error::io("read", gate.name(), e);
        let (contents, fingerprint) = Contents::look(gate, gate.sector()).map_err(failed)?;
        self.had = contents.table.table().map(|t| t.disk);
        self.outline = contents.outline();
        self.head = head(gate, gate.sector()).map_err(failed)?;
        let signature = |(start, _, s): &(u64, u64, Signature)| JournalSignature {
            kind: s.kind.to_owned(),
            offset: start.saturating_add(s.offset),
            uuid: s.uuid.clone(),
        };
        self.signatures = contents.signatures.iter().map(signature).collect();
        self.fingerprint = fingerprint;
        Ok(())
    }

    /// Whether this was on it then; copies go one after the other, so that what has a UUID may stand elsewhere by now.
    pub(in crate::layout::apply) fn had_signature(&self, now: &Signature) -> bool {
        let is_it = |then: &JournalSignature| {
            then.kind == now.kind && then.uuid == now.uuid && (now.uuid.is_some() || then.offset == now.offset)
        };
        self.signatures.iter().any(is_it)
    }
}

/// The hash over the first sectors of a disk.
pub(in crate::layout::apply) fn head(device: &dyn ReadAt, sector: u32) -> io::Result<String> {
    let length = (u64::from(sector) + backup_bytes(sector)).min(device.size());
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    device.read_at(0, &mut bytes)?;
    Ok(blake3::hash(&bytes).to_hex()[..32].to_owned())
}
