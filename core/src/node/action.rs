//! What a node can be asked for, and what it says became of it.

use crate::error::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a node is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub enum Action {
    /// To send its tree as the next generation of a name.
    Capture {
        /// The name.
        name: String,
        /// Tag for the new generation.
        tag: Option<String>,
        /// What is left out, besides what its policy leaves out; patterns as in `.gitignore`.
        exclude: Vec<String>,
        /// Bytes that it may send at most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_size: Option<u64>,
    },
    /// To update its tree in place.
    Update {
        /// The image: `name`, `name:tag` or `name@GENERATION`.
        image: String,
        /// Only to say what would be done.
        dry_run: bool,
        /// What stays as it is, besides what its policy protects; patterns as in `.gitignore`.
        protect: Vec<String>,
    },
}

/// An order on its way to a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Its id: 16 hex digits.
    pub(crate) id: String,
    /// What is asked.
    pub(crate) action: Action,
    /// The secret of a token, where something is to be sent.
    pub(crate) token: Option<String>,
}

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// The node has begun.
    Running,
    /// The node does not do it.
    Refused,
    /// It did not work.
    Failed,
    /// It is done.
    Done,
}

/// What a node says of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    // In the order of their names, which is the canonical order of the JSON.
    /// The number of the kind of error.
    #[serde(default)]
    pub(crate) code: Option<i32>,
    #[serde(default)]
    pub(crate) hint: Option<String>,
    #[serde(default)]
    pub(crate) message: Option<String>,
    /// As the verb prints it where the node is.
    #[serde(default)]
    pub(crate) result: Option<Value>,
    pub(crate) state: State,
}

/// Longest report; lists of a result are cut to fit into it.
pub(crate) const REPORT_LIMIT: usize = 1 << 20;

impl Report {
    pub(crate) fn running() -> Self {
        Self { code: None, hint: None, message: None, result: None, state: State::Running }
    }

    pub(crate) fn refused(why: &Error) -> Self {
        Self { state: State::Refused, ..Self::failed(why) }
    }

    pub(crate) fn failed(e: &Error) -> Self {
        let (message, hint) = (Some(e.message().to_owned()), e.hint_text().map(str::to_owned));
        Self { code: Some(e.kind().code()), hint, message, result: None, state: State::Failed }
    }

    pub(crate) fn done(result: Value) -> Self {
        Self { result: Some(shorten(result)), state: State::Done, ..Self::running() }
    }

    /// Whether there is nothing more to come.
    pub(crate) fn is_final(&self) -> bool {
        self.state != State::Running
    }

    /// What it means to whoever asked.
    ///
    /// # Errors
    /// What the node said; `Refused` when it does not do it.
    pub(crate) fn outcome(self, node: &str) -> Result<Value, Error> {
        let kind = match self.state {
            State::Done | State::Running => return Ok(self.result.unwrap_or_default()),
            State::Refused => ErrorKind::Refused,
            State::Failed => self.code.map_or(ErrorKind::Failed, ErrorKind::from_code),
        };
        let said = crate::shown::line(&self.message.unwrap_or_default());
        let verb = if self.state == State::Refused { "refuses" } else { "says" };
        let e = Error::new(kind, format!("{node} {verb}: {said}")).fact("node", node);
        Err(self.hint.map_or(Error::new(kind, e.message()).fact("node", node), |h| e.hint(crate::shown::line(&h))))
    }
}

/// The same with lists that are cut until it fits.
fn shorten(mut value: Value) -> Value {
    let fits = |v: &Value| serde_json::to_string(v).is_ok_and(|text| text.len() < REPORT_LIMIT / 2);
    for most in [1000, 100, 10, 0] {
        if fits(&value) {
            break;
        }
        cut(&mut value, most);
    }
    value
}

fn cut(value: &mut Value, most: usize) {
    match value {
        Value::Array(items) => {
            items.truncate(most);
            items.iter_mut().for_each(|v| cut(v, most));
        }
        Value::Object(fields) => fields.values_mut().for_each(|v| cut(v, most)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_are_cut_until_a_report_fits() {
        let small = json!({"name": "x", "notes": ["a", "b"]});
        assert_eq!(Report::done(small.clone()).result, Some(small));
        let long = json!({"count": 7, "notes": vec!["a note of some length"; 200_000], "in": {"it": vec![1; 9]}});
        let cut = Report::done(long).result.unwrap();
        assert_eq!((&cut["count"], cut["notes"].as_array().unwrap().len()), (&json!(7), 1000));
        assert_eq!(cut["in"]["it"].as_array().unwrap().len(), 9);
    }

    #[test]
    fn what_a_node_says_is_an_error_of_its_kind() {
        let e = Error::new(ErrorKind::Limit, "the disk is full").hint("make room");
        let said = Report::failed(&e).outcome("n1").unwrap_err();
        assert_eq!(
            (said.kind(), said.message(), said.hint_text()),
            (ErrorKind::Limit, "n1 says: the disk is full", Some("make room"))
        );
        let said = Report::refused(&Error::refused("no captures")).outcome("n1").unwrap_err();
        assert_eq!((said.kind(), said.message()), (ErrorKind::Refused, "n1 refuses: no captures"));
        assert_eq!(Report::done(json!(1)).outcome("n1").unwrap(), json!(1));
    }
}
