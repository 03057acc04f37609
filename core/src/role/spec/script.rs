//! Scripts that run in the new root.

use super::Keyed;
use crate::units;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// A script, for what nothing else says: it runs in the new root as root, when all else is done.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Its name.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
    pub name: String,
    /// What `/bin/sh -eu` runs.
    pub run: String,
    /// How long it may take: up to a day, ten minutes without it.
    #[serde(default, skip_serializing_if = "TimeLimit::is_default")]
    pub time_limit: TimeLimit,
    /// Whether it sees the network of the building machine.
    #[serde(default, skip_serializing_if = "super::words::is_false")]
    pub net: bool,
}

impl Keyed for Script {
    fn id(&self) -> &str {
        &self.name
    }
}

/// How long a script may take, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimit(u32);

impl Default for TimeLimit {
    fn default() -> Self {
        Self(600)
    }
}

impl TimeLimit {
    /// The longest, in seconds.
    const LONGEST: u64 = 24 * 60 * 60;

    /// Reads a time with a unit, of one second to one day.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let time = units::duration(text).ok()?;
        let good = time.subsec_nanos() == 0 && (1..=Self::LONGEST).contains(&time.as_secs());
        u32::try_from(time.as_secs()).ok().filter(|_| good).map(Self)
    }

    /// The time.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

impl Serialize for TimeLimit {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl JsonSchema for TimeLimit {
    fn schema_name() -> Cow<'static, str> {
        "TimeLimit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "[0-9] ?[a-z]"})
    }
}
