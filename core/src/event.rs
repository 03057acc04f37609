//! Typed events: what a job tells while it works. One JSON line for machines, one struct in every skin.
//!
//! Guarantees, which [`crate::job`] keeps: `seq` has no gap per job; `done` never goes back and never passes `total`;
//! at most four progress events a second; exactly one terminal event (`job.end`) per job.

use serde::Serialize;
use serde_json::{Value, json};

/// What an event says.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum EventKind {
    /// The first event of a job.
    #[serde(rename = "job.start")]
    JobStart,
    /// A stage begins.
    #[serde(rename = "stage")]
    Stage,
    /// So much is done.
    #[serde(rename = "progress")]
    Progress,
    /// Something is tried again.
    #[serde(rename = "retry")]
    Retry,
    /// Something a person should read; the work goes on.
    #[serde(rename = "warning")]
    Warning,
    /// A line for the log.
    #[serde(rename = "log")]
    Log,
    /// Still alive, nothing new.
    #[serde(rename = "heartbeat")]
    Heartbeat,
    /// The last event of a job, with its outcome.
    #[serde(rename = "job.end")]
    JobEnd,
}

impl EventKind {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JobStart => "job.start",
            Self::Stage => "stage",
            Self::Progress => "progress",
            Self::Retry => "retry",
            Self::Warning => "warning",
            Self::Log => "log",
            Self::Heartbeat => "heartbeat",
            Self::JobEnd => "job.end",
        }
    }
}

/// The unit of `done` and `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Bytes.
    #[serde(rename = "B")]
    Bytes,
    /// Entries of a tree.
    #[serde(rename = "entries")]
    Entries,
    /// Steps of a plan.
    #[serde(rename = "steps")]
    Steps,
}

/// One event of one job.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Event {
    /// Number within the job, from 1, without gaps.
    pub seq: u64,
    /// RFC 3339 time in UTC, with milliseconds.
    pub ts: String,
    /// The job, such as `j-7f3a09c1`.
    pub job: String,
    /// What it says.
    pub kind: EventKind,
    /// The stage that runs: of a capture `scan read store publish`, of a deployment `preflight partition format
    /// transfer verify configure bootloader commit`.
    pub stage: Option<&'static str>,
    /// How much is done, in `unit`.
    pub done: Option<u64>,
    /// How much there is in all, in `unit`; 0 when not known yet.
    pub total: Option<u64>,
    /// The unit of `done` and `total`.
    pub unit: Option<Unit>,
    /// Units per second since the stage began.
    pub rate: Option<u64>,
    /// A text for people: of warnings, logs and the end.
    pub message: Option<String>,
    /// On `job.end`: 0 or the code of the error.
    pub code: Option<i32>,
}

impl Event {
    /// The event as a JSON object, shape `cv.event/v1`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let head = [("v", json!(1)), ("seq", json!(self.seq)), ("ts", json!(self.ts)), ("job", json!(self.job))];
        let mut o: serde_json::Map<String, Value> = head.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        o.insert("kind".into(), self.kind.name().into());
        if let Some(s) = self.stage {
            o.insert("stage".into(), s.into());
        }
        for (key, value) in [("done", self.done), ("total", self.total), ("rate", self.rate)] {
            if let Some(n) = value {
                o.insert(key.into(), n.into());
            }
        }
        if let Some(u) = self.unit {
            o.insert("unit".into(), serde_json::to_value(u).unwrap_or(Value::Null));
        }
        if let (Some(done), Some(total), Some(rate)) = (self.done, self.total, self.rate)
            && rate > 0
            && total >= done
        {
            o.insert("eta_s".into(), ((total - done) / rate).into());
        }
        if let Some(m) = &self.message {
            o.insert("message".into(), m.clone().into());
        }
        if let Some(c) = self.code {
            o.insert("code".into(), c.into());
        }
        Value::Object(o)
    }
}
