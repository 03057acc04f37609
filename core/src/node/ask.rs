//! Asking a node where the store lies, and waiting for what it says.

use super::Action;
use super::action::State;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Unit;
use crate::job::Task;
use crate::store::Store;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Between two looks at what the node says; and where each look is paid for.
const LOOK: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

impl Store {
    /// Asks a node for something through the server that hands this store out, and waits for its end: what the verb prints where the
    /// node is, with its lists cut to what fits into a report. Whoever has not come for it within `patience` gets it no more.
    ///
    /// # Errors
    /// `NotFound` when the node is not known; `Refused` when its policy does not allow it; `Timeout` when it does not come; what it
    /// says when it fails; `Cancelled`, after which the node goes on with what it has begun.
    pub fn ask_node(&self, node: &str, action: &Action, patience: Duration, task: &Task) -> Result<Value> {
        task.stage("wait", 0, Unit::Steps);
        let id = self.put_order(node, action, patience)?;
        let outcome = self.wait_for(node, &id, patience, task);
        // Nobody waits any more: it is not given again, and what is said of it is for nobody.
        let removed = self.remove_order(node, &id);
        outcome.and_then(|done| removed.map(|()| done))
    }

    fn wait_for(&self, node: &str, id: &str, patience: Duration, task: &Task) -> Result<Value> {
        let (began, mut running) = (Instant::now(), false);
        let pause = if self.blobs().is_remote() { LOOK.1 } else { LOOK.0 };
        loop {
            task.check()?;
            match self.report(node, id)? {
                Some(report) if report.is_final() => return report.outcome(node),
                Some(report) if !running && report.state == State::Running => {
                    running = true;
                    task.stage("run", 0, Unit::Steps);
                    task.log(format!("{node} has begun"));
                }
                None if began.elapsed() > patience => {
                    let seen = self.node(node)?.seen.map_or("never".to_owned(), |t| format!("last at {t}"));
                    let text = format!("{node} has not come for it in {} s", patience.as_secs());
                    return Err(Error::new(ErrorKind::Timeout, text).hint(format!(
                        "it was seen {seen}: is cvctl-node connect running there, and cvctl serve here?"
                    )));
                }
                _ => {}
            }
            std::thread::sleep(pause);
        }
    }
}
