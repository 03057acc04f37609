//! What a plan found whole on its disks and keeps, as its journal has it.
//!
//! A resume keeps that and nothing else: whatever else can be found then is what the interrupted run was making.

use crate::layout::plan::Plan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What stays, by its identities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JournalKept {
    /// GUIDs of partitions.
    #[schemars(with = "Vec<String>")]
    pub partitions: Vec<Uuid>,
    /// UUIDs of arrays.
    #[schemars(with = "Vec<String>")]
    pub arrays: Vec<Uuid>,
    /// UUIDs of encrypted devices.
    #[schemars(with = "Vec<String>")]
    pub encrypted: Vec<Uuid>,
    /// Names of volume groups.
    pub groups: Vec<String>,
    /// Volumes, as `GROUP/NAME`.
    pub volumes: Vec<String>,
    /// Names of filesystems in the document.
    pub filesystems: Vec<String>,
}

impl JournalKept {
    pub(super) fn of(plan: &Plan) -> Self {
        let partitions = plan.disks().iter().flat_map(|d| &d.partitions).filter(|p| p.kept).map(|p| p.uuid);
        let volumes = plan.groups().iter().flat_map(|g| {
            let kept = g.volumes.iter().filter(|v| v.kept);
            kept.map(move |v| format!("{}/{}", g.name, v.name))
        });
        Self {
            partitions: partitions.collect(),
            arrays: plan.arrays().iter().filter(|a| a.kept).map(|a| a.uuid).collect(),
            encrypted: plan.crypts().iter().filter(|c| c.kept).map(|c| c.uuid).collect(),
            groups: plan.groups().iter().filter(|g| g.kept).map(|g| g.name.clone()).collect(),
            volumes: volumes.collect(),
            filesystems: plan.filesystems().iter().filter(|f| f.kept).map(|f| f.id.clone()).collect(),
        }
    }

    /// Whether a volume of a group is among it.
    #[must_use]
    pub fn has_volume(&self, group: &str, name: &str) -> bool {
        self.volumes.iter().any(|v| v.split_once('/') == Some((group, name)))
    }
}
